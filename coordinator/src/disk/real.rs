//! A directory of this machine, locked while it is open.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, StatVfsMountFlags, fallocate, flock, statvfs};
use rustix::io::Errno;

use super::error::{DiskAction, DiskError};
use super::fill::write_zeros;
use super::traits::{Disk, DiskFile, FreeSpace};

/// The file whose lock says that the directory is in use.
const LOCK_FILE: &str = "lock";
/// Bytes that are read of who holds the lock: a process id and a name.
const HOLDER_BYTES_MAX: u64 = 256;

/// A data directory of this machine; no second process can open it meanwhile.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Unlocked by the kernel when it is closed, however the process ends.
    _lock: File,
}

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenDiskError {
    /// Someone else serves it.
    #[error("the data directory {} is in use by {holder}; stop that one, or choose another --data-dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that holds the lock, as it named itself.
        holder: String,
    },
    /// The system refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl RealDisk {
    /// Opens the data directory `root`, making it (mode 0700) where it is not there, and locks it.
    ///
    /// # Errors
    /// [`OpenDiskError::InUse`] where another process has it open, [`OpenDiskError::Disk`] where the
    /// system refuses.
    pub fn open(root: &Path) -> Result<Self, OpenDiskError> {
        make_dirs(root)?;
        let path = root.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| DiskError::new(DiskAction::Open, &path, source))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(error) if error == Errno::WOULDBLOCK => {
                return Err(OpenDiskError::InUse {
                    path: root.to_owned(),
                    holder: read_holder(&mut lock),
                });
            }
            Err(error) => return Err(DiskError::new(DiskAction::Open, &path, error.into()).into()),
        }
        // Only for the message to whoever comes second: on a full disk it says nothing.
        match write_holder(&mut lock)
            .map_err(|source| DiskError::new(DiskAction::Write, &path, source))
        {
            Err(error) if !error.is_no_room() => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    /// Returns the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Disk for RealDisk {
    fn make_dir(&self, dir: &str) -> Result<(), DiskError> {
        let path = self.locate(dir);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => sync_dir(path.parent().unwrap_or(&self.root)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(DiskError::new(DiskAction::Create, &path, error)),
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, DiskError> {
        let path = self.locate(dir);
        let names = fs::read_dir(&path)
            .and_then(|entries| {
                entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>()
            })
            .map_err(|source| DiskError::new(DiskAction::List, &path, source))?;
        // A name that is not UTF-8 is not ours.
        let mut names: Vec<String> =
            names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        open_file(
            self.locate(path),
            OpenOptions::new().create(true).truncate(true),
            DiskAction::Create,
        )
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError> {
        open_file(self.locate(path), &mut OpenOptions::new(), DiskAction::Open)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let from = self.locate(from);
        fs::rename(&from, self.locate(to))
            .map_err(|source| DiskError::new(DiskAction::Rename, &from, source))
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        let path = self.locate(path);
        fs::remove_file(&path).map_err(|source| DiskError::new(DiskAction::Remove, &path, source))
    }

    fn sync_dir(&self, dir: &str) -> Result<(), DiskError> {
        sync_dir(&self.locate(dir))
    }

    fn free(&self) -> Result<FreeSpace, DiskError> {
        let found = statvfs(&self.root)
            .map_err(|error| DiskError::new(DiskAction::Measure, &self.root, error.into()))?;
        // A file system that does not count blocks or files says that it has none at all.
        let bounded = |all, left| if all == 0 { u64::MAX } else { left };
        Ok(FreeSpace {
            bytes: bounded(found.f_blocks, found.f_bavail.saturating_mul(found.f_frsize)),
            files: bounded(found.f_files, found.f_favail),
            is_read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    fn locate(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// An open file and its name.
#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl RealFile {
    fn error(&self, action: DiskAction) -> impl FnOnce(io::Error) -> DiskError {
        move |source| DiskError::new(action, &self.path, source)
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.file.metadata().map_err(self.error(DiskAction::Read))?.len())
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.file.read_exact_at(buffer, offset).map_err(self.error(DiskAction::Read))
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(self.error(DiskAction::Write))
    }

    fn set_len(&self, bytes: u64) -> Result<(), DiskError> {
        self.file.set_len(bytes).map_err(self.error(DiskAction::Resize))
    }

    fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        match fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            // Where the file system cannot take room, zeros take it.
            Err(Errno::OPNOTSUPP) => write_zeros(self, 0, bytes),
            taken => taken.map_err(|error| self.error(DiskAction::Allocate)(error.into())),
        }
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(self.error(DiskAction::Sync))
    }
}

fn open_file(
    path: PathBuf,
    options: &mut OpenOptions,
    action: DiskAction,
) -> Result<Arc<dyn DiskFile>, DiskError> {
    match options.read(true).write(true).mode(0o600).open(&path) {
        Ok(file) => Ok(Arc::new(RealFile { file, path })),
        Err(source) => Err(DiskError::new(action, &path, source)),
    }
}

/// Makes a directory and those above it, durably: what is below it is not there after a crash otherwise.
fn make_dirs(path: &Path) -> Result<(), DiskError> {
    let new: Vec<&Path> =
        path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| DiskError::new(DiskAction::Create, path, source))?;
    for dir in new {
        let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
        sync_dir(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn sync_dir(path: &Path) -> Result<(), DiskError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| DiskError::new(DiskAction::Sync, path, source))
}

fn write_holder(lock: &mut File) -> io::Result<()> {
    let program = std::env::args_os().next().map(PathBuf::from);
    let name = program.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    lock.set_len(0)?;
    writeln!(lock, "process {} ({name})", std::process::id())
}

fn read_holder(lock: &mut File) -> String {
    let mut holder = String::new();
    // Only for the message: what cannot be read is named as such.
    let read = lock.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
    match read {
        Ok(_) if !holder.trim().is_empty() => holder.trim().to_owned(),
        Ok(_) | Err(_) => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_in_use_is_refused_and_the_error_says_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let first = RealDisk::open(dir.path()).unwrap();
        let message = RealDisk::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        assert!(message.contains(&dir.path().display().to_string()), "{message}");
        drop(first);
        RealDisk::open(dir.path()).unwrap();
    }

    #[test]
    fn files_are_private_listed_in_order_and_renamed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        disk.make_dir("d").unwrap();
        disk.make_dir("d").unwrap();
        disk.create("d/b").unwrap().write_all_at(3, b"xyz").unwrap();
        disk.create("d/a").unwrap();
        disk.rename("d/a", "d/c").unwrap();
        disk.sync_dir("d").unwrap();
        assert_eq!(disk.list("d").unwrap(), ["b", "c"]);
        let file = disk.open("d/b").unwrap();
        assert_eq!(file.len().unwrap(), 6);
        let mut bytes = [9; 6];
        file.read_exact_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0\0xyz");
        assert_eq!(fs::metadata(disk.locate("d/b")).unwrap().permissions().mode() & 0o777, 0o600);
        disk.remove("d/b").unwrap();
        let error = disk.open("d/b").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot open {}", disk.locate("d/b").display()));
    }
}
