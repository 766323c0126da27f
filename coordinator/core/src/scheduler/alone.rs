//! Suspects: tasks with which workers were lost more than once. Each runs alone on a worker, so that the next
//! loss tells whether it was the cause, and takes no other task with it.
//!
//! An empty worker takes one when nothing else is to be served first. So that they also run on a busy grid, one
//! worker at a time is kept for them: it gets nothing new until it is empty, and then one suspect after the
//! other, as long as no stage that is served before theirs has work for it.

use gridctl_jobs::id::WorkerId;

use super::fleet::Machine;
use super::limits::SUSPECT_LOOKS;
use super::queue::Rank;
use super::runnable::Runnable;
use super::split::Cut;
use super::{Scheduler, Step};
use crate::state::History;

impl Scheduler {
    /// Gives an empty worker a suspect; `false` where none is for it now.
    pub(super) fn offer_alone(&mut self, cx: &mut Step<'_>, worker: WorkerId) -> bool {
        if self.suspects.is_empty() {
            return false;
        }
        let Some(machine) = self.fleet.taking(worker).filter(|machine| machine.loads.is_empty())
        else {
            return false;
        };
        let kept = machine.kept_for_suspects;
        let before = |first: Rank, rank: Rank| first < rank || (!kept && first == rank);
        let Some((rank, index)) = self.suspect_for(worker, machine, before) else { return false };
        let stage = rank.id();
        let Some(runnable) = self.stages.get_mut(&stage) else { return false };
        let Some(attempt) = runnable.suspects.remove(&index) else { return false };
        let range = gridctl_jobs::range::TaskRange::one(u64::from(index));
        self.grant(cx, worker, stage, Cut { range, attempt }, 1);
        self.fleet.change(worker, |machine| machine.alone = true);
        self.sync(cx, stage);
        true
    }

    /// Keeps one worker for suspects while there are any; returns whether some worker is to be looked at again.
    pub(super) fn keep_for_suspects(&mut self) -> bool {
        if let Some(worker) = self.kept_for_suspects {
            let kept = self.fleet.taking(worker).filter(|machine| machine.kept_for_suspects);
            let is_right =
                kept.is_some_and(|m| m.alone || self.suspect_for(worker, m, is_before).is_some());
            if is_right {
                return false;
            }
            self.kept_for_suspects = None;
            self.fleet.change(worker, |machine| machine.kept_for_suspects = false);
            self.dirty.shown.insert(worker);
            self.dirty.workers.insert(worker);
            return true;
        }
        let Some(worker) = self.worker_for_suspects() else { return false };
        self.unclaim(worker);
        self.kept_for_suspects = Some(worker);
        self.fleet.change(worker, |machine| machine.kept_for_suspects = true);
        self.dirty.shown.insert(worker);
        self.dirty.workers.insert(worker);
        true
    }

    /// Chooses a worker to keep for suspects: of those that may take one, that which holds least.
    pub(super) fn worker_for_suspects(&self) -> Option<WorkerId> {
        if self.suspects.is_empty() {
            return None;
        }
        let fitting = self.fleet.iter().filter(|(worker, machine)| {
            machine.takes_any() && self.suspect_for(*worker, machine, is_before).is_some()
        });
        let held =
            |machine: &Machine| machine.loads.values().map(|load| load.outstanding).sum::<u64>();
        fitting.min_by_key(|(worker, machine)| (held(machine), *worker)).map(|(worker, _)| worker)
    }

    /// Returns the first suspect that a worker may take, unless something that is `before` it is queued for the
    /// worker.
    fn suspect_for(
        &self,
        worker: WorkerId,
        machine: &Machine,
        before: impl Fn(Rank, Rank) -> bool,
    ) -> Option<(Rank, u32)> {
        let first = self.first_queued(worker, machine);
        for rank in self.suspects.iter().take(SUSPECT_LOOKS) {
            if first.is_some_and(|first| before(first, *rank)) {
                return None;
            }
            let runnable = self.runnable(rank.id());
            if runnable.cpus > machine.cpus || !runnable.may_run_on(machine) {
                continue;
            }
            let known = self.state.stage(rank.id()).expect("what runs is in the state");
            let mut waiting = runnable.suspects.keys().take(SUSPECT_LOOKS);
            let found = waiting.find(|index| {
                let history = known.history(u64::from(**index));
                history.is_none_or(|history| self.may_take(worker, runnable, history))
            });
            if let Some(index) = found {
                return Some((*rank, *index));
            }
        }
        None
    }

    /// Says whether a suspect may go to a worker: not where it could not start, and not where it was last, if
    /// there is another worker for it, since the machine may be the cause.
    fn may_take(&self, worker: WorkerId, runnable: &Runnable, history: &History) -> bool {
        if history.could_not_start().contains(&worker) {
            return false;
        }
        let last = history.last_attempt().map(|attempt| attempt.worker);
        if last != Some(worker) {
            return true;
        }
        let mut others = self.fleet.iter().filter(|(other, machine)| {
            *other != worker
                && machine.takes_work()
                && machine.cpus >= runnable.cpus
                && runnable.may_run_on(machine)
                && !history.could_not_start().contains(other)
        });
        others.next().is_none()
    }

    /// Returns the first stage in the queue that has something for a worker, were it empty.
    fn first_queued(&self, worker: WorkerId, machine: &Machine) -> Option<Rank> {
        let mut heads = self.queue.heads(machine.cpus);
        while let Some((rank, class)) = heads.pop_first() {
            let runnable = self.runnable(rank.id());
            if runnable.may_run_on(machine) && runnable.pending.has_for(worker) {
                return Some(rank);
            }
            if let Some(next) = self.queue.after(class, rank) {
                heads.insert(next, class);
            }
        }
        None
    }
}

/// What is served before a suspect also where a worker is kept for them: other stages, not its own.
fn is_before(first: Rank, suspect: Rank) -> bool {
    first < suspect
}
