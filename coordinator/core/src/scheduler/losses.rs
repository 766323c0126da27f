//! Losses: which tasks are charged when a worker is lost, and what becomes of them.
//!
//! Charged are only those that may have been running. The others are given out again as they were, but with
//! nothing behind them, so that if their next worker is lost as well it is known which of them ran. From
//! some losses on a task is a suspect and runs alone ([`alone`](super::alone)); with the last that its stage
//! allows, if it was alone then, it has failed for good. No task fails for what its neighbours did.

use std::collections::BTreeMap;

use gridctl_jobs::id::{StageId, WorkerId};
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::range::TaskRange;

use super::report::task_index;
use super::runnable::stage_spec;
use super::split::Manner;
use super::{Scheduler, Step};
use crate::activity::{Granted, may_run};
use crate::event::MonoMs;
use crate::fact::{Fact, Span, TaskLost};

impl Scheduler {
    /// A worker is lost: charges what it may have been running, and makes all that it held ready for others, as
    /// the next attempts; what never runs twice at once only when it is surely dead, where that is not yet so.
    pub(super) fn lose_tasks(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        held: Vec<(StageId, TaskRange, Granted)>,
        dead_by: Option<MonoMs>,
    ) {
        if is_on(Bug::LostRequeue) {
            return;
        }
        let nothing_else = held.iter().map(|(_, range, _)| range.len()).sum::<u64>() == 1;
        let mut stages: BTreeMap<StageId, Vec<(TaskRange, Granted)>> = BTreeMap::new();
        for (stage, range, granted) in held {
            stages.entry(stage).or_default().push((range, granted));
        }
        for (stage, mut pieces) in stages {
            let ran = may_run(&mut pieces);
            for ((range, granted), ran) in pieces.into_iter().zip(ran) {
                for index in range.start..range.start + ran {
                    self.charge(cx, worker, stage, index, &granted, nothing_else);
                }
                match dead_by.filter(|_| self.stops(stage)) {
                    Some(dead_by) => self.bar_dying(cx, stage, range, &granted, dead_by),
                    None => {
                        self.requeue_open(cx, stage, range, granted.attempt.saturating_add(1));
                    }
                }
            }
            self.end_early(cx, stage);
            self.sync(cx, stage);
            self.on_stage_changed(stage);
        }
    }

    /// Charges one task with the loss of its worker.
    fn charge(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        stage: StageId,
        index: u64,
        granted: &Granted,
        nothing_else: bool,
    ) {
        let Some(job) = self.state.job(stage.job) else { return };
        let Some(known) = job.stage(stage.stage) else { return };
        // A worker that came back with it is lost a second time: that attempt is charged already.
        if known.history(index).is_some_and(|history| history.last_lost() >= granted.token) {
            return;
        }
        // Only of one that was meant to be alone it is sure that nothing had just ended beside it.
        let alone = nothing_else && known.is_suspect(index);
        let losses = known.history(index).map_or(0, crate::state::History::losses) + 1;
        let last = alone && losses >= stage_spec(job.spec(), known).budget.worker_losses;
        let ended = cx.now.wall;
        let span = Span { started: granted.started.unwrap_or(ended), ended };
        let (token, attempt) = (granted.token, granted.attempt);
        let index = task_index(index);
        let lost = TaskLost { stage, index, token, attempt, worker, span, alone, last };
        self.record(cx, Fact::TaskLost(lost));
    }

    /// Makes ready again what of a range has not ended with the loss.
    fn requeue_open(&mut self, cx: &mut Step<'_>, stage: StageId, range: TaskRange, attempt: u32) {
        let Some(known) = self.state.stage(stage) else { return };
        let mut open = Vec::new();
        let mut from = range.start;
        while let Some(start) = known.next_open(from).filter(|start| *start < range.end) {
            from = known.open_until(start).min(range.end);
            open.push(TaskRange::new(start, from));
        }
        for part in open {
            self.requeue(cx, stage, part, attempt, Manner::Singly);
        }
    }
}
