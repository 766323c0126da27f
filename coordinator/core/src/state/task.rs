//! What is kept of single tasks: only where one differs from its range.

use gridctl_jobs::id::{Token, WorkerId};
use gridctl_jobs::state::{Failure, FailureKind};
use serde::{Deserialize, Serialize};

use crate::fact::{Kept, Span, TaskFailed, TaskLost};

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
    /// How many workers were lost with it.
    losses: u32,
    /// The last of these attempts.
    lost: Option<FailedAttempt>,
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

    /// Counts the workers that were lost while they may have been running it.
    pub const fn losses(&self) -> u32 {
        self.losses
    }

    /// Returns the token of the last attempt that was lost with its worker.
    pub fn last_lost(&self) -> Token {
        self.lost.as_ref().map_or(Token::default(), |lost| lost.token)
    }

    /// Returns the last attempt that did not succeed, be it that it failed or that it was lost.
    pub fn last_attempt(&self) -> Option<&FailedAttempt> {
        self.failed.iter().chain(&self.lost).max_by_key(|attempt| attempt.token)
    }

    /// Lists the last failed attempts, oldest first; lost ones, which left nothing behind, are not among them.
    pub fn failed(&self) -> &[FailedAttempt] {
        &self.failed
    }

    /// Forgets what was spent, not what happened.
    pub(super) fn begin_anew(&mut self) {
        self.spent = 0;
        self.losses = 0;
        self.could_not_start.clear();
    }

    pub(super) fn lose(&mut self, fact: &TaskLost) {
        self.attempts = self.attempts.max(fact.attempt);
        self.losses += 1;
        self.lost = Some(FailedAttempt {
            attempt: fact.attempt,
            token: fact.token,
            worker: fact.worker,
            span: fact.span,
            failure: Failure::WorkerLost { losses: self.losses, alone: fact.alone },
            kept: None,
        });
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
