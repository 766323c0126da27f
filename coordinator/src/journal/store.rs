//! Journal and results together: what is committed as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::{Fact, Place};
use gridctl_jobs::planted::{Bug, is_on};

use crate::disk::{Disk, DiskError};
use crate::results::{RecoverResultsError, Results, ResultsConfig, Scan};

use crate::space::{Space, SpaceConfig};

use super::error::{CommitError, RecoverJournalError};
use super::group::{FactGroup, kept_of};
use super::recovery::{Recovered, recover};
use super::segment::prepare_next;
use super::writer::{NextSegment, SEGMENT_BYTES, Writer};

/// Bytes after which a frame takes no further group: its sync then costs mostly the writing.
const FRAME_BYTES_GOAL: usize = 8 << 20;

/// Sizes of what is stored; smaller ones are for tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreConfig {
    /// Of a journal segment.
    pub segment_bytes: u64,
    /// Of the result segments.
    pub results: ResultsConfig,
    /// What is held back for when the disk is full.
    pub space: SpaceConfig,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            results: ResultsConfig::default(),
            space: SpaceConfig::default(),
        }
    }
}

/// Why the stored state cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
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
    /// A staged fact names output that may not be synced.
    names_results: bool,
    failed: bool,
}

impl Store {
    /// Reads everything back, handing each fact to `apply` in order, and goes on from there.
    ///
    /// # Errors
    /// [`OpenStoreError`] where journal or results are damaged or of a newer version: nothing was changed
    /// then, and what `apply` was handed must not be used.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: StoreConfig,
        apply: &mut dyn FnMut(FactIndex, Fact),
    ) -> Result<(Self, Recovered), OpenStoreError> {
        let scan = Scan::read(&*disk)?;
        let mut needed = BTreeMap::new();
        let mut apply = |index, fact: Fact| {
            if let Some(Place { segment, block, .. }) = kept_of(&fact).map(|kept| kept.place) {
                let last = needed.entry(segment).or_insert(block);
                *last = block.max(*last);
            }
            apply(index, fact);
        };
        let space =
            Space::open(Arc::clone(&disk), config.space).map_err(RecoverJournalError::from)?;
        let space = Arc::new(space);
        let (writer, recovered) =
            recover(&disk, &space, config.segment_bytes, scan.durable(), &mut apply)?;
        let results = Results::open(
            (Arc::clone(&disk), Arc::clone(&space)),
            config.results,
            scan,
            &needed,
            recovered.last,
        )?;
        let store = Self {
            disk,
            writer,
            results: Arc::new(results),
            space,
            names_results: false,
            failed: false,
        };
        Ok((store, recovered))
    }

    /// Returns where output is appended and read.
    pub fn results(&self) -> &Arc<Results> {
        &self.results
    }

    /// Returns the room on the disk.
    pub fn space(&self) -> &Arc<Space> {
        &self.space
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
