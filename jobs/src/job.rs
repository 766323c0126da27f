//! A job as people write it: the file form and the builders are this one type.
//!
//! [`Job::parse`] reads a job file, [`Job::to_toml`] writes one, and a program builds one by hand:
//!
//! ```
//! use gridctl_jobs::job::Job;
//! use gridctl_jobs::stage::Stage;
//!
//! let fit = Stage::command("fit", ["fit", "--seed", "{item}"]);
//! let job = Job::new("sweep").stage(fit.for_each_range(0..100).cpus(2.0).retries(3));
//! # assert!(job.check().is_ok());
//! ```
//!
//! Nothing is looked at outside of the job until [`Job::resolve`].

mod check;
mod placeholder_check;
mod stage_check;
mod toml_text;

use std::sync::Arc;

pub(crate) use check::{Doubt, check, did_you_mean, nearest, priority_message};
pub use toml_text::ToTomlError;

use crate::diagnostic::{Diagnostics, Source};
use crate::file;
use crate::stage::Stage;

/// A job: stages, in the order of the file.
///
/// Two jobs are equal where they say the same; whether and where they stand in files does not count.
#[derive(Clone, Debug)]
pub struct Job {
    pub(crate) name: Option<String>,
    pub(crate) priority: i32,
    pub(crate) stages: Vec<Stage>,
    /// What the job is called where it has no name: its file, without the extension.
    pub(crate) file_stem: Option<String>,
    pub(crate) source: Option<Arc<Source>>,
}

impl Job {
    /// Makes a job without stages; see [`check_job_name`](crate::name::check_job_name) for its name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            priority: 0,
            stages: Vec::new(),
            file_stem: None,
            source: None,
        }
    }

    /// Reads a job file.
    ///
    /// `file` is its path as people should see it in diagnostics; the last component without its extension is
    /// the name of a job that has none.
    ///
    /// # Errors
    /// Everything that is wrong with the file, at once.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, Diagnostics> {
        file::parse(bytes, file)
    }

    /// Names it, whatever it was called before.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets its priority, -1000 to 1000; higher first; 0 unless set.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Adds a stage at the end.
    #[must_use]
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stages.push(stage);
        self
    }

    /// Checks all that can be known without looking outside of the job; returns what is only doubtful.
    ///
    /// # Errors
    /// Everything that is wrong, at once, and what is doubtful besides.
    pub fn check(&self) -> Result<Diagnostics, Diagnostics> {
        let found = check(self, &[]).finish();
        if found.has_errors() { Err(found) } else { Ok(found) }
    }

    /// Returns the name by which it will be submitted.
    pub(crate) fn effective_name(&self) -> &str {
        self.name.as_deref().or(self.file_stem.as_deref()).unwrap_or_default()
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.effective_name() == other.effective_name()
            && self.priority == other.priority
            && self.stages == other.stages
    }
}
