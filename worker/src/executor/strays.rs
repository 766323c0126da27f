//! Processes that tasks started and whose parents have ended: the worker adopts them, knows whose they are,
//! and ends them with their task.
//!
//! Every task has the scratch directory of its lane in its environment, and a lane runs one task at a time:
//! that tells whose a process is. One that has cleared its environment belongs to a task that had begun when
//! it did; it ends when the last of those does. The kernel lists adopted children with the first thread of
//! this process, which starts none itself, so that to see that there are none costs one read.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use rustix::time::{ClockId, clock_gettime};

use crate::processes::{self, Patience, Process, below};
use crate::scratch::directory_of;

/// Bytes of the list that are read at once.
const LIST_BYTES: usize = 4096;
/// Adopted processes, over all lanes.
#[derive(Debug)]
pub(crate) struct Strays {
    /// `None` where this process adopts nobody.
    adopted: Option<Adopted>,
    /// When the tasks that run began, by lane, in the kernel's ticks.
    begun: Mutex<BTreeMap<u64, u64>>,
    /// Held while the list is read and those on it are reaped, so that no pid on it is given anew meanwhile.
    reaping: Mutex<()>,
}

#[derive(Debug)]
struct Adopted {
    own: Pid,
    /// The kernel's list of the first thread's children; `None` where the kernel does not keep it.
    list: Option<File>,
}

/// One lane, and what tells its processes apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane<'a> {
    pub(super) number: u64,
    /// Of all its scratch directories.
    pub(super) directory: &'a Path,
}

impl Strays {
    /// Makes the list; empty for ever where this process does not adopt.
    pub(crate) fn new(adopts: bool) -> Self {
        let own = getpid();
        let path = format!("/proc/self/task/{}/children", own.as_raw_nonzero());
        let adopted = adopts.then(|| Adopted { own, list: File::open(path).ok() });
        Self { adopted, begun: Mutex::default(), reaping: Mutex::default() }
    }

    /// Notes that a task is about to begin.
    pub(super) fn begin(&self, lane: Lane<'_>) {
        if self.adopted.is_some() {
            self.begun().insert(lane.number, ticks());
        }
    }

    /// Ends what a task has left, which is over itself. Where that has to be for `sure`, whatever cannot be told
    /// to be another's is ended too.
    pub(super) fn end(&self, lane: Lane<'_>, sure: bool) {
        let Some(adopted) = &self.adopted else { return };
        self.begun().remove(&lane.number);
        if adopted.is_none() {
            return;
        }
        let mut patience = Patience::new();
        loop {
            let left = self.of(lane, sure);
            if left.is_empty() {
                return;
            }
            kill(&with_descendants(left));
            patience.wait();
        }
    }

    /// Returns what there is of a task's processes, the adopted ones and what is below them; reaps those
    /// that are over.
    pub(super) fn alive(&self, lane: Lane<'_>) -> Vec<Process> {
        let left = self.of(lane, false);
        if left.is_empty() { left } else { with_descendants(left) }
    }

    /// Reaps what is over, and ends what belongs to no task that runs.
    pub(crate) fn tidy(&self) {
        let Some(adopted) = &self.adopted else { return };
        if adopted.is_none() {
            return;
        }
        let strays = self.reap_and_list(adopted);
        let oldest = self.begun().values().min().copied();
        let nobodys = |stray: &Process| {
            adopted.list.is_some()
                && directory_of(stray.pid).is_none()
                && oldest.is_none_or(|oldest| stray.started < oldest)
        };
        kill(&strays.into_iter().filter(nobodys).collect::<Vec<_>>());
    }

    /// Returns the adopted processes that belong to a lane's task, or can belong to no other.
    fn of(&self, lane: Lane<'_>, sure: bool) -> Vec<Process> {
        let Some(adopted) = &self.adopted else { return Vec::new() };
        let mut strays = self.reap_and_list(adopted);
        strays.retain(|stray| match directory_of(stray.pid) {
            Some(directory) => directory.starts_with(lane.directory),
            // Without the list it may be a task that is just being started.
            None => adopted.list.is_some() && (sure || !self.may_be_of_another(lane.number, stray)),
        });
        strays
    }

    fn may_be_of_another(&self, lane: u64, stray: &Process) -> bool {
        self.begun().iter().any(|(other, since)| *other != lane && *since <= stray.started)
    }

    fn reap_and_list(&self, adopted: &Adopted) -> Vec<Process> {
        let _one = self.reaping.lock().unwrap_or_else(PoisonError::into_inner);
        adopted.reap_and_list()
    }

    fn begun(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        // A panic while it was locked left nothing half done: every change is one insertion or removal.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Adopted {
    /// Says whether nobody was adopted: the quick look after each task.
    fn is_none(&self) -> bool {
        let Some(list) = &self.list else { return false };
        let mut byte = [0; 1];
        // A list that cannot be read is looked at the long way.
        list.read_at(&mut byte, 0).is_ok_and(|bytes| bytes == 0)
    }

    /// Reaps those that are over, and returns the others.
    fn reap_and_list(&self) -> Vec<Process> {
        let mut strays = match self.listed() {
            Some(pids) => pids.into_iter().filter_map(processes::find).collect(),
            None => processes::all(),
        };
        strays.retain(|stray| stray.parent == Some(self.own));
        strays.retain(|stray| {
            // Of a task's first process its lane waits itself; it has not been adopted.
            let is_reaped = stray.is_over
                && self.list.is_some()
                && waitpid(Some(stray.pid), WaitOptions::NOHANG)
                    .is_ok_and(|reaped| reaped.is_some());
            !is_reaped && !stray.is_over
        });
        strays
    }

    fn listed(&self) -> Option<Vec<Pid>> {
        let list = self.list.as_ref()?;
        let (mut text, mut chunk) = (Vec::new(), [0; LIST_BYTES]);
        loop {
            let bytes = list.read_at(&mut chunk, text.len() as u64).ok()?;
            text.extend_from_slice(&chunk[..bytes]);
            if bytes == 0 {
                break;
            }
        }
        let pids = str::from_utf8(&text).ok()?.split_ascii_whitespace();
        Some(pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
    }
}

/// Adds what is below some processes.
pub(super) fn with_descendants(mut found: Vec<Process>) -> Vec<Process> {
    let roots: Vec<Pid> = found.iter().map(|process| process.pid).collect();
    for process in below(&processes::all(), &roots) {
        if !process.is_over && !found.contains(&process) {
            found.push(process);
        }
    }
    found
}

/// Ends processes at once.
pub(super) fn kill(found: &[Process]) {
    signal(found, Signal::KILL);
}

/// Signals processes.
pub(super) fn signal(found: &[Process], signal: Signal) {
    for process in found {
        // It may be gone by now.
        let _ = kill_process(process.pid, signal);
    }
}

/// Returns the time in the unit in which the kernel says when a process began; rounded down, as there.
fn ticks() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 100 + u64::try_from(time.tv_nsec).unwrap_or(0) / 10_000_000
}
