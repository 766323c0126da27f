//! Messages of the wire into events of the core, and effects of the core into messages.
//!
//! What comes in is checked here for what the core relies on: ranges that are ranges, one task where only one
//! can be meant, texts within their bounds.

use gridctl_core::activity;
use gridctl_core::effect::{self, Refusal, Reply, ToWorker, Violation};
use gridctl_core::event::{self, WorkerHello};
use gridctl_core::fact::{self, Kept, Span, UserRole, WorkerProcess};
use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::limits::{FAILURE_MESSAGE_BYTES_MAX, TASKS_PER_STAGE_MAX};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::Failure;
use gridctl_transport::message::client::{self, Answer, Refused, RefusedKind};
use gridctl_transport::message::worker::{
    self, CoordinatorMessage, ITEMS_PER_MESSAGE_MAX, Welcome,
};
use thiserror::Error;

/// What is wrong with a message that could be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum Malformed {
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error(
        "the message of a failure has {bytes} bytes, at most {FAILURE_MESSAGE_BYTES_MAX} are allowed"
    )]
    FailureMessage { bytes: usize },
    #[error("a worker reports a failure that only the coordinator can know: {failure}")]
    NotAWorkersToSay { failure: Failure },
    #[error(
        "a machine with no cpu at all, or more than {} of them",
        gridctl_jobs::limits::CPUS_MAX
    )]
    Cpus,
}

/// What every Welcome says beside the answers.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) grid: String,
    /// The version of the protocol that was agreed with this worker.
    pub(crate) version: u32,
    pub(crate) lease_ms: u64,
    pub(crate) heartbeat_ms: u64,
}

/// Reads what a worker says of itself.
pub(crate) fn hello(hello: &worker::Hello) -> Result<WorkerHello, Malformed> {
    at_most(hello.held.len())?;
    let largest = gridctl_jobs::units::Cpus::whole(gridctl_jobs::limits::CPUS_MAX);
    if hello.cpus == gridctl_jobs::units::Cpus::ZERO || hello.cpus > largest {
        return Err(Malformed::Cpus);
    }
    let held = hello.held.iter().map(held).collect::<Result<Vec<_>, _>>()?;
    let &worker::Hello { machine, process, life, .. } = hello;
    Ok(WorkerHello {
        process: WorkerProcess { machine, process, life },
        connection: hello.connection,
        predecessor_gone: hello.predecessor_gone,
        ends_trees: hello.ends_trees,
        cpus: hello.cpus,
        held,
    })
}

fn held(held: &worker::Held) -> Result<event::Held, Malformed> {
    Ok(event::Held {
        token: held.token,
        stage: held.stage,
        range: range(held.range)?,
        attempt: held.attempt,
        phase: match held.phase {
            worker::Phase::Queued => event::Phase::Queued,
            worker::Phase::Running => event::Phase::Running,
            worker::Phase::Finished => event::Phase::Finished,
        },
    })
}

/// Reads which tasks have begun.
pub(crate) fn started(
    tasks: &[worker::StartedTasks],
) -> Result<Vec<(Token, StageId, TaskRange)>, Malformed> {
    at_most(tasks.len())?;
    tasks.iter().map(|tasks| Ok((tasks.token, tasks.stage, range(tasks.range)?))).collect()
}

/// Reads which tasks were given back.
pub(crate) fn given_back(ranges: &[TaskRange]) -> Result<Vec<TaskRange>, Malformed> {
    at_most(ranges.len())?;
    ranges.iter().map(|given| range(*given)).collect()
}

/// Checks the length of a report before anything of it is kept.
pub(crate) fn report_length(report: &worker::Report) -> Result<(), Malformed> {
    at_most(report.items.len())
}

/// Reads what became of some tasks; `kept` says where what they left behind lies by now.
pub(crate) fn report_item(
    item: &worker::ReportItem,
    kept: Option<Kept>,
) -> Result<event::ReportItem, Malformed> {
    let range = range(item.range)?;
    let of_one_task = kept.is_some() || matches!(item.outcome, worker::Outcome::Failed(_));
    if of_one_task && range.len() != 1 {
        return Err(Violation::OneTaskOnly.into());
    }
    let outcome = match &item.outcome {
        worker::Outcome::Done => event::Outcome::Done { kept },
        worker::Outcome::Failed(failure) => {
            check_failure(failure)?;
            event::Outcome::Failed { failure: failure.clone(), kept }
        }
    };
    Ok(event::ReportItem {
        token: item.token,
        stage: item.stage,
        range,
        attempt: item.attempt,
        span: Span { started: item.started, ended: item.ended },
        busy_us: item.busy_us,
        outcome,
    })
}

fn check_failure(failure: &Failure) -> Result<(), Malformed> {
    if !failure.kind().is_seen_by_workers() {
        return Err(Malformed::NotAWorkersToSay { failure: failure.clone() });
    }
    match failure.message().map_or(0, str::len) {
        bytes if bytes > FAILURE_MESSAGE_BYTES_MAX => Err(Malformed::FailureMessage { bytes }),
        _ => Ok(()),
    }
}

