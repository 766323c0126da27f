//! A directory in memory that behaves as badly as a real one may when the power goes.
//!
//! What was not synced when it crashes is kept, lost, or torn at sectors, by a seed; creates, renames and
//! removes of a directory that was not synced are kept up to some point in their order, as a journaling
//! file system does. A crash can be set for the middle of any operation, a failure for any sync. It can be
//! full, out of files, or read-only.

mod capacity;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::error::{DiskAction, DiskError};
use super::traits::{Disk, DiskFile, FreeSpace};
use capacity::Capacity;

/// What is written whole: less than any device does, so that small frames tear as well.
const SECTOR_BYTES: usize = 64;

/// A data directory in memory; clones are the same directory.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
}

/// What decides which unsynced writes survive a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CrashSeed(pub u64);

/// One power cycle; handles of an earlier one are dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Power(u64);

/// A file, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Inode(usize);

#[derive(Debug, Default)]
struct World {
    files: Vec<Content>,
    names: BTreeMap<String, Inode>,
    synced_names: BTreeMap<String, Inode>,
    /// Since the last sync of their directory, in order.
    unsynced_names: Vec<NameChange>,
    power: Power,
    /// Writes, syncs and changes of names so far.
    changes: u64,
    crash_at: Option<u64>,
    fail_syncs: bool,
    /// Syncs that succeed before one fails; then none is left to fail.
    syncs_before_failure: Option<u64>,
    capacity: Capacity,
    down: bool,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<DataChange>,
}

#[derive(Debug)]
enum NameChange {
    Create { path: String, file: Inode },
    Rename { from: String, to: String },
    Remove { path: String },
}

#[derive(Debug)]
enum DataChange {
    Write { offset: usize, bytes: Vec<u8> },
    Resize { bytes: usize },
}

impl SimDisk {
    /// Makes an empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: every open file is dead, what was not synced is kept, lost or torn as `seed` says.
    /// The directory can be used again at once.
    pub fn crash(&self, seed: CrashSeed) {
        self.lock().crash(&mut fastrand::Rng::with_seed(seed.0));
    }

    /// Lets the power fail in the `n`th change from now (the next is 1): it and all later ones are errors,
    /// until [`SimDisk::crash`] brings the machine up again.
    pub fn crash_in(&self, n: u64) {
        let mut world = self.lock();
        world.crash_at = Some(world.changes + n);
    }

    /// Takes a crash that has not come yet back.
    pub fn cancel_crash(&self) {
        self.lock().crash_at = None;
    }

    /// Says whether the power is out.
    pub fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Counts writes, syncs and changes of names so far.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Lets every sync from now on fail, or not.
    pub fn set_failing_syncs(&self, fail: bool) {
        self.lock().fail_syncs = fail;
    }

    /// Lets the files together grow to `bytes` at most: more is an error of no room, of which as much is written
    /// as fits. Bytes that are there can be written over. `None` takes the bound away.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity.bytes = bytes;
    }

    /// Lets there be `files` at most; `None` takes the bound away.
    pub fn set_files_max(&self, files: Option<usize>) {
        self.lock().capacity.files = files;
    }

    /// Lets every write and change of names from now on be refused, as a file system does that was remounted
    /// read-only, or not. Syncs succeed: a remount writes out what it has taken.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.lock().capacity.is_read_only = is_read_only;
    }

    /// Lets the `n`th sync from now on (the next is 1) fail, and no other.
    pub fn fail_sync_in(&self, n: u64) {
        self.lock().syncs_before_failure = Some(n - 1);
    }

    /// Returns what the file `path` holds now, synced or not.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let world = self.lock();
        let file = *world.names.get(path)?;
        Some(world.files[file.0].now.clone())
    }

    /// Replaces what the file `path` holds, durably: damage, or a directory made up for a test.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        let mut world = self.lock();
        let file = Inode(world.files.len());
        world.files.push(Content { now: bytes.clone(), synced: bytes, unsynced: Vec::new() });
        world.names.insert(path.to_owned(), file);
        world.synced_names.insert(path.to_owned(), file);
    }

    /// Copies the directory as it would be read now into another one.
    pub fn fork(&self) -> Self {
        let world = self.lock();
        let copy = Self::new();
        for (path, file) in &world.names {
            copy.put(path, world.files[file.0].now.clone());
        }
        copy
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no holder panics")
    }

    fn change_names(
        &self,
        action: DiskAction,
        path: &str,
        change: impl FnOnce(&mut World) -> io::Result<()>,
    ) -> Result<(), DiskError> {
        let mut world = self.lock();
        world
            .begin_change()
            .and_then(|()| change(&mut world))
            .map_err(|source| self.error(action, path, source))
    }

    fn error(&self, action: DiskAction, path: &str, source: io::Error) -> DiskError {
        DiskError::new(action, &self.locate(path), source)
    }

    fn handle(&self, path: &str, file: Inode, power: Power) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), path: path.to_owned(), file, power })
    }
}

