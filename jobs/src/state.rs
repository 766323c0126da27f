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
    /// The machine ran out of memory, or the attempt used more than it may.
    OutOfMemory,
    /// The worker was lost while the task may have been running there.
    WorkerLost {
        /// How many workers were lost with it so far, this one included.
        losses: u32,
        /// Whether the worker ran nothing else at that time.
        alone: bool,
    },
    /// The worker was told to end the attempt, or ended it itself, to keep a promise: that nothing runs past
    /// its lease, or that something else goes first.
    Preempted,
    /// Somebody cancelled the task.
    Cancelled,
}

/// The kinds of [`Failure`], without what each has to tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum FailureKind {
    /// A code that is not 0.
    Exit,
    /// An error of a function.
    Error,
    /// A signal that was not ours.
    Signal,
    /// Longer than `timeout`.
    Timeout,
    /// Not enough memory.
    OutOfMemory,
    /// Not started at all.
    CouldNotStart,
    /// Gone with its worker.
    WorkerLost,
    /// Ended for something else.
    Preempted,
    /// Ended by somebody.
    Cancelled,
}

impl Failure {
    /// Returns its kind.
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Exit { .. } => FailureKind::Exit,
            Self::Error { .. } => FailureKind::Error,
            Self::Signal { .. } => FailureKind::Signal,
            Self::Timeout => FailureKind::Timeout,
            Self::OutOfMemory => FailureKind::OutOfMemory,
            Self::CouldNotStart { .. } => FailureKind::CouldNotStart,
            Self::WorkerLost { .. } => FailureKind::WorkerLost,
            Self::Preempted => FailureKind::Preempted,
            Self::Cancelled => FailureKind::Cancelled,
        }
    }

    /// Returns what the task or its machine said, where it said something.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Error { message } | Self::CouldNotStart { message } => Some(message),
            Self::Exit { .. }
            | Self::Signal { .. }
            | Self::Timeout
            | Self::OutOfMemory
            | Self::WorkerLost { .. }
            | Self::Preempted
            | Self::Cancelled => None,
        }
    }
}

impl FailureKind {
    /// Those of a task's own, in the order in which they are listed.
    pub const OWN: [Self; 5] =
        [Self::Exit, Self::Error, Self::Signal, Self::Timeout, Self::OutOfMemory];

    /// Returns the word for it, in job files too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Error => "error",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "oom",
            Self::CouldNotStart => "could not start",
            Self::WorkerLost => "worker lost",
            Self::Preempted => "preempted",
            Self::Cancelled => "cancelled",
        }
    }

    /// Says whether it is a failure of the task's own, which spends one of its retries.
    pub const fn is_own(self) -> bool {
        match self {
            Self::Exit | Self::Error | Self::Signal | Self::Timeout | Self::OutOfMemory => true,
            Self::CouldNotStart | Self::WorkerLost | Self::Preempted | Self::Cancelled => false,
        }
    }

    /// Says whether a worker can report it; the others only the coordinator knows.
    pub const fn is_seen_by_workers(self) -> bool {
        match self {
            Self::Exit
            | Self::Error
            | Self::Signal
            | Self::Timeout
            | Self::OutOfMemory
            | Self::CouldNotStart
            | Self::Preempted => true,
            Self::WorkerLost | Self::Cancelled => false,
        }
    }
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
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::WorkerLost { losses: ..=1, alone: false } => f.write_str("worker lost"),
            Self::WorkerLost { losses, alone } => {
                let times =
                    if *losses == 1 { "once".to_owned() } else { format!("{losses} times") };
                let how = if *alone { ", the last time with nothing else on it" } else { "" };
                write!(f, "worker lost: {times}{how}")
            }
            Self::Preempted => f.write_str("preempted"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_by_their_first_words() {
        let message = "no".to_owned();
        let lost = |losses, alone| Failure::WorkerLost { losses, alone };
        for (failure, shown) in [
            (Failure::Exit { code: 3 }, "exit 3"),
            (Failure::Error { message: message.clone() }, "error: no"),
            (Failure::Signal { signal: 9 }, "signal 9"),
            (Failure::Timeout, "timeout"),
            (Failure::OutOfMemory, "out of memory"),
            (Failure::CouldNotStart { message }, "could not start: no"),
            (lost(1, false), "worker lost"),
            (lost(2, false), "worker lost: 2 times"),
            (lost(1, true), "worker lost: once, the last time with nothing else on it"),
            (lost(3, true), "worker lost: 3 times, the last time with nothing else on it"),
            (Failure::Preempted, "preempted"),
            (Failure::Cancelled, "cancelled"),
        ] {
            assert_eq!(failure.to_string(), shown);
        }
    }
}
