//! One connection: from dialling to the end of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gridctl_transport::endpoint::{
    AddressError, CloseCode, ConnectError, Connection, LostConnection, Timing, connect,
};
use gridctl_transport::frame::{FrameReader, FrameWriter, ReadFrameError, WriteFrameError};
use gridctl_transport::message::worker::{
    CoordinatorMessage, Output, StreamKind, UploadId, WorkerMessage,
};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::error;

use super::beat::beat;
use super::{Peer, Say};
use crate::agent::{AgentEvent, LinkEnd, LinkId, TaskOutput};
use crate::events::Events;
use crate::limits::UPLOADS_AT_ONCE;
use crate::parent::die;

/// Bytes that are gathered before they are sent although more could be gathered.
const GATHERED_BYTES_MAX: usize = 256 << 10;
/// How long the end of a connection may take to arrive.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// Bytes of an upload that are handed over at once.
const UPLOAD_CHUNK_BYTES: usize = 256 << 10;

/// Connects, and serves the connection until it is lost, or the agent has closed the outbox.
pub(super) async fn session(
    link: LinkId,
    peer: Arc<Peer>,
    mut outbox: UnboundedReceiver<Say>,
    events: Events,
) {
    let dialled = tokio::select! {
        dialled = connect(&peer.addresses, &peer.credentials, Timing::DEFAULT) => dialled,
        // Nothing is said before the link is up: it was closed.
        _ = outbox.recv() => return,
    };
    let ended = match dialled {
        Ok(connection) => speak(link, &connection, &mut outbox, &events).await,
        Err(error) => Err(why_not(&error)),
    };
    if let Err(why) = ended {
        events.send(AgentEvent::LinkDown { link, why });
    }
}

async fn speak(
    link: LinkId,
    connection: &Connection,
    outbox: &mut UnboundedReceiver<Say>,
    events: &Events,
) -> Result<(), LinkEnd> {
    let (mut writer, reader) = connection.open_bi().await.map_err(lost)?;
    writer.write(&StreamKind::Control).await.map_err(unsaid)?;
    events.send(AgentEvent::LinkUp { link });
    tokio::select! {
        why = hear(link, connection, reader, events) => Err(why),
        said = say(link, connection, writer, outbox, events) => said,
    }
}

/// Hears until there is nothing more to hear.
async fn hear(
    link: LinkId,
    connection: &Connection,
    mut reader: FrameReader,
    events: &Events,
) -> LinkEnd {
    loop {
        match reader.read::<CoordinatorMessage>().await {
            Ok(Some(message)) => events.send(AgentEvent::Message { link, message }),
            // The reason comes with the end of the connection, which follows.
            Ok(None) => {
                return match timeout(CLOSE_WAIT, connection.closed()).await {
                    Ok(why) => lost(why),
                    Err(_) => LinkEnd::Broken("the coordinator ended the session".to_owned()),
                };
            }
            Err(error) => {
                if error.is_violation() {
                    connection.close(CloseCode::Violation, &error.to_string());
                }
                return unheard(error);
            }
        }
    }
}

/// Says what the agent says, and in the end closes the connection.
async fn say(
    link: LinkId,
    connection: &Connection,
    mut writer: FrameWriter,
    outbox: &mut UnboundedReceiver<Say>,
    events: &Events,
) -> Result<(), LinkEnd> {
    let mut uploads = JoinSet::new();
    let at_once = Arc::new(Semaphore::new(UPLOADS_AT_ONCE));
    // Dropped, and so ended, with this function.
    let mut beats = JoinSet::new();
    while let Some(say) = next(outbox, &mut writer).await? {
        match say {
            Say::Message(message) => {
                if names_uploads(&message) {
                    writer.flush().await.map_err(unsaid)?;
                    finished(&mut uploads).await?;
                }
                writer.queue(&message).map_err(unsaid)?;
            }
            Say::Upload(id, output) => {
                uploads.spawn(upload(connection.clone(), id, output, Arc::clone(&at_once)));
            }
            Say::Heartbeats { every_ms } => {
                let every = Duration::from_millis(every_ms);
                beats.spawn(beat(link, connection.clone(), every, events.clone()));
            }
        }
    }
    finished(&mut uploads).await?;
    // The peer may be gone by now; then nobody is left to hear the last words.
    let _ = timeout(CLOSE_WAIT, writer.finish_and_wait()).await;
    connection.close_and_flush(CloseCode::Done, "", CLOSE_WAIT).await;
    Ok(())
}

/// Returns what is to be said next; what was gathered is sent before it waits.
async fn next(
    outbox: &mut UnboundedReceiver<Say>,
    writer: &mut FrameWriter,
) -> Result<Option<Say>, LinkEnd> {
    if writer.queued_bytes() < GATHERED_BYTES_MAX
        && let Ok(say) = outbox.try_recv()
    {
        return Ok(Some(say));
    }
    writer.flush().await.map_err(unsaid)?;
    Ok(outbox.recv().await)
}

