//! Reads records back, from segments or from what is not yet written.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use gridctl_core::fact::Kept;

use super::block::{HEADER_BYTES, ParsedHeader, decode_data, parse_header};
use super::buffer::BlockId;
use super::error::{Damage, ReadResultError};
use super::log::{Results, segment_path};

/// Decompressed blocks that are kept: `output` of a stage reads one record after the other out of the same
/// block, and a few readers do so at once.
const CACHED_BLOCKS: usize = 8;
/// Bytes of a block that is worth keeping: larger ones hold a single record.
const CACHED_BLOCK_BYTES_MAX: usize = 1 << 20;

/// A part of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A function's result value.
    Result,
}

/// The last blocks that were read, the newest last.
#[derive(Debug, Default)]
pub(super) struct Cache(VecDeque<(BlockId, Arc<Vec<u8>>)>);

impl Part {
    /// Returns where the part lies in its record.
    fn range(self, kept: &Kept) -> Range<usize> {
        let stdout = kept.stdout_bytes as usize;
        let stderr = stdout + kept.stderr_bytes as usize;
        match self {
            Self::Stdout => 0..stdout,
            Self::Stderr => stdout..stderr,
            Self::Result => stderr..stderr + kept.result_bytes as usize,
        }
    }
}

impl Results {
    /// Reads one part of a record. Blocks on the disk where the record is not in memory.
    ///
    /// # Errors
    /// [`ReadResultError`] where the record is not there, is damaged, or the disk refuses: never other bytes
    /// than were appended.
    pub fn read(&self, kept: &Kept, part: Part) -> Result<Vec<u8>, ReadResultError> {
        let id = BlockId::of(kept);
        let in_record = part.range(kept);
        // The buffer first: a block is in the index before it leaves the buffer.
        let buffered = self.buffer().find(id, |block| copy(block, kept, &in_record));
        let found = match buffered {
            Some(found) => found,
            None => copy(&self.block(id)?, kept, &in_record),
        };
        found.ok_or_else(|| ReadResultError::Damaged {
            file: self.disk.locate(&segment_path(id.segment)),
            offset: self.offset(id).unwrap_or_default(),
            what: Damage::Record,
        })
    }

    fn offset(&self, id: BlockId) -> Option<u64> {
        let index = self.index.read().expect("no holder panics");
        index.get(&id.segment)?.get(id.block as usize).copied()
    }

    fn block(&self, id: BlockId) -> Result<Arc<Vec<u8>>, ReadResultError> {
        let cached = self.cache.lock().expect("no holder panics").find(id);
        if let Some(block) = cached {
            return Ok(block);
        }
        let block = Arc::new(self.read_block(id)?);
        self.cache.lock().expect("no holder panics").keep(id, &block);
        Ok(block)
    }

    /// Forgets blocks of a segment that is not there any more.
    pub(super) fn forget_cached(&self, segment: u32) {
        self.cache.lock().expect("no holder panics").0.retain(|(id, _)| id.segment != segment);
    }

    /// Reads a block from its segment.
    pub(super) fn read_block(&self, id: BlockId) -> Result<Vec<u8>, ReadResultError> {
        let _in_place = self.places.read().expect("no holder panics");
        let path = segment_path(id.segment);
        let Some(offset) = self.offset(id) else {
            return Err(ReadResultError::Missing {
                file: self.disk.locate(&path),
                block: id.block,
            });
        };
        let damaged =
            |what| ReadResultError::Damaged { file: self.disk.locate(&path), offset, what };
        let file = self.disk.open(&path)?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(offset, &mut header)?;
        let header = match parse_header(&header) {
            ParsedHeader::Block(header) if header.block == id.block => header,
            ParsedHeader::Block(_) | ParsedHeader::Bad | ParsedHeader::Newer { .. } => {
                return Err(damaged(Damage::Header));
            }
        };
        let left = file.len()?.saturating_sub(offset + HEADER_BYTES as u64);
        if u64::from(header.packed_bytes) > left {
            return Err(damaged(Damage::Data));
        }
        let mut data = vec![0; header.packed_bytes as usize];
        file.read_exact_at(offset + HEADER_BYTES as u64, &mut data)?;
        decode_data(&header, &data).map_err(damaged)
    }
}

impl Cache {
    fn find(&self, id: BlockId) -> Option<Arc<Vec<u8>>> {
        self.0.iter().find(|(cached, _)| *cached == id).map(|(_, block)| Arc::clone(block))
    }

    fn keep(&mut self, id: BlockId, block: &Arc<Vec<u8>>) {
        if block.len() > CACHED_BLOCK_BYTES_MAX {
            return;
        }
        if self.0.len() == CACHED_BLOCKS {
            self.0.pop_front();
        }
        self.0.push_back((id, Arc::clone(block)));
    }
}

/// Copies a part out of a record, if the record is whole.
fn copy(block: &[u8], kept: &Kept, in_record: &Range<usize>) -> Option<Vec<u8>> {
    let start = kept.place.offset as usize;
    let bytes = Part::Result.range(kept).end;
    let record = block.get(start..start.checked_add(bytes)?)?;
    let whole = crc32fast::hash(record) == kept.place.crc;
    if whole { record.get(in_record.clone()).map(<[u8]>::to_vec) } else { None }
}
