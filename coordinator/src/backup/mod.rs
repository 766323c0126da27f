//! Backups: a consistent copy of a data directory while it is served, in one file, and the way back.
//!
//! # Shape of the file
//! All numbers are little-endian.
//! ```text
//! 8 bytes "GRIDBKUP" · version u32: 1 · reserved u32: 0
//! then for each file of the data directory
//!     kind u8: 1 · length of the name u16 · name · bytes u64 · the bytes · BLAKE3 of them
//! and at the end
//!     kind u8: 2 · index of the last fact in it u64 · taken at, ms since 1970, u64 · BLAKE3 of all before this
//! ```
//! It holds the snapshots, the journal up to one durable index, the result segments, the certificate authority **with
//! its key**, the grid's name and the port that was picked; whoever has the file can sign for the grid.
//!
//! While it is read, nothing of the data directory is removed or written anew ([`keeping`](crate::keeping)).
//! The journal's end is taken before the result segments are read, so everything that it names is in them; blocks
//! that were written after it are left out.
//!
//! # Restoring
//! Goes into an empty data directory only, after the whole file was checked. A marker says that it is under way, and
//! then, until the first epoch after it is durable, that this coordinator was set back: it trusts no watermark and
//! no list of workers, and its epoch is above those of the coordinator that it was copied from, which workers and
//! clients then refuse.
//!
//! Deliberately absent: who may ask for one, and how it travels (`session`).

mod error;
mod format;
mod make;
mod restore;

pub use error::{MakeBackupError, ReadBackupError, RestoreError};
pub(crate) use make::Backup;
pub(crate) use restore::{HALF_RESTORED, RESTORED, restore};
pub use restore::{Summary, check};

#[cfg(test)]
mod tests;
