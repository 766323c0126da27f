//! Snapshots: the durable state as it was at one index of the journal, in one file, so that the journal before
//! it is not needed any more.
//!
//! # Shape on disk
//! ```text
//! snapshots/00000000000000084210.snap     the name is the index of the last fact in it
//! snapshots/next                          one that is being written; means nothing
//! ```
//! All numbers are little-endian.
//! ```text
//! offset  0  magic     8 bytes  "GRIDSNAP"
//!         8  version   u32      of the format, and of the state in it: 1
//!        12  codec     u32      1 zstd
//!        16  term      u64      of the journal at that index
//!        24  index     u64      of the last fact in it
//!        32  raw       u64      bytes of the data once decompressed
//!        40  packed    u64      bytes of the data
//!        48  hash      32 bytes BLAKE3 of the data and then of bytes 0 to 47
//!        80  data               postcard: the last block of output that any fact has named (an option of
//!                               segment and block), then the state as `gridctl-core` has it
//! ```
//! It is written as `next`, synced, renamed, and the directory is synced; the two newest are kept. It is made of
//! the one before it and of the journal since, from the files alone: it can never hold what is not durable.
//!
//! # Recovery
//! The newest snapshot that is whole is read, and the journal from there on. One that is damaged is passed over
//! (and named in the log), since the journal is cut only up to the older of the two. One of a newer version, or
//! whole and not understood, is a refusal: nothing is written then.
//!
//! # Deliberately absent
//! When one is made, and what it makes superfluous: [`keeping`](crate::keeping).

mod error;
mod files;
mod folded;
mod format;

pub use error::{PassedOver, ReadSnapshotError};
pub(crate) use files::{SNAPSHOTS_DIR, latest, list, path, write};
pub(crate) use folded::Folded;

#[cfg(test)]
mod tests;
