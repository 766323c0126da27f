//! Work: what is granted, begun, taken back, stopped, ended.

use std::sync::Arc;

use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::planted::{self, Bug};
use gridctl_jobs::range::TaskRange;
use gridctl_transport::message::worker::{
    Held, ITEMS_PER_MESSAGE_MAX, Phase, StartedTasks, WorkerMessage,
};

use super::event::{AgentEffect, MonoMs, Notice, Now, Slice, SliceId, TaskEnd, Violation};
use super::leave::Leave;
use super::slices::{Reclaim, Running};
use super::stages::Piece;
use super::step::Agent;
use crate::limits::{OVERRUN_NOTICE_MS, PIECES_MAX, STARTED_AFTER_MS};

/// Tasks that the coordinator wants back, once it is known which of them have not begun.
#[derive(Debug)]
pub(super) struct TakeBack {
    token: Token,
    stage: StageId,
    tasks: u64,
}

impl Agent {
    /// Asks running slices for their tails where the queue does not have enough.
    pub(super) fn on_take_back(
        &mut self,
        token: Token,
        stage: StageId,
        tasks: u64,
        effects: &mut Vec<AgentEffect>,
    ) -> Result<(), Violation> {
        if self.take_backs.len() >= PIECES_MAX {
            return Err(Violation::TooMany);
        }
        if self.stages.queued_with(stage, token) < tasks {
            for (id, slice) in self.slices.iter_mut() {
                if slice.stage == stage && slice.head.token == token && slice.may_have_tail() {
                    slice.reclaim(id, effects);
                }
            }
        }
        self.take_backs.push(TakeBack { token, stage, tasks });
        Ok(())
    }

    /// Answers where no tail is on its way back any more.
    pub(super) fn answer_take_backs(&mut self, effects: &mut Vec<AgentEffect>) {
        for asked in std::mem::take(&mut self.take_backs) {
            let TakeBack { token, stage, tasks } = asked;
            if self.slices.reclaiming(stage, token) {
                self.take_backs.push(asked);
                continue;
            }
            let ranges = self.stages.take_last(stage, token, tasks);
            self.say(WorkerMessage::GivenBack { token, stage, ranges }, effects);
        }
    }

    /// Ends tasks wherever they are: in a queue, on a lane, or in a report. Counts those whose results
    /// are dropped.
    pub(super) fn end_tasks(
        &mut self,
        stage: StageId,
        token: Token,
        range: TaskRange,
        effects: &mut Vec<AgentEffect>,
    ) -> Result<u64, Violation> {
        let mut over = Vec::new();
        for (id, slice) in self.slices.iter_mut() {
            if slice.stage != stage || slice.head.token != token || !slice.void(range) {
                continue;
            }
            if slice.stops() {
                slice.kill(id, range, effects);
            } else {
                slice.cancel(id, range, effects);
            }
            if slice.open().is_empty() {
                over.push(id);
            }
        }
        for id in over {
            self.mark_over(id);
        }
        let dropped = self.reports.void(stage, token, range);
        self.stages.remove(stage, token, range)?;
        Ok(dropped)
    }

    pub(super) fn on_ended(&mut self, now: Now, id: SliceId, ends: Vec<TaskEnd>) {
        for end in ends {
            let slice =
                self.slices.get_mut(id).expect("an executor reports slices that have not returned");
            let TaskRange { start, end: after } = end.range;
            assert!(
                slice.next <= start && start < after && after <= slice.end,
                "an executor reports tasks of the slice, in order, once"
            );
            slice.next = after;
            slice.progressed = now.mono;
            let wanted = slice.wanted_of(end.range);
            let (stage, head) = (slice.stage, Arc::clone(&slice.head));
            if let Some(stage) = self.stages.stage_mut(stage) {
                stage.pace.add(end.range.len(), end.busy_ns);
            }
            let each_ns = end.busy_ns / end.range.len();
            for range in wanted {
                let busy_ns = each_ns.saturating_mul(range.len());
                self.reports.add(now.mono, stage, &head, TaskEnd { range, busy_ns, ..end.clone() });
            }
        }
        self.mark_over_if_nothing_is_open(id);
    }

