//! What stands in a row: a function of the durable state.

use gridctl_core::activity::Activity;
use gridctl_core::state::{Counts, Job, Stage, State};
use gridctl_core::view;
use gridctl_jobs::id::WorkerId;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::units::WallMs;
use rusqlite::types::Value;

/// Rows of tasks that are read at once: readers and the reactor wait meanwhile.
const TASKS_PER_PAGE: usize = 512;

pub(super) type JobRow = [Value; 13];
pub(super) type StageRow = [Value; 8];
pub(super) type TaskRow = [Value; 14];
pub(super) type WorkerRow = [Value; 4];

/// Makes the row of a job.
pub(super) fn job(state: &State, job: &Job) -> JobRow {
    let owner = state.directory().user(job.owner());
    let owner = owner.map_or_else(|| job.owner().0.to_string(), |owner| owner.name.clone());
    let [tasks, done, failed, cancelled, skipped] = counts(job.counts());
    [
        number(job.number().0),
        Value::Text(job.id().to_string()),
        Value::Text(job.spec().name.clone()),
        Value::Text(owner),
        Value::Integer(job.spec().priority.into()),
        Value::Text(view::job_state(job, &Activity::default()).as_str().to_owned()),
        tasks,
        done,
        failed,
        cancelled,
        skipped,
        time(Some(job.submitted_at())),
        time(job.finished_at()),
    ]
}

/// Makes the row of a stage.
pub(super) fn stage(job: &Job, stage: &Stage) -> StageRow {
    let [tasks, done, failed, cancelled, skipped] = counts(stage.counts());
    let place = stage.id().stage.0;
    let name = usize::try_from(place).ok().and_then(|place| job.spec().stages.get(place));
    [
        number(job.number().0),
        number(place.into()),
        name.map_or(Value::Null, |stage| Value::Text(stage.name.clone())),
        tasks,
        done,
        failed,
        cancelled,
        skipped,
    ]
}

/// Makes rows of the tasks in `range` that have something to tell (a failure, output or a result), a page at most;
/// says where to go on, if there is more.
pub(super) fn tasks(
    state: &State,
    job: &Job,
    stage: &Stage,
    range: TaskRange,
) -> (Vec<TaskRow>, Option<u64>) {
    let (mut rows, mut from) = (Vec::new(), range.start);
    loop {
        let kept = stage.kept_from(from).map(|(index, _)| index);
        let failed = stage.histories(TaskRange::new(from, range.end)).next();
        let next = kept.into_iter().chain(failed.map(|(index, _)| index)).min();
        let Some(index) = next.filter(|index| *index < range.end) else { return (rows, None) };
        if rows.len() == TASKS_PER_PAGE {
            return (rows, Some(index));
        }
        rows.extend(task(state, job, stage, index));
        from = index + 1;
    }
}

fn task(state: &State, job: &Job, stage: &Stage, index: u64) -> Option<TaskRow> {
    let view = view::task(job, stage, &Activity::default(), index)?;
    let worker = view.worker.map(|worker| {
        let enrolled = state.directory().worker(worker);
        enrolled.map_or_else(|| worker.0.to_string(), |enrolled| enrolled.name.clone())
    });
    let bytes =
        |bytes: Option<u32>| bytes.map_or(Value::Null, |bytes| Value::Integer(bytes.into()));
    let kept = view.kept.or_else(|| view.failed_attempts.last()?.kept);
    Some([
        number(job.number().0),
        number(stage.id().stage.0.into()),
        number(index),
        Value::Text(view.state.as_str().to_owned()),
        Value::Integer(view.attempts.into()),
        worker.map_or(Value::Null, Value::Text),
        view.exit_code.map_or(Value::Null, |code| Value::Integer(code.into())),
        view.failure.map_or(Value::Null, |failure| Value::Text(failure.to_string())),
        time(view.started_at),
        time(view.finished_at),
        Value::Integer(view.exact.into()),
        bytes(kept.map(|kept| kept.stdout_bytes)),
        bytes(kept.map(|kept| kept.stderr_bytes)),
        bytes(kept.map(|kept| kept.result_bytes)),
    ])
}

/// Makes the row of a worker, if there is one of that id.
pub(super) fn worker(state: &State, id: WorkerId) -> Option<WorkerRow> {
    let enrolled = state.directory().worker(id)?;
    Some([
        number(id.0),
        Value::Text(enrolled.name.clone()),
        time(Some(enrolled.at)),
        Value::Integer(enrolled.draining.into()),
    ])
}

fn counts(counts: Counts) -> [Value; 5] {
    let Counts { total, done, failed, cancelled, skipped } = counts;
    [total, done, failed, cancelled, skipped].map(number)
}

fn time(at: Option<WallMs>) -> Value {
    at.map_or(Value::Null, |at| number(at.0))
}

/// SQLite's numbers have a sign.
pub(super) fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
