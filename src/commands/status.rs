//! `gridctl status`.

use std::io::{self, BufWriter, Write, stdout};

use gridctl_transport::message::client::{Answer, JobStatus, Request, StageStatus, TaskCounts};

use super::{Ended, selection};
use crate::cli::Status;
use crate::error::Exit;
use crate::output::escape::escape;
use crate::output::json;
use crate::output::progress::describe;
use crate::output::table::{Align, Table};
use crate::output::time::{between, now, rfc3339_seconds, short};

/// Prints how a job goes.
pub(super) async fn status(args: Status) -> Ended {
    let client = super::connect(&args.grid).await?;
    let request = Request::Status { job: selection::job_ref(&args.target.job) };
    let take = |answer| if let Answer::Status(status) = answer { Some(*status) } else { None };
    let mut status = client.ask_one(&request, take).await?;
    if let Some(name) = &args.target.stage {
        status.stages = vec![selection::stage(&status, name)?.clone()];
    }
    let mut out = BufWriter::new(stdout().lock());
    if args.json {
        json::document(&mut out, &json::Job::from(&status))?;
    } else {
        print(&mut out, &status)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn print(out: &mut impl Write, status: &JobStatus) -> io::Result<()> {
    let job = &status.job;
    writeln!(out, "job {} ({}): {}", job.number, escape(&job.name), job.state)?;
    writeln!(out, "id {}, priority {}, owner {}", job.id, job.priority, escape(&job.owner))?;
    let submitted = rfc3339_seconds(job.submitted_at);
    match job.finished_at {
        Some(at) => {
            let took = short(between(job.submitted_at, at));
            writeln!(out, "submitted {submitted}, ended {} after {took}", rfc3339_seconds(at))?;
        }
        None => {
            writeln!(out, "submitted {submitted}, {} ago", short(between(job.submitted_at, now())))?
        }
    }
    if let Some(notice) = &status.notice {
        writeln!(out, "{}", escape(notice))?;
    }
    writeln!(out)?;
    let mut table = Table::new(&[
        ("stage", Align::Left),
        ("tasks", Align::Right),
        ("waiting", Align::Right),
        ("running", Align::Right),
        ("done", Align::Right),
        ("failed", Align::Right),
        ("cancelled", Align::Right),
        ("skipped", Align::Right),
        ("note", Align::Left),
    ]);
    for stage in &status.stages {
        table.row(cells(&stage.name, &stage.tasks, note(stage)));
    }
    // One stage of several is no sum.
    if status.stages.len() > 1 {
        table.row(cells("", &job.tasks, String::new()));
    }
    table.print(out)?;
    if let Some(task) = &status.last_failure {
        writeln!(out, "\nlast failure: {}", describe(task))?;
    }
    Ok(())
}

fn cells(name: &str, tasks: &TaskCounts, note: String) -> [String; 9] {
    let TaskCounts { total, waiting, running, done, failed, cancelled, skipped } = *tasks;
    let [total, waiting, running, done, failed, cancelled, skipped] =
        [total, waiting, running, done, failed, cancelled, skipped].map(|count| count.to_string());
    [name.to_owned(), total, waiting, running, done, failed, cancelled, skipped, note]
}

fn note(stage: &StageStatus) -> String {
    if let Some(failed) = stage.ended_early_after {
        return format!("ended early: {failed} failed (max_failures)");
    }
    match &stage.skipped_because {
        Some(because) => format!("skipped: {because} did not succeed"),
        None if stage.needs.is_empty() => String::new(),
        None => format!("needs {}", stage.needs.join(", ")),
    }
}
