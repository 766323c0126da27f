//! What a stage's tasks may cost before the grid gives up on them: retries and the wait before each, workers
//! lost with a task, tasks that have failed.
//!
//! Deliberately absent: counting. What was spent is the coordinator's to know.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{
    BACKOFF_MS_MAX, RETRIES_MAX, TASKS_PER_STAGE_MAX, WORKER_LOSSES_MAX, WORKER_LOSSES_USUAL,
};
use crate::state::FailureKind;

/// How much failure a stage bears.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// How many attempts more a task gets after its own failures.
    pub retries: u32,
    /// How long a task waits before each of them.
    pub backoff: Backoff,
    /// Which failures are tried again; only kinds that are a task's own ([`FailureKind::is_own`]).
    pub retry_on: BTreeSet<FailureKind>,
    /// How many workers may be lost with a task, the last while it ran alone there, before it is set aside; at
    /// least 1.
    pub worker_losses: u32,
    /// Once so many tasks of the stage have failed for good, what has not begun is skipped; at least 1.
    pub max_failures: Option<u64>,
}

/// The wait before a retry: it doubles from the first to the longest, less a jitter of up to a half.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the first retry, in milliseconds; at least 1.
    pub first_ms: u64,
    /// Before any retry, in milliseconds; not less than the first.
    pub longest_ms: u64,
}

/// What is wrong with a budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum BudgetError {
    /// More than [`RETRIES_MAX`].
    #[error("{retries} retries, at most {RETRIES_MAX} are allowed")]
    Retries {
        /// How many it asks for.
        retries: u32,
    },
    /// A wait that is none, shrinks, or does not end.
    #[error(transparent)]
    Backoff(#[from] BackoffError),
    /// A kind that is not a task's own failure.
    #[error("`{}` is not a failure that spends retries", kind.as_str())]
    RetryOn {
        /// Which one.
        kind: FailureKind,
    },
    /// None, or more than [`WORKER_LOSSES_MAX`].
    #[error("`worker_losses` is between 1 and {WORKER_LOSSES_MAX}, not {losses}")]
    WorkerLosses {
        /// How many it asks for.
        losses: u32,
    },
    /// None, or more than a stage can have tasks.
    #[error("`max_failures` is between 1 and {TASKS_PER_STAGE_MAX}, not {failures}")]
    MaxFailures {
        /// How many it asks for.
        failures: u64,
    },
}

/// A wait before retries that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum BackoffError {
    /// Nothing, or less than a millisecond.
    #[error("the wait before a retry is at least 1 ms")]
    Short,
    /// The longest is less than the first.
    #[error("the longest wait is shorter than the first")]
    Backwards,
    /// More than [`BACKOFF_MS_MAX`].
    #[error("the wait before a retry is at most {} days", BACKOFF_MS_MAX / 86_400_000)]
    Long,
}

/// A text that is not `first..longest`.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum ParseBackoffError {
    /// It is not two durations.
    #[error("the wait before retries is written as the first and the longest, not {text:?}")]
    Form {
        /// The text.
        text: String,
    },
    /// One of them is no duration.
    #[error("{text:?} is no duration: {source}")]
    Duration {
        /// The text of that part.
        text: String,
        /// What is wrong with it.
        source: humantime::DurationError,
    },
    /// Two durations that make no wait.
    #[error(transparent)]
    Backoff(#[from] BackoffError),
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            retries: 0,
            backoff: Backoff::default(),
            retry_on: FailureKind::OWN.into(),
            worker_losses: WORKER_LOSSES_USUAL,
            max_failures: None,
        }
    }
}

impl Budget {
    /// Checks every bound; returns all that is wrong, each with the key that says it.
    pub(crate) fn errors(&self) -> Vec<(&'static str, BudgetError)> {
        let mut errors = Vec::new();
        if self.retries > RETRIES_MAX {
            errors.push(("retries", BudgetError::Retries { retries: self.retries }));
        }
        if let Err(error) = self.backoff.check() {
            errors.push(("backoff", error.into()));
        }
        if let Some(kind) = self.retry_on.iter().copied().find(|kind| !kind.is_own()) {
            errors.push(("retry_on", BudgetError::RetryOn { kind }));
        }
        let losses = self.worker_losses;
        if losses == 0 || losses > WORKER_LOSSES_MAX {
            errors.push(("worker_losses", BudgetError::WorkerLosses { losses }));
        }
        if let Some(failures) = self.max_failures
            && (failures == 0 || failures > TASKS_PER_STAGE_MAX)
        {
            errors.push(("max_failures", BudgetError::MaxFailures { failures }));
        }
        errors
    }

