//! The journal's own thread: drain, encode, write, sync, publish; as fast as the disk, without a timer.
//!
//! It is a thread of its own since on a busy machine the wait for a cpu costs more than the disk.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gridctl_core::effect::FactIndex;
use tokio::sync::{mpsc, watch};

use super::error::CommitError;
use super::group::FactGroup;
use super::store::Store;
use crate::keeping::{Keeper, KeepingError, Swept};
use crate::space::Space;

/// Groups that wait at most: what arrives while one sync runs, a few times over. Whoever makes more waits.
const QUEUE_GROUPS_MAX: usize = 4096;

/// How often a write that found no room is tried again, if nobody says that there is some before.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(1);
/// Between the beginnings of two sweeps: whoever forgets many jobs, one by one, pays for a few only.
const APART: Duration = Duration::from_secs(10);

/// How far the journal is.
#[derive(Clone, Debug)]
pub enum Durability {
    /// It goes on.
    Running {
        /// The last durable fact.
        durable: FactIndex,
    },
    /// It ended in order: every group that was sent is durable.
    Stopped {
        /// The last durable fact.
        durable: FactIndex,
    },
    /// The disk failed; nothing more will be durable in this life.
    Failed {
        /// The last fact that is durable for certain.
        durable: FactIndex,
        /// What the disk said.
        error: Arc<CommitError>,
    },
}

impl Durability {
    /// Returns the last fact that is durable for certain.
    pub const fn durable(&self) -> FactIndex {
        match self {
            Self::Running { durable }
            | Self::Stopped { durable }
            | Self::Failed { durable, .. } => *durable,
        }
    }
}

/// The journal takes no more facts; [`JournalSender::durability`] says why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the journal has stopped")]
pub struct JournalStopped;

/// Hands groups of facts to the journal, and sees how far it is. When the last one is dropped, the journal
/// commits what it was sent and ends.
#[derive(Clone, Debug)]
pub struct JournalSender {
    queue: mpsc::Sender<FactGroup>,
    durability: watch::Receiver<Durability>,
}

impl JournalSender {
    /// Queues a group; waits where the journal is behind.
    ///
    /// # Errors
    /// [`JournalStopped`] where the disk failed.
    pub async fn send(&self, group: FactGroup) -> Result<(), JournalStopped> {
        self.queue.send(group).await.map_err(|_| JournalStopped)
    }

    /// Queues a group if there is room, else gives it back.
    ///
    /// # Errors
    /// [`JournalStopped`] where the disk failed.
    pub fn try_send(&self, group: FactGroup) -> Result<Option<FactGroup>, JournalStopped> {
        match self.queue.try_send(group) {
            Ok(()) => Ok(None),
            Err(mpsc::error::TrySendError::Full(group)) => Ok(Some(group)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(JournalStopped),
        }
    }

    /// Returns what tells how far the journal is; it changes with every sync.
    pub fn durability(&self) -> watch::Receiver<Durability> {
        self.durability.clone()
    }
}

/// The running thread.
#[derive(Debug)]
pub struct JournalThread {
    thread: thread::JoinHandle<Result<(), Arc<CommitError>>>,
}

impl JournalThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`std::io::Error`] where the system gives no thread.
    pub fn spawn(store: Store) -> std::io::Result<(JournalSender, Self)> {
        let (queue, groups) = mpsc::channel(QUEUE_GROUPS_MAX);
        let (publish, durability) =
            watch::channel(Durability::Running { durable: store.durable() });
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || run(store, groups, &publish))?;
        Ok((JournalSender { queue, durability }, Self { thread }))
    }

    /// Waits for the end: until every sender is dropped and all is durable, or the disk fails. Blocks.
    ///
    /// # Errors
    /// [`CommitError`] where the disk failed.
    ///
    /// # Panics
    /// Where the thread panicked.
    pub fn join(self) -> Result<(), Arc<CommitError>> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn run(
    mut store: Store,
    mut groups: mpsc::Receiver<FactGroup>,
    publish: &watch::Sender<Durability>,
) -> Result<(), Arc<CommitError>> {
    let space = Arc::clone(store.space());
    let mut sweeps = Sweeps { keeper: Arc::clone(store.keeper()), begun: None, running: None };
    while let Some(group) = groups.blocking_recv() {
        let mut has_room = store.stage(&group);
        while has_room && let Ok(group) = groups.try_recv() {
            has_room = store.stage(&group);
        }
        let durable = store.durable();
        match commit(&mut store, &space) {
            // Where a sweep has failed for good, that is not undone.
            Ok(durable) => publish.send_if_modified(|now| {
                let runs = matches!(now, Durability::Running { .. });
                if runs {
                    *now = Durability::Running { durable };
                }
                runs
            }),
            Err(error) => {
                let error = Arc::new(error);
                tracing::error!(%error, source = error_source(&error), "the journal stops");
                publish.send_replace(Durability::Failed { durable, error: Arc::clone(&error) });
                return Err(error);
            }
        };
        make_next_segment(&mut store);
        sweeps.begin(&mut store, publish);
    }
    sweeps.end();
    publish.send_replace(Durability::Stopped { durable: store.durable() });
    Ok(())
}

