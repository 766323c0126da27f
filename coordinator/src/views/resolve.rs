//! Which job, stage and tasks a person means.

use gridctl_core::event;
use gridctl_core::state::Job;
use gridctl_jobs::id::{JobId, StageIndex, UserId, WorkerId};
use gridctl_jobs::limits::NAME_CHARS_MAX;
use gridctl_jobs::range::TaskRange;
use gridctl_transport::message::client::{JobRef, Refused, RefusedKind, Target};

use super::{Content, Views};

/// A [`Target`] that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Resolved {
    pub(crate) job: JobId,
    pub(crate) stage: Option<StageIndex>,
    pub(crate) range: Option<TaskRange>,
}

impl Resolved {
    /// Returns the stages that are meant, by place.
    pub(super) fn stages(self, job: &Job) -> std::ops::Range<u32> {
        match self.stage {
            Some(StageIndex(stage)) => stage..stage + 1,
            None => 0..stage_count(job),
        }
    }

    /// Returns the tasks of one of those stages that are meant.
    pub(super) fn range_of(self, tasks: u64) -> TaskRange {
        let all = TaskRange::new(0, tasks);
        self.range.map_or(all, |range| range.intersect(all))
    }
}

impl From<Resolved> for event::Target {
    fn from(resolved: Resolved) -> Self {
        Self { job: resolved.job, stage: resolved.stage, range: resolved.range }
    }
}

impl Views {
    /// Finds the job that is meant.
    pub(crate) fn resolve_job(&self, job: &JobRef, caller: UserId) -> Result<JobId, Refused> {
        self.read(|content| find(content, job, caller).map(Job::id))
    }

    /// Finds the job, the stage and the tasks that are meant.
    pub(crate) fn resolve(&self, target: &Target, caller: UserId) -> Result<Resolved, Refused> {
        self.read(|content| {
            let job = find(content, &target.job, caller)?;
            let stage = target.stage.as_deref().map(|name| find_stage(job, name)).transpose()?;
            let range = target.range.map(|range| check_range(job, stage, range)).transpose()?;
            Ok(Resolved { job: job.id(), stage, range })
        })
    }
}

impl Views {
    /// Finds a worker by its name, or by its id: a number is an id, unless only a name is like it.
    pub(crate) fn resolve_worker(&self, wanted: &str) -> Result<WorkerId, Refused> {
        self.read(|content| {
            let directory = content.state.directory();
            let by_id = wanted.parse().ok().map(WorkerId);
            let by_id = by_id.filter(|id| directory.worker(*id).is_some());
            let by_name = || directory.workers().find(|(_, worker)| worker.name == wanted);
            by_id.or_else(|| by_name().map(|(id, _)| id)).ok_or_else(|| {
                let wanted: String = wanted.chars().take(NAME_CHARS_MAX).collect();
                refused(
                    RefusedKind::NotFound,
                    format!(
                        "there is no worker {wanted:?}; `gridctl workers` lists those there are"
                    ),
                )
            })
        })
    }

    /// Refuses an attempt of a single task of which nothing is known (any more): an empty answer would look
    /// like an attempt that printed nothing.
    pub(crate) fn check_attempt(&self, target: &Resolved, wanted: u32) -> Result<(), Refused> {
        let (Some(stage), Some(range)) = (target.stage, target.range) else { return Ok(()) };
        if range.len() != 1 {
            return Ok(());
        }
        self.read(|content| {
            let job = content.state.job(target.job);
            let Some(stage) = job.and_then(|job| job.stage(stage)) else { return Ok(()) };
            let failed = stage.history(range.start).map_or(&[][..], |history| history.failed());
            let done = stage.record(range.start).map(|(_, record)| record.attempt);
            let mut known: Vec<u32> =
                failed.iter().map(|attempt| attempt.attempt).chain(done).collect();
            if known.contains(&wanted) {
                return Ok(());
            }
            known.sort_unstable();
            let known: Vec<String> = known.iter().map(ToString::to_string).collect();
            let there = if known.is_empty() {
                "none has ended yet".to_owned()
            } else {
                format!("there is {}", known.join(", "))
            };
            Err(refused(
                RefusedKind::NotFound,
                format!("nothing is kept of attempt {wanted} of task {range}; {there}"),
            ))
        })
    }
}

