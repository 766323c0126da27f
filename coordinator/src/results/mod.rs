//! What tasks left behind: standard output, standard error and result values.
//!
//! They are primary data: a record is synced before the journal frame that names it. Records are packed
//! into blocks, blocks are compressed and appended to segments, so that a group of commits costs one sync
//! here and one in the journal, however many tasks it holds.
//!
//! # Shape on disk
//! ```text
//! results/0000000001.seg     segment; blocks one after the other, nothing else
//! ```
//! A block is a header and compressed data; all numbers are little-endian.
//! ```text
//! offset  0  header crc  u32   CRC-32 (IEEE) of the rest of the header
//!         4  version     u8    of the format: 1
//!         5  codec       u8    1 zstd
//!         6  reserved    u16   0
//!         8  block       u32   its place in the segment, from 0
//!        12  raw         u32   bytes of the data once decompressed
//!        16  packed      u32   bytes of the data
//!        20  data crc    u32   CRC-32 of the data as it lies on disk
//!        24  durable     u64   a journal index that was durable when the block was written
//!        32  data
//! ```
//! A record is standard output, standard error and result back to back. A
//! [`Place`](gridctl_core::fact::Place) names it by segment, block, offset in the decompressed block and
//! checksum; all of these are known when the record is appended, before its block is written. A record
//! over 1 MiB is a block of its own. A segment takes blocks until 64 MiB of decompressed data are in it.
//!
//! # Recovery
//! Segments are walked from header to header. What lies behind the last block that any fact has named was
//! never acknowledged: it is cut off. A block that something refers to and that is not there, or whose header
//! is damaged, is a refusal that names file and offset. Damage inside a block is found when it is read, by
//! two checksums, and is an error of that read.
//!
//! # Deliberately absent
//! When segments are cleared (`keeping`), and knowledge of tasks.

mod block;
mod buffer;
mod clear;
mod error;
mod log;
mod pins;
mod read;
mod recovery;

pub(crate) use buffer::BlockId;
pub use clear::{ClearError, Cleared};
pub use error::{AppendResultError, ReadResultError, RecoverResultsError, WriteResultsError};
pub use log::{Results, ResultsConfig};
pub use pins::{Pin, Pins};
pub use read::Part;
pub(crate) use recovery::{Scan, durable_length};

#[cfg(test)]
mod tests;
