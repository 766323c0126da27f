//! `max_failures`: a stage of which so many tasks have failed for good ends early. What has not begun is
//! skipped, what workers have not begun is asked back and skipped then, and what runs goes on.

use std::collections::BTreeMap;

use gridctl_jobs::id::StageId;
use gridctl_jobs::range::TaskRange;

use super::fleet::TakingBack;
use super::runnable::stage_spec;
use super::{Scheduler, Step};
use crate::effect::ToWorker;
use crate::fact::Fact;

impl Scheduler {
    /// Says whether so many tasks of a stage have failed that nothing more of it begins.
    pub(super) fn has_failed_enough(&self, id: StageId) -> bool {
        let Some(job) = self.state.job(id.job) else { return false };
        let Some(stage) = job.stage(id.stage) else { return false };
        let most = stage_spec(job.spec(), stage).budget.max_failures;
        most.is_some_and(|most| stage.failures() >= most)
    }

    /// Skips what of a stage has not begun, if enough of it has failed.
    pub(super) fn end_early(&mut self, cx: &mut Step<'_>, id: StageId) {
        let Some(runnable) = self.stages.get(&id) else { return };
        if !self.has_failed_enough(id) {
            return;
        }
        if runnable.waiting() > 0 {
            self.leave_out_all(cx, id);
        }
        self.ask_back(cx, id);
        self.sync(cx, id);
    }

    /// Skips all of a stage that nobody holds.
    fn leave_out_all(&mut self, cx: &mut Step<'_>, id: StageId) {
        let Some(stage) = self.state.stage(id) else { return };
        // What nobody holds lies between what somebody does.
        let mut gaps = vec![TaskRange::new(0, stage.counts().total)];
        for (start, piece) in self.activity.granted.get(&id).into_iter().flatten() {
            let held = TaskRange::new(*start, piece.end);
            gaps = gaps.into_iter().flat_map(|gap| gap.without(held)).collect();
        }
        // Nor what somebody may hold who is not back.
        for barred in self.bars.within(id, TaskRange::new(0, stage.counts().total)) {
            gaps = gaps.into_iter().flat_map(|gap| gap.without(barred)).collect();
        }
        for gap in gaps {
            self.leave_out(cx, id, gap);
        }
    }

    /// Skips tasks that nobody holds.
    pub(super) fn leave_out(&mut self, cx: &mut Step<'_>, id: StageId, range: TaskRange) {
        let Some(stage) = self.state.stage(id) else { return };
        let first = stage.next_open(range.start).filter(|first| *first < range.end);
        let Some(first) = first else { return };
        let range = TaskRange::new(first, range.end);
        let failed = stage.failures();
        if let Some(runnable) = self.stages.get_mut(&id) {
            runnable.forget(range);
        }
        let (fence, at) = (self.next_token(), cx.now.wall);
        self.record(cx, Fact::TasksSkipped { stage: id, range, fence, failed, at });
        self.on_stage_changed(id);
    }

    /// Asks workers for what they have not begun of a stage.
    pub(super) fn ask_back(&mut self, cx: &mut Step<'_>, stage: StageId) {
        let Some(pieces) = self.activity.granted.get(&stage) else { return };
        let mut asked = BTreeMap::new();
        for (start, piece) in pieces {
            let load = self.fleet.ready(piece.worker).map(|machine| machine.load(stage));
            if load.is_some_and(|load| load.unstarted() > 0 && load.taking_back == TakingBack::No) {
                *asked.entry((piece.worker, piece.token)).or_insert(0) += piece.end - start;
            }
        }
        for ((worker, token), tasks) in asked {
            self.fleet.change_load(worker, stage, |load| load.taking_back = TakingBack::Asked);
            self.send(cx, worker, ToWorker::TakeBack { token, stage, tasks });
        }
    }
}
