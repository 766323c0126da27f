//! A worker's machine: the product's agent, and a shell around it that the simulator plays.

use std::collections::BTreeMap;

use gridctl_jobs::id::{Epoch, WorkerId};
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::worker::{CoordinatorMessage, WorkerMessage};
use gridctl_worker::agent::{
    Agent, AgentConfig, AgentEffect, AgentEvent, AgentExit, LinkId, MonoMs, Now, SliceId,
};

use crate::coordinator::CHECKED_EVERY;
use crate::coverage::Group;
use crate::executor::Running;
use crate::inbox::Inbox;
use crate::invariants::{Rule, Violation, check, check_machine};
use crate::kept::KeptResults;
use crate::network::{ConnectionId, Up};
use crate::run::Checks;
use crate::schedule::Machine;
use crate::time::SimMs;
use crate::world::{Happening, World};

/// How long after its deadline a parent process waits for the worker to have killed.
const STOP_PATIENCE_MS: u64 = 50;
/// How soon a worker that died is started again, at most.
const RESPAWN_MS: u64 = 100;
/// The margin of a lease is the whole by so much.
const LEASE_MARGIN_PART: u64 = 10;
/// How long a drained worker lets what runs go on.
const GRACE_MS: u64 = 2_000;

/// One life of a worker's process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct AgentLife {
    pub(crate) worker: usize,
    life: u32,
}

/// A machine, its process while there is one, and what it keeps on disk.
#[derive(Debug)]
pub(crate) struct Worker {
    life: AgentLife,
    machine: Machine,
    /// Once it is enrolled.
    pub(crate) identity: Option<WorkerId>,
    pub(crate) agent: Option<Agent>,
    /// Kept over restarts.
    epoch_seen: Epoch,
    /// One that welcomed it and is not remembered yet.
    epoch_welcomed: Option<Epoch>,
    pub(crate) running: BTreeMap<SliceId, Running>,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) paused_until: SimMs,
    /// What has arrived since it stands still.
    pub(crate) inbox: Inbox,
    /// How far its wall clock is ahead.
    pub(crate) wall_ahead_ms: i64,
    pub(crate) stalled_up_until: SimMs,
    pub(crate) stalled_down_until: SimMs,
    pub(crate) reports_to_duplicate: u32,
    /// A crash after so many steps of the agent; then so long down.
    pub(crate) crash_after_steps: Option<(u64, u64)>,
    /// By its own clock, as far as it was promised.
    lease_until: MonoMs,
    lease_ms: u64,
    hello_sent: MonoMs,
    tick_at: Option<SimMs>,
    /// What its parent process knows: until when tasks may run that stop with the lease.
    stop_until: Option<MonoMs>,
    pub(crate) kept: KeptResults,
    /// How long it is away after it has stopped in order.
    pub(crate) away_ms: u64,
}

impl Worker {
    pub(crate) fn new(index: usize, machine: Machine) -> Self {
        Self {
            life: AgentLife { worker: index, life: 0 },
            machine,
            identity: None,
            agent: None,
            epoch_seen: Epoch(0),
            epoch_welcomed: None,
            running: BTreeMap::new(),
            connection: None,
            paused_until: SimMs(0),
            stalled_up_until: SimMs(0),
            stalled_down_until: SimMs(0),
            reports_to_duplicate: 0,
            crash_after_steps: None,
            lease_until: MonoMs(0),
            lease_ms: 0,
            wall_ahead_ms: machine.wall_ahead_ms,
            inbox: Inbox::default(),
            hello_sent: MonoMs(0),
            tick_at: None,
            stop_until: None,
            kept: KeptResults::default(),
            away_ms: 0,
        }
    }

    pub(crate) const fn life(&self) -> AgentLife {
        self.life
    }

    pub(crate) fn cpus(&self) -> Cpus {
        Cpus::whole(self.machine.cpus)
    }

    pub(crate) const fn mono(&self, now: SimMs) -> MonoMs {
        MonoMs(self.machine.clock.at(now))
    }

