//! Tasks that are open and must not be granted yet, since an earlier attempt may still be running.
//!
//! There are two reasons. In the window after a restart a worker that is not back may run anything below the
//! stage's watermark. And a task of a stage with `on_lost_lease = "stop"`, which never runs twice at once, is
//! held until what ran of it is surely dead: its worker says so, comes back without it, is gone in order or
//! as a whole, or its lease and a margin are over.
//!
//! A bar says nothing about who holds a task: what is adopted below a bar is held as usual, and only if it
//! comes free again the bar counts. What is barred is in none of the stage's queues.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{StageId, Token, WorkerId};
use gridctl_jobs::range::TaskRange;

use super::limits::stop_margin_ms;
use super::split::Manner;
use super::{Scheduler, Step};
use crate::activity::{Barred, Change, Granted};
use crate::event::MonoMs;
use crate::ranges::{self, Piece};

/// Everything that is barred, by stage and first task.
#[derive(Debug, Default)]
pub(super) struct Bars {
    stages: BTreeMap<StageId, BTreeMap<u64, Bar>>,
}

/// Why some tasks must not be granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bar {
    end: u64,
    /// Of the next attempt, at least.
    attempt: u32,
    why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// Until the window closes.
    Window,
    /// The worker may run them under this token; until then at most, where the worker is lost.
    Dying { worker: WorkerId, token: Token, until: Option<MonoMs> },
}

impl Bars {
    /// Returns the parts of a range that are barred, in order.
    pub(super) fn within(&self, stage: StageId, range: TaskRange) -> Vec<TaskRange> {
        let pieces = self.stages.get(&stage).into_iter();
        pieces.flat_map(|pieces| ranges::overlapping(pieces, range)).map(|(part, _)| part).collect()
    }

    /// Says whether nothing waits for the window.
    pub(super) fn none_in_window(&self) -> bool {
        !self.stages.values().flat_map(BTreeMap::values).any(|bar| bar.why == Why::Window)
    }

    /// Says whether a worker may run something that must not run twice.
    pub(super) fn are_dying_on(&self, worker: WorkerId) -> bool {
        self.stages.values().flat_map(BTreeMap::values).any(|bar| bar.is_of(worker))
    }

    /// Returns when the first of them is over.
    pub(super) fn next(&self) -> Option<MonoMs> {
        self.stages.values().flat_map(BTreeMap::values).filter_map(|bar| bar.until()).min()
    }

    fn take(
        &mut self,
        stage: StageId,
        range: TaskRange,
        is_over: impl Fn(&Bar) -> bool,
    ) -> Vec<(TaskRange, Bar)> {
        let Some(pieces) = self.stages.get_mut(&stage) else { return Vec::new() };
        let over: Vec<TaskRange> = ranges::overlapping(pieces, range)
            .filter(|(_, bar)| is_over(bar))
            .map(|(part, _)| part)
            .collect();
        let taken = over.into_iter().flat_map(|part| ranges::carve(pieces, part)).collect();
        if pieces.is_empty() {
            self.stages.remove(&stage);
        }
        taken
    }

    fn shown(&self, stage: StageId) -> Option<Barred> {
        let pieces = self.stages.get(&stage)?;
        let mut barred = Barred::default();
        for (start, bar) in pieces {
            match bar.why {
                Why::Window => barred.in_window += bar.end - start,
                Why::Dying { .. } => barred.dying += bar.end - start,
            }
        }
        Some(barred)
    }
}

impl Bar {
    fn is_of(&self, of: WorkerId) -> bool {
        matches!(self.why, Why::Dying { worker, .. } if worker == of)
    }

    const fn until(&self) -> Option<MonoMs> {
        match self.why {
            Why::Window => None,
            Why::Dying { until, .. } => until,
        }
    }
}

impl Scheduler {
    /// Keeps tasks of a stage back until the window closes.
    pub(super) fn bar_for_window(&mut self, cx: &mut Step<'_>, stage: StageId, range: TaskRange) {
        if !range.is_empty() {
            self.bar(cx, stage, range, Bar { end: range.end, attempt: 0, why: Why::Window });
        }
    }

