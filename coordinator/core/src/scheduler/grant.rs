//! Who holds which tasks: granting, releasing, giving out again; the one place where the load of a worker,
//! the count of a stage and what readers see change together.

use gridctl_jobs::id::{StageId, Token, WorkerId};
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::range::TaskRange;

use super::fleet::TakingBack;
use super::limits::{WATERMARK_STEP_MAX, WATERMARK_STEP_MIN};
use super::report::task_index;
use super::split::{Cut, Manner};
use super::{Scheduler, Step};
use crate::activity::{Backoff, Change, Granted};
use crate::effect::{CloseReason, Grant, ToWorker, Violation};
use crate::event::SessionId;
use crate::fact::Fact;
use crate::ranges;

impl Scheduler {
    /// Grants tasks to a worker, of which `lanes` of the stage may run at once from now on.
    pub(super) fn grant(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        stage: StageId,
        cut: Cut,
        lanes: u64,
    ) {
        self.tell_order(cx, worker, stage);
        let token = self.next_token();
        let lanes = lanes + u64::from(is_on(Bug::LanesTooMany));
        let lanes_sent =
            u32::try_from(lanes).expect("lanes are bounded by the outstanding maximum");
        let granted = Granted {
            end: cut.range.end,
            worker,
            token,
            attempt: cut.attempt,
            lanes: lanes_sent,
            started: None,
        };
        self.hold(cx, stage, cut.range, granted);
        self.fleet.change_load(worker, stage, |load| {
            load.lanes = lanes;
            load.taking_back = match load.taking_back {
                TakingBack::InVain => TakingBack::No,
                other @ (TakingBack::No | TakingBack::Asked) => other,
            };
        });
        let items = self.runnable(stage).items().sent_with(cut.range.start, cut.range.end);
        let grant = Grant {
            token,
            stage,
            range: cut.range,
            attempt: cut.attempt,
            lanes: lanes_sent,
            items,
        };
        self.send(cx, worker, ToWorker::Assign { grant });
    }

    /// Sends a stage's order, once a session.
    pub(super) fn tell_order(&mut self, cx: &mut Step<'_>, worker: WorkerId, stage: StageId) {
        let Some(runnable) = self.stages.get_mut(&stage) else { return };
        if !runnable.told.insert(worker) {
            return;
        }
        let order = runnable.order.clone();
        self.fleet.note(worker, |machine| {
            machine.told.insert(stage);
        });
        self.send(cx, worker, ToWorker::Stage { order });
    }

    /// Notes that a worker holds tasks that nobody holds.
    pub(super) fn hold(
        &mut self,
        cx: &mut Step<'_>,
        stage: StageId,
        range: TaskRange,
        granted: Granted,
    ) {
        self.raise_watermark(cx, stage, range.end);
        let cpus = self.runnable(stage).cpus;
        self.fleet.change_load(granted.worker, stage, |load| {
            load.cpus = cpus;
            load.outstanding += range.len();
        });
        if let Some(runnable) = self.stages.get_mut(&stage) {
            runnable.granted += range.len();
        }
        self.dirty.shown.insert(granted.worker);
        self.show(cx, Change::Granted { stage, range, granted });
    }

    /// Writes down, ahead and in steps, up to where the tasks of a stage may have been granted.
    fn raise_watermark(&mut self, cx: &mut Step<'_>, stage: StageId, end: u64) {
        let Some(known) = self.state.stage(stage) else { return };
        if end <= known.watermark() {
            return;
        }
        let ahead = (end / 4).clamp(WATERMARK_STEP_MIN, WATERMARK_STEP_MAX);
        let below = end.saturating_add(ahead).min(known.counts().total);
        self.record(cx, Fact::Watermark { stage, below });
    }

    /// Takes tasks out of the hands of whoever holds them; returns who did.
    pub(super) fn release(
        &mut self,
        cx: &mut Step<'_>,
        stage: StageId,
        range: TaskRange,
    ) -> Vec<(TaskRange, Granted)> {
        let Some(pieces) = self.activity.granted.get(&stage) else { return Vec::new() };
        let held: Vec<(TaskRange, Granted)> =
            ranges::overlapping(pieces, range).map(|(part, granted)| (part, *granted)).collect();
        for (part, granted) in &held {
            let times = if is_on(Bug::DoubleRelease) { 2 } else { 1 };
            let tasks = times * part.len();
            self.fleet.change_load(granted.worker, stage, |load| {
                load.outstanding = load.outstanding.saturating_sub(tasks);
            });
            if let Some(runnable) = self.stages.get_mut(&stage) {
                runnable.granted -= part.len();
            }
            self.dirty.workers.insert(granted.worker);
            self.dirty.shown.insert(granted.worker);
        }
        if !held.is_empty() {
            self.show(cx, Change::Released { stage, range });
        }
        held
    }

