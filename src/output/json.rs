//! What `--json` prints: documents with stable, documented keys, apart from what travels on the wire.

use std::collections::BTreeMap;
use std::io;

use gridctl_transport::message::client::{
    Explanation, JobStatus, JobSummary, StageStatus, TaskCounts, TaskRow, TokenRole, TokenRow,
    WorkerRow, WorkerState,
};
use serde::Serialize;

use super::explain;
use super::time::rfc3339;

/// A job, and with `status` its stages too.
#[derive(Serialize)]
pub(crate) struct Job<'a> {
    number: u64,
    id: String,
    name: &'a str,
    owner: &'a str,
    priority: i32,
    state: &'static str,
    tasks: Counts,
    submitted_at: String,
    finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stages: Option<Vec<Stage<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<Option<Task<'a>>>,
}

#[derive(Serialize)]
struct Counts {
    total: u64,
    waiting: u64,
    running: u64,
    done: u64,
    failed: u64,
    cancelled: u64,
    skipped: u64,
}

#[derive(Serialize)]
struct Stage<'a> {
    name: &'a str,
    needs: &'a [String],
    tasks: Counts,
    skipped_because: Option<&'a str>,
    ended_early_after: Option<u64>,
}

/// A task.
#[derive(Serialize)]
pub(crate) struct Task<'a> {
    job: u64,
    stage: &'a str,
    index: u64,
    state: &'static str,
    attempts: u32,
    worker: Option<&'a str>,
    exit_code: Option<i32>,
    failure: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    exact: bool,
}

/// A worker.
#[derive(Serialize)]
pub(crate) struct Worker<'a> {
    name: &'a str,
    id: u64,
    state: &'static str,
    cpus: f64,
    reserved_cpus: f64,
    running: u64,
    labels: BTreeMap<String, String>,
    last_heartbeat_ms: Option<u64>,
    enrolled_at: String,
}

/// A join token, without its secret.
#[derive(Serialize)]
pub(crate) struct JoinToken {
    id: u64,
    role: &'static str,
    uses_left: Option<u32>,
    used: u32,
    created_at: String,
    expires_at: String,
    revoked: bool,
}

/// Why a stage waits.
#[derive(Serialize)]
pub(crate) struct Explained<'a> {
    stage: &'a str,
    tasks: Counts,
    reasons: Vec<Reason>,
}

#[derive(Serialize)]
struct Reason {
    kind: &'static str,
    message: String,
}

impl<'a> From<&'a JobSummary> for Job<'a> {
    fn from(job: &'a JobSummary) -> Self {
        Self {
            number: job.number.0,
            id: job.id.to_string(),
            name: &job.name,
            owner: &job.owner,
            priority: job.priority,
            state: job.state.as_str(),
            tasks: job.tasks.into(),
            submitted_at: rfc3339(job.submitted_at),
            finished_at: job.finished_at.map(rfc3339),
            stages: None,
            last_failure: None,
        }
    }
}

impl<'a> From<&'a JobStatus> for Job<'a> {
    fn from(status: &'a JobStatus) -> Self {
        Self {
            stages: Some(status.stages.iter().map(Stage::from).collect()),
            last_failure: Some(status.last_failure.as_ref().map(Task::from)),
            ..Self::from(&status.job)
        }
    }
}

impl From<TaskCounts> for Counts {
    fn from(counts: TaskCounts) -> Self {
        let TaskCounts { total, waiting, running, done, failed, cancelled, skipped } = counts;
        Self { total, waiting, running, done, failed, cancelled, skipped }
    }
}

impl<'a> From<&'a StageStatus> for Stage<'a> {
    fn from(stage: &'a StageStatus) -> Self {
        Self {
            name: &stage.name,
            needs: &stage.needs,
            tasks: stage.tasks.into(),
            skipped_because: stage.skipped_because.as_deref(),
            ended_early_after: stage.ended_early_after,
        }
    }
}

