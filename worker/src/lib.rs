//! The worker: an agent that decides, and a shell around it that links, runs and measures.
//!
//! [`agent`] is pure. The shell is five parts: the link speaks with the coordinator, the reactor drives
//! the agent, the executors run processes and functions, [`parent`] outlives the worker and kills what it
//! leaves, and [`config`] finds out about the machine.
//!
//! Deliberately absent: scheduling (which task goes where), and anything of the coordinator's.

#![warn(missing_docs)]

pub mod agent;
mod alarm;
mod clock;
pub mod config;
pub mod descriptors;
mod events;
mod executor;
pub mod functions;
mod limits;
mod link;
mod log;
mod memory;
pub mod parent;
mod processes;
mod reactor;
mod scratch;
pub mod spill;
mod text;
mod worker;

pub use config::WorkerConfig;
pub use functions::Functions;
pub use memory::MemoryError;
pub use reactor::WorkerEnd;
pub use worker::{StartWorkerError, Worker, WorkerHandle};
