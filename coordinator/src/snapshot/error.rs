//! Why a snapshot is not read.

use std::path::PathBuf;

use crate::disk::DiskError;

/// Why no snapshot is read. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum ReadSnapshotError {
    /// The disk could not be read.
    #[error("the snapshots could not be read")]
    Disk(#[from] DiskError),
    /// A newer version of the program wrote it.
    #[error(
        "{} is of snapshot format {version}, which this version of gridctl does not know (it knows 1); \
         nothing was changed; start the newer version", file.display()
    )]
    Newer {
        /// The snapshot.
        file: PathBuf,
        /// Its format.
        version: u32,
    },
    /// It is whole, but what it says is not understood.
    #[error(
        "{} is whole, but holds a state that this version of gridctl does not know; nothing was changed; \
         start the version that wrote it", file.display()
    )]
    UnknownState {
        /// The snapshot.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: postcard::Error,
    },
}

/// A snapshot that is damaged, so that an older one was read, or the whole journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PassedOver {
    /// The snapshot.
    pub file: PathBuf,
    /// What is wrong with it.
    pub what: &'static str,
}
