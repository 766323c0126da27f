//! How soon a worker that died is started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Deaths that are this old count no more.
const WINDOW: Duration = Duration::from_secs(60);
/// So many within the window, and the next start waits: the first two may be bad luck.
const AT_ONCE: usize = 2;
const DELAY: Duration = Duration::from_secs(1);
/// Short enough that a worker which dies at every start stays within the window, and keeps waiting.
const DELAY_MAX: Duration = Duration::from_secs(16);

/// The deaths of late.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    recent: VecDeque<Instant>,
    /// What the last start waited.
    delay: Duration,
}

impl Deaths {
    /// Notes one, and returns how long to wait before the next start.
    pub(super) fn add(&mut self, now: Instant) -> Duration {
        self.recent.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        self.recent.push_back(now);
        self.delay = if self.recent.len() <= AT_ONCE {
            Duration::ZERO
        } else {
            (self.delay * 2).clamp(DELAY, DELAY_MAX)
        };
        self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_the_third_death_within_a_minute_on_it_waits_longer_and_longer() {
        let (mut deaths, mut now) = (Deaths::default(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..10 {
            let delay = deaths.add(now);
            delays.push(delay.as_secs());
            now += delay;
        }
        assert_eq!(delays, [0, 0, 1, 2, 4, 8, 16, 16, 16, 16]);
    }

    #[test]
    fn a_long_life_is_followed_by_another_at_once() {
        let (mut deaths, mut now) = (Deaths::default(), Instant::now());
        for _ in 0..5 {
            now += deaths.add(now);
        }
        assert_eq!(deaths.add(now + WINDOW), Duration::ZERO);
        assert_eq!(deaths.add(now + WINDOW), Duration::ZERO);
        assert_eq!(deaths.add(now + WINDOW), DELAY);
    }
}
