//! `gridctl workers`.

use std::io::{BufWriter, Write as _, stdout};
use std::time::Duration;

use gridctl_transport::message::client::{Answer, Request, WorkerRow};

use super::Ended;
use crate::cli::{OneWorker, Workers, WorkersCommand};
use crate::error::Exit;
use crate::output::json::{self, Rows};
use crate::output::screen::Screen;
use crate::output::table::{Align, Table};
use crate::output::time::short;

/// Prints a table of workers, or lets one drain or resume.
pub(super) async fn workers(args: Workers, screen: Screen) -> Ended {
    match args.command {
        Some(WorkersCommand::Drain(one)) => drain(one, screen).await,
        Some(WorkersCommand::Resume(one)) => resume(one, screen).await,
        None => list(args, screen).await,
    }
}

async fn drain(one: OneWorker, screen: Screen) -> Ended {
    let client = super::connect(&one.grid).await?;
    let take = |answer| {
        let Answer::WorkerDraining { name, running, new } = answer else { return None };
        Some((name, running, new))
    };
    let request = Request::DrainWorker { worker: one.worker };
    let (name, running, new) = client.ask_one(&request, take).await?;
    let already = if new { "" } else { "already " };
    let left = match running {
        0 => "nothing runs there".to_owned(),
        1 => "1 task still runs there".to_owned(),
        tasks => format!("{tasks} tasks still run there"),
    };
    screen.note(format_args!(
        "worker {name} is {already}draining, {left}; to end that: gridctl workers resume {name}"
    ));
    Ok(Exit::Done)
}

async fn resume(one: OneWorker, screen: Screen) -> Ended {
    let client = super::connect(&one.grid).await?;
    let take = |answer| {
        let Answer::WorkerResumed { name, new } = answer else { return None };
        Some((name, new))
    };
    let request = Request::ResumeWorker { worker: one.worker };
    let (name, new) = client.ask_one(&request, take).await?;
    if new {
        screen.note(format_args!("worker {name} is given work again"));
    } else {
        screen.note(format_args!("nothing kept worker {name} from work"));
    }
    Ok(Exit::Done)
}

async fn list(args: Workers, screen: Screen) -> Ended {
    let client = super::connect(&args.grid).await?;
    let mut answers = client.ask(&Request::Workers).await?;
    let mut workers = Vec::new();
    let take = |answer| if let Answer::Workers(workers) = answer { Some(workers) } else { None };
    while let Some(some) = answers.next_of(take).await? {
        workers.extend(some);
    }
    let mut out = BufWriter::new(stdout().lock());
    if args.json {
        let mut rows = Rows::default();
        for worker in &workers {
            rows.row(&mut out, &json::Worker::from(worker))?;
        }
        rows.end(&mut out)?;
    } else if workers.is_empty() {
        screen.confirm("no workers; make a token for one: gridctl token create --role worker");
    } else {
        let mut table = table();
        workers.iter().for_each(|worker| table.row(cells(worker)));
        table.print(&mut out)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn table() -> Table {
    Table::new(&[
        ("name", Align::Left),
        ("id", Align::Right),
        ("state", Align::Left),
        ("cpus", Align::Right),
        ("in use", Align::Right),
        ("running", Align::Right),
        ("heartbeat", Align::Left),
    ])
}

fn cells(worker: &WorkerRow) -> [String; 7] {
    let heard = |ms| format!("{} ago", short(Duration::from_millis(ms)));
    [
        worker.name.clone(),
        worker.id.to_string(),
        json::worker_state(worker.state).to_owned(),
        worker.cpus.to_string(),
        worker.reserved.to_string(),
        worker.running.to_string(),
        worker.last_heartbeat_ms.map(heard).unwrap_or_default(),
    ]
}
