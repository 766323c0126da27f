//! What the scheduler wants done.

use std::sync::Arc;

use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, Token, UserId, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{ItemList, StageOrder};

use crate::activity::Change;
use crate::event::{RequestId, SessionId};
use crate::fact::{Fact, TokenId, UserRole};

/// A fact's place in the journal: the first is 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
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
    Send {
        session: SessionId,
        message: ToWorker,
    },
    Reply {
        request: RequestId,
        reply: Reply,
    },
    /// Ends a worker's session; nothing is sent to it any more.
    Close {
        session: SessionId,
        why: CloseReason,
    },
    /// Changes what readers see of the volatile state.
    Show(Change),
}

/// What a worker is told.
#[derive(Clone, PartialEq, Debug)]
pub enum ToWorker {
    /// The answer to Hello, with one for every item that it announced.
    Welcome {
        epoch: Epoch,
        answers: Vec<HeldAnswer>,
    },
    /// What the tasks of a stage run; sent once a session, before the first grant of the stage, or with
    /// what was adopted.
    Stage {
        order: Arc<StageOrder>,
    },
    Assign {
        grant: Grant,
    },
    /// Give back up to `tasks` of what has not begun, from the end of the queue; answered by `GivenBack`.
    TakeBack {
        token: Token,
        stage: StageId,
        tasks: u64,
    },
    /// End these tasks, running or not; no report of them is wanted.
    Stop {
        token: Token,
        stage: StageId,
        range: TaskRange,
    },
    /// Every report up to this sequence number is durable or void.
    Settled {
        up_to: u64,
    },
    /// Nothing of this stage will be granted any more; its order can be forgotten.
    Forget {
        stage: StageId,
    },
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
    LeaseExpired,
    /// Another machine is connected under this identity.
    IdentityInUse {
        name: String,
    },
    /// The certificate is of this grid, but no such worker is known (any more).
    UnknownWorker,
    /// It said something that no worker of ours says.
    Violation(Violation),
}

/// What a peer did that it must not.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    #[error("a range of tasks is empty or past the end of its stage")]
    BadRange,
    #[error("an announcement holds more than {max} items")]
    TooManyItems { max: usize },
    #[error("a report of several tasks carries something that only one task can have")]
    OneTaskOnly,
    #[error("a token of an epoch that has not begun")]
    FutureToken,
}

/// The answer to a client's request.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// Durable. `new` is false where the same submission had been accepted before.
    Submitted {
        id: JobId,
        number: JobNumber,
        new: bool,
    },
    /// How many tasks this cancel ended; running ones are counted.
    Cancelled {
        number: JobNumber,
        tasks: u64,
    },
    TokenCreated {
        token: TokenId,
    },
    TokenRevoked,
    Enrolled(Enrolled),
    Refused(Refusal),
}

/// Who somebody is from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Enrolled {
    Worker { worker: WorkerId, name: String },
    User { user: UserId, name: String, role: UserRole },
}

/// Why a request is refused.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("job id {id} is already job {number}, with another content; submit under a new id")]
    OtherContent { id: JobId, number: JobNumber },
    #[error("the job is not valid: {0}")]
    BadJob(String),
    #[error("no such job")]
    NoSuchJob,
    #[error("job {number} has no such stage or task")]
    NoSuchTask { number: JobNumber },
    #[error("job {number} belongs to someone else; ask its owner or an admin")]
    NotYours { number: JobNumber },
    #[error("only an admin may do this")]
    AdminOnly,
    #[error("job {number} has already ended")]
    AlreadyEnded { number: JobNumber },
    #[error("the grid holds as many open jobs as it can ({max}); wait until some have ended")]
    TooManyJobs { max: usize },
    #[error("no such join token")]
    NoSuchToken,
    #[error(
        "this join token is not known, or was revoked; ask for a new one (gridctl token create)"
    )]
    BadToken,
    #[error("this join token has expired; ask for a new one (gridctl token create)")]
    TokenExpired,
    #[error(
        "this join token has been used as often as it may be; ask for a new one (gridctl token create)"
    )]
    TokenUsedUp,
    #[error("the name is not valid: 1 to 128 letters, digits, `-`, `_` or `.`")]
    BadName,
}