    /// Keeps tasks of a lost worker back until they are surely dead.
    pub(super) fn bar_dying(
        &mut self,
        cx: &mut Step<'_>,
        stage: StageId,
        range: TaskRange,
        granted: &Granted,
        dead_by: MonoMs,
    ) {
        let Granted { worker, token, attempt, .. } = *granted;
        let why = Why::Dying { worker, token, until: Some(dead_by) };
        let attempt = attempt.saturating_add(1);
        self.bar(cx, stage, range, Bar { end: range.end, attempt, why });
    }

    /// A worker is told to end tasks: where they must not run twice, they are not granted before it has.
    pub(super) fn bar_stopped(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        stage: StageId,
        range: TaskRange,
        token: Token,
        attempt: u32,
    ) {
        if self.stops(stage) {
            let why = Why::Dying { worker, token, until: None };
            let attempt = attempt.saturating_add(1);
            self.bar(cx, stage, range, Bar { end: range.end, attempt, why });
        }
    }

    /// Splits tasks that have come free into those that may be granted; the others wait behind their bars,
    /// for `attempt`.
    pub(super) fn unbarred(
        &mut self,
        stage: StageId,
        range: TaskRange,
        attempt: u32,
    ) -> Vec<TaskRange> {
        let mut free = vec![range];
        let Some(pieces) = self.bars.stages.get_mut(&stage) else { return free };
        for (part, bar) in ranges::carve(pieces, range) {
            pieces.insert(
                part.start,
                Bar { end: part.end, attempt: bar.attempt.max(attempt), ..bar },
            );
            free = free.into_iter().flat_map(|range| range.without(part)).collect();
        }
        free.retain(|range| !range.is_empty());
        free
    }

    /// A worker says that it does not run these, under this token or an older one.
    pub(super) fn unbar_given_back(
        &mut self,
        cx: &mut Step<'_>,
        of: WorkerId,
        newest: Token,
        stage: StageId,
        range: TaskRange,
    ) {
        let is_over = |bar: &Bar| matches!(bar.why, Why::Dying { worker, token, .. } if worker == of && token <= newest);
        self.lift(cx, stage, range, is_over);
    }

    /// A worker does not run anything that it was to end.
    pub(super) fn unbar_worker(&mut self, cx: &mut Step<'_>, worker: WorkerId) {
        self.lift_everywhere(cx, |bar| bar.is_of(worker));
    }

    /// The window has closed.
    pub(super) fn unbar_window(&mut self, cx: &mut Step<'_>) {
        self.lift_everywhere(cx, |bar| bar.why == Why::Window);
    }

    /// A worker is lost: what it was to end is over at some time.
    pub(super) fn limit_dying(&mut self, lost: WorkerId, at: MonoMs) {
        for bar in self.bars.stages.values_mut().flat_map(BTreeMap::values_mut) {
            if let Why::Dying { worker, until, .. } = &mut bar.why
                && *worker == lost
            {
                *until = Some(at);
            }
        }
    }

    /// Lets go of what is surely dead by now.
    pub(super) fn unbar_due(&mut self, cx: &mut Step<'_>) {
        let now = cx.now.mono;
        if self.bars.next().is_some_and(|at| at <= now) {
            self.lift_everywhere(cx, |bar| bar.until().is_some_and(|at| at <= now));
            self.detach_lost(cx);
        }
    }

    /// Says when what a worker runs, whose lease is over at `end`, is surely dead.
    pub(super) fn dead_by(&self, end: MonoMs) -> MonoMs {
        let margin_ms = stop_margin_ms(self.config.lease_ms.max(self.window.longest_ms));
        // It may not have heard that this coordinator gives shorter leases than the one before.
        MonoMs(end.max(self.window.old_leases_until).0.saturating_add(margin_ms))
    }

    fn bar(&mut self, cx: &mut Step<'_>, stage: StageId, range: TaskRange, bar: Bar) {
        ranges::put(self.bars.stages.entry(stage).or_default(), range.start, bar);
        if let Some(runnable) = self.stages.get_mut(&stage) {
            runnable.hold_back(range);
            self.sync(cx, stage);
        }
        self.show_bars(cx, stage);
    }

    fn lift_everywhere(&mut self, cx: &mut Step<'_>, is_over: impl Fn(&Bar) -> bool) {
        let stages: BTreeSet<StageId> = self.bars.stages.keys().copied().collect();
        for stage in stages {
            self.lift(cx, stage, TaskRange::new(0, u64::MAX), &is_over);
        }
    }

