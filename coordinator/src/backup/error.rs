//! What can go wrong with a backup.

use std::io;
use std::path::PathBuf;

use crate::disk::{DiskError, OpenDiskError};
use crate::journal::RecoverJournalError;

/// Why a backup cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeBackupError {
    /// The disk refuses.
    #[error("the data directory could not be read")]
    Disk(#[from] DiskError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] RecoverJournalError),
}

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackupError {
    /// The file cannot be read.
    #[error("cannot read the backup {}", path.display())]
    Read {
        /// The backup.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no backup.
    #[error("{} is not a backup of a grid", path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of the program made it.
    #[error(
        "the backup {} is of format {version}, which this version of gridctl does not know (it knows 1); \
         use the newer version", path.display()
    )]
    Newer {
        /// The backup.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// It is not what was written.
    #[error("the backup {} is damaged at byte {offset}: {what}; take another one", path.display())]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
}

/// Why a backup is not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read; nothing was written.
    #[error(transparent)]
    Backup(#[from] ReadBackupError),
    /// There is something in the data directory already.
    #[error(
        "the data directory {} is not empty; a backup is restored into an empty one: move it away, or give another \
         --data-dir", path.display()
    )]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// The data directory cannot be looked into.
    #[error("cannot look into the data directory {}", path.display())]
    Look {
        /// The data directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data directory cannot be made or locked.
    #[error(transparent)]
    Open(#[from] OpenDiskError),
    /// The data directory cannot be written.
    #[error("the backup could not be restored; remove the data directory and try again")]
    Disk(#[from] DiskError),
}
