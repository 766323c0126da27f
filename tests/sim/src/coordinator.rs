//! The coordinator: the product's scheduler, lease table, release gate, journal and results, and a shell
//! around them that the simulator plays, in the order of the product's reactor.

use std::collections::{BTreeMap, VecDeque};

use gridctl_coordinator::journal::{FactGroup, Store};
use gridctl_coordinator::keeping::{KeepingError, Swept};
use gridctl_coordinator::results::{Pin, Pins};
use gridctl_coordinator::space::Admitted;
use gridctl_core::activity::{Activity, Granted};
use gridctl_core::effect::{CloseReason, Effect, Effects, FactIndex, ToWorker};
use gridctl_core::event::{Event, MonoMs, Now, Report, RequestId, SessionId};
use gridctl_core::fact::{Kept, Place};
use gridctl_core::gate::ReleaseGate;
use gridctl_core::lease::{EXPIRE_EVERY_MS, LeaseNews, LeaseTable};
use gridctl_core::scheduler::Scheduler;
use gridctl_core::state::State;
use gridctl_jobs::id::{StageId, Token, WorkerId};
use gridctl_jobs::units::{Cpus, WallMs};
use gridctl_transport::message::worker::{Output, WorkerMessage};

use crate::client::Operation;
use crate::invariants::{Rule, Violation, check};
use crate::ledger::Ledger;
use crate::network::{ConnectionId, Down};
use crate::run::Checks;
use crate::time::{MonoClock, SimMs};
use crate::worker::Worker;
use crate::world::{Happening, Life, World};

/// The product's own checks cost as much as a step does: one in so many is looked at.
pub(crate) const CHECKED_EVERY: u64 = 6;
/// Where the output of a report lies that is heard again.
const NOTHING_KEPT: Kept = Kept {
    place: Place { segment: 0, block: 0, offset: 0, crc: 0 },
    stdout_bytes: 0,
    stderr_bytes: 0,
    result_bytes: 0,
};
/// Heartbeats in a lease.
const HEARTBEATS_PER_LEASE: u64 = 3;

/// One life of the coordinator.
pub(crate) struct Coordinator {
    pub(crate) scheduler: Scheduler,
    effects: Effects,
    gate: ReleaseGate<(FactIndex, Effect)>,
    pub(crate) store: Store,
    leases: LeaseTable,
    /// What readers see.
    pub(crate) seen_state: State,
    pub(crate) seen_activity: Activity,
    /// Made, not yet durable, in order; the first `committing` of them are on their way to the disk.
    unshown: VecDeque<FactGroup>,
    waiting: Vec<FactGroup>,
    pub(crate) is_committing: bool,
    sessions: BTreeMap<SessionId, ConnectionId>,
    /// Reports that came on each session and are not settled.
    reports: BTreeMap<SessionId, Vec<Report>>,
    requests: BTreeMap<RequestId, (Operation, Option<Admitted>)>,
    last_number: u64,
    clock: MonoClock,
    pub(crate) wall_ahead_ms: i64,
    tick_at: Option<SimMs>,
    /// What makes a snapshot, on its way.
    pub(crate) sweep: Option<Sweep>,
    pins: Pins,
    /// Held until the window after the start has closed.
    window_pin: Option<Pin>,
    /// When the reserve was last looked after.
    pub(crate) tended: SimMs,
}

/// Makes a snapshot, and clears away what it replaces.
pub(crate) type Sweep = Box<dyn FnOnce() -> Result<Option<Swept>, KeepingError>>;

/// What differs from life to life.
pub(crate) struct Circumstances {
    pub(crate) clock: MonoClock,
    pub(crate) wall_ahead_ms: i64,
    pub(crate) gate: ReleaseGate<(FactIndex, Effect)>,
}