    fn lift(
        &mut self,
        cx: &mut Step<'_>,
        stage: StageId,
        range: TaskRange,
        is_over: impl Fn(&Bar) -> bool,
    ) {
        let lifted = self.bars.take(stage, range, is_over);
        if lifted.is_empty() {
            return;
        }
        for (part, bar) in lifted {
            if bar.why != Why::Window && self.window_holds(stage, part) {
                // Others may run it too.
                let pieces = self.bars.stages.entry(stage).or_default();
                ranges::put(pieces, part.start, Bar { end: part.end, why: Why::Window, ..bar });
            } else if self.stages.contains_key(&stage) {
                self.free(cx, stage, part, bar.attempt);
            }
        }
        if self.stages.contains_key(&stage) {
            self.sync(cx, stage);
        }
        self.show_bars(cx, stage);
    }

    /// Makes what is open and nowhere else of a range ready to be granted.
    fn free(&mut self, cx: &mut Step<'_>, stage: StageId, range: TaskRange, attempt: u32) {
        for part in self.loose(stage, range) {
            let mut from = part.start;
            while from < part.end {
                let Some(known) = self.state.stage(stage) else { return };
                let (attempts, end) = known.same_attempts(TaskRange::new(from, part.end));
                let next = attempt.max(attempts.saturating_add(1));
                self.requeue(cx, stage, TaskRange::new(from, end), next, Manner::Ahead);
                from = end;
            }
        }
    }

    /// Lists the tasks of a range that are open, not held, and not waiting for a retry.
    pub(super) fn loose(&self, stage: StageId, range: TaskRange) -> Vec<TaskRange> {
        let (Some(known), Some(runnable)) = (self.state.stage(stage), self.stages.get(&stage))
        else {
            return Vec::new();
        };
        let mut open = Vec::new();
        let mut from = range.start;
        while let Some(start) = known.next_open(from).filter(|start| *start < range.end) {
            from = known.open_until(start).min(range.end);
            open.push(TaskRange::new(start, from));
        }
        let held = self.activity.granted.get(&stage).into_iter();
        let held = held.flat_map(|pieces| ranges::overlapping(pieces, range)).map(|(part, _)| part);
        let later = runnable.later.indexes().filter(|index| range.contains(*index));
        let mut busy: Vec<TaskRange> = held.chain(later.map(TaskRange::one)).collect();
        busy.sort_unstable();
        without_all(&open, &busy)
    }

    fn show_bars(&mut self, cx: &mut Step<'_>, stage: StageId) {
        let barred = self.bars.shown(stage);
        if self.activity.barred.get(&stage) != barred.as_ref() {
            self.show(cx, Change::Barred { stage, barred });
        }
    }

    /// Panics with what is broken.
    pub(super) fn check_bars(&self) {
        for (stage, pieces) in &self.bars.stages {
            ranges::check(pieces, "barred");
            assert!(!pieces.is_empty(), "{stage:?}: bars of nothing");
            for bar in pieces.values() {
                let in_window = bar.why == Why::Window;
                assert!(
                    !in_window || self.activity.window_until.is_some(),
                    "{stage:?} waits for a window that is closed"
                );
            }
        }
        let shown: BTreeMap<StageId, Barred> = self
            .bars
            .stages
            .keys()
            .filter_map(|stage| Some((*stage, self.bars.shown(*stage)?)))
            .collect();
        assert_eq!(shown, self.activity.barred, "readers see what is barred");
    }
}

/// Leaves some ranges out of others; both are in order.
fn without_all(open: &[TaskRange], busy: &[TaskRange]) -> Vec<TaskRange> {
    let mut rest = Vec::new();
    let mut first = 0;
    for range in open {
        let mut from = range.start;
        while busy.get(first).is_some_and(|part| part.end <= from) {
            first += 1;
        }
        for part in busy[first..].iter().take_while(|part| part.start < range.end) {
            rest.push(TaskRange::new(from, part.start));
            from = from.max(part.end);
        }
        rest.push(TaskRange::new(from, range.end));
    }
    rest.retain(|range| !range.is_empty());
    rest
}

impl Piece for Bar {
    fn end(&self) -> u64 {
        self.end
    }
    fn until(&self, end: u64) -> Self {
        Self { end, ..*self }
    }
}
