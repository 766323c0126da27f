//! What readers ask: the durable and the volatile state, put together for one job, stage or task.
//!
//! Every answer costs what it returns, and what is in flight: never all tasks of a stage.

use gridctl_jobs::id::WorkerId;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{JobSpec, Run};
use gridctl_jobs::state::{Failure, JobState, TaskState};
use gridctl_jobs::units::WallMs;

use crate::activity::{Activity, Running};
use crate::fact::Kept;
use crate::state::{Counts, FailedAttempt, History, Job, Stage};

/// How many tasks are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TaskCounts {
    /// All.
    pub total: u64,
    /// Not begun, or waiting to be tried again.
    pub waiting: u64,
    /// Running somewhere.
    pub running: u64,
    /// Succeeded.
    pub done: u64,
    /// Failed for good.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Never run, because of another stage.
    pub skipped: u64,
}

/// A task, as people see it.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskView<'a> {
    /// From 0.
    pub index: u64,
    /// What it is doing.
    pub state: TaskState,
    /// The number of its last attempt, running or over; 0 where there was none.
    pub attempts: u32,
    /// Where that attempt runs or ran.
    pub worker: Option<WorkerId>,
    /// Of the program, where that attempt ended by itself.
    pub exit_code: Option<i32>,
    /// Why the last attempt did not succeed; `None` for a task that is done.
    pub failure: Option<&'a Failure>,
    /// When that attempt began.
    pub started_at: Option<WallMs>,
    /// When that attempt ended.
    pub finished_at: Option<WallMs>,
    /// Whether the times are its own, and not those of the range in which it was reported.
    pub exact: bool,
    /// What the committed attempt left behind.
    pub kept: Option<Kept>,
    /// Its last failed attempts, oldest first, each with what it left behind.
    pub failed_attempts: &'a [FailedAttempt],
}

/// Which tasks of a stage to list, how many at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskQuery {
    /// Only these.
    pub range: TaskRange,
    /// Only those in this state.
    pub state: Option<TaskState>,
    /// At most so many; to go on, ask again from the last index plus one.
    pub limit: usize,
}

/// Counts the tasks of a stage.
pub fn stage_counts(stage: &Stage, activity: &Activity) -> TaskCounts {
    task_counts(stage.counts(), activity.running(stage.id()).tasks)
}

/// Counts the tasks of a job.
pub fn job_counts(job: &Job, activity: &Activity) -> TaskCounts {
    let open = job.stages().iter().filter(|stage| stage.counts().open() > 0);
    task_counts(job.counts(), open.map(|stage| activity.running(stage.id()).tasks).sum())
}

/// Tells what a job is doing.
pub fn job_state(job: &Job, activity: &Activity) -> JobState {
    if let Some(state) = job.ended() {
        return state;
    }
    let held = |stage: &Stage| activity.granted.contains_key(&stage.id());
    if job.started_at().is_some() || job.stages().iter().any(held) {
        JobState::Running
    } else {
        JobState::Waiting
    }
}

/// Shows one task of a job; `None` past the end of the stage.
pub fn task<'a>(
    job: &'a Job,
    stage: &'a Stage,
    activity: &Activity,
    index: u64,
) -> Option<TaskView<'a>> {
    (index < stage.counts().total)
        .then(|| view(job.spec(), stage, activity, &activity.running(stage.id()), index))
}

/// Shows the attempt that failed last, for good or not, with its stage; the state is that of its task now,
/// which may be running again.
pub fn last_failure<'a>(job: &'a Job, activity: &Activity) -> Option<(&'a Stage, TaskView<'a>)> {
    let (stage, index) = job.last_failure()?;
    let stage = job.stage(stage)?;
    let mut view = task(job, stage, activity, index)?;
    let attempt = stage.history(index)?.last_attempt()?;
    view.attempts = attempt.attempt;
    view.exact = true;
    show_failed(&mut view, attempt);
    Some((stage, view))
}

/// Lists tasks of a stage in order.
pub fn tasks<'a>(
    job: &'a Job,
    stage: &'a Stage,
    activity: &Activity,
    query: TaskQuery,
) -> Vec<TaskView<'a>> {
    let running = activity.running(stage.id());
    let end = query.range.end.min(stage.counts().total);
    let mut views = Vec::new();
    let mut from = query.range.start;
    while views.len() < query.limit {
        let next = match query.state {
            Some(state) => next_in_state(stage, &running, state, from),
            None => Some(from),
        };
        let Some(index) = next.filter(|index| *index < end) else { break };
        views.push(view(job.spec(), stage, activity, &running, index));
        from = index + 1;
    }
    views
}

