//! Why something waits: the typed reasons that `gridctl explain` prints.

use serde::{Deserialize, Serialize};

use crate::id::{JobNumber, WorkerId};
use crate::units::Cpus;

/// Why tasks of a stage are not running.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WaitReason {
    /// Stages that it needs have not all succeeded yet; their names, and how many tasks are still open.
    Needs { stages: Vec<NeededStage> },
    /// No worker is connected.
    NoWorkers,
    /// No connected worker has as many cpus as one task asks for.
    TooManyCpus { wanted: Cpus, largest: Cpus, largest_worker: WorkerId },
    /// Every worker that could run it is busy.
    Busy { wanted: Cpus, free: Cpus },
    /// A job of higher priority, or an older one of the same, is served first.
    Behind { job: JobNumber, priority: i32 },
    /// After a restart: workers may still run it, so nothing is granted for one lease.
    RestartWindow { remaining_ms: u64 },
    /// Failed tasks wait a while before they are tried again.
    Backoff { tasks: u64, next_in_ms: u64 },
    /// Every connected worker already could not start it; waits for another one.
    CouldNotStartHere { tasks: u64 },
    /// Every worker that could take it is suspected to be lost (its connection is gone).
    Suspect { workers: u64 },
}

/// A stage that another waits for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NeededStage {
    pub name: String,
    pub open: u64,
}