/// Commits, however long there is no room: the write that found none is tried again, in its order, until there is
/// some or the coordinator stops.
fn commit(store: &mut Store, space: &Space) -> Result<FactIndex, CommitError> {
    loop {
        match store.commit() {
            Err(error) if error.is_no_room() && space.wait(TRY_AGAIN_EVERY) => {}
            done => return done,
        }
    }
}

/// The sweep that runs on a thread of its own, if one does: the data directory is in use until it has ended.
struct Sweeps {
    keeper: Arc<Keeper>,
    /// When the last one began.
    begun: Option<Instant>,
    running: Option<thread::JoinHandle<()>>,
}

impl Sweeps {
    /// Begins a sweep when it is time to.
    fn begin(&mut self, store: &mut Store, publish: &watch::Sender<Durability>) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let Some(sweep) = store.sweep() else { return };
        let delay =
            self.begun.map_or(Duration::ZERO, |begun| APART.saturating_sub(begun.elapsed()));
        self.begun = Some(Instant::now() + delay);
        let (keeper, publish) = (Arc::clone(&self.keeper), publish.clone());
        let run = move || {
            keeper.wait(delay);
            tell(sweep(), &publish);
        };
        match thread::Builder::new().name("snapshot".to_owned()).spawn(run) {
            Ok(running) => self.running = Some(running),
            Err(error) => tracing::warn!(%error, "no thread for making a snapshot"),
        }
    }

    /// Waits until none runs, soon.
    fn end(&mut self) {
        self.keeper.stop();
        if let Some(Err(panic)) = self.running.take().map(thread::JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Sweeps {
    fn drop(&mut self) {
        self.keeper.stop();
        // Where it panicked while this ends with an error, that one is told.
        let _ = self.running.take().map(thread::JoinHandle::join);
    }
}

/// Says what a sweep came to; ends the journal where a sync failed.
fn tell(swept: Result<Option<Swept>, KeepingError>, publish: &watch::Sender<Durability>) {
    match swept {
        Ok(Some(Swept { snapshot, journal_segments, results })) => tracing::info!(
            facts = snapshot.0,
            journal_segments,
            result_segments = results.removed,
            rewritten = results.rewritten,
            "made a snapshot, and cleared away what it replaces"
        ),
        Ok(None) | Err(KeepingError::Stopping) => {}
        Err(error) if error.is_final() => {
            let durable = publish.borrow().durable();
            let error = Arc::new(CommitError::Keeping { durable, source: error });
            tracing::error!(%error, source = error_source(&error), "the journal stops");
            publish.send_replace(Durability::Failed { durable, error });
        }
        Err(error) => tracing::warn!(
            %error, source = error_source(&error), "no snapshot was made; tried again later"
        ),
    }
}

/// Starts to make the next segment ahead when it is time to: 64 MiB of zeros would hold up many syncs.
fn make_next_segment(store: &mut Store) {
    let Some(make) = store.next_segment() else { return };
    match thread::Builder::new().name("journal-ahead".to_owned()).spawn(make) {
        Ok(made) => store.adopt_next(Box::new(move || {
            made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })),
        // The segment is then made when it is needed.
        Err(error) => tracing::warn!(%error, "no thread for making a journal segment ahead"),
    }
}

fn error_source(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut source = error.source();
    while let Some(error) = source {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
