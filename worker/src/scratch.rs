//! Scratch directories: one a lane, emptied between tasks, on tmpfs where there is one.
//!
//! Made and removed on disk for each task they would cost a quarter to a half of the rate of trivial
//! tasks. Under a worker's root each lane has `<lane>/script` (what its task runs, if that is a script)
//! and `<lane>/work`, the task's own.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation, StatVfsMountFlags, access, flock, statfs, statvfs};
use rustix::process::{Pid, Signal, kill_process};

use crate::processes::{self, Patience, Process};

/// `f_type` of tmpfs (statfs(2)).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// In the environment of every task; the rest of it is the path of the task's own directory.
const MARK: &[u8] = b"GRID_SCRATCH=";
/// How long tasks that an earlier life left behind may take to die.
const LEFTOVERS_PATIENCE: Duration = Duration::from_secs(10);

/// What the roots on tmpfs are called, before what tells them apart.
const PREFIX: &str = "gridctl-";

/// Where all lanes of one worker have their directories. Removed when it is dropped; locked until then,
/// so that others know what was left by a worker that was killed.
#[derive(Debug)]
pub(crate) struct ScratchRoot {
    path: PathBuf,
    _lock: File,
}

/// One lane's directories.
#[derive(Debug)]
pub(crate) struct Scratch {
    lane: PathBuf,
    work: PathBuf,
    /// Counts directories that could not be emptied and were left behind.
    generation: u32,
}

impl ScratchRoot {
    /// Makes the root of a worker: on tmpfs if possible, else in its data directory. Whatever an earlier
    /// life of the same worker left there is removed.
    ///
    /// # Errors
    /// Where no directory can be made in any of the places.
    pub(crate) fn make(data_dir: &Path, unique: &str) -> io::Result<Self> {
        let tmpfs = places().filter(|path| {
            is_tmpfs(path) && access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
        });
        for base in tmpfs {
            sweep(&base);
            if let Ok(root) = Self::make_in(&base.join(format!("{PREFIX}{unique}"))) {
                return Ok(root);
            }
        }
        Self::make_in(&in_data_dir(data_dir))
    }

    fn make_in(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(_) => remove_tree(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // Fails where somebody else was quicker: a directory of another owner is never taken.
        DirBuilder::new().mode(0o700).create(path)?;
        let lock = File::open(path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        // Another worker that starts may have swept it away before it was locked.
        match path.metadata() {
            Ok(found) if found.ino() == lock.metadata()?.ino() => {
                Ok(Self { path: path.to_owned(), _lock: lock })
            }
            Ok(_) | Err(_) => Err(io::Error::other("it was removed by someone else")),
        }
    }

    /// Makes the directories of a lane.
    ///
    /// # Errors
    /// Where they cannot be made.
    pub(crate) fn lane(&self, number: u64) -> io::Result<Scratch> {
        let lane = self.path.join(number.to_string());
        DirBuilder::new().mode(0o700).create(&lane)?;
        let scratch = Scratch { work: lane.join("work"), lane, generation: 0 };
        DirBuilder::new().mode(0o700).create(&scratch.work)?;
        Ok(scratch)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchRoot {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the worker starts again.
        let _ = remove_tree(&self.path);
    }
}

impl Scratch {
    /// Returns the directory that all of this lane's are in.
    pub(crate) fn directory(&self) -> &Path {
        &self.lane
    }

    /// Returns the task's own directory: empty when the task begins.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// Sees to it that the task's directory is there when the task begins: what cleans up after people who
    /// log out may have taken it away, with all that is above it.
    ///
    /// # Errors
    /// Where it cannot be made again.
    pub(crate) fn ready(&mut self) -> io::Result<()> {
        if self.work.is_dir() { Ok(()) } else { self.renew() }
    }

    /// Writes a script beside the task's directory, and returns its path.
    pub(crate) fn write_script(&self, text: &str) -> io::Result<PathBuf> {
        let path = self.lane.join("script");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Empties the task's directory for the next task.
    ///
    /// # Errors
    /// Where it cannot be emptied, and no other can be made in its place.
    pub(crate) fn empty(&mut self) -> io::Result<()> {
        match empty_directory(&self.work) {
            Ok(()) => Ok(()),
            // It was removed, replaced, or holds what cannot be removed: the next task gets another.
            Err(_) => self.renew(),
        }
    }

    /// Makes another directory for the next task.
    fn renew(&mut self) -> io::Result<()> {
        let _ = remove_tree(&self.work);
        self.generation += 1;
        self.work = self.lane.join(format!("work-{}", self.generation));
        DirBuilder::new().mode(0o700).recursive(true).create(&self.work)
    }
}

/// Returns the scratch directory that a process was started with.
pub(crate) fn directory_of(pid: Pid) -> Option<PathBuf> {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let entry = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(MARK))?;
    Some(PathBuf::from(str::from_utf8(entry).ok()?))
}

/// Ends the tasks that an earlier life of the same worker left behind when it was killed together with
/// everything that would have ended them.
pub(crate) fn end_leftovers(data_dir: &Path, unique: &str) {
    let roots: Vec<PathBuf> = places()
        .map(|place| place.join(format!("{PREFIX}{unique}")))
        .chain([in_data_dir(data_dir)])
        .collect();
    let is_left = |process: &Process| {
        let directory = directory_of(process.pid).filter(|_| !process.is_over);
        directory.is_some_and(|directory| roots.iter().any(|root| directory.starts_with(root)))
    };
    let (until, mut patience) = (Instant::now() + LEFTOVERS_PATIENCE, Patience::new());
    loop {
        let left: Vec<Process> = processes::all().into_iter().filter(is_left).collect();
        if left.is_empty() || until <= Instant::now() {
            return;
        }
        for process in left {
            // Another account's are not ours.
            let _ = kill_process(process.pid, Signal::KILL);
        }
        patience.wait();
    }
}

/// Returns the directories in which roots may be, where they are on tmpfs.
fn places() -> impl Iterator<Item = PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    ["/dev/shm"].iter().map(PathBuf::from).chain(runtime)
}

fn in_data_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("scratch")
}

/// Says whether a path is on tmpfs, and what is built there may be run there.
fn is_tmpfs(path: &Path) -> bool {
    let is_tmpfs = statfs(path).is_ok_and(|found| found.f_type == TMPFS_MAGIC);
    is_tmpfs && statvfs(path).is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// Removes what workers left that were killed: roots of this account that nobody has locked.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.filter_map(Result::ok) {
        let is_root = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|found| found.is_dir());
        let Some(root) = is_root.then(|| File::open(entry.path()).ok()).flatten() else { continue };
        if flock(&root, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What cannot be removed is another account's.
            let _ = remove_tree(&entry.path());
        }
    }
}

