//! `gridctl explain`.

use std::io::{self, BufWriter, Write, stdout};

use gridctl_jobs::reason::WaitReason;
use gridctl_transport::message::client::{Answer, Explanation, JobRef, Request};

use super::{Ended, selection};
use crate::cli::Explain;
use crate::client::{AskError, Client};
use crate::error::Exit;
use crate::output::escape::escape;
use crate::output::{explain, json};

/// Prints why a job waits.
pub(super) async fn explain(args: Explain) -> Ended {
    let client = super::connect(&args.grid).await?;
    let job = selection::job_ref(&args.target.job);
    let mut stages = client.ask_one(&Request::Explain { job: job.clone() }, explained).await?;
    if let Some(name) = &args.target.stage {
        let take = |answer| if let Answer::Status(status) = answer { Some(status) } else { None };
        selection::stage(&*client.ask_one(&Request::Status { job }, take).await?, name)?;
        stages.retain(|stage| stage.stage == *name);
    }
    let mut out = BufWriter::new(stdout().lock());
    if args.json {
        let stages: Vec<_> = stages.iter().map(json::Explained::from).collect();
        json::document(&mut out, &stages)?;
    } else if stages.is_empty() {
        writeln!(out, "nothing of it waits")?;
    } else {
        for stage in &stages {
            print(&mut out, stage)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Returns the first reason why a job waits, where there is one.
pub(super) async fn first_reason(client: &Client, job: JobRef) -> Result<Option<String>, AskError> {
    let stages = client.ask_one(&Request::Explain { job }, explained).await?;
    let first = |stage: &Explanation| {
        stage.reasons.first().map(|reason| explain::sentence(reason, &stage.workers))
    };
    // What a stage needs is told by the stage that it needs.
    let others =
        stages.iter().filter(|stage| !matches!(stage.reasons[..], [WaitReason::Needs { .. }, ..]));
    Ok(others.filter_map(first).next())
}

fn explained(answer: Answer) -> Option<Vec<Explanation>> {
    if let Answer::Explained(stages) = answer { Some(stages) } else { None }
}

fn print(out: &mut impl Write, stage: &Explanation) -> io::Result<()> {
    let counts = &stage.tasks;
    write!(out, "{}: {} of {} tasks wait", escape(&stage.stage), counts.waiting, counts.total)?;
    if counts.running > 0 {
        write!(out, ", {} running", counts.running)?;
    }
    writeln!(out)?;
    for reason in &stage.reasons {
        writeln!(out, "  {}", escape(&explain::sentence(reason, &stage.workers)))?;
    }
    Ok(())
}
