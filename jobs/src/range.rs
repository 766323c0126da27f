//! Ranges of task indexes: what travels instead of tasks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Task indexes `start..end` of one stage; `end` is exclusive and at most 2^32.
///
/// What a peer sends is not trusted to be ordered: [`TaskRange::is_valid`] says whether it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TaskRange {
    /// The first task.
    pub start: u64,
    /// The task after the last.
    pub end: u64,
}

impl TaskRange {
    /// Makes the range `start..end`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    /// Makes the range of one task.
    pub const fn one(index: u64) -> Self {
        Self { start: index, end: index + 1 }
    }

    /// Counts the tasks in it.
    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Says whether there is no task in it.
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Says whether `index` lies in it.
    pub const fn contains(self, index: u64) -> bool {
        self.start <= index && index < self.end
    }

    /// Returns what both have in common, possibly empty.
    pub fn intersect(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// Returns what is left when `other` is taken out: up to two ranges, in order.
    pub fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let before = Self { start: self.start, end: self.end.min(other.start) };
        let after = Self { start: self.start.max(other.end), end: self.end };
        [before, after].into_iter().filter(|rest| !rest.is_empty())
    }

    /// Says whether it holds at least one task and lies within a stage of `count` tasks.
    pub const fn is_valid(self, count: u64) -> bool {
        self.start < self.end && self.end <= count
    }
}

impl fmt::Display for TaskRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len() == 1 { self.start.fmt(f) } else { write!(f, "{}..{}", self.start, self.end) }
    }
}
