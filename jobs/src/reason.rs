//! Why something waits: the typed reasons that `gridctl explain` prints.

use serde::{Deserialize, Serialize};

use crate::id::{JobNumber, WorkerId};
use crate::units::Cpus;

/// Why tasks of a stage are not running.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WaitReason {
    /// Stages that it needs have not all succeeded yet; their names, and how many tasks are still open.
    Needs {
        /// The stages that are not done yet.
        stages: Vec<NeededStage>,
    },
    /// No worker is connected.
    NoWorkers,
    /// No connected worker has as many cpus as one task asks for.
    TooManyCpus {
        /// What one task asks for.
        wanted: Cpus,
        /// What the largest worker has.
        largest: Cpus,
        /// Which one that is.
        largest_worker: WorkerId,
    },
    /// Every worker that could run it is busy.
    Busy {
        /// What one task asks for.
        wanted: Cpus,
        /// What is free at most on one worker.
        free: Cpus,
    },
    /// A job of higher priority, or an older one of the same, is served first.
    Behind {
        /// The job that is served first.
        job: JobNumber,
        /// Its priority.
        priority: i32,
    },
    /// After a restart: workers may still run it, so nothing is granted for one lease.
    RestartWindow {
        /// How long it still lasts.
        remaining_ms: u64,
    },
    /// Failed tasks wait a while before they are tried again.
    Backoff {
        /// How many tasks wait so.
        tasks: u64,
        /// When the first of them is tried again.
        next_in_ms: u64,
    },
    /// Every connected worker already could not start it; waits for another one.
    CouldNotStartHere {
        /// How many tasks wait so.
        tasks: u64,
    },
    /// Every worker that could take it is suspected to be lost (its connection is gone).
    Suspect {
        /// How many workers are suspected.
        workers: u64,
    },
    /// Workers that could take it get nothing new: they are draining.
    Draining {
        /// Some of them.
        workers: Vec<WorkerId>,
        /// How many there are.
        count: u64,
    },
    /// Its tasks are to be killed when their worker has lost the coordinator, and no connected worker can do
    /// that for sure.
    NoTreesEnded {
        /// How many workers are connected.
        workers: u64,
    },
    /// After a setback of the coordinator nothing is granted for the longest lease that there can be.
    SetBack {
        /// How long it still lasts.
        remaining_ms: u64,
    },
    /// Earlier attempts of tasks that may never run twice at once may still be running.
    StillRunsElsewhere {
        /// How many tasks wait so.
        tasks: u64,
    },
    /// The coordinator's disk is full; while it waits for room, nothing is granted.
    NoRoom {
        /// What is lacking where, and what to do about it.
        what: String,
    },
    /// Several workers were lost with them, so that each runs alone on a worker from now on.
    RunsAlone {
        /// How many tasks wait so.
        tasks: u64,
    },
}

/// A stage that another waits for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NeededStage {
    /// Its name.
    pub name: String,
    /// How many of its tasks are not done.
    pub open: u64,
}
