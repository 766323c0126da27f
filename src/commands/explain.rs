//! `gridctl explain`.

use std::io::{self, BufWriter, Write, stdout};

use gridctl_transport::message::client::{Answer, Explanation, Request};

use super::{Ended, selection};
use crate::cli::Explain;
use crate::error::Exit;
use crate::output::escape::escape;
use crate::output::{explain, json};

/// Prints why a job waits.
pub(super) async fn explain(args: Explain) -> Ended {
    let client = super::connect(&args.grid).await?;
    let request = Request::Explain { job: selection::job_ref(&args.job) };
    let take = |answer| if let Answer::Explained(stages) = answer { Some(stages) } else { None };
    let stages = client.ask_one(&request, take).await?;
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
