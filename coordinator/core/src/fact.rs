//! What the journal holds: decisions, not inputs.

#![expect(
    missing_docs,
    reason = "a field whose name and type say all goes without; every type and variant has its line"
)]

use std::sync::Arc;

use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, StageIndex, Token, UserId, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::state::{Failure, JobState};
use gridctl_jobs::units::WallMs;
use serde::{Deserialize, Serialize};

/// BLAKE3 of something's bytes.
pub type Digest = [u8; 32];

/// One durable decision. The fold of all facts, by [`State::apply`](crate::state::State::apply), is the
/// whole durable state.
///
/// New kinds go to the end: postcard numbers variants by place.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// A coordinator began a life; nothing is granted before this is durable.
    EpochStarted { epoch: Epoch, at: WallMs },
    /// A submission was accepted.
    JobSubmitted(JobSubmitted),
    /// Tasks of one grant that succeeded and have nothing of their own to tell.
    RangeDone(RangeDone),
    /// A task that succeeded, with output or a result.
    TaskDone(TaskDone),
    /// An attempt that did not succeed.
    TaskFailed(TaskFailed),
    /// A stage that can no longer run, since `because` did not succeed; none of its tasks has begun.
    StageSkipped { stage: StageId, because: StageIndex, at: WallMs },
    /// Every open task in `range` is cancelled; nothing granted to it up to `fence` ever commits. `begun` are
    /// those of them that ran, as far as was known.
    TasksCancelled {
        stage: StageId,
        range: TaskRange,
        fence: Token,
        begun: Vec<Begun>,
        by: UserId,
        at: WallMs,
    },
    /// Nothing of the job can change any more.
    JobEnded { job: JobId, state: JobState, at: WallMs },
    /// A join token was made.
    TokenCreated(TokenCreated),
    /// A join token lets nobody in any more.
    TokenRevoked { token: TokenId, by: UserId, at: WallMs },
    /// A machine was given an identity.
    WorkerEnrolled { worker: WorkerId, name: String, key: Digest, token: TokenId, at: WallMs },
    /// A person was given an identity.
    UserEnrolled {
        user: UserId,
        name: String,
        role: UserRole,
        key: Digest,
        token: TokenId,
        at: WallMs,
    },
    /// A job that had ended goes on: a retry, whose fence this is, has found something to run again.
    JobReopened { job: JobId, fence: Token, by: UserId, at: WallMs },
    /// A skipped stage waits again: what it needs can succeed.
    StageReopened { stage: StageId, at: WallMs },
    /// Every task in `range` that failed or was cancelled (with `done_too` also those that are done) is open
    /// again, with budgets that begin anew; nothing granted to it up to `fence` ever commits.
    TasksReopened {
        stage: StageId,
        range: TaskRange,
        done_too: bool,
        fence: Token,
        by: UserId,
        at: WallMs,
    },
    /// A worker is given nothing new until it is resumed.
    WorkerDraining { worker: WorkerId, by: UserId, at: WallMs },
    /// A worker is given work again, whatever kept it from it.
    WorkerResumed { worker: WorkerId, by: UserId, at: WallMs },
    /// A job that had ended is gone, with everything that it left behind; its id is remembered for a while,
    /// its number for ever. `by` is `None` where its time was over.
    JobForgotten { job: JobId, by: Option<UserId>, at: WallMs },
    /// A worker's process holds a lease from now on: after a restart it may still run what it was granted.
    WorkerAttached { worker: WorkerId, process: WorkerProcess },
    /// A worker holds no lease any more: it left, its lease ran out, or nothing of it is trusted.
    WorkerDetached { worker: WorkerId },
    /// The longest lease that may be in force from now on.
    LeaseLength { longest_ms: u64 },
    /// Nothing of the stage at or above `below` was ever granted; written ahead of the grants.
    Watermark { stage: StageId, below: u64 },
    /// The coordinator was set back (restored from a copy, or its journal lacks an epoch): watermarks and
    /// attached workers say nothing about what may run until this is over.
    SetBack { is_over: bool },
    /// A worker was lost while it may have been running a task.
    TaskLost(TaskLost),
    /// Every open task in `range` is skipped, since `failed` tasks of its stage have failed for good, which is
    /// as many as may; nothing granted to it up to `fence` ever commits, but nobody holds any of it.
    TasksSkipped { stage: StageId, range: TaskRange, fence: Token, failed: u64, at: WallMs },
}

