//! The queue: stages with tasks to give out, by priority, then age, in classes of equal requests.
//!
//! Of a class only the first matters to a worker that has no room for it, so that a step does not look at
//! every stage that waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use gridctl_jobs::id::{JobId, JobNumber, StageId, StageIndex};
use gridctl_jobs::units::Cpus;

/// A stage's place in the queue: the lower is served first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank {
    pub(super) priority: Reverse<i32>,
    pub(super) number: JobNumber,
    pub(super) stage: StageIndex,
    pub(super) job: JobId,
}

/// Stages with pending tasks.
#[derive(Debug, Default)]
pub(super) struct Queue {
    classes: BTreeMap<Cpus, BTreeSet<Rank>>,
}

impl Rank {
    pub(super) const fn id(self) -> StageId {
        StageId { job: self.job, stage: self.stage }
    }
}

impl Queue {
    pub(super) fn insert(&mut self, cpus: Cpus, rank: Rank) {
        self.classes.entry(cpus).or_default().insert(rank);
    }

    pub(super) fn remove(&mut self, cpus: Cpus, rank: Rank) {
        if let Some(class) = self.classes.get_mut(&cpus) {
            class.remove(&rank);
            if class.is_empty() {
                self.classes.remove(&cpus);
            }
        }
    }

    pub(super) fn contains(&self, cpus: Cpus, rank: Rank) -> bool {
        self.classes.get(&cpus).is_some_and(|class| class.contains(&rank))
    }

    /// Returns the first of each class of at most `cpus`.
    pub(super) fn heads(&self, cpus: Cpus) -> BTreeMap<Rank, Cpus> {
        self.classes
            .range(..=cpus)
            .filter_map(|(class, ranks)| Some((*ranks.first()?, *class)))
            .collect()
    }

    /// Returns the next of a class.
    pub(super) fn after(&self, class: Cpus, rank: Rank) -> Option<Rank> {
        let ranks = self.classes.get(&class)?;
        ranks.range((Bound::Excluded(rank), Bound::Unbounded)).next().copied()
    }

    /// Lists all of it, for checks of invariants.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Cpus, Rank)> {
        self.classes.iter().flat_map(|(class, ranks)| ranks.iter().map(|rank| (*class, *rank)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(priority: i32, number: u64) -> Rank {
        let job = JobId(uuid::Uuid::from_u128(u128::from(number)));
        Rank { priority: Reverse(priority), number: JobNumber(number), stage: StageIndex(0), job }
    }

    #[test]
    fn priority_goes_before_age() {
        let mut queue = Queue::default();
        for (priority, number) in [(0, 1), (5, 3), (5, 2), (-1, 0)] {
            queue.insert(Cpus::ONE, rank(priority, number));
        }
        let order: Vec<u64> = queue.iter().map(|(_, rank)| rank.number.0).collect();
        assert_eq!(order, [2, 3, 1, 0]);
        assert_eq!(queue.after(Cpus::ONE, rank(5, 3)), Some(rank(0, 1)));
    }

    #[test]
    fn classes_that_do_not_fit_are_not_looked_at() {
        let mut queue = Queue::default();
        queue.insert(Cpus::ONE, rank(0, 1));
        queue.insert(Cpus::whole(8), rank(9, 2));
        assert_eq!(queue.heads(Cpus::whole(4)), BTreeMap::from([(rank(0, 1), Cpus::ONE)]));
        queue.remove(Cpus::ONE, rank(0, 1));
        assert!(queue.heads(Cpus::whole(4)).is_empty());
        assert!(queue.contains(Cpus::whole(8), rank(9, 2)));
    }
}