impl Coordinator {
    pub(crate) fn new(
        scheduler: Scheduler,
        store: Store,
        lease_ms: u64,
        life: Circumstances,
    ) -> Self {
        let seen_state = scheduler.state().clone();
        let window_pin = Some(Pin::new(store.results()));
        Self {
            scheduler,
            effects: Effects::default(),
            gate: life.gate,
            store,
            leases: LeaseTable::new(lease_ms, lease_ms / HEARTBEATS_PER_LEASE),
            seen_state,
            seen_activity: Activity::default(),
            unshown: VecDeque::new(),
            waiting: Vec::new(),
            is_committing: false,
            sessions: BTreeMap::new(),
            reports: BTreeMap::new(),
            requests: BTreeMap::new(),
            last_number: 0,
            clock: life.clock,
            wall_ahead_ms: life.wall_ahead_ms,
            tick_at: None,
            sweep: None,
            pins: Pins::default(),
            window_pin,
            tended: SimMs(0),
        }
    }

    /// Says whether everything that was decided is durable, released and seen.
    pub(crate) fn is_settled(&self) -> bool {
        self.gate.is_empty() && self.unshown.is_empty() && !self.is_committing
    }

    fn mono(&self, now: SimMs) -> MonoMs {
        MonoMs(self.clock.at(now))
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

impl World<'_> {
    /// Lets something happen to the scheduler, and puts what follows on its way.
    pub(crate) fn tell_scheduler(&mut self, event: Event) -> Result<(), Violation> {
        let wall = self.wall();
        if self.coordinator.is_none() {
            return Ok(());
        }
        self.coverage.event(&event);
        self.note_cells(&event);
        let crashes = self.crashes_after(&event);
        let Some(coordinator) = &mut self.coordinator else { return Ok(()) };
        self.trace
            .note(("event", std::mem::discriminant(&event)), || format!("coordinator: {event:?}"));
        match &event {
            Event::Report { session, report } => {
                coordinator.reports.entry(*session).or_default().push(report.clone());
            }
            Event::Goodbye { session } => coordinator.leases.close(*session),
            Event::Disconnected { session } => {
                coordinator.sessions.remove(session);
            }
            Event::Start { .. }
            | Event::Silent { .. }
            | Event::Heard { .. }
            | Event::WorkerHello { .. }
            | Event::Submit { .. }
            | Event::Cancel { .. }
            | Event::Retry { .. }
            | Event::Forget { .. }
            | Event::DrainWorker { .. }
            | Event::ResumeWorker { .. }
            | Event::CreateToken { .. }
            | Event::RevokeToken { .. }
            | Event::Enrol { .. }
            | Event::Started { .. }
            | Event::GivenBack { .. }
            | Event::LeaseExpired { .. }
            | Event::Tick => {}
        }
        let wall = WallMs(wall.0.saturating_add_signed(coordinator.wall_ahead_ms));
        let now = Now { mono: coordinator.mono(self.now), wall };
        coordinator.scheduler.step(now, event.clone(), &mut coordinator.effects);
        if !is_turned_away(&event, &coordinator.effects) {
            self.ledger.happens(&event);
        }
        self.steps += 1;
        if self.checks == Checks::All && self.steps.is_multiple_of(CHECKED_EVERY) {
            coordinator.scheduler.check_invariants();
        }
        self.take_effects()?;
        self.schedule_tick();
        self.release()?;
        match crashes {
            Some(down_ms) => self.crash_coordinator(down_ms),
            None => Ok(()),
        }
    }

    /// Counts down to a crash that comes with the events; returns how long it lasts.
    fn crashes_after(&mut self, event: &Event) -> Option<u64> {
        let (events, down_ms) = self.crash_after_events.take()?;
        if events > 1 {
            self.crash_after_events = Some((events - 1, down_ms));
            return None;
        }
        self.coverage.crash_after(event);
        Some(down_ms)
    }

    fn take_effects(&mut self) -> Result<(), Violation> {
        let Some(coordinator) = &mut self.coordinator else { return Ok(()) };
        let facts = std::mem::take(&mut coordinator.effects.facts);
        let effects = std::mem::take(&mut coordinator.effects.effects);
        let in_window = coordinator.scheduler.activity().window_until.is_some();
        for (index, fact) in &facts {
            self.trace.note((index, std::mem::discriminant(fact)), || {
                format!("  fact {}: {fact:?}", index.0)
            });
            self.coverage.fact(fact);
            self.ledger.made(*index, fact, in_window)?;
        }
        for (index, effect) in effects {
            self.ledger.wanted(&effect)?;
            check_grant(&self.ledger, &self.workers, self.now, &effect)?;
            coordinator.gate.hold(index, (index, effect));
        }
        let made = facts.last().map(|(index, _)| *index);
        if let Some(pin) = coordinator
            .window_pin
            .take_if(|_| coordinator.scheduler.activity().window_until.is_none())
        {
            let last = made.unwrap_or(coordinator.scheduler.state().applied());
            coordinator.pins.hold(last, vec![pin]);
        }
        if let Some(group) = FactGroup::new(facts) {
            coordinator.unshown.push_back(group.clone());
            coordinator.waiting.push(group);
        }
        self.begin_commit();
        Ok(())
    }

    fn begin_commit(&mut self) {
        let (slow_until, slow_ms) = self.slow_disk;
        let longest_ms = if self.now < slow_until { slow_ms } else { self.schedule.sync_ms_max };
        let sync_ms = self.rng.u64(0..=longest_ms);
        let Some(coordinator) = &mut self.coordinator else { return };
        if coordinator.is_committing || coordinator.waiting.is_empty() {
            return;
        }
        coordinator.is_committing = true;
        for group in coordinator.waiting.drain(..) {
            coordinator.store.stage(&group);
        }
        self.agenda.put(self.now.after(sync_ms), Happening::CommitEnds(self.life));
    }

    pub(crate) fn commit_ends(&mut self, life: Life) -> Result<(), Violation> {
        if self.life != life || self.coordinator.is_none() {
            return Ok(());
        }
        let crash = self.crash_in_commit.take();
        if let Some((changes, _)) = crash {
            self.disk.crash_in(changes);
        }
        let failing = self.fail_next_sync.take();
        self.disk.set_failing_syncs(failing.is_some());
        let committed = self.coordinator.as_mut().map(|coordinator| coordinator.store.commit());
        self.disk.set_failing_syncs(false);
        if let Some(down_ms) = crash.map(|(_, down_ms)| down_ms).or(failing) {
            // Whether it got through or not: nobody is told.
            return self.crash_coordinator(down_ms);
        }
        match committed {
            Some(Ok(durable)) => {
                self.trace.note(("durable", durable), || format!("  durable up to {}", durable.0));
                self.ledger.durable(durable);
                // By now its epoch is: from here on it is a coordinator like any other.
                self.is_restored = false;
                if let Some(coordinator) = &mut self.coordinator {
                    coordinator.is_committing = false;
                    if let Some(sweep) = coordinator.store.sweep() {
                        coordinator.sweep = Some(Box::new(sweep));
                        let takes_ms = self.rng.u64(0..=4 * self.schedule.sync_ms_max);
                        let life = self.life;
                        self.agenda.put(self.now.after(takes_ms), Happening::Sweep(life));
                    }
                }
                self.release()?;
                if self.steps.is_multiple_of(CHECKED_EVERY) {
                    self.check_views()?;
                }
                self.begin_commit();
                Ok(())
            }
            Some(Err(error)) if error.is_no_room() => {
                // It stays what is committed next.
                let at = self.try_again_at();
                self.agenda.put(at, Happening::CommitEnds(life));
                Ok(())
            }
            Some(Err(error)) => {
                check(false, Rule::JournalRecovers, || format!("a commit failed: {error}"))
            }
            None => Ok(()),
        }
    }

    /// Shows facts and changes that are durable, then sends, replies and closes.
    fn release(&mut self) -> Result<(), Violation> {
        let Some(coordinator) = &mut self.coordinator else { return Ok(()) };
        let durable = coordinator.store.durable();
        coordinator.pins.release(durable);
        let released: Vec<(FactIndex, Effect)> = coordinator.gate.release(durable).collect();
        while let Some(group) = coordinator.unshown.front().filter(|group| group.last() <= durable)
        {
            group.facts().iter().for_each(|(_, fact)| coordinator.seen_state.apply(fact));
            coordinator.unshown.pop_front();
        }
        for (index, effect) in released {
            self.ledger.released(index, &effect)?;
            self.coverage.effect(&effect);
            self.carry_out(effect)?;
        }
        self.check_account()
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), Violation> {
        let lease_ms = self.schedule.lease_ms;
        let Some(coordinator) = &mut self.coordinator else { return Ok(()) };
        match effect {
            Effect::Show(change) => coordinator.seen_activity.apply(&change),
            Effect::Send { session, message } => {
                if let ToWorker::Settled { up_to } = &message {
                    let reports = coordinator.reports.entry(session).or_default();
                    for report in reports.extract_if(.., |report| report.sequence <= *up_to) {
                        self.ledger.settled(&report.items)?;
                    }
                }
                let message = gridctl_coordinator::sim::message(
                    message,
                    lease_ms,
                    lease_ms / HEARTBEATS_PER_LEASE,
                );
                if let Some(id) = coordinator.sessions.get(&session).copied() {
                    self.send_down(id, Down::Message(Box::new(message)));
                }
            }
            Effect::Reply { request, reply } => {
                if let Some((operation, _)) = coordinator.requests.remove(&request) {
                    self.send_reply(operation, reply);
                }
            }
            Effect::Close { session, why } => {
                coordinator.leases.close(session);
                let honest = matches!(
                    why,
                    CloseReason::Superseded | CloseReason::LeaseExpired | CloseReason::LeaseRuns
                );
                check(honest, Rule::HonestPeerIsServed, || format!("a worker is closed: {why:?}"))?;
                if let Some(id) = coordinator.sessions.remove(&session) {
                    self.send_down(id, Down::End);
                }
            }
        }
        Ok(())
    }

    /// A worker said something on its control stream.
    pub(crate) fn worker_says(
        &mut self,
        id: ConnectionId,
        message: WorkerMessage,
    ) -> Result<(), Violation> {
        let (now, no_room) = (self.now, self.has_no_room());
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let Some(coordinator) = &mut self.coordinator else { return Ok(()) };
        if let WorkerMessage::Hello(hello) = &message {
            let epoch = coordinator.scheduler.epoch();
            check(hello.epoch_seen <= epoch, Rule::TokensGrow, || {
                format!(
                    "a worker was welcomed by epoch {}, and this is {}",
                    hello.epoch_seen.0, epoch.0
                )
            })?;
            let session = SessionId(coordinator.next_number());
            let worker =
                self.workers[connection.life.worker].identity.expect("enrolled before it starts");
            connection.session = Some(session);
            coordinator.leases.open(session, coordinator.mono(now));
            coordinator.sessions.insert(session, id);
            let hello =
                gridctl_coordinator::sim::hello(hello).map_err(|error| malformed(&error))?;
            return self.tell_scheduler(Event::WorkerHello { session, worker, hello });
        }
        let Some(session) = connection.session else { return Ok(()) };
        let uploads = &connection.uploads;
        let results = coordinator.store.results();
        let pin = Pin::new(results);
        let again = no_room.then(|| message.clone());
        let mut found_none = false;
        let keep = |output: &Output| -> Kept {
            let appended = match output {
                Output::Inline { stdout, stderr, result } => results.append(stdout, stderr, result),
                Output::Uploaded(upload) => {
                    let (_, output) = uploads
                        .iter()
                        .find(|(sent, _)| sent == upload)
                        .expect("a report waits for its uploads");
                    results.append(&output.stdout, &output.stderr, &output.result)
                }
            };
            match appended {
                Err(error) if error.is_no_room() => {
                    found_none = true;
                    NOTHING_KEPT
                }
                appended => appended.expect("the simulated disk takes what is not synced"),
            }
        };
        let event = gridctl_coordinator::sim::event(session, message, keep)
            .map_err(|error| malformed(&error))?;
        if let Some(again) = again.filter(|_| found_none) {
            connection.waits_for_room = true;
            connection.waiting.push_front(again);
            let at = self.try_again_at();
            self.agenda.put(at, Happening::HearAgain(id));
            return Ok(());
        }
        event.map_or(Ok(()), |event| self.tell_scheduler(event))?;
        if let Some(coordinator) = &mut self.coordinator {
            let is_open = coordinator.scheduler.activity().window_until.is_some();
            if is_open && coordinator.window_pin.is_none() {
                coordinator.window_pin = Some(pin);
            } else {
                coordinator.pins.hold(coordinator.scheduler.state().applied(), vec![pin]);
            }
        }
        Ok(())
    }

    /// Renews a lease; says whether the heartbeat may be answered.
    pub(crate) fn renew_lease(&mut self, session: SessionId) -> Result<bool, Violation> {
        let now = self.now;
        let renewed = self.coordinator.as_mut().is_some_and(|coordinator| {
            let now = coordinator.mono(now);
            coordinator.leases.renew(session, now).is_ok()
        });
        if renewed {
            self.ledger.answers_heartbeat(session)?;
        }
        Ok(renewed)
    }

    /// Returns when the lease of a worker runs out, as things are.
    pub(crate) fn lease_ends(&self, worker: usize) -> Option<SimMs> {
        let coordinator = self.coordinator.as_ref()?;
        let id = self.workers[worker].connection?;
        let session = self.connections.get(&id)?.session?;
        let last = coordinator.leases.last_heartbeat(session)?;
        Some(coordinator.clock.when(last.0 + coordinator.leases.lease_ms()))
    }

    pub(crate) fn expire_leases(&mut self, life: Life) -> Result<(), Violation> {
        let now = self.now;
        let Some(coordinator) = self.coordinator.as_mut().filter(|_| self.life == life) else {
            return Ok(());
        };
        let expired = coordinator.leases.expire(coordinator.mono(now));
        self.agenda.put(now.after(EXPIRE_EVERY_MS), Happening::ExpireLeases(life));
        self.tend_disk();
        for news in expired {
            let event = match news {
                LeaseNews::Silent(session) => Event::Silent { session },
                LeaseNews::Heard(session) => Event::Heard { session },
                LeaseNews::Expired(session) => {
                    self.check_nothing_unread(session)?;
                    Event::LeaseExpired { session }
                }
            };
            self.tell_scheduler(event)?;
        }
        Ok(())
    }

    /// A coordinator that stood still reads what has arrived before it expires anything.
    fn check_nothing_unread(&self, session: SessionId) -> Result<(), Violation> {
        let connection = self
            .coordinator
            .as_ref()
            .and_then(|coordinator| coordinator.sessions.get(&session))
            .and_then(|id| self.connections.get(id));
        let unread = connection.is_some_and(|connection| connection.has_unread);
        check(!unread, Rule::StandstillCostsNoLease, || {
            format!("session {} expires while its heartbeat lies unread", session.0)
        })
    }

    pub(crate) fn session_ends(&mut self, session: SessionId) -> Result<(), Violation> {
        let known = self
            .coordinator
            .as_ref()
            .is_some_and(|coordinator| coordinator.sessions.contains_key(&session));
        if known { self.tell_scheduler(Event::Disconnected { session }) } else { Ok(()) }
    }

    pub(crate) fn register_request(
        &mut self,
        operation: Operation,
        room: Option<Admitted>,
    ) -> RequestId {
        let coordinator = self.coordinator.as_mut().expect("requests arrive at a coordinator");
        let request = RequestId(coordinator.next_number());
        coordinator.requests.insert(request, (operation, room));
        request
    }

    pub(crate) fn coordinator_tick(&mut self, life: Life) -> Result<(), Violation> {
        let now = self.now;
        let Some(coordinator) = self.coordinator.as_mut().filter(|_| self.life == life) else {
            return Ok(());
        };
        if coordinator.tick_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        coordinator.tick_at = None;
        self.tell_scheduler(Event::Tick)
    }

    fn schedule_tick(&mut self) {
        let Some(coordinator) = &mut self.coordinator else { return };
        let Some(deadline) = coordinator.scheduler.next_deadline() else { return };
        let at = coordinator.clock.when(deadline.0).max(self.now.after(1));
        if coordinator.tick_at.is_none_or(|tick| at < tick) {
            coordinator.tick_at = Some(at);
            self.agenda.put(at, Happening::CoordinatorTick(self.life));
        }
    }

    /// Checks that readers see what the scheduler has, when nothing is on its way to them.
    pub(crate) fn check_views(&self) -> Result<(), Violation> {
        let Some(coordinator) =
            self.coordinator.as_ref().filter(|coordinator| coordinator.is_settled())
        else {
            return Ok(());
        };
        let scheduler = &coordinator.scheduler;
        check(coordinator.seen_state == *scheduler.state(), Rule::ViewsAreState, || {
            "the durable state that readers see differs".to_owned()
        })?;
        check(coordinator.seen_activity == *scheduler.activity(), Rule::ViewsAreState, || {
            "the volatile state that readers see differs".to_owned()
        })
    }

    /// Checks that no machine has more reserved than it has, by what readers see.
    fn check_account(&self) -> Result<(), Violation> {
        let Some(coordinator) = &self.coordinator else { return Ok(()) };
        let activity = &coordinator.seen_activity;
        for (id, worker) in &activity.workers {
            let used = may_run(&coordinator.seen_state, activity, *id);
            let most = worker.reserved.max(used);
            check(most <= worker.cpus, Rule::CapacityInAccount, || {
                format!(
                    "of {} cpus of worker {} {} are reserved, and {used} may be in use",
                    worker.cpus, id.0, worker.reserved
                )
            })?;
        }
        Ok(())
    }

    /// Breaks every connection of the life that just ended.
    pub(crate) fn break_all(&mut self, within_ms: u64) {
        let open: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.worker_open)
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            let at = self.now.after(self.rng.u64(0..=within_ms));
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.carries_up = false;
                connection.carries_down = false;
                connection.coordinator_open = false;
            }
            self.agenda.put(at, Happening::Down(id, Down::End));
        }
    }
}

