//! How long to wait before the next try: exponential, jittered, bounded.
//!
//! Deliberately absent: a clock and a source of chance. Seed and attempt come in, a delay goes out.

use std::time::Duration;

/// A schedule of delays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// How clients and workers come back to a coordinator: at first at once to a person's eye (a
    /// coordinator that was restarted serves again within a second), later seldom enough that a
    /// thousand waiting workers are no load, and soon enough that nobody has to restart anything.
    pub const RECONNECT: Self =
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

    /// Makes a schedule that begins at about `first` and doubles up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// Returns the same schedule with no delay longer than `longest`.
    pub fn at_most(self, longest: Duration) -> Self {
        Self { first: self.first.min(longest), longest: self.longest.min(longest) }
    }

    /// Returns the longest delay that it ever gives.
    pub const fn longest(self) -> Duration {
        self.longest
    }

    /// Returns how long to wait after `attempt` failures (from 1): between half and all of the doubled
    /// delay, so that peers with different seeds do not come back together.
    pub fn delay(self, seed: u64, attempt: u32) -> Duration {
        // Beyond 2^31 the bound holds anyway.
        let doublings = attempt.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        let mut chance = fastrand::Rng::with_seed(seed ^ (u64::from(attempt) << 32));
        whole.mul_f64(0.5 + chance.f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

    #[test]
    fn every_delay_lies_between_half_and_all_of_its_step() {
        for (attempt, whole_ms) in [(1, 100), (2, 200), (3, 400), (6, 3200), (7, 5000), (40, 5000)]
        {
            for seed in 0..200 {
                let delay = BACKOFF.delay(seed, attempt);
                let whole = Duration::from_millis(whole_ms);
                assert!(delay >= whole / 2 && delay <= whole, "{attempt}: {delay:?}");
            }
        }
    }

    #[test]
    fn no_attempt_overflows() {
        assert!(BACKOFF.delay(1, u32::MAX) <= BACKOFF.longest());
        assert!(BACKOFF.delay(1, 0) <= Duration::from_millis(100));
    }

    #[test]
    fn the_same_seed_gives_the_same_delays_and_others_spread() {
        assert_eq!(BACKOFF.delay(9, 4), BACKOFF.delay(9, 4));
        let delays: std::collections::BTreeSet<_> =
            (0..50).map(|seed| BACKOFF.delay(seed, 4)).collect();
        assert!(delays.len() > 40, "{delays:?}");
    }
}
