//! Why the journal stops, or does not start.

use std::path::PathBuf;

use gridctl_core::effect::FactIndex;

use crate::disk::DiskError;
use crate::results::WriteResultsError;

/// Why facts could not be made durable. Final, but for want of room: what is on the device now is not known, so the
/// coordinator stops, and recovers when it is started again.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The journal could not be written or synced.
    #[error("the journal could not be made durable after fact {}; free or replace the disk, then start again", durable.0)]
    Journal {
        /// What is durable for certain.
        durable: FactIndex,
        /// What the disk said.
        #[source]
        source: DiskError,
    },
    /// Output could not be written or synced.
    #[error("task output could not be made durable after fact {}; free or replace the disk, then start again", durable.0)]
    Results {
        /// What is durable for certain.
        durable: FactIndex,
        /// What went wrong.
        #[source]
        source: WriteResultsError,
    },
    /// There is no room, and the reserve is used up. Not final: the same commit may be tried again.
    #[error(
        "what was decided after fact {} could not be made durable, since the disk is full, and was not acknowledged to \
         anybody; free room, then start again", durable.0
    )]
    NoRoom {
        /// What is durable for certain.
        durable: FactIndex,
        /// What the disk said.
        #[source]
        source: DiskError,
    },
    /// A snapshot could not be synced: the disk is not to be trusted any more.
    #[error("a snapshot could not be made durable after fact {}; free or replace the disk, then start again", durable.0)]
    Keeping {
        /// What is durable for certain.
        durable: FactIndex,
        /// What went wrong.
        #[source]
        source: crate::keeping::KeepingError,
    },
    /// A commit had failed before.
    #[error("the journal had failed before; start the coordinator again")]
    FailedBefore,
}

impl CommitError {
    /// Says whether it is not final: the same commit may be tried again, once there is room.
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::NoRoom { .. })
    }

    pub(crate) fn of_journal(durable: FactIndex, source: DiskError) -> Self {
        if source.is_no_room() {
            Self::NoRoom { durable, source }
        } else {
            Self::Journal { durable, source }
        }
    }

    pub(crate) fn of_results(durable: FactIndex, source: WriteResultsError) -> Self {
        match source {
            WriteResultsError::Disk(source) if source.is_no_room() => {
                Self::NoRoom { durable, source }
            }
            source @ (WriteResultsError::Disk(_) | WriteResultsError::FailedBefore) => {
                Self::Results { durable, source }
            }
        }
    }
}

/// Why a journal is refused. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum RecoverJournalError {
    /// The disk could not be read, or could not be written after everything was read.
    #[error("the journal could not be read")]
    Disk(#[from] DiskError),
    /// Something durable is damaged: there is more behind it.
    #[error(
        "the journal is damaged: {}, byte {offset} is no valid frame, but fact {} is recorded behind it; \
         nothing was changed; restore the file from a copy",
        file.display(), later.0
    )]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the bad frame begins.
        offset: u64,
        /// The index of a valid frame behind it.
        later: FactIndex,
    },
    /// A segment that has a successor does not end as such a one must.
    #[error(
        "the journal is damaged: {} stops at byte {offset}, but {} follows it; nothing was changed; \
         restore the file from a copy",
        file.display(), next.display()
    )]
    Unfinished {
        /// The segment.
        file: PathBuf,
        /// Where it stops.
        offset: u64,
        /// The segment after it.
        next: PathBuf,
    },
    /// A segment is missing.
    #[error(
        "the journal is damaged: {} should begin with fact {}; a file is missing; nothing was changed; \
         restore it from a copy",
        file.display(), expected.0
    )]
    Missing {
        /// The first segment after the gap.
        file: PathBuf,
        /// The index that should come first.
        expected: FactIndex,
    },
    /// What came before the first segment is in no snapshot that can be read.
    #[error(
        "the journal begins with {}, after fact {}, and no whole snapshot goes as far; nothing was changed; \
         restore a snapshot from a copy, or a backup (gridctl coordinator --restore)",
        file.display(), after.0
    )]
    NoSnapshot {
        /// The first segment.
        file: PathBuf,
        /// The last fact before it.
        after: FactIndex,
    },
    /// A valid frame is not the one that belongs there.
    #[error(
        "the journal is damaged: {}, byte {offset} holds facts up to {} where {} comes next; \
         nothing was changed; restore the file from a copy",
        file.display(), found.0, expected.0
    )]
    OutOfOrder {
        /// The segment.
        file: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// The index of the first fact that should be there.
        expected: FactIndex,
        /// The index of the last fact that is there.
        found: FactIndex,
    },
    /// A newer version of the program wrote it.
    #[error(
        "{}, byte {offset} is of journal format {version}, which this version of gridctl does not know \
         (it knows 1); nothing was changed; start the newer version", file.display()
    )]
    Newer {
        /// The segment.
        file: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// The frame's format.
        version: u8,
    },
    /// A frame is whole, but what it says is not understood.
    #[error(
        "{}, byte {offset} holds a fact that this version of gridctl does not know; nothing was changed; \
         start the newer version", file.display()
    )]
    UnknownFact {
        /// The segment.
        file: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// What is wrong with it.
        #[source]
        source: postcard::Error,
    },
    /// The log ends before something that was durable.
    #[error(
        "the journal ends at {}, byte {offset} with fact {}, but fact {} was durable: the disk lost it; \
         nothing was changed; restore the file from a copy",
        file.display(), last.0, durable.0
    )]
    LostDurable {
        /// The last segment.
        file: PathBuf,
        /// Where the log ends.
        offset: u64,
        /// The last fact that is there.
        last: FactIndex,
        /// What is known to have been durable.
        durable: FactIndex,
    },
}
