//! What happens to the agent, and what it wants done.

#![expect(missing_docs, reason = "what a variant says of itself names its fields")]

use std::sync::Arc;

use gridctl_jobs::id::{Epoch, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::render::Renderer;
use gridctl_jobs::spec::ItemList;
use gridctl_jobs::units::{Cpus, WallMs};
use gridctl_transport::message::Turned;
use gridctl_transport::message::worker::{CoordinatorMessage, Outcome, UploadId, WorkerMessage};

use crate::limits::SPILLED_BYTES_PER_BYTE;
use crate::spill::Place;

/// The time of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Decides. Never goes back within the life of an agent.
    pub mono: MonoMs,
    /// Is shown to people.
    pub wall: WallMs,
}

/// Milliseconds on a clock that only goes forward, and goes on while the machine is suspended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MonoMs(pub u64);

impl MonoMs {
    /// Returns the moment `ms` milliseconds later.
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Counts the milliseconds since `earlier`; 0 where that is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One attempt to connect and the connection that it became; counts over the life of an agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LinkId(pub u64);

/// Names a [`Slice`]; counts over the life of an agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SliceId(pub u64);

/// Everything that can happen to an agent.
#[derive(Clone, PartialEq, Debug)]
pub enum AgentEvent {
    /// The first event: connects.
    Start,
    /// The control stream of this link is open; nothing has been said on it.
    LinkUp { link: LinkId },
    /// The link could not be made, or is gone; nothing more comes from it.
    LinkDown { link: LinkId, why: LinkEnd },
    /// The coordinator said something on the control stream.
    Message { link: LinkId, message: CoordinatorMessage },
    /// A heartbeat was answered: the lease runs `lease_ms` from when that heartbeat was *sent*.
    LeaseRenewed { link: LinkId, sent: MonoMs, lease_ms: u64 },
    /// Tasks of a slice have ended, in the slice's order, each task once.
    Ended { slice: SliceId, ends: Vec<TaskEnd> },
    /// The answer to [`AgentEffect::Reclaim`]: these tasks of the slice have not begun and will not;
    /// empty where all have. It reaches to the end of the slice.
    Reclaimed { slice: SliceId, tail: TaskRange },
    /// Nothing of the slice runs any more; its cpus are free. Every task of it has ended before, was
    /// reclaimed, or was cancelled.
    Returned { slice: SliceId },
    /// Begin nothing more, finish what runs within the grace, then say goodbye.
    Drain,
    /// A deadline of [`Agent::next_deadline`](crate::agent::Agent::next_deadline) has come.
    Tick,
}

/// Why a link is no more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEnd {
    /// It broke, or could not be made; trying again may help. In words, for the log.
    Broken(String),
    /// The other side will not have this identity, and trying again does not help; says what to do.
    Refused(String),
}

/// Tasks of one slice that have ended. Several only where they have nothing of their own to tell.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskEnd {
    /// Not empty.
    pub range: TaskRange,
    /// When the first of them began.
    pub started: WallMs,
    /// When the last of them ended.
    pub ended: WallMs,
    /// Run time of all of them together, in nanoseconds.
    pub busy_ns: u64,
    /// The same for all of them; a failure is of one task.
    pub outcome: Outcome,
    /// Only one task can have some; never wholly empty.
    pub output: Option<Arc<TaskOutput>>,
}

/// What an attempt left behind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskOutput {
    /// At most [`OUTPUT_BYTES_MAX`](gridctl_jobs::limits::OUTPUT_BYTES_MAX).
    pub stdout: Vec<u8>,
    /// At most [`OUTPUT_BYTES_MAX`](gridctl_jobs::limits::OUTPUT_BYTES_MAX).
    pub stderr: Vec<u8>,
    /// A function's result as JSON; at most [`RESULT_BYTES_MAX`](gridctl_jobs::limits::RESULT_BYTES_MAX).
    pub result: Vec<u8>,
    /// Where it is kept, if it is large; the three above are empty where that is not in memory.
    pub place: Option<Arc<Place>>,
}

impl TaskOutput {
    /// Of a task that has nothing to tell.
    pub const EMPTY: Self =
        Self { stdout: Vec::new(), stderr: Vec::new(), result: Vec::new(), place: None };

    /// Counts all its bytes, wherever they are.
    pub fn bytes(&self) -> usize {
        self.bytes_in_memory() + self.bytes_in_file()
    }

    /// Counts its bytes in memory, those elsewhere as the part of one that they weigh.
    pub(super) fn weight(&self) -> usize {
        self.bytes_in_memory() + self.bytes_in_file() / SPILLED_BYTES_PER_BYTE
    }

    const fn bytes_in_memory(&self) -> usize {
        self.stdout.len() + self.stderr.len() + self.result.len()
    }

    fn bytes_in_file(&self) -> usize {
        self.place.as_ref().map_or(0, |place| place.bytes_in_file())
    }
}

