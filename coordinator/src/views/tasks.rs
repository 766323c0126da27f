//! Rows of tasks, a page at a time.

use gridctl_core::state::{Job, Stage};
use gridctl_core::view::{self, TaskQuery, TaskView};
use gridctl_jobs::id::StageIndex;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::{Failure, TaskState};
use gridctl_transport::message::client::{ROWS_PER_ANSWER_MAX, TaskRow};

use super::jobs::stage_name;
use super::people::worker_name;
use super::{Content, Resolved, Views};

/// Bytes of texts (names, failure messages) in one page: with the numbers beside them it stays below an
/// answer's maximum of 4 MiB.
const TEXT_BYTES_PER_PAGE_MAX: usize = 2 << 20;

/// Where a list of tasks goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TaskCursor {
    stage: u32,
    index: u64,
}

impl Views {
    /// Lists tasks from `cursor` on, by stage and index, and says where to go on; `None` at the end. Without
    /// states, those of all states.
    pub(crate) fn tasks(
        &self,
        of: Resolved,
        states: &[TaskState],
        cursor: TaskCursor,
    ) -> (Vec<TaskRow>, Option<TaskCursor>) {
        self.read(|content| {
            let Some(job) = content.state.job(of.job) else { return (Vec::new(), None) };
            let stages = of.stages(job);
            let mut cursor = TaskCursor { stage: cursor.stage.max(stages.start), ..cursor };
            let mut rows = Vec::new();
            while cursor.stage < stages.end && rows.len() < ROWS_PER_ANSWER_MAX {
                let stage = &job.stages()[place(cursor.stage)];
                let range = of.range_of(stage.counts().total);
                let rest = TaskRange::new(range.start.max(cursor.index), range.end);
                match stage_page(content, job, stage, states, rest, &mut rows) {
                    Some(index) => return (rows, Some(TaskCursor { index, ..cursor })),
                    None => cursor = TaskCursor { stage: cursor.stage + 1, index: 0 },
                }
            }
            let more = cursor.stage < stages.end;
            (rows, more.then_some(cursor))
        })
    }
}

/// Adds rows of one stage until the page is full; then returns where to go on.
fn stage_page(
    content: &Content,
    job: &Job,
    stage: &Stage,
    states: &[TaskState],
    range: TaskRange,
    rows: &mut Vec<TaskRow>,
) -> Option<u64> {
    let limit = ROWS_PER_ANSWER_MAX - rows.len();
    let views = in_states(content, job, stage, states, range, limit);
    let full = views.len() == limit;
    let mut text_bytes: usize = rows.iter().map(text_bytes_of).sum();
    let mut last = None;
    for view in &views {
        let row = row(content, job, stage, view);
        text_bytes += text_bytes_of(&row);
        if text_bytes > TEXT_BYTES_PER_PAGE_MAX && !rows.is_empty() {
            return Some(view.index);
        }
        rows.push(row);
        last = Some(view.index);
    }
    last.filter(|_| full).map(|last| last + 1).filter(|next| *next < range.end)
}

fn in_states<'a>(
    content: &Content,
    job: &'a Job,
    stage: &'a Stage,
    states: &[TaskState],
    range: TaskRange,
    limit: usize,
) -> Vec<TaskView<'a>> {
    let query = |state| {
        let query = TaskQuery { range, state, limit };
        view::tasks(job, stage, &content.activity, query)
    };
    if states.is_empty() {
        return query(None);
    }
    // Each state once, however often a client names it.
    let wanted = TaskState::ALL.into_iter().filter(|state| states.contains(state));
    let mut views: Vec<TaskView<'a>> = wanted.flat_map(|state| query(Some(state))).collect();
    views.sort_by_key(|view| view.index);
    views.truncate(limit);
    views
}

pub(super) fn row(content: &Content, job: &Job, stage: &Stage, view: &TaskView<'_>) -> TaskRow {
    TaskRow {
        job: job.number(),
        stage: stage_name(job, stage).to_owned(),
        index: view.index,
        state: view.state,
        attempts: view.attempts,
        worker: view.worker.map(|worker| worker_name(content, worker)),
        failure: view.failure.cloned(),
        exit_code: view.exit_code,
        started_at: view.started_at,
        finished_at: view.finished_at,
        exact: view.exact,
    }
}

fn text_bytes_of(row: &TaskRow) -> usize {
    let message = row.failure.as_ref().and_then(Failure::message).map_or(0, str::len);
    row.stage.len() + row.worker.as_ref().map_or(0, String::len) + message
}

pub(super) fn place(stage: u32) -> usize {
    usize::try_from(StageIndex(stage).0).expect("a job has at most 1,024 stages")
}
