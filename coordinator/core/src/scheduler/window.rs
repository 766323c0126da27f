//! A start, and the window after it: what workers of an earlier life may still run, and have not said so, is
//! not granted.
//!
//! The window is over when every worker that held a lease is back, or the longest lease that may be in force
//! has passed. Meanwhile what workers announce is adopted, and successes commit at once. Failures of older
//! epochs wait: another worker may turn out to run a later attempt of the same task. Tasks above a stage's
//! watermark were never granted, and those of jobs submitted in this life neither: they go at once.
//!
//! A coordinator that was set back knows neither watermarks nor who held a lease: it was restored from a
//! copy, or a worker shows a token of an epoch that its journal lacks. It grants nothing at all for as long
//! as a lease can last.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{Epoch, StageId, Token, WorkerId};
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::OnLostLease;

use super::limits::{HELD_BACK_MAX, LEASE_MS_MAX, stop_margin_ms};
use super::runnable::stage_spec;
use super::{Scheduler, Step};
use crate::activity::{Change, WorkerState};
use crate::event::{Held, MonoMs, Outcome, ReportItem};
use crate::fact::{Fact, Kept};
use crate::state::Job;

/// What is known of the lives before this one.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Workers that held a lease and are not back.
    pub(super) missing: BTreeSet<WorkerId>,
    /// Up to where the tasks of stages may have been granted; of all others nothing was.
    floors: BTreeMap<StageId, u64>,
    /// Whether nothing that the journal says about leases is trusted.
    set_back: bool,
    /// A set-back counts once a life, so that nobody can hold a grid up for ever.
    noticed: bool,
    /// When the leases of earlier lives have run out, and the longest of them.
    pub(super) old_leases_until: MonoMs,
    pub(super) longest_ms: u64,
}

impl Scheduler {
    /// The first event: a new epoch begins.
    pub(super) fn on_start(&mut self, cx: &mut Step<'_>, restored: bool) {
        assert!(self.token.epoch == Epoch(0), "a scheduler starts once");
        let epoch = Epoch(self.state.epoch().0.saturating_add(1).max(cx.now.wall.0));
        let epoch = if is_on(Bug::EpochRepeats) { self.state.epoch().max(Epoch(1)) } else { epoch };
        self.token = Token { epoch, counter: 0 };
        if !is_on(Bug::EpochNotRecorded) {
            self.record(cx, Fact::EpochStarted { epoch, at: cx.now.wall });
        }
        let before_ms = self.state.leases().longest_ms();
        if before_ms < self.config.lease_ms {
            self.record(cx, Fact::LeaseLength { longest_ms: self.config.lease_ms });
        }
        self.dirty.jobs.extend(self.state.open_jobs().map(Job::id));
        self.retention.start(cx.now.mono);
        if restored || self.state.leases().is_set_back() {
            self.set_back(cx);
        } else if !is_on(Bug::NoWindow) {
            self.window.missing =
                self.state.leases().attached().map(|(worker, _)| worker).collect();
            if !self.window.missing.is_empty() {
                let part = if is_on(Bug::WindowTooShort) { 2 } else { 1 };
                self.open_window(cx, before_ms / part);
            }
        }
    }

    /// What has come due before this step: the end of the window, what is surely dead, retries, and jobs to forget.
    pub(super) fn on_due(&mut self, cx: &mut Step<'_>) {
        if self.activity.window_until.is_some_and(|until| until <= cx.now.mono) {
            self.close_window(cx);
        }
        self.unbar_due(cx);
        if self.lease_shortens().is_some_and(|at| at <= cx.now.mono) {
            self.record(cx, Fact::LeaseLength { longest_ms: self.config.lease_ms });
        }
        while let Some((_, stage)) =
            self.timers.first().copied().filter(|(at, _)| *at <= cx.now.mono)
        {
            self.requeue_due(cx, stage);
        }
        self.forget_due(cx);
    }

