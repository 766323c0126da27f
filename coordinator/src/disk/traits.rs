//! The two traits: a directory and a file of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::DiskError;

/// One data directory. Paths are relative to it, with `/` between their parts.
///
/// Nothing is durable before it is synced: what a file holds by [`DiskFile::sync_data`], that a file is
/// there (after a create, rename or remove) by [`Disk::sync_dir`].
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes the directory `dir` if it is not there, and syncs its parent.
    ///
    /// # Errors
    /// [`DiskError`] where the system refuses.
    fn make_dir(&self, dir: &str) -> Result<(), DiskError>;

    /// Lists the names of the files in `dir`, in byte order.
    ///
    /// # Errors
    /// [`DiskError`] where the directory cannot be read.
    fn list(&self, dir: &str) -> Result<Vec<String>, DiskError>;

    /// Makes the file `path`, empty; whatever had the name before is gone.
    ///
    /// # Errors
    /// [`DiskError`] where the system refuses.
    fn create(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Opens the file `path` for reading and writing.
    ///
    /// # Errors
    /// [`DiskError`] where it is not there, or the system refuses.
    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Gives the file `from` the name `to`.
    ///
    /// # Errors
    /// [`DiskError`] where the system refuses.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes the file `path`.
    ///
    /// # Errors
    /// [`DiskError`] where the system refuses.
    fn remove(&self, path: &str) -> Result<(), DiskError>;

    /// Makes creates, renames and removes in `dir` durable.
    ///
    /// # Errors
    /// [`DiskError`] where the system refuses; what is durable then is not known.
    fn sync_dir(&self, dir: &str) -> Result<(), DiskError>;

    /// Measures what the file system has left.
    ///
    /// # Errors
    /// [`DiskError`] where the system does not say.
    fn free(&self) -> Result<FreeSpace, DiskError>;

    /// Returns how a person finds `path`, for messages.
    fn locate(&self, path: &str) -> PathBuf;
}

/// What a file system has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeSpace {
    /// Bytes that we may still use; `u64::MAX` where the file system has no such bound.
    pub bytes: u64,
    /// Files that can still be made; `u64::MAX` where the file system has no such bound.
    pub files: u64,
    /// Nothing can be written at all.
    pub is_read_only: bool,
}

/// A file of a [`Disk`]; reading and writing may go on from several threads at once.
#[expect(clippy::len_without_is_empty, reason = "an empty file is not a question that anyone asks")]
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Returns how many bytes it has.
    ///
    /// # Errors
    /// [`DiskError`] where the system refuses.
    fn len(&self) -> Result<u64, DiskError>;

    /// Fills `buffer` from the bytes at `offset`.
    ///
    /// # Errors
    /// [`DiskError`] where the file ends before, or the system refuses.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError>;

    /// Writes all of `bytes` at `offset`; the file grows where needed.
    ///
    /// # Errors
    /// [`DiskError`] where the system refuses; part of it may have been written. Over bytes that were written
    /// before there is always room, but on file systems that never write in place.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Cuts the file to `bytes`, or extends it with zeros.
    ///
    /// # Errors
    /// [`DiskError`] where the system refuses.
    fn set_len(&self, bytes: u64) -> Result<(), DiskError>;

    /// Takes room for the first `bytes` of the file, which grows to that length with zeros. What it takes is free
    /// again once the file is removed.
    ///
    /// # Errors
    /// [`DiskError`] where the system refuses; part of the room may have been taken.
    fn allocate(&self, bytes: u64) -> Result<(), DiskError>;

    /// Makes durable what was written, and the length where that changed (`fdatasync`).
    ///
    /// # Errors
    /// [`DiskError`] where the device refuses. It must never be tried again: the kernel may have dropped
    /// what it could not write, and a second sync would report success.
    fn sync_data(&self) -> Result<(), DiskError>;
}
