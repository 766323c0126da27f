//! Lists of jobs, and how one job goes.

use gridctl_core::explain::why_waiting;
use gridctl_core::state::{Job, Stage};
use gridctl_core::view::{self, TaskCounts};
use gridctl_jobs::id::{JobId, JobNumber, StageIndex, UserId};
use gridctl_jobs::reason::WaitReason;
use gridctl_transport::message::client::{
    self, Explanation, JobRef, JobStatus, JobSummary, Refused, StageStatus, TaskRow,
};

use super::people::worker_name;
use super::tasks::row;
use super::{Content, Views, resolve};
use crate::clock;

/// Jobs of one page: their names are bounded, so a page is some 600 KiB at most.
const JOBS_PER_PAGE: usize = 1024;
/// Bytes of the names of needed stages in one answer. A thousand stages that each need all others would not
/// fit it; of such a job the first names are told.
const NEEDS_BYTES_MAX: usize = 1 << 20;

impl Views {
    /// Lists jobs with numbers above `after`, oldest first; an empty page ends the list.
    pub(crate) fn jobs_after(&self, after: JobNumber, open_only: bool) -> Vec<JobSummary> {
        self.read(|content| {
            let above = |job: &&Job| job.number() > after;
            let summary = |job: &Job| summary(content, job);
            if open_only {
                content.state.open_jobs().filter(above).take(JOBS_PER_PAGE).map(summary).collect()
            } else {
                content.state.jobs().filter(above).take(JOBS_PER_PAGE).map(summary).collect()
            }
        })
    }

    /// Tells how a job goes; `None` where there is no such job.
    pub(crate) fn status(&self, job: JobId) -> Option<JobStatus> {
        self.read(|content| Some(status(content, content.state.job(job)?)))
    }

    /// Tells how the job goes that is meant.
    pub(crate) fn status_of(&self, job: &JobRef, caller: UserId) -> Result<JobStatus, Refused> {
        self.read(|content| Ok(status(content, resolve::find(content, job, caller)?)))
    }

    /// Says whether there is such a job.
    pub(crate) fn knows_job(&self, job: JobId) -> bool {
        self.read(|content| content.state.job(job).is_some())
    }

    /// Says whether nothing of a job can change any more; so it is with one that is not known.
    pub(crate) fn has_ended(&self, job: JobId) -> bool {
        self.read(|content| content.state.job(job).is_none_or(|job| job.ended().is_some()))
    }

    /// Tells why tasks of a job wait, stage by stage; only stages of which some do.
    pub(crate) fn explain(&self, job: JobId) -> Vec<Explanation> {
        let now = clock::mono();
        self.read(|content| {
            let Some(job) = content.state.job(job) else { return Vec::new() };
            let mut room = Room(NEEDS_BYTES_MAX);
            let explain = |stage: &Stage| {
                let mut reasons = why_waiting(&content.state, &content.activity, now, stage.id());
                reasons.iter_mut().for_each(|reason| room.shorten(reason));
                let tasks = wire_counts(view::stage_counts(stage, &content.activity));
                let workers = named_workers(content, &reasons);
                Explanation { stage: stage_name(job, stage).to_owned(), tasks, reasons, workers }
            };
            let open = job.stages().iter().filter(|stage| stage.counts().open() > 0);
            open.map(explain).filter(|explanation| explanation.tasks.waiting > 0).collect()
        })
    }
}

/// Bytes that are left for names.
struct Room(usize);

impl Room {
    fn takes(&mut self, name: &str) -> bool {
        let left = self.0.checked_sub(name.len());
        self.0 = left.unwrap_or(0);
        left.is_some()
    }

