//! The sweep.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use gridctl_core::effect::FactIndex;
use gridctl_jobs::planted::{Bug, is_on};

use crate::disk::{Disk, DiskAction, DiskError};
use crate::journal::{self, RecoverJournalError, read_facts};
use crate::results::{ClearError, Cleared, Results};
use crate::snapshot::{self, ReadSnapshotError};

use super::extents::Extents;

/// Makes snapshots, and clears away what they make superfluous.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) results: Arc<Results>,
    durable: AtomicU64,
    busy: AtomicBool,
    stopping: Mutex<bool>,
    stops: Condvar,
    /// How many backups are being read.
    pub(super) readers: Mutex<usize>,
}

/// What a sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Swept {
    /// The last fact in the new snapshot.
    pub snapshot: FactIndex,
    /// Journal segments that were removed.
    pub journal_segments: usize,
    /// Result segments that were removed, or written anew.
    pub results: Cleared,
}

/// Why a sweep was given up. What it did up to there holds.
#[derive(Debug, thiserror::Error)]
pub enum KeepingError {
    /// The disk refuses.
    #[error("a snapshot could not be made, or what it makes superfluous could not be removed")]
    Disk(#[from] DiskError),
    /// The last snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] ReadSnapshotError),
    /// The journal cannot be read back.
    #[error(transparent)]
    Journal(#[from] RecoverJournalError),
    /// Result segments could not be cleared.
    #[error(transparent)]
    Clear(#[from] ClearError),
    /// The coordinator stops.
    #[error("the coordinator stops")]
    Stopping,
}

impl KeepingError {
    /// Says whether a sync failed: the disk is not to be trusted any more then.
    pub fn is_final(&self) -> bool {
        let disk = match self {
            Self::Disk(disk)
            | Self::Snapshot(ReadSnapshotError::Disk(disk))
            | Self::Journal(RecoverJournalError::Disk(disk))
            | Self::Clear(ClearError::Disk(disk)) => disk,
            Self::Snapshot(_) | Self::Journal(_) | Self::Clear(_) | Self::Stopping => return false,
        };
        disk.action == DiskAction::Sync
    }
}

/// Held while a sweep runs.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Held while a backup is read: nothing of the data directory is removed or written anew.
#[derive(Debug)]
pub(crate) struct ReadHold(Arc<Keeper>);

impl ReadHold {
    /// Takes one; waits while something is being removed.
    pub(crate) fn new(keeper: &Arc<Keeper>) -> Self {
        *keeper.readers() += 1;
        Self(Arc::clone(keeper))
    }
}

impl Drop for ReadHold {
    fn drop(&mut self) {
        *self.0.readers() -= 1;
    }
}

impl Keeper {
    pub(crate) fn new(disk: Arc<dyn Disk>, results: Arc<Results>, durable: FactIndex) -> Self {
        Self {
            disk,
            results,
            durable: AtomicU64::new(durable.0),
            busy: AtomicBool::new(false),
            stopping: Mutex::new(false),
            stops: Condvar::new(),
            readers: Mutex::new(0),
        }
    }

    /// Takes note of what is durable, before anybody is told.
    pub(crate) fn note_durable(&self, durable: FactIndex) {
        self.durable.store(durable.0, Ordering::Release);
    }

    /// Returns the last fact that is durable for certain.
    pub(crate) fn durable(&self) -> FactIndex {
        FactIndex(self.durable.load(Ordering::Acquire))
    }

    /// Says whether a sweep runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Lets a sweep that runs or waits end soon.
    pub(crate) fn stop(&self) {
        *self.stopping.lock().expect("no holder panics") = true;
        self.stops.notify_all();
    }

    /// Waits before a sweep, but not once the coordinator stops.
    pub(crate) fn wait(&self, delay: Duration) {
        let stopping = self.stopping.lock().expect("no holder panics");
        drop(self.stops.wait_timeout_while(stopping, delay, |stopping| !*stopping));
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.lock().expect("no holder panics")
    }

    /// Makes a snapshot, and clears away what is not needed any more; `None` where nothing is new.
    ///
    /// # Errors
    /// [`KeepingError`]; another sweep may be tried later unless [`KeepingError::is_final`].
    pub(crate) fn sweep(&self) -> Result<Option<Swept>, KeepingError> {
        if self.busy.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        let _busy = Busy(&self.busy);
        // In this order: what was appended before and is not pinned is in the journal up to `durable`.
        let pinned = self.results.first_pinned();
        let durable = self.durable();
        let latest = snapshot::latest(&*self.disk)?;
        let mut folded = latest.folded.unwrap_or_default();
        let older = folded.index();
        if older == durable {
            return Ok(None);
        }
        let mut extents = Extents::default();
        if is_on(Bug::ResultsClearedEarly) {
            folded.state.kept().for_each(|kept| extents.add(kept));
        }
        let mut stopped = false;
        let read = read_facts(&*self.disk, older, durable, &mut |index, fact| {
            stopped = stopped || self.is_stopping();
            if !stopped {
                folded.apply(index, fact);
            }
        })?;
        if stopped {
            return Err(KeepingError::Stopping);
        }
        folded.term = folded.term.max(read.term);
        snapshot::write(&*self.disk, &folded)?;
        if !is_on(Bug::ResultsClearedEarly) {
            folded.state.kept().for_each(|kept| extents.add(kept));
        }
        drop(folded);
        self.clear(older, durable, extents, pinned)
    }

    /// Removes what two snapshots, of which the older one ends with `older`, do not need.
    fn clear(
        &self,
        older: FactIndex,
        newer: FactIndex,
        extents: Extents,
        pinned: u32,
    ) -> Result<Option<Swept>, KeepingError> {
        let readers = self.readers();
        let mut swept = Swept { snapshot: newer, journal_segments: 0, results: Cleared::default() };
        if *readers > 0 {
            return Ok(Some(swept));
        }
        let superfluous = snapshot::list(&*self.disk)?;
        let superfluous: Vec<_> =
            superfluous.into_iter().filter(|index| ![older, newer].contains(index)).collect();
        for index in &superfluous {
            self.disk.remove(&snapshot::path(*index))?;
        }
        if !superfluous.is_empty() && !is_on(Bug::SnapshotNameNotSynced) {
            self.disk.sync_dir(snapshot::SNAPSHOTS_DIR)?;
        }
        let up_to = if is_on(Bug::SnapshotCutsTooFar) { newer } else { older };
        swept.journal_segments = journal::cut(&*self.disk, up_to)?;
        swept.results = self.results.clear(extents, pinned)?;
        Ok(Some(swept))
    }

    /// Returns the data directory.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(super) fn readers(&self) -> MutexGuard<'_, usize> {
        self.readers.lock().expect("no holder panics")
    }
}
