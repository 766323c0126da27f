//! A slice on its lane: which task is next, which runs, what has ended. Shared by the lane that runs it
//! and the reactor that may take its tail back or cancel it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::Failure;
use gridctl_jobs::units::WallMs;
use gridctl_transport::message::worker::Outcome;

use crate::agent::{AgentEvent, Slice, SliceId, TaskEnd, TaskOutput};
use crate::clock::Clock;
use crate::events::Events;

/// Ends are told to the agent in batches that are at most so old: a batch costs a wake-up of a thread.
pub(crate) const FLUSH_AFTER: Duration = Duration::from_millis(2);

/// A slice that runs.
pub(crate) struct SliceRun {
    pub(crate) slice: Slice,
    clock: Clock,
    events: Events,
    /// Of the task that runs; nothing of the slice begins after it.
    cancelled: AtomicBool,
    killed: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// The first task that has not begun.
    next: u64,
    /// Exclusive; moves down to `next` when the tail is taken back.
    end: u64,
    current: Option<Current>,
    /// Not told yet.
    ends: Vec<TaskEnd>,
    flushed: Instant,
}

#[derive(Clone, Copy)]
struct Current {
    index: u64,
    since: Instant,
}

/// How one task ended.
pub(crate) struct Finish {
    pub(crate) outcome: Outcome,
    pub(crate) output: TaskOutput,
}

impl Finish {
    /// A task that succeeded and has nothing to tell.
    pub(crate) const DONE: Self = Self { outcome: Outcome::Done, output: TaskOutput::EMPTY };

    pub(crate) fn failed(failure: Failure) -> Self {
        Self { outcome: Outcome::Failed(failure), ..Self::DONE }
    }

    pub(crate) fn could_not_start(message: impl Into<String>) -> Self {
        Self::failed(Failure::CouldNotStart { message: crate::text::bounded(message.into()) })
    }
}

impl SliceRun {
    pub(crate) fn new(slice: Slice, clock: Clock, events: Events) -> Self {
        let state = State {
            next: slice.range.start,
            end: slice.range.end,
            current: None,
            ends: Vec::new(),
            flushed: Instant::now(),
        };
        let (cancelled, killed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { slice, clock, events, cancelled, killed, state: Mutex::new(state) }
    }

    pub(crate) const fn id(&self) -> SliceId {
        self.slice.id
    }

    /// Returns the item of a task that came with its grant.
    pub(crate) fn item(&self, index: u64) -> Option<&str> {
        self.slice.items.as_ref()?.item(index)
    }

    /// Begins the first task.
    pub(crate) fn first(&self) -> Option<u64> {
        self.state().begin_next(Instant::now())
    }

    /// Ends the task that runs, and begins the next; `None` once there is none.
    pub(crate) fn next(&self, finish: Finish) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state();
        // Where it is gone the task was cancelled or timed out meanwhile, and its end is told or unwanted.
        if let Some(current) = state.current.take() {
            let end = self.end_of(current, now, finish);
            state.add(end);
            if now.duration_since(state.flushed) >= FLUSH_AFTER {
                self.flush(&mut state, now);
            }
        }
        state.begin_next(now)
    }

    /// Says that the lane is free: tells what has ended, and that the slice has returned.
    pub(crate) fn returned(&self) {
        self.flush(&mut self.state(), Instant::now());
        self.events.send(AgentEvent::Returned { slice: self.id() });
    }

    /// Begins nothing more, and returns what has not begun.
    pub(crate) fn reclaim(&self) -> TaskRange {
        self.state().cut()
    }

    /// Cancels the task that runs, if it lies in `range`; says whether it does.
    pub(crate) fn cancel(&self, range: TaskRange) -> bool {
        let mut state = self.state();
        let hit = state.current.is_some_and(|current| range.contains(current.index));
        if hit {
            state.current = None;
            self.cancelled.store(true, Ordering::Release);
        }
        hit
    }

    /// Kills the task that runs, if it lies in `range`; says whether it does. Nothing of the slice begins
    /// afterwards: the rest was taken back before.
    pub(crate) fn kill_in(&self, range: TaskRange) -> bool {
        let hit = self.cancel(range);
        // What was cancelled before is killed too.
        if hit || self.is_cancelled() {
            self.killed.store(true, Ordering::Release);
        }
        hit || self.is_cancelled()
    }

    /// Says whether the task that runs should end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Ends all of it at once, without grace: the worker stops.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        state.cut();
        state.current = None;
        self.killed.store(true, Ordering::Release);
        self.cancelled.store(true, Ordering::Release);
    }

    /// Says whether the task that runs should be gone by now.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Ends a function's task that has run longer than its timeout, with everything of the slice: what
    /// has not begun is handed back, since the lane is not free before the function returns.
    pub(crate) fn check_timeout(&self, timeout: Duration, now: Instant) {
        let mut state = self.state();
        let late = |current: &Current| now.duration_since(current.since) >= timeout;
        let Some(current) = state.current.take_if(|current| late(current)) else { return };
        self.cancelled.store(true, Ordering::Release);
        let end = self.end_of(current, now, Finish::failed(Failure::Timeout));
        state.add(end);
        self.flush(&mut state, now);
        let tail = state.cut();
        self.events.send(AgentEvent::Reclaimed { slice: self.id(), tail });
    }

    /// Returns when the task that runs will have run for `timeout`.
    pub(crate) fn timeout_at(&self, timeout: Duration) -> Option<Instant> {
        self.state().current.and_then(|current| current.since.checked_add(timeout))
    }

    /// Tells what has ended and was not told for a while.
    pub(crate) fn flush_if_stale(&self, now: Instant) {
        let mut state = self.state();
        if now.duration_since(state.flushed) >= FLUSH_AFTER {
            self.flush(&mut state, now);
        }
    }

    fn flush(&self, state: &mut State, now: Instant) {
        state.flushed = now;
        if !state.ends.is_empty() {
            // While the state is locked, so that ends are told in order.
            let ends = std::mem::take(&mut state.ends);
            self.events.send(AgentEvent::Ended { slice: self.id(), ends });
        }
    }

    fn end_of(&self, current: Current, now: Instant, finish: Finish) -> TaskEnd {
        let Finish { outcome, output } = finish;
        let busy = now.duration_since(current.since);
        TaskEnd {
            range: TaskRange::one(current.index),
            started: self.clock.wall_at(current.since),
            ended: self.clock.wall_at(now),
            busy_ns: u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX),
            outcome,
            output: (output.bytes() > 0).then(|| Arc::new(output)),
        }
    }

    /// A panic while it was locked left nothing half done: every change is one assignment or one push.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin_next(&mut self, now: Instant) -> Option<u64> {
        let index = (self.next < self.end).then_some(self.next)?;
        self.next += 1;
        self.current = Some(Current { index, since: now });
        Some(index)
    }

    /// Takes back what has not begun.
    fn cut(&mut self) -> TaskRange {
        let tail = TaskRange::new(self.next, self.end);
        self.end = self.next;
        tail
    }

    /// Adds an end, joined with the one before it where neither has anything to tell.
    fn add(&mut self, end: TaskEnd) {
        let plain = |end: &TaskEnd| end.output.is_none() && end.outcome == Outcome::Done;
        match self.ends.last_mut() {
            Some(last) if last.range.end == end.range.start && plain(last) && plain(&end) => {
                last.range.end = end.range.end;
                last.ended = WallMs::max(last.ended, end.ended);
                last.busy_ns = last.busy_ns.saturating_add(end.busy_ns);
            }
            Some(_) | None => self.ends.push(end),
        }
    }
}
