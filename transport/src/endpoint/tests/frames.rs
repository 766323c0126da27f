//! Frames on real streams: what a peer announces, and what it does not send.

use bytes::Bytes;

use super::world::{Grid, soon};
use crate::endpoint::{CloseCode, Connection};
use crate::frame::{FrameReader, ReadFrameError, WriteFrameError};
use crate::identity::Role;
use crate::message::client::{ClientHello, Request};
use crate::message::join::JoinAnswer;
use crate::message::worker::{Heartbeat, StreamKind, UploadId};

async fn pair() -> (Connection, Connection, Grid, super::world::Server) {
    let grid = Grid::new();
    let mut server = grid.serve();
    let (ours, theirs) = server.admit(&grid.enrol(Role::User, "ada")).await;
    (ours, theirs, grid, server)
}

/// What our side makes of raw bytes where a request is due.
async fn read_request(ours: &Connection, theirs: &Connection, raw: &[u8]) -> ReadFrameError {
    let (mut writer, _reader) = theirs.open_bi().await.unwrap();
    writer.write_raw(Bytes::copy_from_slice(raw)).await.unwrap();
    writer.finish();
    let (_writer, mut reader) = soon(ours.accept_bi()).await.unwrap();
    soon(reader.expect::<Request>()).await.unwrap_err()
}

#[tokio::test]
async fn frames_that_no_one_would_send_are_refused_and_the_rest_is_served_on() {
    let (ours, theirs, grid, mut server) = pair().await;
    let huge = read_request(&ours, &theirs, &u32::MAX.to_le_bytes()).await;
    assert!(matches!(huge, ReadFrameError::TooLarge { .. }), "{huge}");
    let cut_off = read_request(&ours, &theirs, &[100, 0, 0, 0, 1, 2, 3]).await;
    assert_eq!(cut_off, ReadFrameError::Truncated { bytes: 7 });
    let half_a_length = read_request(&ours, &theirs, &[1, 0]).await;
    assert_eq!(half_a_length, ReadFrameError::Truncated { bytes: 2 });
    let nothing = read_request(&ours, &theirs, &[]).await;
    assert_eq!(nothing, ReadFrameError::Ended);
    let unknown = read_request(&ours, &theirs, &[1, 0, 0, 0, 0xff]).await;
    assert!(matches!(unknown, ReadFrameError::Malformed(_)), "{unknown}");
    let trailing = read_request(&ours, &theirs, &[2, 0, 0, 0, 8, 0]).await;
    assert!(matches!(trailing, ReadFrameError::Malformed(_)), "{trailing}");
    for error in [huge, cut_off, half_a_length, nothing, unknown, trailing] {
        assert!(error.is_violation(), "{error}");
    }
    assert_eq!(ours.lost(), None);
    server.serves_on(&grid).await;
}

#[tokio::test]
async fn messages_come_out_as_they_went_in_and_then_the_stream_ends() {
    let (ours, theirs, _grid, _server) = pair().await;
    let (mut writer, _reader) = theirs.open_bi().await.unwrap();
    for sequence in 0..1000 {
        writer.queue(&Heartbeat { sequence }).unwrap();
    }
    assert!(writer.queued_bytes() > 1000);
    writer.flush().await.unwrap();
    writer.finish();
    let (_writer, mut reader) = soon(ours.accept_bi()).await.unwrap();
    for sequence in 0..1000 {
        assert_eq!(soon(reader.read()).await.unwrap(), Some(Heartbeat { sequence }));
    }
    assert_eq!(soon(reader.read::<Heartbeat>()).await.unwrap(), None);
}

