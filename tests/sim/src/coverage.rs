//! How often each kind of thing happened, so that a simulator that tests nothing is noticed.

use std::collections::BTreeMap;
use std::fmt;

use gridctl_core::effect::{Effect, Reply, ToWorker, Verdict};
use gridctl_core::event::{Event, Outcome};
use gridctl_core::fact::Fact;
use gridctl_worker::agent::AgentEvent;

use crate::cells::{Of, Table};
use crate::faults::FAULT_KINDS;

/// Counts by kind; every kind that must be hit is there from the start, with 0.
///
/// Not among them, since they cannot happen here: `revoke token` and `user enrolled` (nobody asks for it),
/// and `unknown job` (a worker learns of a job only once it is durable, and jobs are never forgotten).
#[derive(Clone, Debug)]
pub struct Coverage {
    counts: BTreeMap<(Group, &'static str), u64>,
    tables: [Table; 4],
}

/// What a count is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// Something that goes wrong.
    Fault,
    /// Something that happens to the scheduler.
    Event,
    /// What the scheduler wants durable.
    Fact,
    /// What the scheduler wants done.
    Effect,
    /// What happens to an agent.
    Agent,
    /// A worker's crash, by what happened to its agent last.
    WorkerCrash,
    /// What happens elsewhere.
    Elsewhere,
}

pub(crate) const EVENTS: [&str; 22] = [
    "start",
    "submit",
    "cancel",
    "retry",
    "retry all",
    "forget",
    "drain",
    "resume",
    "create token",
    "enrol",
    "hello",
    "hello with held items",
    "started",
    "report of done tasks",
    "report of a failure",
    "given back",
    "goodbye",
    "disconnected",
    "lease expired",
    "tick",
    "silent",
    "heard",
];
const AGENT_EVENTS: [&str; 10] = [
    "start",
    "link up",
    "link down",
    "message",
    "lease renewed",
    "ended",
    "reclaimed",
    "returned",
    "drain",
    "tick",
];
const FACTS: [&str; 19] = [
    "epoch started",
    "job submitted",
    "range done",
    "task done",
    "task failed",
    "task failed for good",
    "stage skipped",
    "tasks cancelled",
    "job ended",
    "job reopened",
    "stage reopened",
    "tasks reopened",
    "worker draining",
    "worker resumed",
    "job forgotten",
    "worker enrolled",
    "task lost",
    "task set aside",
    "tasks skipped",
];
const EFFECTS: [&str; 19] = [
    "adopt",
    "done",
    "void",
    "stage",
    "assign",
    "take back",
    "stop",
    "settled",
    "forget",
    "submitted",
    "submitted again",
    "cancelled",
    "retried",
    "forgotten",
    "draining",
    "resumed",
    "refused",
    "close",
    "show",
];
const ELSEWHERE: [&str; 14] = [
    "killed by its parent",
    "snapshot",
    "snapshot damaged",
    "journal cut",
    "report waits for upload",
    "torn journal tail cut",
    "recovery",
    "connection refused",
    "upload",
    "heartbeat not answered",
    "request repeated",
    "reclaimed tail",
    "refused: no room",
    "waits for room",
];

impl Coverage {
    /// Makes counts of 0 for all that must be hit.
    pub fn new() -> Self {
        let groups = [
            (Group::Fault, &FAULT_KINDS[..]),
            (Group::Event, &EVENTS[..]),
            (Group::Fact, &FACTS[..]),
            (Group::Effect, &EFFECTS[..]),
            (Group::Agent, &AGENT_EVENTS[..]),
            (Group::WorkerCrash, &AGENT_EVENTS[..]),
            (Group::Elsewhere, &ELSEWHERE[..]),
        ];
        let keys =
            groups.iter().flat_map(|(group, kinds)| kinds.iter().map(|kind| (*group, *kind)));
        Self { counts: keys.map(|key| (key, 0)).collect(), tables: Table::all() }
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
        for (table, more) in self.tables.iter_mut().zip(&other.tables) {
            table.add(more);
        }
    }

    /// Lists what was never hit and can be.
    pub fn never_hit(&self) -> Vec<String> {
        let never = self.counts.iter().filter(|(_, count)| **count == 0);
        let kinds = never.map(|((group, kind), _)| format!("{group:?}: {kind}"));
        kinds.chain(self.tables.iter().flat_map(Table::wrong)).collect()
    }

    pub(crate) fn hit(&mut self, group: Group, kind: &'static str) {
        *self.counts.entry((group, kind)).or_default() += 1;
    }

    pub(crate) fn event(&mut self, event: &Event) {
        self.hit(Group::Event, event_kind(event));
    }

    pub(crate) fn agent_event(&mut self, event: &AgentEvent) {
        self.hit(Group::Agent, agent_kind(event));
    }

    /// A worker's process ends after a step of its agent.
    pub(crate) fn worker_crash_after(&mut self, kind: &'static str) {
        self.hit(Group::WorkerCrash, kind);
    }

    /// The coordinator crashes after an event.
    pub(crate) fn crash_after(&mut self, event: &Event) {
        self.cell(Of::Crashes, event_kind(event), "crash");
    }

    pub(crate) fn cell(&mut self, of: Of, row: &str, column: &str) {
        self.tables[of as usize].hit(row, column);
    }

