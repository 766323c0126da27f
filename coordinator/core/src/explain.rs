//! Why something waits: pure, for `gridctl explain`.

use gridctl_jobs::id::{StageId, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::reason::{NeededStage, WaitReason};
use gridctl_jobs::spec::{OnLostLease, StageSpec};
use gridctl_jobs::units::Cpus;

use crate::activity::{Activity, WorkerActivity, WorkerState};
use crate::event::MonoMs;
use crate::state::{Job, Stage, State};

/// Workers that one reason names: a line of text.
const NAMED_WORKERS_MAX: usize = 8;

/// Tells every reason why tasks of a stage are not running; empty where none waits, or where they are
/// just on their way.
pub fn why_waiting(
    state: &State,
    activity: &Activity,
    now: MonoMs,
    stage: StageId,
) -> Vec<WaitReason> {
    let Some(job) = state.job(stage.job) else { return Vec::new() };
    let Some(stage) = job.stage(stage.stage) else { return Vec::new() };
    if stage.counts().open() <= activity.running(stage.id()).tasks {
        return Vec::new();
    }
    let spec = spec_of(job, stage);
    if let Some(needs) = unmet_needs(job, spec) {
        return vec![needs];
    }
    let mut reasons = Vec::new();
    let mut waiting =
        stage.counts().open() - activity.granted_tasks(stage.id()).min(stage.counts().open());
    let barred = activity.barred.get(&stage.id()).copied().unwrap_or_default();
    if let Some(until) = activity.window_until.filter(|_| barred.in_window > 0) {
        let remaining_ms = until.0.saturating_sub(now.0);
        reasons.push(if state.leases().is_set_back() {
            WaitReason::SetBack { remaining_ms }
        } else {
            WaitReason::RestartWindow { remaining_ms }
        });
        // As far as they are not held: which of them are is not worth counting.
        waiting = waiting.min(stage.counts().total - barred.in_window.min(stage.counts().total));
    }
    if barred.dying > 0 && waiting > 0 {
        let tasks = barred.dying.min(waiting);
        reasons.push(WaitReason::StillRunsElsewhere { tasks });
        waiting -= tasks;
    }
    if let Some(backoff) = activity.backoff.get(&stage.id()) {
        let next_in_ms = backoff.next.0.saturating_sub(now.0);
        reasons.push(WaitReason::Backoff { tasks: backoff.tasks, next_in_ms });
        waiting -= backoff.tasks.min(waiting);
    }
    if waiting > 0 {
        place_reasons(state, activity, job, stage, waiting, &mut reasons);
    } else if reasons.is_empty() {
        // Granted, and behind other tasks of their worker.
        reasons.push(WaitReason::Busy { wanted: spec.task.cpus, free: most_free(activity) });
    }
    reasons
}

/// What stands between tasks that could be granted and the workers.
fn place_reasons(
    state: &State,
    activity: &Activity,
    job: &Job,
    stage: &Stage,
    waiting: u64,
    reasons: &mut Vec<WaitReason>,
) {
    let wanted = spec_of(job, stage).task.cpus;
    let ready = || in_state(activity, WorkerState::Ready);
    let suspects = in_state(activity, WorkerState::Suspect).count() as u64;
    let draining = draining(activity, wanted);
    if ready().next().is_none() {
        if suspects > 0 {
            reasons.push(WaitReason::Suspect { workers: suspects });
        } else if draining.is_none() {
            reasons.push(WaitReason::NoWorkers);
        }
        reasons.extend(draining);
        return;
    }
    let mut largest = None;
    for (worker, there) in
        activity.workers.iter().filter(|(_, there)| there.state == WorkerState::Ready)
    {
        if largest.is_none_or(|(cpus, _)| there.cpus > cpus) {
            largest = Some((there.cpus, *worker));
        }
    }
    if let Some((largest, largest_worker)) = largest.filter(|(largest, _)| *largest < wanted) {
        reasons.push(WaitReason::TooManyCpus { wanted, largest, largest_worker });
        reasons.extend(draining);
        return;
    }
    if spec_of(job, stage).task.on_lost_lease == OnLostLease::Stop
        && !ready().any(|worker| worker.ends_trees && worker.cpus >= wanted)
    {
        reasons.push(WaitReason::NoTreesEnded { workers: ready().count() as u64 });
        return;
    }
    let refused = unstartable(activity, stage);
    if refused > 0 {
        reasons.push(WaitReason::CouldNotStartHere { tasks: refused });
        if refused >= waiting {
            reasons.extend(draining);
            return;
        }
    }
    let alone = stage
        .suspects_in(TaskRange::new(0, stage.counts().total))
        .filter(|(index, _)| activity.granted_at(stage.id(), *index).is_none())
        .count() as u64;
    if alone > 0 {
        reasons.push(WaitReason::RunsAlone { tasks: alone });
        if alone >= waiting {
            return;
        }
    }
    if let Some(before) = served_before(state, activity, job) {
        reasons.push(WaitReason::Behind { job: before.number(), priority: before.spec().priority });
    }
    let free = most_free(activity);
    if free < wanted {
        reasons.push(WaitReason::Busy { wanted, free });
        reasons.extend(draining);
    }
}

/// Tells which draining workers are large enough for a task.
fn draining(activity: &Activity, wanted: Cpus) -> Option<WaitReason> {
    let able: Vec<WorkerId> = activity
        .workers
        .iter()
        .filter(|(_, there)| there.state == WorkerState::Draining && there.cpus >= wanted)
        .map(|(worker, _)| *worker)
        .collect();
    let count = able.len() as u64;
    let workers = able.into_iter().take(NAMED_WORKERS_MAX).collect();
    (count > 0).then_some(WaitReason::Draining { workers, count })
}

fn spec_of<'a>(job: &'a Job, stage: &Stage) -> &'a StageSpec {
    let place = usize::try_from(stage.id().stage.0).expect("a job has at most 1,024 stages");
    &job.spec().stages[place]
}

