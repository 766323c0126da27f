//! Placement: which pending tasks go to which worker, by free cpus, and how many.
//!
//! A step looks only at workers and stages that changed. A stage with more to give out is spread over the
//! workers with most free, each getting its share; a worker with room is offered the stages in queue order.
//! A stage that has no room on a worker claims it: nothing ranked below is begun there until a task of it
//! fits, so that wide tasks are not starved by narrow ones. It claims at most as many workers as it has
//! tasks.

use gridctl_jobs::id::WorkerId;
use gridctl_jobs::units::Cpus;

use super::limits::OUTSTANDING_MAX;
use super::queue::Rank;
use super::split::Choice;
use super::{Scheduler, Step};

/// What came of offering a stage to a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Offered {
    /// Reserved there for it, more than before.
    reserved: Cpus,
    /// Whether the stage would run more tasks there if others did not hold the cpus.
    wants_more: bool,
}

/// How many tasks a worker is to get, and to run at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Portion {
    tasks: u64,
    lanes: u64,
}

impl Scheduler {
    /// Gives out what can be given out, after everything else of a step.
    pub(super) fn dispatch(&mut self, cx: &mut Step<'_>) {
        loop {
            while let Some(rank) = self.dirty.stages.pop_first() {
                self.spread(cx, rank);
            }
            while let Some(worker) = self.dirty.workers.pop_first() {
                self.fill(cx, worker);
            }
            if !self.keep_for_suspects() {
                return;
            }
        }
    }

    /// Spreads a stage over workers with room for it, by what they have free. What has failed on one of them goes
    /// to another, if there is one; else [`fill`](Self::fill) gives it back to that one.
    fn spread(&mut self, cx: &mut Step<'_>, rank: Rank) {
        let mut visited = None;
        while let Some((free, worker)) = self.fleet.freest_below(visited) {
            visited = Some((free, worker));
            let Some(runnable) = self.stages.get(&rank.id()) else { return };
            let pending = runnable.pending.len();
            if pending == 0 || free < runnable.cpus {
                return;
            }
            let claimed = self.fleet.get(worker).and_then(|machine| machine.claim);
            if claimed.is_some_and(|first| first < rank) {
                continue;
            }
            self.dirty.workers.insert(worker);
            let share = share(pending, free, self.fleet.ready_free());
            self.offer(cx, worker, rank, Choice::Picky, free, share);
        }
    }

    /// Offers a worker with room what is pending, in order of the queue.
    fn fill(&mut self, cx: &mut Step<'_>, worker: WorkerId) {
        self.unclaim(worker);
        if self.offer_alone(cx, worker) {
            return;
        }
        let Some(machine) = self.fleet.taking(worker).filter(|m| !m.is_reserved()) else { return };
        let mut usable = machine.free();
        let mut heads = self.queue.heads(machine.cpus);
        while let Some((rank, class)) = heads.pop_first() {
            let offered = self.offer(cx, worker, rank, Choice::Any, usable, u64::MAX);
            usable = usable.saturating_sub(offered.reserved);
            if offered.wants_more && self.claim(worker, rank) {
                return;
            }
            let next = if class <= usable {
                self.queue.after(class, rank)
            } else {
                self.next_held(worker, class, rank)
            };
            if let Some(next) = next {
                heads.insert(next, class);
            }
        }
        self.take_back_for(cx, worker);
    }

    /// Offers a stage to a worker, which may use up to `usable` more cpus for up to `lanes_more` tasks.
    fn offer(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        rank: Rank,
        choice: Choice,
        usable: Cpus,
        lanes_more: u64,
    ) -> Offered {
        let stage = rank.id();
        let Some(portion) = self.portion(worker, rank, usable, lanes_more) else {
            return Offered::default();
        };
        let before = self.fleet.get(worker).map_or(0, |machine| machine.load(stage).active());
        let mut given = 0;
        while given < portion.tasks {
            let known = self.state.stage(stage).expect("what runs is in the state");
            let runnable = self.stages.get_mut(&stage).expect("what is pending runs");
            let Some(cut) = runnable.take(known, worker, choice, portion.tasks - given) else {
                break;
            };
            given += cut.range.len();
            self.grant(cx, worker, stage, cut, portion.lanes);
        }
        if given > 0 {
            self.sync(cx, stage);
        }
        let Some(machine) = self.fleet.get(worker) else { return Offered::default() };
        let active = machine.load(stage).active();
        let runnable = self.runnable(stage);
        Offered {
            reserved: runnable.cpus.times(active.saturating_sub(before)),
            wants_more: runnable.pending.has_for(worker)
                && active < machine.cpus.fits(runnable.cpus),
        }
    }