impl<'a> From<&'a TaskRow> for Task<'a> {
    fn from(task: &'a TaskRow) -> Self {
        Self {
            job: task.job.0,
            stage: &task.stage,
            index: task.index,
            state: task.state.as_str(),
            attempts: task.attempts,
            worker: task.worker.as_deref(),
            exit_code: task.exit_code,
            failure: task.failure.as_ref().map(ToString::to_string),
            started_at: task.started_at.map(rfc3339),
            finished_at: task.finished_at.map(rfc3339),
            exact: task.exact,
        }
    }
}

impl<'a> From<&'a WorkerRow> for Worker<'a> {
    fn from(worker: &'a WorkerRow) -> Self {
        Self {
            name: &worker.name,
            id: worker.id,
            state: worker_state(worker.state),
            cpus: worker.cpus.ten_thousandths() as f64 / 10_000.0,
            reserved_cpus: worker.reserved.ten_thousandths() as f64 / 10_000.0,
            running: worker.running,
            labels: BTreeMap::new(),
            last_heartbeat_ms: worker.last_heartbeat_ms,
            enrolled_at: rfc3339(worker.enrolled_at),
        }
    }
}

impl From<&TokenRow> for JoinToken {
    fn from(token: &TokenRow) -> Self {
        Self {
            id: token.token_id,
            role: token_role(token.role),
            uses_left: token.uses_left,
            used: token.used,
            created_at: rfc3339(token.created_at),
            expires_at: rfc3339(token.expires_at),
            revoked: token.revoked,
        }
    }
}

impl<'a> From<&'a Explanation> for Explained<'a> {
    fn from(explanation: &'a Explanation) -> Self {
        let reason = |reason| Reason {
            kind: explain::kind(reason),
            message: explain::sentence(reason, &explanation.workers),
        };
        Self {
            stage: &explanation.stage,
            tasks: explanation.tasks.into(),
            reasons: explanation.reasons.iter().map(reason).collect(),
        }
    }
}

/// Returns the word for a worker's state.
pub(crate) fn worker_state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Ready => "ready",
        WorkerState::Suspect => "suspect",
        WorkerState::Lost => "lost",
        WorkerState::Draining => "draining",
    }
}

/// Returns the word for what a join token makes of its bearer.
pub(crate) fn token_role(role: TokenRole) -> &'static str {
    match role {
        TokenRole::Worker => "worker",
        TokenRole::User => "user",
        TokenRole::Admin => "admin",
    }
}

/// Prints one document.
///
/// # Errors
/// What writing gives.
pub(crate) fn document(out: &mut impl io::Write, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}

/// One document that is an array, printed row by row, so that a long table needs no memory.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    any: bool,
}

impl Rows {
    /// Prints the next row.
    ///
    /// # Errors
    /// What writing gives.
    pub(crate) fn row(&mut self, out: &mut impl io::Write, row: &impl Serialize) -> io::Result<()> {
        out.write_all(if self.any { b",\n  " } else { b"[\n  " })?;
        self.any = true;
        serde_json::to_writer(out, row)?;
        Ok(())
    }

    /// Ends the document.
    ///
    /// # Errors
    /// What writing gives.
    pub(crate) fn end(self, out: &mut impl io::Write) -> io::Result<()> {
        out.write_all(if self.any { b"\n]\n" } else { b"[]\n" })
    }
}

#[cfg(test)]
mod tests {
    use gridctl_jobs::id::{JobId, JobNumber};
    use gridctl_jobs::state::{Failure, JobState, TaskState};
    use gridctl_jobs::units::{Cpus, WallMs};
    use serde_json::{Value, json};

    use super::*;

