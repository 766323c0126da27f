//! A running coordinator, as whoever started it holds it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use gridctl_core::state::LOCAL_ADMIN;
use gridctl_transport::authority::IssueError;
use gridctl_transport::credentials::{Credentials, NewKey, SaveCredentialsError};
use gridctl_transport::identity::{Identity, NameError, Role};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use crate::failure::Failure;
use crate::history::History;
use crate::journal::JournalThread;
use crate::session::Shared;

/// A running coordinator. Dropping it stops it too, but nobody waits for that: use
/// [`CoordinatorHandle::shutdown`].
pub struct CoordinatorHandle {
    shared: Arc<Shared>,
    running: Running,
    local: SocketAddr,
    worker_token: String,
    first_start: bool,
}

/// Why the local admin has no profile.
#[derive(Debug, Error)]
pub enum EnrolLocalAdminError {
    /// The key or the certificate cannot be written.
    #[error(transparent)]
    Save(#[from] SaveCredentialsError),
    /// The certificate cannot be signed.
    #[error("the certificate of the local admin cannot be signed")]
    Issue(#[from] IssueError),
    /// The name of the local admin cannot stand in a certificate.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl CoordinatorHandle {
    pub(crate) fn new(
        shared: Arc<Shared>,
        running: Running,
        local: SocketAddr,
        worker_token: String,
        first_start: bool,
    ) -> Self {
        Self { shared, running, local, worker_token, first_start }
    }

    /// Returns where it listens.
    pub const fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Returns the addresses (`HOST:PORT`) that are written into join tokens and profiles: what the settings
    /// say, else the address that it was told to listen on, else every address of the machine, loopback last.
    pub fn advertised(&self) -> &[String] {
        &self.shared.advertised
    }

    /// Returns what the grid is called.
    pub fn grid(&self) -> &str {
        &self.shared.grid
    }

    /// Returns the text of a join token made at this start: any number of workers, for 24 hours.
    pub fn worker_token(&self) -> &str {
        &self.worker_token
    }

    /// Says whether this was the first start over this data directory.
    pub const fn is_first_start(&self) -> bool {
        self.first_start
    }

    /// Writes fresh credentials of the local admin into `directory`: the same identity at every start. Blocks
    /// on the file system.
    ///
    /// # Errors
    /// [`EnrolLocalAdminError`] where they cannot be signed or written.
    pub fn enrol_local_admin(&self, directory: &Path) -> Result<Credentials, EnrolLocalAdminError> {
        let name = self
            .shared
            .views
            .user_name(LOCAL_ADMIN)
            .expect("the local admin is there from the beginning");
        let identity = Identity::new(Role::Admin, LOCAL_ADMIN.0, name)?;
        let key = NewKey::open_or_create(directory)?;
        let authority = &self.shared.authority;
        let certificate = authority.issue(&key.signing_request()?, &identity, SystemTime::now())?;
        Ok(key.save(&certificate, authority.certificate())?)
    }

    /// Waits until the coordinator stops by itself, and says why; never returns while it serves. May be
    /// cancelled and called again.
    pub async fn failed(&self) -> Failure {
        self.running.failed().await
    }

    /// Stops in order: what has come in is decided and made durable, workers are told, connections closed.
    ///
    /// # Errors
    /// [`Failure`] where it had failed before, or failed meanwhile.
    pub async fn shutdown(self) -> Result<(), Failure> {
        // What waits for room on a full disk waits no longer; nobody was told that it is durable.
        self.shared.space.stop_waiting();
        self.running.shut_down().await
    }
}

/// What runs, and what stops it.
pub(crate) struct Running {
    stop_reactor: watch::Sender<bool>,
    stop_sessions: watch::Sender<bool>,
    ended: watch::Receiver<Option<Result<(), Failure>>>,
    tell_ended: Option<Ended>,
    reactor: Option<thread::JoinHandle<()>>,
    journal: JournalThread,
    history: Option<History>,
    accepting: Option<JoinHandle<()>>,
    /// Ended with us.
    helpers: JoinSet<()>,
}

/// Tells how the reactor ended; dropped untold, that it broke.
pub(crate) struct Ended(watch::Sender<Option<Result<(), Failure>>>, watch::Sender<bool>);

impl Ended {
    pub(crate) fn tell(self, outcome: Result<(), Failure>) {
        self.0.send_replace(Some(outcome));
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.send_if_modified(|outcome| {
            let untold = outcome.is_none();
            if untold {
                *outcome = Some(Err(Failure::Broken { thread: "scheduler" }));
            }
            untold
        });
        // Nothing will be decided any more: sessions say goodbye.
        self.1.send_replace(true);
    }
}

impl Running {
    pub(crate) fn new(journal: JournalThread, history: Option<History>) -> Self {
        let (tell, ended) = watch::channel(None);
        let stop_sessions = watch::Sender::new(false);
        Self {
            stop_reactor: watch::Sender::new(false),
            tell_ended: Some(Ended(tell, stop_sessions.clone())),
            stop_sessions,
            ended,
            reactor: None,
            journal,
            history,
            accepting: None,
            helpers: JoinSet::new(),
        }
    }

    /// Turns true when the reactor is to end.
    pub(crate) fn reactor_stops(&self) -> watch::Receiver<bool> {
        self.stop_reactor.subscribe()
    }

    /// Turns true when sessions are to end.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop_sessions.subscribe()
    }

    pub(crate) fn reactor_ended(&mut self) -> Ended {
        self.tell_ended.take().expect("there is one reactor")
    }

    pub(crate) fn reactor_thread(&mut self, thread: thread::JoinHandle<()>) {
        self.reactor = Some(thread);
    }

    /// Spawns what lets peers in.
    pub(crate) fn spawn(&mut self, accepting: impl Future<Output = ()> + Send + 'static) {
        self.accepting = Some(tokio::spawn(accepting));
    }

    /// Spawns something that ends with the coordinator.
    pub(crate) fn spawn_helper(&mut self, helper: impl Future<Output = ()> + Send + 'static) {
        self.helpers.spawn(helper);
    }

    /// Waits until the reactor ends otherwise than it was told to.
    pub(crate) async fn failed(&self) -> Failure {
        let mut ended = self.ended.clone();
        let outcome =
            ended.wait_for(|ended| matches!(ended, Some(Err(_)))).await.map(|ended| ended.clone());
        match outcome {
            Ok(Some(Err(failure))) => failure,
            // It ended in order, so it will never fail.
            Ok(Some(Ok(())) | None) | Err(_) => std::future::pending().await,
        }
    }

    async fn shut_down(mut self) -> Result<(), Failure> {
        self.stop_reactor.send_replace(true);
        // An error means that it was told before the sender went: the outcome is there all the same.
        let _ = self.ended.wait_for(Option::is_some).await;
        let outcome =
            self.ended.borrow().clone().unwrap_or(Err(Failure::Broken { thread: "scheduler" }));
        self.helpers.shutdown().await;
        self.stop_sessions.send_replace(true);
        if let Some(accepting) = self.accepting.take() {
            // Where it panicked, its connections are closed already.
            let _ = accepting.await;
        }
        let (journal, history, reactor) = (self.journal, self.history, self.reactor.take());
        let joined = spawn_blocking(move || {
            let synced = journal.join();
            // Its outcome was told; where it panicked, that is the outcome.
            let _ = reactor.map(thread::JoinHandle::join);
            // What readers saw last is in it too.
            if let Some(history) = history {
                history.stop();
            }
            synced
        });
        match joined.await {
            Ok(Ok(())) => outcome,
            Ok(Err(error)) => outcome.and(Err(Failure::Journal { error })),
            Err(_) => Err(Failure::Broken { thread: "journal" }),
        }
    }
}