async fn upload(
    connection: Connection,
    upload: UploadId,
    output: Arc<TaskOutput>,
    at_once: Arc<Semaphore>,
) -> Result<(), LinkEnd> {
    // It is never closed.
    let _permit = at_once.acquire().await;
    let output = in_memory(output).await?;
    let parts = [&output.stdout, &output.stderr, &output.result];
    let [stdout_bytes, stderr_bytes, result_bytes] =
        parts.map(|part| u32::try_from(part.len()).expect("each part is at most 16 MiB"));
    let kind = StreamKind::Upload { upload, stdout_bytes, stderr_bytes, result_bytes };
    let mut writer = connection.open_uni().await.map_err(lost)?;
    writer.write(&kind).await.map_err(unsaid)?;
    for chunk in parts.into_iter().flat_map(|part| part.chunks(UPLOAD_CHUNK_BYTES)) {
        writer.write_raw(Bytes::copy_from_slice(chunk)).await.map_err(unsaid)?;
    }
    writer.finish();
    Ok(())
}

/// Reads an output back where it is kept on disk.
async fn in_memory(output: Arc<TaskOutput>) -> Result<Arc<TaskOutput>, LinkEnd> {
    let Some(place) = output.place.clone() else { return Ok(output) };
    match tokio::task::spawn_blocking(move || place.read_back()).await {
        Ok(Ok(None)) => Ok(output),
        Ok(Ok(Some(output))) => Ok(Arc::new(output)),
        Ok(Err(trouble)) => {
            // It will not get better. Of a worker that is started again the tasks run again.
            error!("{trouble}");
            die();
            Err(LinkEnd::Broken(trouble.to_string()))
        }
        Err(stopped) => Err(LinkEnd::Broken(stopped.to_string())),
    }
}

/// Waits until every upload that was begun is out.
async fn finished(uploads: &mut JoinSet<Result<(), LinkEnd>>) -> Result<(), LinkEnd> {
    while let Some(uploaded) = uploads.join_next().await {
        uploaded.unwrap_or_else(|error| Err(LinkEnd::Broken(error.to_string())))?;
    }
    Ok(())
}

fn names_uploads(message: &WorkerMessage) -> bool {
    match message {
        WorkerMessage::Report(report) => {
            report.items.iter().any(|item| matches!(item.output, Some(Output::Uploaded(_))))
        }
        WorkerMessage::Hello(_)
        | WorkerMessage::Started { .. }
        | WorkerMessage::GivenBack { .. }
        | WorkerMessage::Goodbye => false,
    }
}

/// Says why there is no connection, and whether trying again can help.
fn why_not(error: &ConnectError) -> LinkEnd {
    let is_final = match error {
        ConnectError::Unreachable { .. } => false,
        ConnectError::Outdated(_) | ConnectError::Identity(_) => true,
        ConnectError::Refused(tried) => match &tried.why {
            AddressError::OtherAuthority
            | AddressError::NotCoordinator { .. }
            | AddressError::Time(_)
            | AddressError::Certificate(_) => true,
            AddressError::Lost(why) => is_refusal(why),
            AddressError::Name(_)
            | AddressError::Socket(_)
            | AddressError::NobodyListens
            | AddressError::NoAnswer => false,
        },
    };
    let why = error.to_string();
    if is_final { LinkEnd::Refused(why) } else { LinkEnd::Broken(why) }
}

pub(super) fn lost(why: LostConnection) -> LinkEnd {
    let text = why.to_string();
    if is_refusal(&why) { LinkEnd::Refused(text) } else { LinkEnd::Broken(text) }
}

pub(super) fn unheard(error: ReadFrameError) -> LinkEnd {
    match error {
        ReadFrameError::Lost(why) => lost(why),
        ReadFrameError::TooLarge { .. }
        | ReadFrameError::Truncated { .. }
        | ReadFrameError::Ended
        | ReadFrameError::Malformed(_)
        | ReadFrameError::Reset => LinkEnd::Broken(error.to_string()),
    }
}

pub(super) fn unsaid(error: WriteFrameError) -> LinkEnd {
    match error {
        WriteFrameError::Lost(why) => lost(why),
        WriteFrameError::TooLarge { .. }
        | WriteFrameError::Encode(_)
        | WriteFrameError::Stopped
        | WriteFrameError::Finished => LinkEnd::Broken(error.to_string()),
    }
}

/// Only a plain refusal: a session that was closed for anything else may be taken up again.
const fn is_refusal(why: &LostConnection) -> bool {
    match why {
        LostConnection::Refused { .. } => true,
        LostConnection::Closed { .. }
        | LostConnection::Silent
        | LostConnection::Forgotten
        | LostConnection::Here
        | LostConnection::Failed { .. } => false,
    }
}
