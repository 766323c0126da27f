//! What a person's client and the coordinator say to each other (`grid/1`, roles user and admin).
//!
//! The first bidirectional stream carries [`ClientHello`] and [`ClientWelcome`]; after that every request
//! is a bidirectional stream of its own: one [`Request`] frame there, one or more [`Answer`] frames back.

use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageIndex};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::reason::WaitReason;
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::state::{Failure, JobState, TaskState};
use gridctl_jobs::units::{Cpus, WallMs};
use serde::{Deserialize, Serialize};

use super::Turned;

/// Rows of one answer; a longer table comes in several.
pub const ROWS_PER_ANSWER_MAX: usize = 4096;

/// The first frame of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientHello {
    pub version: u32,
    /// The highest epoch that ever welcomed this profile.
    pub epoch_seen: Epoch,
}

/// The answer to [`ClientHello`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ClientWelcome {
    Welcome { version: u32, epoch: Epoch, grid: String },
    Turned(Turned),
}

/// What a client can ask for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Answered by `Submitted`.
    Submit { id: JobId, spec: JobSpec },
    /// Answered by `Cancelled`.
    Cancel { target: Target },
    /// Answered by `Jobs`, newest last, then `End`. `open_only` leaves out what has ended.
    Jobs { open_only: bool },
    /// Answered by `Status`.
    Status { job: JobRef },
    /// Answered by `Tasks`, by stage and index, then `End`. Without states, those of all states.
    Tasks { target: Target, states: Vec<TaskState> },
    /// Answered by `Status` now and at every change (at most some times a second) until the job has
    /// ended, then `End`.
    Watch { job: JobRef },
    /// Answered by `Output` pieces in order, then `End`.
    Output {
        target: Target,
        stream: OutputStream,
        follow: bool,
        attempt: Option<u32>,
        stages: OutputStages,
    },
    /// Answered by `Explained`.
    Explain { job: JobRef },
    /// Answered by `Workers`, then `End`.
    Workers,
    /// Admin only; answered by `TokenCreated`.
    CreateToken { role: TokenRole, uses: Option<u32>, valid_ms: u64 },
    /// Admin only; answered by `Tokens`, then `End`.
    Tokens,
    /// Admin only; answered by `TokenRevoked`.
    RevokeToken { token_id: u64 },
    /// Answered by `Retried`. With `all`, what is done is run again too.
    Retry { target: Target, all: bool },
    /// Answered by `Forgotten`.
    Forget { job: JobRef },
    /// Admin only; answered by `WorkerDraining`. The worker by name or id.
    DrainWorker { worker: String },
    /// Admin only; answered by `WorkerResumed`. The worker by name or id.
    ResumeWorker { worker: String },
    /// Admin only; answered by `Backup` pieces in order, then `End`.
    Backup,
}

/// A job as a person names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JobRef {
    Number(JobNumber),
    Id(JobId),
    /// The caller's own last one.
    Last,
    /// A name that only one job has.
    Name(String),
}

/// A job, or a stage of it, or some tasks of that stage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    pub job: JobRef,
    /// By name.
    pub stage: Option<String>,
    pub range: Option<TaskRange>,
}

/// Which output stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OutputStream {
    /// What tasks printed; of a function, its result as one line of JSON.
    Stdout,
    Stderr,
}

/// Of which stages output is wanted where the target names none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OutputStages {
    All,
    /// Those that no other stage needs.
    Last,
}

/// What a join token makes of its bearer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TokenRole {
    Worker,
    User,
    Admin,
}

