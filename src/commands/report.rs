//! What is said of a job that has ended: on which tasks it failed, why, and where to look further.

use std::path::Path;

use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::{JobState, TaskState};
use gridctl_transport::message::client::{
    Answer, JobRef, JobStatus, OutputStages, OutputStream, Request, Target, TaskRow,
};

use crate::client::{AskError, Client};
use crate::output::escape::escape;
use crate::output::progress::describe;
use crate::output::screen::{Screen, Tone};
use crate::output::time::{between, short};

/// Failed tasks that are shown with what they said.
const SHOWN_TASKS_MAX: usize = 3;
/// Lines of a task's standard error that are shown, from its end.
const SHOWN_LINES_MAX: usize = 10;
/// Bytes of a task's standard error that are kept to show its end.
const TAIL_BYTES_MAX: usize = 4 << 10;

/// Where somebody who wants to know more can look.
#[derive(Clone, Copy, Debug)]
pub(super) enum More<'a> {
    /// The grid keeps everything.
    Grid,
    /// It was `run`: only what is in this directory is kept.
    Run { into: Option<&'a Path> },
}

/// Says how a job has ended. What cannot be asked for any more is left out.
pub(super) async fn report(client: &Client, status: &JobStatus, more: More<'_>, screen: Screen) {
    let job = &status.job;
    let title = format!("job {} ({})", job.number, escape(&job.name));
    let took = job.finished_at.map(|at| short(between(job.submitted_at, at))).unwrap_or_default();
    match job.state {
        JobState::Done => {
            let done = screen.paint(Tone::Good, "done");
            screen.confirm(format_args!("{title}: {done}, {} in {took}", counted(job.tasks.done)));
        }
        JobState::Cancelled => {
            let (done, cancelled) = (job.tasks.done, counted(job.tasks.cancelled));
            screen.note(format_args!(
                "{title}: cancelled after {took}, {done} done, {cancelled} cancelled"
            ));
        }
        JobState::Failed => {
            let error = screen.paint(Tone::Bad, "error:");
            let (failed, total) = (job.tasks.failed, counted(job.tasks.total));
            screen.note(format_args!(
                "{error} {title} failed: {failed} of {total} failed, after {took}"
            ));
            report_failures(client, status, more, screen).await;
        }
        JobState::Waiting | JobState::Running => {
            screen.note(format_args!("{title}: {}", job.state))
        }
    }
}

async fn report_failures(client: &Client, status: &JobStatus, more: More<'_>, screen: Screen) {
    // Nobody would see it.
    if screen.is_quiet() {
        return;
    }
    let Ok(failed) = failed_tasks(client, status).await else { return };
    for task in &failed {
        screen.note(format_args!("  {}", describe(task)));
        let said = stderr_tail(client, task, None).await.unwrap_or_default();
        for line in last_lines(&said) {
            screen.note(format_args!("    | {}", escape(line)));
        }
    }
    let others = status.job.tasks.failed.saturating_sub(failed.len() as u64);
    if others > 0 {
        screen.note(format_args!("  … and {} more", counted(others)));
    }
    for stage in &status.stages {
        if let Some(because) = &stage.skipped_because {
            let (name, because) = (escape(&stage.name), escape(because));
            screen.note(format_args!("  {name} was skipped: {because} did not succeed"));
        }
        if let Some(failed) = stage.ended_early_after {
            let (name, skipped) = (escape(&stage.name), counted(stage.tasks.skipped));
            screen.note(format_args!(
                "  {name} ended early: after {failed} failed (max_failures), {skipped} skipped"
            ));
        }
    }
    if let Some(task) = failed.first() {
        screen.note(format_args!("{} {}", screen.paint(Tone::Note, "hint:"), hint(task, more)));
    }
}

fn hint(task: &TaskRow, more: More<'_>) -> String {
    let TaskRow { job, stage, index, .. } = task;
    match more {
        More::Grid => format!(
            "all that it said: gridctl output --stderr {job}/{stage}/{index}; all that failed: gridctl tasks \
             --state failed {job}"
        ),
        More::Run { into: Some(into) } => {
            format!(
                "all that it said is in {}",
                into.join(stage).join(format!("{index}.stderr")).display()
            )
        }
        More::Run { into: None } => {
            "to keep all that tasks print: gridctl run --into DIR …".to_owned()
        }
    }
}

/// Returns the first tasks that failed for good.
async fn failed_tasks(client: &Client, status: &JobStatus) -> Result<Vec<TaskRow>, AskError> {
    let target = Target { job: JobRef::Id(status.job.id), stage: None, range: None };
    let mut answers =
        client.ask(&Request::Tasks { target, states: vec![TaskState::Failed] }).await?;
    let mut failed = Vec::new();
    let take = |answer| if let Answer::Tasks(tasks) = answer { Some(tasks) } else { None };
    while failed.len() < SHOWN_TASKS_MAX {
        let Some(tasks) = answers.next_of(take).await? else { break };
        failed.extend(tasks.into_iter().take(SHOWN_TASKS_MAX - failed.len()));
    }
    Ok(failed)
}

/// Returns the end of what an attempt of a task printed on standard error; the one that counts, unless
/// another is named.
pub(super) async fn stderr_tail(
    client: &Client,
    task: &TaskRow,
    attempt: Option<u32>,
) -> Result<String, AskError> {
    let target = Target {
        job: JobRef::Number(task.job),
        stage: Some(task.stage.clone()),
        range: Some(TaskRange::one(task.index)),
    };
    let stages = OutputStages::All;
    let request =
        Request::Output { target, stream: OutputStream::Stderr, follow: false, attempt, stages };
    let mut answers = client.ask(&request).await?;
    let mut tail: Vec<u8> = Vec::new();
    let take = |answer| if let Answer::Output { bytes, .. } = answer { Some(bytes) } else { None };
    while let Some(bytes) = answers.next_of(take).await? {
        tail.extend_from_slice(&bytes);
        tail.drain(..tail.len().saturating_sub(TAIL_BYTES_MAX));
    }
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

fn last_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().rev().take(SHOWN_LINES_MAX).collect();
    lines.reverse();
    lines
}

fn counted(tasks: u64) -> String {
    if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_the_last_lines_are_shown_in_order() {
        let text: String = (0..30).map(|n| format!("{n}\n")).collect();
        assert_eq!(last_lines(&text).first(), Some(&"20"));
        assert_eq!(last_lines(&text).last(), Some(&"29"));
        assert_eq!(last_lines("only"), ["only"]);
    }
}
