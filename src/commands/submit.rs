//! `gridctl submit`.

use std::io::{self, Write as _, stdout};
use std::sync::Arc;

use gridctl_jobs::id::{JobId, JobNumber};
use gridctl_jobs::spec::JobSpec;
use gridctl_transport::message::client::{Answer, JobRef, Request};
use uuid::Uuid;

use super::job_source::{self, StartIn};
use super::selection::{self, Awaited};
use super::{Ended, watch};
use crate::cli::Submit;
use crate::client::{AskError, Client, Reach, ReachError};
use crate::error::{CommandError, Exit};
use crate::output::progress::Progress;
use crate::output::screen::Screen;

/// Submits a job, and waits for it where that was asked for.
pub(super) async fn submit(args: Submit, screen: Screen) -> Ended {
    let spec = job_source::load(args.source, StartIn::Scratch, screen)?.spec;
    let profile = super::profile(&args.grid)?;
    let id = JobId(args.wait.id.unwrap_or_else(Uuid::now_v7));
    let name = spec.name.clone();
    let waits = args.wait.wait || args.wait.watch;
    let progress = Progress::new(screen);
    let tell = progress.clone();
    let reach =
        Reach::connect(profile, args.patience.reconnect, move |text| tell.note(text)).await?;
    let reach = Arc::new(reach);
    let submitted = submit_to(&reach, id, spec).await;
    // The same again, under the same id, is safe: it may have arrived.
    let again = || format!("the same command with --id {id}");
    let (number, is_new) = submitted.map_err(|error| CommandError::of_wait(error, again))?;
    match print_number(number) {
        // Whoever waits for the job wants to know how it ends, also where its number went nowhere.
        Err(error) if !waits || error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error.into());
        }
        Ok(()) | Err(_) => {}
    }
    if !is_new {
        screen.note(format_args!("this was submitted before, as job {number}"));
    }
    let job = JobRef::Number(number);
    if args.wait.watch {
        return watch::watch_all(reach, vec![(number.to_string(), job)], &progress, screen).await;
    }
    if args.wait.wait {
        let ended = watch::follow_shown(&reach, &Awaited::whole(job), None).await;
        let again = || format!("gridctl wait {number}");
        let status = ended.map_err(|error| CommandError::of_wait(error, again))?;
        return Ok(selection::exit_of(status.job.state));
    }
    screen.confirm(format_args!(
        "job {number} ({name}) is on the grid; to see it go: gridctl watch {number}"
    ));
    Ok(Exit::Done)
}

fn print_number(number: JobNumber) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{number}")?;
    out.flush()
}

/// Submits under an id, again where the answer was lost; returns the job's number, and whether it is new.
pub(super) async fn submit_to(
    reach: &Reach,
    id: JobId,
    spec: JobSpec,
) -> Result<(JobNumber, bool), ReachError> {
    let request = Request::Submit { id, spec };
    let mut link = reach.link().await;
    loop {
        match submit_once(&link.client, &request).await {
            Ok(submitted) => {
                reach.heard(&link).await;
                return Ok(submitted);
            }
            Err(error) => link = reach.again(&link, error).await?,
        }
    }
}

async fn submit_once(client: &Client, request: &Request) -> Result<(JobNumber, bool), AskError> {
    let take = |answer| {
        let Answer::Submitted { id: _, number, new } = answer else { return None };
        Some((number, new))
    };
    client.ask_one(request, take).await
}
