//! `gridctl watch`, and what else waits for jobs with a live display.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use gridctl_transport::message::client::{JobRef, JobStatus};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::report::{self, More};
use super::selection::Awaited;
use super::signals::Signals;
use super::{Ended, explain, selection};
use crate::cli::Watch;
use crate::client::{Reach, ReachError, follow};
use crate::error::{CommandError, Exit};
use crate::output::progress::{JobLine, Progress};
use crate::output::screen::Screen;

/// How long nothing may change before somebody who watches is told why.
const STILL_AFTER: Duration = Duration::from_secs(1);

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
    let awaited: Vec<Awaited> = jobs.into_iter().map(|(_, job)| Awaited::whole(job)).collect();
    let all = wait_all(&reach, &awaited, Some(progress));
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

/// Waits until all have ended, and returns the statuses of their jobs then, in the same order.
pub(super) async fn wait_all(
    reach: &Arc<Reach>,
    awaited: &[Awaited],
    progress: Option<&Progress>,
) -> Result<Vec<JobStatus>, ReachError> {
    let mut following = JoinSet::new();
    for (place, one) in awaited.iter().cloned().enumerate() {
        let (reach, line) = (reach.clone(), progress.map(Progress::job));
        following.spawn(async move { (place, follow_shown(&reach, &one, line).await) });
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

/// Follows a job, or a stage of it, to its end, and shows the job on a line meanwhile.
pub(super) async fn follow_shown(
    reach: &Reach,
    awaited: &Awaited,
    line: Option<JobLine>,
) -> Result<JobStatus, ReachError> {
    let (seen, statuses) = watch::channel(None);
    let followed = follow(reach, &awaited.job, |status| awaited.has_ended(status), &seen);
    let Some(line) = line else { return followed.await };
    tokio::select! {
        ended = followed => ended,
        never = show(reach, statuses, line) => match never {},
    }
}

/// Shows statuses as they come; where nothing runs for a while, also why.
async fn show(
    reach: &Reach,
    mut statuses: watch::Receiver<Option<JobStatus>>,
    mut line: JobLine,
) -> Infallible {
    if !line.is_shown() {
        return std::future::pending().await;
    }
    let mut told = None;
    loop {
        let is_still = match timeout(STILL_AFTER, statuses.changed()).await {
            Ok(Ok(())) => false,
            // Following has ended, and takes us along.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => true,
        };
        let Some(status) = statuses.borrow_and_update().clone() else { continue };
        line.update(&status);
        let tasks = &status.job.tasks;
        if is_still && tasks.running == 0 && tasks.waiting > 0 {
            let client = reach.link().await.client;
            if let Ok(Some(why)) = explain::first_reason(&client, JobRef::Id(status.job.id)).await {
                line.waits(&why);
                told = None;
            }
        } else if !is_still && told != Some(status.last_failure.clone()) {
            match &status.last_failure {
                Some(task) => {
                    let client = reach.link().await.client;
                    let said = report::stderr_tail(&client, task, Some(task.attempts)).await;
                    line.failed(task, &said.unwrap_or_default());
                }
                None => line.nothing_to_tell(),
            }
            told = Some(status.last_failure);
        }
    }
}
