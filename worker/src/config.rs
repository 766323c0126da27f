//! What a worker is told, and what it finds out about its machine.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use gridctl_jobs::units::Cpus;
use gridctl_transport::join_token::JoinToken;
use rustix::fs::{FlockOperation, flock};

use crate::parent::Supervision;

/// How long what runs may go on once a worker drains, unless said otherwise.
pub const GRACE_DEFAULT: Duration = Duration::from_secs(30);

const LOCK_FILE: &str = "lock";

/// What a worker is told.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Where it keeps its identity and what it remembers. Made on first start; one worker at a time.
    pub data_dir: PathBuf,
    /// Enrols this machine, unless that was done with the same token before.
    pub join: Option<JoinToken>,
    /// What the worker would like to be called; the machine's host name where it is `None`.
    pub name: Option<String>,
    /// What tasks may occupy together; what this process may use where it is `None`.
    pub cpus: Option<Cpus>,
    /// How long what runs may go on once it drains.
    pub grace: Duration,
    /// Whether everything that an earlier process on this data directory had started is surely gone: said
    /// by whoever saw it end. What was granted to that process then runs elsewhere at once, instead of when
    /// its lease has run out.
    pub predecessor_gone: bool,
    /// Whether everything that tasks start surely ends when they are ended, and when this process dies:
    /// stages with `on_lost_lease = "stop"` run only where it does.
    pub ends_trees: bool,
    /// The processes above this one, if any.
    pub supervision: Supervision,
}

impl WorkerConfig {
    /// Makes one in which nothing but the data directory was said.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            join: None,
            name: None,
            cpus: None,
            grace: GRACE_DEFAULT,
            predecessor_gone: false,
            ends_trees: false,
            supervision: Supervision::NONE,
        }
    }

    /// Returns what tasks may occupy together.
    pub(crate) fn cpus(&self) -> Cpus {
        self.cpus.unwrap_or_else(measured_cpus)
    }

    /// Returns what the worker would like to be called.
    pub(crate) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(host_name)
    }
}

/// Returns how many cpus this process may use: its affinity and the quotas of its cgroup count.
pub fn measured_cpus() -> Cpus {
    let cpus = available_parallelism().map_or(1, NonZero::get);
    Cpus::whole(u32::try_from(cpus).unwrap_or(u32::MAX))
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made, or written to.
    #[error("cannot use the data directory {}; check that it is writable, or choose another with --data-dir", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("the data directory {} is in use by another worker; stop that one, or choose another with --data-dir", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

/// A data directory that no other process uses; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Makes it if need be, and locks it.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        Self::open_below(path, &Supervision::NONE)
    }

    /// Makes it if need be, and locks it, unless a parent has it locked for this process.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub(crate) fn open_below(path: &Path, above: &Supervision) -> Result<Self, DataDirError> {
        let fail = |source| DataDirError::Unusable { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(fail)?;
        // Absolute, since tasks are told paths below it.
        let absolute = path.canonicalize().map_err(fail)?;
        if above.has_locked(&lock) {
            return Ok(Self { path: absolute, lock });
        }
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: absolute, lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(DataDirError::Locked { path: path.to_owned() })
            }
            Err(error) => Err(fail(error.into())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn lock(&self) -> &File {
        &self.lock
    }

    /// Returns where the identity is.
    pub(crate) fn identity(&self) -> PathBuf {
        self.path.join("identity")
    }

    /// Returns the name of this machine and data directory as text.
    pub(crate) fn unique(&self) -> String {
        self.machine().map(|byte| format!("{byte:02x}")).concat()
    }

    /// Names this machine and data directory: a copy of either is told apart.
    pub(crate) fn machine(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        // Where a machine has no id its name has to do.
        match std::fs::read("/etc/machine-id") {
            Ok(id) if !id.is_empty() => hasher.update(&id),
            Ok(_) | Err(_) => hasher.update(host_name().as_bytes()),
        };
        hasher.update(self.path.as_os_str().as_encoded_bytes());
        *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
    }
}

/// Returns the machine's name, made fit to be a worker's.
fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let allowed = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().take(NAME_CHARS).map(allowed).collect();
    if name.is_empty() { "worker".to_owned() } else { name }
}

/// Characters of a host name that are taken: the coordinator may add some.
const NAME_CHARS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_user_at_a_time() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("new/worker");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(&error, DataDirError::Locked { .. }), "{error}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = DataDir::open(Path::new("/proc/nothing/here")).unwrap_err().to_string();
        assert!(error.contains("/proc/nothing/here") && error.contains("--data-dir"), "{error}");
    }

    #[test]
    fn data_directories_of_one_machine_are_told_apart() {
        let data = tempfile::tempdir().unwrap();
        let [one, other] =
            ["one", "other"].map(|name| DataDir::open(&data.path().join(name)).unwrap());
        assert_ne!(one.machine(), other.machine());
        assert_eq!(one.machine(), one.machine());
    }

    #[test]
    fn this_machine_has_a_cpu_and_a_name() {
        assert!(measured_cpus() >= Cpus::ONE);
        gridctl_transport::identity::check_name(&host_name()).unwrap();
    }
}
