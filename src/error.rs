//! How a command ends: exit codes, and errors with what to do next.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use gridctl_jobs::diagnostic::Diagnostics;
use gridctl_jobs::id::JobNumber;
use gridctl_transport::credentials::LoadCredentialsError;
use gridctl_transport::handshake::GreetError;
use gridctl_transport::message::client::{Refused, RefusedKind};
use thiserror::Error;

use crate::client::{AskError, ConnectClientError, GaveUp, ReachError};
use crate::commands::{BackupError, JobSourceError, LoginError, RunError, ServeError, WorkError};
use crate::config::ReadConfigError;
use crate::dirs::NoHome;
use crate::profile::PickProfileError;

/// How a command ended, as its exit code says. Never a task's own code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    Done = 0,
    TaskFailed = 1,
    Usage = 2,
    NotReached = 3,
    Refused = 4,
    Cancelled = 5,
    NotFound = 6,
    Machine = 7,
    Interrupted = 130,
}

/// What `--help` says about exit codes.
pub(crate) const EXIT_CODES_HELP: &str = "\
Exit codes:
  0    done
  1    a task failed
  2    usage, or the job file is wrong or not there
  3    the coordinator was not reached, or was lost
  4    refused: not enrolled, not allowed, expired, no room on the coordinator's disk
  5    the job was cancelled
  6    no such job, task or worker
  7    this machine: disk, port, permission
  130  interrupted
";

/// Why a command did not do what it was asked for.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    NoHome(#[from] NoHome),
    #[error(transparent)]
    Profile(#[from] PickProfileError),
    #[error(transparent)]
    Config(#[from] ReadConfigError),
    #[error(transparent)]
    JobSource(#[from] JobSourceError),
    /// Printed as a compiler would, and not in one line.
    #[error("{0}")]
    Job(Box<Diagnostics>),
    #[error(transparent)]
    Connect(#[from] ConnectClientError),
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The coordinator stayed away; the job goes on, and this is how to go on waiting for it.
    #[error("{source}")]
    Outage { source: GaveUp, again: String },
    /// The job is there, and has other stages.
    #[error("job {number} has no stage {stage}; it has {}", there.join(", "))]
    NoStage { number: JobNumber, stage: String, there: Vec<String> },
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error(transparent)]
    Run(#[from] RunError),
    /// The only bare errors of input and output in commands come from printing.
    #[error("cannot write to standard output")]
    Stdout(#[from] io::Error),
    #[error("cannot start the threads that talk to the network")]
    Runtime(#[source] io::Error),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl CommandError {
    /// Makes the error of a wait; `again` is the command that goes on waiting.
    pub(crate) fn of_wait(error: ReachError, again: impl FnOnce() -> String) -> Self {
        match error {
            ReachError::Connect(error) => error.into(),
            ReachError::Ask(error) => error.into(),
            ReachError::GaveUp(source) => Self::Outage { source, again: again() },
        }
    }

    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Profile(error) => of_profile(error),
            Self::Config(error) => of_config(error),
            Self::Job(_) => Exit::Usage,
            Self::JobSource(error) => error.exit(),
            Self::Connect(error) => of_connect(error),
            Self::Ask(error) => of_ask(error),
            Self::Outage { .. } => Exit::NotReached,
            Self::NoStage { .. } => Exit::NotFound,
            Self::Backup(error) => error.exit(),
            Self::Login(error) => error.exit(),
            Self::Serve(error) => error.exit(),
            Self::Work(error) => error.exit(),
            Self::Run(error) => error.exit(),
            Self::NoHome(_) | Self::Stdout(_) | Self::Runtime(_) => Exit::Machine,
        }
    }

    /// Returns what to do next, where the message does not say it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Profile(PickProfileError::None) => Some(
                "join one with a token: gridctl login TOKEN; start your own: gridctl coordinator; or do without: \
                 gridctl run"
                    .to_owned(),
            ),
            Self::Profile(PickProfileError::Several { .. } | PickProfileError::Unknown { .. }) => {
                Some("name one: --grid NAME, or GRID_PROFILE".to_owned())
            }
            Self::Outage { again, .. } => {
                Some(format!("nothing is lost, the grid goes on by itself; to go on waiting: {again}"))
            }
            Self::Profile(_) | Self::Config(_) | Self::Job(_) | Self::JobSource(_) | Self::Connect(_) => None,
            Self::Backup(_) | Self::Ask(_) | Self::Login(_) | Self::Serve(_) | Self::Work(_) | Self::Run(_) => None,
            Self::NoStage { .. } | Self::NoHome(_) | Self::Stdout(_) | Self::Runtime(_) => None,
        }
    }

    /// Says whether whoever read our output has stopped: nothing more is to be said then.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Returns an error's message with those of its causes, each once.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

fn of_profile(error: &PickProfileError) -> Exit {
    match error {
        PickProfileError::None => Exit::Refused,
        PickProfileError::Unknown { .. }
        | PickProfileError::Several { .. }
        | PickProfileError::Name { .. } => Exit::Usage,
        PickProfileError::Read { .. } => Exit::Machine,
        PickProfileError::File(error) => of_config(error),
    }
}

fn of_config(error: &ReadConfigError) -> Exit {
    match error {
        ReadConfigError::Read { .. } => Exit::Machine,
        ReadConfigError::Content { .. } | ReadConfigError::TooLong { .. } => Exit::Usage,
    }
}

fn of_connect(error: &ConnectClientError) -> Exit {
    match error {
        ConnectClientError::Credentials(LoadCredentialsError::File(_))
        | ConnectClientError::Memory(_) => Exit::Machine,
        ConnectClientError::Greet(GreetError::Memory(_)) => Exit::Machine,
        ConnectClientError::Credentials(_) | ConnectClientError::NoPerson { .. } => Exit::Refused,
        error if error.is_outage() => Exit::NotReached,
        // Whoever answered speaks another language.
        ConnectClientError::Greet(GreetError::Read(_) | GreetError::Write(_)) => Exit::NotReached,
        ConnectClientError::Connect(_) | ConnectClientError::Greet(_) => Exit::Refused,
    }
}

fn of_ask(error: &AskError) -> Exit {
    match error {
        AskError::Lost(lost) if lost.is_refusal() => Exit::Refused,
        AskError::Lost(_) | AskError::Cut | AskError::Protocol(_) => Exit::NotReached,
        AskError::TooLarge(_) => Exit::Usage,
        AskError::Refused(Refused { kind, .. }) => match kind {
            RefusedKind::Invalid => Exit::Usage,
            // The disk is not this machine's.
            RefusedKind::Role | RefusedKind::NoRoom => Exit::Refused,
            RefusedKind::NotFound => Exit::NotFound,
            // The coordinator was reached, and is as good as lost for this request.
            RefusedKind::Overloaded | RefusedKind::Internal => Exit::NotReached,
        },
    }
}
