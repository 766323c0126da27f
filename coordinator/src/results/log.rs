//! Appends records and writes their blocks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::Kept;

use crate::disk::{Disk, DiskError, DiskFile};
use crate::space::Space;

use super::block::{RECORD_BYTES_MAX, encode_block};
use super::buffer::{BlockId, Buffer};
use super::error::{AppendResultError, RecoverResultsError, WriteResultsError};
use super::read::Cache;
use super::recovery::Scan;

/// Where the segments lie.
pub(crate) const RESULTS_DIR: &str = "results";

/// Sizes; smaller ones are for tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResultsConfig {
    /// Decompressed bytes of a block: large enough to compress well, small enough to read for one task. A
    /// larger record is a block of its own.
    pub block_bytes: usize,
    /// Decompressed bytes after which a segment takes no further block.
    pub segment_bytes: u64,
    /// Bytes of full blocks that wait in memory; whoever appends to more writes them out itself.
    pub buffered_bytes_max: usize,
}

impl Default for ResultsConfig {
    fn default() -> Self {
        Self { block_bytes: 1 << 20, segment_bytes: 64 << 20, buffered_bytes_max: 32 << 20 }
    }
}

/// The result segments of a data directory. Appending, writing and reading go on side by side.
#[derive(Debug)]
pub struct Results {
    pub(super) disk: Arc<dyn Disk>,
    space: Arc<Space>,
    config: ResultsConfig,
    pub(super) buffer: Mutex<Buffer>,
    /// Where each written block begins. A block is here before it leaves the buffer.
    pub(super) index: RwLock<BTreeMap<u32, Vec<u64>>>,
    /// Bytes of records in each segment, once decompressed; after it was written anew, of those that were left.
    pub(super) sizes: Mutex<BTreeMap<u32, u64>>,
    /// Held by readers, and by whoever puts a segment in the place of another.
    pub(super) places: RwLock<()>,
    /// How many pins hold each segment.
    pinned: Mutex<BTreeMap<u32, usize>>,
    pub(super) cache: Mutex<Cache>,
    writing: Mutex<Writing>,
    /// The last journal index that is known to be durable: noted in every block.
    durable: AtomicU64,
}

/// What whoever writes blocks holds; one at a time.
#[derive(Debug, Default)]
struct Writing {
    active: Option<ActiveSegment>,
    /// Written since the last sync, the active one not among them.
    unsynced: Vec<Arc<dyn DiskFile>>,
    /// A file was made since the directory was synced.
    new_names: bool,
    dirty: bool,
    failed: bool,
}

#[derive(Debug)]
struct ActiveSegment {
    segment: u32,
    file: Arc<dyn DiskFile>,
    offset: u64,
}

/// Returns the path of a segment.
pub(crate) fn segment_path(segment: u32) -> String {
    format!("{RESULTS_DIR}/{segment:010}.seg")
}

impl Results {
    /// Goes on after what was found, cutting off what was never acknowledged: `needed` is the last block in
    /// each segment that something refers to, `end` the last that a fact has ever named, `last` the last fact.
    ///
    /// # Errors
    /// [`RecoverResultsError`] where a needed block is not there.
    pub(crate) fn open(
        (disk, space): (Arc<dyn Disk>, Arc<Space>),
        config: ResultsConfig,
        scan: Scan,
        needed: &BTreeMap<u32, u32>,
        end: Option<BlockId>,
        last: FactIndex,
    ) -> Result<Self, RecoverResultsError> {
        let resume = scan.cut(&*disk, needed, end)?;
        let active = match resume.offset {
            Some(offset) => {
                let segment = resume.next.segment;
                Some(ActiveSegment { segment, file: disk.open(&segment_path(segment))?, offset })
            }
            None => None,
        };
        Ok(Self {
            disk,
            space,
            config,
            buffer: Mutex::new(Buffer::new(config, resume.next, resume.segment_raw_bytes)),
            index: RwLock::new(resume.index),
            sizes: Mutex::new(resume.sizes),
            places: RwLock::default(),
            pinned: Mutex::default(),
            cache: Mutex::default(),
            writing: Mutex::new(Writing { active, ..Writing::default() }),
            durable: AtomicU64::new(last.0),
        })
    }