    pub(super) fn on_reclaimed(&mut self, id: SliceId, tail: TaskRange) {
        // It may have returned meanwhile.
        let Some(slice) = self.slices.get_mut(id) else { return };
        slice.reclaim = Reclaim::Done;
        if !tail.is_empty() {
            assert!(
                slice.next <= tail.start && tail.end == slice.end,
                "a tail reaches to the end of its slice, and none of it has ended"
            );
            let wanted = slice.wanted_of(tail);
            if !planted::is_on(Bug::TailRunsTwice) {
                slice.end = tail.start;
            }
            let (stage, head) = (slice.stage, Arc::clone(&slice.head));
            let forgets = planted::is_on(Bug::TailForgotten);
            for range in wanted.into_iter().rev().filter(|_| !forgets) {
                self.stages.put_back(stage, Piece { head: Arc::clone(&head), range });
            }
        }
        self.mark_over_if_nothing_is_open(id);
    }

    pub(super) fn on_returned(&mut self, id: SliceId) {
        self.mark_over_if_nothing_is_open(id);
        let slice = self.slices.end(id).expect("a slice returns once");
        assert!(slice.over, "a slice returns when all its tasks have ended: {slice:?}");
        self.stops.returned(id);
    }

    /// Begins slices while there are tasks, lanes and cpus for them.
    pub(super) fn begin_slices(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        while self.may_begin(now.mono) {
            let fitting = self
                .stages
                .waiting()
                .filter(|(_, stage)| stage.has_free_lane() && self.slices.has_room(stage.cpus()))
                .filter(|(_, stage)| !stage.stops() || self.stops.may_begin(now.mono));
            // What was granted first begins first.
            let Some((id, _)) = fitting.min_by_key(|(_, stage)| stage.first_token()) else {
                return;
            };
            self.begin_slice(now, id, effects);
        }
    }

    /// Takes back what has not begun of slices that turned out long, where a lane idles.
    pub(super) fn share_long_slices(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        let mut long = Vec::new();
        for (id, slice) in self.slices.wanted() {
            if slice.long_from() <= now.mono && self.could_share(now.mono, slice) {
                long.push(id);
            }
        }
        for id in long {
            if let Some(slice) = self.slices.get_mut(id) {
                slice.reclaim(id, effects);
            }
        }
    }

    /// Announces tasks that have run for a while.
    pub(super) fn tell_begun(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        if !self.session.is_up() {
            return;
        }
        let mut tasks = Vec::new();
        for (_, slice) in self.slices.iter_mut() {
            if slice.begun_due().is_some_and(|due| due <= now.mono) {
                slice.told = Some(slice.next);
                let range = TaskRange::one(slice.next);
                tasks.push(StartedTasks { token: slice.head.token, stage: slice.stage, range });
            }
        }
        if !tasks.is_empty() {
            self.say(WorkerMessage::Started { tasks }, effects);
        }
    }

    /// Makes everything that runs to be announced again, to a coordinator that may not know it.
    pub(super) fn tell_begun_again(&mut self) {
        self.slices.iter_mut().for_each(|(_, slice)| slice.told = None);
    }

    pub(super) fn tell_overruns(&mut self, now: Now, effects: &mut Vec<AgentEffect>) {
        for (_, slice) in self.slices.iter_mut() {
            if slice.overrun_due().is_some_and(|due| due <= now.mono) {
                slice.told_overrun = true;
                let stage = slice.renderer.order().stage_name.clone();
                Self::notice(Notice::Overrun { stage, cpus: slice.cpus() }, effects);
            }
        }
    }

    /// Returns when something is due about what runs.
    pub(super) fn work_deadline(&self) -> Option<MonoMs> {
        let is_up = self.session.is_up();
        let of_slice = |slice: &Running| {
            let begun = slice.begun_due().filter(|_| is_up);
            // Whether a lease is there then is seen then.
            let long =
                Some(slice.long_from()).filter(|at| !slice.over && self.could_share(*at, slice));
            [begun, slice.overrun_due(), long].into_iter().flatten().min()
        };
        self.slices.iter().filter_map(|(_, slice)| of_slice(slice)).min()
    }

    /// Announces everything that is held, neighbours joined.
    pub(super) fn held(&self) -> Vec<Held> {
        let mut held: Vec<Held> = Vec::new();
        for (stage, piece) in self.stages.pieces() {
            let (token, attempt) = (piece.head.token, piece.head.attempt);
            held.push(Held { token, stage, range: piece.range, attempt, phase: Phase::Queued });
        }
        for (_, slice) in self.slices.wanted() {
            let (token, attempt, stage) = (slice.head.token, slice.head.attempt, slice.stage);
            held.extend(slice.open().into_iter().map(|range| Held {
                token,
                stage,
                range,
                attempt,
                phase: Phase::Running,
            }));
        }
        held.extend(self.stops.held());
        for item in self.reports.unsettled() {
            let (token, attempt, stage) = (item.token, item.attempt, item.stage);
            held.push(Held { token, stage, range: item.range, attempt, phase: Phase::Finished });
        }
        join_neighbours(held)
    }

