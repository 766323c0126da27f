//! Walks the segments after a start, and cuts off what the journal does not need.

use std::collections::BTreeMap;

use gridctl_core::effect::FactIndex;

use crate::disk::{Disk, DiskError};

use super::block::{HEADER_BYTES, ParsedHeader, parse_header};
use super::buffer::BlockId;
use super::error::RecoverResultsError;
use super::log::{RESULTS_DIR, segment_path};

/// The first segment; 0 is not used, so that a place of zeros is never valid by chance.
const FIRST_SEGMENT: u32 = 1;

/// What the segments hold, as far as their headers say.
#[derive(Debug)]
pub(crate) struct Scan {
    segments: BTreeMap<u32, Vec<ScannedBlock>>,
    durable: FactIndex,
}

#[derive(Clone, Copy, Debug)]
struct ScannedBlock {
    offset: u64,
    end: u64,
    raw_bytes: u32,
}

/// Where writing goes on.
#[derive(Debug, Default)]
pub(super) struct Resume {
    pub(super) next: BlockId,
    /// Where the next block begins in a segment that is there already.
    pub(super) offset: Option<u64>,
    pub(super) segment_raw_bytes: u64,
    pub(super) index: BTreeMap<u32, Vec<u64>>,
    pub(super) sizes: BTreeMap<u32, u64>,
}

impl Scan {
    /// Reads the headers of all blocks of all segments. Changes nothing.
    ///
    /// # Errors
    /// [`RecoverResultsError::Newer`], [`RecoverResultsError::Disk`].
    pub(crate) fn read(disk: &dyn Disk) -> Result<Self, RecoverResultsError> {
        disk.make_dir(RESULTS_DIR)?;
        let mut scan = Self { segments: BTreeMap::new(), durable: FactIndex(0) };
        for segment in disk.list(RESULTS_DIR)?.iter().filter_map(|name| parse_segment_name(name)) {
            scan.read_segment(disk, segment)?;
        }
        Ok(scan)
    }

    /// Returns the highest journal index that some block says was durable.
    pub(crate) fn durable(&self) -> FactIndex {
        self.durable
    }

    fn read_segment(&mut self, disk: &dyn Disk, segment: u32) -> Result<(), RecoverResultsError> {
        let path = segment_path(segment);
        let file = disk.open(&path)?;
        let bytes = file.len()?;
        let (mut blocks, mut offset) = (Vec::new(), 0);
        while offset + HEADER_BYTES as u64 <= bytes {
            let mut header = [0; HEADER_BYTES];
            file.read_exact_at(offset, &mut header)?;
            let header = match parse_header(&header) {
                ParsedHeader::Block(header) => header,
                ParsedHeader::Bad => break,
                ParsedHeader::Newer { version } => {
                    return Err(RecoverResultsError::Newer {
                        file: disk.locate(&path),
                        offset,
                        version,
                    });
                }
            };
            let end = offset + HEADER_BYTES as u64 + u64::from(header.packed_bytes);
            if end > bytes || header.block as usize != blocks.len() {
                break;
            }
            blocks.push(ScannedBlock { offset, end, raw_bytes: header.raw_bytes });
            self.durable = self.durable.max(header.durable);
            offset = end;
        }
        self.segments.insert(segment, blocks);
        Ok(())
    }

    /// Checks that every needed block is there, cuts off what lies behind `end`, the last that was ever named,
    /// and says where writing goes on.
    ///
    /// # Errors
    /// [`RecoverResultsError::Damaged`] where one is not there; nothing was changed then.
    pub(super) fn cut(
        mut self,
        disk: &dyn Disk,
        needed: &BTreeMap<u32, u32>,
        end: Option<BlockId>,
    ) -> Result<Resume, RecoverResultsError> {
        for (segment, block) in needed {
            let blocks = self.segments.get(segment).map_or(&[][..], Vec::as_slice);
            if blocks.len() <= *block as usize {
                let file = disk.locate(&segment_path(*segment));
                let offset = blocks.last().map_or(0, |last| last.end);
                return Err(RecoverResultsError::Damaged { file, offset, block: *block });
            }
        }
        let last = needed
            .last_key_value()
            .map(|(segment, block)| BlockId { segment: *segment, block: *block })
            .max(end);
        let unneeded: Vec<u32> = self
            .segments
            .keys()
            .copied()
            .filter(|segment| last.is_none_or(|last| last.segment < *segment))
            .collect();
        for segment in &unneeded {
            self.segments.remove(segment);
            disk.remove(&segment_path(*segment))?;
        }
        if !unneeded.is_empty() {
            disk.sync_dir(RESULTS_DIR)?;
        }
        let Some(last) = last else {
            let next = BlockId { segment: FIRST_SEGMENT, block: 0 };
            return Ok(Resume { next, ..Resume::default() });
        };
        let whole = |blocks: &&mut Vec<ScannedBlock>| blocks.len() > last.block as usize;
        let Some(blocks) = self.segments.get_mut(&last.segment).filter(whole) else {
            // Nothing needs what is missing, but its places must never be given out again.
            let next = BlockId { segment: last.segment + 1, block: 0 };
            return Ok(Resume { next, ..self.resume() });
        };
        blocks.truncate(last.block as usize + 1);
        let end = blocks.last().expect("the last block that was named").end;
        let file = disk.open(&segment_path(last.segment))?;
        if file.len()? != end {
            file.set_len(end)?;
            file.sync_data()?;
        }
        let segment_raw_bytes = raw_bytes(blocks);
        let next = BlockId { segment: last.segment, block: last.block + 1 };
        Ok(Resume { next, offset: Some(end), segment_raw_bytes, ..self.resume() })
    }

    /// Says where the blocks are.
    fn resume(&self) -> Resume {
        let sizes = self.segments.iter().map(|(segment, blocks)| (*segment, raw_bytes(blocks)));
        let index = self.segments.iter().map(|(segment, blocks)| (*segment, offsets(blocks)));
        Resume { index: index.collect(), sizes: sizes.collect(), ..Resume::default() }
    }
}

/// Returns how many bytes of a segment facts up to `durable` can refer to. It may be written on meanwhile: what
/// those facts name was there before they were durable.
///
/// # Errors
/// [`DiskError`] where the disk refuses.
pub(crate) fn durable_length(
    disk: &dyn Disk,
    path: &str,
    durable: FactIndex,
) -> Result<u64, DiskError> {
    let file = disk.open(path)?;
    let (bytes, mut offset) = (file.len()?, 0);
    while offset + HEADER_BYTES as u64 <= bytes {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(offset, &mut header)?;
        let ParsedHeader::Block(header) = parse_header(&header) else { break };
        let end = offset + HEADER_BYTES as u64 + u64::from(header.packed_bytes);
        if header.durable > durable || end > bytes {
            break;
        }
        offset = end;
    }
    Ok(offset)
}

fn raw_bytes(blocks: &[ScannedBlock]) -> u64 {
    blocks.iter().map(|block| u64::from(block.raw_bytes)).sum()
}

fn offsets(blocks: &[ScannedBlock]) -> Vec<u64> {
    blocks.iter().map(|block| block.offset).collect()
}

fn parse_segment_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    let ours = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if ours { digits.parse().ok().filter(|segment| *segment >= FIRST_SEGMENT) } else { None }
}
