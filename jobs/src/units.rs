//! Quantities with their unit in the type.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number of cpus in ten-thousandths, so that sums are exact.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Cpus(u64);

impl Cpus {
    /// No cpu at all.
    pub const ZERO: Self = Self(0);
    /// One whole cpu.
    pub const ONE: Self = Self(10_000);

    /// Makes a number of whole cpus.
    pub const fn whole(cpus: u32) -> Self {
        Self(cpus as u64 * 10_000)
    }

    /// Makes it from ten-thousandths of a cpu.
    pub const fn from_ten_thousandths(n: u64) -> Self {
        Self(n)
    }

    /// Returns ten-thousandths of a cpu.
    pub const fn ten_thousandths(self) -> u64 {
        self.0
    }

    /// Returns how many threads a task with so many cpus should use: rounded down, at least one.
    pub const fn threads(self) -> usize {
        let whole = self.0 / 10_000;
        if whole == 0 { 1 } else { whole as usize }
    }

    /// Adds, staying at the largest value where the sum would not fit.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Subtracts, staying at zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Multiplies by a number of tasks.
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// Returns how many requests of `each` fit; without bound (`u64::MAX`) where `each` is zero.
    pub const fn fits(self, each: Self) -> u64 {
        match self.0.checked_div(each.0) {
            Some(n) => n,
            None => u64::MAX,
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Milliseconds since 1970-01-01T00:00Z by some machine's clock; for people, never for decisions.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct WallMs(pub u64);