    /// Says whether what stops with the lease had to by now: its results are nothing any more.
    pub(crate) fn is_past_stop(&self, now: SimMs) -> bool {
        self.stop_until.is_some_and(|until| until <= self.mono(now))
    }

    /// Says whether new tasks may begin.
    pub(crate) fn has_lease(&self, now: SimMs) -> bool {
        self.mono(now) < self.lease_until
    }

    /// Says whether it may rely on it that nothing of its is given away yet: up to a tenth of the lease
    /// before its end, since clocks differ.
    pub(crate) fn has_lease_with_margin(&self, now: SimMs) -> bool {
        self.agent.is_some()
            && self.mono(now).0 + self.lease_ms / LEASE_MARGIN_PART < self.lease_until.0
    }

    fn crashes_after_step(&mut self) -> Option<u64> {
        let (steps, down_ms) = self.crash_after_steps.take()?;
        if steps > 1 {
            self.crash_after_steps = Some((steps - 1, down_ms));
            return None;
        }
        Some(down_ms)
    }

    pub(crate) fn extend_lease(&mut self, sent: MonoMs, lease_ms: u64) {
        self.lease_until = self.lease_until.max(sent.after(lease_ms));
        self.lease_ms = lease_ms;
    }

    /// Says whether nothing is left to do or to tell.
    pub(crate) fn is_idle(&self) -> bool {
        let settled = self.agent.as_ref().is_some_and(|agent| {
            agent.is_connected() && agent.unsettled_tasks() == 0 && agent.cpus_used() == Cpus::ZERO
        });
        settled && self.running.is_empty()
    }
}

