//! A retry: what did not succeed is opened again, with a fence for exactly that, and with it the stages that
//! were skipped because of it.
//!
//! What waits or runs is left alone; so is what is done, where a stage runs on what it gave.

use gridctl_jobs::id::{JobId, StageId, StageIndex, Token};
use gridctl_jobs::range::TaskRange;

use super::cancel::{check_owner, named};
use super::runnable::stage_spec;
use super::{Scheduler, Step};
use crate::effect::{Refusal, Reply};
use crate::event::{Caller, RequestId, Target};
use crate::fact::Fact;
use crate::state::{Job, Stage};

/// What is to be opened of one stage.
#[derive(Clone, Copy)]
struct Wanted {
    stage: StageId,
    range: TaskRange,
    done_too: bool,
}

/// A retry that was found to be in order.
struct Retry {
    job: JobId,
    caller: Caller,
    fence: Token,
}

impl Scheduler {
    /// Someone wants to have run again what has ended.
    pub(super) fn on_retry(
        &mut self,
        cx: &mut Step<'_>,
        request: RequestId,
        caller: Caller,
        target: Target,
        all: bool,
    ) {
        let found = self.state.job(target.job).ok_or(Refusal::NoSuchJob);
        let wanted = match found.and_then(|job| self.check_retry(job, caller, target, all)) {
            Ok(wanted) => wanted,
            Err(refusal) => return self.reply(cx, request, Reply::Refused(refusal)),
        };
        let open =
            |scheduler: &Self| scheduler.state.job(target.job).map_or(0, |job| job.counts().open());
        let before = open(self);
        let retry = Retry { job: target.job, caller, fence: self.next_token() };
        if self.state.job(target.job).is_some_and(|job| job.ended().is_some()) {
            let (job, fence) = (retry.job, retry.fence);
            let (by, at) = (caller.user, cx.now.wall);
            self.record(cx, Fact::JobReopened { job, fence, by, at });
        }
        self.reopen(cx, &retry, wanted);
        self.dirty.jobs.insert(target.job);
        let tasks = open(self) - before;
        let Some(number) = self.state.job(target.job).map(Job::number) else { return };
        self.reply(cx, request, Reply::Retried { number, tasks });
    }

    /// Finds out what is to be opened, which is something.
    fn check_retry(
        &self,
        job: &Job,
        caller: Caller,
        target: Target,
        all: bool,
    ) -> Result<Vec<Wanted>, Refusal> {
        check_owner(job, caller)?;
        let named = named(job, target)?;
        let wanted: Vec<Wanted> = named
            .iter()
            .map(|(stage, range)| {
                let done_too = all && user_of(job, stage).is_none();
                Wanted { stage: stage.id(), range: *range, done_too }
            })
            .collect();
        let opens = |wanted: &Wanted| {
            job.stage(wanted.stage.stage).is_some_and(|stage| {
                stage.skipped().is_none()
                    && !stage.reopenable(wanted.range, wanted.done_too).is_empty()
            })
        };
        if !wanted.iter().any(opens) {
            return Err(why_nothing(job, &named, all));
        }
        let max = self.config.open_jobs_max;
        if job.ended().is_some() && self.state.open_job_count() >= max {
            return Err(Refusal::TooManyJobs { max });
        }
        Ok(wanted)
    }

    /// Opens stage after stage: each once it is not skipped any more, since what it needs can succeed.
    fn reopen(&mut self, cx: &mut Step<'_>, retry: &Retry, mut wanted: Vec<Wanted>) {
        loop {
            let Some(job) = self.state.job(retry.job) else { return };
            let is_skipped =
                |stage: StageIndex| job.stage(stage).is_none_or(|stage| stage.skipped().is_some());
            let free: Vec<StageId> = job
                .stages()
                .iter()
                .filter(|stage| stage.skipped().is_some() && can_succeed(job, stage))
                .map(Stage::id)
                .collect();
            let (later, now): (Vec<Wanted>, Vec<Wanted>) =
                wanted.into_iter().partition(|wanted| is_skipped(wanted.stage.stage));
            if now.is_empty() && free.is_empty() {
                return;
            }
            wanted = later;
            for part in now {
                self.reopen_tasks(cx, retry, part);
            }
            for stage in free {
                self.record(cx, Fact::StageReopened { stage, at: cx.now.wall });
            }
        }
    }

    fn reopen_tasks(&mut self, cx: &mut Step<'_>, retry: &Retry, wanted: Wanted) {
        let Wanted { stage, range, done_too } = wanted;
        let Some(known) = self.state.stage(stage) else { return };
        let parts = known.reopenable(range, done_too);
        if parts.is_empty() {
            return;
        }
        let (fence, by, at) = (retry.fence, retry.caller.user, cx.now.wall);
        self.record(cx, Fact::TasksReopened { stage, range, done_too, fence, by, at });
        if !self.stages.contains_key(&stage) {
            return;
        }
        for part in parts {
            self.requeue_reopened(cx, stage, part);
        }
        self.sync(cx, stage);
    }

    /// Makes reopened tasks of a stage that runs ready, by the numbers of their next attempts.
    fn requeue_reopened(&mut self, cx: &mut Step<'_>, stage: StageId, part: TaskRange) {
        let mut from = part.start;
        while from < part.end {
            let Some(known) = self.state.stage(stage) else { return };
            let (attempts, end) = known.same_attempts(TaskRange::new(from, part.end));
            let (range, attempt) = (TaskRange::new(from, end), attempts.saturating_add(1));
            self.requeue(cx, stage, range, attempt, super::split::Manner::Ahead);
            from = end;
        }
    }
}

/// Says whether every stage that is needed can succeed.
fn can_succeed(job: &Job, stage: &Stage) -> bool {
    let needs = &stage_spec(job.spec(), stage).needs;
    needs.iter().all(|index| job.stage(*index).is_some_and(|needed| !needed.cannot_succeed()))
}

/// Finds a stage that runs, or is about to, on what another gave.
fn user_of<'a>(job: &'a Job, stage: &Stage) -> Option<&'a Stage> {
    job.stages().iter().find(|other| {
        let needs = &stage_spec(job.spec(), other).needs;
        let succeeded = |index: &StageIndex| job.stage(*index).is_some_and(Stage::has_succeeded);
        other.counts().open() > 0
            && needs.contains(&stage.id().stage)
            && needs.iter().all(succeeded)
    })
}

/// Says why nothing that was named is opened.
fn why_nothing(job: &Job, named: &[(&Stage, TaskRange)], all: bool) -> Refusal {
    let number = job.number();
    let name = |stage: &Stage| stage_spec(job.spec(), stage).name.clone();
    for (stage, _) in named {
        if let Some(because) = stage.skipped().and_then(|why| job.stage(why.because)) {
            let (stage, because) = (name(stage), name(because));
            return Refusal::StillSkipped { number, stage, because };
        }
    }
    if !all {
        return Refusal::NothingToRetry { number };
    }
    let user = named.iter().find_map(|(stage, range)| {
        user_of(job, stage).filter(|_| !stage.reopenable(*range, true).is_empty())
    });
    match user {
        Some(user) => Refusal::InUse { number, user: name(user) },
        None => Refusal::NothingEnded { number },
    }
}
