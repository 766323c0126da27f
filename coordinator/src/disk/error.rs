//! What can go wrong with a file, always with its name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file or directory that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct DiskError {
    /// What was tried.
    pub action: DiskAction,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// An operation on a file or directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskAction {
    /// Makes a file or directory.
    Create,
    /// Opens a file that is there.
    Open,
    /// Lists a directory.
    List,
    /// Reads from a file, or its length.
    Read,
    /// Writes to a file.
    Write,
    /// Sets a file's length.
    Resize,
    /// Takes room for a file ahead of its content.
    Allocate,
    /// Asks how much room there is.
    Measure,
    /// Gives a file another name.
    Rename,
    /// Removes a file.
    Remove,
    /// Waits until what was written is on the device.
    Sync,
}

impl DiskError {
    /// Makes one for `action` on `path`.
    pub(crate) fn new(action: DiskAction, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    /// Says whether the disk had no room for it: full, over a quota, without an inode left, or read-only. The
    /// same may be tried again then, once there is room. Never of a sync: what that lost stays lost.
    pub fn is_no_room(&self) -> bool {
        let no_room = matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
        );
        no_room && self.action != DiskAction::Sync
    }
}

impl fmt::Display for DiskAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write to",
            Self::Resize => "resize",
            Self::Allocate => "take room for",
            Self::Measure => "measure the disk of",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Sync => "sync",
        })
    }
}
