//! What changed in a step, so that only that is looked at.

use std::collections::BTreeSet;

use gridctl_jobs::id::{JobId, WorkerId};

use super::queue::Rank;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Jobs of which a stage may have ended.
    pub(super) jobs: BTreeSet<JobId>,
    /// Stages with more to give out than before.
    pub(super) stages: BTreeSet<Rank>,
    /// Workers that could take more than before.
    pub(super) workers: BTreeSet<WorkerId>,
    /// Workers that readers may see differently.
    pub(super) shown: BTreeSet<WorkerId>,
}
