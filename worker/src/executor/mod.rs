//! Executors: they run slices, functions on rayon and anything else as a process.
//!
//! Deliberately absent: what runs when, and the account of cpus; that is the agent's.

mod capture;
mod front;
mod function;
mod lane;
mod nice;
mod oom;
mod process;
mod program;
mod run;
pub(crate) mod strays;

#[cfg(test)]
mod tests;

pub(crate) use front::Executor;