fn empty_directory(path: &Path) -> io::Result<()> {
    let mut found_any = false;
    for entry in fs::read_dir(path)? {
        found_any = true;
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?
        } else {
            fs::remove_file(entry.path())?
        }
    }
    if found_any {
        // The task may have changed them; for a directory that was not touched this is saved.
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Removes a directory and all that is in it, also where a task took permissions away.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            allow_removal(path)?;
            fs::remove_dir_all(path)
        }
        outcome => outcome,
    }
}

fn allow_removal(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            allow_removal(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(data: &Path) -> (ScratchRoot, Scratch) {
        let root = ScratchRoot::make_in(&data.join("root")).unwrap();
        let scratch = root.lane(1).unwrap();
        (root, scratch)
    }

    fn entries(path: &Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn a_directory_is_emptied_whatever_is_in_it() {
        let data = tempfile::tempdir().unwrap();
        let (_root, mut scratch) = lane(data.path());
        let work = scratch.work().to_owned();
        fs::write(work.join("file"), "x").unwrap();
        fs::create_dir_all(work.join("a/b/c")).unwrap();
        fs::set_permissions(work.join("a/b"), Permissions::from_mode(0o000)).unwrap();
        std::os::unix::fs::symlink("/etc", work.join("link")).unwrap();
        scratch.empty().unwrap();
        assert_eq!((entries(scratch.work()), scratch.work()), (0, work.as_path()));
        assert!(Path::new("/etc/passwd").exists(), "what a link names is left alone");
    }

    #[test]
    fn a_directory_that_a_task_removed_is_replaced() {
        let data = tempfile::tempdir().unwrap();
        let (_root, mut scratch) = lane(data.path());
        fs::remove_dir(scratch.work()).unwrap();
        scratch.empty().unwrap();
        assert_eq!(entries(scratch.work()), 0);
    }

    #[test]
    fn a_directory_that_was_taken_away_with_all_above_it_is_made_again() {
        let data = tempfile::tempdir().unwrap();
        let (root, mut scratch) = lane(data.path());
        fs::remove_dir_all(root.path()).unwrap();
        scratch.ready().unwrap();
        assert_eq!(entries(scratch.work()), 0);
        assert!(scratch.write_script("true").is_ok());
    }

    #[test]
    fn what_a_killed_worker_left_is_swept_and_what_is_in_use_is_not() {
        let base = tempfile::tempdir().unwrap();
        let in_use = ScratchRoot::make_in(&base.path().join("gridctl-1")).unwrap();
        fs::create_dir_all(base.path().join("gridctl-2/1/work")).unwrap();
        fs::create_dir(base.path().join("other")).unwrap();
        sweep(base.path());
        assert!(in_use.path().exists() && base.path().join("other").exists());
        assert!(!base.path().join("gridctl-2").exists());
    }

    #[test]
    fn the_root_goes_with_the_worker_and_what_an_earlier_life_left_goes_first() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(data.path().join("root/7/work")).unwrap();
        let (root, _scratch) = lane(data.path());
        assert!(!root.path().join("7").exists());
        let path = root.path().to_owned();
        drop(root);
        assert!(!path.exists());
    }
}
