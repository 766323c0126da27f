//! The whole worker: joins if it has to, starts its threads, and is a handle to them.

use std::io;
use std::thread;

use gridctl_transport::FileError;
use gridctl_transport::credentials::{Credentials, LoadCredentialsError};
use gridctl_transport::endpoint::{JoinError, join};
use gridctl_transport::handshake::EpochMemory;
use gridctl_transport::identity::Role;
use gridctl_transport::join_token::JoinToken;
use tokio::sync::oneshot;
use tracing::info;

use crate::agent::{Agent, AgentConfig, AgentEvent};
use crate::alarm::Alarm;
use crate::config::{DataDir, DataDirError, WorkerConfig};
use crate::events::Events;
use crate::executor::Executor;
use crate::functions::Functions;
use crate::link::{Link, Peer};
use crate::memory::{Content, Memory, MemoryError};
use crate::parent::{Trees, Vital};
use crate::reactor::{Reactor, WorkerEnd};
use crate::scratch::ScratchRoot;
use crate::spill::Spill;

/// A worker.
#[derive(Clone, Copy, Debug)]
pub struct Worker;

/// A worker that runs in this process. It stops, at once, when this is dropped.
#[derive(Debug)]
pub struct WorkerHandle {
    name: String,
    events: Events,
    end: oneshot::Receiver<WorkerEnd>,
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartWorkerError {
    /// See [`DataDirError`].
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// See [`MemoryError`].
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// See [`JoinError`].
    #[error(transparent)]
    Join(#[from] JoinError),
    /// See [`LoadCredentialsError`].
    #[error(transparent)]
    Identity(#[from] LoadCredentialsError),
    /// The identity in the data directory is another one's.
    #[error(
        "the identity {name} is that of a {role}, and runs no tasks; join with a token for workers: gridctl worker --join TOKEN"
    )]
    NoWorker {
        /// Of the identity.
        name: String,
        /// Of the identity.
        role: Role,
    },
    /// The file of the epochs that it has seen.
    #[error(transparent)]
    Epoch(FileError),
    /// An identity without an address: `worker.json` was removed.
    #[error(
        "this worker does not know where its coordinator is; join again: gridctl worker --join TOKEN"
    )]
    NoAddress,
    /// Neither tmpfs nor data directory takes scratch directories.
    #[error(
        "no scratch directory can be made; check the space and permissions of the data directory"
    )]
    Scratch(#[source] io::Error),
    /// A thread cannot be made.
    #[error("a thread cannot be made; check the limits of this account (ulimit -u)")]
    Thread(#[source] io::Error),
}

impl Worker {
    /// Joins with the token, if there is one that was not used before, and starts working. The caller's
    /// runtime is used to join; what follows has threads of its own. It does not wait for the
    /// coordinator to be there.
    ///
    /// # Errors
    /// See [`StartWorkerError`].
    pub async fn start(
        config: WorkerConfig,
        functions: Functions,
    ) -> Result<WorkerHandle, StartWorkerError> {
        let data = DataDir::open_below(&config.data_dir, &config.supervision)?;
        let mut memory = Memory::load(data.path())?;
        let credentials = identity(&config, &data, &mut memory).await?;
        let name = credentials.identity().name().to_owned();
        let role = credentials.identity().role();
        if role != Role::Worker {
            return Err(StartWorkerError::NoWorker { name, role });
        }
        let epochs = EpochMemory::open(&credentials).map_err(StartWorkerError::Epoch)?;
        let addresses = memory.content().addresses.clone();
        if addresses.is_empty() {
            return Err(StartWorkerError::NoAddress);
        }
        let agent = Agent::new(AgentConfig {
            cpus: config.cpus(),
            machine: data.machine(),
            process: std::array::from_fn(|_| fastrand::u8(..)),
            life: memory.begin_life()?,
            predecessor_gone: config.predecessor_gone,
            ends_trees: config.ends_trees,
            epoch_seen: epochs.seen(),
            grace_ms: u64::try_from(config.grace.as_millis()).unwrap_or(u64::MAX),
            seed: fastrand::u64(..),
        });
        let scratch =
            ScratchRoot::make(data.path(), &data.unique()).map_err(StartWorkerError::Scratch)?;
        config.supervision.remove_afterwards(scratch.path()).map_err(StartWorkerError::Scratch)?;
        // Nothing runs yet, whatever ran before.
        config.supervision.stop_until(None);
        let adopts = config.supervision.trees() != Trees::Groups;
        tell_trees(config.supervision.trees());
        let (events, inbox) = Events::new();
        let alarm = Alarm::start(events.clone()).map_err(StartWorkerError::Thread)?;
        let spill = Spill::new(data.path());
        let executor = Executor::new(functions, scratch, spill, adopts, events.clone());
        let link = Link::start(Peer { addresses, credentials }, events.clone())
            .map_err(StartWorkerError::Thread)?;
        let supervision = config.supervision;
        let reactor = Reactor::new(agent, executor, link, epochs, inbox, alarm, supervision);
        let (ended, end) = oneshot::channel();
        thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || {
                let _vital = Vital;
                let how = reactor.run();
                // Others may use it from now on.
                drop(data);
                // Nobody waits any more where it fails.
                let _ = ended.send(how);
            })
            .map_err(StartWorkerError::Thread)?;
        Ok(WorkerHandle { name, events, end })
    }
}

impl WorkerHandle {
    /// Returns what the coordinator calls this worker.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins nothing more, finishes what runs within the grace, gives back the rest, says goodbye.
    pub fn drain(&self) {
        self.events.send(AgentEvent::Drain);
    }

    /// Ends the worker at once: what runs is killed. The coordinator finds out by the lease.
    pub fn stop(&self) {
        self.events.stop();
    }

    /// Waits until the worker has ended, and says how. Nothing that it started runs any more then, but
    /// functions that do not return. May be cancelled.
    pub async fn wait(&mut self) -> WorkerEnd {
        // Its thread sends before it ends; where it panicked, that was reported there.
        (&mut self.end).await.unwrap_or(WorkerEnd::Stopped)
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.events.stop();
    }
}

/// Loads who this worker is, or joins.
async fn identity(
    config: &WorkerConfig,
    data: &DataDir,
    memory: &mut Memory,
) -> Result<Credentials, StartWorkerError> {
    let loaded = Credentials::load(&data.identity());
    let Some(token) = &config.join else { return Ok(loaded?) };
    // A service starts with the same command line every time.
    if let Ok(credentials) = loaded
        && memory.content().token == hash(token)
        && credentials.check(std::time::SystemTime::now()).is_ok()
    {
        return Ok(credentials);
    }
    let joined = join(token, &config.name(), true, &data.identity()).await?;
    memory.replace(Content {
        grid: joined.grid.clone(),
        addresses: token.addresses().to_vec(),
        token: hash(token),
        lives: memory.content().lives,
    })?;
    info!("joined grid {} as {}", joined.grid, joined.credentials.identity().name());
    Ok(joined.credentials)
}

/// Says in the log how sure the end of a process tree is.
fn tell_trees(trees: Trees) {
    match trees {
        Trees::Namespace => info!("tasks run in a pid namespace, and end with this worker"),
        Trees::Adopted => info!(
            "no pid namespace is to be had (it takes CAP_SYS_ADMIN): the worker adopts what tasks leave, and ends it"
        ),
        Trees::Groups => info!("what tasks leave behind in sessions of their own is not ended"),
    }
}

/// Names a token without giving it away.
fn hash(token: &JoinToken) -> String {
    blake3::hash(token.to_string().as_bytes()).to_hex().to_string()
}
