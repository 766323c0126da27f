//! The link to the coordinator: connecting, Hello and Welcome, the lease, what is said and heard.

use std::mem::discriminant;
use std::time::Duration;

use gridctl_jobs::id::Epoch;
use gridctl_jobs::planted::{self, Bug};
use gridctl_transport::backoff::Backoff;
use gridctl_transport::message::worker::{
    CoordinatorMessage, Hello, UploadId, Verdict, Welcome, WorkerMessage,
};
use gridctl_transport::message::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Turned};

use super::event::{AgentEffect, AgentExit, LinkEnd, LinkId, MonoMs, Notice, Now, Violation};
use super::step::Agent;
use crate::limits::{HEARTBEAT_MS_MIN, RECONNECTS_PER_LEASE, WELCOME_WAIT_MS};

/// What an agent knows of its coordinator.
#[derive(Debug)]
pub(super) struct Session {
    state: State,
    last_link: u64,
    /// Attempts that failed since the last Welcome.
    failures: u32,
    /// The highest epoch that ever welcomed this worker.
    epoch_seen: Epoch,
    /// Until when new tasks may begin; `None` before the first Welcome, and once its end was noticed.
    lease_until: Option<MonoMs>,
    /// How long a lease of this coordinator is; `None` before the first Welcome.
    lease_ms: Option<u64>,
    /// What was told of the present outage, so that the log has a line for it and not one an attempt.
    told: Option<Notice>,
    welcomed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Down {
        retry_at: Option<MonoMs>,
    },
    Connecting {
        link: LinkId,
    },
    /// Hello was said.
    Greeting {
        link: LinkId,
        hello_sent: MonoMs,
    },
    Up {
        link: LinkId,
        uploads: u64,
    },
}

impl Session {
    pub(super) const fn new(epoch_seen: Epoch) -> Self {
        Self {
            state: State::Down { retry_at: None },
            last_link: 0,
            failures: 0,
            epoch_seen,
            lease_until: None,
            lease_ms: None,
            told: None,
            welcomed: false,
        }
    }

    /// Returns the link on which the coordinator welcomed this worker.
    pub(super) const fn up(&self) -> Option<LinkId> {
        match self.state {
            State::Up { link, .. } => Some(link),
            State::Down { .. } | State::Connecting { .. } | State::Greeting { .. } => None,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.up().is_some()
    }

    /// Says whether new tasks may begin.
    pub(super) fn has_lease(&self, now: MonoMs) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }

    pub(super) fn deadline(&self) -> Option<MonoMs> {
        let link = match self.state {
            State::Down { retry_at } => retry_at,
            State::Greeting { hello_sent, .. } => Some(hello_sent.after(WELCOME_WAIT_MS)),
            State::Connecting { .. } | State::Up { .. } => None,
        };
        link.into_iter().chain(self.lease_until).min()
    }

    /// Returns when the next attempt is due.
    #[cfg(test)]
    pub(super) const fn retry_at(&self) -> Option<MonoMs> {
        match self.state {
            State::Down { retry_at } => retry_at,
            State::Connecting { .. } | State::Greeting { .. } | State::Up { .. } => None,
        }
    }

    /// Returns the link that there is, or that is being made.
    pub(super) const fn link(&self) -> Option<LinkId> {
        match self.state {
            State::Connecting { link } | State::Greeting { link, .. } | State::Up { link, .. } => {
                Some(link)
            }
            State::Down { .. } => None,
        }
    }
}

impl Agent {
    pub(super) fn connect(&mut self, effects: &mut Vec<AgentEffect>) {
        self.session.last_link += 1;
        let link = LinkId(self.session.last_link);
        self.session.state = State::Connecting { link };
        effects.push(AgentEffect::Connect { link });
    }

