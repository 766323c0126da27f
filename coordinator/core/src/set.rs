//! Sets of task indexes: compressed bitmaps that know their size.
//!
//! Deliberately absent: anything that walks single tasks where a range would do.

use std::fmt;
use std::ops::RangeInclusive;

use gridctl_jobs::range::TaskRange;
use roaring::RoaringBitmap;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Task indexes of one stage, `0..2^32`.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct TaskSet {
    bits: RoaringBitmap,
    /// Kept beside the bitmap, which would have to add up its containers.
    len: u64,
}

impl TaskSet {
    /// Counts the tasks in it.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Counts them anew, for checks of invariants.
    pub(crate) fn recount(&self) -> u64 {
        self.bits.len()
    }

    /// Adds a range; returns how many were not in it before.
    pub(crate) fn insert(&mut self, range: TaskRange) -> u64 {
        let Some(bits) = inclusive(range) else { return 0 };
        let added = self.bits.insert_range(bits);
        self.len += added;
        added
    }

    /// Adds all of another set.
    pub(crate) fn insert_all(&mut self, other: &Self) {
        self.bits |= &other.bits;
        self.len = self.bits.len();
    }

    /// Takes a range out; returns how many of it were in it.
    pub(crate) fn remove(&mut self, range: TaskRange) -> u64 {
        let Some(bits) = inclusive(range) else { return 0 };
        let removed = self.bits.remove_range(bits);
        self.len -= removed;
        removed
    }

    /// Forgets everything below `end`.
    pub(crate) fn remove_below(&mut self, end: u64) {
        if let Some(bits) = inclusive(TaskRange::new(0, end)) {
            self.len -= self.bits.remove_range(bits);
        }
    }

    /// Says whether a task is in it.
    pub(crate) fn contains(&self, index: u64) -> bool {
        u32::try_from(index).is_ok_and(|index| self.bits.contains(index))
    }

    /// Counts the tasks of `range` that are in it.
    pub(crate) fn count_in(&self, range: TaskRange) -> u64 {
        if self.len == 0 {
            return 0;
        }
        inclusive(range).map_or(0, |bits| self.bits.range_cardinality(bits))
    }

    /// Returns the first task at or above `from` that is in it.
    pub(crate) fn next_in(&self, from: u64) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let from = u32::try_from(from).ok()?;
        self.bits.range(from..).next().map(u64::from)
    }

    /// Returns the first index at or above `from` that is not in it.
    pub(crate) fn next_absent(&self, from: u64) -> u64 {
        match u32::try_from(from) {
            Ok(start) if self.bits.contains(start) => {
                let run =
                    self.bits.range(start..).next_range().expect("the set holds its first index");
                u64::from(*run.end()) + 1
            }
            Ok(_) | Err(_) => from,
        }
    }

    /// Says whether no task is in both.
    pub(crate) fn is_disjoint(&self, other: &Self) -> bool {
        self.bits.is_disjoint(&other.bits)
    }
}

/// In roaring's own portable format, as one string of bytes.
impl Serialize for TaskSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.bits.serialized_size());
        self.bits.serialize_into(&mut bytes).expect("memory takes what is written to it");
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for TaskSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = TaskSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a compressed bitmap")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<TaskSet, E> {
                let bits = RoaringBitmap::deserialize_from(bytes).map_err(E::custom)?;
                let len = bits.len();
                Ok(TaskSet { bits, len })
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// As roaring wants it; `None` for an empty range. Ends past 2^32 do not occur: ranges are checked before.
fn inclusive(range: TaskRange) -> Option<RangeInclusive<u32>> {
    if range.is_empty() {
        return None;
    }
    let start = u32::try_from(range.start).ok()?;
    let last = u32::try_from(range.end - 1).unwrap_or(u32::MAX);
    Some(start..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_present_indexes_are_found_past_runs() {
        let mut set = TaskSet::default();
        assert_eq!(set.insert(TaskRange::new(2, 200_000)), 199_998);
        assert_eq!(set.insert(TaskRange::new(0, 3)), 2);
        assert_eq!((set.next_absent(0), set.next_absent(200_000)), (200_000, 200_000));
        assert_eq!((set.next_in(7), set.next_in(200_000)), (Some(7), None));
        assert_eq!(set.count_in(TaskRange::new(199_999, 300_000)), 1);
        set.remove_below(199_999);
        assert_eq!((set.len(), set.recount()), (1, 1));
    }

    #[test]
    fn the_last_index_of_the_largest_stage_fits() {
        let mut set = TaskSet::default();
        let last = (1 << 32) - 1;
        assert_eq!(set.insert(TaskRange::one(last)), 1);
        assert_eq!((set.next_in(5), set.next_absent(last)), (Some(last), 1 << 32));
    }
}
