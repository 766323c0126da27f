//! Starting: open, recover, begin a life, and only then let anybody in.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use gridctl_core::effect::FactIndex;
use gridctl_core::event::Caller;
use gridctl_core::fact::UserRole;
use gridctl_core::scheduler::{Config, Scheduler};
use gridctl_core::state::{LOCAL_ADMIN, State};
use gridctl_jobs::id::Epoch;
use gridctl_transport::authority::{
    Authority, CoordinatorCertificate, IssueError, OpenAuthorityError,
};
use gridctl_transport::endpoint::{BindError, Listener, ServeError, ServingCertificate, Timing};
use gridctl_transport::message::client::TokenRole;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::backup::{self, HALF_RESTORED, RESTORED, RestoreError};
use crate::config::{CoordinatorConfig, Settings};
use crate::disk::{OpenDiskError, RealDisk};
use crate::failure::Failure;
use crate::handle::{CoordinatorHandle, Running};
use crate::history::{CatchUp, History, Missing};
use crate::journal::{
    JournalSender, JournalThread, OpenStoreError, Opened as OpenedStore, Recovered, Store,
    StoreConfig,
};
use crate::kept::{self, KeptError};
use crate::leases::Leases;
use crate::limits::STANDING_TOKEN_VALID_MS;
use crate::reactor::{Input, Reactor, ReactorHandle};
use crate::session::{self, Room, Shared, create_token};
use crate::space::{Space, SpaceConfig};
use crate::views::Views;
use crate::{addresses, clock};

/// Where in the data directory the authority has its files.
const AUTHORITY_DIR: &str = "authority";
/// How often the coordinator looks whether its certificate is to be made anew: a sleep until then would
/// not count the time that the machine is suspended.
const RENEWAL_CHECK_EVERY: Duration = Duration::from_secs(6 * 3600);

/// How often the coordinator looks after the room on its disk.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// The coordinator of a grid.
#[derive(Debug)]
pub struct Coordinator;

