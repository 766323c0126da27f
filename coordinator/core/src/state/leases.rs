//! Which workers may still run what they were granted, should the coordinator restart now.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{Epoch, WorkerId};
use serde::{Deserialize, Serialize};

use crate::fact::WorkerProcess;

/// Leases as the facts have them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Leases {
    attached: BTreeMap<WorkerId, WorkerProcess>,
    longest_ms: u64,
    set_back: bool,
    epochs: BTreeSet<Epoch>,
}

impl Leases {
    /// Lists the workers that hold leases, with the process that does.
    pub fn attached(&self) -> impl Iterator<Item = (WorkerId, WorkerProcess)> {
        self.attached.iter().map(|(worker, process)| (*worker, *process))
    }

    /// Returns which process of a worker holds a lease.
    pub fn process_of(&self, worker: WorkerId) -> Option<WorkerProcess> {
        self.attached.get(&worker).copied()
    }

    /// Returns the length of the longest lease that may be in force, in milliseconds; 0 where none was given.
    pub const fn longest_ms(&self) -> u64 {
        self.longest_ms
    }

    /// Says whether the coordinator was set back and has not waited it out.
    pub const fn is_set_back(&self) -> bool {
        self.set_back
    }

    /// Says whether an epoch was one of this grid, as far as its journal goes.
    pub fn knows(&self, epoch: Epoch) -> bool {
        self.epochs.contains(&epoch)
    }

    pub(super) fn apply_epoch(&mut self, epoch: Epoch) {
        self.epochs.insert(epoch);
    }

    pub(super) fn apply_attached(&mut self, worker: WorkerId, process: WorkerProcess) {
        self.attached.insert(worker, process);
    }

    pub(super) fn apply_detached(&mut self, worker: WorkerId) {
        self.attached.remove(&worker);
    }

    pub(super) const fn apply_length(&mut self, longest_ms: u64) {
        self.longest_ms = longest_ms;
    }

    pub(super) const fn apply_set_back(&mut self, is_over: bool) {
        self.set_back = !is_over;
    }
}
