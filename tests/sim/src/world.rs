//! Everything that there is, and the loop that lets it happen.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use gridctl_coordinator::disk::SimDisk;
use gridctl_jobs::id::StageId;
use gridctl_jobs::units::WallMs;

use crate::backup::Backup;
use crate::client::{Operation, RequestArrives};
use crate::coordinator::Coordinator;
use crate::coverage::{Coverage, Group};
use crate::faults::{CLOCK_RATE, Fault};
use crate::inbox::{Inbox, Node, Overload};
use crate::invariants::Violation;
use crate::ledger::Ledger;
use crate::network::{Connection, ConnectionId, Down, Up};
use crate::run::{Checks, Settings};
use crate::schedule::Schedule;
use crate::time::{Agenda, SimMs};
use crate::trace::Trace;
use crate::worker::{AgentLife, Worker};

/// Wall-clock time when a schedule begins: 2026.
const WALL_START_MS: u64 = 1_767_225_600_000;

/// How many times longer messages take while they overtake each other.
const JITTER: u64 = 20;

/// Counts the lives of the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Life(pub(crate) u64);

/// What is to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    Fault(Fault),
    /// Someone looks at what has arrived meanwhile.
    Look(Node),
    StartCoordinator,
    /// What had to stop by then may still run.
    ParentKills(AgentLife, gridctl_worker::agent::MonoMs),
    /// There is room on the disk again.
    DiskHeals,
    /// What a worker said and found no room is heard again.
    HearAgain(ConnectionId),
    CommitEnds(Life),
    Sweep(Life),
    CoordinatorTick(Life),
    ExpireLeases(Life),
    /// Something arrives at the coordinator.
    Up(ConnectionId, Up),
    /// Something arrives at a worker.
    Down(ConnectionId, Down),
    /// A worker's attempt to connect ends.
    Connect(AgentLife, gridctl_worker::agent::LinkId),
    Heartbeat(ConnectionId),
    StartWorker(usize),
    AgentTick(AgentLife),
    /// The running task of a slice ends.
    TaskEnds(AgentLife, gridctl_worker::agent::SliceId, u32),
    /// Something to tell the agent that comes from its own machine.
    FromExecutor(AgentLife, Box<gridctl_worker::agent::AgentEvent>),
    Ask(Operation),
    RequestArrives(RequestArrives),
    ReplyArrives(Operation, Box<gridctl_core::effect::Reply>),
}

/// A grid and all that can happen to it.
pub(crate) struct World<'a> {
    pub(crate) schedule: &'a Schedule,
    pub(crate) checks: Checks,
    pub(crate) now: SimMs,
    pub(crate) rng: Rng,
    pub(crate) agenda: Agenda<Happening>,
    pub(crate) trace: Trace,
    pub(crate) coverage: Coverage,
    pub(crate) ledger: Ledger,
    pub(crate) disk: SimDisk,
    pub(crate) coordinator: Option<Coordinator>,
    pub(crate) life: Life,
    /// Until when the coordinator stands still.
    pub(crate) coordinator_paused_until: SimMs,
    /// A crash that is to come in the next commit: after so many changes of the disk; then so long down.
    pub(crate) crash_in_commit: Option<(u64, u64)>,
    /// A crash that is to come after so many events; then so long down.
    pub(crate) crash_after_events: Option<(u64, u64)>,
    pub(crate) fail_next_sync: Option<u64>,
    pub(crate) coordinator_inbox: Inbox,
    pub(crate) overload: Overload,
    /// Until when messages take much longer, and so overtake each other.
    pub(crate) jitter_until: SimMs,
    /// Until when syncs take up to how long.
    pub(crate) slow_disk: (SimMs, u64),
    pub(crate) no_room_until: SimMs,
    pub(crate) backup: Option<Backup>,
    /// The next start is from a copy.
    pub(crate) is_restored: bool,
    /// Some start was.
    pub(crate) was_restored: bool,
    pub(crate) requests_to_lose: u32,
    pub(crate) requests_to_duplicate: u32,
    /// Of schedulers and agents.
    pub(crate) steps: u64,
    pub(crate) replies_to_lose: u32,
    pub(crate) workers: Vec<Worker>,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) clients: crate::client::Clients,
    pub(crate) faults_that_hit: usize,
    /// How often each task has failed, wherever it ran.
    pub(crate) failed_runs: BTreeMap<(StageId, u64), u32>,
    /// Tails that executors have given back: an agent hears of them before it hears that the slice returned.
    pub(crate) reclaimed: VecDeque<(AgentLife, gridctl_worker::agent::AgentEvent)>,
}