    fn shorten(&mut self, reason: &mut WaitReason) {
        match reason {
            WaitReason::Needs { stages } => stages.retain(|stage| self.takes(&stage.name)),
            WaitReason::NoWorkers
            | WaitReason::TooManyCpus { .. }
            | WaitReason::Busy { .. }
            | WaitReason::Behind { .. }
            | WaitReason::RestartWindow { .. }
            | WaitReason::Backoff { .. }
            | WaitReason::CouldNotStartHere { .. }
            | WaitReason::Suspect { .. }
            | WaitReason::Draining { .. }
            | WaitReason::NoTreesEnded { .. }
            | WaitReason::SetBack { .. }
            | WaitReason::StillRunsElsewhere { .. }
            | WaitReason::NoRoom { .. }
            | WaitReason::RunsAlone { .. } => {}
        }
    }
}

fn named_workers(
    content: &Content,
    reasons: &[WaitReason],
) -> Vec<(gridctl_jobs::id::WorkerId, String)> {
    let mut workers = Vec::new();
    for reason in reasons {
        match reason {
            WaitReason::TooManyCpus { largest_worker, .. } => {
                workers.push((*largest_worker, worker_name(content, *largest_worker)));
            }
            WaitReason::Draining { workers: draining, count: _ } => {
                workers.extend(draining.iter().map(|id| (*id, worker_name(content, *id))));
            }
            WaitReason::Needs { .. }
            | WaitReason::NoWorkers
            | WaitReason::Busy { .. }
            | WaitReason::Behind { .. }
            | WaitReason::RestartWindow { .. }
            | WaitReason::Backoff { .. }
            | WaitReason::CouldNotStartHere { .. }
            | WaitReason::Suspect { .. }
            | WaitReason::NoTreesEnded { .. }
            | WaitReason::SetBack { .. }
            | WaitReason::StillRunsElsewhere { .. }
            | WaitReason::NoRoom { .. }
            | WaitReason::RunsAlone { .. } => {}
        }
    }
    workers
}

fn status(content: &Content, job: &Job) -> JobStatus {
    let mut room = Room(NEEDS_BYTES_MAX);
    let status = |stage| stage_status(content, job, stage, &mut room);
    let stages = job.stages().iter().map(status).collect();
    let last_failure = last_failure(content, job);
    JobStatus { job: summary(content, job), stages, last_failure, notice: None }
}

fn summary(content: &Content, job: &Job) -> JobSummary {
    let owner = content.state.directory().user(job.owner());
    JobSummary {
        number: job.number(),
        id: job.id(),
        name: job.spec().name.clone(),
        owner: owner.map_or_else(|| job.owner().0.to_string(), |owner| owner.name.clone()),
        priority: job.spec().priority,
        state: view::job_state(job, &content.activity),
        tasks: wire_counts(view::job_counts(job, &content.activity)),
        submitted_at: job.submitted_at(),
        finished_at: job.finished_at(),
    }
}

fn stage_status(content: &Content, job: &Job, stage: &Stage, room: &mut Room) -> StageStatus {
    let spec = &job.spec().stages[place(stage.id().stage)];
    let name_of =
        |index: &StageIndex| job.spec().stages.get(place(*index)).map(|stage| stage.name.clone());
    StageStatus {
        name: spec.name.clone(),
        needs: spec.needs.iter().filter_map(name_of).take_while(|name| room.takes(name)).collect(),
        tasks: wire_counts(view::stage_counts(stage, &content.activity)),
        skipped_because: stage.skipped().and_then(|skipped| name_of(&skipped.because)),
        ended_early_after: stage.ended_early().map(|ended| ended.failed),
    }
}

/// Finds the failure that came last, for good or not.
fn last_failure(content: &Content, job: &Job) -> Option<TaskRow> {
    view::last_failure(job, &content.activity).map(|(stage, task)| row(content, job, stage, &task))
}

pub(super) fn stage_name<'a>(job: &'a Job, stage: &Stage) -> &'a str {
    &job.spec().stages[place(stage.id().stage)].name
}

pub(super) fn wire_counts(counts: TaskCounts) -> client::TaskCounts {
    let TaskCounts { total, waiting, running, done, failed, cancelled, skipped } = counts;
    client::TaskCounts { total, waiting, running, done, failed, cancelled, skipped }
}

fn place(index: StageIndex) -> usize {
    usize::try_from(index.0).expect("a job has at most 1,024 stages")
}
