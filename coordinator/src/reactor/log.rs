//! The lines that an operator reads: who came and went, what was submitted and how it ended.
//!
//! A line is made while the views are locked, and written after: a log that blocks holds no reader up.

use gridctl_core::activity::{Change, WorkerState};
use gridctl_core::fact::{Fact, TokenRole, UserRole};
use gridctl_core::state::State;
use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, UserId, WorkerId};
use gridctl_jobs::state::{Failure, JobState};
use gridctl_jobs::units::Cpus;

use crate::views::Content;

/// A line to come.
#[derive(Debug)]
pub(super) enum Line {
    Epoch(Epoch),
    Submitted { job: JobNumber, id: JobId, name: String, owner: String, tasks: u64 },
    Ended { job: JobNumber, state: JobState, done: u64, failed: u64, cancelled: u64, skipped: u64 },
    TokenCreated { token: u64, role: TokenRole, by: String },
    TokenRevoked { token: u64, by: String },
    WorkerJoined { worker: WorkerId, name: String },
    UserJoined { user: UserId, name: String, role: UserRole },
    WorkerReady { name: String, cpus: Cpus },
    WorkerSuspect { name: String },
    WorkerLost { name: String },
    WorkerLeft { name: String },
    WorkerDraining { name: String, by: String },
    WorkerResumed { name: String, by: String },
    Reopened { job: JobNumber, by: String },
    TasksReopened { job: JobNumber, stage: String, open: u64, by: String },
    Forgotten { id: JobId, job: JobNumber, by: Option<String> },
    SetBack { is_over: bool },
    Trouble(Trouble),
}

/// A line about what went wrong with a task.
#[derive(Debug)]
pub(super) enum Trouble {
    Failed { task: String, attempt: u32, worker: String, failure: Failure, last: bool },
    Lost { task: String, attempt: u32, worker: String, losses: u32 },
    SetAside { task: String, worker: String, losses: u32 },
    EndedEarly { stage: String, failed: u64, skipped: u64 },
}

/// Makes the line of a fact that was just applied, if it matters to an operator.
pub(super) fn of_fact(fact: &Fact, state: &State) -> Option<Line> {
    match fact {
        Fact::EpochStarted { epoch, at: _ } => Some(Line::Epoch(*epoch)),
        Fact::JobSubmitted(submitted) => Some(Line::Submitted {
            job: submitted.number,
            id: submitted.id,
            name: submitted.spec.name.clone(),
            owner: user_name(state, submitted.owner),
            tasks: submitted.spec.stages.iter().map(|stage| stage.items.count()).sum(),
        }),
        Fact::JobEnded { job, state: ended, at: _ } => {
            let job = state.job(*job)?;
            let counts = job.counts();
            Some(Line::Ended {
                job: job.number(),
                state: *ended,
                done: counts.done,
                failed: counts.failed,
                cancelled: counts.cancelled,
                skipped: counts.skipped,
            })
        }
        Fact::TokenCreated(created) => {
            let by = user_name(state, created.by);
            Some(Line::TokenCreated { token: created.token.0, role: created.role, by })
        }
        Fact::TokenRevoked { token, by, at: _ } => {
            Some(Line::TokenRevoked { token: token.0, by: user_name(state, *by) })
        }
        Fact::WorkerEnrolled { worker, name, key: _, token: _, at: _ } => {
            Some(Line::WorkerJoined { worker: *worker, name: name.clone() })
        }
        Fact::UserEnrolled { user, name, role, key: _, token: _, at: _ } => {
            Some(Line::UserJoined { user: *user, name: name.clone(), role: *role })
        }
        Fact::WorkerDraining { worker, by, at: _ } => Some(Line::WorkerDraining {
            name: worker_name(state, *worker),
            by: user_name(state, *by),
        }),
        Fact::WorkerResumed { worker, by, at: _ } => Some(Line::WorkerResumed {
            name: worker_name(state, *worker),
            by: user_name(state, *by),
        }),
        Fact::JobReopened { job, by, fence: _, at: _ } => {
            let job = state.job(*job)?.number();
            Some(Line::Reopened { job, by: user_name(state, *by) })
        }
        Fact::TasksReopened { stage, by, range: _, done_too: _, fence: _, at: _ } => {
            tasks_reopened(*stage, *by, state)
        }
        Fact::JobForgotten { job, by, at: _ } => {
            let number = state.forgotten(*job)?.number;
            let by = by.map(|by| user_name(state, by));
            Some(Line::Forgotten { id: *job, job: number, by })
        }
        Fact::TaskFailed(_) | Fact::TaskLost(_) | Fact::TasksSkipped { .. } => {
            of_trouble(fact, state).map(Line::Trouble)
        }
        // Too many to be told one by one; `gridctl tasks` tells them.
        Fact::RangeDone(_)
        | Fact::TaskDone(_)
        | Fact::StageSkipped { .. }
        | Fact::StageReopened { .. }
        | Fact::TasksCancelled { .. }
        | Fact::Watermark { .. }
        // Told by the changes of workers.
        | Fact::WorkerAttached { .. }
        | Fact::WorkerDetached { .. }
        | Fact::LeaseLength { .. } => None,
        Fact::SetBack { is_over } => Some(Line::SetBack { is_over: *is_over }),
    }
}

