//! Records that have a place but are not yet written.

use std::collections::VecDeque;
use std::sync::Arc;

use gridctl_core::fact::{Kept, Place};
use gridctl_jobs::planted::{Bug, is_on};
use serde::{Deserialize, Serialize};

use super::log::ResultsConfig;

/// Names a block: segment, then its place in it, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BlockId {
    pub(crate) segment: u32,
    pub(crate) block: u32,
}

impl BlockId {
    /// Returns the block that a record is in.
    pub(crate) const fn of(kept: &Kept) -> Self {
        Self { segment: kept.place.segment, block: kept.place.block }
    }
}

/// The block that is being filled, and full ones that wait to be written.
#[derive(Debug)]
pub(crate) struct Buffer {
    config: ResultsConfig,
    open_id: BlockId,
    open: Vec<u8>,
    closed: VecDeque<(BlockId, Arc<Vec<u8>>)>,
    closed_bytes: usize,
    /// Decompressed bytes in the segment of the open block, without that block.
    segment_raw_bytes: u64,
}

impl Buffer {
    /// Makes an empty one whose first block will be `next`, in a segment that holds `segment_raw_bytes`.
    pub(crate) fn new(config: ResultsConfig, next: BlockId, segment_raw_bytes: u64) -> Self {
        let mut buffer = Self {
            config,
            open_id: next,
            open: Vec::new(),
            closed: VecDeque::new(),
            closed_bytes: 0,
            segment_raw_bytes,
        };
        buffer.leave_full_segment();
        buffer
    }

    /// Gives a record of at most the largest size its place.
    pub(crate) fn append(&mut self, [stdout, stderr, result]: [&[u8]; 3]) -> Kept {
        let bytes = stdout.len() + stderr.len() + result.len();
        if !self.open.is_empty() && self.open.len() + bytes > self.config.block_bytes {
            self.close();
        }
        let start = self.open.len();
        for part in [stdout, stderr, result] {
            self.open.extend_from_slice(part);
        }
        let field = |bytes: usize| u32::try_from(bytes).expect("the largest record fits");
        let place = Place {
            segment: self.open_id.segment,
            block: self.open_id.block,
            offset: if is_on(Bug::ResultPlaceWrong) { 0 } else { field(start) },
            crc: crc32fast::hash(&self.open[start..]),
        };
        if self.open.len() > self.config.block_bytes {
            self.close();
        }
        Kept {
            place,
            stdout_bytes: field(stdout.len()),
            stderr_bytes: field(stderr.len()),
            result_bytes: field(result.len()),
        }
    }

    /// Returns the segment that the next record goes to, or one before that.
    pub(crate) fn open_segment(&self) -> u32 {
        self.open_id.segment
    }

    /// Returns the first segment of which not everything is written.
    pub(crate) fn first_unwritten_segment(&self) -> u32 {
        self.closed.front().map_or(self.open_id, |(id, _)| *id).segment
    }

    /// Ends the open block, where there is something in it.
    pub(crate) fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.open);
        self.closed_bytes += bytes.len();
        self.segment_raw_bytes += bytes.len() as u64;
        self.closed.push_back((self.open_id, Arc::new(bytes)));
        self.open_id.block += 1;
        self.leave_full_segment();
    }

    /// Counts the bytes of blocks that wait to be written.
    pub(crate) fn closed_bytes(&self) -> usize {
        self.closed_bytes
    }

    /// Returns the block that is to be written next; it stays readable here until [`Buffer::written`].
    pub(crate) fn next_closed(&self) -> Option<(BlockId, Arc<Vec<u8>>)> {
        self.closed.front().cloned()
    }

    /// Forgets the first closed block, which can be read from its segment now.
    pub(crate) fn written(&mut self) {
        if let Some((_, bytes)) = self.closed.pop_front() {
            self.closed_bytes -= bytes.len();
        }
    }

    /// Calls `with` on the block's bytes, if it is here.
    pub(crate) fn find<T>(&self, id: BlockId, with: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if id == self.open_id {
            return Some(with(&self.open));
        }
        let first = self.closed.front()?.0;
        if id < first {
            return None;
        }
        self.closed.iter().find(|(closed, _)| *closed == id).map(|(_, bytes)| with(bytes))
    }

    fn leave_full_segment(&mut self) {
        if self.segment_raw_bytes >= self.config.segment_bytes {
            self.open_id = BlockId { segment: self.open_id.segment + 1, block: 0 };
            self.segment_raw_bytes = 0;
        }
    }
}