/// Why a coordinator cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory cannot be opened, or another process serves it.
    #[error(transparent)]
    Disk(#[from] OpenDiskError),
    /// The name of the grid or the port cannot be kept, or is another one.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// What is stored is damaged, or of a newer version.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The backup cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// An earlier restore was not brought to its end.
    #[error(
        "a backup was to be restored into {}, and that did not come to its end; remove the directory, and restore again",
        root.display()
    )]
    HalfRestored {
        /// The data directory.
        root: PathBuf,
    },
    /// The certificate authority cannot be opened.
    #[error(transparent)]
    Authority(#[from] OpenAuthorityError),
    /// The coordinator's own certificate cannot be made.
    #[error("the coordinator's own certificate cannot be made")]
    Certificate(#[source] IssueError),
    /// TLS does not take the coordinator's own certificate.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The port cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gives no thread, or no address of the socket.
    #[error("the system refused a thread or a socket")]
    System(#[source] io::Error),
    /// It failed before it served anybody.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What was found in the data directory.
struct Opened {
    store: Store,
    state: State,
    recovered: Recovered,
    /// What the history file lacks; `None` where none is kept.
    missing: Option<Missing>,
    /// It was restored, and no life has begun since.
    restored: bool,
    authority: Authority,
    grid: String,
    kept_port: Option<u16>,
}

impl Coordinator {
    /// Starts a coordinator in the runtime of the caller, and returns once it serves.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong and what to do about it; nothing is left running then.
    pub async fn start(config: CoordinatorConfig) -> Result<CoordinatorHandle, StartError> {
        let settings = config.settings().clone();
        let opened = tokio::task::spawn_blocking(move || open(&settings));
        let opened =
            opened.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let serving = ServingCertificate::new(own_certificate(&opened.authority, &opened.grid)?)?;
        let listener = listen(&config, &opened, &serving)?;
        let local = listener.local_address().map_err(StartError::System)?;
        let first_start = opened.recovered.last == FactIndex::default();

        let leases = Arc::new(Leases::new(config.lease_ms(), config.heartbeat_ms()));
        let views = Arc::new(Views::new(opened.state.clone(), Arc::clone(&leases)));
        let results = Arc::clone(opened.store.results());
        let space = Arc::clone(opened.store.space());
        let keeper = Arc::clone(opened.store.keeper());
        let (journal, journal_thread) =
            JournalThread::spawn(opened.store).map_err(StartError::System)?;
        let (reactor, inputs) = ReactorHandle::new();
        let before = opened.state.epoch();
        let core = Config {
            keep_ended_ms: config.keep_ended_ms(),
            ..Config::new(config.lease_ms(), seed())
        };
        let scheduler = Scheduler::new(core, opened.state);
        let loop_of = Reactor::new(
            scheduler,
            opened.recovered.last,
            journal.clone(),
            Arc::clone(&views),
            Arc::clone(&leases),
            &results,
            opened.restored,
        );
        let history = opened.missing.map(|missing| {
            let root = config.settings().data_dir.clone();
            let (feed, history) =
                History::start(root, missing, Arc::clone(&views), Arc::clone(&space))?;
            views.feed(feed);
            Ok(history)
        });
        let mut running =
            Running::new(journal_thread, history.transpose().map_err(StartError::System)?);
        spawn_reactor(loop_of, inputs, &mut running, journal)?;

        let epoch = first_epoch(&views, before, &space, &mut running).await?;
        if opened.restored {
            forget_restored(&config.settings().data_dir).map_err(StartError::System)?;
        }
        let shared = Arc::new(Shared {
            reactor,
            views,
            leases,
            results,
            space,
            keeper,
            authority: opened.authority,
            grid: opened.grid,
            epoch,
            heartbeat_ms: config.heartbeat_ms(),
            advertised: addresses::advertised(&config.settings().advertise, local),
            room: Room::default(),
            stopping: running.stopping(),
        });
        let worker_token = standing_token(&shared, &running).await?;
        tracing::info!(
            grid = shared.grid, address = %local, advertised = ?shared.advertised, epoch = epoch.0,
            facts = opened.recovered.last.0, "serving"
        );
        let_in(&mut running, &shared, listener, serving);
        Ok(CoordinatorHandle::new(shared, running, local, worker_token, first_start))
    }
}

/// Begins what serves peers, and what goes on beside it.
fn let_in(
    running: &mut Running,
    shared: &Arc<Shared>,
    listener: Listener,
    serving: ServingCertificate,
) {
    running.spawn(session::accept(listener, Arc::clone(shared), running.stopping()));
    running.spawn_helper({
        let shared = Arc::clone(shared);
        async move { shared.leases.keep_expiring(&shared.reactor).await }
    });
    running.spawn_helper(tend(Arc::clone(&shared.space)));
    running.spawn_helper(keep_certificate(Arc::clone(shared), serving));
}

fn open(settings: &Settings) -> Result<Opened, StartError> {
    let root = &*settings.data_dir;
    if let Some(backup) = &settings.restore {
        let restored = backup::restore(backup, root)?;
        tracing::warn!(
            backup = %backup.display(), facts = restored.last.0, taken_at_ms = restored.taken_at.0,
            "restored a backup: whatever was acknowledged after it was taken is gone"
        );
    }
    let disk = RealDisk::open(root)?;
    if root.join(HALF_RESTORED).exists() {
        return Err(StartError::HalfRestored { root: root.to_owned() });
    }
    let restored = root.join(RESTORED).exists();
    let grid = kept::grid_name(root, settings.grid.as_deref())?;
    let kept_port = kept::port(root)?;
    let authority = Authority::open_or_create(&root.join(AUTHORITY_DIR), SystemTime::now())?;
    let mut catch_up = settings.history.then(|| CatchUp::read(root));
    let space = SpaceConfig::with_reserve(settings.reserve_bytes);
    let config = StoreConfig { space, ..StoreConfig::default() };
    let OpenedStore { store, state, recovered } =
        Store::open(Arc::new(disk), config, &mut |index, fact| {
            if let Some(catch_up) = &mut catch_up {
                catch_up.see(index, fact);
            }
        })?;
    let missing = catch_up.map(|catch_up| catch_up.end(recovered.last, &state));
    for snapshot in &recovered.passed_over {
        tracing::warn!(
            file = %snapshot.file.display(), what = snapshot.what,
            "a snapshot is damaged; an older one was read, and the journal from there on"
        );
    }
    if let Some(cut) = &recovered.cut {
        tracing::warn!(
            file = %cut.file.display(), offset = cut.offset, after = cut.after.0,
            "the last write of the journal was not whole and never acknowledged; it was cut"
        );
    }
    Ok(Opened { store, state, recovered, missing, restored, authority, grid, kept_port })
}

fn own_certificate(
    authority: &Authority,
    grid: &str,
) -> Result<CoordinatorCertificate, StartError> {
    authority.coordinator_certificate(grid, SystemTime::now()).map_err(StartError::Certificate)
}

/// Takes the port before anything is begun; nobody is let in yet.
fn listen(
    config: &CoordinatorConfig,
    opened: &Opened,
    serving: &ServingCertificate,
) -> Result<Listener, StartError> {
    let settings = config.settings();
    let picks = settings.listen.port() == 0;
    let mut address = settings.listen;
    if let Some(port) = opened.kept_port.filter(|_| picks) {
        address.set_port(port);
    }
    let timing = Timing::for_lease(settings.lease);
    let listener = Listener::bind(address, &opened.authority, serving.clone(), timing)?;
    if picks && opened.kept_port.is_none() {
        let port = listener.local_address().map_err(StartError::System)?.port();
        kept::keep_port(&settings.data_dir, port)?;
    }
    Ok(listener)
}

/// Gives the reactor a thread of its own: however many sessions are awake, it gets a turn.
fn spawn_reactor(
    reactor: Reactor,
    inputs: mpsc::Receiver<Input>,
    running: &mut Running,
    journal: JournalSender,
) -> Result<(), StartError> {
    let runtime = Handle::current();
    let stop = running.reactor_stops();
    let ended = running.reactor_ended();
    let run = move || {
        let outcome = runtime.block_on(reactor.run(inputs, stop));
        // The last sender: with it gone, the journal ends too.
        drop(journal);
        ended.tell(outcome.map_err(Failure::from));
    };
    let thread =
        thread::Builder::new().name("reactor".to_owned()).spawn(run).map_err(StartError::System)?;
    running.reactor_thread(thread);
    Ok(())
}

/// Takes note that a life has begun since a restore.
fn forget_restored(root: &Path) -> io::Result<()> {
    std::fs::remove_file(root.join(RESTORED))?;
    std::fs::File::open(root)?.sync_all()
}

/// Waits until this life's epoch is durable: nobody is welcomed by an epoch that could be given out again.
async fn first_epoch(
    views: &Views,
    before: Epoch,
    space: &Space,
    running: &mut Running,
) -> Result<Epoch, StartError> {
    let mut changes = views.changes();
    loop {
        if space.is_waiting() {
            // Nobody can be let in, so nobody waits: better an error than a service that does not serve.
            space.stop_waiting();
        }
        let epoch = views.epoch();
        if epoch > before {
            return Ok(epoch);
        }
        tokio::select! {
            changed = changes.changed() => changed.expect("the views are here"),
            failure = running.failed() => return Err(failure.into()),
            () = tokio::time::sleep(TEND_EVERY) => {}
        }
    }
}

/// Looks after the room on the disk.
async fn tend(space: Arc<Space>) {
    let mut ticks = tokio::time::interval(TEND_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let space = Arc::clone(&space);
        // Where it panicked, it said so; the journal finds out by itself that there is room.
        let _ = tokio::task::spawn_blocking(move || space.tend()).await;
    }
}

/// Makes the token of the line `gridctl worker --join TOKEN`: any number of workers, for a day.
async fn standing_token(shared: &Shared, running: &Running) -> Result<String, StartError> {
    let caller = Caller { user: LOCAL_ADMIN, role: UserRole::Admin };
    let made = create_token(shared, caller, TokenRole::Worker, None, STANDING_TOKEN_VALID_MS);
    match made.await {
        Ok(Ok((_, text))) => Ok(text),
        Ok(Err(refused)) => unreachable!("an admin may make join tokens: {}", refused.message),
        Err(_) => Err(running.failed().await.into()),
    }
}

/// Makes the coordinator's own certificate anew when half its time has passed.
async fn keep_certificate(shared: Arc<Shared>, serving: ServingCertificate) {
    let mut renew_at = SystemTime::now() + gridctl_transport::authority::CERTIFICATE_LIFETIME / 2;
    loop {
        tokio::time::sleep(RENEWAL_CHECK_EVERY).await;
        if SystemTime::now() < renew_at {
            continue;
        }
        match own_certificate(&shared.authority, &shared.grid) {
            Ok(certificate) => {
                let next = certificate.renew_at();
                match serving.replace(certificate) {
                    Ok(()) => renew_at = next,
                    Err(error) => {
                        tracing::error!(%error, "the coordinator's new certificate cannot be used")
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "the coordinator's certificate cannot be made anew")
            }
        }
    }
}

/// Of the jitter of retries: anything will do that differs from life to life.
fn seed() -> u64 {
    clock::wall().0
}