fn of_trouble(fact: &Fact, state: &State) -> Option<Trouble> {
    if let Fact::TaskFailed(failed) = fact {
        return is_read().then(|| Trouble::Failed {
            task: task_name(state, failed.stage, failed.index),
            attempt: failed.attempt,
            worker: worker_name(state, failed.worker),
            failure: failed.failure.clone(),
            last: failed.last,
        });
    }
    if let Fact::TasksSkipped { stage: id, range: _, fence: _, failed, at: _ } = fact {
        let skipped = state.stage(*id)?.counts().skipped;
        return Some(Trouble::EndedEarly {
            stage: stage_name(state, *id),
            failed: *failed,
            skipped,
        });
    }
    let Fact::TaskLost(lost) = fact else { return None };
    let history = state.stage(lost.stage)?.history(u64::from(lost.index))?;
    let task = task_name(state, lost.stage, lost.index);
    let (attempt, worker) = (lost.attempt, worker_name(state, lost.worker));
    let losses = history.losses();
    if lost.last {
        return Some(Trouble::SetAside { task, worker, losses });
    }
    is_read().then_some(Trouble::Lost { task, attempt, worker, losses })
}

/// Says whether somebody reads what is told of single tasks.
fn is_read() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// Makes the line of a change that is about to be applied, if it matters to an operator.
pub(super) fn of_change(change: &Change, before: &Content) -> Option<Line> {
    match change {
        Change::Worker { worker, activity } => {
            let was = before.activity.workers.get(worker).map(|before| before.state);
            let resumed =
                (was, activity.state) == (Some(WorkerState::Draining), WorkerState::Ready);
            if was == Some(activity.state) || resumed {
                return None;
            }
            let name = worker_name(&before.state, *worker);
            Some(match activity.state {
                // Told by the fact, unless it has just connected.
                WorkerState::Draining if was == Some(WorkerState::Ready) => return None,
                WorkerState::Ready | WorkerState::Draining => {
                    Line::WorkerReady { name, cpus: activity.cpus }
                }
                WorkerState::Suspect => Line::WorkerSuspect { name },
                WorkerState::Lost => Line::WorkerLost { name },
            })
        }
        Change::WorkerLeft { worker } => {
            Some(Line::WorkerLeft { name: worker_name(&before.state, *worker) })
        }
        Change::Granted { .. }
        | Change::Started { .. }
        | Change::Released { .. }
        | Change::Backoff { .. }
        | Change::Window { .. }
        | Change::Barred { .. } => None,
    }
}