    pub(super) fn on_link_up(&mut self, now: Now, link: LinkId, effects: &mut Vec<AgentEffect>) {
        if self.session.state != (State::Connecting { link }) {
            return;
        }
        self.session.state = State::Greeting { link, hello_sent: now.mono };
        self.stops.announced();
        let hello = Hello {
            version: PROTOCOL_VERSION,
            epoch_seen: self.session.epoch_seen,
            machine: self.config.machine,
            cpus: self.config.cpus,
            wall: now.wall,
            held: self.held(),
            process: self.config.process,
            life: self.config.life,
            connection: link.0,
            predecessor_gone: self.config.predecessor_gone,
            ends_trees: self.config.ends_trees,
        };
        effects.push(AgentEffect::Send { link, message: WorkerMessage::Hello(hello) });
    }

    pub(super) fn on_link_down(
        &mut self,
        now: Now,
        link: LinkId,
        why: LinkEnd,
        effects: &mut Vec<AgentEffect>,
    ) {
        if self.session.link() != Some(link) {
            return;
        }
        match why {
            LinkEnd::Refused(what) => self.exit(AgentExit::Refused(what), effects),
            LinkEnd::Broken(why) => {
                let notice = self.outage(why);
                self.back_off(now, notice, effects);
            }
        }
    }

    pub(super) fn on_message(
        &mut self,
        now: Now,
        link: LinkId,
        message: CoordinatorMessage,
        effects: &mut Vec<AgentEffect>,
    ) {
        let heard = match self.session.state {
            State::Greeting { link: current, hello_sent } if current == link => {
                self.on_first_message(now, link, hello_sent, message, effects)
            }
            State::Up { link: current, .. } if current == link => {
                self.on_next_message(now, message, effects)
            }
            // Of a link that is no more.
            State::Down { .. }
            | State::Connecting { .. }
            | State::Greeting { .. }
            | State::Up { .. } => Ok(()),
        };
        if let Err(violation) = heard {
            self.hang_up(now, Notice::Violation(violation), effects);
        }
    }

    pub(super) fn on_lease_renewed(&mut self, now: Now, link: LinkId, sent: MonoMs, lease_ms: u64) {
        if self.session.up() == Some(link) {
            let from = if planted::is_on(Bug::LeaseFromReceipt) { now.mono } else { sent };
            let until = from.after(lease_ms);
            self.session.lease_until = self.session.lease_until.max(Some(until));
            self.stops.renewed(sent, lease_ms);
        }
    }

    /// Does what is due: the next attempt, giving up on a Welcome, the end of the lease.
    pub(super) fn watch_session(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        if self.session.lease_until.is_some_and(|until| until <= now.mono) {
            self.session.lease_until = None;
            Self::notice(Notice::LeaseEnded, effects);
            // The coordinator has closed its side by now; only a new Hello gets a lease again.
            if self.session.is_up() {
                let notice = self.outage("heartbeats are not answered".to_owned());
                self.hang_up(now, notice, effects);
            }
        }
        if self.session.deadline().is_none_or(|at| now.mono < at) {
            return;
        }
        match self.session.state {
            State::Down { .. } => self.connect(effects),
            State::Greeting { .. } => {
                let notice = self.outage("the coordinator does not answer Hello".to_owned());
                self.hang_up(now, notice, effects);
            }
            State::Connecting { .. } | State::Up { .. } => {}
        }
    }

    /// Sends a report of what is gathered where it is due, or nothing else is to be waited for.
    pub(super) fn send_reports(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        let Some(due) = self.reports.due() else { return };
        let prompt = self.stages.is_idle() || self.reports.is_full();
        if self.session.is_up() && (prompt || due <= now.mono) {
            let first = self.reports.number();
            self.send_reports_from(first, effects);
        }
    }

    /// Says something to the coordinator, if it is there.
    pub(super) fn say(&self, message: WorkerMessage, effects: &mut Vec<AgentEffect>) {
        if let Some(link) = self.session.up() {
            effects.push(AgentEffect::Send { link, message });
        }
    }

