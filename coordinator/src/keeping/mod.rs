//! Keeping the data directory small: snapshots, cutting the journal, clearing result segments away.
//!
//! A *sweep* makes a snapshot of the last one and of the journal since, from the files alone, so that nothing that
//! runs waits for it. Then it removes what the two newest snapshots make superfluous: older snapshots, and the
//! journal up to the older of the two; and result segments that nothing in the newest refers to, writing anew those
//! of which more than half is not referred to. (An older snapshot that still refers to them is only ever read
//! together with the journal since, which comes to the same state.)
//!
//! What is in nobody's record yet is kept by *pins*: whoever appends output holds a pin until the fact that names
//! it is durable, or until there will be none. A sweep looks at the pins before it looks how far the journal is
//! durable, and leaves alone every segment at or behind the first that was pinned then.
//!
//! While a backup is read, nothing is removed or written anew.
//!
//! Deliberately absent: when a sweep is made, and by which thread (`journal`); what a failed one means
//! ([`KeepingError::is_final`] says whether the disk can still be trusted).

mod extents;
mod keeper;

pub(crate) use extents::{Extent, Extents};
pub(crate) use keeper::{Keeper, ReadHold};
pub use keeper::{KeepingError, Swept};

#[cfg(test)]
mod tests;
