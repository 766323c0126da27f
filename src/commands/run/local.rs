//! A whole grid inside this process: a coordinator and a worker on loopback, over real QUIC.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gridctl_coordinator::{
    ConfigError, Coordinator, CoordinatorConfig, CoordinatorHandle, EnrolLocalAdminError, Failure,
    Settings, StartError,
};
use gridctl_transport::credentials::Credentials;
use gridctl_transport::join_token::{JoinToken, ParseTokenError};
use gridctl_worker::parent::Supervision;
use gridctl_worker::{Functions, StartWorkerError, Worker, WorkerConfig, WorkerHandle};
use tempfile::TempDir;
use thiserror::Error;
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::profile::Profile;

/// What the worker is called in tables and messages.
const WORKER_NAME: &str = "local";
/// How long a worker may take to stop: its tasks are killed, and what does not go is killed by the parent.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long the coordinator may take to stop.
const FAREWELL_PATIENCE: Duration = Duration::from_millis(20);

/// A grid that lives as long as one command.
pub(super) struct LocalGrid {
    coordinator: CoordinatorHandle,
    worker: WorkerHandle,
    profile: Profile,
    /// Removed when everything has stopped.
    _temporary: Option<TempDir>,
}

/// Why a local grid does not start.
#[derive(Debug, Error)]
pub(crate) enum StartLocalError {
    #[error(
        "cannot make a temporary directory; check TMPDIR, or choose a directory with --data-dir"
    )]
    Temporary(#[source] io::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Coordinator(#[from] Box<StartError>),
    #[error(transparent)]
    Admin(#[from] EnrolLocalAdminError),
    #[error("the coordinator's own join token cannot be read")]
    Token(#[from] ParseTokenError),
    #[error(transparent)]
    Worker(#[from] Box<StartWorkerError>),
}

impl LocalGrid {
    /// Starts both in `data_dir`, or in a directory that is removed afterwards.
    ///
    /// # Errors
    /// See [`StartLocalError`]; nothing is left running then.
    pub(super) async fn start(
        data_dir: Option<&Path>,
        above: &Supervision,
    ) -> Result<Self, StartLocalError> {
        let (root, temporary) = root(data_dir)?;
        if let Some(temporary) = &temporary {
            above.remove_afterwards(temporary.path()).map_err(StartLocalError::Temporary)?;
        }
        let mut settings = Settings::new(root.join("coordinator"));
        settings.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        if data_dir.is_none() {
            // What is removed at the end of the command holds no room back from others, and nobody asks it.
            settings.reserve_bytes = 0;
            settings.history = false;
        }
        let config = CoordinatorConfig::new(settings)?;
        let coordinator = Coordinator::start(config).await.map_err(Box::new)?;
        let token: JoinToken = coordinator.worker_token().parse()?;
        // Each of the two waits for the disk several times.
        let worker =
            tokio::spawn(Worker::start(worker_config(&root, token, above), Functions::new()));
        let identity = root.join("client");
        block_in_place(|| coordinator.enrol_local_admin(&identity))?;
        let profile = Profile::unlisted("local", identity, coordinator.advertised().to_vec());
        let started = worker.await.expect("starting a worker neither panics nor is cancelled");
        let worker = started.map_err(Box::new)?;
        Ok(Self { coordinator, worker, profile, _temporary: temporary })
    }

    /// Returns how a client reaches it.
    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Waits until the coordinator fails.
    pub(super) async fn failed(&self) -> Failure {
        self.coordinator.failed().await
    }

    /// Stops both, and kills what still runs.
    pub(super) async fn stop(mut self) {
        self.worker.stop();
        // What does not go in time is killed by the parent.
        _ = timeout(STOP_PATIENCE, self.worker.wait()).await;
        // Everything of worth is durable. What remains is to see every peer off, which takes QUIC 80 ms,
        // and the peers are in this process.
        _ = timeout(FAREWELL_PATIENCE, self.coordinator.shutdown()).await;
    }
}

/// Returns where the worker of a grid in `root` keeps its own.
pub(super) fn worker_dir(root: &Path) -> PathBuf {
    root.join("worker")
}

fn worker_config(root: &Path, token: JoinToken, above: &Supervision) -> WorkerConfig {
    let mut config = WorkerConfig::new(worker_dir(root));
    config.supervision = above.clone();
    // In a directory that is used again it has joined before.
    let has_joined = Credentials::load(&config.data_dir.join("identity")).is_ok();
    config.join = Some(token).filter(|_| !has_joined);
    config.name = Some(WORKER_NAME.to_owned());
    config.grace = Duration::ZERO;
    // The coordinator dies with it: nobody could give its tasks away.
    config.ends_trees = true;
    config
}

fn root(data_dir: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), StartLocalError> {
    if let Some(data_dir) = data_dir {
        return Ok((data_dir.to_owned(), None));
    }
    let temporary = tempfile::Builder::new().prefix("gridctl-run-").tempdir();
    let temporary = temporary.map_err(StartLocalError::Temporary)?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}
