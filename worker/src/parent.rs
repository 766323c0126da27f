//! The small process above a worker, which kills what the worker leaves behind when it dies.
//!
//! [`supervise`] is the first thing that a program with a worker in it calls. The process that it was
//! called in becomes the parent: the reaper of all that is started below it. It starts the program again
//! as its child, waits, and when the child is gone, for whatever reason, kills every process that is left
//! below it, with SIGKILL, and exits as the child did. The child finds itself marked by an environment
//! variable, and goes on. Should the parent die first, the kernel tells the child, which kills its tasks
//! and itself.
//!
//! Deliberately absent: starting the child again, and any runtime or second thread in the parent.

mod below;

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, wait,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::{Signals, SignalsInfo};
use signal_hook::low_level::siginfo::Cause;

use below::{kill_children, kill_descendants};

/// Marks the child: the pid of its parent. (Tasks see nothing of the worker's environment.)
const MARK: &str = "GRIDCTL_SUPERVISED_BY";
/// What the kernel sends to the child when the parent has died. Nothing else here uses it.
const PARENT_DIED: i32 = SIGUSR2;

/// Whether the parent has died, so that this process ends its tasks and then itself.
static DYING: AtomicBool = AtomicBool::new(false);

/// Does not return where this process is about to end with its tasks: how they end then is no outcome of
/// theirs, and must not be told to anyone.
pub(crate) fn hold_if_dying() {
    while DYING.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Which of the two processes goes on.
#[derive(Debug)]
pub enum Place {
    /// The child: it is to do the program's work.
    Child,
    /// The parent, with nothing left below it: it is to exit like this, at once.
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
}

/// Splits the program into parent and child, and returns in the child at once, in the parent when the
/// child and everything below it is gone. To be called before any thread is started.
///
/// # Errors
/// See [`SuperviseError`].
pub fn supervise() -> Result<Place, SuperviseError> {
    let marked = std::env::var(MARK).ok().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    match (marked, getppid()) {
        (Some(marked), Some(parent)) if marked == parent => {
            watch_parent(parent).map_err(SuperviseError::Watch)?;
            Ok(Place::Child)
        }
        _ => watch_over_child().map(Place::Parent),
    }
}

/// In the child: dies with its tasks when the parent does.
fn watch_parent(parent: Pid) -> io::Result<()> {
    let mut died = Signals::new([PARENT_DIED])?;
    thread::Builder::new().name("parent".to_owned()).stack_size(64 << 10).spawn(move || {
        if died.forever().next().is_some() {
            // Before the first kill: whoever sees a task end because of it sees this too.
            DYING.store(true, Ordering::SeqCst);
            kill_descendants(getpid());
            let _ = kill_process(getpid(), Signal::KILL);
        }
    })?;
    set_parent_process_death_signal(Some(Signal::USR2))?;
    // It may have died before the kernel was asked.
    if getppid() != Some(parent) {
        kill_process(getpid(), Signal::USR2)?;
    }
    Ok(())
}

/// In the parent: starts the child, and cleans up after it.
fn watch_over_child() -> Result<ExitCode, SuperviseError> {
    let own = getpid();
    set_child_subreaper(Some(own)).map_err(|error| SuperviseError::Watch(error.into()))?;
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])
        .map_err(SuperviseError::Watch)?;
    let mut args = std::env::args_os();
    let child = Command::new("/proc/self/exe")
        .arg0(args.next().unwrap_or_else(|| "gridctl".into()))
        .args(args)
        .env(MARK, own.as_raw_nonzero().to_string())
        .spawn()
        .map_err(SuperviseError::Start)?;
    let child = Pid::from_child(&child);
    let mut status = None;
    while status.is_none() {
        for origin in signals.wait() {
            match origin.signal {
                SIGCHLD => status = status.or(reap(child)),
                // A terminal tells its whole process group, of which the child is one; told twice, it
                // would take it for the second Ctrl-C, which stops at once.
                SIGINT | SIGHUP if origin.cause == Cause::Kernel => {}
                signal => forward(signal, child),
            }
        }
    }
    kill_children(own);
    Ok(status.map_or(ExitCode::FAILURE, exit_code))
}

fn forward(signal: i32, child: Pid) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        // It fails where the child is gone; that is noticed next.
        let _ = kill_process(child, signal);
    }
}

/// Reaps all that has ended below, and returns the status of `child` if it is among it.
fn reap(child: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == child {
            found = Some(status);
        }
    }
    found
}

/// Exits as the child did; as a shell would say it where that was by a signal.
fn exit_code(status: WaitStatus) -> ExitCode {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    let code = status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