    pub(crate) fn fact(&mut self, fact: &Fact) {
        let kind = match fact {
            Fact::EpochStarted { .. } => "epoch started",
            Fact::JobSubmitted(_) => "job submitted",
            Fact::RangeDone(_) => "range done",
            Fact::TaskDone(_) => "task done",
            Fact::TaskFailed(failed) if failed.last => "task failed for good",
            Fact::TaskFailed(_) => "task failed",
            Fact::StageSkipped { .. } => "stage skipped",
            Fact::TasksCancelled { .. } => "tasks cancelled",
            Fact::JobEnded { .. } => "job ended",
            Fact::TokenCreated(_) => "token created",
            Fact::TokenRevoked { .. } => "token revoked",
            Fact::WorkerEnrolled { .. } => "worker enrolled",
            Fact::UserEnrolled { .. } => "user enrolled",
            Fact::JobReopened { .. } => "job reopened",
            Fact::StageReopened { .. } => "stage reopened",
            Fact::TasksReopened { .. } => "tasks reopened",
            Fact::WorkerDraining { .. } => "worker draining",
            Fact::WorkerResumed { .. } => "worker resumed",
            Fact::JobForgotten { by: Some(_), .. } => "job forgotten",
            Fact::JobForgotten { by: None, .. } => "job forgotten by age",
            Fact::WorkerAttached { .. } => "worker attached",
            Fact::WorkerDetached { .. } => "worker detached",
            Fact::LeaseLength { .. } => "lease length",
            Fact::Watermark { .. } => "watermark",
            Fact::SetBack { .. } => "set back",
            Fact::TaskLost(lost) if lost.last => "task set aside",
            Fact::TaskLost(lost) if lost.alone => "task lost alone",
            Fact::TaskLost(_) => "task lost",
            Fact::TasksSkipped { .. } => "tasks skipped",
        };
        self.hit(Group::Fact, kind);
    }

    pub(crate) fn effect(&mut self, effect: &Effect) {
        let kind = match effect {
            Effect::Send { message, .. } => match message {
                ToWorker::Welcome { answers, .. } => {
                    answers.iter().for_each(|answer| self.verdict(answer.verdict));
                    "welcome"
                }
                ToWorker::Stage { .. } => "stage",
                ToWorker::Assign { .. } => "assign",
                ToWorker::TakeBack { .. } => "take back",
                ToWorker::Stop { .. } => "stop",
                ToWorker::Settled { .. } => "settled",
                ToWorker::Forget { .. } => "forget",
            },
            Effect::Reply { reply, .. } => match reply {
                Reply::Submitted { new: true, .. } => "submitted",
                Reply::Submitted { new: false, .. } => "submitted again",
                Reply::Cancelled { .. } => "cancelled",
                Reply::Retried { .. } => "retried",
                Reply::Forgotten { .. } => "forgotten",
                Reply::WorkerDraining { .. } => "draining",
                Reply::WorkerResumed { .. } => "resumed",
                Reply::TokenCreated { .. } => "token created",
                Reply::TokenRevoked => "token revoked",
                Reply::Enrolled(_) => "enrolled",
                Reply::Refused(_) => "refused",
            },
            Effect::Close { .. } => "close",
            Effect::Show(_) => "show",
        };
        self.hit(Group::Effect, kind);
    }

    fn verdict(&mut self, verdict: Verdict) {
        let kind = match verdict {
            Verdict::Adopt => "adopt",
            Verdict::Done => "done",
            Verdict::Void => "void",
            Verdict::UnknownJob => "unknown job",
        };
        self.hit(Group::Effect, kind);
    }
}

pub(crate) fn event_kind(event: &Event) -> &'static str {
    match event {
        Event::Start { .. } => "start",
        Event::Submit { .. } => "submit",
        Event::Cancel { .. } => "cancel",
        Event::Retry { all: false, .. } => "retry",
        Event::Retry { all: true, .. } => "retry all",
        Event::Forget { .. } => "forget",
        Event::DrainWorker { .. } => "drain",
        Event::ResumeWorker { .. } => "resume",
        Event::CreateToken { .. } => "create token",
        Event::RevokeToken { .. } => "revoke token",
        Event::Enrol { .. } => "enrol",
        Event::WorkerHello { hello, .. } if hello.held.is_empty() => "hello",
        Event::WorkerHello { .. } => "hello with held items",
        Event::Started { .. } => "started",
        Event::Report { report, .. } => {
            let failed =
                report.items.iter().any(|item| matches!(item.outcome, Outcome::Failed { .. }));
            if failed { "report of a failure" } else { "report of done tasks" }
        }
        Event::GivenBack { .. } => "given back",
        Event::Goodbye { .. } => "goodbye",
        Event::Disconnected { .. } => "disconnected",
        Event::LeaseExpired { .. } => "lease expired",
        Event::Tick => "tick",
        Event::Silent { .. } => "silent",
        Event::Heard { .. } => "heard",
    }
}

pub(crate) const fn agent_kind(event: &AgentEvent) -> &'static str {
    match event {
        AgentEvent::Start => "start",
        AgentEvent::LinkUp { .. } => "link up",
        AgentEvent::LinkDown { .. } => "link down",
        AgentEvent::Message { .. } => "message",
        AgentEvent::LeaseRenewed { .. } => "lease renewed",
        AgentEvent::Ended { .. } => "ended",
        AgentEvent::Reclaimed { .. } => "reclaimed",
        AgentEvent::Returned { .. } => "returned",
        AgentEvent::Drain => "drain",
        AgentEvent::Tick => "tick",
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for ((group, kind), count) in &self.counts {
            if last != Some(*group) {
                writeln!(f, "{group:?}")?;
                last = Some(*group);
            }
            writeln!(f, "  {count:>9}  {kind}")?;
        }
        self.tables.iter().try_for_each(|table| write!(f, "{table}"))
    }
}
