//! Draining: a worker finishes what it runs, gives back what it has not begun, and gets nothing new until it
//! is resumed.
//!
//! That it drains is a fact about the machine, not about its session: it holds over restarts of both sides,
//! and for one that is not there too.

use std::collections::BTreeSet;

use gridctl_jobs::id::{StageId, Token, WorkerId};

use super::fleet::TakingBack;
use super::{Scheduler, Step};
use crate::effect::{Refusal, Reply, ToWorker};
use crate::event::{Caller, RequestId};
use crate::fact::{Fact, UserRole};

impl Scheduler {
    /// Someone wants a worker to get nothing new.
    pub(super) fn on_drain_worker(
        &mut self,
        cx: &mut Step<'_>,
        request: RequestId,
        caller: Caller,
        worker: WorkerId,
    ) {
        let (name, drains) = match self.check_worker(caller, worker) {
            Ok(found) => found,
            Err(refusal) => return self.reply(cx, request, Reply::Refused(refusal)),
        };
        if !drains {
            self.record(cx, Fact::WorkerDraining { worker, by: caller.user, at: cx.now.wall });
            self.unclaim(worker);
            self.fleet.change(worker, |machine| machine.is_withheld = true);
            self.dirty.shown.insert(worker);
            self.take_all_back(cx, worker);
        }
        let running = self.activity.running_on(worker);
        self.reply(cx, request, Reply::WorkerDraining { worker, name, running, new: !drains });
    }

    /// Someone wants a worker to be given work again.
    pub(super) fn on_resume_worker(
        &mut self,
        cx: &mut Step<'_>,
        request: RequestId,
        caller: Caller,
        worker: WorkerId,
    ) {
        let (name, drains) = match self.check_worker(caller, worker) {
            Ok(found) => found,
            Err(refusal) => return self.reply(cx, request, Reply::Refused(refusal)),
        };
        if drains {
            self.record(cx, Fact::WorkerResumed { worker, by: caller.user, at: cx.now.wall });
            self.fleet.change(worker, |machine| machine.is_withheld = false);
            self.dirty.shown.insert(worker);
            self.dirty.workers.insert(worker);
        }
        self.reply(cx, request, Reply::WorkerResumed { worker, name, new: drains });
    }

    /// Says whether something durable keeps a worker from being given work.
    pub(super) fn is_withheld(&self, worker: WorkerId) -> bool {
        self.state.directory().worker(worker).is_some_and(|worker| worker.draining)
    }

    /// Asks a worker for everything that it has not begun.
    pub(super) fn take_all_back(&mut self, cx: &mut Step<'_>, worker: WorkerId) {
        let Some(machine) = self.fleet.ready(worker) else { return };
        let stages: Vec<StageId> = machine.loads.keys().copied().collect();
        for stage in stages {
            let Some(pieces) = self.activity.granted.get(&stage) else { continue };
            let unbegun: BTreeSet<Token> = pieces
                .values()
                .filter(|granted| granted.worker == worker && granted.started.is_none())
                .map(|granted| granted.token)
                .collect();
            if unbegun.is_empty() {
                continue;
            }
            self.fleet.change_load(worker, stage, |load| load.taking_back = TakingBack::Asked);
            for token in unbegun {
                self.send(cx, worker, ToWorker::TakeBack { token, stage, tasks: EVERYTHING });
            }
        }
    }

    fn check_worker(&self, caller: Caller, worker: WorkerId) -> Result<(String, bool), Refusal> {
        if caller.role != UserRole::Admin {
            return Err(Refusal::AdminOnly);
        }
        let found = self.state.directory().worker(worker).ok_or(Refusal::NoSuchWorker)?;
        Ok((found.name.clone(), found.draining))
    }
}

/// As many tasks as have not begun: more than any stage has.
const EVERYTHING: u64 = u64::MAX;
