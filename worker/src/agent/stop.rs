//! Tasks that stop with their lease: killed in time, and never said to be over before they are.
//!
//! The coordinator counts a lease from when it received the last heartbeat; the deadline here counts nine
//! tenths of it from when that heartbeat was sent, so that clocks may differ. What is killed ends no report:
//! it is given back once it is surely gone. So is what the coordinator had ended; until then a Hello still
//! announces it as running.

use std::collections::BTreeSet;

use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{OnLostLease, Run};
use gridctl_transport::message::worker::{Held, Phase, WorkerMessage};

use super::event::{AgentEffect, MonoMs, Notice, Now, SliceId};
use super::slices::Running;
use super::stages::Stage;
use super::step::Agent;

/// What is being killed, and what was and is not said yet.
#[derive(Debug, Default)]
pub(super) struct Stops {
    /// When what runs of such stages has to be dead; `None` before the first Welcome.
    at: Option<MonoMs>,
    /// The deadline that the shell knows of.
    told: Option<MonoMs>,
    dying: Vec<Dying>,
    /// Gone; told to the coordinator when it is there.
    gone: Vec<Gone>,
}

/// Tasks of one grant that are being killed.
#[derive(Debug)]
struct Dying {
    /// Those that have not returned.
    slices: BTreeSet<SliceId>,
    tasks: Gone,
}

/// Tasks of one grant that do not run any more.
#[derive(Clone, Debug)]
struct Gone {
    token: Token,
    stage: StageId,
    attempt: u32,
    ranges: Vec<TaskRange>,
}

impl Stops {
    /// Says whether tasks that stop with the lease may begin.
    pub(super) fn may_begin(&self, now: MonoMs) -> bool {
        self.at.is_some_and(|at| now < at)
    }

    /// A new session: what an earlier one promised is over.
    pub(super) fn welcomed(&mut self, hello_sent: MonoMs, lease_ms: u64) {
        self.at = Some(deadline(hello_sent, lease_ms));
    }

    /// A heartbeat that was sent then was answered.
    pub(super) fn renewed(&mut self, sent: MonoMs, lease_ms: u64) {
        self.at = self.at.max(Some(deadline(sent, lease_ms)));
    }

    /// A Hello is about to say what is held: what is gone is not in it.
    pub(super) fn announced(&mut self) {
        self.gone.clear();
    }

    /// Announces what is being killed.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        self.dying.iter().flat_map(|dying| {
            let Gone { token, stage, attempt, ref ranges } = dying.tasks;
            let phase = Phase::Running;
            ranges.iter().map(move |range| Held { token, stage, range: *range, attempt, phase })
        })
    }

    /// A slice has returned: nothing of it runs any more.
    pub(super) fn returned(&mut self, slice: SliceId) {
        for dying in &mut self.dying {
            dying.slices.remove(&slice);
        }
        let over = self.dying.extract_if(.., |dying| dying.slices.is_empty());
        self.gone.extend(over.map(|dying| dying.tasks));
    }
}

impl Agent {
    /// Kills what must not outlive the lease, once that is nearly over, and gives up what has not begun of it
    /// where the coordinator is away: it may be given away, so that it must not begin here once it is back.
    pub(super) fn stop_in_time(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        if self.stops.at.is_none_or(|at| now.mono < at) {
            return;
        }
        // In a session it waits for the next answer to a heartbeat, or for the end of the session.
        if !self.session.is_up() {
            self.stages.drop_stopping();
        }
        let mut killed = Vec::new();
        for (id, slice) in self.slices.iter_mut().filter(|(_, slice)| slice.stops()) {
            let ranges = slice.open();
            if slice.over || ranges.is_empty() {
                continue;
            }
            let all = TaskRange::new(slice.next, slice.end);
            slice.void(all);
            slice.kill(id, all, effects);
            let (token, attempt) = (slice.head.token, slice.head.attempt);
            let tasks = Gone { token, stage: slice.stage, attempt, ranges };
            killed.push(Dying { slices: BTreeSet::from([id]), tasks });
        }
        if killed.is_empty() {
            return;
        }
        let slices: Vec<SliceId> = killed.iter().flat_map(|dying| &dying.slices).copied().collect();
        Self::notice(Notice::Stopped { tasks: slices.len() }, effects);
        slices.into_iter().for_each(|id| self.mark_over(id));
        self.stops.dying.extend(killed);
    }

