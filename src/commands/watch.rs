//! `gridctl watch`, and what else waits for jobs with a live display.

use std::sync::Arc;

use gridctl_transport::message::client::{JobRef, JobStatus};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::report::{self, More};
use super::signals::Signals;
use super::{Ended, selection};
use crate::cli::Watch;
use crate::client::{Reach, ReachError, follow};
use crate::error::{CommandError, Exit};
use crate::output::progress::{JobLine, Progress};
use crate::output::screen::Screen;

/// Shows the progress of jobs until they have ended.
pub(super) async fn watch(args: Watch, screen: Screen) -> Ended {
    let profile = super::profile(&args.grid)?;
    let progress = Progress::new(screen);
    let tell = progress.clone();
    let reach =
        Reach::connect(profile, args.patience.reconnect, move |text| tell.note(text)).await?;
    let jobs = args.jobs.iter().map(|job| (job.to_string(), selection::job_ref(job))).collect();
    watch_all(Arc::new(reach), jobs, &progress, screen).await
}

/// Watches jobs, each with the words by which it is named, until all have ended; Ctrl-C leaves them
/// running.
pub(super) async fn watch_all(
    reach: Arc<Reach>,
    jobs: Vec<(String, JobRef)>,
    progress: &Progress,
    screen: Screen,
) -> Ended {
    let mut signals = Signals::new().map_err(CommandError::Runtime)?;
    let words: Vec<&str> = jobs.iter().map(|(word, _)| word.as_str()).collect();
    let again = format!("gridctl watch {}", words.join(" "));
    let all = wait_all(&reach, jobs.into_iter().map(|(_, job)| job).collect(), Some(progress));
    let ended = tokio::select! {
        ended = all => ended,
        () = signals.next() => {
            progress.clear();
            screen.note(format_args!("what was submitted goes on by itself; to watch it again: {again}"));
            return Ok(Exit::Interrupted);
        }
    };
    progress.clear();
    let statuses = ended.map_err(|error| CommandError::of_wait(error, || again))?;
    let mut worst = Exit::Done;
    for status in &statuses {
        report::report(&reach.link().await.client, status, More::Grid, screen).await;
        worst = selection::worse(worst, selection::exit_of(status.job.state));
    }
    Ok(worst)
}

/// Waits until all jobs have ended, and returns their last statuses, in the order of `jobs`.
pub(super) async fn wait_all(
    reach: &Arc<Reach>,
    jobs: Vec<JobRef>,
    progress: Option<&Progress>,
) -> Result<Vec<JobStatus>, ReachError> {
    let mut following = JoinSet::new();
    for (place, job) in jobs.into_iter().enumerate() {
        let (reach, line) = (reach.clone(), progress.map(Progress::job));
        following.spawn(async move { (place, follow_shown(&reach, &job, line).await) });
    }
    let mut statuses = Vec::new();
    while let Some(joined) = following.join_next().await {
        // It is neither cancelled nor does it panic, unless this program has a defect.
        let (place, ended) = joined.expect("following a job does not panic");
        statuses.push((place, ended?));
    }
    statuses.sort_by_key(|(place, _)| *place);
    Ok(statuses.into_iter().map(|(_, status)| status).collect())
}

/// Follows a job to its end, and shows it on a line meanwhile.
pub(super) async fn follow_shown(
    reach: &Reach,
    job: &JobRef,
    line: Option<JobLine>,
) -> Result<JobStatus, ReachError> {
    let (seen, statuses) = watch::channel(None);
    let Some(line) = line else { return follow(reach, job, &seen).await };
    tokio::select! {
        ended = follow(reach, job, &seen) => ended,
        never = show(reach, statuses, line) => match never {},
    }
}

async fn show(
    reach: &Reach,
    mut statuses: watch::Receiver<Option<JobStatus>>,
    mut line: JobLine,
) -> std::convert::Infallible {
    let mut told = None;
    loop {
        if statuses.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let Some(status) = statuses.borrow_and_update().clone() else { continue };
        line.update(&status);
        let failure = status.last_failure.filter(|_| line.is_shown());
        if failure == told {
            continue;
        }
        if let Some(task) = &failure {
            let client = reach.link().await.client;
            let said = report::stderr_tail(&client, task, Some(task.attempts)).await;
            line.failed(task, &said.unwrap_or_default());
        }
        told = failure;
    }
}
