//! What is remembered of jobs that are gone: that there was one, so that a submission of it which comes late
//! is not a job anew.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{JobId, JobNumber};
use gridctl_jobs::units::WallMs;
use serde::{Deserialize, Serialize};

/// How long the id of a forgotten job is remembered, in milliseconds: 30 days.
pub const FORGOTTEN_KEPT_MS: u64 = 30 * 24 * 3_600_000;
/// Of those whose time is over, so many go with each that comes: memory follows, and a clock that jumped
/// ahead does not empty it at once.
const DROPPED_AT_ONCE: usize = 2;

/// A job that is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Forgotten {
    /// What it was called.
    pub number: JobNumber,
    /// When it was forgotten.
    pub at: WallMs,
}

/// All that are remembered.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct ForgottenJobs {
    jobs: BTreeMap<JobId, Forgotten>,
    by_time: BTreeSet<(WallMs, JobId)>,
}

impl Forgotten {
    /// Says whether its id may not be used again yet.
    pub const fn is_remembered(self, now: WallMs) -> bool {
        now.0 < self.at.0.saturating_add(FORGOTTEN_KEPT_MS)
    }
}

impl ForgottenJobs {
    pub(super) fn get(&self, id: JobId) -> Option<Forgotten> {
        self.jobs.get(&id).copied()
    }

    pub(super) fn add(&mut self, id: JobId, job: Forgotten) {
        for _ in 0..DROPPED_AT_ONCE {
            let Some((at, oldest)) = self.by_time.first().copied() else { break };
            let is_over = !Forgotten { at, ..job }.is_remembered(job.at);
            if !is_over {
                break;
            }
            self.remove(oldest);
        }
        self.remove(id);
        self.jobs.insert(id, job);
        self.by_time.insert((job.at, id));
    }

    pub(super) fn remove(&mut self, id: JobId) {
        if let Some(job) = self.jobs.remove(&id) {
            self.by_time.remove(&(job.at, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> JobId {
        JobId(uuid::Uuid::from_u128(u128::from(number)))
    }

    fn forgotten(number: u64, at: u64) -> Forgotten {
        Forgotten { number: JobNumber(number), at: WallMs(at) }
    }

    #[test]
    fn ids_are_remembered_for_thirty_days() {
        let job = forgotten(1, 1_000);
        assert!(job.is_remembered(WallMs(0)), "a clock that was set back forgets nothing");
        assert!(job.is_remembered(WallMs(999 + FORGOTTEN_KEPT_MS)));
        assert!(!job.is_remembered(WallMs(1_000 + FORGOTTEN_KEPT_MS)));
    }

    #[test]
    fn memory_of_old_ids_goes_a_few_at_a_time() {
        let mut jobs = ForgottenJobs::default();
        (1..=10).for_each(|number| jobs.add(id(number), forgotten(number, number)));
        jobs.add(id(11), forgotten(11, FORGOTTEN_KEPT_MS + 100));
        assert_eq!((jobs.get(id(2)), jobs.get(id(3))), (None, Some(forgotten(3, 3))));
        jobs.add(id(12), forgotten(12, FORGOTTEN_KEPT_MS + 4));
        assert_eq!((jobs.get(id(4)), jobs.get(id(5))), (None, Some(forgotten(5, 5))));
        assert_eq!(jobs.jobs.len(), jobs.by_time.len());
    }
}
