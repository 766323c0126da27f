//! Room on the coordinator's disk: how much is left, who may have it, and the reserve.
//!
//! # When there is no room
//! What would make the grid hold more (submissions, join tokens, people and machines) is refused by name as soon as
//! less is free than is kept free. What is already decided, results above all, is committed from the *reserve*:
//! files in `reserve/` that hold nothing but room, of blocks and of inodes, and are removed one by one when a write
//! finds none. When all of it is used up, the journal waits with the write that found no room, in its
//! order, and nothing after it is acknowledged: results stay with their workers. Reads and heartbeats need no
//! room. Once there is room again the journal goes on, and the reserve is made again.
//!
//! ```text
//! reserve/00 … reserve/15     as long as the reserve, divided by their number
//! ```
//! A read-only file system is one without room. A *sync* that fails is something else, whatever it says:
//! what it lost is lost, and the coordinator stops.
//!
//! Deliberately absent: timers (the shell calls [`Space::tend`]), and what is written with the room.

mod reserve;
mod shortage;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use gridctl_jobs::planted::{Bug, is_on};

use crate::disk::{Disk, DiskError, FreeSpace};

use reserve::Reserve;
pub use shortage::{Cause, Shortage};

/// Bytes of the reserve unless told otherwise: the outputs of some thousand ordinary tasks, and the journal's
/// frames about them.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// Files that are left to others and to ourselves beside the reserve: segments, snapshots, temporary names.
const FILES_KEPT_FREE: u64 = 8;
/// Bounds of what is kept free beside the reserve.
const KEPT_FREE_MIN: u64 = 1 << 20;
const KEPT_FREE_MAX: u64 = 16 << 20;

/// How much is held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpaceConfig {
    /// Bytes of the reserve; none where 0.
    pub reserve_bytes: u64,
    /// Free bytes, beside the reserve, below which nothing new is taken.
    pub kept_free_bytes: u64,
}

/// The room of one data directory, shared by all who use it.
#[derive(Debug)]
pub struct Space {
    disk: Arc<dyn Disk>,
    config: SpaceConfig,
    inner: Mutex<Inner>,
    /// Notified when it is time to try again what found no room.
    try_again: Condvar,
}

#[derive(Debug)]
struct Inner {
    reserve: Reserve,
    /// Why a write found no room, until the reserve is whole again.
    found: Option<Cause>,
    /// Bytes of what was admitted and is not durable yet.
    admitted: u64,
    /// The journal waits for room.
    waits: bool,
    /// Nobody waits any more: the coordinator stops.
    stopping: bool,
    /// What the log said last.
    told: Option<Cause>,
}

/// Room that was promised to something new, until it is durable and this is dropped.
#[derive(Debug)]
pub struct Admitted {
    space: Arc<Space>,
    bytes: u64,
}

impl SpaceConfig {
    /// Makes one with a reserve of `bytes`; what is kept free beside it follows from that.
    pub fn with_reserve(bytes: u64) -> Self {
        let kept_free_bytes = (bytes / 4).clamp(KEPT_FREE_MIN, KEPT_FREE_MAX);
        Self { reserve_bytes: bytes, kept_free_bytes }
    }
}

impl Default for SpaceConfig {
    fn default() -> Self {
        Self::with_reserve(RESERVE_BYTES)
    }
}

impl Space {
    /// Looks what is there of the reserve. Makes nothing yet: [`Space::tend`] does.
    ///
    /// # Errors
    /// [`DiskError`] where the directory of the reserve cannot be read.
    pub fn open(disk: Arc<dyn Disk>, config: SpaceConfig) -> Result<Self, DiskError> {
        let inner = Inner {
            reserve: Reserve::find(&*disk, config.reserve_bytes)?,
            found: None,
            admitted: 0,
            waits: false,
            stopping: false,
            told: None,
        };
        Ok(Self { disk, config, inner: Mutex::new(inner), try_again: Condvar::new() })
    }