    /// Takes a record and says where it will be; it can be read at once, and is durable after the next
    /// [`Results::sync`].
    ///
    /// Writes full blocks out before (without a sync) where too many of them wait in memory: call it where that
    /// may block, if records can be large.
    ///
    /// # Errors
    /// [`AppendResultError::TooLarge`] for more than any attempt may leave behind,
    /// [`AppendResultError::Write`] where the disk refuses. The record was not taken then; where there was no room
    /// ([`AppendResultError::is_no_room`]) it may be appended again.
    pub fn append(
        &self,
        stdout: &[u8],
        stderr: &[u8],
        result: &[u8],
    ) -> Result<Kept, AppendResultError> {
        let bytes = stdout.len() + stderr.len() + result.len();
        if bytes > RECORD_BYTES_MAX {
            return Err(AppendResultError::TooLarge { bytes, max: RECORD_BYTES_MAX });
        }
        let waiting = self.buffer().closed_bytes();
        if waiting > self.config.buffered_bytes_max {
            let mut writing = self.writing.lock().expect("no holder panics");
            self.write_closed(&mut writing)?;
        }
        Ok(self.buffer().append([stdout, stderr, result]))
    }

    /// Writes and syncs every record that was appended before; `durable` is what is durable in the journal.
    ///
    /// # Errors
    /// [`WriteResultsError`]. Where there was no room the same may be tried again; after anything else every write
    /// fails: nothing is tried twice.
    pub fn sync(&self, durable: FactIndex) -> Result<(), WriteResultsError> {
        self.durable.store(durable.0, Ordering::Relaxed);
        self.buffer().close();
        let mut writing = self.writing.lock().expect("no holder panics");
        self.write_closed(&mut writing)?;
        let synced = writing.sync(&*self.disk);
        writing.failed = synced.is_err();
        Ok(synced?)
    }

    /// Returns the first segment that may hold something that is in no durable fact yet, and may still get into
    /// one.
    pub(crate) fn first_pinned(&self) -> u32 {
        let unwritten = self.buffer().first_unwritten_segment();
        let pinned = self.pinned.lock().expect("no holder panics");
        pinned.first_key_value().map_or(unwritten, |(first, _)| unwritten.min(*first))
    }

    pub(super) fn pin(&self) -> u32 {
        // Where the segment is full before this is noted, what is appended afterwards goes behind it.
        let segment = self.buffer().open_segment();
        *self.pinned.lock().expect("no holder panics").entry(segment).or_default() += 1;
        segment
    }

    pub(super) fn unpin(&self, segment: u32) {
        let mut pinned = self.pinned.lock().expect("no holder panics");
        let count = pinned.get_mut(&segment).expect("every pin was counted");
        *count -= 1;
        if *count == 0 {
            pinned.remove(&segment);
        }
    }

    pub(super) fn noted_durable(&self) -> FactIndex {
        FactIndex(self.durable.load(Ordering::Relaxed))
    }

    pub(super) fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().expect("no holder panics")
    }

    fn write_closed(&self, writing: &mut Writing) -> Result<(), WriteResultsError> {
        if writing.failed {
            return Err(WriteResultsError::FailedBefore);
        }
        loop {
            let next = self.buffer().next_closed();
            let Some((id, raw)) = next else { return Ok(()) };
            let block = encode_block(id.block, &raw, self.noted_durable());
            let written = self.space.with_reserve(|| writing.write(&*self.disk, id, &block));
            writing.failed = written.as_ref().is_err_and(|error| !error.is_no_room());
            let offset = written?;
            let mut index = self.index.write().expect("no holder panics");
            let blocks = index.entry(id.segment).or_default();
            assert_eq!(blocks.len(), id.block as usize, "blocks are written in order");
            blocks.push(offset);
            drop(index);
            *self.sizes.lock().expect("no holder panics").entry(id.segment).or_default() +=
                raw.len() as u64;
            self.buffer().written();
        }
    }
}

impl Writing {
    /// Writes a block at the end of its segment, and returns where it begins. After it found no room it may be
    /// written again: over what was written of it.
    fn write(&mut self, disk: &dyn Disk, id: BlockId, bytes: &[u8]) -> Result<u64, DiskError> {
        if self.active.as_ref().is_none_or(|active| active.segment != id.segment) {
            let file = disk.create(&segment_path(id.segment))?;
            self.new_names = true;
            let left = self.active.replace(ActiveSegment { segment: id.segment, file, offset: 0 });
            self.unsynced.extend(left.filter(|_| self.dirty).map(|left| left.file));
        }
        let active = self.active.as_mut().expect("set just above where it was not");
        let offset = active.offset;
        active.file.write_all_at(offset, bytes)?;
        active.offset += bytes.len() as u64;
        self.dirty = true;
        Ok(offset)
    }

    fn sync(&mut self, disk: &dyn Disk) -> Result<(), DiskError> {
        for file in self.unsynced.drain(..) {
            file.sync_data()?;
        }
        if let Some(active) = self.active.as_ref().filter(|_| self.dirty) {
            active.file.sync_data()?;
        }
        if self.new_names {
            disk.sync_dir(RESULTS_DIR)?;
        }
        self.new_names = false;
        self.dirty = false;
        Ok(())
    }
}