    pub(super) fn check_lanes(&self) {
        for (id, stage) in self.stages.waiting() {
            let busy = self.slices.wanted().filter(|(_, slice)| slice.stage == id).count();
            assert_eq!(busy, stage.busy as usize, "a stage's lanes are what runs of it");
        }
    }

    fn may_begin(&self, now: MonoMs) -> bool {
        let has_lease = self.session.has_lease(now) || planted::is_on(Bug::BeginsWithoutLease);
        self.leave == Leave::No && has_lease && self.reports.has_room()
    }

    fn begin_slice(&mut self, now: Now, stage_id: StageId, effects: &mut Vec<AgentEffect>) {
        let stage = self.stages.stage_mut(stage_id).expect("a stage that waits is known");
        let renderer = Arc::clone(&stage.renderer);
        let tasks = stage.next_slice_tasks();
        stage.busy += 1;
        let piece = self.stages.take_first(stage_id, tasks).expect("a stage that waits has tasks");
        let (token, attempt) = (piece.head.token, piece.head.attempt);
        let (range, items) = (piece.range, piece.head.items.clone());
        let id = self.slices.begin(now.mono, stage_id, Arc::clone(&renderer), piece);
        effects.push(AgentEffect::Begin(Slice { id, renderer, token, attempt, range, items }));
    }

    /// Says whether an idle lane could take over what has not begun of a slice.
    fn could_share(&self, now: MonoMs, slice: &Running) -> bool {
        let lane_is_idle = self
            .stages
            .stage(slice.stage)
            .is_some_and(|stage| stage.has_free_lane() && stage.first_token().is_none());
        slice.may_have_tail()
            && lane_is_idle
            && self.may_begin(now)
            && self.slices.has_room(slice.cpus())
    }

    fn mark_over_if_nothing_is_open(&mut self, id: SliceId) {
        if self.slices.get_mut(id).is_some_and(|slice| slice.open().is_empty()) {
            self.mark_over(id);
        }
    }

    /// Gives a slice's lane back to its stage; its cpus stay occupied until it returns.
    pub(super) fn mark_over(&mut self, id: SliceId) {
        let Some(slice) = self.slices.get_mut(id) else { return };
        if slice.over {
            return;
        }
        slice.over = true;
        let stage_id = slice.stage;
        if let Some(stage) = self.stages.stage_mut(stage_id) {
            stage.busy -= 1;
        }
        self.stages.tidy(stage_id);
    }
}

impl Running {
    /// Takes back what has not begun.
    pub(super) fn reclaim(&mut self, id: SliceId, effects: &mut Vec<AgentEffect>) {
        if self.reclaim == Reclaim::No {
            self.reclaim = Reclaim::Asked;
            effects.push(AgentEffect::Reclaim { slice: id });
        }
    }

    /// Takes back what has not begun, and ends what runs if it lies in `range`.
    pub(super) fn cancel(&mut self, id: SliceId, range: TaskRange, effects: &mut Vec<AgentEffect>) {
        self.reclaim(id, effects);
        effects.push(AgentEffect::Cancel { slice: id, range });
    }

    /// Returns when the task that runs is to be announced; `None` where it was, or none is wanted.
    fn begun_due(&self) -> Option<MonoMs> {
        let is_open = self.open().first().is_some_and(|range| range.start == self.next);
        (is_open && self.told != Some(self.next)).then(|| self.progressed.after(STARTED_AFTER_MS))
    }

    /// Returns when an overrun is to be told; `None` where it was, or there is none.
    fn overrun_due(&self) -> Option<MonoMs> {
        let is_due = self.over && !self.told_overrun && self.is_function();
        is_due.then(|| self.progressed.after(OVERRUN_NOTICE_MS))
    }
}

/// Joins announcements that differ in nothing but continue each other.
fn join_neighbours(mut held: Vec<Held>) -> Vec<Held> {
    let phase = |held: &Held| match held.phase {
        Phase::Queued => 0,
        Phase::Running => 1,
        Phase::Finished => 2,
    };
    held.sort_by_key(|held| (held.stage, held.token, held.range, phase(held)));
    held.dedup_by(|next, before| {
        let joins = (next.stage, next.token, next.attempt, next.phase)
            == (before.stage, before.token, before.attempt, before.phase)
            && before.range.end == next.range.start;
        if joins {
            before.range.end = next.range.end;
        }
        joins
    });
    // Only a coordinator that cuts what it granted into thousands of pieces gets here. What is not
    // announced counts as given up; its results are void.
    held.truncate(ITEMS_PER_MESSAGE_MAX);
    held
}
