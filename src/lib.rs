//! A batch-compute grid for people with spare machines: the crate for programs that talk about its jobs.
//!
//! [`Job`] and [`Stage`] say everything that a job file can say, and the other way round: they are one
//! type. [`Job::parse`] reads a file, [`Job::to_toml`] writes one, [`Job::check`] finds what is wrong.
//!
//! ```
//! use gridctl::{Job, Stage};
//!
//! let fit = Stage::command("fit", ["fit", "--seed", "{item}"]).for_each_range(0..100).cpus(2.0).retries(3);
//! let report = Stage::script("report", "echo all fits are there").needs("fit");
//! let job = Job::new("sweep").stage(fit).stage(report);
//! assert!(job.check().is_ok());
//! ```
//!
//! The feature `cli`, on by default, builds the program `gridctl`; a library needs none of what comes
//! with it (`--no-default-features`).
#![warn(missing_docs)]

pub use gridctl_jobs::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
pub use gridctl_jobs::id::{JobId, JobNumber};
pub use gridctl_jobs::job::Job;
pub use gridctl_jobs::numbers::NumberRange;
pub use gridctl_jobs::spec::Keep;
pub use gridctl_jobs::stage::Stage;
pub use gridctl_jobs::state::{Failure, JobState, TaskState};
