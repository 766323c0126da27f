//! What a worker decides: pure, like the scheduler, and run by the simulator as it is.
//!
//! [`Agent::step`] takes what happened, and says what to do. It knows the stage orders, queues what was
//! granted, begins slices on lanes within one account of cpus, keeps what ended until the coordinator has
//! it for good, connects again with jittered backoff, and leaves in order.
//!
//! Deliberately absent: clocks, threads, input and output, and how a task is run. Time is an argument,
//! chance is a seed.

mod event;
mod leave;
mod pace;
mod ranges;
mod reports;
mod session;
mod slices;
mod stages;
mod step;
mod stop;
mod work;

#[cfg(test)]
mod tests;

pub use event::{
    AgentEffect, AgentEvent, AgentExit, GrantItems, LinkEnd, LinkId, MonoMs, Notice, Now, Slice,
    SliceId, TaskEnd, TaskOutput, Violation,
};
pub use step::{Agent, AgentConfig};
