//! A worker's session: Hello, then what it says becomes events, and what it is told goes out.

use std::sync::Arc;

use gridctl_core::event::{self, Event, SessionId};
use gridctl_core::fact::Kept;
use gridctl_jobs::id::WorkerId;
use gridctl_transport::endpoint::Connection;
use gridctl_transport::frame::{FrameReader, FrameWriter};
use gridctl_transport::handshake;
use gridctl_transport::message::Turned;
use gridctl_transport::message::worker::{
    CoordinatorMessage, INLINE_OUTPUT_BYTES_MAX, Output, Report, ReportItem, StreamKind,
    WorkerMessage,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::end::{End, farewell};
use super::room::put_away;
use super::uploads::{Uploads, receive};
use super::{Peer, Shared, heartbeats};
use crate::convert::{self, Terms};
use crate::limits::{FIRST_MESSAGE_WITHIN, GOODBYE_WITHIN, LINGER, WRITE_WITHIN};
use crate::reactor::{Closing, Outbox, OutboxReader};
use crate::results::{AppendResultError, Pin};
use crate::{clock, results};

/// Bytes that are encoded before they are sent: many small messages then cost one.
const FLUSH_BYTES: usize = 64 << 10;

/// Serves a worker until it goes.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) {
    let peer = Peer::of(&connection);
    let end = match greet(&shared, &connection).await {
        Ok(greeted) => run(&shared, &connection, greeted).await,
        Err(end) => end,
    };
    end.conclude(&peer, &connection);
}

/// A worker whose Hello is on its way to the core.
struct Greeted {
    worker: WorkerId,
    session: SessionId,
    terms: Terms,
    writer: FrameWriter,
    reader: FrameReader,
    outbox: OutboxReader,
}

async fn greet(shared: &Shared, connection: &Connection) -> Result<Greeted, End> {
    let first = async {
        let (writer, mut reader) = connection.accept_bi().await?;
        match reader.expect::<StreamKind>().await? {
            StreamKind::Control => {}
            StreamKind::Heartbeats | StreamKind::Upload { .. } => {
                return Err(End::Unexpected("the first stream is not the control stream"));
            }
        }
        match reader.expect::<WorkerMessage>().await? {
            WorkerMessage::Hello(hello) => Ok((writer, reader, hello)),
            WorkerMessage::Started { .. }
            | WorkerMessage::Report(_)
            | WorkerMessage::GivenBack { .. }
            | WorkerMessage::Goodbye => Err(End::Unexpected("the first message is not a Hello")),
        }
    };
    let (mut writer, reader, wire) =
        timeout(FIRST_MESSAGE_WITHIN, first).await.unwrap_or(Err(End::Late("a Hello")))?;
    let version = match handshake::check_hello(&wire, shared.epoch) {
        Ok(version) => version,
        Err(turned) => return Err(turn_away(&mut writer, turned).await),
    };
    let hello = match convert::hello(&wire) {
        Ok(hello) => hello,
        Err(malformed) => {
            turn_away(&mut writer, Turned::Violation { what: malformed.to_string() }).await;
            return Err(malformed.into());
        }
    };
    let lease_ms = shared.leases.lease_ms();
    let terms =
        Terms { grid: shared.grid.clone(), version, lease_ms, heartbeat_ms: shared.heartbeat_ms };
    let worker = WorkerId(connection.peer().id());
    let session = shared.reactor.new_session();
    let (sender, outbox) = Outbox::new();
    // Before the Hello is passed on: whatever is granted because of it falls under this lease.
    shared.leases.open(worker, session, clock::mono());
    shared.reactor.connect(session, worker, hello, sender).await?;
    Ok(Greeted { worker, session, terms, writer, reader, outbox })
}

async fn turn_away(writer: &mut FrameWriter, turned: Turned) -> End {
    let say = async {
        writer.write(&CoordinatorMessage::Turned(turned.clone())).await?;
        writer.finish_and_wait().await?;
        Ok::<(), End>(())
    };
    // Whoever does not listen is closed all the same.
    let _ = timeout(GOODBYE_WITHIN, say).await;
    End::Turned(turned)
}

