//! The connected workers: what each has, holds and has free, with the indexes that placement needs.
//!
//! Every change of a worker goes through [`Fleet::change`], which keeps the indexes.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{StageId, WorkerId};
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::units::Cpus;

use super::limits::WORKER_CPUS_MAX;
use super::queue::Rank;
use crate::activity::WorkerState;
use crate::event::{ReportItem, SessionId, WorkerHello};
use crate::fact::WorkerProcess;

/// All workers of this life of the coordinator, lost ones too.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    machines: BTreeMap<WorkerId, Machine>,
    sessions: BTreeMap<SessionId, WorkerId>,
    /// Workers that take work and have something free, by how much.
    free: BTreeSet<(Cpus, WorkerId)>,
    /// Unstarted tasks of workers that take work, by how many.
    surplus: BTreeSet<(u64, WorkerId, StageId)>,
    ready_cpus: Cpus,
    ready_free: Cpus,
}

/// A worker.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) state: WorkerState,
    /// Whether it gets nothing new although it is there.
    pub(super) is_withheld: bool,
    /// The last one; over where the worker is lost.
    pub(super) session: SessionId,
    /// Whether the session has its connection.
    pub(super) connected: bool,
    pub(super) process: WorkerProcess,
    /// Of the process.
    pub(super) connection: u64,
    pub(super) ends_trees: bool,
    pub(super) cpus: Cpus,
    pub(super) loads: BTreeMap<StageId, Load>,
    /// The sum over `loads`.
    pub(super) reserved: Cpus,
    /// Stages whose order it was sent in this session.
    pub(super) told: BTreeSet<StageId>,
    /// The stage that this worker is being emptied for, since it has no room for a task of it otherwise.
    pub(super) claim: Option<Rank>,
    /// Whether it runs one task and nothing may run beside it.
    pub(super) alone: bool,
    /// Whether it gets nothing but such tasks.
    pub(super) kept_for_suspects: bool,
    /// Failures that wait for the window to close, and how far its reports have come.
    pub(super) held_back: BTreeMap<(StageId, u64), ReportItem>,
    pub(super) last_sequence: u64,
}

/// What a worker holds of one stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Load {
    /// Tasks that it holds, begun or not.
    pub(super) outstanding: u64,
    /// How many of them may run at once.
    pub(super) lanes: u64,
    /// Of one task.
    pub(super) cpus: Cpus,
    pub(super) taking_back: TakingBack,
}

/// Whether unstarted work was asked back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum TakingBack {
    #[default]
    No,
    /// The answer is on its way.
    Asked,
    /// All had begun; nothing was granted since.
    InVain,
}

impl Load {
    /// How many tasks may be running.
    pub(super) fn active(&self) -> u64 {
        self.outstanding.min(self.lanes)
    }

    pub(super) fn reserved(&self) -> Cpus {
        self.cpus.times(self.active())
    }

    /// How many tasks have surely not begun.
    pub(super) const fn unstarted(&self) -> u64 {
        self.outstanding.saturating_sub(self.lanes)
    }
}

impl Machine {
    /// Makes one that has just said Hello.
    pub(super) fn new(session: SessionId, hello: &WorkerHello) -> Self {
        Self {
            state: WorkerState::Ready,
            is_withheld: false,
            session,
            connected: true,
            process: hello.process,
            connection: hello.connection,
            ends_trees: hello.ends_trees,
            cpus: hello.cpus.min(WORKER_CPUS_MAX),
            loads: BTreeMap::new(),
            reserved: Cpus::ZERO,
            told: BTreeSet::new(),
            claim: None,
            alone: false,
            kept_for_suspects: false,
            held_back: BTreeMap::new(),
            last_sequence: 0,
        }
    }

    /// Returns what it has for new tasks.
    pub(super) const fn free(&self) -> Cpus {
        if self.is_reserved() { Cpus::ZERO } else { self.cpus.saturating_sub(self.reserved) }
    }

    /// Says whether it gets no task beside a certain one.
    pub(super) const fn is_reserved(&self) -> bool {
        self.alone || self.kept_for_suspects
    }

