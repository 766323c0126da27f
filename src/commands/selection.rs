//! From what people type to what the coordinator is asked for.

use gridctl_jobs::selector::{JobSelector, Selector};
use gridctl_jobs::state::JobState;
use gridctl_transport::message::client::{JobRef, JobStatus, StageStatus, Target};

use crate::error::{CommandError, Exit};

/// What is waited for: a job, or one stage of it.
#[derive(Clone, Debug)]
pub(super) struct Awaited {
    pub(super) job: JobRef,
    pub(super) stage: Option<String>,
}

impl Awaited {
    /// Waits for a whole job.
    pub(super) const fn whole(job: JobRef) -> Self {
        Self { job, stage: None }
    }

    /// Says whether nothing of it can change any more. A stage that does not exist is not waited for.
    pub(super) fn has_ended(&self, status: &JobStatus) -> bool {
        status.job.state.is_ended()
            || self.stage.as_ref().is_some_and(|name| {
                let stage = status.stages.iter().find(|stage| stage.name == *name);
                stage.is_none_or(|stage| stage.tasks.waiting + stage.tasks.running == 0)
            })
    }

    /// Returns the exit code of what has ended.
    ///
    /// # Errors
    /// Where the job has no such stage.
    pub(super) fn exit(&self, status: &JobStatus) -> Result<Exit, CommandError> {
        let Some(name) = &self.stage else { return Ok(exit_of(status.job.state)) };
        let tasks = stage(status, name)?.tasks;
        Ok(if tasks.done == tasks.total {
            Exit::Done
        } else if tasks.failed == 0 && tasks.cancelled > 0 {
            Exit::Cancelled
        } else {
            Exit::TaskFailed
        })
    }
}

impl From<&Selector> for Awaited {
    fn from(selector: &Selector) -> Self {
        Self { job: job_ref(&selector.job), stage: selector.stage.clone() }
    }
}

/// Returns a stage of a job.
///
/// # Errors
/// Lists the stages that there are.
pub(super) fn stage<'a>(
    status: &'a JobStatus,
    name: &str,
) -> Result<&'a StageStatus, CommandError> {
    status.stages.iter().find(|stage| stage.name == name).ok_or_else(|| CommandError::NoStage {
        number: status.job.number,
        stage: name.to_owned(),
        there: status.stages.iter().map(|stage| stage.name.clone()).collect(),
    })
}

/// Returns how a job is named to the coordinator.
pub(super) fn job_ref(job: &JobSelector) -> JobRef {
    match job {
        JobSelector::Number(number) => JobRef::Number(*number),
        JobSelector::Last => JobRef::Last,
        JobSelector::Id(id) => JobRef::Id(*id),
        JobSelector::Name(name) => JobRef::Name(name.clone()),
    }
}

/// Returns how some tasks are named to the coordinator.
pub(super) fn target(selector: &Selector) -> Target {
    Target { job: job_ref(&selector.job), stage: selector.stage.clone(), range: selector.tasks }
}

/// Returns the exit code of a job that has ended.
pub(super) fn exit_of(state: JobState) -> Exit {
    match state {
        JobState::Done => Exit::Done,
        JobState::Cancelled => Exit::Cancelled,
        // One that has not ended has not succeeded either.
        JobState::Failed | JobState::Waiting | JobState::Running => Exit::TaskFailed,
    }
}

/// Returns the worse of the exit codes of two jobs: a failure, then a cancel.
pub(super) fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit| match exit {
        Exit::Done => 0,
        Exit::Cancelled => 1,
        Exit::TaskFailed => 2,
        Exit::Usage
        | Exit::NotReached
        | Exit::Refused
        | Exit::NotFound
        | Exit::Machine
        | Exit::Interrupted => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_jobs_a_failure_is_worse_than_a_cancel() {
        assert_eq!(worse(Exit::Done, Exit::Done), Exit::Done);
        assert_eq!(worse(Exit::Cancelled, Exit::Done), Exit::Cancelled);
        assert_eq!(worse(Exit::Cancelled, Exit::TaskFailed), Exit::TaskFailed);
        assert_eq!(worse(Exit::TaskFailed, Exit::Cancelled), Exit::TaskFailed);
    }
}