/// Says whether an event is a Hello that begins no session.
fn is_turned_away(event: &Event, effects: &Effects) -> bool {
    let Event::WorkerHello { session, .. } = event else { return false };
    let closes =
        |effect: &Effect| matches!(effect, Effect::Close { session: its, .. } if its == session);
    effects.effects.iter().any(|(_, effect)| closes(effect))
}

/// Checks that nothing is granted that another worker runs and may go on with.
fn check_grant(
    ledger: &Ledger,
    workers: &[Worker],
    now: SimMs,
    effect: &Effect,
) -> Result<(), Violation> {
    let Effect::Send { message: ToWorker::Assign { grant }, .. } = effect else { return Ok(()) };
    for (index, worker) in
        workers.iter().enumerate().filter(|(_, worker)| worker.has_lease_with_margin(now))
    {
        let runs = worker.running.values().find(|running| {
            let both = running.open().intersect(grant.range);
            let is_wanted = |index| ledger.is_wanted(grant.stage, running.token(), index);
            running.stage() == grant.stage && (both.start..both.end).any(is_wanted)
        });
        check(runs.is_none(), Rule::WindowHolds, || {
            format!(
                "{:?} of {:?} is granted while worker {index} runs it and has a lease",
                grant.range, grant.stage
            )
        })?;
    }
    Ok(())
}

