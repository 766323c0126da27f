//! From what people type to what the coordinator is asked for.

use gridctl_jobs::selector::{JobSelector, Selector};
use gridctl_jobs::state::JobState;
use gridctl_transport::message::client::{JobRef, Target};

use crate::error::Exit;

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
