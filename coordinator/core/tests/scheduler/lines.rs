//! Effects and facts as short lines, so that a test can say exactly what it expects.
//!
//! Jobs go by number, stages by name, workers as `w1`, tokens by their counter as `t1`.

use gridctl_core::effect::{Effect, HeldAnswer, ToWorker};
use gridctl_core::fact::Fact;
use gridctl_jobs::id::{JobId, StageId, Token};
use gridctl_jobs::range::TaskRange;

use crate::world::World;

pub(crate) fn effect(world: &World, effect: &Effect) -> String {
    match effect {
        Effect::Send { session, message } => {
            format!("w{}: {}", world.worker_at(*session).0, told(world, message))
        }
        Effect::Reply { reply, .. } => format!("reply: {reply:?}"),
        Effect::Close { why, .. } => format!("close: {why:?}"),
        Effect::Show(change) => format!("show: {change:?}"),
    }
}

fn told(world: &World, message: &ToWorker) -> String {
    match message {
        ToWorker::Welcome { answers, .. } => {
            let answers: Vec<String> = answers.iter().map(|answer| held(world, answer)).collect();
            format!("welcome [{}]", answers.join(", "))
        }
        ToWorker::Stage { order } => format!("order {}/{}", order.number, order.stage_name),
        ToWorker::Assign { grant } => format!(
            "run {} attempt {} lanes {} {}",
            tasks(world, grant.stage, grant.range),
            grant.attempt,
            grant.lanes,
            token(grant.token)
        ),
        ToWorker::TakeBack { token: its, stage, tasks } => {
            format!("give back {tasks} of {} {}", name(world, *stage), token(*its))
        }
        ToWorker::Stop { token: its, stage, range } => {
            format!("stop {} {}", tasks(world, *stage, *range), token(*its))
        }
        ToWorker::Settled { .. } => "settled".to_owned(),
        ToWorker::Forget { stage } => format!("forget {}", name(world, *stage)),
    }
}

fn held(world: &World, answer: &HeldAnswer) -> String {
    format!("{:?} {}", answer.verdict, tasks(world, answer.stage, answer.range))
}

pub(crate) fn fact(world: &World, fact: &Fact) -> String {
    match fact {
        Fact::EpochStarted { .. } => "epoch".to_owned(),
        Fact::JobSubmitted(job) => format!("job {} {}", job.number, job.spec.name),
        Fact::RangeDone(done) => {
            format!("done {} by w{}", tasks(world, done.stage, done.range), done.worker.0)
        }
        Fact::TaskDone(done) => {
            let range = TaskRange::one(u64::from(done.index));
            format!("kept {} by w{}", tasks(world, done.stage, range), done.worker.0)
        }
        Fact::TaskFailed(failed) => {
            let range = TaskRange::one(u64::from(failed.index));
            let last = if failed.last { " for good" } else { "" };
            format!("failed {} {}{last}", tasks(world, failed.stage, range), failed.failure)
        }
        Fact::StageSkipped { stage, because, .. } => {
            let because = StageId { job: stage.job, stage: *because };
            format!("skipped {} because of {}", name(world, *stage), name(world, because))
        }
        Fact::TasksCancelled { stage, range, fence, .. } => {
            format!("cancelled {} fence {}", tasks(world, *stage, *range), token(*fence))
        }
        Fact::TaskLost(lost) => {
            let range = TaskRange::one(u64::from(lost.index));
            let alone = if lost.alone { " alone" } else { "" };
            let last = if lost.last { " for good" } else { "" };
            format!("lost {} with w{}{alone}{last}", tasks(world, lost.stage, range), lost.worker.0)
        }
        Fact::TasksSkipped { stage, range, failed, .. } => {
            format!("left out {} after {failed} failures", tasks(world, *stage, *range))
        }
        Fact::JobEnded { job, state, .. } => format!("job {} {state}", number(world, *job)),
        Fact::TokenCreated(created) => format!("token {}", created.token.0),
        Fact::TokenRevoked { token, .. } => format!("token {} revoked", token.0),
        Fact::WorkerEnrolled { worker, name, .. } => format!("worker {} {name}", worker.0),
        Fact::UserEnrolled { user, name, .. } => format!("user {} {name}", user.0),
        Fact::JobReopened { job, .. } => format!("job {} reopened", number(world, *job)),
        Fact::StageReopened { stage, .. } => format!("stage {} reopened", name(world, *stage)),
        Fact::TasksReopened { stage, range, done_too, fence, .. } => {
            let what = if *done_too { "everything" } else { "what failed" };
            let tasks = tasks(world, *stage, *range);
            format!("reopened {what} of {tasks} fence {}", token(*fence))
        }
        Fact::WorkerDraining { worker, .. } => format!("w{} draining", worker.0),
        Fact::WorkerResumed { worker, .. } => format!("w{} resumed", worker.0),
        Fact::JobForgotten { .. } => "a job forgotten".to_owned(),
        Fact::WorkerAttached { worker, .. } => format!("w{} attached", worker.0),
        Fact::WorkerDetached { worker } => format!("w{} detached", worker.0),
        Fact::LeaseLength { longest_ms } => format!("leases of {longest_ms}"),
        Fact::Watermark { stage, below } => format!("watermark {} {below}", name(world, *stage)),
        Fact::SetBack { is_over } => format!("set back over {is_over}"),
    }
}

/// `1/main 0..5`.
pub(crate) fn tasks(world: &World, stage: StageId, range: TaskRange) -> String {
    format!("{} {range}", name(world, stage))
}

fn name(world: &World, stage: StageId) -> String {
    let Some(job) = world.core.state().job(stage.job) else { return "?".to_owned() };
    let name = &job.spec().stages[usize::try_from(stage.stage.0).unwrap()].name;
    format!("{}/{name}", job.number())
}

fn number(world: &World, job: JobId) -> String {
    world.core.state().job(job).map_or("?".to_owned(), |job| job.number().to_string())
}

fn token(token: Token) -> String {
    format!("t{}", token.counter)
}
