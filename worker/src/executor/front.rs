//! What the reactor sees of both executors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::Run;

use super::function::{FunctionExecutor, check_timeout, timeout_at};
use super::lane::{ProcessExecutor, Wake, wake_up};
use super::run::{FLUSH_AFTER, SliceRun};
use crate::agent::{Slice, SliceId};
use crate::clock::Clock;
use crate::events::Events;
use crate::functions::Functions;
use crate::scratch::ScratchRoot;
use crate::spill::Spill;

/// How often processes are reaped that lost their parents, while tasks run.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// Runs slices, and tells the agent what becomes of them.
pub(crate) struct Executor {
    functions: FunctionExecutor,
    processes: ProcessExecutor,
    running: BTreeMap<SliceId, OnLane>,
    clock: Clock,
    events: Events,
    tidied: Instant,
}

struct OnLane {
    run: Arc<SliceRun>,
    /// Of a lane for processes.
    wake: Option<Wake>,
}

impl Executor {
    /// `adopts`: whether this process is the one that orphans of its tasks come to.
    pub(crate) fn new(
        functions: Functions,
        scratch: ScratchRoot,
        spill: Spill,
        adopts: bool,
        events: Events,
    ) -> Self {
        Self {
            functions: FunctionExecutor::new(functions, spill.clone()),
            processes: ProcessExecutor::new(scratch, spill, adopts),
            running: BTreeMap::new(),
            clock: Clock::start(),
            events,
            tidied: Instant::now(),
        }
    }

    /// Runs the tasks of a slice, one after the other.
    pub(crate) fn begin(&mut self, slice: Slice) {
        let id = slice.id;
        // After a while with nothing to do, too.
        self.tidy_if_due(Instant::now());
        let is_function = match slice.renderer.order().task.run {
            Run::Function { .. } => true,
            Run::Command { .. } | Run::Script { .. } => false,
        };
        let run = Arc::new(SliceRun::new(slice, self.clock, self.events.clone()));
        let wake = if is_function {
            self.functions.begin(Arc::clone(&run));
            None
        } else {
            self.processes.begin(Arc::clone(&run))
        };
        self.running.insert(id, OnLane { run, wake });
    }

    /// Begins nothing more of a slice, and returns what has not begun; `None` where it has returned.
    pub(crate) fn reclaim(&self, slice: SliceId) -> Option<TaskRange> {
        Some(self.running.get(&slice)?.run.reclaim())
    }

    /// Ends the running task of a slice, if it lies in `range`.
    pub(crate) fn cancel(&self, slice: SliceId, range: TaskRange) {
        let Some(lane) = self.running.get(&slice) else { return };
        if let (true, Some(wake)) = (lane.run.cancel(range), &lane.wake) {
            wake_up(wake);
        }
    }

    /// Kills the running task of a slice and all that it started, if it lies in `range`.
    pub(crate) fn kill(&self, slice: SliceId, range: TaskRange) {
        let Some(lane) = self.running.get(&slice) else { return };
        if let (true, Some(wake)) = (lane.run.kill_in(range), &lane.wake) {
            wake_up(wake);
        }
    }

    /// Forgets a slice that has returned.
    pub(crate) fn returned(&mut self, slice: SliceId) {
        self.running.remove(&slice);
    }

    /// Tells what has ended for a while, ends functions whose time is up, and processes that are nobody's.
    pub(crate) fn look_after(&mut self, now: Instant) {
        if !self.running.is_empty() {
            self.tidy_if_due(now);
        }
        for lane in self.running.values() {
            lane.run.flush_if_stale(now);
            check_timeout(&lane.run, now);
        }
    }

    fn tidy_if_due(&mut self, now: Instant) {
        if now.duration_since(self.tidied) >= TIDY_EVERY {
            self.tidied = now;
            self.processes.tidy(now);
        }
    }

    /// Returns when [`look_after`](Self::look_after) is due.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Instant> {
        let of_lane = |lane: &OnLane| {
            // Ends may wait behind a task that turns out long.
            let stale = (lane.run.slice.range.len() > 1).then(|| now + FLUSH_AFTER);
            [stale, timeout_at(&lane.run)].into_iter().flatten().min()
        };
        let tidy = (!self.running.is_empty()).then(|| self.tidied + TIDY_EVERY);
        self.running.values().filter_map(of_lane).chain(tidy).min()
    }

    /// Ends every process at once and waits until they are gone. Functions are told, and not waited for.
    pub(crate) fn kill_all(&mut self) {
        for lane in self.running.values() {
            lane.run.kill();
            if let Some(wake) = &lane.wake {
                wake_up(wake);
            }
        }
        self.processes.join();
    }
}