    /// Decides how much of a stage a worker gets; `None` where the stage has nothing for it.
    fn portion(
        &self,
        worker: WorkerId,
        rank: Rank,
        usable: Cpus,
        lanes_more: u64,
    ) -> Option<Portion> {
        let runnable = self.stages.get(&rank.id())?;
        let machine = self.fleet.taking(worker).filter(|machine| !machine.is_reserved())?;
        let pending = runnable.pending.len();
        let load = machine.load(rank.id());
        if !runnable.may_run_on(machine) {
            return None;
        }
        if !runnable.pending.has_for(worker) || load.outstanding >= OUTSTANDING_MAX {
            return None;
        }
        let room = usable.fits(runnable.cpus).min(OUTSTANDING_MAX - load.outstanding);
        // What it holds beyond its lanes can fill new ones as well.
        let ahead_of_lanes = load.outstanding - load.active();
        let more = room.min(pending + ahead_of_lanes).min(lanes_more);
        let lanes = load.active() + more;
        let target =
            if runnable.pending.has_singles() { lanes } else { runnable.pace.target(lanes) };
        let unfilled = lanes.saturating_sub(load.outstanding);
        let ahead = share(pending, machine.cpus, self.fleet.ready_cpus()).max(unfilled);
        let wanted = target.saturating_sub(load.outstanding).min(ahead);
        let tasks = match more {
            0 if load.outstanding > target / 2 || lanes == 0 => 0,
            0 => wanted,
            // At least one: the lanes travel with a grant.
            _ => wanted.max(1),
        };
        Some(Portion { tasks, lanes })
    }

    /// Claims a worker for a stage that has no room there, unless it has claimed enough.
    fn claim(&mut self, worker: WorkerId, rank: Rank) -> bool {
        let Some(runnable) = self.stages.get_mut(&rank.id()) else { return false };
        if runnable.claims.len() as u64 >= runnable.pending.len() {
            return false;
        }
        runnable.claims.insert(worker);
        self.fleet.note(worker, |machine| machine.claim = Some(rank));
        true
    }

    pub(super) fn unclaim(&mut self, worker: WorkerId) {
        let claim = self.fleet.get(worker).and_then(|machine| machine.claim);
        if let Some(rank) = claim {
            self.fleet.note(worker, |machine| machine.claim = None);
            if let Some(runnable) = self.stages.get_mut(&rank.id()) {
                runnable.claims.remove(&worker);
            }
        }
    }

    /// Returns the next stage of a class behind `rank` that a worker holds tasks of already: without room
    /// for more lanes only those can be topped up.
    fn next_held(&self, worker: WorkerId, class: Cpus, rank: Rank) -> Option<Rank> {
        let machine = self.fleet.get(worker)?;
        machine
            .loads
            .iter()
            .filter(|(_, load)| load.cpus == class)
            .filter_map(|(stage, _)| Some(self.stages.get(stage)?.rank))
            .filter(|held| *held > rank && self.queue.contains(class, *held))
            .min()
    }
}

/// Returns the part of `tasks` that belongs to someone with `part` of `whole`, rounded up.
fn share(tasks: u64, part: Cpus, whole: Cpus) -> u64 {
    let (part, whole) = (part.ten_thousandths(), whole.ten_thousandths());
    if part >= whole {
        return tasks;
    }
    let share = (u128::from(tasks) * u128::from(part)).div_ceil(u128::from(whole));
    u64::try_from(share).expect("a part is not more than the whole")
}