impl World {
    fn begin_change(&mut self) -> io::Result<()> {
        self.changes += 1;
        if self.crash_at.is_some_and(|at| self.changes >= at) {
            self.down = true;
        }
        self.power_on()
    }

    fn sync_fails(&mut self) -> bool {
        let left = self.syncs_before_failure.take();
        self.syncs_before_failure = left.and_then(|left| left.checked_sub(1));
        self.fail_syncs || left == Some(0)
    }

    fn power_on(&self) -> io::Result<()> {
        if self.down { Err(io::Error::other("the simulated machine is down")) } else { Ok(()) }
    }

    fn crash(&mut self, rng: &mut fastrand::Rng) {
        let kept = rng.usize(0..=self.unsynced_names.len());
        for change in self.unsynced_names.drain(..).take(kept) {
            change.apply(&mut self.synced_names);
        }
        self.names = self.synced_names.clone();
        for content in &mut self.files {
            content.crash(rng);
        }
        self.power.0 += 1;
        self.crash_at = None;
        self.syncs_before_failure = None;
        self.down = false;
    }
}

impl Content {
    fn crash(&mut self, rng: &mut fastrand::Rng) {
        if self.unsynced.is_empty() {
            return;
        }
        for change in std::mem::take(&mut self.unsynced) {
            match rng.u8(0..3) {
                0 => {}
                1 => change.apply(&mut self.synced),
                _ => change.tear(&mut self.synced, rng),
            }
        }
        self.now = self.synced.clone();
    }
}

impl NameChange {
    fn path(&self) -> &str {
        match self {
            Self::Create { path, .. } | Self::Remove { path } => path,
            Self::Rename { to, .. } => to,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Inode>) {
        match self {
            Self::Create { path, file } => {
                names.insert(path.clone(), *file);
            }
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove { path } => {
                names.remove(path);
            }
        }
    }
}

impl DataChange {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: new } => write_at(bytes, *offset, new),
            Self::Resize { bytes: len } => bytes.resize(*len, 0),
        }
    }

    fn tear(&self, bytes: &mut Vec<u8>, rng: &mut fastrand::Rng) {
        match self {
            Self::Resize { .. } => self.apply(bytes),
            Self::Write { offset, bytes: new } => {
                let (mut from, end) = (*offset, offset + new.len());
                while from < end {
                    let to = end.min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
                    if rng.bool() {
                        write_at(bytes, from, &new[from - offset..to - offset]);
                    }
                    from = to;
                }
            }
        }
    }
}