/// Refuses what is not a range of tasks of any stage; whether it fits its own stage is the core's to say.
fn range(range: TaskRange) -> Result<TaskRange, Malformed> {
    if range.is_valid(TASKS_PER_STAGE_MAX) { Ok(range) } else { Err(Violation::BadRange.into()) }
}

fn at_most(items: usize) -> Result<(), Malformed> {
    let max = ITEMS_PER_MESSAGE_MAX;
    if items > max { Err(Violation::TooManyItems { max }.into()) } else { Ok(()) }
}

/// Writes what a worker is told.
pub(crate) fn to_worker(message: ToWorker, terms: &Terms) -> CoordinatorMessage {
    match message {
        ToWorker::Welcome { epoch, answers } => CoordinatorMessage::Welcome(Welcome {
            version: terms.version,
            epoch,
            grid: terms.grid.clone(),
            lease_ms: terms.lease_ms,
            heartbeat_ms: terms.heartbeat_ms,
            answers: answers.iter().map(held_answer).collect(),
        }),
        ToWorker::Stage { order } => CoordinatorMessage::Stage(order),
        ToWorker::Assign { grant } => CoordinatorMessage::Assign(worker::Grant {
            token: grant.token,
            stage: grant.stage,
            range: grant.range,
            attempt: grant.attempt,
            lanes: grant.lanes,
            items: grant.items,
        }),
        ToWorker::TakeBack { token, stage, tasks } => {
            CoordinatorMessage::TakeBack { token, stage, tasks }
        }
        ToWorker::Stop { token, stage, range } => CoordinatorMessage::Stop { token, stage, range },
        ToWorker::Settled { up_to } => CoordinatorMessage::Settled { up_to },
        ToWorker::Forget { stage } => CoordinatorMessage::Forget { stage },
    }
}

fn held_answer(answer: &effect::HeldAnswer) -> worker::HeldAnswer {
    worker::HeldAnswer {
        token: answer.token,
        stage: answer.stage,
        range: answer.range,
        verdict: match answer.verdict {
            effect::Verdict::Adopt => worker::Verdict::Adopt,
            effect::Verdict::Done => worker::Verdict::Done,
            effect::Verdict::Void => worker::Verdict::Void,
            effect::Verdict::UnknownJob => worker::Verdict::UnknownJob,
        },
    }
}

/// Writes why a request is refused.
pub(crate) fn refused(refusal: &Refusal) -> Refused {
    let kind = match refusal {
        Refusal::OtherContent { .. }
        | Refusal::BadJob(_)
        | Refusal::AlreadyEnded { .. }
        | Refusal::NotEnded { .. }
        | Refusal::NothingToRetry { .. }
        | Refusal::NothingEnded { .. }
        | Refusal::InUse { .. }
        | Refusal::StillSkipped { .. }
        | Refusal::Forgotten { .. }
        | Refusal::BadToken
        | Refusal::TokenExpired
        | Refusal::TokenUsedUp
        | Refusal::BadName => RefusedKind::Invalid,
        Refusal::NoSuchJob
        | Refusal::NoSuchTask { .. }
        | Refusal::NoSuchToken
        | Refusal::NoSuchWorker => RefusedKind::NotFound,
        Refusal::NotYours { .. } | Refusal::AdminOnly => RefusedKind::Role,
        Refusal::TooManyJobs { .. } => RefusedKind::Overloaded,
    };
    Refused { kind, message: refusal.to_string() }
}

/// Writes the answer to a request that changes something. The creation of a token and an enrolment are answered by those who asked, who alone have what else belongs to the answer.
pub(crate) fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Submitted { id, number, new } => Answer::Submitted { id, number, new },
        Reply::Cancelled { number, tasks } => Answer::Cancelled { number, tasks },
        Reply::Retried { number, tasks } => Answer::Retried { number, tasks },
        Reply::Forgotten { number } => Answer::Forgotten { number },
        Reply::WorkerDraining { worker: _, name, running, new } => {
            Answer::WorkerDraining { name, running, new }
        }
        Reply::WorkerResumed { worker: _, name, new } => Answer::WorkerResumed { name, new },
        Reply::TokenRevoked => Answer::TokenRevoked,
        Reply::Refused(refusal) => Answer::Refused(refused(&refusal)),
        reply @ (Reply::TokenCreated { .. } | Reply::Enrolled(_)) => {
            unreachable!(
                "the core answers each request in kind, and this one was not asked for: {reply:?}"
            )
        }
    }
}

/// Reads what a join token is to make of its bearer.
pub(crate) fn token_role(role: client::TokenRole) -> fact::TokenRole {
    match role {
        client::TokenRole::Worker => fact::TokenRole::Worker,
        client::TokenRole::User => fact::TokenRole::User(UserRole::User),
        client::TokenRole::Admin => fact::TokenRole::User(UserRole::Admin),
    }
}

/// Writes what a join token makes of its bearer.
pub(crate) fn wire_token_role(role: fact::TokenRole) -> client::TokenRole {
    match role {
        fact::TokenRole::Worker => client::TokenRole::Worker,
        fact::TokenRole::User(UserRole::User) => client::TokenRole::User,
        fact::TokenRole::User(UserRole::Admin) => client::TokenRole::Admin,
    }
}

