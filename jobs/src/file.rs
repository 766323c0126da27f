//! Reading a job file: from text to a [`Job`](crate::job::Job), or to all that is wrong with it.
//!
//! Here it is checked that the file is TOML, that every key is known and in its table, and that every value
//! has its type; what the values mean together is checked on the job itself, as for one that was built in a
//! program. Deliberately absent: any look at a disk.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is matched is the TOML library's values, of which each key takes one or two kinds"
)]

mod args;
mod budget;
mod for_each;
mod keys;
mod parse;
mod stage;
mod values;

pub(crate) use parse::parse;
