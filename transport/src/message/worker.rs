//! What a worker and the coordinator say to each other (`grid/1`, role worker).
//!
//! The worker opens three kinds of stream, each announced by its first frame, a [`StreamKind`]:
//! control (bidirectional, one), heartbeats (bidirectional, one, higher priority) and uploads
//! (unidirectional, one for each large output).

use std::sync::Arc;

use gridctl_jobs::id::{Epoch, StageId, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{ItemList, StageOrder};
use gridctl_jobs::state::Failure;
use gridctl_jobs::units::{Cpus, WallMs};
use serde::{Deserialize, Serialize};

use super::Turned;

/// Items of a Hello, a report or an answer: what fits a frame with room to spare.
pub const ITEMS_PER_MESSAGE_MAX: usize = 16_384;
/// Bytes of output, error and result together that travel inside a report; more goes as an upload.
pub const INLINE_OUTPUT_BYTES_MAX: usize = 64 << 10;

/// The first frame on every stream that a worker opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StreamKind {
    Control,
    Heartbeats,
    /// Raw bytes follow: standard output, standard error, result, of these lengths.
    Upload {
        upload: UploadId,
        stdout_bytes: u32,
        stderr_bytes: u32,
        result_bytes: u32,
    },
}

/// Numbers the uploads of one connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct UploadId(pub u64);

/// On the control stream, from the worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum WorkerMessage {
    Hello(Hello),
    Started {
        tasks: Vec<StartedTasks>,
    },
    Report(Report),
    GivenBack {
        token: Token,
        stage: StageId,
        ranges: Vec<TaskRange>,
    },
    /// Leaves in order: everything was reported or given back.
    Goodbye,
}

/// The first message on the control stream.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    /// The highest epoch that ever welcomed this worker.
    pub epoch_seen: Epoch,
    /// Tells machines (and data directories) apart that use the same identity.
    pub machine: [u8; 16],
    pub cpus: Cpus,
    /// The worker's clock, so that a difference can be named.
    pub wall: WallMs,
    /// Everything that it holds: queued, running, or finished and not yet acknowledged.
    pub held: Vec<Held>,
    /// Random, of this process of the worker.
    pub process: [u8; 16],
    /// Counts the processes of the worker's data directory, from 1.
    pub life: u64,
    /// Counts the connections of this process, from 1.
    pub connection: u64,
    /// Whether everything that an earlier process of this worker had started is surely gone.
    pub predecessor_gone: bool,
    /// Whether it can end whole process trees for sure, also when it dies itself.
    pub ends_trees: bool,
}

/// Something that a worker holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    pub token: Token,
    pub stage: StageId,
    pub range: TaskRange,
    pub attempt: u32,
    pub phase: Phase,
}

/// How far a worker has come with something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Phase {
    Queued,
    Running,
    Finished,
}

/// Tasks that have begun; told only of those that take a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StartedTasks {
    pub token: Token,
    pub stage: StageId,
    pub range: TaskRange,
}

/// What became of some tasks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Counts over the worker's whole life; a report that is sent again keeps its number.
    pub sequence: u64,
    pub items: Vec<ReportItem>,
}

/// What became of tasks of one grant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReportItem {
    pub token: Token,
    pub stage: StageId,
    pub range: TaskRange,
    pub attempt: u32,
    pub started: WallMs,
    pub ended: WallMs,
    /// Run time of all tasks of the range together, in microseconds.
    pub busy_us: u64,
    pub outcome: Outcome,
    /// `None` where there is nothing to tell. Only an item of one task may have some.
    pub output: Option<Output>,
}

/// How tasks ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    Done,
    Failed(Failure),
}

/// What an attempt left behind.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Output {
    /// At most [`INLINE_OUTPUT_BYTES_MAX`] together.
    Inline { stdout: Vec<u8>, stderr: Vec<u8>, result: Vec<u8> },
    /// Sent on a stream of its own of the same connection.
    Uploaded(UploadId),
}

/// On the control stream, from the coordinator.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum CoordinatorMessage {
    Welcome(Welcome),
    /// Closes the session.
    Turned(Turned),
    Stage(Arc<StageOrder>),
    Assign(Grant),
    /// Give back up to `tasks` of what has not begun, from the end of the queue.
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
    /// Every report up to this number is durable or void.
    Settled {
        up_to: u64,
    },
    /// Nothing of this stage will be granted any more.
    Forget {
        stage: StageId,
    },
    /// The coordinator stops in order; go on with what runs, and come back.
    Stopping,
}

/// The answer to Hello: from now on the worker is connected.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub version: u32,
    pub epoch: Epoch,
    pub grid: String,
    pub lease_ms: u64,
    pub heartbeat_ms: u64,
    /// One or more for every item that was announced.
    pub answers: Vec<HeldAnswer>,
}

/// What becomes of something announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldAnswer {
    pub token: Token,
    pub stage: StageId,
    pub range: TaskRange,
    pub verdict: Verdict,
}

/// See [`HeldAnswer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    Adopt,
    Done,
    Void,
    UnknownJob,
}

/// Tasks given to a worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub token: Token,
    pub stage: StageId,
    pub range: TaskRange,
    pub attempt: u32,
    /// How many tasks of this stage may run at once on this worker from now on.
    pub lanes: u32,
    pub items: Option<ItemList>,
}

/// On the heartbeat stream, from the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    pub sequence: u64,
}

/// On the heartbeat stream, from the coordinator: the lease runs `lease_ms` from when the heartbeat of
/// this number was *sent*.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    pub sequence: u64,
    pub lease_ms: u64,
}