impl World<'_> {
    /// Starts a worker's process; it begins with nothing but what is on its disk.
    pub(crate) fn start_worker(&mut self, index: usize) -> Result<(), Violation> {
        let worker = &mut self.workers[index];
        if worker.agent.is_some() || worker.identity.is_none() {
            return Ok(());
        }
        worker.life.life += 1;
        worker.lease_until = MonoMs(0);
        worker.stop_until = None;
        worker.tick_at = None;
        worker.kept = KeptResults::default();
        let machine = [u8::try_from(index).expect("a handful of workers"); 16];
        let config = AgentConfig {
            cpus: worker.cpus(),
            machine,
            process: self.rng.u128(..).to_le_bytes(),
            life: u64::from(worker.life.life),
            predecessor_gone: self.rng.bool(),
            ends_trees: worker.machine.ends_trees,
            epoch_seen: worker.epoch_seen,
            grace_ms: GRACE_MS,
            seed: self.rng.u64(..),
        };
        worker.agent = Some(Agent::new(config));
        let life = worker.life;
        self.trace.note((index, "starts"), || format!("worker {index} starts"));
        self.tell_agent(life, AgentEvent::Start)
    }

    /// Ends a worker's process and everything that it started.
    pub(crate) fn kill_worker(&mut self, index: usize) {
        let within_ms = self.schedule.lease_ms;
        let worker = &mut self.workers[index];
        worker.agent = None;
        worker.running.clear();
        if let Some(id) = worker.connection.take() {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.worker_open = false;
            }
            self.break_connection(id, false, within_ms);
        }
    }

    pub(crate) fn agent_tick(&mut self, life: AgentLife) -> Result<(), Violation> {
        let worker = &mut self.workers[life.worker];
        if worker.life != life || worker.tick_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        worker.tick_at = None;
        self.tell_agent(life, AgentEvent::Tick)
    }

    /// Lets something happen to an agent, and does what it wants.
    pub(crate) fn tell_agent(
        &mut self,
        life: AgentLife,
        event: AgentEvent,
    ) -> Result<(), Violation> {
        let now =
            Now { mono: self.workers[life.worker].mono(self.now), wall: self.wall_of(life.worker) };
        let worker = &mut self.workers[life.worker];
        let Some(agent) = worker.agent.as_mut().filter(|_| worker.life == life) else {
            return Ok(());
        };
        self.trace.line(|| format!("worker {}: {event:?}", life.worker));
        self.coverage.agent_event(&event);
        let mut effects = Vec::new();
        let kind = crate::coverage::agent_kind(&event);
        agent.step(now, event, &mut effects);
        self.steps += 1;
        if self.checks == Checks::All && self.steps.is_multiple_of(CHECKED_EVERY) {
            agent.check_invariants();
        }
        for effect in effects {
            self.do_for_agent(life, effect)?;
        }
        let worker = &self.workers[life.worker];
        check_machine(worker.running.values().map(Running::cpus), worker.cpus())?;
        self.schedule_agent_tick(life);
        if let Some((life, event)) = self.reclaimed.pop_front() {
            return self.tell_agent(life, event);
        }
        if let Some(down_ms) = self.workers[life.worker].crashes_after_step() {
            self.coverage.worker_crash_after(kind);
            self.kill_worker(life.worker);
            self.agenda.put(self.now.after(down_ms), Happening::StartWorker(life.worker));
        }
        Ok(())
    }

    /// Keeps what the coordinator promises, and what it takes.
    pub(crate) fn note_heard(&mut self, life: AgentLife, message: &CoordinatorMessage) {
        let worker = &mut self.workers[life.worker];
        worker.kept.heard(message);
        if let CoordinatorMessage::Welcome(welcome) = message {
            let sent = worker.hello_sent;
            worker.extend_lease(sent, welcome.lease_ms);
            worker.epoch_welcomed = Some(welcome.epoch).filter(|epoch| *epoch > worker.epoch_seen);
        }
    }

    /// Who was welcomed by an epoch remembers it, so that it refuses an older one.
    pub(crate) fn check_epoch_remembered(&mut self, life: AgentLife) -> Result<(), Violation> {
        let worker = &mut self.workers[life.worker];
        let welcomed = worker.epoch_welcomed.take();
        check(welcomed.is_none(), Rule::TokensGrow, || {
            format!("worker {} was welcomed by {welcomed:?}, and does not remember it", life.worker)
        })
    }

    fn schedule_agent_tick(&mut self, life: AgentLife) {
        let worker = &mut self.workers[life.worker];
        let deadline = worker.agent.as_ref().and_then(Agent::next_deadline);
        let Some(at) = deadline.map(|at| worker.machine.clock.when(at.0)) else { return };
        let at = at.max(self.now.after(1));
        if worker.tick_at.is_none_or(|tick| at < tick) {
            worker.tick_at = Some(at);
            self.agenda.put(at, Happening::AgentTick(life));
        }
    }

    fn do_for_agent(&mut self, life: AgentLife, effect: AgentEffect) -> Result<(), Violation> {
        match effect {
            AgentEffect::Connect { link } => {
                let wait = self.latency() + self.latency();
                let worker = &self.workers[life.worker];
                let at = self
                    .now
                    .after(wait)
                    .max(worker.stalled_up_until)
                    .max(worker.stalled_down_until);
                self.agenda.put(at, Happening::Connect(life, link));
            }
            AgentEffect::Disconnect { link } => {
                if let Some(id) = self.connection_of(life, link) {
                    self.send_up(id, Up::End);
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.worker_open = false;
                    }
                }
            }
            AgentEffect::Send { link, message } => self.say(life, link, message)?,
            AgentEffect::Upload { link, upload, output } => {
                if let Some(id) = self.connection_of(life, link) {
                    self.send_up(id, Up::Upload(upload, output));
                }
            }
            AgentEffect::Heartbeats { link, every_ms } => {
                if let Some(id) = self.connection_of(life, link) {
                    self.begin_heartbeats(id, every_ms);
                }
            }
            AgentEffect::RememberEpoch(epoch) => {
                let worker = &mut self.workers[life.worker];
                check(epoch > worker.epoch_seen, Rule::TokensGrow, || {
                    format!("epoch {} is remembered after {}", epoch.0, worker.epoch_seen.0)
                })?;
                worker.epoch_seen = epoch;
                worker.epoch_welcomed = None;
            }
            AgentEffect::Begin(slice) => self.begin_slice(life, slice)?,
            AgentEffect::Reclaim { slice } => self.reclaim(life, slice),
            AgentEffect::Cancel { slice, range } | AgentEffect::Kill { slice, range } => {
                self.cancel_running(life, slice, range);
            }
            AgentEffect::StopUntil(until) => self.watch_stop(life, until),
            AgentEffect::Notice(notice) => {
                self.trace.line(|| format!("worker {} tells {notice:?}", life.worker));
            }
            AgentEffect::Exit(exit) => self.agent_exits(life, &exit)?,
        }
        Ok(())
    }

    fn watch_stop(&mut self, life: AgentLife, until: Option<MonoMs>) {
        let worker = &mut self.workers[life.worker];
        worker.stop_until = until;
        if let Some(until) = until {
            let at = worker.machine.clock.when(until.after(STOP_PATIENCE_MS).0).max(self.now);
            self.agenda.put(at, Happening::ParentKills(life, until));
        }
    }

    /// The parent process kills a worker that runs what had to stop, and starts it again.
    pub(crate) fn parent_kills(&mut self, life: AgentLife, until: MonoMs) {
        let worker = &self.workers[life.worker];
        if worker.life != life || worker.agent.is_none() || worker.stop_until != Some(until) {
            return;
        }
        self.trace.note(("parent kills", life.worker), || {
            format!("worker {} is killed by its parent", life.worker)
        });
        self.coverage.hit(Group::Elsewhere, "killed by its parent");
        self.kill_worker(life.worker);
        // It is another process: that one does not stand still.
        self.workers[life.worker].paused_until = self.now;
        let at = self.now.after(self.rng.u64(1..RESPAWN_MS));
        self.agenda.put(at, Happening::StartWorker(life.worker));
    }

    fn say(
        &mut self,
        life: AgentLife,
        link: LinkId,
        message: WorkerMessage,
    ) -> Result<(), Violation> {
        let worker = &mut self.workers[life.worker];
        let mut twice = false;
        match &message {
            WorkerMessage::Hello(hello) => {
                worker.hello_sent = worker.mono(self.now);
                worker.kept.check_hello(hello)?;
            }
            WorkerMessage::Report(report) => {
                worker.kept.sent(report);
                twice = worker.reports_to_duplicate > 0;
                worker.reports_to_duplicate -= u32::from(twice);
            }
            WorkerMessage::Started { .. }
            | WorkerMessage::GivenBack { .. }
            | WorkerMessage::Goodbye => {}
        }
        let Some(id) = self.connection_of(life, link) else { return Ok(()) };
        if twice {
            self.send_up(id, Up::Message(Box::new(message.clone())));
        }
        self.send_up(id, Up::Message(Box::new(message)));
        Ok(())
    }

    fn agent_exits(&mut self, life: AgentLife, exit: &AgentExit) -> Result<(), Violation> {
        self.trace
            .note(("exits", life.worker), || format!("worker {} exits: {exit:?}", life.worker));
        check(!matches!(exit, AgentExit::Refused(_)), Rule::HonestPeerIsServed, || {
            format!("worker {} was turned away: {exit:?}", life.worker)
        })?;
        let worker = &mut self.workers[life.worker];
        worker.agent = None;
        worker.running.clear();
        let away_ms = worker.away_ms;
        self.agenda.put(self.now.after(away_ms), Happening::StartWorker(life.worker));
        Ok(())
    }

    fn connection_of(&self, life: AgentLife, link: LinkId) -> Option<ConnectionId> {
        let id = self.workers[life.worker].connection?;
        let connection = self.connections.get(&id)?;
        (connection.life == life && connection.link == link && connection.worker_open).then_some(id)
    }
}
