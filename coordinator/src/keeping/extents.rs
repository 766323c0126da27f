//! Which parts of which result segments something refers to.

use std::collections::BTreeMap;

use gridctl_core::fact::Kept;

/// A record in a segment: where it lies once its block is decompressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Extent {
    pub(crate) block: u32,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// Records that are referred to, by segment.
#[derive(Debug, Default)]
pub(crate) struct Extents(BTreeMap<u32, Vec<Extent>>);

impl Extents {
    /// Adds a record; the same one may be added twice.
    pub(crate) fn add(&mut self, kept: &Kept) {
        let bytes = kept.stdout_bytes + kept.stderr_bytes + kept.result_bytes;
        let place = kept.place;
        let extent = Extent { block: place.block, offset: place.offset, bytes };
        self.0.entry(place.segment).or_default().push(extent);
    }

    /// Takes out the records of a segment, in order, each once; empty where nothing refers to it.
    pub(crate) fn take(&mut self, segment: u32) -> Vec<Extent> {
        let mut extents = self.0.remove(&segment).unwrap_or_default();
        extents.sort_unstable();
        extents.dedup();
        extents
    }
}
