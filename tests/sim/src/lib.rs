//! A whole grid in one thread, on simulated network, disk and clock, from one seed.
//!
//! What runs is the product's own: scheduler, lease table, release gate, journal writer and recovery, result
//! segments, worker agents with their result buffers. What is simulated is what they stand on: the thin
//! shells, the network, the disk, clocks, the programs that tasks run, clients. Faults are drawn from the
//! seed like everything else; after every step the [`invariants`] are checked, and once the faults stop,
//! everything must end.
//!
//! Deliberately absent: threads within a seed, real time, and any chance that does not come from the seed.
#![warn(missing_docs)]

mod backup;
mod batch;
mod budgets;
mod cells;
mod client;
mod coordinator;
mod coverage;
mod disturb;
mod executor;
mod faults;
mod hunt;
mod inbox;
pub mod invariants;
mod kept;
mod ledger;
mod network;
mod planted;
mod recovery;
mod room;
mod run;
mod schedule;
mod time;
mod trace;
mod verdict;
mod worker;
mod world;

pub use batch::{Batch, Failure, Plan, run_all};
pub use coverage::{Coverage, Group};
pub use hunt::{WITHIN_SCHEDULES, hunt, part_of};
pub use run::{Checks, Outcome, Settings, run};
