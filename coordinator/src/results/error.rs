//! What can go wrong with task output.

use std::path::PathBuf;

use crate::disk::DiskError;

/// Why a record is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendResultError {
    /// It is larger than any attempt may leave behind.
    #[error("a task's output and result are {bytes} bytes together; at most {max} are kept")]
    TooLarge {
        /// Of the record.
        bytes: usize,
        /// The largest record that is taken.
        max: usize,
    },
    /// The disk failed, or is full. Nothing was taken.
    #[error(transparent)]
    Write(#[from] WriteResultsError),
}

impl AppendResultError {
    /// Says whether the same record may be appended again once there is room.
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::Write(WriteResultsError::Disk(error)) if error.is_no_room())
    }
}

/// Why output could not be written. Final, as with the journal, but for want of room.
#[derive(Debug, thiserror::Error)]
pub enum WriteResultsError {
    /// The disk refuses.
    #[error("task output could not be written")]
    Disk(#[from] DiskError),
    /// A write had failed before.
    #[error("writing task output had failed before; start the coordinator again")]
    FailedBefore,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadResultError {
    /// The disk refuses.
    #[error("the task's output could not be read")]
    Disk(#[from] DiskError),
    /// What is there is not what was written.
    #[error("the task's output is damaged: {}, byte {offset}: {what}; restore the file from a copy", file.display())]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the block begins.
        offset: u64,
        /// What does not fit.
        what: Damage,
    },
    /// There is no such block.
    #[error("the task's output is missing: {} has no block {block}; restore the file from a copy", file.display())]
    Missing {
        /// The segment.
        file: PathBuf,
        /// From 0.
        block: u32,
    },
}

/// What does not fit in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// The header's checksum, or its place.
    #[error("the block's header does not fit its checksum and place")]
    Header,
    /// The data's checksum, or it cannot be decompressed.
    #[error("the block's data does not fit its checksum")]
    Data,
    /// The record is not in the block.
    #[error("the record does not fit its checksum")]
    Record,
}

/// Why result segments are refused. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum RecoverResultsError {
    /// The disk could not be read, or could not be written after everything was read.
    #[error("the result segments could not be read")]
    Disk(#[from] DiskError),
    /// A block that the journal names is not there.
    #[error(
        "task output is damaged: {} ends or is damaged at byte {offset}, but the journal names block {block} \
         in it; nothing was deleted; restore the file from a copy", file.display()
    )]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where no valid block begins.
        offset: u64,
        /// From 0.
        block: u32,
    },
    /// A newer version of the program wrote it.
    #[error(
        "{}, byte {offset} is of result format {version}, which this version of gridctl does not know \
         (it knows 1); nothing was changed; start the newer version", file.display()
    )]
    Newer {
        /// The segment.
        file: PathBuf,
        /// Where the block begins.
        offset: u64,
        /// The block's format.
        version: u8,
    },
}
