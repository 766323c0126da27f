//! The worker's side of the processes above it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal,
};
use signal_hook::consts::SIGUSR2;
use signal_hook::iterator::Signals;

use super::board::{Board, Slot, inherited_writer, link};
use super::mark::{Mark, Role};
use super::remove;
use crate::agent::MonoMs;
use crate::processes::kill_descendants;

/// What the kernel sends to the worker when its parent has died. Nothing else here uses it.
const PARENT_DIED: i32 = SIGUSR2;
/// How long tasks may take to die after the parent before the worker ends all the same.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Whether the parent has died, so that this process ends its tasks and then itself.
static DYING: AtomicBool = AtomicBool::new(false);
/// Of the worker in this process, for what goes on when everything else has stopped.
static BOARD: OnceLock<Arc<Notes>> = OnceLock::new();

/// Does not return where this process is about to end with its tasks: how they end then is no outcome of
/// theirs, and must not be told to anyone.
pub(crate) fn hold_if_dying() {
    while DYING.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Kept by a thread that a worker cannot do without: where it panics, the worker dies with all its tasks, and
/// is started again. Without a parent it goes on as it can.
pub(crate) struct Vital;

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            die();
        }
    }
}

/// Dies, to be started again, where there is a parent that sees to it.
pub(crate) fn die() {
    if BOARD.get().is_some() {
        std::process::abort();
    }
}

/// How sure the end of a process tree is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trees {
    /// They are in a pid namespace: the kernel ends all of them with the worker, whoever dies first.
    Namespace,
    /// The worker and its parent adopt what loses its parent, and end it. Where both are killed at the same
    /// time, tasks may run on until the worker starts again.
    Adopted,
    /// Nobody adopts anything: the worker was started without a parent.
    Groups,
}

/// What a worker knows of the processes above it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Supervision {
    trees: Trees,
    respawns: bool,
    predecessors: u32,
    notes: Option<Arc<Notes>>,
}

#[derive(Debug)]
struct Notes {
    board: Board,
    wake: OwnedFd,
    /// Of the data directory's lock, where the parent has it: device and inode.
    lock: Option<(u64, u64)>,
}

impl Supervision {
    /// Of a worker without a parent.
    pub const NONE: Self =
        Self { trees: Trees::Groups, respawns: false, predecessors: 0, notes: None };

    /// Finds out what was inherited, and begins to watch the parent.
    pub(super) fn begin(mark: &Mark) -> io::Result<Self> {
        let lock = mark.lock.map(|lock| fs::metadata(link(lock))).transpose()?;
        let notes = Arc::new(Notes {
            board: Board::inherited(mark.board)?,
            wake: inherited_writer(mark.wake)?,
            lock: lock.map(|found| (found.dev(), found.ino())),
        });
        let notes = BOARD.get_or_init(|| notes);
        // What loses its parent below comes here, and can be told apart by what it was started with.
        set_child_subreaper(Some(getpid()))?;
        let trees = match mark.role {
            Role::Below(parent) => {
                watch_parent(parent)?;
                Trees::Adopted
            }
            Role::Init | Role::InNamespace => Trees::Namespace,
        };
        let (respawns, predecessors) = (mark.respawns, mark.predecessors);
        Ok(Self { trees, respawns, predecessors, notes: Some(Arc::clone(notes)) })
    }

    /// Returns how sure the end of a process tree is.
    pub const fn trees(&self) -> Trees {
        self.trees
    }

    /// Says whether the worker is started again when it dies.
    pub const fn respawns(&self) -> bool {
        self.respawns
    }

    /// Counts the processes of this worker that the parent saw the end of, with all that was below them.
    pub const fn predecessors(&self) -> u32 {
        self.predecessors
    }

    /// Says that the worker ends by its own will: it is not started again.
    pub fn end_in_order(&self) {
        if let Some(notes) = &self.notes {
            // Memory takes it; where it did not, the worker would be started once more.
            let _ = notes.board.write(Slot::InOrder, 1);
        }
    }

    /// Has a directory removed once the worker and all below it is gone, however that comes.
    ///
    /// # Errors
    /// Where its path is too long, or there are too many.
    pub fn remove_afterwards(&self, path: &Path) -> io::Result<()> {
        self.notes.as_ref().map_or(Ok(()), |notes| notes.board.add_path(path))
    }

    /// Tells the parent until when it may let run what must not outlive the lease; `None` where nothing of
    /// the kind runs any more.
    pub(crate) fn stop_until(&self, until: Option<MonoMs>) {
        let Some(notes) = &self.notes else { return };
        // Memory takes it.
        let _ = notes.board.write(Slot::StopUntil, until.map_or(0, |until| until.0.max(1)));
        // It fails only where the pipe is full: then the parent is to wake anyway.
        let _ = rustix::io::write(&notes.wake, b"!");
    }

    /// Says whether the parent has locked this file for the worker.
    pub(crate) fn has_locked(&self, lock: &fs::File) -> bool {
        let locked = self.notes.as_ref().and_then(|notes| notes.lock);
        lock.metadata().is_ok_and(|found| locked == Some((found.dev(), found.ino())))
    }
}

/// Dies with its tasks when the parent does.
fn watch_parent(parent: i32) -> io::Result<()> {
    let mut died = Signals::new([PARENT_DIED])?;
    thread::Builder::new().name("parent".to_owned()).stack_size(64 << 10).spawn(move || {
        if died.forever().next().is_some() {
            // Before the first kill: whoever sees a task end because of it sees this too.
            DYING.store(true, Ordering::SeqCst);
            kill_descendants(getpid(), Instant::now() + KILL_PATIENCE);
            if let Some(notes) = BOARD.get() {
                remove(&notes.board);
            }
            let _ = kill_process(getpid(), Signal::KILL);
        }
    })?;
    set_parent_process_death_signal(Some(Signal::USR2))?;
    // It may have died before the kernel was asked.
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        kill_process(getpid(), Signal::USR2)?;
    }
    Ok(())
}
