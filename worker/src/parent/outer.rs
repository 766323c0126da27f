//! The outermost process: starts the worker, sees it end, cleans up after it, starts it again.

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitStatus, getpid, kill_process, set_child_subreaper};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::board::{Board, LifeLine, Slot, WakePipe, inherit};
use super::deadline::Deadline;
use super::deaths::Deaths;
use super::inbox::{Inbox, wait_for};
use super::mark::{Mark, Role};
use super::namespace::OwnNamespace;
use super::{Plan, SuperviseError, exit_code, remove, start};
use crate::agent::MonoMs;
use crate::clock::mono;
use crate::config::{DataDir, DataDirError};
use crate::processes::{Patience, kill_children};
use crate::scratch::end_leftovers;

/// How long to wait for a data directory that is in use: a little longer than the init of a namespace has to
/// end what is in there.
const LOCK_PATIENCE: Duration = Duration::from_secs(6);

struct Outer {
    inbox: Inbox,
    board: Board,
    wake: WakePipe,
    life_line: LifeLine,
    timer: OwnedFd,
    /// Locked as long as this process is there, and inherited: free only when all of the worker is gone.
    data_dir: Option<DataDir>,
    /// `None` where namespaces are not to be had.
    namespace: Option<OwnNamespace>,
    respawn: bool,
    deaths: Deaths,
    predecessors: u32,
    stopping: bool,
}

/// Stands over the worker until it is gone for good.
pub(super) fn stand_over(plan: &Plan<'_>) -> Result<ExitCode, SuperviseError> {
    set_child_subreaper(Some(getpid())).map_err(|error| SuperviseError::Watch(error.into()))?;
    let data_dir = plan.data_dir.map(take).transpose()?;
    if let Some(data_dir) = &data_dir {
        end_leftovers(data_dir.path(), &data_dir.unique());
    }
    let mut outer = Outer::new(plan, data_dir).map_err(SuperviseError::Watch)?;
    loop {
        let child = outer.start().map_err(SuperviseError::Start)?;
        let status = outer.watch(child);
        kill_children(getpid(), None);
        remove(&outer.board);
        if outer.board.read(Slot::NoNamespace) != 0 && outer.namespace.is_some() {
            outer.give_up_namespaces();
            continue;
        }
        if outer.stopping || !outer.respawn || outer.board.read(Slot::InOrder) != 0 {
            return Ok(exit_code(status));
        }
        outer.predecessors += 1;
        let delay = outer.deaths.add(Instant::now());
        say(&Death { status, delay });
        if outer.pause(delay) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Takes the data directory. Who has just died may still have it: what its parent's death leaves to do takes
/// a moment.
fn take(path: &Path) -> Result<DataDir, DataDirError> {
    let (until, mut patience) = (Instant::now() + LOCK_PATIENCE, Patience::new());
    loop {
        match DataDir::open(path) {
            Err(DataDirError::Locked { .. }) if Instant::now() < until => patience.wait(),
            taken => return taken,
        }
    }
}

impl Outer {
    fn new(plan: &Plan<'_>, data_dir: Option<DataDir>) -> io::Result<Self> {
        if let Some(data_dir) = &data_dir {
            inherit(data_dir.lock())?;
        }
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self {
            inbox: Inbox::new()?,
            board: Board::new()?,
            wake: WakePipe::new()?,
            life_line: LifeLine::new()?,
            timer: timerfd_create(TimerfdClockId::Boottime, flags)?,
            data_dir,
            namespace: OwnNamespace::open().ok(),
            respawn: plan.respawn,
            deaths: Deaths::default(),
            predecessors: 0,
            stopping: false,
        })
    }

    /// Starts the worker, in a namespace of its own where that can be had.
    fn start(&mut self) -> io::Result<Pid> {
        self.board.wipe()?;
        let in_new_one = |namespace: &OwnNamespace| namespace.next_child_in_new_one().is_ok();
        if !self.namespace.as_ref().is_some_and(in_new_one) {
            self.give_up_namespaces();
        }
        start(&Mark {
            role: match self.namespace {
                Some(_) => Role::Init,
                None => Role::Below(getpid().as_raw_pid()),
            },
            board: self.board.number(),
            wake: self.wake.writer.as_raw_fd(),
            life_line: self.life_line.reader.as_raw_fd(),
            lock: self.data_dir.as_ref().map(|data_dir| data_dir.lock().as_raw_fd()),
            respawns: self.respawn,
            predecessors: self.predecessors,
        })
    }

    fn give_up_namespaces(&mut self) {
        if let Some(namespace) = self.namespace.take() {
            // Where there is no way back there was none out.
            let _ = namespace.next_child_here();
        }
    }

    /// Waits until the child has ended. Kills it where it lets a `stop` deadline pass: what may not run any
    /// more dies with it.
    fn watch(&mut self, child: Pid) -> WaitStatus {
        let mut deadline = Deadline::default();
        loop {
            let now = mono();
            deadline.set(now, self.board.read(Slot::StopUntil));
            if deadline.is_over(now) {
                let _ = kill_process(child, Signal::KILL);
            }
            self.set_timer(deadline.wake_at());
            let descriptors =
                [self.inbox.descriptor(), self.wake.reader.as_fd(), self.timer.as_fd()];
            let [signalled, woken, _] = wait_for(descriptors, None);
            if woken {
                quiet(&self.wake.reader);
            }
            if signalled {
                let told = self.inbox.hear(Some(child));
                self.stopping |= told.stop;
                if let Some(status) = told.ended {
                    return status;
                }
            }
        }
    }

    /// Sets when to wake; set anew, it is silent again.
    fn set_timer(&self, at: Option<MonoMs>) {
        let at = at.unwrap_or_default().0;
        let tv_sec = i64::try_from(at / 1_000).unwrap_or(i64::MAX);
        let tv_nsec = i64::try_from(at % 1_000 * 1_000_000).unwrap_or(0);
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: zero, it_value: Timespec { tv_sec, tv_nsec } };
        // Of a moment that lies within the life of the machine.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &timer);
    }

    /// Waits before the next start; says whether someone asked for the end meanwhile.
    fn pause(&mut self, delay: Duration) -> bool {
        let until = Instant::now() + delay;
        loop {
            self.stopping |= self.inbox.hear(None).stop;
            let left = until.saturating_duration_since(Instant::now());
            if self.stopping || left.is_zero() {
                return self.stopping;
            }
            let left = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            wait_for([self.inbox.descriptor()], Some(&left));
        }
    }
}

/// Reads away what woke.
fn quiet(reader: &OwnedFd) {
    let mut buffer = [0; 64];
    while rustix::io::read(reader, &mut buffer).is_ok_and(|bytes| bytes == buffer.len()) {}
}

/// What is said of a death.
struct Death {
    status: WaitStatus,
    delay: Duration,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the worker died")?;
        match (self.status.exit_status(), self.status.terminating_signal()) {
            (Some(code), _) if code > 128 => write!(f, " (signal {})", code - 128)?,
            (Some(code), _) => write!(f, " (exit {code})")?,
            (None, Some(signal)) => write!(f, " (signal {signal})")?,
            (None, None) => {}
        }
        write!(f, "; its tasks are gone with it, it is started again")?;
        if self.delay.is_zero() { Ok(()) } else { write!(f, " in {} s", self.delay.as_secs()) }
    }
}

fn say(death: &Death) {
    // Nobody may be there to read it.
    let _ = writeln!(io::stderr(), "gridctl worker: {death}");
}
