//! The link to the coordinator: connects, says what the agent says, hears, beats, uploads.
//!
//! It has a thread and a runtime of its own, which nothing else runs on: neither a busy machine (tasks are
//! at nice 10) nor a busy agent delays a heartbeat. Within it heartbeats have a stream of their own, at
//! higher priority than everything else on the connection. Deliberately absent: what is said and when,
//! and trying again; that is the agent's.

mod beat;
mod session;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gridctl_transport::credentials::Credentials;
use gridctl_transport::message::worker::{UploadId, WorkerMessage};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::agent::{LinkId, TaskOutput};
use crate::events::Events;
use crate::parent::Vital;
use session::session;

/// How long the last words may take to reach the coordinator when a worker ends.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(3);

/// Where the coordinator is, and who this worker is to it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) addresses: Vec<String>,
    pub(crate) credentials: Credentials,
}

/// Something for a link to do.
#[derive(Debug)]
pub(crate) enum LinkCommand {
    Connect,
    /// Closes it once what was said before is out.
    Disconnect,
    Say(Say),
}

/// Something to say on a link.
#[derive(Debug)]
pub(crate) enum Say {
    Message(WorkerMessage),
    /// Complete before the report that follows.
    Upload(UploadId, Arc<TaskOutput>),
    Heartbeats {
        every_ms: u64,
    },
}

/// The reactor's end.
#[derive(Debug)]
pub(crate) struct Link {
    commands: UnboundedSender<(LinkId, LinkCommand)>,
    thread: JoinHandle<()>,
}

impl Link {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where neither thread nor runtime can be made.
    pub(crate) fn start(peer: Peer, events: Events) -> io::Result<Self> {
        let (commands, inbox) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("link".to_owned()).spawn(move || {
            let _vital = Vital;
            runtime.block_on(serve(inbox, Arc::new(peer), events));
        })?;
        Ok(Self { commands, thread })
    }

    /// Tells it to do something; links that are no more do nothing.
    pub(crate) fn tell(&self, link: LinkId, command: LinkCommand) {
        // The thread ends only after this end was dropped.
        let _ = self.commands.send((link, command));
    }

    /// Waits until the last words are out, for a while.
    pub(crate) fn join(self) {
        drop(self.commands);
        // A panic there was reported there.
        let _ = self.thread.join();
    }
}

/// What the agent says on one link, on its way; closed by the agent's `Disconnect`.
struct Outbox {
    link: LinkId,
    says: UnboundedSender<Say>,
}

async fn serve(
    mut commands: UnboundedReceiver<(LinkId, LinkCommand)>,
    peer: Arc<Peer>,
    events: Events,
) {
    let mut sessions = JoinSet::new();
    let mut current: Option<Outbox> = None;
    while let Some((link, command)) = commands.recv().await {
        while sessions.try_join_next().is_some() {}
        match command {
            LinkCommand::Connect => {
                let (says, outbox) = unbounded_channel();
                sessions.spawn(session(link, Arc::clone(&peer), outbox, events.clone()));
                current = Some(Outbox { link, says });
            }
            LinkCommand::Disconnect => drop(current.take_if(|current| current.link == link)),
            LinkCommand::Say(say) => {
                if let Some(current) = current.as_ref().filter(|current| current.link == link) {
                    // A session that has ended has said so; the agent hears of it next.
                    let _ = current.says.send(say);
                }
            }
        }
    }
    drop(current);
    let last_words = async { while sessions.join_next().await.is_some() {} };
    // Out of patience: the coordinator finds out by the lease.
    let _ = tokio::time::timeout(LAST_WORDS_WAIT, last_words).await;
}
