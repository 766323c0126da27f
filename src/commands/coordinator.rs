//! `gridctl coordinator`.

use std::io::{self, IsTerminal as _, Write as _, stdout};
use std::path::{Path, PathBuf};

use gridctl_coordinator::config::{ConfigError, CoordinatorConfig, Settings};
use gridctl_coordinator::{
    Coordinator, CoordinatorHandle, EnrolLocalAdminError, Failure, StartError,
};
use gridctl_transport::join_token::AuthorityHash;
use rustix::fs::FileType;
use thiserror::Error;

use super::signals::Signals;
use super::{Ended, log};
use crate::cli::CoordinatorOptions;
use crate::config;
use crate::dirs::Dirs;
use crate::error::{CommandError, Exit, with_causes};
use crate::output::screen::Screen;
use crate::profile::{KeepProfileError, PickProfileError, Profile, ProfileFile, Profiles};

/// The file of settings, below the configuration directory.
const FILE: &str = "coordinator.toml";
/// The default data directory, below the state directory.
const DATA_DIR: &str = "coordinator";

/// Why there is no coordinator (any more).
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] Box<StartError>),
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why the local admin has no profile; the coordinator serves all the same.
#[derive(Debug, Error)]
enum LocalProfileError {
    #[error(transparent)]
    Enrol(#[from] EnrolLocalAdminError),
    #[error(transparent)]
    Pick(#[from] PickProfileError),
    #[error(transparent)]
    Keep(#[from] KeepProfileError),
}

impl ServeError {
    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Usage,
            Self::Start(_) | Self::Failed(_) => Exit::Machine,
        }
    }
}

/// Serves a grid until a signal comes.
pub(super) fn coordinator(options: CoordinatorOptions, screen: Screen) -> Ended {
    let dirs = Dirs::new()?;
    let file = config::read(&dirs.config().join(FILE))?.unwrap_or_default();
    let config =
        CoordinatorConfig::new(settings(options.or(file), &dirs)).map_err(ServeError::from)?;
    log::init(screen);
    let runtime = tokio::runtime::Runtime::new().map_err(CommandError::Runtime)?;
    let ended = runtime.block_on(serve(config, &Profiles::new(&dirs)));
    runtime.shutdown_background();
    ended
}

fn settings(options: CoordinatorOptions, dirs: &Dirs) -> Settings {
    let data_dir = options.data_dir.unwrap_or_else(|| dirs.state().join(DATA_DIR));
    let default = Settings::new(data_dir);
    Settings {
        listen: options.listen.unwrap_or(default.listen),
        advertise: options.advertise.unwrap_or_default(),
        lease: options.lease.unwrap_or(default.lease),
        heartbeat: options.heartbeat,
        keep_ended: options.keep_ended,
        restore: options.restore,
        grid: options.grid,
        history: default.history,
        reserve_bytes: options.reserve.unwrap_or(default.reserve_bytes),
        data_dir: default.data_dir,
    }
}

async fn serve(config: CoordinatorConfig, profiles: &Profiles) -> Ended {
    let mut signals = Signals::new().map_err(CommandError::Runtime)?;
    let data_dir = config.settings().data_dir.clone();
    let started = Coordinator::start(config).await;
    let handle = started.map_err(|error| ServeError::Start(Box::new(error)))?;
    match keep_profile(&handle, &data_dir, profiles) {
        Ok(profile) => {
            tracing::info!(profile = profile.name(), "this account is an admin of the grid")
        }
        Err(error) => {
            tracing::warn!("this account has no profile for the grid: {}", with_causes(&error))
        }
    }
    if handle.is_first_start() || !is_service_log() {
        announce(handle.worker_token());
    }
    tokio::select! {
        failure = handle.failed() => return Err(ServeError::from(failure).into()),
        () = signals.next() => tracing::info!("stopping; a second signal stops at once"),
    }
    tokio::select! {
        stopped = handle.shutdown() => stopped.map_err(ServeError::from)?,
        () = signals.next() => return Ok(Exit::Interrupted),
    }
    Ok(Exit::Done)
}

/// Prints how others join.
fn announce(token: &str) {
    let mut out = stdout().lock();
    let printed = writeln!(out, "gridctl worker --join {token}").and_then(|()| out.flush());
    if let Err(error) = printed {
        // Whoever started it does not listen; the grid serves all the same.
        tracing::warn!("how to join could not be printed: {error}");
    }
}

/// Says whether standard output goes where nobody reads along: neither a terminal nor a pipe.
fn is_service_log() -> bool {
    let out = io::stdout();
    let is_pipe =
        rustix::fs::fstat(&out).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_fifo());
    !out.is_terminal() && !is_pipe
}

/// Gives this account a profile with the role admin, in place of the one of an earlier start.
fn keep_profile(
    handle: &CoordinatorHandle,
    data_dir: &Path,
    profiles: &Profiles,
) -> Result<Profile, LocalProfileError> {
    let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let made = profiles.joining(&format!("{}-{}", handle.grid(), std::process::id()));
    let credentials = handle.enrol_local_admin(&made)?;
    let authority = AuthorityHash::of(credentials.authority());
    let ours = |profile: &Profile, file: &ProfileFile| {
        let same_grid =
            || profile.credentials().map(|other| AuthorityHash::of(other.authority()) == authority);
        is_at(file.coordinator.as_ref(), &data_dir) || same_grid().unwrap_or(false)
    };
    let name = profiles.free_name(handle.grid(), ours)?;
    let file = ProfileFile {
        addresses: handle.advertised().to_vec(),
        coordinator: Some(data_dir.clone()),
    };
    Ok(profiles.keep(&name, &made, &file)?)
}

fn is_at(coordinator: Option<&PathBuf>, data_dir: &Path) -> bool {
    coordinator.is_some_and(|coordinator| coordinator == data_dir)
}
