//! `gridctl tasks`.

use std::io::{BufWriter, Write as _, stdout};

use gridctl_transport::message::client::{Answer, Request, TaskRow};

use super::{Ended, selection};
use crate::cli::Tasks;
use crate::error::Exit;
use crate::output::json::{self, Rows};
use crate::output::table::{Align, Table};
use crate::output::time::{between, short};

/// Prints a table of tasks, as its rows come: a stage may have millions.
pub(super) async fn tasks(args: Tasks) -> Ended {
    let client = super::connect(&args.grid).await?;
    let request = Request::Tasks { target: selection::target(&args.target), states: args.state };
    let mut answers = client.ask(&request).await?;
    let mut out = BufWriter::new(stdout().lock());
    let (mut table, mut rows) = (table(), Rows::default());
    let take = |answer| if let Answer::Tasks(tasks) = answer { Some(tasks) } else { None };
    while let Some(tasks) = answers.next_of(take).await? {
        if args.json {
            for task in &tasks {
                rows.row(&mut out, &json::Task::from(task))?;
            }
        } else {
            tasks.iter().for_each(|task| table.row(cells(task)));
            table.print(&mut out)?;
        }
    }
    if args.json {
        rows.end(&mut out)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn table() -> Table {
    Table::new(&[
        ("task", Align::Left),
        ("state", Align::Left),
        ("attempts", Align::Right),
        ("worker", Align::Left),
        ("took", Align::Left),
        ("failure", Align::Left),
    ])
}

fn cells(task: &TaskRow) -> [String; 6] {
    let took = task.started_at.zip(task.finished_at).filter(|_| task.exact);
    [
        format!("{}/{}", task.stage, task.index),
        task.state.to_string(),
        task.attempts.to_string(),
        task.worker.clone().unwrap_or_default(),
        took.map(|(start, end)| short(between(start, end))).unwrap_or_default(),
        task.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}
