//! What the scheduler wants done.

#![expect(
    missing_docs,
    reason = "a field whose name and type say all goes without; every type and variant has its line"
)]

use std::sync::Arc;

use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, Token, UserId, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{ItemList, StageOrder};
use serde::{Deserialize, Serialize};

use crate::activity::Change;
use crate::event::{RequestId, SessionId};
use crate::fact::{Fact, TokenId, UserRole};

/// A fact's place in the journal: the first is 1.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct FactIndex(pub u64);

/// What a step yields: facts to be made durable, and effects that each wait for one of them.
#[derive(Debug, Default)]
pub struct Effects {
    /// In order, each with its index.
    pub facts: Vec<(FactIndex, Fact)>,
    /// In order, each with the index of the last fact that was made before it (of an earlier step too):
    /// it may be carried out once that index is durable.
    pub effects: Vec<(FactIndex, Effect)>,
}

/// Something for the shell to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Tells a worker something.
    Send { session: SessionId, message: ToWorker },
    /// Answers a client.
    Reply { request: RequestId, reply: Reply },
    /// Ends a worker's session; nothing is sent to it any more.
    Close { session: SessionId, why: CloseReason },
    /// Changes what readers see of the volatile state.
    Show(Change),
}

/// What a worker is told.
#[derive(Clone, PartialEq, Debug)]
pub enum ToWorker {
    /// The answer to Hello, with one for every item that it announced.
    Welcome { epoch: Epoch, answers: Vec<HeldAnswer> },
    /// What the tasks of a stage run; sent once a session, before the first grant of the stage, or with
    /// what was adopted.
    Stage { order: Arc<StageOrder> },
    /// Run these.
    Assign { grant: Grant },
    /// Give back up to `tasks` of the grant `token` that have not begun, from its end; answered by
    /// `GivenBack`, also where all have begun.
    TakeBack { token: Token, stage: StageId, tasks: u64 },
    /// End these tasks, running or not; no report of them is wanted.
    Stop { token: Token, stage: StageId, range: TaskRange },
    /// Every report up to this sequence number is durable or void.
    Settled { up_to: u64 },
    /// Nothing of this stage will be granted any more; its order can be forgotten.
    Forget { stage: StageId },
}

/// Tasks given to a worker: they may run there, at most `lanes` of the stage at once.
#[derive(Clone, PartialEq, Debug)]
pub struct Grant {
    pub token: Token,
    pub stage: StageId,
    pub range: TaskRange,
    /// From 1; the same for all tasks of the range.
    pub attempt: u32,
    /// Of this stage on this worker from now on, over all its grants.
    pub lanes: u32,
    /// The items of the range, where the worker cannot compute them.
    pub items: Option<ItemList>,
}

/// What becomes of something that a worker announced. A range may be answered in pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldAnswer {
    pub token: Token,
    pub stage: StageId,
    pub range: TaskRange,
    pub verdict: Verdict,
}

/// See [`HeldAnswer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on: it is yours.
    Adopt,
    /// Its result is already there.
    Done,
    /// Another grant, a cancel or a fence took it away: end it, and forget its result.
    Void,
    /// The job is not known here.
    UnknownJob,
}

/// Why a worker's session ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The same identity said Hello again.
    Superseded,
    /// It was not heard of for a whole lease.
    LeaseExpired,
    /// Another machine is connected under this identity.
    IdentityInUse { name: String },
    /// The certificate is of this grid, but no such worker is known (any more).
    UnknownWorker,
    /// It said something that no worker of ours says.
    Violation(Violation),
    /// Another process of the same worker may still run what it was granted, until its lease has run out;
    /// coming back later helps.
    LeaseRuns,
}

/// What a peer did that it must not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// Not a range of that stage.
    #[error("a range of tasks is empty or past the end of its stage")]
    BadRange,
    /// More than a worker can have.
    #[error("an announcement holds more than {max} items")]
    TooManyItems { max: usize },
    /// A failure, or something kept, for several tasks together.
    #[error("a report of several tasks carries something that only one task can have")]
    OneTaskOnly,
    /// A token that was never given out.
    #[error("a token of an epoch that has not begun")]
    FutureToken,
}