/// Something for the shell to do.
#[derive(Clone, PartialEq, Debug)]
pub enum AgentEffect {
    /// Connects to the coordinator; answered by `LinkUp` or `LinkDown`.
    Connect { link: LinkId },
    /// Closes the connection once what was sent on it is out; no `LinkDown` is expected.
    Disconnect { link: LinkId },
    /// Says something on the control stream, in order.
    Send { link: LinkId, message: WorkerMessage },
    /// Sends an output on a stream of its own; complete before the report that names it, which follows,
    /// is sent.
    Upload { link: LinkId, upload: UploadId, output: Arc<TaskOutput> },
    /// Begins heartbeats on a stream of their own, the first at once.
    Heartbeats { link: LinkId, every_ms: u64 },
    /// Keeps the highest epoch that welcomed this worker, over restarts too.
    RememberEpoch(Epoch),
    /// Runs the tasks of a slice, one after the other, on one lane.
    Begin(Slice),
    /// Begins nothing more of this slice; answered by `Reclaimed`.
    Reclaim { slice: SliceId },
    /// Ends the running task of this slice, if it lies in `range`; no `Ended` of it is expected, but
    /// `Returned` once it is gone. Follows a `Reclaim` of the same slice.
    Cancel { slice: SliceId, range: TaskRange },
    /// The same with SIGKILL at once, for the whole process tree.
    Kill { slice: SliceId, range: TaskRange },
    /// Until when what runs may go on of stages that stop with their lease, unless a later time follows;
    /// `None` once nothing of the kind runs. The agent kills in time; this is for who watches over it.
    StopUntil(Option<MonoMs>),
    /// Something that a person may want to read.
    Notice(Notice),
    /// The agent's life is over; no effect follows, and no event is needed.
    Exit(AgentExit),
}

/// Tasks to run on one lane, one after the other.
#[derive(Clone, PartialEq, Debug)]
pub struct Slice {
    /// Named in every event about it.
    pub id: SliceId,
    /// What to run.
    pub renderer: Arc<Renderer>,
    /// Of the grant that the tasks came with.
    pub token: Token,
    /// From 1.
    pub attempt: u32,
    /// Not empty, within the stage.
    pub range: TaskRange,
    /// Where they cannot be computed.
    pub items: Option<GrantItems>,
}

/// The items that came with a grant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantItems {
    list: Arc<ItemList>,
    first: u64,
}

impl GrantItems {
    /// Makes it of the list that came with a grant whose first task is `first`.
    pub(crate) fn new(list: ItemList, first: u64) -> Self {
        Self { list: Arc::new(list), first }
    }

    /// Returns the item of a task by its index in the stage.
    pub fn item(&self, index: u64) -> Option<&str> {
        let place = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.list.item(place)
    }
}

/// What a person may want to read in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Welcomed by the coordinator.
    Connected { grid: String, epoch: Epoch },
    /// The connection is gone; told once, not for every attempt to get it back.
    Lost { why: String, running: usize },
    /// The coordinator could not be reached from the start; told once.
    NotReached { why: String },
    /// The lease ran out: what runs goes on, nothing new begins.
    LeaseEnded,
    /// The lease was nearly over: what stops with it was killed, on so many lanes.
    Stopped { tasks: usize },
    /// The coordinator is of an earlier life than one that welcomed this worker before.
    OldCoordinator { epoch: Epoch, seen: Epoch },
    /// The coordinator turned this worker away for now.
    Turned(Turned),
    /// The coordinator said something that ours does not say; the connection was closed.
    Violation(Violation),
    /// Results of tasks that the coordinator no longer wants were dropped.
    Dropped { tasks: u64 },
    /// A function did not return after its task was over; it keeps its cpus until it does.
    Overrun { stage: String, cpus: Cpus },
    /// The coordinator is stopping in order.
    CoordinatorStopping,
    /// Draining began.
    Draining { running: usize },
}

/// What a coordinator did that ours does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// A message that has no place there.
    #[error("a message out of order")]
    OutOfOrder,
    /// A grant of a stage whose order was not sent.
    #[error("a grant of an unknown stage")]
    UnknownStage,
    /// See the text.
    #[error("a stage order that is not valid")]
    BadOrder,
    /// See the text.
    #[error("a grant that does not fit its stage")]
    BadGrant,
    /// More stage orders or grants than a worker keeps.
    #[error("more stages or grants than a worker keeps")]
    TooMany,
}

/// How an agent's life ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AgentExit {
    /// Drained; everything was reported or given back.
    Drained,
    /// Drained, but the coordinator was not there to take the results of so many tasks.
    Undelivered {
        /// Tasks whose results are lost; they run again elsewhere.
        tasks: u64,
    },
    /// The coordinator will not have this worker; says what to do.
    Refused(String),
}
