//! How fast a job goes and how long it will take, from what was done lately.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back the rate looks: long enough to be steady, short enough to follow a change.
const WINDOW: Duration = Duration::from_secs(15);
/// Samples kept: more come only where statuses come faster than they are shown.
const SAMPLES_MAX: usize = 128;

/// The rate at which tasks end.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    samples: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Takes note that `ended` tasks had ended at `now`, on any clock that goes forward.
    pub(crate) fn sample(&mut self, now: Duration, ended: u64) {
        self.samples.push_back((now, ended));
        let past = |&(at, _): &(Duration, u64)| now.saturating_sub(at) > WINDOW;
        while self.samples.len() > SAMPLES_MAX || (self.samples.len() > 2 && past(&self.samples[1]))
        {
            self.samples.pop_front();
        }
    }

    /// Returns tasks a second; `None` until something has ended in sight.
    pub(crate) fn per_second(&self) -> Option<f64> {
        let (&(from, before), &(to, after)) = (self.samples.front()?, self.samples.back()?);
        let seconds = to.saturating_sub(from).as_secs_f64();
        let ended = after.checked_sub(before)?;
        (seconds > 0.0 && ended > 0).then(|| ended as f64 / seconds)
    }

    /// Returns how long `open` tasks will take at this rate.
    pub(crate) fn left(&self, open: u64) -> Option<Duration> {
        let seconds = open as f64 / self.per_second()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// Returns a rate with the precision that it deserves.
pub(crate) fn shown(per_second: f64) -> String {
    match per_second {
        rate if rate >= 9.95 => format!("{rate:.0}/s"),
        rate if rate >= 0.1 => format!("{rate:.1}/s"),
        rate => format!("{:.1}/min", rate * 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_was_done_before_watching_does_not_count_towards_the_rate() {
        let mut rate = Rate::default();
        rate.sample(seconds(100), 5_000);
        assert_eq!(rate.per_second(), None);
        rate.sample(seconds(102), 5_020);
        assert_eq!(rate.per_second(), Some(10.0));
        assert_eq!(rate.left(50), Some(seconds(5)));
    }

    #[test]
    fn an_old_burst_is_forgotten() {
        let mut rate = Rate::default();
        rate.sample(seconds(0), 0);
        rate.sample(seconds(1), 1_000);
        for second in 2..40 {
            rate.sample(seconds(second), 1_000 + second);
        }
        assert!(rate.per_second().is_some_and(|rate| (0.9..1.1).contains(&rate)), "{rate:?}");
    }

    #[test]
    fn a_count_that_goes_back_gives_no_rate() {
        let mut rate = Rate::default();
        rate.sample(seconds(0), 10);
        rate.sample(seconds(1), 5);
        assert_eq!(rate.per_second(), None);
    }

    #[test]
    fn slow_rates_are_shown_by_the_minute() {
        assert_eq!(shown(1234.4), "1234/s");
        assert_eq!(shown(2.46), "2.5/s");
        assert_eq!(shown(0.05), "3.0/min");
    }
}
