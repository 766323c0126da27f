//! `gridctl check`.

use std::io::{self, BufWriter, Write, stdout};

use gridctl_jobs::id::{JobId, JobNumber, StageIndex, Token};
use gridctl_jobs::render::{Attempt, RenderedRun, Renderer};
use gridctl_jobs::spec::{JobSpec, StageOrder, StageSpec};
use serde::Serialize;
use uuid::Uuid;

use super::{Ended, job_source};
use crate::cli::Check;
use crate::error::Exit;
use crate::output::escape::escape;
use crate::output::json;
use crate::output::screen::Screen;
use crate::output::table::{Align, Table};

/// Tasks of each stage whose commands are shown.
const SHOWN_TASKS_MAX: u64 = 3;
/// Characters of a command that are shown: a few lines of a terminal.
const SHOWN_CHARS_MAX: usize = 400;
/// The job's number where it has none yet: `{job}` shows as this.
const NO_NUMBER: JobNumber = JobNumber(0);

#[derive(Serialize)]
struct Checked<'a> {
    name: &'a str,
    priority: i32,
    tasks: u64,
    stages: Vec<CheckedStage<'a>>,
    warnings: Vec<&'a str>,
}

#[derive(Serialize)]
struct CheckedStage<'a> {
    name: &'a str,
    needs: Vec<&'a str>,
    tasks: u64,
    cpus: String,
    first: Vec<String>,
}

/// Validates a job file, and shows what would run.
pub(super) fn check(args: &Check, screen: Screen) -> Ended {
    let resolved = job_source::load_file(&args.file)?;
    let checked = Checked {
        name: &resolved.spec.name,
        priority: resolved.spec.priority,
        tasks: resolved.spec.stages.iter().map(|stage| stage.items.count()).sum(),
        stages: (0..).zip(&resolved.spec.stages).map(|(at, _)| look(&resolved.spec, at)).collect(),
        warnings: resolved.warnings.list.iter().map(|warning| warning.message.as_str()).collect(),
    };
    let mut out = BufWriter::new(stdout().lock());
    if args.json {
        json::document(&mut out, &checked)?;
    } else {
        print(&mut out, &checked)?;
        if !resolved.warnings.is_empty() {
            out.flush()?;
            job_source::show(&resolved.warnings, screen);
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn print(out: &mut impl Write, checked: &Checked<'_>) -> io::Result<()> {
    writeln!(out, "job {}: {}\n", checked.name, counted(checked.tasks))?;
    let mut table = Table::new(&[
        ("stage", Align::Left),
        ("tasks", Align::Right),
        ("cpus", Align::Right),
        ("needs", Align::Left),
    ]);
    for stage in &checked.stages {
        let row = [
            stage.name.to_owned(),
            stage.tasks.to_string(),
            stage.cpus.clone(),
            stage.needs.join(", "),
        ];
        table.row(row);
    }
    table.print(out)?;
    for stage in checked.stages.iter().filter(|stage| stage.tasks > 0) {
        writeln!(out)?;
        for (index, command) in stage.first.iter().enumerate() {
            writeln!(out, "{}/{index}: {}", stage.name, escape(command))?;
        }
        let more = stage.tasks.saturating_sub(stage.first.len() as u64);
        if more > 0 {
            writeln!(out, "… and {more} more")?;
        }
    }
    Ok(())
}

fn counted(tasks: u64) -> String {
    if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") }
}

fn look(spec: &JobSpec, at: usize) -> CheckedStage<'_> {
    let stage = &spec.stages[at];
    let name_of = |index: &StageIndex| spec.stages[index.0 as usize].name.as_str();
    CheckedStage {
        name: &stage.name,
        needs: stage.needs.iter().map(name_of).collect(),
        tasks: stage.items.count(),
        cpus: stage.task.cpus.to_string(),
        first: first_commands(spec, stage, at),
    }
}

fn first_commands(spec: &JobSpec, stage: &StageSpec, at: usize) -> Vec<String> {
    let order = StageOrder {
        job: JobId(Uuid::nil()),
        number: NO_NUMBER,
        job_name: spec.name.clone(),
        stage: StageIndex(u32::try_from(at).expect("a job has at most 1024 stages")),
        stage_name: stage.name.clone(),
        count: stage.items.count(),
        task: stage.task.clone(),
        source: stage.items.source(),
    };
    let renderer = Renderer::new(order).expect("a job that was resolved gives orders that hold");
    (0..stage.items.count().min(SHOWN_TASKS_MAX))
        .map(|index| command(&renderer, stage, index))
        .collect()
}

fn command(renderer: &Renderer, stage: &StageSpec, index: u64) -> String {
    let items = stage.items.sent_with(index, index + 1);
    let item = items.as_ref().and_then(|items| items.item(0));
    let attempt = Attempt { index, item, attempt: 1, token: Token::default(), scratch: None };
    let shown = match renderer.render(&attempt) {
        Ok(rendered) => match rendered.run {
            RenderedRun::Command { argv } => {
                argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
            }
            RenderedRun::Script { text } => {
                let item = rendered
                    .env
                    .get("GRID_ITEM")
                    .map(|item| format!("GRID_ITEM={} ", quoted(item)));
                format!("{}{}", item.unwrap_or_default(), first_line(text))
            }
            RenderedRun::Function { name, args } => format!("{name}({args})"),
        },
        Err(error) => error.to_string(),
    };
    match shown.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

fn first_line(script: &str) -> String {
    let mut lines = script.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first} …") } else { first.to_owned() }
}

/// Returns a word as a shell would need it, so that what is shown can be tried out.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("--out=a.json"), "--out=a.json");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_script_is_shown_by_its_first_line() {
        assert_eq!(first_line("\n  set -x\necho b\n"), "  set -x …");
        assert_eq!(first_line("echo b\n"), "echo b");
    }
}