    /// Returns when longer leases than this life's are no longer in force.
    pub(super) fn lease_shortens(&self) -> Option<MonoMs> {
        let has_started = self.token.epoch > Epoch(0);
        let is_longer = self.state.leases().longest_ms() > self.config.lease_ms;
        (has_started && is_longer).then_some(self.window.old_leases_until)
    }

    /// A worker shows what it holds: a token of an epoch that is not in the journal says that the
    /// coordinator was set back.
    pub(super) fn look_for_setback(&mut self, cx: &mut Step<'_>, held: &[Held]) {
        let unknown = |item: &Held| {
            item.token.epoch != self.token.epoch && !self.state.leases().knows(item.token.epoch)
        };
        if !self.window.noticed && held.iter().any(unknown) {
            self.set_back(cx);
        }
    }

    /// A worker that held a lease is back, or what it ran is surely gone.
    pub(super) fn came_back(&mut self, cx: &mut Step<'_>, worker: WorkerId) {
        self.window.missing.remove(&worker);
        let open = self.activity.window_until.is_some();
        if open && self.window.missing.is_empty() && !self.window.set_back {
            self.close_window(cx);
        }
    }

    /// Keeps all tasks of a stage that begins back, where nothing may be granted.
    pub(super) fn bar_new_stage(&mut self, cx: &mut Step<'_>, stage: StageId) {
        if self.window.set_back {
            let count = self.state.stage(stage).map_or(0, |stage| stage.counts().total);
            self.window.floors.insert(stage, count);
            self.bar_for_window(cx, stage, TaskRange::new(0, count));
        }
        let everything = TaskRange::new(0, u64::MAX);
        for part in self.bars.within(stage, everything) {
            if let Some(runnable) = self.stages.get_mut(&stage) {
                runnable.hold_back(part);
            }
        }
    }

    /// Says whether tasks may be run by a worker that is not back.
    pub(super) fn window_holds(&self, stage: StageId, range: TaskRange) -> bool {
        self.activity.window_until.is_some()
            && self.window.floors.get(&stage).is_some_and(|floor| range.start < *floor)
    }

    /// Says whether a report is to be kept until the window has closed.
    pub(super) fn waits_for_window(&self, item: &ReportItem) -> bool {
        let failed = match item.outcome {
            Outcome::Failed { .. } => true,
            Outcome::Done { .. } => false,
        };
        failed
            && self.activity.window_until.is_some()
            && item.token.epoch < self.token.epoch
            && !is_on(Bug::OldFailuresAtOnce)
            && self.state.stage(item.stage).is_some_and(|stage| stage.is_open(item.range.start))
    }

    /// Keeps a report until the window has closed; `false` where the worker has too many of them.
    pub(super) fn hold_back(&mut self, worker: WorkerId, item: ReportItem) -> bool {
        let mut fits = false;
        self.fleet.note(worker, |machine| {
            let key = (item.stage, item.range.start);
            fits = machine.held_back.len() < HELD_BACK_MAX || machine.held_back.contains_key(&key);
            if fits {
                machine.held_back.insert(key, item);
            }
        });
        fits
    }

    /// Lists output that reports name which wait for the window to close: no fact refers to it yet, and one
    /// still may.
    pub fn held_back(&self) -> impl Iterator<Item = Kept> {
        self.fleet.iter().flat_map(|(_, machine)| machine.held_back.values()).filter_map(|item| {
            match item.outcome {
                Outcome::Failed { kept, .. } | Outcome::Done { kept } => kept,
            }
        })
    }

    /// Trusts nothing that the journal says about leases until the longest that there can be has passed.
    fn set_back(&mut self, cx: &mut Step<'_>) {
        self.window.noticed = true;
        self.window.set_back = true;
        if !self.state.leases().is_set_back() {
            self.record(cx, Fact::SetBack { is_over: false });
        }
        self.open_window(cx, LEASE_MS_MAX);
    }

