//! Messages from a stream.

use bytes::{Bytes, BytesMut};

use super::codec::{Decoded, announced, decode_from};
use super::{CHUNK_BYTES_MAX, Message, ReadFrameError};

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
            if !self.more().await? {
                return Ok(None);
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
            if let Some(bytes) = announced::<M>(&self.buffer)? {
                return Ok(Some(bytes));
            }
            if !self.more().await? {
                return Ok(None);
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

    /// Takes in more of a frame; false where the stream ended cleanly before it.
    async fn more(&mut self) -> Result<bool, ReadFrameError> {
        match self.chunk(CHUNK_BYTES_MAX).await? {
            Some(chunk) => self.buffer.extend_from_slice(&chunk),
            None if self.buffer.is_empty() => return Ok(false),
            None => return Err(ReadFrameError::Truncated { bytes: self.buffer.len() }),
        }
        Ok(true)
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
