//! When a worker is to be killed because of tasks that may not outlive their lease.
//!
//! The worker kills those itself, and says when it has: this is for one that stands still. It is given a
//! little longer than the deadline, so that a worker which does as it should keeps its other tasks: a tenth of
//! what was left when the deadline was set, which is less than a tenth of the lease. The coordinator gives such
//! tasks to others no sooner than two tenths after the deadline.

use crate::agent::MonoMs;

/// Of the time that was left, what the worker is given in addition.
const PATIENCE_PART: u64 = 10;
const PATIENCE_MS_MIN: u64 = 20;
const PATIENCE_MS_MAX: u64 = 500;
/// Noticed so late, the machine stood still, and the worker with it.
const LATE_MS: u64 = 20;
/// Then the worker is given so long from waking on.
const WAKING_MS: u64 = 50;

/// The deadline that the worker set last.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    /// As the worker set it, in milliseconds; 0 where there is none.
    until: u64,
    /// `None` where there is none, or the worker has been killed for it.
    kill_at: Option<MonoMs>,
    was_late: bool,
}

impl Deadline {
    /// Takes what the worker says: the moment, or 0.
    pub(super) fn set(&mut self, now: MonoMs, until: u64) {
        if until == self.until {
            return;
        }
        let left = MonoMs(until).since(now);
        let patience_ms = (left / PATIENCE_PART).clamp(PATIENCE_MS_MIN, PATIENCE_MS_MAX);
        let kill_at = MonoMs(until).after(patience_ms);
        *self = Self { until, kill_at: Some(kill_at).filter(|_| until > 0), was_late: false };
    }

    /// Says whether the worker is to be killed now; once.
    pub(super) fn is_over(&mut self, now: MonoMs) -> bool {
        let Some(kill_at) = self.kill_at.filter(|kill_at| *kill_at <= now) else { return false };
        if now.since(kill_at) > LATE_MS && !self.was_late {
            self.was_late = true;
            self.kill_at = Some(now.after(WAKING_MS));
            return false;
        }
        self.kill_at = None;
        true
    }

    /// Returns when to look again.
    pub(super) const fn wake_at(&self) -> Option<MonoMs> {
        self.kill_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_lets_it_pass_is_killed_once_and_a_little_later() {
        let mut deadline = Deadline::default();
        deadline.set(MonoMs(1_000), 2_800);
        assert!(!deadline.is_over(MonoMs(2_979)));
        assert_eq!(deadline.wake_at(), Some(MonoMs(2_980)));
        assert!(deadline.is_over(MonoMs(2_980)) && !deadline.is_over(MonoMs(2_981)));
        assert_eq!(deadline.wake_at(), None);
    }

    #[test]
    fn a_deadline_that_is_renewed_or_taken_away_kills_nobody() {
        let mut deadline = Deadline::default();
        deadline.set(MonoMs(1_000), 10_000);
        deadline.set(MonoMs(4_000), 13_000);
        assert!(!deadline.is_over(MonoMs(12_000)));
        deadline.set(MonoMs(12_100), 0);
        assert!(!deadline.is_over(MonoMs(99_000)));
        assert_eq!(deadline.wake_at(), None);
    }

    #[test]
    fn after_the_machine_stood_still_the_worker_is_given_a_moment() {
        let mut deadline = Deadline::default();
        deadline.set(MonoMs(1_000), 10_000);
        assert!(!deadline.is_over(MonoMs(500_000)));
        assert_eq!(deadline.wake_at(), Some(MonoMs(500_050)));
        assert!(deadline.is_over(MonoMs(500_080)));
    }
}
