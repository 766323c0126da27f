//! Drives the agent: waits for what happens, steps, carries out.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use gridctl_jobs::id::Epoch;
use gridctl_transport::handshake::EpochMemory;
use tracing::error;

use crate::agent::{Agent, AgentEffect, AgentEvent, AgentExit};
use crate::alarm::Alarm;
use crate::clock::{mono, now};
use crate::events::ToReactor;
use crate::executor::Executor;
use crate::link::{Link, LinkCommand, Say};
use crate::log::log;
use crate::parent::Supervision;

/// Events that are taken in one go before time is looked at again.
const BATCH_MAX: usize = 256;

/// How a worker's life ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WorkerEnd {
    /// In order, or because it was refused.
    Agent(AgentExit),
    /// It was told to stop at once.
    Stopped,
}

/// The agent with all that it acts by.
pub(crate) struct Reactor {
    agent: Agent,
    executor: Executor,
    link: Link,
    epochs: EpochMemory,
    inbox: Receiver<ToReactor>,
    alarm: Alarm,
    supervision: Supervision,
    effects: Vec<AgentEffect>,
}

impl Reactor {
    pub(crate) fn new(
        agent: Agent,
        executor: Executor,
        link: Link,
        epochs: EpochMemory,
        inbox: Receiver<ToReactor>,
        alarm: Alarm,
        supervision: Supervision,
    ) -> Self {
        Self { agent, executor, link, epochs, inbox, alarm, supervision, effects: Vec::new() }
    }

    /// Runs the worker to the end of its life. Nothing of it is left afterwards but functions that do
    /// not return.
    pub(crate) fn run(mut self) -> WorkerEnd {
        let end = self.live();
        self.executor.kill_all();
        self.link.join();
        end
    }

    fn live(&mut self) -> WorkerEnd {
        let mut end = self.step(AgentEvent::Start);
        while end.is_none() {
            end = self.wait().or_else(|| self.tick());
            self.executor.look_after(Instant::now());
        }
        end.expect("the loop ends with it")
    }

    /// Waits for something to happen or to be due, and steps through all that has.
    fn wait(&mut self) -> Option<WorkerEnd> {
        self.alarm.set(mono(), self.agent.next_deadline());
        let mut heard = match self.inbox.recv_timeout(self.patience()) {
            Ok(heard) => heard,
            Err(RecvTimeoutError::Timeout) => return None,
            // The handle is gone; nobody could stop the worker any more.
            Err(RecvTimeoutError::Disconnected) => return Some(WorkerEnd::Stopped),
        };
        for _ in 0..BATCH_MAX {
            let end = match heard {
                ToReactor::Event(event) => self.step(event),
                ToReactor::Look => None,
                ToReactor::Stop => Some(WorkerEnd::Stopped),
            };
            if end.is_some() {
                return end;
            }
            heard = self.inbox.try_recv().ok()?;
        }
        None
    }

    fn tick(&mut self) -> Option<WorkerEnd> {
        let is_due = self.agent.next_deadline().is_some_and(|at| at <= mono());
        if is_due { self.step(AgentEvent::Tick) } else { None }
    }

    /// Returns how long to wait at most.
    fn patience(&self) -> Duration {
        /// With nothing due at all a look now and then costs nothing.
        const LONGEST: Duration = Duration::from_secs(60);
        let agent = self.agent.next_deadline().map(|at| Duration::from_millis(at.since(mono())));
        let now = Instant::now();
        let look = self.executor.next_look(now).map(|at| at.saturating_duration_since(now));
        agent.into_iter().chain(look).min().unwrap_or(LONGEST).min(LONGEST)
    }

    /// Steps, and carries out what follows, until nothing more does.
    fn step(&mut self, event: AgentEvent) -> Option<WorkerEnd> {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            if let AgentEvent::Returned { slice } = event {
                self.executor.returned(slice);
            }
            let mut effects = std::mem::take(&mut self.effects);
            self.agent.step(now(), event, &mut effects);
            for effect in effects.drain(..) {
                match self.carry_out(effect) {
                    Next::Nothing => {}
                    Next::Event(event) => events.push(event),
                    Next::End(exit) => return Some(WorkerEnd::Agent(exit)),
                }
            }
            self.effects = effects;
        }
        None
    }

    fn carry_out(&mut self, effect: AgentEffect) -> Next {
        match effect {
            AgentEffect::Connect { link } => self.link.tell(link, LinkCommand::Connect),
            AgentEffect::Disconnect { link } => self.link.tell(link, LinkCommand::Disconnect),
            AgentEffect::Send { link, message } => {
                self.link.tell(link, LinkCommand::Say(Say::Message(message)));
            }
            AgentEffect::Upload { link, upload, output } => {
                self.link.tell(link, LinkCommand::Say(Say::Upload(upload, output)));
            }
            AgentEffect::Heartbeats { link, every_ms } => {
                self.link.tell(link, LinkCommand::Say(Say::Heartbeats { every_ms }));
            }
            AgentEffect::RememberEpoch(epoch) => self.remember(epoch),
            AgentEffect::Begin(slice) => self.executor.begin(slice),
            AgentEffect::Reclaim { slice } => {
                // What has returned was taken back whole, or has nothing left; its event is on the way.
                let tail = self.executor.reclaim(slice);
                return tail.map_or(Next::Nothing, |tail| {
                    Next::Event(AgentEvent::Reclaimed { slice, tail })
                });
            }
            AgentEffect::Cancel { slice, range } => self.executor.cancel(slice, range),
            AgentEffect::Kill { slice, range } => self.executor.kill(slice, range),
            AgentEffect::StopUntil(until) => self.supervision.stop_until(until),
            AgentEffect::Notice(notice) => log(&notice),
            AgentEffect::Exit(exit) => return Next::End(exit),
        }
        Next::Nothing
    }

    /// Where the disk refuses, this life goes by it all the same.
    fn remember(&mut self, epoch: Epoch) {
        if let Err(trouble) = self.epochs.welcomed(epoch) {
            error!("the coordinator's epoch is not kept: {trouble}");
        }
    }
}

/// What follows from an effect.
enum Next {
    Nothing,
    Event(AgentEvent),
    End(AgentExit),
}
