//! Snapshots, journal and results together: what is committed and read back as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::Fact;
use gridctl_core::state::State;
use gridctl_jobs::planted::{Bug, is_on};

use crate::disk::{Disk, DiskError};
use crate::keeping::{Keeper, KeepingError, Swept};
use crate::results::{BlockId, RecoverResultsError, Results, ResultsConfig, Scan};
use crate::snapshot::{self, Folded, ReadSnapshotError};
use crate::space::{Space, SpaceConfig};

use super::error::{CommitError, RecoverJournalError};
use super::group::{FactGroup, kept_of};
use super::recovery::{Base, Recovered, recover};
use super::segment::prepare_next;
use super::writer::{NextSegment, SEGMENT_BYTES, Writer};

/// Bytes after which a frame takes no further group: its sync then costs mostly the writing.
const FRAME_BYTES_GOAL: usize = 8 << 20;
/// Bytes of the journal after which a snapshot is made: half a million facts, which are read back within
/// seconds, and a snapshot costs no more than that.
const SNAPSHOT_EVERY_BYTES: u64 = 64 << 20;

/// Sizes of what is stored; smaller ones are for tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreConfig {
    /// Of a journal segment.
    pub segment_bytes: u64,
    /// Bytes of the journal after which a snapshot is made.
    pub snapshot_every_bytes: u64,
    /// Of the result segments.
    pub results: ResultsConfig,
    /// What is held back for when the disk is full.
    pub space: SpaceConfig,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            snapshot_every_bytes: SNAPSHOT_EVERY_BYTES,
            results: ResultsConfig::default(),
            space: SpaceConfig::default(),
        }
    }
}

