//! What follows when a stage has ended: others begin or are skipped, and jobs end.

use gridctl_jobs::id::{JobId, StageId, StageIndex};
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::state::JobState;

use super::runnable::{Runnable, stage_spec};
use super::{Scheduler, Step};
use crate::activity::Change;
use crate::effect::ToWorker;
use crate::fact::Fact;
use crate::state::{Job, Stage};

/// What a stage that is not over is to do now.
enum Verdict {
    Begin,
    Skip { because: StageIndex },
    Wait,
}

impl Scheduler {
    /// Draws the conclusions for every job of which a stage may have ended in this step.
    pub(super) fn settle_jobs(&mut self, cx: &mut Step<'_>) {
        while let Some(job) = self.dirty.jobs.pop_first() {
            self.advance(cx, job);
        }
    }

    /// Ends a job of which nothing is open, in that state.
    pub(super) fn end_job(&mut self, cx: &mut Step<'_>, job: JobId, state: JobState) {
        self.record(cx, Fact::JobEnded { job, state, at: cx.now.wall });
    }

    /// Notes that something of a stage has ended; the job is looked at where that may have consequences.
    pub(super) fn on_stage_changed(&mut self, id: StageId) {
        let stage = self.state.stage(id);
        if stage.is_some_and(|stage| stage.counts().open() == 0 || stage.cannot_succeed()) {
            self.dirty.jobs.insert(id.job);
        }
    }

    fn advance(&mut self, cx: &mut Step<'_>, id: JobId) {
        loop {
            let Some(job) = self.state.job(id) else { return };
            let mut changes = Vec::new();
            for stage in job.stages() {
                let runs = self.stages.contains_key(&stage.id());
                match verdict(job, stage) {
                    Verdict::Begin if !runs => changes.push((stage.id(), None)),
                    Verdict::Skip { because } => changes.push((stage.id(), Some(because))),
                    Verdict::Begin | Verdict::Wait => {}
                }
            }
            if changes.is_empty() {
                break;
            }
            for (stage, skipped) in changes {
                match skipped {
                    Some(because) => {
                        self.record(cx, Fact::StageSkipped { stage, because, at: cx.now.wall });
                    }
                    None => self.begin(cx, stage),
                }
            }
        }
        self.forget_ended(cx, id);
        let Some(job) = self.state.job(id) else { return };
        if job.ended().is_none() && job.counts().open() == 0 {
            let counts = job.counts();
            let state = if counts.done == counts.total {
                JobState::Done
            } else if counts.cancelled > 0 && counts.failed == 0 {
                JobState::Cancelled
            } else {
                JobState::Failed
            };
            self.end_job(cx, id, state);
        }
    }

    /// Makes a stage's tasks ready to be given out.
    fn begin(&mut self, cx: &mut Step<'_>, id: StageId) {
        let Some(job) = self.state.job(id.job) else { return };
        let Some(stage) = job.stage(id.stage) else { return };
        let runnable = Runnable::new(job, stage);
        self.dirty.stages.insert(runnable.rank);
        self.stages.insert(id, runnable);
        self.bar_new_stage(cx, id);
        self.sync(cx, id);
        self.end_early(cx, id);
    }

    /// Lets go of what is kept for stages that are over.
    fn forget_ended(&mut self, cx: &mut Step<'_>, id: JobId) {
        let Some(job) = self.state.job(id) else { return };
        let over: Vec<StageId> = job
            .stages()
            .iter()
            .filter(|stage| stage.counts().open() == 0)
            .map(Stage::id)
            .filter(|stage| self.stages.contains_key(stage))
            .collect();
        for stage in over {
            let Some(runnable) = self.stages.remove(&stage) else { continue };
            self.queue.remove(runnable.cpus, runnable.rank);
            self.suspects.remove(&runnable.rank);
            if let Some(at) = runnable.timer {
                self.timers.remove(&(at, stage));
                self.show(cx, Change::Backoff { stage, backoff: None });
            }
            for worker in runnable.claims {
                self.fleet.note(worker, |machine| machine.claim = None);
                self.dirty.workers.insert(worker);
            }
            for worker in runnable.told {
                self.fleet.note(worker, |machine| {
                    machine.told.remove(&stage);
                });
                self.send(cx, worker, ToWorker::Forget { stage });
            }
        }
    }
}

fn verdict(job: &Job, stage: &Stage) -> Verdict {
    if stage.counts().open() == 0 {
        return Verdict::Wait;
    }
    let mut verdict = Verdict::Begin;
    for index in &stage_spec(job.spec(), stage).needs {
        match job.stage(*index) {
            Some(needed) if needed.cannot_succeed() => return Verdict::Skip { because: *index },
            Some(needed) if needed.has_succeeded() => {}
            Some(_) | None if is_on(Bug::NeedsIgnored) => {}
            Some(_) | None => verdict = Verdict::Wait,
        }
    }
    verdict
}
