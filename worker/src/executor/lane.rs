//! Lanes for processes: threads that each run one slice at a time, with a scratch directory of their own.
//!
//! A lane blocks in `poll` while its process runs, and is at nice 10 for good: a child inherits its
//! thread's priority.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};

use super::nice::be_nice;
use super::oom::OomKills;
use super::process::{Tools, base_env, no_scratch, run_process};
use super::run::{Finish, SliceRun};
use super::strays::{Lane, Strays};
use crate::limits::IDLE_LANES_MAX;
use crate::parent::Vital;
use crate::scratch::{Scratch, ScratchRoot};
use crate::spill::Spill;

/// Bytes read at once: what a pipe holds by default.
const READ_BYTES: usize = 64 << 10;
/// A lane's stack: what it keeps is on the heap.
const STACK_BYTES: usize = 256 << 10;

/// Wakes a lane whose task was cancelled.
pub(crate) type Wake = Arc<OwnedFd>;

/// Runs slices of processes.
pub(crate) struct ProcessExecutor {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    made: u64,
}

struct Shared {
    root: ScratchRoot,
    strays: Strays,
    oom_kills: OomKills,
    spill: Spill,
    base_env: Vec<(&'static str, String)>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    lanes: Vec<LaneEnd>,
    closed: bool,
}

/// Hands slices to a lane. There is one of each lane: it is among the idle ones, or with the slice that
/// the lane runs; where it is dropped the lane ends.
struct LaneEnd {
    slices: Sender<Work>,
    wake: Wake,
}

struct Work {
    run: Arc<SliceRun>,
    lane: LaneEnd,
}

impl ProcessExecutor {
    /// `adopts`: whether this process is the one that orphans of its tasks come to.
    pub(crate) fn new(root: ScratchRoot, spill: Spill, adopts: bool) -> Self {
        let strays = Strays::new(adopts);
        let (oom_kills, base_env) = (OomKills::new(), base_env());
        let idle = Mutex::default();
        let shared = Shared { root, strays, oom_kills, spill, base_env, idle };
        Self { shared: Arc::new(shared), threads: Vec::new(), made: 0 }
    }

    /// Begins a slice on an idle lane, or a new one.
    pub(crate) fn begin(&mut self, run: Arc<SliceRun>) -> Option<Wake> {
        let idle = self.shared.idle().lanes.pop();
        let lane = match idle.map_or_else(|| self.make_lane(), Ok) {
            Ok(lane) => lane,
            Err(error) => {
                fail_all(&run, || {
                    Finish::could_not_start(format!("its thread could not be made ({error})"))
                });
                run.returned();
                return None;
            }
        };
        let wake = Arc::clone(&lane.wake);
        let slices = lane.slices.clone();
        slices.send(Work { run, lane }).expect("a lane listens as long as there is an end of it");
        Some(wake)
    }

    /// Sees to processes that belong to no task any more.
    pub(crate) fn tidy(&self, now: Instant) {
        self.shared.strays.tidy();
        self.shared.oom_kills.watch(now);
    }

    /// Waits until every lane has ended; what runs was killed before.
    pub(crate) fn join(&mut self) {
        let mut idle = self.shared.idle();
        idle.closed = true;
        idle.lanes.clear();
        drop(idle);
        for thread in self.threads.drain(..) {
            // A panic of a lane was reported where it happened.
            let _ = thread.join();
        }
    }

    fn make_lane(&mut self) -> io::Result<LaneEnd> {
        self.threads.retain(|thread| !thread.is_finished());
        self.made += 1;
        let number = self.made;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (slices, inbox) = channel();
        let (shared, lane_wake) = (Arc::clone(&self.shared), Arc::clone(&wake));
        let thread = thread::Builder::new()
            .name(format!("lane-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || lane(&shared, number, &lane_wake, &inbox))?;
        self.threads.push(thread);
        Ok(LaneEnd { slices, wake })
    }
}

/// Makes a lane look up from its process.
pub(crate) fn wake_up(wake: &Wake) {
    // It fails only where the counter is full: then the lane is awake already.
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

fn lane(shared: &Shared, number: u64, wake: &Wake, inbox: &Receiver<Work>) {
    let _vital = Vital;
    be_nice();
    let mut scratch = shared.root.lane(number);
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(Work { run, lane }) = inbox.recv() {
        match &mut scratch {
            Ok(scratch) => run_slice(&run, shared, number, scratch, wake, &mut buffer),
            Err(error) => {
                let trouble = error.to_string();
                fail_all(&run, || {
                    no_scratch(shared.root.path(), io::Error::other(trouble.as_str()))
                });
                scratch = shared.root.lane(number);
            }
        }
        // Before it is told, so that what is begun next finds it.
        shared.put(lane);
        run.returned();
    }
}

fn run_slice(
    run: &SliceRun,
    shared: &Shared,
    number: u64,
    scratch: &mut Scratch,
    wake: &Wake,
    buffer: &mut [u8],
) {
    let mut next = run.first();
    while let Some(index) = next {
        let Shared { base_env, strays, oom_kills, spill, .. } = shared;
        let finish = match scratch.ready() {
            Ok(()) => {
                let lane = Lane { number, directory: scratch.directory() };
                run_process(
                    run,
                    index,
                    &mut Tools { scratch, wake, base_env, buffer, strays, lane, oom_kills, spill },
                )
            }
            Err(error) => no_scratch(scratch.work(), error),
        };
        next = match scratch.empty() {
            Ok(()) => run.next(finish),
            Err(error) => {
                let next = run.next(finish);
                return fail_from(run, next, || {
                    no_scratch(scratch.work(), io::Error::other(error.to_string()))
                });
            }
        };
    }
}

/// Lets every task of a slice fail to start.
fn fail_all(run: &SliceRun, why: impl Fn() -> Finish) {
    fail_from(run, run.first(), why);
}

fn fail_from(run: &SliceRun, mut next: Option<u64>, why: impl Fn() -> Finish) {
    while next.is_some() {
        next = run.next(why());
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        // A panic while it was locked left nothing half done: every change is one push or pop.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, lane: LaneEnd) {
        let mut idle = self.idle();
        if !idle.closed && idle.lanes.len() < IDLE_LANES_MAX {
            idle.lanes.push(lane);
        }
    }
}
