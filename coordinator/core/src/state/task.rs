//! What is kept of single tasks: only where one differs from its range.

use gridctl_jobs::id::{Token, WorkerId};
use gridctl_jobs::state::{Failure, FailureKind};
use serde::{Deserialize, Serialize};

use crate::fact::{Kept, Span, TaskFailed};

/// How many failed attempts of a task are kept with their output.
pub const FAILED_ATTEMPTS_KEPT: usize = 3;

/// The failures of one task.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// Of the last attempt in a fact: nothing up to it counts any more.
    last: Token,
    /// The number of the last attempt that failed.
    attempts: u32,
    /// How many attempts were charged to the task's retries, since it was last reopened.
    spent: u32,
    /// Workers that could not start it, at most as many as it is tried on.
    could_not_start: Vec<WorkerId>,
    /// The last [`FAILED_ATTEMPTS_KEPT`], oldest first.
    failed: Vec<FailedAttempt>,
}

/// An attempt that did not succeed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// From 1.
    pub attempt: u32,
    /// Of the grant that it ran under.
    pub token: Token,
    /// Where it ran.
    pub worker: WorkerId,
    /// When it ran, by the worker's clock.
    pub span: Span,
    /// How it ended.
    pub failure: Failure,
    /// What it left behind.
    pub kept: Option<Kept>,
}

impl History {
    /// Returns the token of the last attempt in a fact.
    pub const fn last(&self) -> Token {
        self.last
    }

    /// Returns the number of the last attempt that failed.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Counts the attempts charged to the task's retries.
    pub const fn spent(&self) -> u32 {
        self.spent
    }

    /// Lists the workers that could not start it.
    pub fn could_not_start(&self) -> &[WorkerId] {
        &self.could_not_start
    }

    /// Lists the last failed attempts, oldest first.
    pub fn failed(&self) -> &[FailedAttempt] {
        &self.failed
    }

    /// Forgets what was spent, not what happened.
    pub(super) fn begin_anew(&mut self) {
        self.spent = 0;
        self.could_not_start.clear();
    }

    pub(super) fn add(&mut self, fact: &TaskFailed) {
        self.last = fact.token;
        self.attempts = self.attempts.max(fact.attempt);
        let kind = fact.failure.kind();
        if kind.is_own() {
            self.spent += 1;
        } else if kind == FailureKind::CouldNotStart && !self.could_not_start.contains(&fact.worker)
        {
            self.could_not_start.push(fact.worker);
        }
        if self.failed.len() == FAILED_ATTEMPTS_KEPT {
            self.failed.remove(0);
        }
        self.failed.push(FailedAttempt {
            attempt: fact.attempt,
            token: fact.token,
            worker: fact.worker,
            span: fact.span,
            failure: fact.failure.clone(),
            kept: fact.kept,
        });
    }
}
