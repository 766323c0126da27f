//! Why there is no room, for whoever is refused because of it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::disk::DiskError;

/// Nothing new is taken.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub struct Shortage {
    /// What is lacking.
    pub cause: Cause,
    /// The coordinator's data directory.
    pub directory: PathBuf,
    /// What is free there.
    pub free_bytes: u64,
    /// What would have to be.
    pub needed_bytes: u64,
    /// Results wait too: the reserve is used up.
    pub waits: bool,
}

/// What is lacking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Blocks.
    Full,
    /// A quota is used up.
    Quota,
    /// Inodes.
    NoInodes,
    /// It can be read only.
    ReadOnly,
}

impl Cause {
    /// Reads why a write found no room.
    pub(super) fn of(error: &DiskError) -> Self {
        let kind = error.source.kind();
        if kind == io::ErrorKind::ReadOnlyFilesystem {
            Self::ReadOnly
        } else if kind == io::ErrorKind::QuotaExceeded {
            Self::Quota
        } else {
            Self::Full
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory.display();
        match self.cause {
            Cause::Full => write!(
                f,
                "the coordinator's disk is full: {} free in {directory}, {} needed; free some there",
                size(self.free_bytes),
                size(self.needed_bytes)
            ),
            Cause::Quota => write!(
                f,
                "the coordinator's disk is full: its account has used up the quota in {directory}; free some there, or \
                 raise the quota"
            ),
            Cause::NoInodes => write!(
                f,
                "the coordinator's disk is full: no inodes are left in {directory}; remove files there"
            ),
            Cause::ReadOnly => write!(
                f,
                "the coordinator's disk is read-only: {directory}; look into its log for why, and mount it writable"
            ),
        }?;
        f.write_str(if self.waits {
            ". Nothing is taken until then, and results wait with their workers; nothing is lost"
        } else {
            ". Nothing new is taken until then; what runs goes on"
        })
    }
}

/// Writes bytes for a person, rounded down.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
