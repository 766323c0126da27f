//! What is wrong with a job, told to the person who wrote it: all of it at once, each with its place.

mod places;
mod render;
mod report;

use thiserror::Error;

pub(crate) use places::{Places, Source, Spot, line_start};
pub use render::Style;
pub(crate) use report::Report;

/// How much a diagnostic matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The job cannot be submitted.
    Error,
    /// It can, but may not do what was meant.
    Warning,
}

/// A place in a job file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// How many characters of the line it covers, at least 1.
    pub length: usize,
    /// The line, without its end; a very long one is cut to what is around the place.
    pub source_line: String,
    /// Where in `source_line` the place begins, in characters from 0.
    pub source_offset: usize,
}

/// One thing that is wrong, or doubtful, in a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong: lowercase, one line.
    pub message: String,
    /// Where it is in the job file; `None` for a job that was built in a program.
    pub place: Option<Place>,
    /// Where it is in the job, in words: ``stage `fit`, `command[2]` ``; empty for the job as a whole.
    pub context: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Everything that is wrong with a job, in the order of the file.
///
/// Displays as plain text, the way a compiler would: message, place, source line, hint.
#[derive(Clone, PartialEq, Eq, Debug, Default, Error)]
#[error("{}", self.render(Style::Plain))]
pub struct Diagnostics {
    /// The job file as its path was given; `None` for a job that was built in a program.
    pub file: Option<String>,
    /// At most [`DIAGNOSTICS_MAX`](crate::limits::DIAGNOSTICS_MAX), errors and warnings.
    pub list: Vec<Diagnostic>,
    /// How many more there were.
    pub omitted: usize,
}

impl Diagnostics {
    /// Says whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Says whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}
