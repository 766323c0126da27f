//! Cancelling: a fence for the tasks that it ends, and an end to those that run.

use gridctl_jobs::id::StageId;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::JobState;

use super::{Scheduler, Step};
use crate::activity::Granted;
use crate::effect::{Refusal, Reply, ToWorker};
use crate::event::{Caller, RequestId, Target};
use crate::fact::{Begun, Fact, UserRole};
use crate::ranges;
use crate::state::{Job, Stage};

impl Scheduler {
    /// Someone cancels a job, a stage or tasks.
    pub(super) fn on_cancel(
        &mut self,
        cx: &mut Step<'_>,
        request: RequestId,
        caller: Caller,
        target: Target,
    ) {
        let found = self.state.job(target.job).ok_or(Refusal::NoSuchJob);
        let targets = match found.and_then(|job| targets(job, caller, target)) {
            Ok(targets) => targets,
            Err(refusal) => {
                self.reply(cx, request, Reply::Refused(refusal));
                return;
            }
        };
        let mut tasks = 0;
        for (stage, range) in targets {
            tasks += self.cancel_tasks(cx, stage, range, caller);
        }
        let Some(job) = self.state.job(target.job) else { return };
        let number = job.number();
        if target.stage.is_none() && job.ended().is_none() {
            self.end_job(cx, target.job, JobState::Cancelled);
        }
        self.dirty.jobs.insert(target.job);
        self.reply(cx, request, Reply::Cancelled { number, tasks });
    }

    /// Tells a worker to end tasks that it holds no more.
    pub(super) fn stop(
        &mut self,
        cx: &mut Step<'_>,
        stage: StageId,
        range: TaskRange,
        granted: &Granted,
    ) {
        let Granted { worker, token, attempt, .. } = *granted;
        self.bar_stopped(cx, worker, stage, range, token, attempt);
        self.send(cx, worker, ToWorker::Stop { token, stage, range });
    }

    /// Cancels what is open of a range; returns how many tasks that were.
    fn cancel_tasks(
        &mut self,
        cx: &mut Step<'_>,
        stage: StageId,
        range: TaskRange,
        caller: Caller,
    ) -> u64 {
        let cancelled = |scheduler: &Self| {
            scheduler.state.stage(stage).map_or(0, |stage| stage.counts().cancelled)
        };
        let before = cancelled(self);
        let fence = self.next_token();
        let begun = self.begun_in(stage, range);
        for (part, granted) in self.release(cx, stage, range) {
            self.stop(cx, stage, part, &granted);
        }
        if let Some(runnable) = self.stages.get_mut(&stage) {
            runnable.forget(range);
        }
        let (by, at) = (caller.user, cx.now.wall);
        self.record(cx, Fact::TasksCancelled { stage, range, fence, begun, by, at });
        self.sync(cx, stage);
        cancelled(self) - before
    }

    /// Lists the tasks of a range that run, as far as known: their attempts count, though nothing comes of
    /// them.
    fn begun_in(&self, stage: StageId, range: TaskRange) -> Vec<Begun> {
        let Some(pieces) = self.activity.granted.get(&stage) else { return Vec::new() };
        let running = self.activity.running(stage).ranges.into_iter();
        let parts = running.map(|part| part.intersect(range)).filter(|part| !part.is_empty());
        parts
            .flat_map(|part| ranges::overlapping(pieces, part))
            .map(|(range, granted)| Begun { range, attempt: granted.attempt })
            .collect()
    }
}

/// Fails where someone may not change a job.
pub(super) fn check_owner(job: &Job, caller: Caller) -> Result<(), Refusal> {
    let number = job.number();
    if caller.role != UserRole::Admin && caller.user != job.owner() {
        return Err(Refusal::NotYours { number });
    }
    Ok(())
}

/// Finds the stages and tasks that are named, whatever has become of them.
pub(super) fn named(job: &Job, target: Target) -> Result<Vec<(&Stage, TaskRange)>, Refusal> {
    let number = job.number();
    let whole = |stage: &Stage| TaskRange::new(0, stage.counts().total);
    match (target.stage, target.range) {
        (None, None) => Ok(job.stages().iter().map(|stage| (stage, whole(stage))).collect()),
        (None, Some(_)) => Err(Refusal::NoSuchTask { number }),
        (Some(index), range) => {
            let stage = job.stage(index).ok_or(Refusal::NoSuchTask { number })?;
            if range.is_some_and(|range| !range.is_valid(stage.counts().total)) {
                return Err(Refusal::NoSuchTask { number });
            }
            Ok(vec![(stage, range.unwrap_or(whole(stage)))])
        }
    }
}

/// Lists what a cancel is about, as far as there is something open.
fn targets(
    job: &Job,
    caller: Caller,
    target: Target,
) -> Result<Vec<(StageId, TaskRange)>, Refusal> {
    let number = job.number();
    check_owner(job, caller)?;
    let mut targets = named(job, target)?;
    if job.ended().is_some() {
        return Err(Refusal::AlreadyEnded { number });
    }
    targets
        .retain(|(stage, range)| stage.next_open(range.start).is_some_and(|open| open < range.end));
    Ok(targets.into_iter().map(|(stage, range)| (stage.id(), range)).collect())
}
