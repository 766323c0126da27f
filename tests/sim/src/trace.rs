//! What happened: a hash of all of it, always, and lines for a person, where somebody reads them.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::time::SimMs;

/// The record of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Fnv,
    now: SimMs,
    lines: Option<Vec<String>>,
}

/// FNV-1a, 64 bits: the same on every platform and in every version of the standard library.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl Trace {
    /// Makes an empty record; `keep_lines` where somebody will read them.
    pub(crate) fn new(keep_lines: bool) -> Self {
        Self { hash: Fnv(0xcbf2_9ce4_8422_2325), now: SimMs(0), lines: keep_lines.then(Vec::new) }
    }

    /// Moves on in time.
    pub(crate) fn at(&mut self, now: SimMs) {
        self.now = now;
        now.hash(&mut self.hash);
    }

    /// Notes that something happened: what (hashed), and how it reads.
    pub(crate) fn note(&mut self, what: impl Hash, line: impl FnOnce() -> String) {
        what.hash(&mut self.hash);
        self.line(line);
    }

    /// Adds a line that follows from what was noted.
    pub(crate) fn line(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{} {}", Clock(self.now), line()));
        }
    }

    /// Returns the hash of everything so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// A moment as it stands in the log.
struct Clock(SimMs);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7}.{:03}", self.0.0 / 1000, self.0.0 % 1000)
    }
}