pub(super) fn find<'a>(
    content: &'a Content,
    wanted: &JobRef,
    caller: UserId,
) -> Result<&'a Job, Refused> {
    let state = &content.state;
    match wanted {
        JobRef::Number(number) => state.job_by_number(*number).ok_or_else(|| {
            not_found(if state.was_number(*number) {
                format!("job {number} was forgotten")
            } else {
                format!("there is no job {number}")
            })
        }),
        JobRef::Id(id) => state.job(*id).ok_or_else(|| {
            not_found(match state.forgotten(*id) {
                Some(gone) => format!("job {id} (number {}) was forgotten", gone.number),
                None => format!("there is no job {id}"),
            })
        }),
        JobRef::Last => {
            let own = state.jobs().rev().find(|job| job.owner() == caller);
            own.ok_or_else(|| not_found("you have not submitted any job to this grid".to_owned()))
        }
        JobRef::Name(name) => by_name(content, name),
    }
}

fn by_name<'a>(content: &'a Content, name: &str) -> Result<&'a Job, Refused> {
    let mut named = content.state.jobs().rev().filter(|job| job.spec().name == name);
    let newest =
        named.next().ok_or_else(|| not_found(format!("there is no job of the name {name:?}")))?;
    match named.next() {
        None => Ok(newest),
        Some(older) => Err(Refused {
            kind: RefusedKind::Invalid,
            message: format!(
                "more than one job has the name {name:?}, jobs {} and {} among them; give the number",
                older.number(),
                newest.number()
            ),
        }),
    }
}

fn find_stage(job: &Job, name: &str) -> Result<StageIndex, Refused> {
    let place = job.spec().stages.iter().position(|stage| stage.name == name);
    let place = place.and_then(|place| u32::try_from(place).ok());
    place.map(StageIndex).ok_or_else(|| {
        let names: Vec<&str> = job
            .spec()
            .stages
            .iter()
            .take(NAMED_STAGES_MAX)
            .map(|stage| stage.name.as_str())
            .collect();
        let more = if job.spec().stages.len() > NAMED_STAGES_MAX { ", …" } else { "" };
        let number = job.number();
        refused(
            RefusedKind::NotFound,
            format!("job {number} has no stage {name:?}; it has {}{more}", names.join(", ")),
        )
    })
}

/// Stages that are named where one does not exist: a line of text.
const NAMED_STAGES_MAX: usize = 8;

fn check_range(
    job: &Job,
    stage: Option<StageIndex>,
    range: TaskRange,
) -> Result<TaskRange, Refused> {
    let Some(stage) = stage.and_then(|stage| job.stage(stage)) else {
        return Err(refused(
            RefusedKind::Invalid,
            "tasks are named together with their stage: JOB/STAGE/TASKS".to_owned(),
        ));
    };
    let tasks = stage.counts().total;
    if range.is_valid(tasks) {
        return Ok(range);
    }
    let number = job.number();
    Err(refused(
        RefusedKind::NotFound,
        format!("job {number} has no task {range} in that stage; it has {tasks} tasks, from 0"),
    ))
}

fn not_found(what: String) -> Refused {
    refused(RefusedKind::NotFound, format!("{what}; `gridctl jobs` lists those there are"))
}

fn refused(kind: RefusedKind, message: String) -> Refused {
    Refused { kind, message }
}

pub(super) fn stage_count(job: &Job) -> u32 {
    u32::try_from(job.stages().len()).expect("a job has at most 1,024 stages")
}
