//! `gridctl jobs`.

use std::io::{BufWriter, Write as _, stdout};

use gridctl_transport::message::client::{Answer, JobSummary, Request};

use super::Ended;
use crate::cli::Jobs;
use crate::error::Exit;
use crate::output::json::{self, Rows};
use crate::output::screen::Screen;
use crate::output::table::{Align, Table};
use crate::output::time::{between, now, short};

/// Prints a table of jobs.
pub(super) async fn jobs(args: Jobs, screen: Screen) -> Ended {
    let client = super::connect(&args.grid).await?;
    let mut answers = client.ask(&Request::Jobs { open_only: args.open }).await?;
    let mut out = BufWriter::new(stdout().lock());
    let (mut table, mut rows, mut any) = (table(), Rows::default(), false);
    let take = |answer| if let Answer::Jobs(jobs) = answer { Some(jobs) } else { None };
    while let Some(jobs) = answers.next_of(take).await? {
        any |= !jobs.is_empty();
        for job in &jobs {
            if args.json {
                rows.row(&mut out, &json::Job::from(job))?;
            } else {
                table.row(cells(job));
            }
        }
    }
    if args.json {
        rows.end(&mut out)?;
    } else if any {
        table.print(&mut out)?;
    } else {
        screen.confirm("no jobs; submit one: gridctl submit job.toml");
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn table() -> Table {
    Table::new(&[
        ("job", Align::Right),
        ("name", Align::Left),
        ("owner", Align::Left),
        ("state", Align::Left),
        ("done", Align::Right),
        ("failed", Align::Right),
        ("tasks", Align::Right),
        ("submitted", Align::Left),
        ("took", Align::Left),
    ])
}

fn cells(job: &JobSummary) -> [String; 9] {
    let now = now();
    [
        job.number.to_string(),
        job.name.clone(),
        job.owner.clone(),
        job.state.to_string(),
        job.tasks.done.to_string(),
        job.tasks.failed.to_string(),
        job.tasks.total.to_string(),
        format!("{} ago", short(between(job.submitted_at, now))),
        job.finished_at.map(|at| short(between(job.submitted_at, at))).unwrap_or_default(),
    ]
}