    /// Says whether it may get any task that it has room for.
    pub(super) fn takes_any(&self) -> bool {
        self.takes_work() && !self.is_reserved()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == WorkerState::Ready
    }

    /// Says whether it can be given work.
    pub(super) fn takes_work(&self) -> bool {
        self.is_ready() && (!self.is_withheld || is_on(Bug::DrainedIsGranted))
    }

    /// Returns its state as people see it.
    pub(super) fn shown_state(&self) -> WorkerState {
        if self.is_ready() && self.is_withheld { WorkerState::Draining } else { self.state }
    }

    pub(super) fn load(&self, stage: StageId) -> Load {
        self.loads.get(&stage).copied().unwrap_or_default()
    }
}

impl Fleet {
    pub(super) fn get(&self, worker: WorkerId) -> Option<&Machine> {
        self.machines.get(&worker)
    }

    /// Returns a worker that can be told something.
    pub(super) fn connected(&self, worker: WorkerId) -> Option<&Machine> {
        self.get(worker).filter(|machine| machine.connected)
    }

    /// Returns a worker that is connected and heard of.
    pub(super) fn ready(&self, worker: WorkerId) -> Option<&Machine> {
        self.get(worker).filter(|machine| machine.is_ready())
    }

    /// Returns a worker that can be given work.
    pub(super) fn taking(&self, worker: WorkerId) -> Option<&Machine> {
        self.get(worker).filter(|machine| machine.takes_work())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Machine)> {
        self.machines.iter().map(|(worker, machine)| (*worker, machine))
    }

    /// Returns whose session it is; `None` for one that is over.
    pub(super) fn worker_of(&self, session: SessionId) -> Option<WorkerId> {
        self.sessions.get(&session).copied()
    }

    /// Returns a worker's session, unless that is over.
    pub(super) fn session_of(&self, worker: WorkerId) -> Option<SessionId> {
        let session = self.get(worker)?.session;
        (self.worker_of(session) == Some(worker)).then_some(session)
    }

    /// Sum over workers that take work.
    pub(super) const fn ready_cpus(&self) -> Cpus {
        self.ready_cpus
    }

    /// Sum over workers that take work.
    pub(super) const fn ready_free(&self) -> Cpus {
        self.ready_free
    }

    /// Returns the worker that takes work with most free, below `(cpus, worker)` in that order.
    pub(super) fn freest_below(&self, bound: Option<(Cpus, WorkerId)>) -> Option<(Cpus, WorkerId)> {
        match bound {
            Some(bound) => self.free.range(..bound).next_back().copied(),
            None => self.free.last().copied(),
        }
    }

    /// Lists workers that take work with unstarted tasks, most first.
    pub(super) fn surplus(&self) -> impl Iterator<Item = (u64, WorkerId, StageId)> {
        self.surplus.iter().rev().copied()
    }

    /// Begins a worker's session, in place of an older one.
    pub(super) fn begin(&mut self, worker: WorkerId, machine: Machine) {
        self.end_session(worker);
        self.sessions.insert(machine.session, worker);
        self.index(worker, &machine);
        self.machines.insert(worker, machine);
    }

    /// Forgets a worker that has left.
    pub(super) fn leave(&mut self, worker: WorkerId) {
        self.end_session(worker);
    }

    /// Ends a worker's session; the worker stays known as lost.
    pub(super) fn lose(&mut self, worker: WorkerId) {
        if let Some(mut machine) = self.end_session(worker) {
            machine.state = WorkerState::Lost;
            machine.connected = false;
            machine.held_back.clear();
            self.machines.insert(worker, machine);
        }
    }

    /// Changes a worker and keeps the indexes.
    pub(super) fn change(&mut self, worker: WorkerId, change: impl FnOnce(&mut Machine)) {
        let Some(mut machine) = self.machines.remove(&worker) else { return };
        self.unindex(worker, &machine);
        change(&mut machine);
        self.index(worker, &machine);
        self.machines.insert(worker, machine);
    }