/// The answer to a client's request.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// Durable. `new` is false where the same submission had been accepted before.
    Submitted { id: JobId, number: JobNumber, new: bool },
    /// How many tasks this cancel ended; running ones are counted.
    Cancelled { number: JobNumber, tasks: u64 },
    /// How many tasks are to run again; durable.
    Retried { number: JobNumber, tasks: u64 },
    /// The job is gone; durable.
    Forgotten { number: JobNumber },
    /// The worker gets nothing new; durable. `running` counts the tasks that have begun there, as far as
    /// known, and `new` is false where it was draining before.
    WorkerDraining { worker: WorkerId, name: String, running: u64, new: bool },
    /// The worker is given work; durable. `new` is false where nothing kept it from that.
    WorkerResumed { worker: WorkerId, name: String, new: bool },
    /// A join token is there; durable.
    TokenCreated { token: TokenId },
    /// The join token lets nobody in any more; durable.
    TokenRevoked,
    /// A join token was accepted; durable.
    Enrolled(Enrolled),
    /// Nothing was done.
    Refused(Refusal),
}

/// Who somebody is from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Enrolled {
    /// A machine.
    Worker { worker: WorkerId, name: String },
    /// A person.
    User { user: UserId, name: String, role: UserRole },
}

/// Why a request is refused.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The id is taken.
    #[error("job id {id} is already job {number}, with another content; submit under a new id")]
    OtherContent { id: JobId, number: JobNumber },
    /// It breaks a rule that clients check before they send.
    #[error("the job is not valid: {0}")]
    BadJob(String),
    /// No job has that id.
    #[error("no such job")]
    NoSuchJob,
    /// The job is smaller than that.
    #[error("job {number} has no such stage or task")]
    NoSuchTask { number: JobNumber },
    /// Users change only their own jobs.
    #[error("job {number} belongs to someone else; ask its owner or an admin")]
    NotYours { number: JobNumber },
    /// For admins.
    #[error("only an admin may do this")]
    AdminOnly,
    /// Nothing of the job can change any more.
    #[error("job {number} has already ended")]
    AlreadyEnded { number: JobNumber },
    /// Nothing of it can be forgotten before.
    #[error("job {number} has not ended; cancel it first (gridctl cancel {number})")]
    NotEnded { number: JobNumber },
    /// Nothing that was named has failed, was cancelled or skipped.
    #[error(
        "nothing of that has failed, was cancelled or skipped in job {number}; to run again what is done: gridctl \
         retry --all"
    )]
    NothingToRetry { number: JobNumber },
    /// Nothing that was named has ended, but for what others are just using.
    #[error("nothing of that has ended in job {number}; what waits or runs is left alone")]
    NothingEnded { number: JobNumber },
    /// What was named is done, and a stage runs on what it gave.
    #[error(
        "stage {user} of job {number} is running on what that gave; wait until it has ended, or cancel it: gridctl \
         cancel {number}/{user}"
    )]
    InUse { number: JobNumber, user: String },
    /// It did not run because of a stage that was not named.
    #[error(
        "stage {stage} of job {number} was skipped because {because} did not succeed; retry that: gridctl retry \
         {number}/{because}"
    )]
    StillSkipped { number: JobNumber, stage: String, because: String },
    /// The id is that of a job that is gone, and not free again.
    #[error("job id {id} was that of job {number}, which was forgotten; submit under a new id")]
    Forgotten { id: JobId, number: JobNumber },
    /// No worker has that id.
    #[error("no such worker")]
    NoSuchWorker,
    /// The grid is full.
    #[error("the grid holds as many open jobs as it can ({max}); wait until some have ended")]
    TooManyJobs { max: usize },
    /// No join token has that id.
    #[error("no such join token")]
    NoSuchToken,
    /// Unknown, revoked, or with another secret.
    #[error(
        "this join token is not known, or was revoked; ask for a new one (gridctl token create)"
    )]
    BadToken,
    /// Its time is over.
    #[error("this join token has expired; ask for a new one (gridctl token create)")]
    TokenExpired,
    /// Its uses are.
    #[error(
        "this join token has been used as often as it may be; ask for a new one (gridctl token create)"
    )]
    TokenUsedUp,
    /// Not a name.
    #[error("the name is not valid: 1 to 128 letters, digits, `-`, `_` or `.`")]
    BadName,
}