/// Writes whether a worker can be given work.
pub(crate) fn worker_state(state: activity::WorkerState) -> client::WorkerState {
    match state {
        activity::WorkerState::Ready => client::WorkerState::Ready,
        activity::WorkerState::Suspect => client::WorkerState::Suspect,
        activity::WorkerState::Lost => client::WorkerState::Lost,
        activity::WorkerState::Draining => client::WorkerState::Draining,
    }
}

#[cfg(test)]
mod tests {
    use gridctl_jobs::id::{Epoch, JobId, StageIndex};
    use gridctl_jobs::units::{Cpus, WallMs};
    use uuid::Uuid;

    use super::*;

    fn item(range: TaskRange, outcome: worker::Outcome) -> worker::ReportItem {
        worker::ReportItem {
            token: Token { epoch: Epoch(1), counter: 1 },
            stage: StageId { job: JobId(Uuid::nil()), stage: StageIndex(0) },
            range,
            attempt: 1,
            started: WallMs(1),
            ended: WallMs(2),
            busy_us: 3,
            outcome,
            output: None,
        }
    }

    fn kept() -> Kept {
        let place = fact::Place { segment: 1, block: 0, offset: 0, crc: 0 };
        Kept { place, stdout_bytes: 1, stderr_bytes: 0, result_bytes: 0 }
    }

    #[test]
    fn ranges_that_are_none_are_violations() {
        for bad in
            [TaskRange::new(3, 3), TaskRange::new(4, 3), TaskRange::new(0, TASKS_PER_STAGE_MAX + 1)]
        {
            let refused = report_item(&item(bad, worker::Outcome::Done), None);
            assert_eq!(refused, Err(Malformed::Violation(Violation::BadRange)));
            assert_eq!(given_back(&[bad]), Err(Malformed::Violation(Violation::BadRange)));
        }
    }

    #[test]
    fn only_one_task_can_fail_or_leave_something() {
        let many = TaskRange::new(0, 2);
        let one_only = Err(Malformed::Violation(Violation::OneTaskOnly));
        assert_eq!(report_item(&item(many, worker::Outcome::Done), Some(kept())), one_only);
        assert_eq!(
            report_item(&item(many, worker::Outcome::Failed(Failure::Timeout)), None),
            one_only
        );
        report_item(&item(many, worker::Outcome::Done), None)
            .expect("a range that has nothing to tell");
        report_item(&item(TaskRange::one(1), worker::Outcome::Done), Some(kept()))
            .expect("one task");
    }

    #[test]
    fn message_of_a_failure_is_bounded() {
        let failed =
            |bytes: usize| worker::Outcome::Failed(Failure::Error { message: "x".repeat(bytes) });
        report_item(&item(TaskRange::one(0), failed(FAILURE_MESSAGE_BYTES_MAX)), None)
            .expect("fits");
        let refused =
            report_item(&item(TaskRange::one(0), failed(FAILURE_MESSAGE_BYTES_MAX + 1)), None);
        assert_eq!(
            refused,
            Err(Malformed::FailureMessage { bytes: FAILURE_MESSAGE_BYTES_MAX + 1 })
        );
    }

    #[test]
    fn failures_that_only_the_coordinator_knows_are_refused() {
        let lost = Failure::WorkerLost { losses: 1, alone: false };
        for (failure, accepted) in [
            (Failure::OutOfMemory, true),
            (Failure::Preempted, true),
            (lost, false),
            (Failure::Cancelled, false),
        ] {
            let item = item(TaskRange::one(0), worker::Outcome::Failed(failure.clone()));
            let read = report_item(&item, None);
            assert_eq!(read.is_ok(), accepted, "{failure}: {read:?}");
        }
    }

    #[test]
    fn machine_without_cpus_or_with_too_many_items_is_refused() {
        let hello_of = |cpus, items| worker::Hello {
            version: 1,
            epoch_seen: Epoch(0),
            machine: [0; 16],
            cpus,
            wall: WallMs(0),
            held: vec![
                worker::Held {
                    token: Token::default(),
                    stage: StageId { job: JobId(Uuid::nil()), stage: StageIndex(0) },
                    range: TaskRange::one(0),
                    attempt: 1,
                    phase: worker::Phase::Queued,
                };
                items
            ],
            process: [0; 16],
            life: 1,
            connection: 1,
            predecessor_gone: false,
            ends_trees: false,
        };
        assert_eq!(hello(&hello_of(Cpus::ZERO, 0)), Err(Malformed::Cpus));
        assert_eq!(hello(&hello_of(Cpus::whole(u32::MAX), 0)), Err(Malformed::Cpus));
        let too_many = hello(&hello_of(Cpus::ONE, ITEMS_PER_MESSAGE_MAX + 1));
        let max = ITEMS_PER_MESSAGE_MAX;
        assert_eq!(too_many, Err(Malformed::Violation(Violation::TooManyItems { max })));
        assert_eq!(hello(&hello_of(Cpus::ONE, 2)).expect("valid").held.len(), 2);
    }
}
