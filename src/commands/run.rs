//! `gridctl run`: a coordinator and a worker in this process, for one job.

mod into;
mod local;

use std::io::{self, Write as _, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use gridctl_jobs::id::JobId;
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::client::{
    Answer, JobRef, JobStatus, OutputStages, OutputStream, Request, Target,
};
use gridctl_worker::config::measured_cpus;
use gridctl_worker::descriptors::keep_from_tasks;
use gridctl_worker::parent::{Place, Plan, SuperviseError, Supervision, supervise};
use thiserror::Error;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::timeout;
use uuid::Uuid;

use self::into::KeepOutputError;
use self::local::{LocalGrid, StartLocalError};
use super::job_source::{self, StartIn};
use super::report::{self, More};
use super::selection::{self, Awaited};
use super::signals::Signals;
use super::{Ended, submit, watch};
use crate::cli::Run;
use crate::client::{AskError, OutputAsked, Pieces, Reach, ReachError};
use crate::error::{CommandError, Exit};
use crate::output::progress::Progress;
use crate::output::screen::Screen;

/// How long a job that is cancelled may take to end before its tasks are simply killed.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a coordinator in this very process may be out of reach: only a machine that stood still makes
/// it so.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(60);

/// Why a job could not be run here.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    #[error("cannot look at this program's own descriptors; is /proc mounted?")]
    Descriptors(#[source] io::Error),
    #[error(transparent)]
    Start(#[from] StartLocalError),
    #[error(transparent)]
    Coordinator(#[from] gridctl_coordinator::Failure),
    #[error(transparent)]
    Keep(#[from] KeepOutputError),
    /// It would wait for ever.
    #[error(
        "a task of stage {stage} asks for {wanted} cpus, and this machine has {has}; ask for fewer"
    )]
    TooManyCpus { stage: String, wanted: Cpus, has: Cpus },
    #[error("the job was lost sight of")]
    Reach(#[source] ReachError),
}

/// How the waiting for a job came to its end.
enum Outcome {
    Ended(Box<JobStatus>),
    Interrupted,
    /// Nobody reads our standard output any more.
    Unread(io::Error),
}

/// One job on one local grid.
struct Running<'a> {
    reach: Arc<Reach>,
    job: JobRef,
    progress: &'a Progress,
    into: Option<&'a Path>,
}

impl RunError {
    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Supervise(_)
            | Self::Descriptors(_)
            | Self::Start(_)
            | Self::Coordinator(_)
            | Self::Keep(_)
            | Self::TooManyCpus { .. } => Exit::Machine,
            Self::Reach(_) => Exit::NotReached,
        }
    }
}

/// Runs a job to its end.
pub(super) fn run(args: Run, screen: Screen) -> Result<ExitCode, CommandError> {
    // First of all: standard input can be read only once.
    let worker_dir = args.data_dir.as_deref().map(local::worker_dir);
    let plan = Plan { data_dir: worker_dir.as_deref(), respawn: false };
    let above = match supervise(&plan).map_err(RunError::from)? {
        Place::Parent(ended) => return Ok(ended),
        Place::Child(above) => above,
    };
    let spec = job_source::load(args.source, StartIn::Here, screen)?.spec;
    check_cpus(&spec)?;
    // Not before: the job itself may have come by one of them.
    keep_from_tasks().map_err(RunError::Descriptors)?;
    let runtime = tokio::runtime::Runtime::new().map_err(CommandError::Runtime)?;
    let ended = runtime.block_on(run_job(
        spec,
        &above,
        args.data_dir.as_deref(),
        args.into.as_deref(),
        screen,
    ));
    // A thread that waits for whoever reads our output must not hold the end up.
    runtime.shutdown_background();
    Ok(ended?.into())
}

fn check_cpus(spec: &JobSpec) -> Result<(), RunError> {
    let has = measured_cpus();
    match spec.stages.iter().find(|stage| stage.task.cpus > has) {
        None => Ok(()),
        Some(stage) => {
            let wanted = stage.task.cpus;
            Err(RunError::TooManyCpus { stage: stage.name.clone(), wanted, has })
        }
    }
}

async fn run_job(
    spec: JobSpec,
    above: &Supervision,
    data_dir: Option<&Path>,
    into: Option<&Path>,
    screen: Screen,
) -> Ended {
    let mut signals = Signals::new().map_err(CommandError::Runtime)?;
    let grid = tokio::select! {
        grid = LocalGrid::start(data_dir, above) => grid.map_err(RunError::from)?,
        () = signals.next() => return Ok(Exit::Interrupted),
    };
    let progress = Progress::new(screen);
    let ended = tokio::select! {
        ended = drive(&grid, spec, into, &mut signals, &progress) => ended,
        failure = grid.failed() => Err(RunError::from(failure).into()),
    };
    // However it ended, the terminal is as it was.
    progress.clear();
    grid.stop().await;
    ended
}

