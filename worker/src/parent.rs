//! The small processes above a worker, which see it die, clean up after it, and start it again.
//!
//! [`supervise`] is the first thing that a program with a worker in it calls. The process that it was
//! called in becomes the outermost parent: it starts the program again below itself and waits. Where it
//! may, it has the child begin a pid namespace: that child is the namespace's init and starts the program
//! once more, as the worker; whatever dies first, the kernel ends everything in the namespace. Elsewhere
//! the child is the worker, and parent and worker adopt what loses its parent, and end it.
//!
//! When the worker is gone, whatever was below it is killed, the directories that it noted are removed, and
//! unless it ended in order it is started again: at once, from the third death within a minute on with a
//! pause. Should the parent die first, everything below it does. The parent also keeps the deadline of
//! tasks that must not outlive their lease, in case the worker stands still.
//!
//! Deliberately absent: any runtime or second thread in the parents.

mod board;
mod child;
mod deadline;
mod deaths;
mod inbox;
mod init;
mod mark;
mod namespace;
mod outer;

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, WaitStatus};

use self::board::Board;
use self::mark::{MARK, Mark, Role};
use crate::config::DataDirError;
use crate::scratch::remove_tree;

pub use self::child::{Supervision, Trees};
pub(crate) use self::child::{Vital, die, hold_if_dying};

/// What a parent is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Locked as long as the parent is there, if any.
    pub data_dir: Option<&'a Path>,
    /// Whether a worker that died is started again.
    pub respawn: bool,
}

/// Which of the processes goes on.
#[derive(Debug)]
pub enum Place {
    /// The worker: it is to do the program's work.
    Child(Supervision),
    /// A parent, with nothing left below it: it is to exit like this, at once.
    Parent(ExitCode),
}

/// Why a program cannot be supervised.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The kernel refuses.
    #[error("cannot watch over the processes of this worker")]
    Watch(#[source] io::Error),
    /// The program cannot be started a second time.
    #[error("cannot start the worker's own process; check the limits of this account (ulimit -u)")]
    Start(#[source] io::Error),
    /// See [`DataDirError`].
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

/// Splits the program into parents and worker, and returns in the worker at once, in a parent when the
/// worker and everything below it is gone for good. To be called before any thread is started.
///
/// # Errors
/// See [`SuperviseError`].
pub fn supervise(plan: &Plan<'_>) -> Result<Place, SuperviseError> {
    match Mark::of_this_process() {
        Some(mark) if mark.role == Role::Init => {
            init::be_init(&mark).map(Place::Parent).map_err(SuperviseError::Watch)
        }
        Some(mark) => Supervision::begin(&mark).map(Place::Child).map_err(SuperviseError::Watch),
        None => outer::stand_over(plan).map(Place::Parent),
    }
}

/// Starts this program once more.
fn start(mark: &Mark) -> io::Result<Pid> {
    let mut args = std::env::args_os();
    let child = Command::new("/proc/self/exe")
        .arg0(args.next().unwrap_or_else(|| "gridctl".into()))
        .args(args)
        .env(MARK, mark.text())
        .spawn()?;
    Ok(Pid::from_child(&child))
}

/// Removes the directories that the worker noted.
fn remove(board: &Board) {
    for path in board.paths() {
        // Mostly the worker has done it. What cannot be removed now is removed at the next start.
        let _ = remove_tree(&path);
    }
}

/// Exits as the child did; as a shell would say it where that was by a signal.
fn exit_code(status: WaitStatus) -> ExitCode {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    let code = status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
