//! What a job is: ids, units, limits, the job file and its builders, splitting into tasks, task states.
//!
//! Deliberately absent: input and output, clocks, threads, and knowledge of who runs a task or where.
//! Whatever has to look at a disk (globs, files of lines, environment variables) is asked of a
//! [`Surroundings`](surroundings::Surroundings) that the caller passes in.
//!
//! The way of a job: a file's text ([`Job::parse`](job::Job::parse)) or the builders give a
//! [`Job`](job::Job); [`Job::resolve`](job::Job::resolve) makes a [`JobSpec`](spec::JobSpec) of it, which
//! travels; the coordinator checks it ([`JobSpec::check`](spec::JobSpec::check)) and sends each worker
//! [`StageOrder`](spec::StageOrder)s; a [`Renderer`](render::Renderer) turns those into what one attempt
//! runs.

#![warn(missing_docs)]

mod args;
pub mod budget;
pub mod check;
pub mod diagnostic;
mod file;
mod graph;
pub mod id;
pub mod job;
pub mod limits;
pub mod name;
pub mod numbers;
pub mod planted;
pub mod range;
pub mod reason;
pub mod render;
pub mod resolve;
pub mod selector;
pub mod spec;
pub mod stage;
pub mod state;
pub mod surroundings;
pub mod template;
pub mod units;
