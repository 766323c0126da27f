//! Between messages and the bytes of their frames.

use bytes::{Buf as _, BytesMut};

use super::{LENGTH_BYTES, Message, ReadFrameError, WriteFrameError};

/// Encodes a message as a frame, length and all.
///
/// # Errors
/// [`WriteFrameError::TooLarge`] and [`WriteFrameError::Encode`].
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, WriteFrameError> {
    let mut frame = Vec::new();
    encode_onto(message, &mut frame)?;
    Ok(frame)
}

pub(super) fn encode_onto<M: Message>(
    message: &M,
    buffer: &mut Vec<u8>,
) -> Result<(), WriteFrameError> {
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

/// Returns the length of the frame at the front of `buffer`, once that has arrived.
pub(super) fn announced<M: Message>(buffer: &[u8]) -> Result<Option<usize>, ReadFrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let bytes = u32::from_le_bytes(*length) as usize;
    if bytes > M::FRAME_BYTES_MAX {
        return Err(ReadFrameError::TooLarge { bytes, max: M::FRAME_BYTES_MAX });
    }
    Ok(Some(bytes))
}

/// Takes a whole frame off the front of `buffer`, or says that it is not whole yet.
pub(super) fn decode_from<M: Message>(buffer: &mut BytesMut) -> Result<Decoded<M>, ReadFrameError> {
    let Some(bytes) = announced::<M>(buffer)? else {
        return Ok(Decoded::Lacks);
    };
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

/// What the front of a buffer holds.
pub(super) enum Decoded<M> {
    Message(M),
    /// Not a whole frame yet.
    Lacks,
}
