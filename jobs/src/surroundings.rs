//! What a job looks at on the submitter's machine: files, variables, the directory it stands in.
//!
//! Deliberately absent: any access of our own. The command line passes the real machine in, tests a made-up
//! one.

use std::path::PathBuf;

use thiserror::Error;

/// The machine and the directory from which a job is submitted.
pub trait Surroundings {
    /// Returns the absolute directory of the job file; the current one where there is no file.
    fn base(&self) -> &str;

    /// Returns the regular files that match the glob `pattern`, in any order: absolute paths where the
    /// pattern is absolute, else relative to [`base`](Self::base). Stops with
    /// [`LookError::TooMany`] where there are more than `files_max`.
    ///
    /// `*`, `?`, `[…]` and `**` mean what they mean to a shell; characters of the base directory stand for
    /// themselves.
    ///
    /// # Errors
    /// See [`LookError`]. No match is no error.
    fn glob(&self, pattern: &str, files_max: usize) -> Result<Vec<PathBuf>, LookError>;

    /// Returns the content of the file at `path`, absolute or relative to [`base`](Self::base), if it has at
    /// most `bytes_max`; a longer one is never read whole.
    ///
    /// # Errors
    /// See [`LookError`].
    fn read(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, LookError>;

    /// Returns the value of an environment variable; `None` where it is unset or not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;

    /// Returns the home directory of the person who submits.
    fn home(&self) -> Option<String>;
}

/// Why something of the surroundings cannot be had.
#[derive(Debug, Error)]
pub enum LookError {
    /// The file is not there.
    #[error("no such file")]
    NotFound,
    /// The file is longer than the caller takes.
    #[error("it is longer than {bytes_max} bytes")]
    TooLong {
        /// What the caller takes.
        bytes_max: usize,
    },
    /// More files match than the caller takes.
    #[error("more than {files_max} files match")]
    TooMany {
        /// What the caller takes.
        files_max: usize,
    },
    /// The pattern is no glob.
    #[error("it is not a glob: {source}")]
    Pattern {
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system refused.
    #[error("it cannot be read: {source}")]
    Unreadable {
        /// What it said.
        source: std::io::Error,
    },
}
