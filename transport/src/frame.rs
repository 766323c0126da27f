//! Frames: how messages lie on a stream. `length u32, little endian | postcard`, each kind of message
//! with its own maximum.
//!
//! A length alone allocates nothing: a buffer grows by what has arrived. Deliberately absent: which
//! message may come when.

use bytes::{Buf as _, Bytes, BytesMut};
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

/// Encodes a message as a frame, length and all.
///
/// # Errors
/// [`WriteFrameError::TooLarge`] and [`WriteFrameError::Encode`].
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, WriteFrameError> {
    let mut frame = Vec::new();
    encode_onto(message, &mut frame)?;
    Ok(frame)
}

fn encode_onto<M: Message>(message: &M, buffer: &mut Vec<u8>) -> Result<(), WriteFrameError> {
    let body = postcard::to_stdvec(message).map_err(WriteFrameError::Encode)?;
    let bytes = body.len();
    match u32::try_from(bytes) {
        Ok(length) if bytes <= M::FRAME_BYTES_MAX => {
            buffer.extend_from_slice(&length.to_le_bytes());
            buffer.extend_from_slice(&body);
            Ok(())
        }
        Ok(_) | Err(_) => Err(WriteFrameError::TooLarge { bytes, max: M::FRAME_BYTES_MAX }),
    }
}

/// Takes a whole frame off the front of `buffer`, or says how many bytes it still lacks.
fn decode_from<M: Message>(buffer: &mut BytesMut) -> Result<Decoded<M>, ReadFrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else {
        return Ok(Decoded::Lacks);
    };
    let bytes = u32::from_le_bytes(*length) as usize;
    if bytes > M::FRAME_BYTES_MAX {
        return Err(ReadFrameError::TooLarge { bytes, max: M::FRAME_BYTES_MAX });
    }
    let Some(body) = buffer.get(LENGTH_BYTES..LENGTH_BYTES + bytes) else {
        return Ok(Decoded::Lacks);
    };
    let (message, rest) = postcard::take_from_bytes(body).map_err(ReadFrameError::Malformed)?;
    if !rest.is_empty() {
        return Err(ReadFrameError::Malformed(postcard::Error::DeserializeBadEncoding));
    }
    buffer.advance(LENGTH_BYTES + bytes);
    Ok(Decoded::Message(message))
}

enum Decoded<M> {
    Message(M),
    Lacks,
}

/// Writes messages onto a stream.
pub struct FrameWriter {
    stream: quinn::SendStream,
    queued: Vec<u8>,
}

impl FrameWriter {
    /// Writes onto `stream`.
    pub const fn new(stream: quinn::SendStream) -> Self {
        Self { stream, queued: Vec::new() }
    }

    /// Sends a message, after those that were queued. Not to be cancelled: half a frame would stay.
    ///
    /// # Errors
    /// [`WriteFrameError`]; after one about the message itself the stream is as it was.
    pub async fn write<M: Message>(&mut self, message: &M) -> Result<(), WriteFrameError> {
        self.queue(message)?;
        self.flush().await
    }

    /// Encodes a message to be sent by the next [`flush`](Self::flush): many small ones at once cost
    /// little more than one.
    ///
    /// # Errors
    /// [`WriteFrameError::TooLarge`] and [`WriteFrameError::Encode`]; what was queued before stays.
    pub fn queue<M: Message>(&mut self, message: &M) -> Result<(), WriteFrameError> {
        encode_onto(message, &mut self.queued)
    }

    /// Returns how many bytes wait for a flush.
    pub fn queued_bytes(&self) -> usize {
        self.queued.len()
    }

    /// Sends what was queued. Not to be cancelled.
    ///
    /// # Errors
    /// [`WriteFrameError`] where stream or connection are gone.
    pub async fn flush(&mut self) -> Result<(), WriteFrameError> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.queued));
        self.write_raw(bytes).await
    }

    /// Sends bytes as they are, after what was queued was flushed.
    ///
    /// # Errors
    /// [`WriteFrameError`] where stream or connection are gone.
    pub async fn write_raw(&mut self, bytes: Bytes) -> Result<(), WriteFrameError> {
        self.stream.write_chunk(bytes).await.map_err(write_error)
    }

    /// Says that nothing follows; what was sent still arrives.
    pub fn finish(&mut self) {
        // An error means that it is finished or that nobody reads it: either way nothing follows.
        let _ = self.stream.finish();
    }

    /// Says that nothing follows, and waits until the other side has everything or wants no more.
    ///
    /// # Errors
    /// [`LostConnection`] where the connection goes before that.
    pub async fn finish_and_wait(&mut self) -> Result<(), LostConnection> {
        self.finish();
        match self.stream.stopped().await {
            Ok(_) | Err(quinn::StoppedError::ZeroRttRejected) => Ok(()),
            Err(quinn::StoppedError::ConnectionLost(error)) => Err(error.into()),
        }
    }

    /// Returns the stream itself, to set its priority.
    pub const fn stream(&self) -> &quinn::SendStream {
        &self.stream
    }
}

/// Reads messages from a stream.
pub struct FrameReader {
    stream: quinn::RecvStream,
    buffer: BytesMut,
}