/// One process of a worker, as its Hello names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct WorkerProcess {
    /// Tells machines (and data directories) apart that use the same identity.
    pub machine: [u8; 16],
    /// Random, of the process.
    pub process: [u8; 16],
    /// Counts the processes of that data directory: of two, the one with the lower number is gone.
    pub life: u64,
}

/// Tasks that were begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Begun {
    pub range: TaskRange,
    /// From 1; the same for all tasks of the range.
    pub attempt: u32,
}

/// A submission was accepted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobSubmitted {
    pub number: JobNumber,
    pub id: JobId,
    pub owner: UserId,
    /// Of the job's encoded content: sending another content under the same id is an error.
    pub digest: Digest,
    pub spec: Arc<JobSpec>,
    pub at: WallMs,
}

/// See [`Fact::RangeDone`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RangeDone {
    pub stage: StageId,
    pub range: TaskRange,
    pub token: Token,
    pub attempt: u32,
    pub worker: WorkerId,
    pub span: Span,
}

/// See [`Fact::TaskDone`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskDone {
    pub stage: StageId,
    pub index: u32,
    pub token: Token,
    pub attempt: u32,
    pub worker: WorkerId,
    pub span: Span,
    pub kept: Kept,
}

/// See [`Fact::TaskFailed`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskFailed {
    pub stage: StageId,
    pub index: u32,
    pub token: Token,
    pub attempt: u32,
    pub worker: WorkerId,
    pub span: Span,
    pub failure: Failure,
    pub kept: Option<Kept>,
    /// Whether the task has failed for good, or is tried again.
    pub last: bool,
}

/// See [`Fact::TaskLost`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskLost {
    pub stage: StageId,
    pub index: u32,
    /// Of the grant that was lost. It does not count as the last of the task: a late result may still come.
    pub token: Token,
    pub attempt: u32,
    pub worker: WorkerId,
    /// From when it is known to have run, until it was known to be lost, by the coordinator's clock.
    pub span: Span,
    /// Whether it is sure that nothing else ran on the worker.
    pub alone: bool,
    /// Whether the task has failed for good with it, or is tried again.
    pub last: bool,
}

/// A join token was made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TokenCreated {
    pub token: TokenId,
    /// Of the secret; the secret itself is never stored.
    pub secret_hash: Digest,
    pub role: TokenRole,
    /// How many enrolments it allows; without bound where `None`.
    pub uses: Option<u32>,
    pub expires_at: WallMs,
    pub by: UserId,
    pub at: WallMs,
}

/// A join token, as people name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TokenId(pub u64);

/// What a join token makes of its bearer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TokenRole {
    /// A machine that runs tasks.
    Worker,
    /// A person, with that role.
    User(UserRole),
}

/// What a person may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum UserRole {
    /// Sees every job, changes their own.
    User,
    /// Changes all, and makes join tokens.
    Admin,
}

/// When something ran, by the worker's clock; of a range, from the first start to the last end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Span {
    pub started: WallMs,
    pub ended: WallMs,
}

/// What an attempt left behind: one record of standard output, standard error and result, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub place: Place,
    pub stdout_bytes: u32,
    pub stderr_bytes: u32,
    pub result_bytes: u32,
}

/// Where a record lies in the packed result segments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Place {
    pub segment: u32,
    /// Which block of the segment, from 0: known before the block is compressed and written.
    pub block: u32,
    /// Where the record begins in the uncompressed block.
    pub offset: u32,
    /// Of the record's bytes, so that a mix-up of files never shows one task's output as another's.
    pub crc: u32,
}