async fn run(shared: &Arc<Shared>, connection: &Connection, greeted: Greeted) -> End {
    let Greeted { worker, session, terms, writer, reader, outbox } = greeted;
    let uploads = Arc::new(Uploads::default());
    let end = tokio::select! {
        end = write(writer, outbox, &terms) => end,
        end = read(shared, session, reader, &uploads) => end,
        end = serve_streams(shared, connection, (worker, session), &uploads) => end,
    };
    // Where the reactor has stopped there is nobody to tell any more.
    let _ = shared.reactor.tell(Event::Disconnected { session }).await;
    end
}

/// Sends what the core says, until it says no more.
async fn write(mut writer: FrameWriter, mut outbox: OutboxReader, terms: &Terms) -> End {
    let mut closing = outbox.closing();
    let mut does_not_read = std::pin::pin!(async move {
        let at_once =
            |closing: &Option<Closing>| matches!(closing, Some(Closing::DoesNotRead { .. }));
        let closing = closing.wait_for(at_once).await.map(|closing| closing.clone());
        match closing {
            Ok(closing) => closing,
            // The reactor's end is gone: the queue says what comes next.
            Err(_) => std::future::pending().await,
        }
    });
    loop {
        let sent = tokio::select! {
            biased;
            closing = &mut does_not_read => return closing.map_or(End::DoesNotRead, End::Closing),
            sent = send_next(&mut writer, &mut outbox, terms) => sent,
        };
        match sent {
            Ok(true) => {}
            Ok(false) => break,
            Err(end) => return end,
        }
    }
    let (last, end) = match outbox.why_closed() {
        Some(closing) => {
            (farewell(&closing).map(CoordinatorMessage::Turned), End::Closing(closing))
        }
        None => (Some(CoordinatorMessage::Stopping), End::Stopping),
    };
    let say = async {
        if let Some(last) = last {
            writer.write(&last).await?;
        }
        writer.finish_and_wait().await?;
        Ok::<(), End>(())
    };
    // Whoever does not listen is closed all the same.
    let _ = timeout(GOODBYE_WITHIN, say).await;
    end
}

/// Sends what waits, as far as it goes at once; says whether more can come.
async fn send_next(
    writer: &mut FrameWriter,
    outbox: &mut OutboxReader,
    terms: &Terms,
) -> Result<bool, End> {
    let Some(message) = outbox.next().await else { return Ok(false) };
    writer.queue(&convert::to_worker(message, terms))?;
    while writer.queued_bytes() < FLUSH_BYTES && !outbox.is_empty() {
        let Some(message) = outbox.next().await else { break };
        writer.queue(&convert::to_worker(message, terms))?;
    }
    timeout(WRITE_WITHIN, writer.flush()).await.map_err(|_| End::DoesNotRead)??;
    Ok(true)
}

/// Passes on what the worker says, until it leaves.
async fn read(
    shared: &Arc<Shared>,
    session: SessionId,
    mut reader: FrameReader,
    uploads: &Arc<Uploads>,
) -> End {
    loop {
        let message = match reader.read::<WorkerMessage>().await {
            Ok(Some(message)) => message,
            Ok(None) => return End::Left,
            Err(error) => return error.into(),
        };
        let leaves = matches!(message, WorkerMessage::Goodbye);
        let (event, pins) = match to_event(shared, session, message, uploads).await {
            Ok(event) => event,
            Err(end) => return end,
        };
        if shared.reactor.tell_pinned(event, pins).await.is_err() {
            return wait_for_goodbye().await;
        }
        if leaves {
            // Its last acknowledgements may still be on the way to it; it closes when it has them.
            let _ = timeout(LINGER, reader.read::<WorkerMessage>()).await;
            return End::Left;
        }
    }
}

/// The reactor has stopped: the writing side still says goodbye.
async fn wait_for_goodbye() -> End {
    tokio::time::sleep(GOODBYE_WITHIN).await;
    End::Stopping
}

async fn to_event(
    shared: &Arc<Shared>,
    session: SessionId,
    message: WorkerMessage,
    uploads: &Arc<Uploads>,
) -> Result<(Event, Vec<Pin>), End> {
    let mut pins = Vec::new();
    let event = match message {
        WorkerMessage::Hello(_) => return Err(End::Unexpected("a second Hello on one connection")),
        WorkerMessage::Started { tasks } => {
            Event::Started { session, tasks: convert::started(&tasks)? }
        }
        WorkerMessage::Report(report) => Event::Report {
            session,
            report: take_report(shared, report, uploads, &mut pins).await?,
        },
        WorkerMessage::GivenBack { token, stage, ranges } => {
            Event::GivenBack { session, token, stage, ranges: convert::given_back(&ranges)? }
        }
        WorkerMessage::Goodbye => Event::Goodbye { session },
    };
    Ok((event, pins))
}

