//! What readers see of the volatile state: who is connected, what is out, what waits and why.
//!
//! The scheduler and the readers' copy are folds of the same [`Change`]s by [`Activity::apply`].

use std::collections::BTreeMap;

use gridctl_jobs::id::{StageId, Token, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::units::{Cpus, WallMs};

use crate::event::MonoMs;

/// The volatile state that readers see.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Activity {
    /// Every worker that said Hello in this life and has not left in order since.
    pub workers: BTreeMap<WorkerId, WorkerActivity>,
    /// What is granted, by stage and first task; ranges do not overlap.
    pub granted: BTreeMap<StageId, BTreeMap<u64, Granted>>,
    /// Failed tasks that wait before they are tried again.
    pub backoff: BTreeMap<StageId, Backoff>,
    /// Until when nothing is granted after a restart.
    pub window_until: Option<MonoMs>,
}

/// A worker, as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerActivity {
    pub state: WorkerState,
    pub cpus: Cpus,
    /// Reserved for what it holds.
    pub reserved: Cpus,
}

/// Whether a worker can be given work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkerState {
    Ready,
    /// Its connection is gone; its lease still runs.
    Suspect,
    /// Its lease has run out.
    Lost,
}

/// Tasks that a worker holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    /// Exclusive.
    pub end: u64,
    pub worker: WorkerId,
    pub token: Token,
    pub attempt: u32,
    /// When they began, for those that the worker said have begun.
    pub started: Option<WallMs>,
}

/// Failed tasks of a stage that wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    pub tasks: u64,
    pub next: MonoMs,
}

/// A change of the volatile state.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A worker is there, or is there differently.
    Worker { worker: WorkerId, activity: WorkerActivity },
    /// A worker left in order.
    WorkerLeft { worker: WorkerId },
    /// Tasks were granted or adopted.
    Granted { stage: StageId, range: TaskRange, worker: WorkerId, token: Token, attempt: u32 },
    /// Tasks have begun.
    Started { stage: StageId, range: TaskRange, at: WallMs },
    /// Tasks are no longer held by anyone: finished, lost, given back, cancelled.
    Released { stage: StageId, range: TaskRange },
    /// What waits after failures; `None` once nothing does.
    Backoff { stage: StageId, backoff: Option<Backoff> },
    /// The window after a restart opened or closed.
    Window { until: Option<MonoMs> },
}