    /// Closes whatever link there is.
    pub(super) fn disconnect(&mut self, effects: &mut Vec<AgentEffect>) {
        if let Some(link) = self.session.link() {
            effects.push(AgentEffect::Disconnect { link });
        }
        self.session.state = State::Down { retry_at: None };
    }

    fn on_first_message(
        &mut self,
        now: Now,
        link: LinkId,
        hello_sent: MonoMs,
        message: CoordinatorMessage,
        effects: &mut Vec<AgentEffect>,
    ) -> Result<(), Violation> {
        match message {
            CoordinatorMessage::Welcome(welcome) => {
                self.on_welcome(now, link, hello_sent, welcome, effects)
            }
            CoordinatorMessage::Turned(turned) => {
                self.on_turned(now, turned, effects);
                Ok(())
            }
            CoordinatorMessage::Stage(_)
            | CoordinatorMessage::Assign(_)
            | CoordinatorMessage::TakeBack { .. }
            | CoordinatorMessage::Stop { .. }
            | CoordinatorMessage::Settled { .. }
            | CoordinatorMessage::Forget { .. }
            | CoordinatorMessage::Stopping => Err(Violation::OutOfOrder),
        }
    }

    fn on_next_message(
        &mut self,
        now: Now,
        message: CoordinatorMessage,
        effects: &mut Vec<AgentEffect>,
    ) -> Result<(), Violation> {
        match message {
            CoordinatorMessage::Welcome(_) => return Err(Violation::OutOfOrder),
            CoordinatorMessage::Turned(turned) => self.on_turned(now, turned, effects),
            CoordinatorMessage::Stage(order) => self.stages.learn(order)?,
            CoordinatorMessage::Assign(grant) => self.stages.grant(grant)?,
            CoordinatorMessage::TakeBack { token, stage, tasks } => {
                self.on_take_back(token, stage, tasks, effects)?;
            }
            CoordinatorMessage::Stop { token, stage, range } => {
                self.end_tasks(stage, token, range, effects)?;
                self.confirm_end(stage, token, range, true);
            }
            CoordinatorMessage::Settled { up_to } => {
                self.reports.settle(up_to + u64::from(planted::is_on(Bug::SettlesTooMuch)));
            }
            CoordinatorMessage::Forget { stage } => self.stages.forget(stage),
            CoordinatorMessage::Stopping => Self::notice(Notice::CoordinatorStopping, effects),
        }
        Ok(())
    }

    fn on_welcome(
        &mut self,
        now: Now,
        link: LinkId,
        hello_sent: MonoMs,
        welcome: Welcome,
        effects: &mut Vec<AgentEffect>,
    ) -> Result<(), Violation> {
        let Welcome { version, epoch, grid, lease_ms, heartbeat_ms, answers } = welcome;
        if !(PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION).contains(&version) {
            let turned = Turned::Version {
                ours_min: PROTOCOL_VERSION_MIN,
                ours_max: PROTOCOL_VERSION,
                theirs: version,
            };
            self.on_turned(now, turned, effects);
            return Ok(());
        }
        let seen = self.session.epoch_seen;
        if epoch < seen {
            self.hang_up(now, Notice::OldCoordinator { epoch, seen }, effects);
            return Ok(());
        }
        if epoch > seen {
            self.session.epoch_seen = epoch;
            if !planted::is_on(Bug::EpochForgotten) {
                effects.push(AgentEffect::RememberEpoch(epoch));
            }
        }
        self.session.state = State::Up { link, uploads: 0 };
        self.session.failures = 0;
        self.session.told = None;
        self.session.welcomed = true;
        self.session.lease_ms = Some(lease_ms);
        self.session.lease_until = Some(hello_sent.after(lease_ms));
        self.stops.welcomed(hello_sent, lease_ms);
        let every_ms = heartbeat_ms.max(HEARTBEAT_MS_MIN);
        effects.push(AgentEffect::Heartbeats { link, every_ms });
        Self::notice(Notice::Connected { grid, epoch }, effects);
        let mut dropped = 0;
        for answer in answers {
            let unwanted = match answer.verdict {
                Verdict::Adopt => continue,
                Verdict::Done => false,
                Verdict::Void | Verdict::UnknownJob => true,
            };
            let ended = self.end_tasks(answer.stage, answer.token, answer.range, effects)?;
            dropped += if unwanted { ended } else { 0 };
            self.confirm_end(answer.stage, answer.token, answer.range, unwanted);
        }
        if dropped > 0 {
            Self::notice(Notice::Dropped { tasks: dropped }, effects);
        }
        self.tell_begun_again();
        if !planted::is_on(Bug::ReportsNotSentAgain) {
            self.send_reports_from(0, effects);
        }
        Ok(())
    }