/// Why the stored state cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The snapshots are refused.
    #[error(transparent)]
    Snapshot(#[from] ReadSnapshotError),
    /// The journal is refused.
    #[error(transparent)]
    Journal(#[from] RecoverJournalError),
    /// The result segments are refused.
    #[error(transparent)]
    Results(#[from] RecoverResultsError),
}

/// Makes groups of facts durable, the output that they name first.
pub struct Store {
    disk: Arc<dyn Disk>,
    writer: Writer,
    results: Arc<Results>,
    space: Arc<Space>,
    keeper: Arc<Keeper>,
    /// A staged fact names output that may not be synced.
    names_results: bool,
    failed: bool,
    snapshot_every_bytes: u64,
    /// A job was forgotten since the last sweep: there is space to be given back.
    has_forgotten: bool,
    /// What [`Writer::written_bytes`] is when the next snapshot is due.
    snapshot_at_bytes: u64,
}

/// What is read back.
pub struct Opened {
    /// Goes on from there.
    pub store: Store,
    /// What all the facts come to.
    pub state: State,
    /// How it was found.
    pub recovered: Recovered,
}

impl Store {
    /// Reads everything back, showing each fact since the last snapshot to `see` in order, and goes on from
    /// there.
    ///
    /// # Errors
    /// [`OpenStoreError`] where snapshots, journal or results are damaged or of a newer version: nothing was
    /// changed then, and what `see` was shown must not be used.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: StoreConfig,
        see: &mut dyn FnMut(FactIndex, &Fact),
    ) -> Result<Opened, OpenStoreError> {
        let scan = Scan::read(&*disk)?;
        let latest = snapshot::latest(&*disk)?;
        let snapshot = latest.folded.as_ref().map(Folded::index);
        let mut folded = latest.folded.unwrap_or_default();
        let base = Base { index: folded.index(), term: folded.term };
        let mut apply = |index, fact: Fact| {
            folded.apply(index, &fact);
            see(index, &fact);
        };
        let space =
            Space::open(Arc::clone(&disk), config.space).map_err(RecoverJournalError::from)?;
        let space = Arc::new(space);
        let durable = scan.durable();
        let found = recover(&disk, &space, config.segment_bytes, base, durable, &mut apply)?;
        let shared = (Arc::clone(&disk), Arc::clone(&space));
        let (needed, end) = (needed_blocks(&folded.state), folded.output_end);
        let results = Results::open(shared, config.results, scan, &needed, end, found.last)?;
        let results = Arc::new(results);
        let keeper = Keeper::new(Arc::clone(&disk), Arc::clone(&results), found.last);
        let due_in = config.snapshot_every_bytes.saturating_sub(found.tail_bytes);
        let store = Self {
            disk,
            results,
            space,
            keeper: Arc::new(keeper),
            names_results: false,
            failed: false,
            snapshot_every_bytes: config.snapshot_every_bytes,
            has_forgotten: false,
            snapshot_at_bytes: found.writer.written_bytes() + due_in,
            writer: found.writer,
        };
        let (last, cut, passed_over) = (found.last, found.cut, latest.passed_over);
        let recovered = Recovered { last, snapshot, passed_over, cut };
        Ok(Opened { store, state: folded.state, recovered })
    }

    /// Returns where output is appended and read.
    pub fn results(&self) -> &Arc<Results> {
        &self.results
    }

    /// Returns the room on the disk.
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// Returns who makes snapshots and clears away what is not needed any more.
    pub(crate) fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// Returns what is durable for certain.
    pub fn durable(&self) -> FactIndex {
        self.writer.durable()
    }

    /// Encodes a group into the next commit; says whether there is room for another one.
    ///
    /// # Panics
    /// Where the group does not follow the last one: facts reach the journal in order, without a gap.
    pub fn stage(&mut self, group: &FactGroup) -> bool {
        for (index, fact) in group.facts() {
            self.names_results |= kept_of(fact).is_some();
            self.has_forgotten |= matches!(fact, Fact::JobForgotten { .. });
            self.writer.stage(*index, fact);
        }
        self.writer.staged_bytes() < FRAME_BYTES_GOAL
    }

    /// Makes what is staged durable, and returns the index of the last durable fact.
    ///
    /// # Errors
    /// [`CommitError`]. Where there was no room ([`CommitError::is_no_room`]) the same commit may be tried again, as
    /// often as it takes; after anything else every one fails: nothing is tried twice.
    pub fn commit(&mut self) -> Result<FactIndex, CommitError> {
        if self.failed {
            return Err(CommitError::FailedBefore);
        }
        let result = self.try_commit();
        let finds_no_room = result.as_ref().is_err_and(CommitError::is_no_room);
        self.space.set_waiting(finds_no_room);
        self.failed = result.is_err() && !finds_no_room;
        if let Ok(durable) = &result {
            self.keeper.note_durable(*durable);
        }
        result
    }

    /// Returns what makes the next journal segment ahead, when it is time to: call it on another thread,
    /// and pass on to [`Store::adopt_next`] what waits for that.
    pub(crate) fn next_segment(
        &self,
    ) -> Option<impl FnOnce() -> NextSegmentResult + Send + 'static> {
        let bytes = self.writer.wants_next()?;
        let disk = Arc::clone(&self.disk);
        Some(move || prepare_next(&*disk, bytes))
    }

    pub(crate) fn adopt_next(&mut self, next: NextSegment) {
        self.writer.adopt_next(next);
    }

    /// Returns what makes a snapshot and clears away what is not needed any more, when it is time to: call it on
    /// another thread.
    pub fn sweep(
        &mut self,
    ) -> Option<impl FnOnce() -> Result<Option<Swept>, KeepingError> + Send + 'static> {
        let written = self.writer.written_bytes();
        let is_due = written >= self.snapshot_at_bytes || self.has_forgotten;
        if !is_due || self.keeper.is_busy() {
            return None;
        }
        self.has_forgotten = false;
        self.snapshot_at_bytes = written + self.snapshot_every_bytes;
        let keeper = Arc::clone(&self.keeper);
        Some(move || keeper.sweep())
    }

    fn try_commit(&mut self) -> Result<FactIndex, CommitError> {
        let durable = self.writer.durable();
        if self.names_results && !is_on(Bug::ResultsNotSynced) {
            self.results
                .sync(durable)
                .map_err(|source| CommitError::of_results(durable, source))?;
            self.names_results = false;
        }
        self.writer.commit().map_err(|source| CommitError::of_journal(durable, source))
    }
}

/// What making a segment ahead gives.
pub(crate) type NextSegmentResult = Result<Arc<dyn crate::disk::DiskFile>, DiskError>;

/// Returns the last block of each segment that something in the state refers to: what only an earlier state did may
/// have been cleared away.
fn needed_blocks(state: &State) -> BTreeMap<u32, u32> {
    let mut needed = BTreeMap::new();
    for BlockId { segment, block } in state.kept().map(BlockId::of) {
        let last = needed.entry(segment).or_insert(block);
        *last = block.max(*last);
    }
    needed
}
