//! The journal: the one place where what was decided becomes durable.
//!
//! # Shape on disk
//! ```text
//! journal/00000000000000000001.log     segment; the name is the index of its first fact
//! journal/00000000000000084211.log
//! journal/next                         a segment made ahead; has no content yet, may be half made
//! ```
//! A segment is a file of zeros, 64 MiB long (1 MiB the first; as long as its only frame, where that is
//! longer), into which frames are written one after the other, each once and never again. So a sync writes data and no
//! metadata. All numbers are little-endian.
//! ```text
//! offset  0  crc      u32   CRC-32 (IEEE) of all that follows in the frame
//!         4  len      u32   bytes that follow this field: 26 + the payload; 0 where no frame begins
//!         8  version  u8    of the format: 1
//!         9  kind     u8    1 facts · 2 end of the segment
//!        10  term     u64   whose decision it is; a single coordinator has one term only
//!        18  index    u64   of the last fact in this frame (of an end: of the last fact before it)
//!        26  durable  u64   the index that was known to be durable when this frame was written
//!        34  payload        facts in postcard, back to back; their indexes end at `index` without a gap
//! ```
//! One frame is written and synced at a time. Before a segment gets a successor it gets a frame of kind
//! *end*, which is synced; the successor is made under the name `next`, synced, renamed, and the directory
//! is synced. So every segment but the last ends with a frame *end*.
//!
//! # Recovery
//! Where there is a [snapshot](crate::snapshot), segments are read from the one on that holds the fact after it;
//! those before it may have been cut away. Segments are read in order. The log ends where `len` is zero, if the rest of the segment is zero and
//! there is no later segment. A bad frame (checksum, length, kind) is one of two things. If anywhere after
//! it a valid frame with a later index is found, or a later segment exists, then something durable was
//! damaged: recovery refuses, names file and offset, and changes nothing. If not, it is the torn tail of a
//! write that was never acknowledged: it is cut (overwritten with zeros) and logged. A log that would end
//! below an index known to be durable (by a frame's `durable`, or by what the result segments say) is
//! refused, and so is a frame of a newer version. Nothing is written before all of the journal was read.
//!
//! The last frame is then written again in place and synced: after a failed sync the kernel may show data
//! that never reached the device.
//!
//! # Deliberately absent
//! Timers (a group is what waited while the last sync ran), retries of a failed sync, when a snapshot is made
//! ([`keeping`](crate::keeping)), and any knowledge of what a fact means, but for where its output lies.

mod error;
mod format;
mod group;
mod reading;
mod recovery;
mod segment;
mod store;
mod thread;
mod writer;

pub use error::{CommitError, RecoverJournalError};
pub(crate) use format::Term;
pub use group::FactGroup;
pub(crate) use group::kept_of;
pub(crate) use reading::{durable_lengths, read_facts};
pub use recovery::{Cut, Recovered};
pub(crate) use segment::cut;
pub use store::{OpenStoreError, Opened, Store, StoreConfig};
pub use thread::{Durability, JournalSender, JournalStopped, JournalThread};

#[cfg(test)]
mod tests;