    fn open_window(&mut self, cx: &mut Step<'_>, longest_ms: u64) {
        let found = self.found();
        let end = MonoMs(cx.now.mono.0.saturating_add(longest_ms));
        self.window.old_leases_until = self.window.old_leases_until.max(end);
        self.window.longest_ms = self.window.longest_ms.max(longest_ms);
        let stops = |stage: &StageId| self.stops(*stage);
        let margin_ms = if found.keys().any(stops) { stop_margin_ms(longest_ms) } else { 0 };
        let until = MonoMs(end.0.saturating_add(margin_ms));
        self.show(cx, Change::Window { until: Some(until) });
        self.window.floors = found;
        for (stage, floor) in self.window.floors.clone() {
            self.bar_for_window(cx, stage, TaskRange::new(0, floor));
        }
    }

    /// Lists the stages of which something may have been granted, and up to where.
    fn found(&self) -> BTreeMap<StageId, u64> {
        let all = self.state.jobs().flat_map(|job| job.stages().iter().map(move |s| (job, s)));
        all.filter_map(|(job, stage)| {
            let floor = if self.window.set_back { stage.counts().total } else { stage.watermark() };
            // What was cancelled may be retried, and a task that stops must not run twice even then.
            let stops = stage_spec(job.spec(), stage).task.on_lost_lease == OnLostLease::Stop;
            (floor > 0 && (job.ended().is_none() || stops)).then_some((stage.id(), floor))
        })
        .collect()
    }

    /// Says whether tasks of a stage must not run twice.
    pub(super) fn stops(&self, stage: StageId) -> bool {
        let found = self.state.job(stage.job).and_then(|job| Some((job, job.stage(stage.stage)?)));
        found.is_some_and(|(job, stage)| {
            stage_spec(job.spec(), stage).task.on_lost_lease == OnLostLease::Stop
        })
    }

    fn close_window(&mut self, cx: &mut Step<'_>) {
        self.unbar_window(cx);
        self.show(cx, Change::Window { until: None });
        if self.window.set_back {
            self.window.set_back = false;
            self.record(cx, Fact::SetBack { is_over: true });
        }
        self.window.floors.clear();
        self.window.missing.clear();
        self.detach_lost(cx);
        self.take_held_back(cx);
    }

    /// Records that workers without a lease, of which nothing may be running any more, have none.
    pub(super) fn detach_lost(&mut self, cx: &mut Step<'_>) {
        let over: Vec<WorkerId> = self
            .state
            .leases()
            .attached()
            .map(|(worker, _)| worker)
            .filter(|worker| {
                let there = self.fleet.get(*worker);
                there.is_none_or(|machine| machine.state == WorkerState::Lost)
                    && !self.bars.are_dying_on(*worker)
                    && !self.window.missing.contains(worker)
            })
            .collect();
        for worker in over {
            self.record(cx, Fact::WorkerDetached { worker });
        }
    }

    fn take_held_back(&mut self, cx: &mut Step<'_>) {
        let waiting: Vec<WorkerId> = self
            .fleet
            .iter()
            .filter(|(_, machine)| !machine.held_back.is_empty())
            .map(|(worker, _)| worker)
            .collect();
        for worker in waiting {
            let mut items = std::collections::BTreeMap::new();
            self.fleet.note(worker, |machine| items = std::mem::take(&mut machine.held_back));
            for item in items.into_values() {
                self.take_item(cx, worker, &item);
            }
            self.settle_reports(cx, worker);
        }
    }

    fn requeue_due(&mut self, cx: &mut Step<'_>, stage: StageId) {
        let mut due = Vec::new();
        let runnable = self.stages.get_mut(&stage).expect("only stages that run have timers");
        while let Some(task) = runnable.later.pop_due(cx.now.mono) {
            due.push(task);
        }
        for (index, attempt) in due {
            let range = TaskRange::one(index);
            self.requeue(cx, stage, range, attempt, super::split::Manner::Ahead);
        }
        self.sync(cx, stage);
    }
}
