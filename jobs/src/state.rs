//! States of jobs and tasks, and the kinds of failure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a job as a whole is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobState {
    /// Nothing of it has begun.
    Waiting,
    /// Some task of it runs, or has run and others wait.
    Running,
    /// Every task is done.
    Done,
    /// A task failed for good, or stages were skipped because of one.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum TaskState {
    /// It was not begun, or will be tried again.
    Waiting,
    /// A worker has begun it.
    Running,
    /// A result of it is committed.
    Done,
    /// It failed for good.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It could not run because something before it failed.
    Skipped,
}

/// Why an attempt did not succeed; told apart in every view.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Failure {
    /// The program ended with this code, not 0.
    Exit {
        /// The code.
        code: i32,
    },
    /// A function returned an error, panicked, or its result was too large.
    Error {
        /// What the function said.
        message: String,
    },
    /// The program was ended by this signal, which was not ours.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// The attempt ran longer than the stage's `timeout`.
    Timeout,
    /// The program could not be started there: not found, no such directory, no such function.
    CouldNotStart {
        /// What the worker's machine said.
        message: String,
    },
}

impl JobState {
    /// Says whether nothing of it can change any more.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// Returns the word that people and `--json` see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl TaskState {
    /// Every state, in the order in which views list them.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Running, Self::Done, Self::Failed, Self::Cancelled, Self::Skipped];

    /// Returns the word that people and `--json` see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit { code } => write!(f, "exit {code}"),
            Self::Error { message } => write!(f, "error: {message}"),
            Self::Signal { signal } => write!(f, "signal {signal}"),
            Self::Timeout => f.write_str("timeout"),
            Self::CouldNotStart { message } => write!(f, "could not start: {message}"),
        }
    }
}