/// Counts the cpus that a worker's grants let it use at once.
fn may_run(state: &State, activity: &Activity, worker: WorkerId) -> Cpus {
    let of_stage = |(stage, pieces): (&StageId, &BTreeMap<u64, Granted>)| {
        let held = pieces.iter().filter(|(_, granted)| granted.worker == worker);
        let (tasks, lanes) =
            held.fold((0, (Token::default(), 0)), |(tasks, lanes), (start, granted)| {
                (tasks + granted.end - start, lanes.max((granted.token, granted.lanes)))
            });
        let spec = state.job(stage.job).map(|job| &job.spec().stages[stage.stage.0 as usize]);
        spec.map_or(Cpus::ZERO, |spec| spec.task.cpus.times(u64::from(lanes.1).min(tasks)))
    };
    activity.granted.iter().map(of_stage).fold(Cpus::ZERO, Cpus::saturating_add)
}

fn malformed(error: &gridctl_coordinator::sim::Refused) -> Violation {
    Violation {
        rule: Rule::HonestPeerIsServed,
        what: format!("a worker's message is refused: {error}"),
    }
}

/// Nothing is reserved.
pub(crate) fn has_nothing_reserved(activity: &Activity) -> bool {
    activity.workers.values().all(|worker| worker.reserved == Cpus::ZERO)
}
