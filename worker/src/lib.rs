//! The worker: an agent that decides, and a shell around it that links, runs and measures.
//!
//! [`agent`] is pure. The shell is five parts: the link speaks with the coordinator, the reactor drives
//! the agent, the executors run processes and functions, [`parent`] outlives the worker and kills what it
//! leaves, and [`config`] finds out about the machine.
//!
//! Deliberately absent: scheduling (which task goes where), and anything of the coordinator's.

#![warn(missing_docs)]

pub mod agent;
mod limits;