impl<'a> World<'a> {
    pub(crate) fn new(schedule: &'a Schedule, seed: u64, settings: Settings) -> Self {
        let Settings { checks, keep_lines, .. } = settings;
        let mut world = Self {
            schedule,
            checks,
            now: SimMs(0),
            // Other chances than those that drew the schedule.
            rng: Rng::with_seed(!seed),
            agenda: Agenda::new(),
            trace: Trace::new(keep_lines),
            coverage: Coverage::new(),
            ledger: Ledger::default(),
            disk: SimDisk::new(),
            coordinator: None,
            life: Life(0),
            coordinator_paused_until: SimMs(0),
            crash_in_commit: None,
            crash_after_events: None,
            fail_next_sync: None,
            coordinator_inbox: Inbox::default(),
            overload: Overload::default(),
            jitter_until: SimMs(0),
            slow_disk: (SimMs(0), 0),
            no_room_until: SimMs(0),
            backup: None,
            is_restored: false,
            was_restored: false,
            requests_to_lose: 0,
            requests_to_duplicate: 0,
            steps: 0,
            replies_to_lose: 0,
            workers: schedule
                .machines
                .iter()
                .enumerate()
                .map(|(index, machine)| Worker::new(index, *machine))
                .collect(),
            connections: BTreeMap::new(),
            clients: crate::client::Clients::new(schedule),
            faults_that_hit: 0,
            failed_runs: BTreeMap::new(),
            reclaimed: VecDeque::new(),
        };
        world.agenda.put(SimMs(0), Happening::StartCoordinator);
        for (at, fault) in &schedule.faults {
            world.agenda.put(*at, Happening::Fault(*fault));
        }
        if schedule.machines.iter().any(|machine| machine.clock.rate != 0) {
            world.coverage.hit(Group::Fault, CLOCK_RATE);
        }
        world.begin_asking();
        world
    }

    /// Lets the next thing happen; returns false once everything has ended.
    pub(crate) fn step(&mut self) -> Result<bool, Violation> {
        let (at, happening) = self.agenda.next().expect("leases are looked after for ever");
        self.now = self.now.max(at);
        self.trace.at(self.now);
        self.happen_or_wait(happening)?;
        if self.now > self.schedule.calm_at && self.has_ended() {
            return Ok(false);
        }
        self.check_deadline()?;
        Ok(true)
    }

    pub(crate) fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Fault(fault) => self.strike(fault),
            Happening::StartCoordinator => self.start_coordinator(),
            Happening::ParentKills(life, until) => {
                self.parent_kills(life, until);
                Ok(())
            }
            Happening::DiskHeals => {
                self.heal_disk();
                Ok(())
            }
            Happening::HearAgain(connection) => self.hear_again(connection),
            Happening::Look(node) => self.look_into_inbox(node),
            Happening::CommitEnds(life) => self.commit_ends(life),
            Happening::Sweep(life) => self.sweep(life),
            Happening::CoordinatorTick(life) => self.coordinator_tick(life),
            Happening::ExpireLeases(life) => self.expire_leases(life),
            Happening::Up(connection, up) => self.arrive_up(connection, up),
            Happening::Down(connection, down) => self.arrive_down(connection, down),
            Happening::Connect(life, link) => self.connect(life, link),
            Happening::Heartbeat(connection) => self.heartbeat(connection),
            Happening::StartWorker(worker) => self.start_worker(worker),
            Happening::AgentTick(life) => self.agent_tick(life),
            Happening::TaskEnds(life, slice, step) => self.task_ends(life, slice, step),
            Happening::FromExecutor(life, event) => {
                self.note_returned(life, &event);
                self.tell_agent(life, *event)
            }
            Happening::Ask(operation) => {
                self.ask(operation);
                Ok(())
            }
            Happening::RequestArrives(request) => self.request_arrives(request),
            Happening::ReplyArrives(operation, reply) => self.reply_arrives(operation, &reply),
        }
    }

    /// Returns one number for all that happened, and for the chance that is left.
    pub(crate) fn trace_hash(&mut self) -> u64 {
        let left = self.rng.u64(..);
        self.trace.note(("ends", left), || "the end".to_owned());
        self.trace.hash()
    }

    /// Returns how long a message takes when nothing is wrong.
    pub(crate) fn latency(&mut self) -> u64 {
        let times = if self.now < self.jitter_until { JITTER } else { 1 };
        self.rng.u64(0..=self.schedule.latency_ms_max * times)
    }

    pub(crate) fn wall(&self) -> WallMs {
        WallMs(WALL_START_MS + self.now.0)
    }

    /// Returns what the wall clock of a worker's machine shows.
    pub(crate) fn wall_of(&self, worker: usize) -> WallMs {
        WallMs(self.wall().0.saturating_add_signed(self.workers[worker].wall_ahead_ms))
    }
}