    /// Does something that takes room for what is already decided: from the reserve, where there is no other. `work`
    /// is done again after it found none, so it must be the same however often it was begun.
    ///
    /// # Errors
    /// [`DiskError`], of no room once the reserve is used up.
    pub(crate) fn with_reserve<T>(
        &self,
        mut work: impl FnMut() -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        loop {
            match work() {
                Err(error) if error.is_no_room() => {
                    let mut inner = self.lock();
                    inner.found = Some(Cause::of(&error));
                    if !inner.reserve.give_up(&*self.disk) {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    /// Says whether `bytes` may be written ahead, for speed only.
    pub(crate) fn is_ample(&self, bytes: u64) -> bool {
        self.find(&self.lock(), bytes).is_none()
    }

    /// Promises room to something new of `bytes`, until what is returned is dropped.
    ///
    /// # Errors
    /// [`Shortage`] says why not.
    pub fn admit(self: &Arc<Self>, bytes: u64) -> Result<Admitted, Shortage> {
        let mut inner = self.lock();
        if let Some(shortage) = self.find(&inner, bytes)
            && !is_on(Bug::ReserveForSubmissions)
        {
            return Err(shortage);
        }
        inner.admitted += bytes;
        Ok(Admitted { space: Arc::clone(self), bytes })
    }

    /// Says whether something small may still be decided that does not make the grid hold more: as long as the
    /// journal does not wait.
    ///
    /// # Errors
    /// [`Shortage`] says why not.
    pub fn admit_relief(&self) -> Result<(), Shortage> {
        let inner = self.lock();
        match self.find(&inner, 0).filter(|_| inner.waits) {
            Some(shortage) => Err(shortage),
            None => Ok(()),
        }
    }

    /// Returns why nothing new is taken, where that is so.
    pub fn shortage(&self) -> Option<Shortage> {
        self.find(&self.lock(), 0)
    }

    /// Says whether a write waits for room, the reserve being used up.
    pub fn is_waiting(&self) -> bool {
        self.lock().waits
    }

    /// Counts the files of the reserve that are there.
    pub fn reserve_files(&self) -> usize {
        self.lock().reserve.files()
    }

    /// Notes whether the journal waits for room.
    pub(crate) fn set_waiting(&self, waits: bool) {
        let mut inner = self.lock();
        if waits && !inner.waits {
            let why = self.find(&inner, 0);
            tracing::error!(
                why = why.map(|shortage| shortage.to_string()),
                "the reserve is used up: nothing is committed until there is room; results wait with their workers"
            );
        } else if !waits && inner.waits {
            tracing::info!("there is room again: what waited is committed");
        }
        inner.waits = waits;
    }

    /// Waits until it is time to try again what found no room, `most` at most; says false where the coordinator is
    /// to stop instead.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let inner = self.lock();
        if inner.stopping {
            return false;
        }
        let waited = self.try_again.wait_timeout(inner, most).expect("no holder panics");
        !waited.0.stopping
    }

    /// Lets nobody wait for room any more: what waits fails, unacknowledged.
    pub(crate) fn stop_waiting(&self) {
        self.lock().stopping = true;
        self.try_again.notify_all();
    }

    /// Looks after the reserve: makes it again once there is room, and lets those try again who wait. Cheap where all
    /// is well; to be called every second or so.
    pub fn tend(&self) {
        while self.tend_once() {}
        let mut inner = self.lock();
        let shortage = self.find(&inner, 0);
        let cause = shortage.as_ref().map(|shortage| shortage.cause);
        if cause != inner.told {
            inner.told = cause;
            match shortage {
                Some(shortage) => tracing::warn!("{shortage}"),
                None => tracing::info!("there is room on the disk again: submissions are taken"),
            }
        }
    }

    /// Does one thing for the reserve, so that nobody waits for all of it; says whether there is more to do.
    fn tend_once(&self) -> bool {
        let mut inner = self.lock();
        if inner.waits {
            self.try_again.notify_all();
            return false;
        }
        if self.measured(&inner, 0).is_some() {
            return false;
        }
        match inner.reserve.make_next(&*self.disk) {
            Ok(true) => return true,
            Ok(false) => inner.found = None,
            Err(error) if error.is_no_room() => inner.found = Some(Cause::of(&error)),
            Err(error) => tracing::warn!(%error, "the reserve cannot be made"),
        }
        false
    }

    /// Returns why there is no room for `bytes` more beside the reserve and what is kept free.
    fn find(&self, inner: &Inner, bytes: u64) -> Option<Shortage> {
        self.measured(inner, bytes).or_else(|| {
            let cause = inner.found?;
            Some(self.shortage_of(inner, cause, self.disk.free().ok(), bytes))
        })
    }

    /// The same, by what the file system says alone: a quota, say, it does not know of.
    fn measured(&self, inner: &Inner, bytes: u64) -> Option<Shortage> {
        // What cannot be measured is tried.
        let free = self.disk.free().ok()?;
        let cause = if free.is_read_only {
            Cause::ReadOnly
        } else if free.files < FILES_KEPT_FREE + inner.reserve.missing_files() {
            Cause::NoInodes
        } else if free.bytes < self.needed(inner, bytes) {
            Cause::Full
        } else {
            return None;
        };
        Some(self.shortage_of(inner, cause, Some(free), bytes))
    }

    fn needed(&self, inner: &Inner, bytes: u64) -> u64 {
        let kept = self.config.kept_free_bytes + inner.reserve.missing_bytes();
        kept.saturating_add(inner.admitted).saturating_add(bytes)
    }

    fn shortage_of(
        &self,
        inner: &Inner,
        cause: Cause,
        free: Option<FreeSpace>,
        bytes: u64,
    ) -> Shortage {
        Shortage {
            cause,
            directory: self.disk.locate(""),
            free_bytes: free.map_or(0, |free| free.bytes),
            needed_bytes: self.needed(inner, bytes),
            waits: inner.waits,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder panics")
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.space.lock().admitted -= self.bytes;
    }
}
