//! What happens to the scheduler.

#![expect(
    missing_docs,
    reason = "a field whose name and type say all goes without; every type and variant has its line"
)]

use std::sync::Arc;

use gridctl_jobs::id::{JobId, StageId, StageIndex, Token, UserId, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::state::Failure;
use gridctl_jobs::units::{Cpus, WallMs};

use crate::fact::{Digest, Kept, Span, TokenId, TokenRole, UserRole, WorkerProcess};

/// The time of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Decides. Never goes back within a life of the coordinator; means nothing in another one.
    pub mono: MonoMs,
    /// Is shown to people, and ends join tokens.
    pub wall: WallMs,
}

/// Milliseconds on a clock that only goes forward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MonoMs(pub u64);

/// One connection of a worker, from its Hello on; numbered by the shell, never reused in one life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// A question of a client that waits for its [`Reply`](crate::effect::Reply); numbered by the shell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Who asks, by the certificate of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    pub user: UserId,
    pub role: UserRole,
}

/// Everything that can happen.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The first event of a life, after recovery; `restored` where what was recovered is a copy of an earlier
    /// state of the grid, so that more may have been granted since than it knows of.
    Start { restored: bool },
    /// Someone submits a job.
    Submit { request: RequestId, caller: Caller, id: JobId, digest: Digest, spec: Arc<JobSpec> },
    /// Someone cancels a job, or a part of one.
    Cancel { request: RequestId, caller: Caller, target: Target },
    /// Someone wants to have run again what did not succeed (with `all`: all that has ended) of a job, or of a
    /// part of one.
    Retry { request: RequestId, caller: Caller, target: Target, all: bool },
    /// Someone wants a job that has ended to be gone.
    Forget { request: RequestId, caller: Caller, job: JobId },
    /// Someone wants a worker to finish what it runs, and to get nothing new.
    DrainWorker { request: RequestId, caller: Caller, worker: WorkerId },
    /// Someone wants a worker to be given work again.
    ResumeWorker { request: RequestId, caller: Caller, worker: WorkerId },
    /// Someone makes a join token.
    CreateToken {
        request: RequestId,
        caller: Caller,
        secret_hash: Digest,
        role: TokenRole,
        uses: Option<u32>,
        valid_ms: u64,
    },
    /// Someone revokes a join token.
    RevokeToken { request: RequestId, caller: Caller, token: TokenId },
    /// Someone shows a join token. `key` is the hash of the public key that wants a certificate: the same
    /// key with the same token is the same enrolment, however often it is asked for.
    Enrol {
        request: RequestId,
        token: TokenId,
        secret_hash: Digest,
        key: Digest,
        wanted_name: String,
    },
    /// A worker introduces itself; supersedes every older session of the same identity.
    WorkerHello { session: SessionId, worker: WorkerId, hello: WorkerHello },
    /// Tasks have begun; told only of those that take a while.
    Started { session: SessionId, tasks: Vec<(Token, StageId, TaskRange)> },
    /// A worker says what became of tasks.
    Report { session: SessionId, report: Report },
    /// The answer to a [`TakeBack`](crate::effect::ToWorker::TakeBack): these have not begun there and never will.
    GivenBack { session: SessionId, token: Token, stage: StageId, ranges: Vec<TaskRange> },
    /// The worker leaves in order; it has reported or given back all that it had.
    Goodbye { session: SessionId },
    /// The connection is gone; the lease runs on.
    Disconnected { session: SessionId },
    /// The lease has run out, and the session gets no more answers.
    LeaseExpired { session: SessionId },
    /// A deadline of [`next_deadline`](crate::scheduler::Scheduler::next_deadline) has come.
    Tick,
    /// Several heartbeats of the session did not come; its lease runs on.
    Silent { session: SessionId },
    /// A heartbeat of a session that was silent came.
    Heard { session: SessionId },
}

/// What a cancel or a retry is about: a job, a stage of it, or some tasks of that stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    pub job: JobId,
    pub stage: Option<StageIndex>,
    pub range: Option<TaskRange>,
}

/// What a worker says of itself and of what it holds.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkerHello {
    pub process: WorkerProcess,
    /// Counts the connections of that process: of two, the one with the lower number is over.
    pub connection: u64,
    /// Whether every process that an earlier process of this worker had started is surely gone.
    pub predecessor_gone: bool,
    /// Whether the worker can end whole process trees for sure, also when it dies itself.
    pub ends_trees: bool,
    pub cpus: Cpus,
    pub held: Vec<Held>,
}

/// Something that a worker holds from an earlier session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub token: Token,
    pub stage: StageId,
    pub range: TaskRange,
    pub attempt: u32,
    pub phase: Phase,
}

/// How far a worker has come with something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Not begun.
    Queued,
    /// Begun.
    Running,
    /// Its report is on the way.
    Finished,
}

/// What became of some tasks; reports of one worker are numbered and come in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    pub sequence: u64,
    pub items: Vec<ReportItem>,
}

/// What became of tasks of one grant.
#[derive(Clone, PartialEq, Debug)]
pub struct ReportItem {
    pub token: Token,
    pub stage: StageId,
    pub range: TaskRange,
    pub attempt: u32,
    pub span: Span,
    /// Run time of all tasks of the range together, in microseconds: what backlogs are sized by.
    pub busy_us: u64,
    pub outcome: Outcome,
}

/// How tasks ended. All but `Done` without anything kept are of one task.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// With success.
    Done { kept: Option<Kept> },
    /// Without.
    Failed { failure: Failure, kept: Option<Kept> },
}