impl FrameReader {
    /// Reads from `stream`.
    pub fn new(stream: quinn::RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Reads the next message; `None` where the stream ended cleanly before it. May be cancelled and
    /// called again: what has arrived is kept.
    ///
    /// # Errors
    /// [`ReadFrameError`]; nothing can be read after one.
    pub async fn read<M: Message>(&mut self) -> Result<Option<M>, ReadFrameError> {
        loop {
            if let Decoded::Message(message) = decode_from(&mut self.buffer)? {
                return Ok(Some(message));
            }
            match self.chunk(CHUNK_BYTES_MAX).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ReadFrameError::Truncated { bytes: self.buffer.len() }),
            }
        }
    }

    /// Waits for the length of the next message and returns it, so that room can be made before the
    /// message is read; `None` where the stream ended cleanly before it. May be cancelled.
    ///
    /// # Errors
    /// [`ReadFrameError`], of which [`ReadFrameError::TooLarge`] where no such message may be so long.
    pub async fn announced<M: Message>(&mut self) -> Result<Option<usize>, ReadFrameError> {
        loop {
            if let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() {
                let bytes = u32::from_le_bytes(*length) as usize;
                let max = M::FRAME_BYTES_MAX;
                return if bytes > max {
                    Err(ReadFrameError::TooLarge { bytes, max })
                } else {
                    Ok(Some(bytes))
                };
            }
            match self.chunk(CHUNK_BYTES_MAX).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ReadFrameError::Truncated { bytes: self.buffer.len() }),
            }
        }
    }

    /// Reads the next message, which has to come.
    ///
    /// # Errors
    /// [`ReadFrameError`], of which [`ReadFrameError::Ended`] where the stream ended before it.
    pub async fn expect<M: Message>(&mut self) -> Result<M, ReadFrameError> {
        self.read().await?.ok_or(ReadFrameError::Ended)
    }

    /// Reads up to `bytes_max` of the raw bytes that follow the messages read so far, some at a time;
    /// `None` at the end of the stream.
    ///
    /// # Errors
    /// [`ReadFrameError::Reset`] and [`ReadFrameError::Lost`].
    pub async fn read_raw(&mut self, bytes_max: usize) -> Result<Option<Bytes>, ReadFrameError> {
        if self.buffer.is_empty() {
            return self.chunk(bytes_max.min(CHUNK_BYTES_MAX)).await;
        }
        let bytes = bytes_max.min(self.buffer.len());
        Ok(Some(self.buffer.split_to(bytes).freeze()))
    }

    /// Tells the other side that nothing more will be read.
    pub fn stop(&mut self) {
        // An error means that it has ended already.
        let _ = self.stream.stop(crate::endpoint::CloseCode::Done.into());
    }

    async fn chunk(&mut self, bytes_max: usize) -> Result<Option<Bytes>, ReadFrameError> {
        match self.stream.read_chunk(bytes_max, true).await {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
            Err(quinn::ReadError::ConnectionLost(error)) => Err(ReadFrameError::Lost(error.into())),
            // The other cases are of streams that we stopped ourselves, or of 0-RTT, which is off.
            Err(
                quinn::ReadError::Reset(_)
                | quinn::ReadError::ClosedStream
                | quinn::ReadError::IllegalOrderedRead
                | quinn::ReadError::ZeroRttRejected,
            ) => Err(ReadFrameError::Reset),
        }
    }
}

fn write_error(error: quinn::WriteError) -> WriteFrameError {
    match error {
        quinn::WriteError::Stopped(_) | quinn::WriteError::ZeroRttRejected => {
            WriteFrameError::Stopped
        }
        quinn::WriteError::ClosedStream => WriteFrameError::Finished,
        quinn::WriteError::ConnectionLost(error) => WriteFrameError::Lost(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes what arrives in chunks, as a reader does.
    fn feed<M: Message>(chunks: &[&[u8]]) -> Result<Vec<M>, ReadFrameError> {
        let mut buffer = BytesMut::new();
        let mut messages = Vec::new();
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Decoded::Message(message) = decode_from(&mut buffer)? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn a_length_alone_allocates_nothing() {
        let mut buffer = BytesMut::new();
        let announced = u32::try_from(REQUEST_BYTES_MAX).unwrap();
        buffer.extend_from_slice(&announced.to_le_bytes());
        assert!(matches!(decode_from::<Request>(&mut buffer), Ok(Decoded::Lacks)));
        assert!(buffer.capacity() < 1024, "{}", buffer.capacity());
        let over = (announced + 1).to_le_bytes();
        let error = feed::<Request>(&[&over]).unwrap_err();
        let (bytes, max) = (REQUEST_BYTES_MAX + 1, REQUEST_BYTES_MAX);
        assert_eq!(error, ReadFrameError::TooLarge { bytes, max });
    }

    #[test]
    fn frames_may_arrive_in_any_pieces() {
        let mut bytes = Vec::new();
        for sequence in [0, 1, u64::MAX] {
            encode_onto(&Heartbeat { sequence }, &mut bytes).unwrap();
        }
        let whole = feed::<Heartbeat>(&[&bytes]).unwrap();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(whole.len(), 3);
        assert_eq!(feed::<Heartbeat>(&single).unwrap(), whole);
    }

    #[test]
    fn counts_in_a_message_allocate_no_more_than_the_message_could_hold() {
        // A vector of 2^60 rows in a message of a dozen bytes.
        let mut body = vec![2_u8];
        body.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        frame.extend_from_slice(&body);
        assert!(matches!(feed::<Answer>(&[&frame]), Err(ReadFrameError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_peer_make_decoding_panic(body in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
            frame.extend_from_slice(&body);
            drop(feed::<JoinRequest>(&[&frame]));
            drop(feed::<JoinAnswer>(&[&frame]));
            drop(feed::<ClientHello>(&[&frame]));
            drop(feed::<ClientWelcome>(&[&frame]));
            drop(feed::<Request>(&[&frame]));
            drop(feed::<Answer>(&[&frame]));
            drop(feed::<StreamKind>(&[&frame]));
            drop(feed::<WorkerMessage>(&[&frame]));
            drop(feed::<CoordinatorMessage>(&[&frame]));
            drop(feed::<Heartbeat>(&[&frame]));
            drop(feed::<HeartbeatAnswer>(&[&frame]));
        }
    }
}
