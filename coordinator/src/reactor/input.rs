//! What goes into the reactor: events, each with what is needed to answer it, through one bounded channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gridctl_core::effect::Reply;
use gridctl_core::event::{Event, RequestId, SessionId, WorkerHello};
use gridctl_jobs::id::WorkerId;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::outbox::Outbox;
use crate::results::Pin;

/// Events that wait for the reactor: a few batches, so that it never idles while sessions are awake.
const INPUTS_MAX: usize = 1024;
/// Parts (items of reports and of announcements) of all events that wait. A part is some 150 bytes by then,
/// since outputs were put away before, so this is at most 20 MiB, however many workers flood.
pub(super) const PARTS_MAX: usize = 128 << 10;

/// An event on its way into the core.
#[derive(Debug)]
pub(crate) struct Input {
    pub(super) event: Event,
    pub(super) line: Line,
    /// Held until what the event comes to is durable.
    pub(super) pins: Vec<Pin>,
    /// Given back when the event was stepped.
    _parts: OwnedSemaphorePermit,
}

/// Where the effects of an event go.
#[derive(Debug)]
pub(super) enum Line {
    /// To sessions that are known already, if anywhere.
    Known,
    /// To this worker, from now on.
    Session(SessionId, Outbox),
    /// To whoever asked.
    Request(RequestId, oneshot::Sender<Reply>),
}

/// The way into the reactor; waits where the reactor is behind.
#[derive(Clone, Debug)]
pub(crate) struct ReactorHandle {
    inputs: mpsc::Sender<Input>,
    parts: Arc<Semaphore>,
    numbers: Arc<AtomicU64>,
}

/// The reactor takes no more events: the coordinator stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the coordinator is stopping")]
pub(crate) struct Stopped;

impl ReactorHandle {
    /// Makes the way in, and the end that the reactor reads.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Input>) {
        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let parts = Arc::new(Semaphore::new(PARTS_MAX));
        (Self { inputs, parts, numbers: Arc::default() }, receiver)
    }

    /// Numbers a session of a worker.
    pub(crate) fn new_session(&self) -> SessionId {
        SessionId(self.next_number())
    }

    /// Introduces a worker; what it is told goes through `outbox` from now on.
    pub(crate) async fn connect(
        &self,
        session: SessionId,
        worker: WorkerId,
        hello: WorkerHello,
        outbox: Outbox,
    ) -> Result<(), Stopped> {
        let parts = hello.held.len();
        let event = Event::WorkerHello { session, worker, hello };
        self.send(event, Line::Session(session, outbox), Vec::new(), parts).await
    }

    /// Tells the core something that needs no reply.
    pub(crate) async fn tell(&self, event: Event) -> Result<(), Stopped> {
        self.tell_pinned(event, Vec::new()).await
    }

    /// Tells the core something that names output; `pins` keep it until that is durable.
    pub(crate) async fn tell_pinned(&self, event: Event, pins: Vec<Pin>) -> Result<(), Stopped> {
        let parts = match &event {
            Event::Report { report, .. } => report.items.len(),
            Event::Started { tasks, .. } => tasks.len(),
            Event::GivenBack { ranges, .. } => ranges.len(),
            Event::Start { .. }
            | Event::Silent { .. }
            | Event::Heard { .. }
            | Event::Submit { .. }
            | Event::Cancel { .. }
            | Event::Retry { .. }
            | Event::Forget { .. }
            | Event::DrainWorker { .. }
            | Event::ResumeWorker { .. }
            | Event::CreateToken { .. }
            | Event::RevokeToken { .. }
            | Event::Enrol { .. }
            | Event::WorkerHello { .. }
            | Event::Goodbye { .. }
            | Event::Disconnected { .. }
            | Event::LeaseExpired { .. }
            | Event::Tick => 0,
        };
        self.send(event, Line::Known, pins, parts).await
    }

    /// Asks the core; returns once the reply is durable and the views show it.
    pub(crate) async fn ask(
        &self,
        make: impl FnOnce(RequestId) -> Event,
    ) -> Result<Reply, Stopped> {
        let request = RequestId(self.next_number());
        let (sender, reply) = oneshot::channel();
        self.send(make(request), Line::Request(request, sender), Vec::new(), 0).await?;
        reply.await.map_err(|_| Stopped)
    }

    async fn send(
        &self,
        event: Event,
        line: Line,
        pins: Vec<Pin>,
        parts: usize,
    ) -> Result<(), Stopped> {
        let parts = u32::try_from(parts.clamp(1, PARTS_MAX)).expect("the maximum fits");
        let permit =
            Arc::clone(&self.parts).acquire_many_owned(parts).await.map_err(|_| Stopped)?;
        self.inputs.send(Input { event, line, pins, _parts: permit }).await.map_err(|_| Stopped)
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}