/// Puts away what a report brings along, so that the core only sees where it lies.
async fn take_report(
    shared: &Arc<Shared>,
    mut report: Report,
    uploads: &Uploads,
    pins: &mut Vec<Pin>,
) -> Result<event::Report, End> {
    convert::report_length(&report)?;
    let sequence = report.sequence;
    // All that can be wrong with an item is found before anything of the report is kept.
    for item in &report.items {
        let leaves_something = item.output.is_some();
        if leaves_something && item.range.len() != 1 {
            return Err(
                convert::Malformed::from(gridctl_core::effect::Violation::OneTaskOnly).into()
            );
        }
        convert::report_item(item, None)?;
    }
    let mut kept: Vec<Option<Kept>> = Vec::with_capacity(report.items.len());
    if report.items.iter().all(|item| item.output.is_none()) {
        kept.resize(report.items.len(), None);
    } else {
        pins.push(Pin::new(&shared.results));
        let mut inline = Inline::new(std::mem::take(&mut report.items))?;
        let append = move |results: &results::Results| inline.put_away(results);
        (report.items, kept) = put_away(shared, append, || ()).await?;
        for (item, kept) in report.items.iter().zip(&mut kept) {
            if let Some(Output::Uploaded(upload)) = &item.output {
                let (uploaded, pin) = uploads.take(*upload).await?.unzip();
                *kept = uploaded;
                pins.extend(pin);
            }
        }
    }
    let items = report.items.iter().zip(kept).map(|(item, kept)| convert::report_item(item, kept));
    Ok(event::Report { sequence, items: items.collect::<Result<_, _>>()? })
}

/// The outputs that travelled inside a report, and where those lie that are put away.
struct Inline {
    items: Vec<ReportItem>,
    kept: Vec<Option<Kept>>,
}

impl Inline {
    fn new(items: Vec<ReportItem>) -> Result<Self, End> {
        let is_too_large = |item: &ReportItem| match &item.output {
            Some(Output::Inline { stdout, stderr, result }) => {
                stdout.len() + stderr.len() + result.len() > INLINE_OUTPUT_BYTES_MAX
            }
            Some(Output::Uploaded(_)) | None => false,
        };
        if items.iter().any(is_too_large) {
            return Err(End::Unexpected("an output inside a report is larger than that may be"));
        }
        Ok(Self { kept: Vec::with_capacity(items.len()), items })
    }

    /// Appends those that are not put away yet; gives the items back once all are.
    fn put_away(
        &mut self,
        results: &results::Results,
    ) -> Result<(Vec<ReportItem>, Vec<Option<Kept>>), AppendResultError> {
        while let Some(item) = self.items.get(self.kept.len()) {
            self.kept.push(match &item.output {
                Some(Output::Inline { stdout, stderr, result }) => {
                    let bytes = stdout.len() + stderr.len() + result.len();
                    let appended = results.append(stdout, stderr, result)?;
                    (bytes > 0).then_some(appended)
                }
                Some(Output::Uploaded(_)) | None => None,
            });
        }
        Ok((std::mem::take(&mut self.items), std::mem::take(&mut self.kept)))
    }
}

/// Takes in the other streams of the connection: heartbeats, once, and uploads.
async fn serve_streams(
    shared: &Arc<Shared>,
    connection: &Connection,
    (worker, session): (WorkerId, SessionId),
    uploads: &Arc<Uploads>,
) -> End {
    let mut streams: JoinSet<Result<(), End>> = JoinSet::new();
    let mut beats = false;
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((writer, reader)) if !beats => {
                    beats = true;
                    streams.spawn(heartbeats::serve(Arc::clone(shared), (worker, session), writer, reader));
                }
                Ok(_) => return End::Unexpected("a second heartbeat stream"),
                Err(lost) => return lost.into(),
            },
            accepted = connection.accept_uni() => match accepted {
                Ok(reader) => {
                    streams.spawn(receive(Arc::clone(shared), Arc::clone(uploads), reader));
                }
                Err(lost) => return lost.into(),
            },
            Some(ended) = streams.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(end)) => return end,
                Err(_) => return End::Abnormal,
            },
        }
    }
}