const fn task_counts(counts: Counts, running: u64) -> TaskCounts {
    TaskCounts {
        total: counts.total,
        waiting: counts.open().saturating_sub(running),
        running,
        done: counts.done,
        failed: counts.failed,
        cancelled: counts.cancelled,
        skipped: counts.skipped,
    }
}

/// Returns the first task at or above `from` in that state.
fn next_in_state(stage: &Stage, running: &Running, state: TaskState, from: u64) -> Option<u64> {
    match state {
        TaskState::Done => stage.done().next_in(from),
        TaskState::Failed => stage.failed().next_in(from),
        TaskState::Cancelled => stage.cancelled().next_in(from),
        TaskState::Running => running.next_in(from),
        TaskState::Waiting => {
            let mut index = stage.next_open(from)?;
            while running.contains(index) {
                index = stage.next_open(index + 1)?;
            }
            Some(index)
        }
        TaskState::Skipped => {
            let left_out = stage.left_out().next_in(from);
            let unsettled = stage.skipped().map(|_| stage.next_unsettled(from));
            let unsettled = unsettled.filter(|index| *index < stage.counts().total);
            left_out.into_iter().chain(unsettled).min()
        }
    }
}

fn view<'a>(
    spec: &JobSpec,
    stage: &'a Stage,
    activity: &Activity,
    running: &Running,
    index: u64,
) -> TaskView<'a> {
    let history = stage.history(index);
    let failed_attempts = history.map_or(&[][..], |history| history.failed());
    let mut view = TaskView {
        index,
        state: TaskState::Waiting,
        attempts: stage.attempts(index),
        worker: None,
        exit_code: None,
        failure: None,
        started_at: None,
        finished_at: None,
        exact: true,
        kept: None,
        failed_attempts,
    };
    if let Some((range, record)) = stage.record(index) {
        view.state = TaskState::Done;
        view.attempts = record.attempt;
        view.worker = Some(record.worker);
        view.exit_code = runs_a_program(spec, stage).then_some(0);
        view.started_at = Some(record.span.started);
        view.finished_at = Some(record.span.ended);
        view.exact = range.len() == 1;
        view.kept = stage.kept(index).map(|done| done.kept);
        return view;
    }
    view.state = if stage.failed().contains(index) {
        TaskState::Failed
    } else if stage.cancelled().contains(index) {
        TaskState::Cancelled
    } else if stage.skipped().is_some() || stage.left_out().contains(index) {
        TaskState::Skipped
    } else if running.contains(index) {
        TaskState::Running
    } else {
        TaskState::Waiting
    };
    if view.state == TaskState::Running
        && let Some(granted) = activity.granted_at(stage.id(), index)
    {
        view.attempts = granted.attempt;
        view.worker = Some(granted.worker);
        view.started_at = granted.started;
    } else if view.state == TaskState::Cancelled {
        view.failure = Some(&Failure::Cancelled);
    } else if let Some(last) = history.and_then(History::last_attempt) {
        show_failed(&mut view, last);
    }
    view
}

fn show_failed<'a>(view: &mut TaskView<'a>, attempt: &'a FailedAttempt) {
    view.worker = Some(attempt.worker);
    view.failure = Some(&attempt.failure);
    view.exit_code = exit_code(&attempt.failure);
    view.started_at = Some(attempt.span.started);
    view.finished_at = Some(attempt.span.ended);
}

fn runs_a_program(spec: &JobSpec, stage: &Stage) -> bool {
    let place = usize::try_from(stage.id().stage.0).ok();
    place.and_then(|place| spec.stages.get(place)).is_some_and(|stage| match &stage.task.run {
        Run::Command { .. } | Run::Script { .. } => true,
        Run::Function { .. } => false,
    })
}

const fn exit_code(failure: &Failure) -> Option<i32> {
    match failure {
        Failure::Exit { code } => Some(*code),
        Failure::Error { .. }
        | Failure::Signal { .. }
        | Failure::Timeout
        | Failure::CouldNotStart { .. }
        | Failure::OutOfMemory
        | Failure::WorkerLost { .. }
        | Failure::Preempted
        | Failure::Cancelled => None,
    }
}
