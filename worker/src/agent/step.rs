//! The one door: events in, effects out.

use gridctl_jobs::id::Epoch;
use gridctl_jobs::units::Cpus;

use super::event::{AgentEffect, AgentEvent, AgentExit, MonoMs, Notice, Now};
use super::leave::Leave;
use super::reports::ReportBuffer;
use super::session::Session;
use super::slices::Slices;
use super::stages::Stages;
use super::stop::Stops;
use super::work::TakeBack;

/// What an agent is told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AgentConfig {
    /// What tasks may occupy together.
    pub cpus: Cpus,
    /// Tells machines (and data directories) apart that use the same identity.
    pub machine: [u8; 16],
    /// Random, of this process.
    pub process: [u8; 16],
    /// Counts the processes of the data directory: of two, the one with the lower number is gone.
    pub life: u64,
    /// Whether everything that an earlier process of this worker had started is surely gone.
    pub predecessor_gone: bool,
    /// Whether whole process trees can be ended for sure, also when this process dies.
    pub ends_trees: bool,
    /// The highest epoch that welcomed this worker in earlier lives.
    pub epoch_seen: Epoch,
    /// How long what runs may go on once draining began, in milliseconds.
    pub grace_ms: u64,
    /// Where the jitter of reconnecting comes from.
    pub seed: u64,
}

/// The worker as a pure state machine.
#[derive(Debug)]
pub struct Agent {
    pub(super) config: AgentConfig,
    pub(super) session: Session,
    pub(super) stages: Stages,
    pub(super) slices: Slices,
    pub(super) reports: ReportBuffer,
    pub(super) take_backs: Vec<TakeBack>,
    pub(super) stops: Stops,
    pub(super) leave: Leave,
}

impl Agent {
    /// Makes an agent that has nothing; it begins with [`AgentEvent::Start`].
    pub fn new(config: AgentConfig) -> Self {
        Self {
            config,
            session: Session::new(config.epoch_seen),
            stages: Stages::default(),
            slices: Slices::new(config.cpus),
            reports: ReportBuffer::default(),
            take_backs: Vec::new(),
            stops: Stops::default(),
            leave: Leave::No,
        }
    }

    /// Takes what happened and adds what is to be done.
    ///
    /// # Panics
    /// Where an executor breaks the contract of [`AgentEvent`]; nothing that a coordinator says does.
    pub fn step(&mut self, now: Now, event: AgentEvent, effects: &mut Vec<AgentEffect>) {
        if self.leave == Leave::Gone {
            return;
        }
        let renews = matches!(event, AgentEvent::LeaseRenewed { .. });
        if !renews {
            // First, so that nothing is taken in that ended too late.
            self.stop_in_time(now, effects);
        }
        match event {
            AgentEvent::Start => self.connect(effects),
            AgentEvent::LinkUp { link } => self.on_link_up(now, link, effects),
            AgentEvent::LinkDown { link, why } => self.on_link_down(now, link, why, effects),
            AgentEvent::Message { link, message } => self.on_message(now, link, message, effects),
            AgentEvent::LeaseRenewed { link, sent, lease_ms } => {
                self.on_lease_renewed(now, link, sent, lease_ms);
            }
            AgentEvent::Ended { slice, ends } => self.on_ended(now, slice, ends),
            AgentEvent::Reclaimed { slice, tail } => self.on_reclaimed(slice, tail),
            AgentEvent::Returned { slice } => self.on_returned(slice),
            AgentEvent::Drain => self.on_drain(now, effects),
            AgentEvent::Tick => {}
        }
        self.go_on(now, effects);
    }

    /// Returns when [`AgentEvent::Tick`] is due, unless something else happens before.
    pub fn next_deadline(&self) -> Option<MonoMs> {
        if self.leave == Leave::Gone {
            return None;
        }
        let report = self.reports.due().filter(|_| self.session.is_up());
        let stop = self.stop_deadline();
        [self.session.deadline(), self.work_deadline(), self.leave.deadline(), report, stop]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns how many cpus are occupied, by functions that overrun too.
    pub fn cpus_used(&self) -> Cpus {
        self.slices.used()
    }

    /// Returns how many tasks have ended whose results the coordinator does not have for good.
    pub fn unsettled_tasks(&self) -> u64 {
        self.reports.tasks()
    }

    /// Says whether the coordinator's last word to this agent was a Welcome.
    pub const fn is_connected(&self) -> bool {
        self.session.is_up()
    }

    /// Checks what must hold after every step.
    ///
    /// # Panics
    /// Where it does not.
    pub fn check_invariants(&self) {
        self.slices.check_invariants();
        self.check_lanes();
    }

    /// Does what has become possible or due.
    fn go_on(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        self.stop_in_time(now, effects);
        self.watch_session(now, effects);
        self.answer_take_backs(effects);
        self.begin_slices(now, effects);
        self.share_long_slices(now, effects);
        self.tell_begun(now, effects);
        self.tell_overruns(now, effects);
        self.tell_stops(effects);
        self.send_reports(now, effects);
        self.go_on_leaving(now, effects);
    }

    /// Ends the agent's life.
    pub(super) fn exit(&mut self, exit: AgentExit, effects: &mut Vec<AgentEffect>) {
        self.leave = Leave::Gone;
        effects.push(AgentEffect::Exit(exit));
    }

    pub(super) fn notice(notice: Notice, effects: &mut Vec<AgentEffect>) {
        effects.push(AgentEffect::Notice(notice));
    }
}
