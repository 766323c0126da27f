//! Leaving in order: finish what runs within the grace, see everything settled, give the rest back.

use std::collections::BTreeMap;

use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_transport::message::worker::WorkerMessage;

use super::event::{AgentEffect, AgentExit, MonoMs, Notice, Now};
use super::step::Agent;
use crate::limits::LEAVE_WAIT_MS;

/// How far leaving has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Leave {
    /// The agent stays.
    No,
    /// Nothing more begins; what runs may go on until then.
    Finishing { until: MonoMs },
    /// What ran too long is being ended, and given back.
    Ending { until: MonoMs, killed: Vec<(StageId, Token, TaskRange)> },
    /// The agent's life is over.
    Gone,
}

impl Leave {
    pub(super) const fn deadline(&self) -> Option<MonoMs> {
        match self {
            Self::Finishing { until } | Self::Ending { until, .. } => Some(*until),
            Self::No | Self::Gone => None,
        }
    }
}

impl Agent {
    pub(super) fn on_drain(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        if self.leave != Leave::No {
            return;
        }
        self.leave = Leave::Finishing { until: now.mono.after(self.config.grace_ms) };
        Self::notice(Notice::Draining { running: self.slices.wanted().count() }, effects);
        for (id, slice) in self.slices.iter_mut() {
            if slice.may_have_tail() {
                slice.reclaim(id, effects);
            }
        }
    }

    /// Goes the next step of leaving that is possible.
    ///
    /// What has not begun is held until the very end: given back earlier, it would be granted to this
    /// worker again, which has the cpus for it.
    pub(super) fn go_on_leaving(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        let is_due = self.leave.deadline().is_some_and(|until| until <= now.mono);
        match self.leave {
            Leave::No | Leave::Gone => return,
            Leave::Finishing { .. } if is_due => {
                self.end_what_runs(now, effects);
                return self.go_on_leaving(now, effects);
            }
            Leave::Ending { .. } if is_due => return self.go(effects),
            Leave::Finishing { .. } | Leave::Ending { .. } => {}
        }
        // A function that is over cannot be made to return; it ends with the process.
        let runs = self.slices.iter().any(|(_, slice)| !slice.over || !slice.is_function());
        if !runs && self.reports.is_empty() {
            self.go(effects);
        }
    }

    /// Ends what runs; it is given back once it is gone.
    fn end_what_runs(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        let mut killed = Vec::new();
        let mut over = Vec::new();
        for (id, slice) in self.slices.iter_mut() {
            let all = TaskRange::new(slice.next, slice.end);
            killed.extend(
                slice.open().into_iter().map(|range| (slice.stage, slice.head.token, range)),
            );
            if slice.void(all) {
                if slice.stops() {
                    slice.kill(id, all, effects);
                } else {
                    slice.cancel(id, all, effects);
                }
                over.push(id);
            }
        }
        let wait_ms = if over.is_empty() && !self.session.is_up() { 0 } else { LEAVE_WAIT_MS };
        over.into_iter().for_each(|id| self.mark_over(id));
        self.leave = Leave::Ending { until: now.mono.after(wait_ms), killed };
    }

    /// Gives back what is left, says goodbye, and is gone.
    fn go(&mut self, effects: &mut Vec<AgentEffect>) {
        let mut left: BTreeMap<(Token, StageId), Vec<TaskRange>> = BTreeMap::new();
        for (stage, piece) in self.stages.take_all() {
            left.entry((piece.head.token, stage)).or_default().push(piece.range);
        }
        // Of what must not run twice the end of the lease tells, where killing it takes that long.
        let undead = self.slices.iter().any(|(_, slice)| slice.stops());
        let leave = std::mem::replace(&mut self.leave, Leave::Gone);
        if let (Leave::Ending { killed, .. }, false) = (leave, undead) {
            for (stage, token, range) in killed {
                left.entry((token, stage)).or_default().push(range);
            }
        }
        for ((token, stage), ranges) in left {
            self.say(WorkerMessage::GivenBack { token, stage, ranges }, effects);
        }
        let undelivered = self.reports.tasks();
        if undelivered == 0 && !undead {
            self.say(WorkerMessage::Goodbye, effects);
        }
        self.disconnect(effects);
        let exit = match undelivered {
            0 => AgentExit::Drained,
            tasks => AgentExit::Undelivered { tasks },
        };
        self.exit(exit, effects);
    }
}