/// A piece of an answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Durable. `new` is false where the same submission had been accepted before.
    Submitted {
        id: JobId,
        number: JobNumber,
        new: bool,
    },
    Cancelled {
        number: JobNumber,
        tasks: u64,
    },
    Jobs(Vec<JobSummary>),
    Status(Box<JobStatus>),
    Tasks(Vec<TaskRow>),
    /// A piece of one task's output. A task without any is left out. With `follow`, and a job that has
    /// ended otherwise than it should, tasks without a committed attempt give their last one.
    Output {
        stage: StageIndex,
        index: u64,
        attempt: u32,
        bytes: Vec<u8>,
    },
    Explained(Vec<Explanation>),
    Workers(Vec<WorkerRow>),
    /// The whole token, to be shown once.
    TokenCreated {
        token_id: u64,
        token: String,
        expires_at: WallMs,
    },
    Tokens(Vec<TokenRow>),
    TokenRevoked,
    /// Nothing follows.
    End,
    Refused(Refused),
    /// Durable. How many tasks are to run again.
    Retried {
        number: JobNumber,
        tasks: u64,
    },
    /// Durable.
    Forgotten {
        number: JobNumber,
    },
    /// Durable. `running` counts the tasks that have begun there; `new` is false where it was draining.
    WorkerDraining {
        name: String,
        running: u64,
        new: bool,
    },
    /// Durable. `new` is false where nothing kept the worker from work.
    WorkerResumed {
        name: String,
        new: bool,
    },
    /// A piece of the file that a backup is.
    Backup {
        bytes: Vec<u8>,
    },
}

/// Why a request was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    pub kind: RefusedKind,
    /// For a person: what, where, and what next.
    pub message: String,
}

/// What kind of refusal: exit codes follow from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RefusedKind {
    /// The request itself is wrong.
    Invalid,
    /// The role does not allow it.
    Role,
    /// No such job, stage, task or token.
    NotFound,
    /// The coordinator cannot take it now; the same may be tried later.
    Overloaded,
    /// The coordinator's own fault (a damaged result file, say).
    Internal,
    /// The coordinator's disk is full; the same may be tried again once there is room.
    NoRoom,
}

/// Tasks by state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TaskCounts {
    pub total: u64,
    pub waiting: u64,
    pub running: u64,
    pub done: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub skipped: u64,
}

/// A row of `gridctl jobs`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobSummary {
    pub number: JobNumber,
    pub id: JobId,
    pub name: String,
    pub owner: String,
    pub priority: i32,
    pub state: JobState,
    pub tasks: TaskCounts,
    pub submitted_at: WallMs,
    pub finished_at: Option<WallMs>,
}

/// How a job goes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobStatus {
    pub job: JobSummary,
    pub stages: Vec<StageStatus>,
    /// The failure that came last, for good or not.
    pub last_failure: Option<TaskRow>,
    /// What concerns every job, for a person: that the coordinator's disk is full, say.
    pub notice: Option<String>,
}

/// How a stage goes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StageStatus {
    pub name: String,
    pub needs: Vec<String>,
    pub tasks: TaskCounts,
    /// Whether it was skipped because of another, which is named.
    pub skipped_because: Option<String>,
    /// How many of its tasks had failed for good when what had not begun was skipped (`max_failures`).
    pub ended_early_after: Option<u64>,
}

/// A row of `gridctl tasks`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskRow {
    pub job: JobNumber,
    pub stage: String,
    pub index: u64,
    pub state: TaskState,
    /// How many were begun, as far as known.
    pub attempts: u32,
    /// The name of the worker that runs or last ran it.
    pub worker: Option<String>,
    /// Of the last attempt that failed.
    pub failure: Option<Failure>,
    pub exit_code: Option<i32>,
    pub started_at: Option<WallMs>,
    pub finished_at: Option<WallMs>,
    /// Whether the times are this task's own, not those of the range in which it was reported.
    pub exact: bool,
}

/// Why tasks of a stage wait.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    pub stage: String,
    pub tasks: TaskCounts,
    pub reasons: Vec<WaitReason>,
    /// Names of the workers that reasons speak of by id.
    pub workers: Vec<(gridctl_jobs::id::WorkerId, String)>,
}

/// A row of `gridctl workers`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkerRow {
    pub name: String,
    pub id: u64,
    pub state: WorkerState,
    pub cpus: Cpus,
    pub reserved: Cpus,
    /// Tasks that have begun there, as far as known.
    pub running: u64,
    pub last_heartbeat_ms: Option<u64>,
    pub enrolled_at: WallMs,
}

/// Whether a worker can be given work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WorkerState {
    Ready,
    Suspect,
    /// Its lease ran out, or it is enrolled and not connected.
    Lost,
    /// It is connected, finishes what it runs, and gets nothing new.
    Draining,
}

/// A row of `gridctl token list`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TokenRow {
    pub token_id: u64,
    pub role: TokenRole,
    pub uses_left: Option<u32>,
    pub used: u32,
    pub created_at: WallMs,
    pub expires_at: WallMs,
    pub revoked: bool,
}
