//! What waits to be sent to one worker, bounded: a worker that does not read is closed, and costs no memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gridctl_core::effect::{CloseReason, ToWorker};
use gridctl_jobs::limits::STAGES_MAX;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// Messages that wait for one worker. The end of a job of 1,024 stages alone is a thousand messages at once,
/// which is nothing wrong with the worker; sixteen such mean that it does not read. Some 3 MiB.
const MESSAGES_MAX: usize = 16 * STAGES_MAX;
/// Bytes of items and answers that wait for one worker; one message may always wait, whatever its size.
const BYTES_MAX: usize = 32 << 20;
/// What a message without items takes, about.
const MESSAGE_BYTES: usize = 128;

/// The reactor's end of a worker's queue. Dropping it lets the session send what waits and then end.
#[derive(Debug)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<(ToWorker, usize)>,
    bytes: Arc<AtomicUsize>,
    closing: watch::Sender<Option<Closing>>,
}

/// The session's end.
#[derive(Debug)]
pub(crate) struct OutboxReader {
    messages: mpsc::Receiver<(ToWorker, usize)>,
    bytes: Arc<AtomicUsize>,
    closing: watch::Receiver<Option<Closing>>,
}

/// Why nothing more is sent.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum Closing {
    /// The core ended the session.
    #[error("{0}")]
    Core(CoreReason),
    /// The worker does not read what it is sent.
    #[error("the worker does not read: {messages} messages wait for it")]
    DoesNotRead { messages: usize },
}

/// A [`CloseReason`] that can be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CoreReason(pub(crate) CloseReason);

/// The queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

impl Outbox {
    pub(crate) fn new() -> (Self, OutboxReader) {
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        let (closing, closed) = watch::channel(None);
        let reader =
            OutboxReader { messages: receiver, bytes: Arc::clone(&bytes), closing: closed };
        (Self { messages: sender, bytes, closing }, reader)
    }

    /// Adds a message; where there is no room, the session is told to end at once.
    pub(crate) fn push(&self, message: ToWorker) -> Result<(), Full> {
        let size = size_of(&message);
        let before = self.bytes.fetch_add(size, Ordering::AcqRel);
        let fits = before == 0 || before.saturating_add(size) <= BYTES_MAX;
        if fits {
            match self.messages.try_send((message, size)) {
                // A session that is gone already needs no message.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => {}
            }
        }
        let messages = MESSAGES_MAX - self.messages.capacity();
        self.closing.send_replace(Some(Closing::DoesNotRead { messages }));
        Err(Full)
    }

    /// Ends the session after what already waits.
    pub(crate) fn close(self, why: CloseReason) {
        self.closing.send_replace(Some(Closing::Core(CoreReason(why))));
    }
}

impl OutboxReader {
    /// Returns the next message, or `None` once nothing more will come.
    pub(crate) async fn next(&mut self) -> Option<ToWorker> {
        let (message, size) = self.messages.recv().await?;
        self.bytes.fetch_sub(size, Ordering::AcqRel);
        Some(message)
    }

    /// Says whether a message waits right now, so that a writer knows when to flush.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns why nothing more will come, where the reactor said it.
    pub(crate) fn why_closed(&self) -> Option<Closing> {
        self.closing.borrow().clone()
    }

    /// Returns a receiver that sees when the session is to end at once.
    pub(crate) fn closing(&self) -> watch::Receiver<Option<Closing>> {
        self.closing.clone()
    }
}

impl std::fmt::Display for CoreReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            CloseReason::Superseded => f.write_str("the same worker connected again"),
            CloseReason::LeaseExpired => f.write_str("its lease has run out"),
            CloseReason::IdentityInUse { name } => {
                write!(f, "another machine is connected under the identity {name}")
            }
            CloseReason::UnknownWorker => f.write_str("no such worker is known"),
            CloseReason::LeaseRuns => f.write_str(
                "an earlier process of the same worker may still run tasks until its lease has run out",
            ),
            CloseReason::Violation(violation) => violation.fmt(f),
        }
    }
}

fn size_of(message: &ToWorker) -> usize {
    let variable = match message {
        ToWorker::Welcome { answers, .. } => std::mem::size_of_val(answers.as_slice()),
        ToWorker::Assign { grant } => {
            grant.items.as_ref().map_or(0, |items| items.bytes() + 4 * items.len())
        }
        // Shared with the job itself.
        ToWorker::Stage { .. }
        | ToWorker::TakeBack { .. }
        | ToWorker::Stop { .. }
        | ToWorker::Settled { .. }
        | ToWorker::Forget { .. } => 0,
    };
    MESSAGE_BYTES + variable
}

#[cfg(test)]
mod tests {
    use gridctl_core::effect::Grant;
    use gridctl_jobs::id::{JobId, StageId, StageIndex, Token};
    use gridctl_jobs::range::TaskRange;
    use gridctl_jobs::spec::ItemList;
    use uuid::Uuid;

    use super::*;

    fn assign(item_bytes: usize) -> ToWorker {
        let text = "x".repeat(item_bytes);
        ToWorker::Assign {
            grant: Grant {
                token: Token::default(),
                stage: StageId { job: JobId(Uuid::nil()), stage: StageIndex(0) },
                range: TaskRange::one(0),
                attempt: 1,
                lanes: 1,
                items: Some([text.as_str()].into_iter().collect::<ItemList>()),
            },
        }
    }

    #[test]
    fn queue_of_a_worker_that_does_not_read_is_bounded_in_messages() {
        let (outbox, reader) = Outbox::new();
        for n in 0..MESSAGES_MAX {
            assert_eq!(outbox.push(ToWorker::Settled { up_to: n as u64 }), Ok(()), "{n}");
        }
        assert_eq!(outbox.push(ToWorker::Settled { up_to: 0 }), Err(Full));
        assert_eq!(reader.why_closed(), Some(Closing::DoesNotRead { messages: MESSAGES_MAX }));
    }

    #[test]
    fn queue_of_a_worker_that_does_not_read_is_bounded_in_bytes() {
        let (outbox, reader) = Outbox::new();
        assert_eq!(outbox.push(assign(BYTES_MAX + 1)), Ok(()), "one always fits");
        assert_eq!(outbox.push(assign(1)), Err(Full));
        assert_eq!(reader.why_closed(), Some(Closing::DoesNotRead { messages: 1 }));
    }

    #[tokio::test]
    async fn what_waits_is_delivered_before_the_end() {
        let (outbox, mut reader) = Outbox::new();
        outbox.push(ToWorker::Settled { up_to: 7 }).expect("there is room");
        outbox.close(CloseReason::Superseded);
        assert_eq!(reader.next().await, Some(ToWorker::Settled { up_to: 7 }));
        assert_eq!(reader.next().await, None);
        assert_eq!(reader.why_closed(), Some(Closing::Core(CoreReason(CloseReason::Superseded))));
    }
}