#[tokio::test]
async fn raw_bytes_follow_a_message_without_loss() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let (ours, theirs) = server.admit(&grid.enrol(Role::Worker, "node")).await;
    let kind = StreamKind::Upload {
        upload: UploadId(1),
        stdout_bytes: 300_000,
        stderr_bytes: 0,
        result_bytes: 0,
    };
    let body: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let send = async {
        let mut writer = theirs.open_uni().await.unwrap();
        writer.queue(&kind).unwrap();
        writer.flush().await.unwrap();
        writer.write_raw(Bytes::from(body.clone())).await.unwrap();
        writer.finish_and_wait().await.unwrap();
    };
    let receive = async {
        let mut reader: FrameReader = ours.accept_uni().await.unwrap();
        let first = reader.expect::<StreamKind>().await.unwrap();
        let mut received = Vec::new();
        while let Some(bytes) = reader.read_raw(1000).await.unwrap() {
            assert!(bytes.len() <= 1000);
            received.extend_from_slice(&bytes);
        }
        (first, received)
    };
    let ((), (first, received)) = soon(async { tokio::join!(send, receive) }).await;
    assert_eq!(first, kind);
    assert!(received == body);
}

#[tokio::test]
async fn a_message_over_its_maximum_is_refused_before_a_byte_is_sent() {
    let (ours, theirs, _grid, _server) = pair().await;
    let (mut writer, _reader) = theirs.open_bi().await.unwrap();
    let large = JoinAnswer::Refused { why: "x".repeat(20_000) };
    let error = writer.write(&large).await.unwrap_err();
    assert!(matches!(error, WriteFrameError::TooLarge { bytes: 20_004, .. }), "{error:?}");
    writer.write(&Heartbeat { sequence: 5 }).await.unwrap();
    let (_writer, mut reader) = soon(ours.accept_bi()).await.unwrap();
    assert_eq!(soon(reader.expect()).await, Ok(Heartbeat { sequence: 5 }));
}

#[tokio::test]
async fn a_closed_connection_is_told_apart_from_a_broken_message() {
    let (ours, theirs, _grid, _server) = pair().await;
    let (mut writer, _reader) = theirs.open_bi().await.unwrap();
    writer.write(&Request::Workers).await.unwrap();
    let (_writer, mut reader) = soon(ours.accept_bi()).await.unwrap();
    soon(reader.expect::<Request>()).await.unwrap();
    theirs.close(CloseCode::Stopping, "later");
    let error = soon(reader.expect::<ClientHello>()).await.unwrap_err();
    assert!(matches!(error, ReadFrameError::Lost(_)), "{error}");
    assert!(!error.is_violation());
}

#[tokio::test]
async fn a_user_cannot_open_more_streams_than_allowed() {
    let (ours, theirs, _grid, _server) = pair().await;
    let mut open = Vec::new();
    for _ in 0..super::super::BI_STREAMS_PER_CLIENT_MAX {
        open.push(soon(theirs.open_bi()).await.unwrap());
    }
    let more = theirs.open_bi();
    tokio::pin!(more);
    // Everything that was sent so far has been seen by the other side when this arrives.
    let (writer, _) = &mut open[0];
    writer.write(&Request::Workers).await.unwrap();
    let (_writer, mut reader) = soon(ours.accept_bi()).await.unwrap();
    soon(reader.expect::<Request>()).await.unwrap();
    assert!(polled_once(more.as_mut()).await.is_none(), "one more stream was opened");
}

/// Polls once.
async fn polled_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut future = future;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn the_length_of_a_message_is_known_before_the_message_is_there() {
    let (ours, theirs, _grid, _server) = pair().await;
    let frame = crate::frame::encode(&Request::Workers).unwrap();
    let (mut writer, _reader) = theirs.open_bi().await.unwrap();
    writer.write_raw(Bytes::copy_from_slice(&frame[..4])).await.unwrap();
    let (_writer, mut reader) = soon(ours.accept_bi()).await.unwrap();
    assert_eq!(soon(reader.announced::<Request>()).await, Ok(Some(1)));
    writer.write_raw(Bytes::copy_from_slice(&frame[4..])).await.unwrap();
    writer.finish();
    assert_eq!(soon(reader.expect()).await, Ok(Request::Workers));
    assert_eq!(soon(reader.announced::<Request>()).await, Ok(None));
}
