//! Why a session ended, what the peer is told, and what the operator reads.

use std::sync::Arc;

use gridctl_core::effect::CloseReason;
use gridctl_transport::endpoint::{CloseCode, Connection, LostConnection};
use gridctl_transport::frame::{ReadFrameError, WriteFrameError};
use gridctl_transport::message::Turned;
use gridctl_transport::message::worker::UploadId;
use thiserror::Error;

use super::Peer;
use crate::convert::Malformed;
use crate::reactor::{Closing, Stopped};
use crate::results::AppendResultError;

/// Why a session ended.
#[derive(Clone, Debug, Error)]
pub(super) enum End {
    #[error("{0}")]
    Lost(LostConnection),
    #[error("{0}")]
    Read(ReadFrameError),
    #[error("{0}")]
    Write(WriteFrameError),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Unexpected(&'static str),
    #[error("{0} did not come in time")]
    Late(&'static str),
    #[error("it did not read what it was sent for {} seconds", crate::limits::WRITE_WITHIN.as_secs())]
    DoesNotRead,
    #[error("a report names upload {}, which did not come", .0.0)]
    UnknownUpload(UploadId),
    #[error("its output was not taken: {0}")]
    Output(Arc<AppendResultError>),
    #[error("{0}")]
    Turned(Turned),
    #[error("{0}")]
    Closing(Closing),
    /// It said goodbye.
    #[error("it left")]
    Left,
    #[error("the coordinator is stopping")]
    Stopping,
    /// Our own fault.
    #[error("a task of the session ended abnormally")]
    Abnormal,
}

impl End {
    /// Closes the connection and writes the one line that there is to write about it.
    pub(super) fn conclude(&self, peer: &Peer, connection: &Connection) {
        let code = self.code();
        if let Some(code) = code {
            connection.close(code, &self.to_string());
        }
        if self.is_ordinary() {
            tracing::debug!(%peer, why = %self, "session ended");
        } else {
            tracing::warn!(%peer, why = %self, "closed a peer");
        }
    }

    /// Says whether it happens all the time, or is told by the core in the words of workers that come and go.
    fn is_ordinary(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Left | Self::Stopping => true,
            Self::Closing(Closing::Core(reason)) => match &reason.0 {
                CloseReason::Superseded | CloseReason::LeaseExpired | CloseReason::LeaseRuns => {
                    true
                }
                CloseReason::IdentityInUse { .. }
                | CloseReason::UnknownWorker
                | CloseReason::Violation(_) => false,
            },
            Self::Closing(Closing::DoesNotRead { .. })
            | Self::Read(_)
            | Self::Write(_)
            | Self::Malformed(_)
            | Self::Unexpected(_)
            | Self::Late(_)
            | Self::DoesNotRead
            | Self::UnknownUpload(_)
            | Self::Output(_)
            | Self::Turned(_)
            | Self::Abnormal => false,
        }
    }

    /// What the connection is closed with; `None` where it is gone already.
    fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Lost(_) => None,
            Self::Read(error) if error.is_violation() => Some(CloseCode::Violation),
            Self::Malformed(_) | Self::Unexpected(_) | Self::UnknownUpload(_) => {
                Some(CloseCode::Violation)
            }
            Self::Output(error) => Some(match **error {
                AppendResultError::TooLarge { .. } => CloseCode::Violation,
                // Our disk, not its fault: it keeps its results and comes back.
                AppendResultError::Write(_) => CloseCode::Overloaded,
            }),
            Self::Late(_) | Self::DoesNotRead => Some(CloseCode::Late),
            Self::Turned(_) => Some(CloseCode::Refused),
            Self::Closing(closing) => Some(closing_code(closing)),
            Self::Stopping => Some(CloseCode::Stopping),
            Self::Read(_) | Self::Write(_) | Self::Left | Self::Abnormal => Some(CloseCode::Done),
        }
    }
}

impl From<LostConnection> for End {
    fn from(lost: LostConnection) -> Self {
        Self::Lost(lost)
    }
}

impl From<ReadFrameError> for End {
    fn from(error: ReadFrameError) -> Self {
        match error {
            ReadFrameError::Lost(lost) => Self::Lost(lost),
            other @ (ReadFrameError::TooLarge { .. }
            | ReadFrameError::Truncated { .. }
            | ReadFrameError::Ended
            | ReadFrameError::Malformed(_)
            | ReadFrameError::Reset) => Self::Read(other),
        }
    }
}

impl From<WriteFrameError> for End {
    fn from(error: WriteFrameError) -> Self {
        match error {
            WriteFrameError::Lost(lost) => Self::Lost(lost),
            other @ (WriteFrameError::TooLarge { .. }
            | WriteFrameError::Encode(_)
            | WriteFrameError::Stopped
            | WriteFrameError::Finished) => Self::Write(other),
        }
    }
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopping
    }
}

fn closing_code(closing: &Closing) -> CloseCode {
    match closing {
        Closing::DoesNotRead { .. } => CloseCode::Late,
        Closing::Core(reason) => match &reason.0 {
            CloseReason::Superseded => CloseCode::Superseded,
            CloseReason::LeaseExpired => CloseCode::Late,
            CloseReason::IdentityInUse { .. } | CloseReason::UnknownWorker => CloseCode::Refused,
            CloseReason::LeaseRuns => CloseCode::Overloaded,
            CloseReason::Violation(_) => CloseCode::Violation,
        },
    }
}

/// Returns what a worker is told before its session is closed; nothing where coming back is all there is to do.
pub(super) fn farewell(closing: &Closing) -> Option<Turned> {
    match closing {
        Closing::DoesNotRead { .. } => None,
        Closing::Core(reason) => match &reason.0 {
            CloseReason::Superseded | CloseReason::LeaseExpired => None,
            CloseReason::IdentityInUse { name } => {
                Some(Turned::IdentityInUse { name: name.clone() })
            }
            CloseReason::UnknownWorker => Some(Turned::UnknownIdentity),
            CloseReason::LeaseRuns => Some(Turned::LeaseRuns),
            CloseReason::Violation(violation) => {
                Some(Turned::Violation { what: violation.to_string() })
            }
        },
    }
}
