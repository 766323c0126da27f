//! Taking back: unstarted work moves from the worker that has most of it to one that has nothing to do.

use gridctl_jobs::id::{StageId, Token, WorkerId};
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::units::Cpus;

use super::fleet::TakingBack;
use super::limits::{TAKE_BACK_LOOKS, TAKE_BACK_WORTH_US};
use super::split::Manner;
use super::{Scheduler, Step};
use crate::effect::ToWorker;

impl Scheduler {
    /// Asks for work for a worker for which nothing is pending.
    pub(super) fn take_back_for(&mut self, cx: &mut Step<'_>, idle: WorkerId) {
        let Some(free) = self.fleet.taking(idle).map(super::fleet::Machine::free) else { return };
        if free == Cpus::ZERO {
            return;
        }
        let found =
            self.fleet.surplus().take(TAKE_BACK_LOOKS).find(|(unstarted, victim, stage)| {
                *victim != idle
                    && self.may_run(*stage, idle)
                    && self.is_worth_taking(*unstarted, *victim, *stage, free)
            });
        let Some((unstarted, victim, stage)) = found else { return };
        let Some((token, tasks)) = self.last_grant(victim, stage) else { return };
        self.fleet.change_load(victim, stage, |load| load.taking_back = TakingBack::Asked);
        let tasks = tasks.min(unstarted.div_ceil(2));
        self.send(cx, victim, ToWorker::TakeBack { token, stage, tasks });
        if is_on(Bug::TakenBackGrantedEarly) {
            let everything = TaskRange::new(0, u64::MAX);
            for (part, granted) in self.pieces_of(victim, stage, everything, token) {
                self.release(cx, stage, part);
                self.requeue(cx, stage, part, granted.attempt, Manner::Ahead);
            }
            self.sync(cx, stage);
        }
    }

    fn may_run(&self, stage: StageId, worker: WorkerId) -> bool {
        let (stage, machine) = (self.stages.get(&stage), self.fleet.get(worker));
        stage.zip(machine).is_some_and(|(runnable, machine)| runnable.may_run_on(machine))
    }

    fn is_worth_taking(
        &self,
        unstarted: u64,
        victim: WorkerId,
        stage: StageId,
        free: Cpus,
    ) -> bool {
        let Some(runnable) = self.stages.get(&stage) else { return false };
        let Some(machine) = self.fleet.get(victim) else { return false };
        let load = machine.load(stage);
        let run_time_us = runnable.pace.run_time_us(unstarted).unwrap_or(u64::MAX);
        runnable.cpus <= free
            && load.taking_back == TakingBack::No
            && run_time_us / load.lanes.max(1) >= TAKE_BACK_WORTH_US
    }

    /// Returns the last grant of a stage that a worker still holds tasks of, and how many: they begin last.
    fn last_grant(&self, worker: WorkerId, stage: StageId) -> Option<(Token, u64)> {
        let pieces = self.activity.granted.get(&stage)?.iter();
        let held = pieces.filter(|(_, granted)| granted.worker == worker);
        held.fold(None, |last, (start, granted)| {
            let tasks = granted.end - start;
            match last {
                Some((token, _)) if token > granted.token => last,
                Some((token, more)) if token == granted.token => Some((token, more + tasks)),
                Some(_) | None => Some((granted.token, tasks)),
            }
        })
    }
}