fn unmet_needs(job: &Job, spec: &StageSpec) -> Option<WaitReason> {
    let mut stages = Vec::new();
    for index in &spec.needs {
        if let Some(needed) = job.stage(*index).filter(|needed| !needed.has_succeeded()) {
            let name = spec_of(job, needed).name.clone();
            stages.push(NeededStage { name, open: needed.counts().open() });
        }
    }
    (!stages.is_empty()).then_some(WaitReason::Needs { stages })
}

fn in_state(activity: &Activity, state: WorkerState) -> impl Iterator<Item = &WorkerActivity> {
    activity.workers.values().filter(move |worker| worker.state == state)
}

/// The most that one worker has free.
fn most_free(activity: &Activity) -> Cpus {
    in_state(activity, WorkerState::Ready)
        .filter(|worker| !worker.alone)
        .map(|worker| worker.cpus.saturating_sub(worker.reserved))
        .max()
        .unwrap_or(Cpus::ZERO)
}

/// Counts open tasks that none of the connected workers could start.
fn unstartable(activity: &Activity, stage: &Stage) -> u64 {
    let everyone_refused = |refused: &[_]| {
        let mut ready =
            activity.workers.iter().filter(|(_, there)| there.state == WorkerState::Ready);
        ready.all(|(worker, _)| refused.contains(worker))
    };
    stage
        .unstartable_in(TaskRange::new(0, stage.counts().total))
        .filter(|(index, _)| activity.granted_at(stage.id(), *index).is_none())
        .filter(|(_, history)| everyone_refused(history.could_not_start()))
        .count() as u64
}

/// Finds the job that is served next before this one: of higher priority or older, with tasks that wait
/// for a worker.
fn served_before<'a>(state: &'a State, activity: &Activity, job: &Job) -> Option<&'a Job> {
    let rank = |job: &Job| (std::cmp::Reverse(job.spec().priority), job.number());
    state
        .open_jobs()
        .filter(|other| rank(other) < rank(job))
        .filter(|other| other.stages().iter().any(|stage| wants_a_worker(other, stage, activity)))
        .min_by_key(|other| rank(other))
}

fn wants_a_worker(job: &Job, stage: &Stage, activity: &Activity) -> bool {
    let open = stage.counts().open();
    if open == 0 || unmet_needs(job, spec_of(job, stage)).is_some() {
        return false;
    }
    let wanted = spec_of(job, stage).task.cpus;
    let held = activity.granted_tasks(stage.id());
    let later = activity.backoff.get(&stage.id()).map_or(0, |backoff| backoff.tasks);
    open > held + later
        && in_state(activity, WorkerState::Ready).any(|worker| worker.cpus >= wanted)
}