    /// Says whether a failure may be followed by another attempt, as long as retries are left.
    pub fn is_retried(&self, kind: FailureKind) -> bool {
        self.retry_on.contains(&kind)
    }

    /// Returns from which loss on a task runs alone on its worker: the second, or the first where one is all
    /// that it may cost. (One machine takes down many that had no part in it; each of them on a machine of its
    /// own would take the whole grid.)
    pub fn alone_after_losses(&self) -> u32 {
        self.worker_losses.min(2)
    }
}

impl Backoff {
    /// Makes it of two durations, to the millisecond.
    ///
    /// # Errors
    /// Where they make no wait.
    pub fn new(first: Duration, longest: Duration) -> Result<Self, BackoffError> {
        let ms = |wait: Duration| u64::try_from(wait.as_millis()).map_err(|_| BackoffError::Long);
        let backoff = Self { first_ms: ms(first)?, longest_ms: ms(longest)? };
        backoff.check()?;
        Ok(backoff)
    }

    fn check(self) -> Result<(), BackoffError> {
        if self.first_ms == 0 {
            Err(BackoffError::Short)
        } else if self.longest_ms < self.first_ms {
            Err(BackoffError::Backwards)
        } else if self.longest_ms > BACKOFF_MS_MAX {
            Err(BackoffError::Long)
        } else {
            Ok(())
        }
    }
}

impl Default for Backoff {
    /// From one second to a minute.
    fn default() -> Self {
        Self { first_ms: 1_000, longest_ms: 60_000 }
    }
}

impl FromStr for Backoff {
    type Err = ParseBackoffError;

    fn from_str(text: &str) -> Result<Self, ParseBackoffError> {
        let form = || ParseBackoffError::Form { text: text.to_owned() };
        let (first, longest) = text.split_once("..").ok_or_else(form)?;
        let duration = |part: &str| {
            let error =
                |source| ParseBackoffError::Duration { text: part.trim().to_owned(), source };
            humantime::parse_duration(part.trim()).map_err(error)
        };
        Ok(Self::new(duration(first)?, duration(longest)?)?)
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |ms| humantime::format_duration(Duration::from_millis(ms));
        write!(f, "{}..{}", shown(self.first_ms), shown(self.longest_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_written_as_it_is_read() {
        for (text, first_ms, longest_ms) in [
            ("1s..1m", 1_000, 60_000),
            ("250ms..250ms", 250, 250),
            ("1m 30s .. 2h", 90_000, 7_200_000),
        ] {
            let backoff: Backoff = text.parse().unwrap();
            assert_eq!(backoff, Backoff { first_ms, longest_ms });
            assert_eq!(backoff.to_string().parse(), Ok(backoff));
        }
    }

    #[test]
    fn what_makes_no_wait_is_refused() {
        for (text, message) in [
            ("1s", "the wait before retries is written as the first and the longest, not \"1s\""),
            ("0s..1m", "the wait before a retry is at least 1 ms"),
            ("1m..1s", "the longest wait is shorter than the first"),
            ("1s..1year", "the wait before a retry is at most 7 days"),
        ] {
            assert_eq!(text.parse::<Backoff>().unwrap_err().to_string(), message);
        }
        assert!(matches!("1..2".parse::<Backoff>(), Err(ParseBackoffError::Duration { .. })));
    }

    #[test]
    fn every_bound_of_a_budget_is_held() {
        assert_eq!(Budget::default().errors(), []);
        let wrong = Budget {
            retries: RETRIES_MAX + 1,
            backoff: Backoff { first_ms: 0, longest_ms: 0 },
            retry_on: [FailureKind::WorkerLost].into(),
            worker_losses: 0,
            max_failures: Some(0),
        };
        let keys: Vec<&str> = wrong.errors().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["retries", "backoff", "retry_on", "worker_losses", "max_failures"]);
    }
}
