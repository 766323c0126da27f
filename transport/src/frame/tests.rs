use proptest::prelude::*;

use bytes::BytesMut;

use super::codec::{Decoded, decode_from, encode_onto};
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
