//! A start, and the window after it: as long as workers of an earlier life may still run something and have
//! not said so, nothing is granted.
//!
//! In the window, what workers announce is adopted, and successes commit at once. Failures of older epochs
//! wait: another worker may turn out to run a later attempt of the same task.

use gridctl_jobs::id::{Epoch, StageId, Token, WorkerId};
use gridctl_jobs::planted::{Bug, is_on};

use super::limits::HELD_BACK_MAX;
use super::{Scheduler, Step};
use crate::activity::Change;
use crate::event::{MonoMs, Outcome, ReportItem};
use crate::fact::Fact;

impl Scheduler {
    /// The first event: a new epoch begins.
    pub(super) fn on_start(&mut self, cx: &mut Step<'_>) {
        assert!(self.token.epoch == Epoch(0), "a scheduler starts once");
        let epoch = Epoch(self.state.epoch().0.saturating_add(1).max(cx.now.wall.0));
        let epoch = if is_on(Bug::EpochRepeats) { self.state.epoch().max(Epoch(1)) } else { epoch };
        self.token = Token { epoch, counter: 0 };
        if !is_on(Bug::EpochNotRecorded) {
            self.record(cx, Fact::EpochStarted { epoch, at: cx.now.wall });
        }
        let found: Vec<_> = self.state.open_jobs().map(crate::state::Job::id).collect();
        if !found.is_empty() && !is_on(Bug::NoWindow) {
            let part = if is_on(Bug::WindowTooShort) { 2 } else { 1 };
            let until = MonoMs(cx.now.mono.0.saturating_add(self.config.lease_ms / part));
            self.show(cx, Change::Window { until: Some(until) });
        }
        self.dirty.jobs.extend(found);
        self.retention.start(cx.now.mono);
    }

    /// What has come due before this step: the end of the window, retries, and jobs to forget.
    pub(super) fn on_due(&mut self, cx: &mut Step<'_>) {
        if self.activity.window_until.is_some_and(|until| until <= cx.now.mono) {
            self.show(cx, Change::Window { until: None });
            self.take_held_back(cx);
        }
        while let Some((_, stage)) =
            self.timers.first().copied().filter(|(at, _)| *at <= cx.now.mono)
        {
            self.requeue_due(cx, stage);
        }
        self.forget_due(cx);
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
            self.requeue(stage, gridctl_jobs::range::TaskRange::one(index), attempt);
        }
        self.sync(cx, stage);
    }
}
