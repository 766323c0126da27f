//! Gives the space back of what nothing refers to any more.
//!
//! A segment that nothing refers to is removed. One of which more than half is not referred to is written anew
//! with zeros in place of that, which compress to nothing: blocks, their numbers and the places in them stay, so
//! no fact or snapshot that names a record is touched.

use crate::disk::DiskError;
use crate::keeping::{Extent, Extents};

use super::block::encode_block;
use super::buffer::BlockId;
use super::error::ReadResultError;
use super::log::{RESULTS_DIR, Results, segment_path};

/// The segment that is written anew, until it gets its name.
const NEXT: &str = "results/next";

/// What became of segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cleared {
    /// Removed.
    pub removed: usize,
    /// Written anew.
    pub rewritten: usize,
}

/// Why segments could not be cleared.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// The disk refuses.
    #[error("result segments that are not needed any more could not be cleared")]
    Disk(#[from] DiskError),
    /// One that is to be written anew cannot be read.
    #[error("a result segment that is to be written anew cannot be read")]
    Read(#[from] ReadResultError),
}

impl Results {
    /// Clears segments before `pinned` of what is not in `extents`.
    ///
    /// # Errors
    /// [`ClearError`]; what was done up to there holds.
    pub(crate) fn clear(&self, mut extents: Extents, pinned: u32) -> Result<Cleared, ClearError> {
        let mut cleared = Cleared::default();
        let segments: Vec<(u32, usize)> = {
            let index = self.index.read().expect("no holder panics");
            index.range(..pinned).map(|(segment, blocks)| (*segment, blocks.len())).collect()
        };
        for (segment, blocks) in segments {
            let extents = extents.take(segment);
            if extents.is_empty() {
                self.index.write().expect("no holder panics").remove(&segment);
                self.sizes.lock().expect("no holder panics").remove(&segment);
                self.forget_cached(segment);
                self.disk.remove(&segment_path(segment))?;
                cleared.removed += 1;
            } else if self.is_mostly_forgotten(segment, &extents) {
                cleared.rewritten += usize::from(self.rewrite(segment, blocks, &extents)?);
            }
        }
        if cleared.removed > 0 {
            self.disk.sync_dir(RESULTS_DIR)?;
        }
        Ok(cleared)
    }

    /// Says whether less than half of what is there is still referred to.
    fn is_mostly_forgotten(&self, segment: u32, extents: &[Extent]) -> bool {
        let referred: u64 = extents.iter().map(|extent| u64::from(extent.bytes)).sum();
        let sizes = self.sizes.lock().expect("no holder panics");
        sizes.get(&segment).is_some_and(|there| referred < there / 2)
    }

    /// Writes a segment anew; says whether there was anything to leave out.
    fn rewrite(&self, segment: u32, blocks: usize, extents: &[Extent]) -> Result<bool, ClearError> {
        let mut encoded = Vec::with_capacity(blocks);
        let (mut changed, mut left, mut rest) = (false, 0, extents);
        for block in (0..).take(blocks) {
            let (here, after) = rest.split_at(rest.partition_point(|extent| extent.block <= block));
            rest = after;
            let old = self.read_block(BlockId { segment, block })?;
            let new = without_the_forgotten(&old, here);
            changed |= new != old;
            left += here.iter().map(|extent| u64::from(extent.bytes)).sum::<u64>();
            encoded.push(encode_block(block, &new, self.noted_durable()));
        }
        // Where it was written anew in an earlier life there is nothing left to do.
        if changed {
            self.replace(segment, &encoded)?;
        }
        self.sizes.lock().expect("no holder panics").insert(segment, left);
        Ok(changed)
    }

    /// Puts blocks in the place of those of a segment, while nobody reads.
    fn replace(&self, segment: u32, blocks: &[Vec<u8>]) -> Result<(), DiskError> {
        let file = self.disk.create(NEXT)?;
        let (mut end, mut offsets) = (0, Vec::with_capacity(blocks.len()));
        for block in blocks {
            file.write_all_at(end, block)?;
            offsets.push(end);
            end += block.len() as u64;
        }
        file.sync_data()?;
        let _no_reader = self.places.write().expect("no holder panics");
        self.disk.rename(NEXT, &segment_path(segment))?;
        self.index.write().expect("no holder panics").insert(segment, offsets);
        self.disk.sync_dir(RESULTS_DIR)
    }
}

/// Returns a block with zeros wherever nothing is referred to.
fn without_the_forgotten(old: &[u8], extents: &[Extent]) -> Vec<u8> {
    let mut new = vec![0; old.len()];
    for extent in extents {
        let start = extent.offset as usize;
        let record = start..start + extent.bytes as usize;
        if let (Some(to), Some(from)) = (new.get_mut(record.clone()), old.get(record)) {
            to.copy_from_slice(from);
        }
    }
    new
}
