//! Workers come and go: a closed connection makes one suspect, the end of its lease makes it lost, an orderly
//! goodbye lets it leave. (How one comes is in [`adopt`](super::adopt).)

use gridctl_jobs::id::{Epoch, StageId, Token, WorkerId};
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::range::TaskRange;

use super::fleet::Machine;
use super::split::Manner;
use super::{Scheduler, Step};
use crate::activity::{Change, Granted, WorkerActivity, WorkerState};
use crate::effect::CloseReason;
use crate::event::{MonoMs, SessionId};

/// Above every token.
const ANY_TOKEN: Token = Token { epoch: Epoch(u64::MAX), counter: u64::MAX };

impl Scheduler {
    /// A worker's connection is gone; its lease runs on, and it gets nothing new.
    pub(super) fn on_disconnected(&mut self, session: SessionId) {
        let Some(worker) = self.fleet.worker_of(session) else { return };
        self.fleet.note(worker, |machine| machine.connected = false);
        self.suspect(worker);
    }

    /// Heartbeats of a worker did not come: it gets nothing new, before its lease runs out.
    pub(super) fn on_silent(&mut self, session: SessionId) {
        if let Some(worker) = self.fleet.worker_of(session) {
            self.suspect(worker);
        }
    }

    /// A heartbeat of a silent worker came.
    pub(super) fn on_heard(&mut self, session: SessionId) {
        let Some(worker) = self.fleet.worker_of(session) else { return };
        let is_back =
            |machine: &Machine| machine.connected && machine.state == WorkerState::Suspect;
        if self.fleet.get(worker).is_some_and(is_back) {
            self.fleet.change(worker, |machine| machine.state = WorkerState::Ready);
            self.dirty.workers.insert(worker);
            self.dirty.shown.insert(worker);
        }
    }

    fn suspect(&mut self, worker: WorkerId) {
        if self.fleet.ready(worker).is_some() {
            self.unclaim(worker);
            self.fleet.change(worker, |machine| machine.state = WorkerState::Suspect);
            self.dirty.shown.insert(worker);
        }
    }

    /// A worker's lease has run out: what it held is given out again.
    pub(super) fn on_lease_expired(&mut self, cx: &mut Step<'_>, session: SessionId) {
        let Some(worker) = self.fleet.worker_of(session) else { return };
        self.lose(cx, worker, CloseReason::LeaseExpired, cx.now.mono);
    }

    /// A worker said what no worker of ours says. Nothing of it is trusted any more, so that its tasks need
    /// not wait for the end of its lease; but what must not run twice does.
    pub(super) fn violate(&mut self, cx: &mut Step<'_>, worker: WorkerId, why: CloseReason) {
        let lease_end = MonoMs(cx.now.mono.0.saturating_add(self.config.lease_ms));
        self.lose(cx, worker, why, lease_end);
    }

    /// A worker leaves in order.
    pub(super) fn on_goodbye(&mut self, cx: &mut Step<'_>, session: SessionId) {
        let Some(worker) = self.fleet.worker_of(session) else { return };
        let held = self.release_all(cx, worker);
        if !is_on(Bug::GoodbyeForgotten) {
            self.give_out_again(cx, held);
        }
        self.unclaim(worker);
        self.untell(worker);
        self.fleet.leave(worker);
        self.unbar_worker(cx, worker);
        self.detach_lost(cx);
        self.dirty.shown.remove(&worker);
        self.show(cx, Change::WorkerLeft { worker });
    }

    /// Shows readers the workers that changed in this step.
    pub(super) fn show_workers(&mut self, cx: &mut Step<'_>) {
        while let Some(worker) = self.dirty.shown.pop_first() {
            let Some(machine) = self.fleet.get(worker) else { continue };
            let (state, cpus, reserved) = (machine.shown_state(), machine.cpus, machine.reserved);
            let (ends_trees, alone) = (machine.ends_trees, machine.is_reserved());
            let activity = WorkerActivity { state, cpus, reserved, ends_trees, alone };
            if self.activity.workers.get(&worker) != Some(&activity) {
                self.show(cx, Change::Worker { worker, activity });
            }
        }
    }

    /// Takes everything out of a worker's hands; returns what it held.
    pub(super) fn release_all(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
    ) -> Vec<(StageId, TaskRange, Granted)> {
        let Some(machine) = self.fleet.get(worker) else { return Vec::new() };
        let stages: Vec<StageId> = machine.loads.keys().copied().collect();
        let mut held = Vec::new();
        for stage in stages {
            let everything = TaskRange::new(0, u64::MAX);
            for (range, granted) in self.pieces_of(worker, stage, everything, ANY_TOKEN) {
                self.release(cx, stage, range);
                held.push((stage, range, Granted { end: range.end, ..granted }));
            }
        }
        held
    }

    /// Forgets which orders a worker was sent.
    pub(super) fn untell(&mut self, worker: WorkerId) {
        let Some(machine) = self.fleet.get(worker) else { return };
        for stage in &machine.told {
            if let Some(runnable) = self.stages.get_mut(stage) {
                runnable.told.remove(&worker);
            }
        }
        self.fleet.note(worker, |machine| machine.told.clear());
    }

    fn lose(&mut self, cx: &mut Step<'_>, worker: WorkerId, why: CloseReason, lease_end: MonoMs) {
        if let Some(session) = self.fleet.session_of(worker) {
            self.close(cx, session, why.clone());
        }
        let dead_by = self.dead_by(lease_end);
        let held = self.release_all(cx, worker);
        self.limit_dying(worker, dead_by);
        self.unclaim(worker);
        self.untell(worker);
        self.fleet.lose(worker);
        if why == CloseReason::LeaseExpired {
            self.lose_tasks(cx, worker, held, Some(dead_by));
        } else {
            // It is there, only not believed any more; nobody's task has ended it.
            let (stop, finish) =
                held.into_iter().partition(|(stage, ..)| self.runnable(*stage).stops);
            self.give_out_again(cx, finish);
            self.give_out_later(cx, stop, dead_by);
        }
        self.detach_lost(cx);
        self.dirty.shown.insert(worker);
    }

    /// Makes what a worker held ready for others, as their next attempts.
    pub(super) fn give_out_again(
        &mut self,
        cx: &mut Step<'_>,
        held: Vec<(StageId, TaskRange, Granted)>,
    ) {
        for (stage, range, granted) in held {
            let attempt = granted.attempt.saturating_add(1);
            self.requeue(cx, stage, range, attempt, Manner::Ahead);
            self.sync(cx, stage);
        }
    }

    /// The same once what ran of it is surely dead.
    fn give_out_later(
        &mut self,
        cx: &mut Step<'_>,
        held: Vec<(StageId, TaskRange, Granted)>,
        dead_by: MonoMs,
    ) {
        for (stage, range, granted) in held {
            self.bar_dying(cx, stage, range, &granted, dead_by);
        }
    }
}
