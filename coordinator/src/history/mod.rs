//! What the grid knows, as a SQLite file that people may ask with any tool: jobs, stages, tasks with something to
//! tell, workers. The schema is in `docs/history.md`.
//!
//! The file is an index and nothing else depends on it. Its rows are a function of the durable state alone:
//! facts only say *which* rows to write anew, never what stands in them. So a file that was kept up to date
//! and one that was made anew are equal, and it can be deleted at any time. It is written by a thread of its
//! own, in batches; each transaction stores the index of the last fact that is in it. A file that is damaged,
//! locked or on a full disk costs a line in the log, and is mended later.
//!
//! - `touched`: which rows a fact changes · `rows`: what stands in them · `file`: SQLite
//! - `catch_up`: what a file lacks after a start · `thread`
//!
//! Deliberately absent: anything that the coordinator reads back, but for the index.

mod catch_up;
mod file;
mod rows;
#[cfg(test)]
mod tests;
mod thread;
mod touched;

pub(crate) use catch_up::{CatchUp, Missing};
pub(crate) use thread::{Feed, History};
