//! The coordinator: the shell around the scheduler.
//!
//! [`Coordinator::start`](start::Coordinator::start) opens a data directory, recovers what is there and serves
//! workers, clients and joiners over QUIC until [`CoordinatorHandle::shutdown`](handle::CoordinatorHandle::shutdown).
//! What a message means is decided by `gridctl-core`; here it is received, made durable, carried out and shown.
//!
//! Deliberately absent: decisions about jobs, tasks and leases (core), what a certificate or a frame looks
//! like (transport), flags and files of settings (the command line).
#![warn(missing_docs)]

mod addresses;
pub mod backup;
mod clock;
pub mod config;
mod convert;
pub mod disk;
pub mod failure;
pub mod handle;
#[cfg_attr(not(feature = "history"), path = "history_off.rs")]
mod history;
pub mod journal;
pub mod keeping;
mod kept;
mod leases;
mod limits;
mod reactor;
pub mod results;
mod session;
#[cfg(feature = "sim")]
pub mod sim;
pub mod snapshot;
pub mod space;
pub mod start;
#[cfg(test)]
mod testing;
mod views;

pub use config::{ConfigError, CoordinatorConfig, Settings};
pub use failure::Failure;
pub use handle::{CoordinatorHandle, EnrolLocalAdminError};
pub use kept::KeptError;
pub use start::{Coordinator, StartError};