    fn summary() -> JobSummary {
        JobSummary {
            number: JobNumber(7),
            id: JobId("01890000-0000-7000-8000-000000000001".parse().unwrap()),
            name: "fit".into(),
            owner: "ada".into(),
            priority: 10,
            state: JobState::Running,
            tasks: TaskCounts {
                total: 3,
                waiting: 1,
                running: 1,
                done: 1,
                ..TaskCounts::default()
            },
            submitted_at: WallMs(0),
            finished_at: None,
        }
    }

    fn failed_task() -> TaskRow {
        TaskRow {
            job: JobNumber(7),
            stage: "count".into(),
            index: 12,
            state: TaskState::Failed,
            attempts: 2,
            worker: Some("w1".into()),
            failure: Some(Failure::Exit { code: 3 }),
            exit_code: Some(3),
            started_at: Some(WallMs(0)),
            finished_at: Some(WallMs(1_500)),
            exact: true,
        }
    }

    #[test]
    fn a_job_has_its_documented_keys() {
        let tasks = json!({
            "total": 3, "waiting": 1, "running": 1, "done": 1, "failed": 0, "cancelled": 0, "skipped": 0
        });
        assert_eq!(
            serde_json::to_value(Job::from(&summary())).unwrap(),
            json!({
                "number": 7, "id": "01890000-0000-7000-8000-000000000001", "name": "fit", "owner": "ada",
                "priority": 10, "state": "running", "tasks": tasks,
                "submitted_at": "1970-01-01T00:00:00.000Z", "finished_at": null
            })
        );
    }

    #[test]
    fn a_status_adds_stages_and_the_last_failure() {
        let stage = StageStatus {
            name: "merge".into(),
            needs: vec!["count".into()],
            tasks: TaskCounts::default(),
            skipped_because: None,
            ended_early_after: None,
        };
        let status = JobStatus {
            job: summary(),
            stages: vec![stage],
            last_failure: Some(failed_task()),
            notice: None,
        };
        let document = serde_json::to_value(Job::from(&status)).unwrap();
        assert_eq!(document["stages"][0]["needs"], json!(["count"]));
        assert_eq!(document["last_failure"]["failure"], json!("exit 3"));
        let without = JobStatus { last_failure: None, ..status };
        assert_eq!(serde_json::to_value(Job::from(&without)).unwrap()["last_failure"], Value::Null);
    }

    #[test]
    fn a_task_has_its_documented_keys() {
        assert_eq!(
            serde_json::to_value(Task::from(&failed_task())).unwrap(),
            json!({
                "job": 7, "stage": "count", "index": 12, "state": "failed", "attempts": 2, "worker": "w1",
                "exit_code": 3, "failure": "exit 3", "started_at": "1970-01-01T00:00:00.000Z",
                "finished_at": "1970-01-01T00:00:01.500Z", "exact": true
            })
        );
    }

    #[test]
    fn a_worker_has_its_documented_keys() {
        let worker = WorkerRow {
            name: "w1".into(),
            id: 4,
            state: WorkerState::Suspect,
            cpus: Cpus::from_ten_thousandths(25_000),
            reserved: Cpus::ONE,
            running: 1,
            last_heartbeat_ms: Some(40),
            enrolled_at: WallMs(0),
        };
        assert_eq!(
            serde_json::to_value(Worker::from(&worker)).unwrap(),
            json!({
                "name": "w1", "id": 4, "state": "suspect", "cpus": 2.5, "reserved_cpus": 1.0, "running": 1,
                "labels": {}, "last_heartbeat_ms": 40, "enrolled_at": "1970-01-01T00:00:00.000Z"
            })
        );
    }

    #[test]
    fn rows_make_one_document_however_many_there_are() {
        for count in 0..3 {
            let (mut out, mut rows) = (Vec::new(), Rows::default());
            for row in 0..count {
                rows.row(&mut out, &row).unwrap();
            }
            rows.end(&mut out).unwrap();
            let parsed: Vec<i32> = serde_json::from_slice(&out).unwrap();
            assert_eq!(parsed, (0..count).collect::<Vec<_>>());
        }
    }
}
