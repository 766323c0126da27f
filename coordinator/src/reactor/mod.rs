//! The loop around the scheduler: receive, step, record, and once it is durable, show and carry out.
//!
//! It never waits for the disk: it steps on, and the [`ReleaseGate`](gridctl_core::gate::ReleaseGate) holds
//! what was decided until the journal says that it is durable. Heartbeats and reads do not come here.
//!
//! - `input`: the bounded way in · `outbox`: the bounded way out to one worker
//! - `run`: the loop · `carry_out`: effects · `log`: the lines that an operator reads

mod carry_out;
mod input;
mod log;
mod outbox;
mod run;

pub(crate) use input::{Input, ReactorHandle, Stopped};
pub(crate) use outbox::{Closing, Outbox, OutboxReader};
pub(crate) use run::{Reactor, ReactorError};

#[cfg(test)]
pub(crate) mod tests;