impl Line {
    /// Writes the line.
    pub(super) fn write(self) {
        match self {
            Self::Epoch(epoch) => tracing::info!(epoch = epoch.0, "a new epoch began"),
            Self::Submitted { job, id, name, owner, tasks } => {
                tracing::info!(%job, %id, ?name, owner, tasks, "job submitted");
            }
            Self::Ended { job, state, done, failed, cancelled, skipped } => {
                tracing::info!(%job, %state, done, failed, cancelled, skipped, "job ended");
            }
            Self::TokenCreated { token, role, by } => {
                tracing::info!(token, ?role, by, "join token created")
            }
            Self::TokenRevoked { token, by } => tracing::info!(token, by, "join token revoked"),
            Self::WorkerJoined { worker, name } => {
                tracing::info!(worker = name, id = worker.0, "worker joined")
            }
            Self::UserJoined { user, name, role } => {
                tracing::info!(user = name, id = user.0, ?role, "user joined");
            }
            Self::WorkerReady { name, cpus } => {
                tracing::info!(worker = name, %cpus, "worker connected")
            }
            Self::WorkerSuspect { name } => {
                tracing::warn!(worker = name, "worker not heard of; its lease runs on");
            }
            Self::WorkerLost { name } => {
                tracing::warn!(worker = name, "worker lost; its tasks go to others")
            }
            Self::WorkerLeft { name } => tracing::info!(worker = name, "worker left"),
            Self::WorkerDraining { name, by } => {
                tracing::info!(worker = name, by, "worker draining; it gets nothing new");
            }
            Self::WorkerResumed { name, by } => {
                tracing::info!(worker = name, by, "worker resumed");
            }
            Self::Reopened { job, by } => tracing::info!(%job, by, "job reopened"),
            Self::TasksReopened { job, stage, open, by } => {
                tracing::info!(%job, stage, open, by, "tasks to be run again");
            }
            Self::Forgotten { id, job, by: Some(by) } => {
                tracing::info!(%job, %id, by, "job forgotten");
            }
            Self::Forgotten { id, job, by: None } => {
                tracing::info!(%job, %id, "job forgotten; its time was over");
            }
            Self::SetBack { is_over: false } => tracing::warn!(
                "this coordinator was set back to an earlier state; it gives nothing out until every lease that may be in force has run out"
            ),
            Self::SetBack { is_over: true } => {
                tracing::info!("every lease from before the setback has run out");
            }
            Self::Trouble(trouble) => trouble.write(),
        }
    }
}

fn tasks_reopened(stage: StageId, by: UserId, state: &State) -> Option<Line> {
    let (job, known) = (state.job(stage.job)?, state.stage(stage)?);
    let place = usize::try_from(stage.stage.0).ok()?;
    Some(Line::TasksReopened {
        job: job.number(),
        stage: job.spec().stages.get(place)?.name.clone(),
        open: known.counts().open(),
        by: user_name(state, by),
    })
}

impl Trouble {
    fn write(self) {
        match self {
            Self::Failed { task, attempt, worker, failure, last: false } => {
                tracing::debug!(task, attempt, worker, %failure, "task failed; it is tried again");
            }
            Self::Failed { task, attempt, worker, failure, last: true } => {
                tracing::debug!(task, attempt, worker, %failure, "task failed for good");
            }
            Self::Lost { task, attempt, worker, losses } => {
                tracing::debug!(task, attempt, worker, losses, "task lost with its worker");
            }
            Self::SetAside { task, worker, losses } => tracing::warn!(
                task,
                worker,
                losses,
                "task set aside: workers were lost with it, the last with nothing else on it"
            ),
            Self::EndedEarly { stage, failed, skipped } => {
                tracing::info!(stage, failed, skipped, "stage ends early, too many failed");
            }
        }
    }
}

fn task_name(state: &State, stage: StageId, index: u32) -> String {
    format!("{}/{index}", stage_name(state, stage))
}

fn stage_name(state: &State, id: StageId) -> String {
    let Some(job) = state.job(id.job) else { return id.job.to_string() };
    let place = usize::try_from(id.stage.0).ok();
    let stage = place.and_then(|place| job.spec().stages.get(place));
    format!("{}/{}", job.number(), stage.map_or("?", |stage| stage.name.as_str()))
}

fn user_name(state: &State, user: UserId) -> String {
    state.directory().user(user).map_or_else(|| user.0.to_string(), |user| user.name.clone())
}

fn worker_name(state: &State, worker: WorkerId) -> String {
    state
        .directory()
        .worker(worker)
        .map_or_else(|| worker.0.to_string(), |worker| worker.name.clone())
}
