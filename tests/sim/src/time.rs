//! Simulated time, and what happens when.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Milliseconds since a schedule began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SimMs(pub u64);

impl SimMs {
    /// Returns the moment `ms` milliseconds later.
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0 + ms)
    }
}

/// A clock that only goes forward, at a rate of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MonoClock {
    /// What it shows when a schedule begins.
    pub(crate) start_ms: u64,
    /// How much faster it goes than it should, in thousandths.
    pub(crate) rate: i64,
}

impl MonoClock {
    const WHOLE: u64 = 1_000;

    const fn pace(self) -> u64 {
        Self::WHOLE.saturating_add_signed(self.rate)
    }

    /// Returns what it shows.
    pub(crate) const fn at(self, now: SimMs) -> u64 {
        self.start_ms + now.0 * self.pace() / Self::WHOLE
    }

    /// Returns when it first shows this.
    pub(crate) const fn when(self, mono_ms: u64) -> SimMs {
        SimMs((mono_ms.saturating_sub(self.start_ms) * Self::WHOLE).div_ceil(self.pace()))
    }
}

/// What is to happen, in order of time; of two at the same time, what was put in first.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    count: u64,
}

#[derive(Debug)]
struct Entry<T> {
    key: (SimMs, u64),
    what: T,
}

impl<T> Agenda<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), count: 0 }
    }

    pub(crate) fn put(&mut self, at: SimMs, what: T) {
        self.count += 1;
        self.heap.push(Reverse(Entry { key: (at, self.count), what }));
    }

    pub(crate) fn next(&mut self) -> Option<(SimMs, T)> {
        self.heap.pop().map(|Reverse(entry)| (entry.key.0, entry.what))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_show_what_is_due_when_it_is() {
        for rate in [-50, 0, 7, 50] {
            let clock = MonoClock { start_ms: 1_000, rate };
            for mono_ms in 1_000..2_000 {
                let due = clock.when(mono_ms);
                assert!(clock.at(due) >= mono_ms);
                assert!(due.0 == 0 || clock.at(SimMs(due.0 - 1)) < mono_ms);
            }
        }
    }

    #[test]
    fn what_is_due_first_comes_first_and_ties_keep_their_order() {
        let mut agenda = Agenda::new();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b')] {
            agenda.put(SimMs(at), what);
        }
        let order: String = std::iter::from_fn(|| agenda.next()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