    /// Changes what a worker holds of a stage, and keeps the indexes.
    pub(super) fn change_load(
        &mut self,
        worker: WorkerId,
        stage: StageId,
        change: impl FnOnce(&mut Load),
    ) {
        let Some(machine) = self.machines.get_mut(&worker) else { return };
        let before = machine.load(stage);
        let mut load = before;
        change(&mut load);
        if load.outstanding == 0 {
            machine.loads.remove(&stage);
        } else {
            machine.loads.insert(stage, load);
        }
        let was_free = machine.free();
        machine.alone &= !machine.loads.is_empty();
        machine.reserved =
            machine.reserved.saturating_sub(before.reserved()).saturating_add(load.reserved());
        let free = machine.free();
        if !machine.takes_work() {
            return;
        }
        if was_free != free {
            self.free.remove(&(was_free, worker));
            self.ready_free = self.ready_free.saturating_sub(was_free).saturating_add(free);
            if free > Cpus::ZERO {
                self.free.insert((free, worker));
            }
        }
        if before.unstarted() != load.unstarted() {
            self.surplus.remove(&(before.unstarted(), worker, stage));
            if load.unstarted() > 0 {
                self.surplus.insert((load.unstarted(), worker, stage));
            }
        }
    }

    /// Changes what no index depends on: orders told, claims, reports.
    pub(super) fn note(&mut self, worker: WorkerId, note: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.machines.get_mut(&worker) {
            note(machine);
        }
    }

    /// Panics with what is broken.
    pub(super) fn check_invariants(&self) {
        let mut fresh = Self::default();
        for (worker, machine) in &self.machines {
            let sum = machine
                .loads
                .values()
                .fold(Cpus::ZERO, |sum, load| sum.saturating_add(load.reserved()));
            assert_eq!(sum, machine.reserved, "{worker:?}: reserved cpus, added up anew");
            assert!(
                machine.reserved <= machine.cpus,
                "{worker:?}: {} cpus are reserved of {}",
                machine.reserved,
                machine.cpus
            );
            assert!(
                machine.loads.values().all(|load| load.outstanding > 0),
                "{worker:?}: an empty load"
            );
            fresh.index(*worker, machine);
        }
        assert_eq!(fresh.free, self.free, "workers by free cpus, indexed anew");
        assert_eq!(fresh.surplus, self.surplus, "workers by unstarted tasks, indexed anew");
        assert_eq!(fresh.ready_cpus, self.ready_cpus, "cpus of ready workers, added up anew");
        assert_eq!(fresh.ready_free, self.ready_free, "free cpus of ready workers, added up anew");
        for (session, worker) in &self.sessions {
            let machine = self.machines.get(worker).expect("a session has a worker");
            assert_eq!(machine.session, *session, "{worker:?} has two sessions");
        }
    }

    fn end_session(&mut self, worker: WorkerId) -> Option<Machine> {
        let machine = self.machines.remove(&worker)?;
        self.unindex(worker, &machine);
        if !is_on(Bug::DeadSessionHeard) {
            self.sessions.remove(&machine.session);
        }
        Some(machine)
    }

    fn index(&mut self, worker: WorkerId, machine: &Machine) {
        if !machine.takes_work() {
            return;
        }
        self.ready_cpus = self.ready_cpus.saturating_add(machine.cpus);
        self.ready_free = self.ready_free.saturating_add(machine.free());
        if machine.free() > Cpus::ZERO {
            self.free.insert((machine.free(), worker));
        }
        for (stage, load) in &machine.loads {
            if load.unstarted() > 0 {
                self.surplus.insert((load.unstarted(), worker, *stage));
            }
        }
    }

    fn unindex(&mut self, worker: WorkerId, machine: &Machine) {
        if !machine.takes_work() {
            return;
        }
        self.ready_cpus = self.ready_cpus.saturating_sub(machine.cpus);
        self.ready_free = self.ready_free.saturating_sub(machine.free());
        self.free.remove(&(machine.free(), worker));
        for (stage, load) in &machine.loads {
            self.surplus.remove(&(load.unstarted(), worker, *stage));
        }
    }
}
