//! The loop.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::Arc;

use gridctl_core::effect::{Effect, Effects, FactIndex, Reply};
use gridctl_core::event::{Event, RequestId, SessionId};
use gridctl_core::gate::ReleaseGate;
use gridctl_core::scheduler::Scheduler;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::input::{Input, Line};
use super::outbox::Outbox;
use crate::clock;
use crate::journal::{CommitError, Durability, FactGroup, JournalSender};
use crate::leases::Leases;
use crate::results::{Pin, Pins, Results};
use crate::views::Views;

/// Events that are stepped before their facts go to the journal: one group, and so one sync, for many.
const BATCH_MAX: usize = 256;
/// Facts that are not durable yet and no longer let events in: a few seconds of the fastest work, some
/// 50 MiB. What is stepped on must fit the memory, however slow the disk.
const UNSYNCED_FACTS_MAX: u64 = 256 << 10;

/// The scheduler with everything that it needs to have an effect.
pub(crate) struct Reactor {
    pub(super) scheduler: Scheduler,
    pub(super) views: Arc<Views>,
    pub(super) leases: Arc<Leases>,
    pub(super) sessions: BTreeMap<SessionId, Outbox>,
    pub(super) requests: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    pub(super) gate: ReleaseGate<Effect>,
    /// Recorded and not yet shown, oldest first.
    pub(super) unshown: VecDeque<FactGroup>,
    effects: Effects,
    pub(super) pins: Pins,
    /// Held until the window after the start has closed: failures that wait for that name output.
    window_pin: Option<Pin>,
    /// What was recovered is a copy of an earlier state.
    restored: bool,
    journal: JournalSender,
    last_fact: FactIndex,
}

/// Why the reactor ended before it was told to.
#[derive(Clone, Debug, Error)]
pub(crate) enum ReactorError {
    #[error("what was decided could not be made durable")]
    Journal(#[source] Arc<CommitError>),
    #[error("the journal's thread ended")]
    JournalGone,
}

/// What wakes the loop.
enum Woken {
    Inputs(usize),
    Durable,
    JournalGone,
    Deadline,
}

impl Reactor {
    /// Makes it of a scheduler whose state is that of the journal up to `recovered`.
    pub(crate) fn new(
        scheduler: Scheduler,
        recovered: FactIndex,
        journal: JournalSender,
        views: Arc<Views>,
        leases: Arc<Leases>,
        results: &Arc<Results>,
        restored: bool,
    ) -> Self {
        Self {
            scheduler,
            views,
            leases,
            sessions: BTreeMap::new(),
            requests: BTreeMap::new(),
            gate: ReleaseGate::new(recovered),
            unshown: VecDeque::new(),
            effects: Effects::default(),
            pins: Pins::default(),
            window_pin: Some(Pin::new(results)),
            restored,
            journal,
            last_fact: recovered,
        }
    }

    /// Runs until every way in is dropped or `stop` says so, and everything that was decided is durable and
    /// carried out.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), ReactorError> {
        let mut durability = self.journal.durability();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        self.step(Event::Start { restored: self.restored });
        loop {
            self.record().await?;
            self.release(&mut durability)?;
            match self.wait(&mut inputs, &mut batch, &mut durability, &mut stop).await {
                // Closed and empty: nothing will be decided any more.
                Woken::Inputs(0) => break,
                Woken::Inputs(_) => batch.drain(..).for_each(|input| self.take(input)),
                Woken::Durable => {}
                Woken::JournalGone => return Err(self.why_stopped()),
                Woken::Deadline => self.step(Event::Tick),
            }
        }
        self.settle(&mut durability).await
    }