    /// Makes tasks of a stage that nobody holds ready to be given out before the fresh ones, but for those
    /// that must not be yet.
    pub(super) fn requeue(
        &mut self,
        cx: &mut Step<'_>,
        stage: StageId,
        range: TaskRange,
        attempt: u32,
        manner: Manner,
    ) {
        if !self.stages.contains_key(&stage) {
            return;
        }
        for part in self.unbarred(stage, range, attempt) {
            if self.has_failed_enough(stage) {
                self.leave_out(cx, stage, part);
                continue;
            }
            let Some(runnable) = self.stages.get_mut(&stage) else { return };
            let known = self.state.stage(stage).expect("what runs is in the state");
            let mut from = part.start;
            for (index, _) in known.suspects_in(part) {
                runnable.pending.put_back(known, TaskRange::new(from, index), attempt, manner);
                runnable.suspects.insert(task_index(index), attempt);
                from = index + 1;
            }
            runnable.pending.put_back(known, TaskRange::new(from, part.end), attempt, manner);
            self.dirty.stages.insert(runnable.rank);
        }
    }

    /// Keeps the queue, the timer and what readers see in step with a stage's pending tasks.
    pub(super) fn sync(&mut self, cx: &mut Step<'_>, stage: StageId) {
        let Some(runnable) = self.stages.get_mut(&stage) else { return };
        let pending = runnable.pending.len();
        if pending > 0 {
            self.queue.insert(runnable.cpus, runnable.rank);
        } else {
            self.queue.remove(runnable.cpus, runnable.rank);
        }
        if runnable.suspects.is_empty() {
            self.suspects.remove(&runnable.rank);
        } else {
            self.suspects.insert(runnable.rank);
        }
        while runnable.claims.len() as u64 > pending {
            if let Some(worker) = runnable.claims.pop_last() {
                self.fleet.note(worker, |machine| machine.claim = None);
                self.dirty.workers.insert(worker);
            }
        }
        let next = runnable.later.next();
        if next != runnable.timer {
            if let Some(at) = runnable.timer {
                self.timers.remove(&(at, stage));
            }
            if let Some(at) = next {
                self.timers.insert((at, stage));
            }
            runnable.timer = next;
        }
        let backoff = next.map(|next| Backoff { tasks: runnable.later.len(), next });
        if self.activity.backoff.get(&stage) != backoff.as_ref() {
            self.show(cx, Change::Backoff { stage, backoff });
        }
    }

    /// A worker gives back what it has not begun.
    pub(super) fn on_given_back(
        &mut self,
        cx: &mut Step<'_>,
        session: SessionId,
        token: Token,
        stage: StageId,
        given: &[TaskRange],
    ) {
        let Some(worker) = self.fleet.worker_of(session) else { return };
        let Some(known) = self.state.stage(stage) else { return };
        let count = known.counts().total;
        if given.iter().any(|range| !range.is_valid(count)) {
            self.violate(cx, worker, CloseReason::Violation(Violation::BadRange));
            return;
        }
        let free = |scheduler: &Self| scheduler.fleet.get(worker).map(super::fleet::Machine::free);
        let (before, mut any) = (free(self), false);
        for range in given {
            for (part, granted) in self.pieces_of(worker, stage, *range, token) {
                self.release(cx, stage, part);
                if !is_on(Bug::GivenBackForgotten) {
                    self.requeue(cx, stage, part, granted.attempt, Manner::Ahead);
                }
                any = true;
            }
            self.unbar_given_back(cx, worker, token, stage, *range);
        }
        self.fleet.change_load(worker, stage, |load| {
            load.taking_back = if any { TakingBack::No } else { TakingBack::InVain };
        });
        if free(self) == before {
            // What it keeps still fills its lanes: it gave for others.
            self.dirty.workers.remove(&worker);
        }
        if any && self.has_failed_enough(stage) {
            self.ask_back(cx, stage);
        }
        self.sync(cx, stage);
    }

    /// Lists what a worker holds of a range under tokens up to `newest`.
    pub(super) fn pieces_of(
        &self,
        worker: WorkerId,
        stage: StageId,
        range: TaskRange,
        newest: Token,
    ) -> Vec<(TaskRange, Granted)> {
        let Some(pieces) = self.activity.granted.get(&stage) else { return Vec::new() };
        ranges::overlapping(pieces, range)
            .filter(|(_, granted)| granted.worker == worker && granted.token <= newest)
            .map(|(part, granted)| (part, *granted))
            .collect()
    }

    pub(super) fn runnable(&self, stage: StageId) -> &super::Runnable {
        self.stages.get(&stage).expect("only tasks of stages that run are granted")
    }
}
