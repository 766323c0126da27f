//! The release gate: what waits until a fact is on disk.
//!
//! Everything that leaves the coordinator because of a step passes through here, in the order in which it
//! was made, and not before the last fact that was made before it is durable.
//!
//! Deliberately absent: knowledge of what is held, and of how facts become durable.

use std::collections::VecDeque;

use gridctl_jobs::planted::{Bug, is_on};

use crate::effect::FactIndex;

/// Things in order, each waiting for the index of a fact to be durable.
#[derive(Debug)]
pub struct ReleaseGate<T> {
    durable: FactIndex,
    waiting: VecDeque<(FactIndex, T)>,
}

impl<T> ReleaseGate<T> {
    /// Makes an empty gate of a journal that is durable up to `durable`.
    pub const fn new(durable: FactIndex) -> Self {
        Self { durable, waiting: VecDeque::new() }
    }

    /// Puts `item` in line behind everything held before; it waits for `index`.
    ///
    /// What waits for nothing (its index is durable already) keeps its place too: it comes out with the next
    /// [`ReleaseGate::release`], which may name the index that is durable already.
    ///
    /// # Panics
    /// Where `index` is lower than that of what was held before: indexes are given in order of making.
    pub fn hold(&mut self, index: FactIndex, item: T) {
        if let Some((last, _)) = self.waiting.back() {
            assert!(
                *last <= index,
                "an effect of index {} was held after one of {}",
                index.0,
                last.0
            );
        }
        self.waiting.push_back((index, item));
    }

    /// Notes that facts up to `durable` are on disk, and returns what may go out now, in order. A lower
    /// index than before changes nothing.
    pub fn release(&mut self, durable: FactIndex) -> impl Iterator<Item = T> + '_ {
        self.durable = self.durable.max(durable);
        std::iter::from_fn(move || {
            let (index, _) = self.waiting.front()?;
            if *index > self.durable && !is_on(Bug::ReleaseBeforeRecord) {
                return None;
            }
            self.waiting.pop_front().map(|(_, item)| item)
        })
    }

    /// Returns up to where facts are known to be durable.
    pub const fn durable(&self) -> FactIndex {
        self.durable
    }

    /// Counts what waits.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Says whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(gate: &mut ReleaseGate<char>, durable: u64) -> String {
        gate.release(FactIndex(durable)).collect()
    }

    #[test]
    fn nothing_leaves_before_its_fact_is_durable() {
        let mut gate = ReleaseGate::new(FactIndex(0));
        gate.hold(FactIndex(1), 'a');
        gate.hold(FactIndex(3), 'b');
        gate.hold(FactIndex(3), 'c');
        assert_eq!(released(&mut gate, 0), "");
        assert_eq!(released(&mut gate, 2), "a");
        assert_eq!(released(&mut gate, 3), "bc");
        assert!(gate.is_empty());
    }

    #[test]
    fn what_is_durable_already_keeps_its_place() {
        let mut gate = ReleaseGate::new(FactIndex(5));
        gate.hold(FactIndex(4), 'a');
        gate.hold(FactIndex(5), 'b');
        gate.hold(FactIndex(6), 'c');
        assert_eq!(released(&mut gate, 5), "ab");
        assert_eq!(gate.len(), 1);
    }

    #[test]
    fn an_index_that_goes_back_changes_nothing() {
        let mut gate = ReleaseGate::new(FactIndex(5));
        gate.hold(FactIndex(5), 'a');
        assert_eq!(released(&mut gate, 1), "a");
        assert_eq!(gate.durable(), FactIndex(5));
    }

    #[test]
    #[should_panic(expected = "was held after")]
    fn an_effect_out_of_order_is_a_broken_invariant() {
        let mut gate = ReleaseGate::new(FactIndex(0));
        gate.hold(FactIndex(2), 'a');
        gate.hold(FactIndex(1), 'b');
    }
}
