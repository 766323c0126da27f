//! How long a stage's tasks take here, and how many of them make a slice.

use crate::limits::{SLICE_GROWTH, SLICE_TARGET_US, SLICE_TASKS_MAX};

/// How quickly the average forgets: an end counts for one part in so many.
const EWMA_PARTS: u64 = 4;

/// An exponentially weighted moving average of a stage's run times on this worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Nanoseconds a task; `None` before the first has ended.
    average_ns: Option<u64>,
    /// Tasks of the longest run of tasks that has been measured in one go.
    measured: u64,
}

impl Pace {
    /// Takes the run time of some tasks that ended one after the other.
    pub(super) fn add(&mut self, tasks: u64, busy_ns: u64) {
        let each = busy_ns / tasks.max(1);
        self.measured = self.measured.max(tasks);
        self.average_ns = Some(match self.average_ns {
            None => each,
            Some(average) => {
                average.saturating_mul(EWMA_PARTS - 1).saturating_add(each) / EWMA_PARTS
            }
        });
    }

    /// Returns how many tasks last as long as a slice is made for.
    pub(super) fn slice_tasks(&self) -> u64 {
        let Some(average_ns) = self.average_ns else { return 1 };
        let fitting = SLICE_TARGET_US * 1_000 / average_ns.max(1);
        let grown = self.measured.saturating_mul(SLICE_GROWTH);
        fitting.min(grown).clamp(1, SLICE_TASKS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_stage_begins_with_single_tasks() {
        assert_eq!(Pace::default().slice_tasks(), 1);
    }

    #[test]
    fn short_tasks_are_joined_in_growing_steps() {
        let mut pace = Pace::default();
        let mut sizes = Vec::new();
        for _ in 0..6 {
            let tasks = pace.slice_tasks();
            sizes.push(tasks);
            pace.add(tasks, tasks * 100);
        }
        assert_eq!(sizes, [1, 8, 64, 512, 4_096, SLICE_TASKS_MAX]);
    }

    #[test]
    fn long_tasks_run_singly() {
        let mut pace = Pace::default();
        pace.add(1, 5_000_000);
        assert_eq!(pace.slice_tasks(), 1);
    }

    #[test]
    fn a_stage_that_turns_slow_is_cut_smaller() {
        let mut pace = Pace::default();
        pace.add(1_000, 1_000 * 1_000);
        assert_eq!(pace.slice_tasks(), 2_000);
        pace.add(1, 40_000_000);
        assert_eq!(pace.slice_tasks(), 1);
    }
}