    /// The coordinator has ended tasks: says so once they are gone, where they stop with the lease. Those that
    /// do not run are `wanted` to be told of, or not.
    pub(super) fn confirm_end(
        &mut self,
        stage: StageId,
        token: Token,
        range: TaskRange,
        wanted: bool,
    ) {
        let runs = |slice: &Running| {
            slice.stage == stage
                && slice.head.token == token
                && !TaskRange::new(slice.next, slice.end).intersect(range).is_empty()
        };
        let of_slices = self.slices.iter().any(|(_, slice)| slice.stage == stage && slice.stops());
        let of_stage = self.stages.stage(stage).is_some_and(Stage::stops);
        if !of_slices && !of_stage {
            return;
        }
        let running: Vec<(SliceId, u32)> = self
            .slices
            .iter()
            .filter(|(_, slice)| runs(slice))
            .map(|(id, slice)| (id, slice.head.attempt))
            .collect();
        let attempt = running.first().map_or(1, |(_, attempt)| *attempt);
        let tasks = Gone { token, stage, attempt, ranges: vec![range] };
        if running.is_empty() {
            self.stops.gone.extend(Some(tasks).filter(|_| wanted));
        } else {
            let slices = running.into_iter().map(|(id, _)| id).collect();
            self.stops.dying.push(Dying { slices, tasks });
        }
    }

    /// Says what is gone, and tells the shell until when the rest may run.
    pub(super) fn tell_stops(&mut self, effects: &mut Vec<AgentEffect>) {
        if self.session.is_up() {
            for Gone { token, stage, ranges, .. } in std::mem::take(&mut self.stops.gone) {
                self.say(WorkerMessage::GivenBack { token, stage, ranges }, effects);
            }
        }
        let runs = self.slices.iter().any(|(_, slice)| slice.stops());
        let until = self.stops.at.filter(|_| runs);
        if until != self.stops.told {
            self.stops.told = until;
            effects.push(AgentEffect::StopUntil(until));
        }
    }

    /// Returns when something has to be killed.
    pub(super) fn stop_deadline(&self) -> Option<MonoMs> {
        let runs = self.slices.wanted().any(|(_, slice)| slice.stops());
        self.stops.at.filter(|_| runs)
    }
}

impl Running {
    /// Says whether its tasks stop with the lease.
    pub(super) fn stops(&self) -> bool {
        stops(&self.renderer.order().task)
    }

    /// Takes back what has not begun, and kills what runs if it lies in `range`, without grace.
    pub(super) fn kill(&mut self, id: SliceId, range: TaskRange, effects: &mut Vec<AgentEffect>) {
        self.reclaim(id, effects);
        effects.push(AgentEffect::Kill { slice: id, range });
    }
}

impl Stage {
    /// Says whether its tasks stop with the lease.
    pub(super) fn stops(&self) -> bool {
        stops(&self.renderer.order().task)
    }
}

fn stops(task: &gridctl_jobs::spec::TaskTemplate) -> bool {
    match task.run {
        // It cannot be killed, and no coordinator of ours asks for it.
        Run::Function { .. } => false,
        Run::Command { .. } | Run::Script { .. } => task.on_lost_lease == OnLostLease::Stop,
    }
}

/// Nine tenths of a lease after the heartbeat that renewed it was sent.
const fn deadline(sent: MonoMs, lease_ms: u64) -> MonoMs {
    sent.after(lease_ms - lease_ms / 10)
}
