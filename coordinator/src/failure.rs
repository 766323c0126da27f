//! Why a coordinator that served stopped by itself.

use std::sync::Arc;

use thiserror::Error;

use crate::journal::CommitError;
use crate::reactor::ReactorError;

/// Why a coordinator stopped by itself. Nothing was acknowledged after it.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    /// The disk failed. What was acknowledged before is durable.
    #[error("{error}{}", sources(error))]
    Journal {
        /// What the disk said.
        error: Arc<CommitError>,
    },
    /// A thread ended that must not: a broken invariant, whose message was written when it broke.
    #[error(
        "a broken invariant ended the {thread}; start the coordinator again, and report the message above"
    )]
    Broken {
        /// Which thread.
        thread: &'static str,
    },
}

impl From<ReactorError> for Failure {
    fn from(error: ReactorError) -> Self {
        match error {
            ReactorError::Journal(error) => Self::Journal { error },
            ReactorError::JournalGone => Self::Broken { thread: "journal" },
        }
    }
}

/// A failure is shared and shown in one line, so its sources are written behind it.
fn sources(error: &CommitError) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
