//! Facts for tests: a job, and what becomes of its tasks.

use std::path::PathBuf;
use std::sync::Arc;

use gridctl_core::fact::{Fact, JobSubmitted, Kept, Span, TaskDone, TaskFailed};
use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, StageIndex, Token, UserId, WorkerId};
use gridctl_jobs::job::Job;
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::stage::Stage;
use gridctl_jobs::state::Failure;
use gridctl_jobs::surroundings::{LookError, Surroundings};
use gridctl_jobs::units::WallMs;
use uuid::Uuid;

/// A machine without anything.
struct Nowhere;

impl Surroundings for Nowhere {
    fn base(&self) -> &str {
        "/"
    }

    fn glob(&self, _: &str, _: usize) -> Result<Vec<PathBuf>, LookError> {
        Ok(Vec::new())
    }

    fn read(&self, _: &str, _: usize) -> Result<Vec<u8>, LookError> {
        Err(LookError::NotFound)
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn home(&self) -> Option<String> {
        None
    }
}

/// A job of one stage of `tasks` tasks.
pub(crate) fn job_spec(name: &str, tasks: i64) -> JobSpec {
    let stage = Stage::command("main", ["true"]).for_each_range(0..tasks).retries(1000);
    Job::new(name).stage(stage).resolve(&Nowhere).unwrap().spec
}

/// The stage of job `n`.
pub(crate) fn stage(n: u64) -> StageId {
    StageId { job: JobId(Uuid::from_u128(n.into())), stage: StageIndex(0) }
}

pub(crate) fn submitted(n: u64, tasks: i64) -> Fact {
    Fact::JobSubmitted(JobSubmitted {
        number: JobNumber(n),
        id: stage(n).job,
        owner: UserId(0),
        digest: [7; 32],
        spec: Arc::new(job_spec("job", tasks)),
        at: WallMs(1_700_000_000_000),
    })
}

pub(crate) fn done(n: u64, index: u32, token: u64, kept: Kept) -> Fact {
    Fact::TaskDone(TaskDone {
        stage: stage(n),
        index,
        token: Token { epoch: Epoch(1), counter: token },
        attempt: 1,
        worker: WorkerId(1),
        span: Span { started: WallMs(1), ended: WallMs(2) },
        kept,
    })
}

pub(crate) fn failed(n: u64, index: u32, token: u64, kept: Kept) -> Fact {
    Fact::TaskFailed(TaskFailed {
        stage: stage(n),
        index,
        token: Token { epoch: Epoch(1), counter: token },
        attempt: 1,
        worker: WorkerId(1),
        span: Span::default(),
        failure: Failure::Exit { code: 1 },
        kept: Some(kept),
        last: false,
    })
}