    fn on_turned(&mut self, now: Now, turned: Turned, effects: &mut Vec<AgentEffect>) {
        match turned {
            Turned::Version { .. } | Turned::IdentityInUse { .. } | Turned::UnknownIdentity => {
                self.disconnect(effects);
                self.exit(AgentExit::Refused(turned.to_string()), effects);
            }
            Turned::OldCoordinator { .. }
            | Turned::Stopping
            | Turned::Violation { .. }
            | Turned::LeaseRuns => {
                self.hang_up(now, Notice::Turned(turned), effects);
            }
        }
    }

    fn send_reports_from(&mut self, first: u64, effects: &mut Vec<AgentEffect>) {
        let State::Up { link, uploads } = &mut self.session.state else { return };
        let next_upload = || {
            *uploads += 1;
            UploadId(*uploads)
        };
        for outgoing in self.reports.outgoing(first, next_upload) {
            for (upload, output) in outgoing.uploads {
                effects.push(AgentEffect::Upload { link: *link, upload, output });
            }
            let message = WorkerMessage::Report(outgoing.report);
            effects.push(AgentEffect::Send { link: *link, message });
        }
    }

    /// Closes the link and tries again later.
    fn hang_up(&mut self, now: Now, notice: Notice, effects: &mut Vec<AgentEffect>) {
        self.disconnect(effects);
        self.back_off(now, notice, effects);
    }

    /// Tries again later. What runs goes on, what ended is kept.
    fn back_off(&mut self, now: Now, notice: Notice, effects: &mut Vec<AgentEffect>) {
        self.session.failures = self.session.failures.saturating_add(1);
        // Several attempts within a lease, so that what runs is seldom given away.
        let part = self.session.lease_ms.map(|lease| lease / RECONNECTS_PER_LEASE);
        let backoff = part.map_or(Backoff::RECONNECT, |part| {
            Backoff::RECONNECT.at_most(Duration::from_millis(part.max(1)))
        });
        let delay = backoff.delay(self.config.seed, self.session.failures);
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.session.state = State::Down { retry_at: Some(now.mono.after(delay_ms)) };
        // A new Welcome decides anew about everything; who asked for something back asks again.
        self.take_backs.clear();
        if planted::is_on(Bug::ForgetResultsOnReconnect) {
            self.reports.forget();
        }
        self.tell_of_outage(notice, effects);
    }

    fn outage(&self, why: String) -> Notice {
        if self.session.welcomed {
            Notice::Lost { why, running: self.slices.wanted().count() }
        } else {
            Notice::NotReached { why }
        }
    }

    fn tell_of_outage(&mut self, notice: Notice, effects: &mut Vec<AgentEffect>) {
        let told = match (&self.session.told, &notice) {
            (Some(_), Notice::Lost { .. } | Notice::NotReached { .. }) => true,
            (Some(before), _) => discriminant(before) == discriminant(&notice),
            (None, _) => false,
        };
        if !told {
            self.session.told = Some(notice.clone());
            Self::notice(notice, effects);
        }
    }
}
