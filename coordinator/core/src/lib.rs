//! The scheduler as a pure state machine: events in, facts and effects out.
//!
//! [`Scheduler::step`](scheduler::Scheduler::step) decides, yields [`Fact`](fact::Fact)s and names
//! [`Effect`](effect::Effect)s; [`State::apply`](state::State::apply) is the only mutator of what is durable.
//!
//! Deliberately absent: clocks, threads, async, input and output, randomness that is not seeded by
//! configuration, iteration in an order that differs between runs. Time is an argument.

#![warn(missing_docs)]

pub mod activity;
pub mod effect;
pub mod event;
pub mod explain;
pub mod fact;
pub mod gate;
pub mod lease;
pub mod scheduler;
pub mod state;
pub mod view;

mod ranges;
mod set;