async fn drive(
    grid: &LocalGrid,
    spec: JobSpec,
    into: Option<&Path>,
    signals: &mut Signals,
    progress: &Progress,
) -> Ended {
    let tell = progress.clone();
    let connected =
        Reach::connect(grid.profile().clone(), OUTAGE_PATIENCE, move |text| tell.note(text)).await;
    let reach = Arc::new(connected?);
    let stages: Vec<String> = spec.stages.iter().map(|stage| stage.name.clone()).collect();
    let submitted = submit::submit_to(&reach, JobId(Uuid::now_v7()), spec).await;
    let (number, _) = submitted.map_err(RunError::Reach)?;
    let running = Running { reach, job: JobRef::Number(number), progress, into };
    let printing = running.print_output();
    let outcome = tokio::select! {
        outcome = running.wait(printing) => outcome?,
        () = signals.next() => Outcome::Interrupted,
    };
    running.progress.clear();
    let ended = running.conclude(outcome, signals).await;
    if let Some(directory) = into {
        into::keep(&running.reach, &running.job, &stages, directory)
            .await
            .map_err(RunError::from)?;
    }
    ended
}

impl Running<'_> {
    /// Prints what the last stages print, on a thread that whoever reads it may hold up. It ends with the
    /// set: nobody is to hear of a coordinator that is gone because we stop it.
    fn print_output(&self) -> JoinSet<Result<io::Result<()>, ReachError>> {
        let (reach, progress) = (self.reach.clone(), self.progress.clone());
        let asked = OutputAsked {
            target: Target { job: self.job.clone(), stage: None, range: None },
            stream: OutputStream::Stdout,
            follow: true,
            attempt: None,
            stages: OutputStages::Last,
        };
        let mut printing = JoinSet::new();
        printing.spawn(async move {
            let mut pieces = Pieces::ask(&reach, asked).await;
            while let Some(piece) = pieces.next().await? {
                let print = || {
                    let mut out = stdout().lock();
                    out.write_all(&piece.bytes).and_then(|()| out.flush())
                };
                if let Err(error) = block_in_place(|| progress.aside(print)) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        });
        printing
    }

    /// Waits until the job has ended and everything is printed.
    async fn wait(
        &self,
        mut printing: JoinSet<Result<io::Result<()>, ReachError>>,
    ) -> Result<Outcome, RunError> {
        let awaited = Awaited::whole(self.job.clone());
        let following = watch::follow_shown(&self.reach, &awaited, Some(self.progress.job()));
        tokio::pin!(following);
        let mut status = None;
        loop {
            tokio::select! {
                ended = &mut following, if status.is_none() => {
                    status = Some(ended.map_err(RunError::Reach)?);
                }
                Some(printed) = printing.join_next() => {
                    match printed.expect("printing neither panics nor is cancelled") {
                        Ok(Ok(())) => break,
                        Ok(Err(error)) => return Ok(Outcome::Unread(error)),
                        Err(error) => return Err(RunError::Reach(error)),
                    }
                }
            }
        }
        let status = match status {
            Some(status) => status,
            None => following.await.map_err(RunError::Reach)?,
        };
        Ok(Outcome::Ended(Box::new(status)))
    }

    /// Says what became of the job; cancels it where it has not ended.
    async fn conclude(&self, outcome: Outcome, signals: &mut Signals) -> Ended {
        match outcome {
            Outcome::Ended(status) => {
                self.report(&status).await;
                Ok(selection::exit_of(status.job.state))
            }
            Outcome::Interrupted => {
                self.progress.note("cancelling the job; once more to stop at once");
                match self.cancel(signals).await {
                    Some(status) => self.report(&status).await,
                    None => self.progress.note("stopped: what was still running is killed"),
                }
                Ok(Exit::Interrupted)
            }
            Outcome::Unread(error) => {
                self.cancel(signals).await;
                // As quiet as a program that the signal ends; anything else is told.
                if error.kind() == io::ErrorKind::BrokenPipe {
                    Ok(Exit::Cancelled)
                } else {
                    Err(error.into())
                }
            }
        }
    }

    /// Cancels the job, and waits a while for it to end.
    async fn cancel(&self, signals: &mut Signals) -> Option<JobStatus> {
        let cancelled = async {
            let client = self.reach.link().await.client;
            let target = Target { job: self.job.clone(), stage: None, range: None };
            let take = |answer| matches!(answer, Answer::Cancelled { .. }).then_some(());
            match client.ask_one(&Request::Cancel { target }, take).await {
                // Where it has ended meanwhile there is nothing to cancel.
                Ok(()) | Err(AskError::Refused(_)) => {}
                Err(_) => return None,
            }
            watch::follow_shown(&self.reach, &Awaited::whole(self.job.clone()), None).await.ok()
        };
        tokio::select! {
            status = timeout(CANCEL_PATIENCE, cancelled) => status.ok().flatten(),
            () = signals.next() => None,
        }
    }

    async fn report(&self, status: &JobStatus) {
        let client = self.reach.link().await.client;
        report::report(&client, status, More::Run { into: self.into }, self.progress.screen())
            .await;
    }
}