fn write_at(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

impl Disk for SimDisk {
    fn make_dir(&self, _dir: &str) -> Result<(), DiskError> {
        // Directories are prefixes of names here: there as soon as something is in them.
        Ok(())
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, DiskError> {
        let world = self.lock();
        world.power_on().map_err(|source| self.error(DiskAction::List, dir, source))?;
        let prefix = format!("{dir}/");
        Ok(world
            .names
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect())
    }

    fn create(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.change_names(DiskAction::Create, path, |world| {
            world.takes_name(Some(path))?;
            let file = Inode(world.files.len());
            world.files.push(Content::default());
            world.rename(NameChange::Create { path: path.to_owned(), file });
            Ok(())
        })?;
        self.open(path)
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        let world = self.lock();
        let found = world.power_on().and_then(|()| {
            world.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
        });
        let file = found.map_err(|source| self.error(DiskAction::Open, path, source))?;
        Ok(self.handle(path, file, world.power))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.change_names(DiskAction::Rename, from, |world| {
            world.takes_name(None)?;
            world.exists(from)?;
            world.rename(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.change_names(DiskAction::Remove, path, |world| {
            world.takes_name(None)?;
            world.exists(path)?;
            world.rename(NameChange::Remove { path: path.to_owned() });
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &str) -> Result<(), DiskError> {
        self.change_names(DiskAction::Sync, dir, |world| {
            if world.sync_fails() {
                return Err(io::Error::other("injected failure"));
            }
            let prefix = format!("{dir}/");
            let World { unsynced_names, synced_names, .. } = world;
            unsynced_names.retain(|change| {
                let here = change.path().starts_with(&prefix);
                if here {
                    change.apply(synced_names);
                }
                !here
            });
            Ok(())
        })
    }

    fn free(&self) -> Result<FreeSpace, DiskError> {
        let world = self.lock();
        let measured = world.power_on().map(|()| world.free());
        measured.map_err(|source| self.error(DiskAction::Measure, "", source))
    }

    fn locate(&self, path: &str) -> PathBuf {
        PathBuf::from("sim").join(path)
    }
}

impl World {
    fn exists(&self, path: &str) -> io::Result<()> {
        if self.names.contains_key(path) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    path: String,
    file: Inode,
    power: Power,
}

impl SimFile {
    fn read<T>(&self, with: impl FnOnce(&Content) -> io::Result<T>) -> Result<T, DiskError> {
        let world = self.disk.lock();
        self.alive(&world)
            .and_then(|()| with(&world.files[self.file.0]))
            .map_err(|source| self.disk.error(DiskAction::Read, &self.path, source))
    }

    fn change(&self, action: DiskAction, change: DataChange) -> Result<(), DiskError> {
        let mut world = self.disk.lock();
        let was_alive = self.alive(&world).is_ok();
        let begun = world.begin_change();
        let (change, fits) = world.fit(self.file, change);
        // The write in whose middle the power fails may still reach the device.
        if let Some(change) = change.filter(|_| was_alive) {
            let content = &mut world.files[self.file.0];
            change.apply(&mut content.now);
            content.unsynced.push(change);
        }
        begun
            .and_then(|()| self.alive(&world))
            .and(fits)
            .map_err(|source| self.disk.error(action, &self.path, source))
    }

    fn alive(&self, world: &World) -> io::Result<()> {
        world.power_on()?;
        if self.power == world.power {
            Ok(())
        } else {
            Err(io::Error::other("opened before the machine crashed"))
        }
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> Result<u64, DiskError> {
        self.read(|content| Ok(content.now.len() as u64))
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.read(|content| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let bytes = start.checked_add(buffer.len()).and_then(|end| content.now.get(start..end));
            buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let offset = usize::try_from(offset).expect("simulated files fit in memory");
        self.change(DiskAction::Write, DataChange::Write { offset, bytes: bytes.to_vec() })
    }

    fn set_len(&self, bytes: u64) -> Result<(), DiskError> {
        let bytes = usize::try_from(bytes).expect("simulated files fit in memory");
        self.change(DiskAction::Resize, DataChange::Resize { bytes })
    }

    fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        let bytes = usize::try_from(bytes).expect("simulated files fit in memory");
        let has = self.read(|content| Ok(content.now.len()))?;
        self.change(DiskAction::Allocate, DataChange::Resize { bytes: bytes.max(has) })
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        let mut world = self.disk.lock();
        let synced = world.begin_change().and_then(|()| self.alive(&world)).and_then(|()| {
            if world.sync_fails() {
                return Err(io::Error::other("injected failure"));
            }
            let Content { synced, unsynced, .. } = &mut world.files[self.file.0];
            unsynced.drain(..).for_each(|change| change.apply(synced));
            Ok(())
        });
        synced.map_err(|source| self.disk.error(DiskAction::Sync, &self.path, source))
    }
}
