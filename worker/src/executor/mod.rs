//! Executors: they run slices, functions on rayon and anything else as a process.
//!
//! Deliberately absent: what runs when, and the account of cpus; that is the agent's.

mod capture;
mod front;
mod function;
mod lane;
mod nice;
mod process;
mod program;
mod run;

#[cfg(test)]
mod tests;

pub(crate) use front::Executor;
