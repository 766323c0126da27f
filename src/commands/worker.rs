//! `gridctl worker`.

use std::io;
use std::process::ExitCode;

use gridctl_transport::join_token::{JoinToken, ParseTokenError};
use gridctl_worker::agent::AgentExit;
use gridctl_worker::config::GRACE_DEFAULT;
use gridctl_worker::descriptors::keep_from_tasks;
use gridctl_worker::parent::{Place, Plan, SuperviseError, Supervision, Trees, supervise};
use gridctl_worker::{Functions, StartWorkerError, Worker, WorkerConfig, WorkerEnd, WorkerHandle};
use thiserror::Error;

use super::signals::Signals;
use super::{Ended, log, login};
use crate::cli::WorkerOptions;
use crate::config;
use crate::dirs::Dirs;
use crate::error::{CommandError, Exit};
use crate::output::screen::Screen;

/// The file of settings, below the configuration directory.
const FILE: &str = "worker.toml";
/// The default data directory, below the state directory.
const DATA_DIR: &str = "worker";

/// Why there is no worker (any more).
#[derive(Debug, Error)]
pub(crate) enum WorkError {
    #[error(transparent)]
    Token(#[from] ParseTokenError),
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    #[error("cannot look at this program's own descriptors; is /proc mounted?")]
    Descriptors(#[source] io::Error),
    #[error(transparent)]
    Start(#[from] Box<StartWorkerError>),
    #[error("the coordinator refused this worker: {0}")]
    Refused(String),
}

impl WorkError {
    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Token(_) => Exit::Usage,
            Self::Supervise(_) | Self::Descriptors(_) => Exit::Machine,
            Self::Start(error) => of_start(error),
            Self::Refused(_) => Exit::Refused,
        }
    }
}

/// Returns the exit code of a worker that did not start.
pub(super) fn of_start(error: &StartWorkerError) -> Exit {
    match error {
        StartWorkerError::Join(error) => login::of_join(error),
        StartWorkerError::Identity(_)
        | StartWorkerError::NoAddress
        | StartWorkerError::NoWorker { .. } => Exit::Refused,
        StartWorkerError::DataDir(_)
        | StartWorkerError::Memory(_)
        | StartWorkerError::Epoch(_)
        | StartWorkerError::Scratch(_)
        | StartWorkerError::Thread(_) => Exit::Machine,
    }
}

/// Works until a signal comes.
pub(super) fn worker(options: WorkerOptions, screen: Screen) -> Result<ExitCode, CommandError> {
    let dirs = Dirs::new()?;
    let file = config::read(&dirs.config().join(FILE))?.unwrap_or_default();
    let options = options.or(file);
    let respawn = !options.no_respawn.unwrap_or(false);
    let config = worker_config(options, &dirs).map_err(WorkError::from)?;
    // What was wrong so far was told once; from here on there are several processes.
    let plan = Plan { data_dir: Some(&config.data_dir), respawn };
    match supervise(&plan).map_err(WorkError::from)? {
        Place::Parent(ended) => Ok(ended),
        Place::Child(above) => {
            let ended = below(below_parents(config, &above), screen);
            // A panic does not get here; after one it is started again.
            above.end_in_order();
            Ok(ended?.into())
        }
    }
}

/// Says what having these parents means to a worker.
fn below_parents(config: WorkerConfig, above: &Supervision) -> WorkerConfig {
    WorkerConfig {
        // The data directory was free, or the parent has seen the end of all that used it, and what was
        // left behind it has ended. Without starting again that is somebody else's to know.
        predecessor_gone: above.respawns(),
        ends_trees: above.respawns() && above.trees() == Trees::Namespace,
        supervision: above.clone(),
        ..config
    }
}

fn below(config: WorkerConfig, screen: Screen) -> Ended {
    keep_from_tasks().map_err(WorkError::Descriptors)?;
    log::init(screen);
    let runtime = tokio::runtime::Runtime::new().map_err(CommandError::Runtime)?;
    let ended = runtime.block_on(work(config));
    runtime.shutdown_background();
    ended
}

fn worker_config(options: WorkerOptions, dirs: &Dirs) -> Result<WorkerConfig, ParseTokenError> {
    let join: Option<JoinToken> = options.join.map(|token| token.parse()).transpose()?;
    let data_dir = options.data_dir.unwrap_or_else(|| dirs.state().join(DATA_DIR));
    Ok(WorkerConfig {
        join,
        name: options.name,
        cpus: options.cpus,
        grace: options.grace.unwrap_or(GRACE_DEFAULT),
        ..WorkerConfig::new(data_dir)
    })
}

async fn work(config: WorkerConfig) -> Ended {
    let mut signals = Signals::new().map_err(CommandError::Runtime)?;
    let grace = config.grace;
    let started = tokio::select! {
        started = Worker::start(config, Functions::new()) => started,
        () = signals.next() => return Ok(Exit::Interrupted),
    };
    let mut worker = started.map_err(|error| WorkError::Start(Box::new(error)))?;
    tracing::info!(name = worker.name(), "working");
    tokio::select! {
        end = worker.wait() => return ended(end),
        () = signals.next() => {}
    }
    let grace = humantime::format_duration(grace);
    tracing::info!("draining for up to {grace}; a second signal stops at once");
    worker.drain();
    tokio::select! {
        end = worker.wait() => ended(end),
        () = signals.next() => stop(worker).await,
    }
}

async fn stop(mut worker: WorkerHandle) -> Ended {
    worker.stop();
    worker.wait().await;
    Ok(Exit::Interrupted)
}

fn ended(end: WorkerEnd) -> Ended {
    match end {
        WorkerEnd::Agent(AgentExit::Drained) => Ok(Exit::Done),
        WorkerEnd::Agent(AgentExit::Undelivered { tasks }) => {
            tracing::warn!(
                "the coordinator was not there to take the results of {tasks} tasks; they run again elsewhere"
            );
            Ok(Exit::NotReached)
        }
        WorkerEnd::Agent(AgentExit::Refused(why)) => Err(WorkError::Refused(why).into()),
        WorkerEnd::Stopped => Ok(Exit::Interrupted),
    }
}
