//! Messages onto a stream.

use bytes::Bytes;

use super::codec::encode_onto;
use super::{Message, WriteFrameError};
use crate::endpoint::LostConnection;

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

fn write_error(error: quinn::WriteError) -> WriteFrameError {
    match error {
        quinn::WriteError::Stopped(_) | quinn::WriteError::ZeroRttRejected => {
            WriteFrameError::Stopped
        }
        quinn::WriteError::ClosedStream => WriteFrameError::Finished,
        quinn::WriteError::ConnectionLost(error) => WriteFrameError::Lost(error.into()),
    }
}
