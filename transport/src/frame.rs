//! Frames: how messages lie on a stream. `length u32, little endian | postcard`, each kind of message
//! with its own maximum.
//!
//! A length alone allocates nothing: a buffer grows by what has arrived. Deliberately absent: which
//! message may come when.

mod codec;
mod reader;
mod writer;

pub use codec::encode;
pub use reader::FrameReader;
pub use writer::FrameWriter;

use gridctl_jobs::limits::{ITEMS_BYTES_MAX, JOB_FILE_BYTES_MAX, TASK_TEXT_BYTES_MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::endpoint::LostConnection;
use crate::message::client::{Answer, ClientHello, ClientWelcome, Request};
use crate::message::join::{JoinAnswer, JoinRequest};
use crate::message::worker::{
    CoordinatorMessage, Heartbeat, HeartbeatAnswer, StreamKind, WorkerMessage,
};

/// Bytes of a message that opens a stream, greets or beats: a few numbers and a grid's name.
pub const GREETING_BYTES_MAX: usize = 4 << 10;
/// Bytes of a message of enrolment: two certificates and a few words; said by and to strangers.
pub const JOIN_BYTES_MAX: usize = 16 << 10;
/// Bytes of a message of a worker's session: the text of the largest task and as much beside it; also
/// what a Hello or a report of the most items needs, with room.
pub const CONTROL_BYTES_MAX: usize = 2 * TASK_TEXT_BYTES_MAX;
/// Bytes of a client's request: the largest submission, all items of a largest stage and sixteen times
/// the largest job file beside them.
pub const REQUEST_BYTES_MAX: usize = ITEMS_BYTES_MAX + 16 * JOB_FILE_BYTES_MAX;
/// Bytes of a piece of an answer: the most rows of a table with long failure messages fit, in pieces.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Bytes taken from the transport at once.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Bytes of the length.
const LENGTH_BYTES: usize = size_of::<u32>();

/// Something that travels in a frame of its own.
pub trait Message: Serialize + DeserializeOwned {
    /// The most bytes that it may have, without the length.
    const FRAME_BYTES_MAX: usize;
}

macro_rules! frame_maxima {
    ($($message:ty => $max:expr,)*) => {
        $(impl Message for $message {
            const FRAME_BYTES_MAX: usize = $max;
        })*
    };
}

frame_maxima! {
    JoinRequest => JOIN_BYTES_MAX,
    JoinAnswer => JOIN_BYTES_MAX,
    ClientHello => GREETING_BYTES_MAX,
    ClientWelcome => GREETING_BYTES_MAX,
    Request => REQUEST_BYTES_MAX,
    Answer => ANSWER_BYTES_MAX,
    StreamKind => GREETING_BYTES_MAX,
    WorkerMessage => CONTROL_BYTES_MAX,
    CoordinatorMessage => CONTROL_BYTES_MAX,
    Heartbeat => GREETING_BYTES_MAX,
    HeartbeatAnswer => GREETING_BYTES_MAX,
}

/// Why a message cannot be sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteFrameError {
    /// It has more bytes than its kind may have; nothing of it was sent.
    #[error("the message has {bytes} bytes, more than the {max} that its kind may have")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// The maximum.
        max: usize,
    },
    /// It cannot be encoded; nothing of it was sent.
    #[error("the message cannot be encoded")]
    Encode(#[source] postcard::Error),
    /// The other side does not want to read on.
    #[error("the other side stopped reading")]
    Stopped,
    /// This side already said that nothing follows.
    #[error("the stream was finished before")]
    Finished,
    /// The connection is gone.
    #[error(transparent)]
    Lost(#[from] LostConnection),
}

/// Why no message could be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadFrameError {
    /// The length announces more than the kind of message may have.
    #[error("the other side announced a message of {bytes} bytes, more than the {max} allowed")]
    TooLarge {
        /// How many were announced.
        bytes: usize,
        /// The maximum.
        max: usize,
    },
    /// The stream ended within a frame.
    #[error("the stream ended after {bytes} bytes of a message")]
    Truncated {
        /// How many bytes of it had come.
        bytes: usize,
    },
    /// The stream ended where a message had to come.
    #[error("the stream ended where a message was due")]
    Ended,
    /// The bytes are no such message.
    #[error("the other side sent something that is not a message of this protocol")]
    Malformed(#[source] postcard::Error),
    /// The other side gave the stream up.
    #[error("the other side gave the stream up")]
    Reset,
    /// The connection is gone.
    #[error(transparent)]
    Lost(#[from] LostConnection),
}

impl ReadFrameError {
    /// Tells a lost connection apart from every other cause.
    pub(crate) fn into_lost(self) -> Result<LostConnection, Self> {
        if let Self::Lost(lost) = self { Ok(lost) } else { Err(self) }
    }

    /// Says whether the peer broke the protocol (and is to be closed), rather than went away.
    pub const fn is_violation(&self) -> bool {
        match self {
            Self::TooLarge { .. } | Self::Truncated { .. } | Self::Ended | Self::Malformed(_) => {
                true
            }
            Self::Reset | Self::Lost(_) => false,
        }
    }
}

impl WriteFrameError {
    /// Tells a lost connection apart from every other cause.
    pub(crate) fn into_lost(self) -> Result<LostConnection, Self> {
        if let Self::Lost(lost) = self { Ok(lost) } else { Err(self) }
    }
}

#[cfg(test)]
mod tests;
