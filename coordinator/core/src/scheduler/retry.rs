//! What becomes of a failed attempt: which budget it is charged to, and how long the task waits.
//!
//! Delays double from the first of the stage's `backoff` to the longest, less up to half of each by a jitter, so
//! that tasks that failed together are not tried again together. The jitter is splitmix64 (Steele, Lea, Flood: "Fast splittable
//! pseudorandom number generators", OOPSLA 2014) over the configured seed, the task and its attempt: the
//! same in every run of the same events.

use std::collections::BTreeMap;

use gridctl_jobs::budget::Backoff;
use gridctl_jobs::id::StageId;
use gridctl_jobs::limits::BACKOFF_MS_MAX;
use gridctl_jobs::range::TaskRange;

use crate::event::MonoMs;

/// Failed tasks of a stage that wait until they are tried again.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// The number of the next attempt, by when.
    due: BTreeMap<(MonoMs, u32), u32>,
    at: BTreeMap<u32, MonoMs>,
}

impl Later {
    pub(super) fn len(&self) -> u64 {
        self.at.len() as u64
    }

    /// Returns when the first is due.
    pub(super) fn next(&self) -> Option<MonoMs> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn add(&mut self, index: u32, at: MonoMs, attempt: u32) {
        let before = self.at.insert(index, at);
        assert!(before.is_none(), "task {index} waits for two retries");
        self.due.insert((at, index), attempt);
    }

    /// Takes out the first that is due, with the number of its next attempt.
    pub(super) fn pop_due(&mut self, now: MonoMs) -> Option<(u64, u32)> {
        let ((at, index), attempt) =
            self.due.first_key_value().map(|(key, attempt)| (*key, *attempt))?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, index));
        self.at.remove(&index);
        Some((u64::from(index), attempt))
    }

    pub(super) fn remove(&mut self, range: TaskRange) {
        if self.at.is_empty() {
            return;
        }
        let Ok(first) = u32::try_from(range.start) else { return };
        while let Some((index, at)) = self.at.range(first..).next().map(|(index, at)| (*index, *at))
        {
            if !range.contains(u64::from(index)) {
                return;
            }
            self.at.remove(&index);
            self.due.remove(&(at, index));
        }
    }

    /// Lists the tasks that wait, for checks of invariants.
    pub(super) fn indexes(&self) -> impl Iterator<Item = u64> {
        self.at.keys().map(|index| u64::from(*index))
    }
}

/// Returns how long a task waits after its `failures`th failure (from 1), in milliseconds.
pub(super) fn delay_ms(
    seed: u64,
    backoff: Backoff,
    stage: StageId,
    index: u32,
    failures: u32,
) -> u64 {
    // More would shift bits out; the first is at least 1, so that the longest was reached before.
    let doublings = failures.saturating_sub(1).min(BACKOFF_MS_MAX.ilog2());
    let longest = (backoff.first_ms << doublings).min(backoff.longest_ms);
    let (high, low) = stage.job.0.as_u64_pair();
    let place = u64::from(stage.stage.0) << 32 | u64::from(index);
    let noise = [high, low, place, u64::from(failures)]
        .into_iter()
        .fold(seed, |hash, word| mix(hash ^ word));
    longest - noise % (longest / 2 + 1)
}

/// One step of splitmix64.
const fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use gridctl_jobs::id::{JobId, StageIndex};

    use super::*;

    const STAGE: StageId = StageId { job: JobId(uuid::Uuid::from_u128(7)), stage: StageIndex(0) };

    #[test]
    fn delays_double_up_to_a_minute_less_up_to_half() {
        for (failures, longest) in
            [(1, 1_000), (2, 2_000), (3, 4_000), (6, 32_000), (7, 60_000), (u32::MAX, 60_000)]
        {
            for index in 0..200 {
                let delay = delay_ms(3, Backoff::default(), STAGE, index, failures);
                assert!((longest / 2..=longest).contains(&delay), "failure {failures}: {delay} ms");
            }
        }
    }

    #[test]
    fn delays_are_those_of_the_stage() {
        for (first_ms, longest_ms) in
            [(1, 1), (1, BACKOFF_MS_MAX), (BACKOFF_MS_MAX, BACKOFF_MS_MAX)]
        {
            for failures in [1, 2, 40, u32::MAX] {
                let delay = delay_ms(3, Backoff { first_ms, longest_ms }, STAGE, 0, failures);
                assert!((first_ms.div_ceil(2)..=longest_ms).contains(&delay), "{delay} ms");
            }
        }
    }

    #[test]
    fn tasks_that_failed_together_are_spread() {
        let delay = |seed, index| delay_ms(seed, Backoff::default(), STAGE, index, 1);
        let delays = |seed| (0..100).map(|index| delay(seed, index)).collect::<Vec<_>>();
        let different: std::collections::BTreeSet<u64> = delays(3).into_iter().collect();
        assert!(different.len() > 80, "{} different delays", different.len());
        assert_eq!(delays(3), delays(3));
        assert_ne!(delays(3), delays(4));
    }

    #[test]
    fn a_task_that_ended_otherwise_is_not_tried_again() {
        let mut later = Later::default();
        later.add(3, MonoMs(10), 2);
        later.add(4, MonoMs(5), 2);
        later.remove(TaskRange::new(4, 9));
        assert_eq!((later.len(), later.next()), (1, Some(MonoMs(10))));
        assert_eq!(later.pop_due(MonoMs(9)), None);
        assert_eq!(later.pop_due(MonoMs(10)), Some((3, 2)));
    }
}