    /// Waits for something to do, and fills `batch` with what has come in.
    async fn wait(
        &self,
        inputs: &mut mpsc::Receiver<Input>,
        batch: &mut Vec<Input>,
        durability: &mut watch::Receiver<Durability>,
        stop: &mut watch::Receiver<bool>,
    ) -> Woken {
        let may_take = self.last_fact.0 - self.gate.durable().0 < UNSYNCED_FACTS_MAX;
        let deadline = self.scheduler.next_deadline().map(clock::instant_of).map(Instant::from_std);
        loop {
            tokio::select! {
                biased;
                () = stopped(stop), if !inputs.is_closed() => inputs.close(),
                changed = durability.changed() => {
                    return if changed.is_ok() { Woken::Durable } else { Woken::JournalGone };
                }
                count = inputs.recv_many(batch, BATCH_MAX), if may_take => return Woken::Inputs(count),
                // After inputs: every step looks at what is due, so a deadline never waits for long.
                () = until(deadline) => return Woken::Deadline,
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input.line {
            Line::Known => {}
            Line::Session(session, outbox) => {
                self.sessions.insert(session, outbox);
            }
            Line::Request(request, reply) => {
                self.requests.insert(request, reply);
            }
        }
        self.step(input.event);
        // A window may open later, too: a worker shows that this coordinator was set back.
        if self.window_pin.is_none() && self.scheduler.activity().window_until.is_some() {
            self.window_pin = Pin::lowest(input.pins);
            return;
        }
        let made = self.effects.facts.last().map_or(self.last_fact, |(index, _)| *index);
        self.pins.hold(made, input.pins);
    }

    fn step(&mut self, event: Event) {
        match &event {
            Event::Goodbye { session } => self.leases.close(*session),
            // The core may still speak of it: what it says then goes nowhere.
            Event::Disconnected { session } => drop(self.sessions.remove(session)),
            Event::Start { .. }
            | Event::Silent { .. }
            | Event::Heard { .. }
            | Event::Submit { .. }
            | Event::Cancel { .. }
            | Event::Retry { .. }
            | Event::Forget { .. }
            | Event::DrainWorker { .. }
            | Event::ResumeWorker { .. }
            | Event::CreateToken { .. }
            | Event::RevokeToken { .. }
            | Event::Enrol { .. }
            | Event::WorkerHello { .. }
            | Event::Started { .. }
            | Event::Report { .. }
            | Event::GivenBack { .. }
            | Event::LeaseExpired { .. }
            | Event::Tick => {}
        }
        self.scheduler.step(clock::now(), event, &mut self.effects);
        if self.window_pin.is_some() && self.scheduler.activity().window_until.is_none() {
            let made = self.effects.facts.last().map_or(self.last_fact, |(index, _)| *index);
            self.pins.hold(made, self.window_pin.take().into_iter().collect());
        }
    }

    /// Hands the facts of the last steps to the journal, and their effects to the gate.
    async fn record(&mut self) -> Result<(), ReactorError> {
        for (index, effect) in self.effects.effects.drain(..) {
            self.gate.hold(index, effect);
        }
        let Some(group) = FactGroup::new(std::mem::take(&mut self.effects.facts)) else {
            return Ok(());
        };
        self.last_fact = group.last();
        self.unshown.push_back(group.clone());
        if self.journal.send(group).await.is_err() {
            return Err(self.why_stopped());
        }
        Ok(())
    }

    /// Shows and carries out what is durable by now.
    fn release(
        &mut self,
        durability: &mut watch::Receiver<Durability>,
    ) -> Result<(), ReactorError> {
        let (durable, failed) = {
            let now = durability.borrow_and_update();
            match &*now {
                Durability::Running { durable } | Durability::Stopped { durable } => {
                    (*durable, None)
                }
                Durability::Failed { durable, error } => (*durable, Some(Arc::clone(error))),
            }
        };
        match failed {
            Some(error) => Err(ReactorError::Journal(error)),
            None => {
                self.carry_out(durable);
                Ok(())
            }
        }
    }

    /// Waits until everything that was decided is durable and carried out.
    async fn settle(
        &mut self,
        durability: &mut watch::Receiver<Durability>,
    ) -> Result<(), ReactorError> {
        self.record().await?;
        loop {
            self.release(durability)?;
            if self.gate.durable() >= self.last_fact {
                return Ok(());
            }
            durability.changed().await.map_err(|_| self.why_stopped())?;
        }
    }

    fn why_stopped(&self) -> ReactorError {
        match &*self.journal.durability().borrow() {
            Durability::Failed { error, .. } => ReactorError::Journal(Arc::clone(error)),
            Durability::Running { .. } | Durability::Stopped { .. } => ReactorError::JournalGone,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could say it is gone: that is as good as saying it.
    let _ = stop.wait_for(|stop| *stop).await;
}
