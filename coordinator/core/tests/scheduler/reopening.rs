//! Retrying what has ended: a fence for exactly that, budgets that begin anew, and what was skipped waits
//! again.

use gridctl_core::effect::{Refusal, Reply};
use gridctl_core::event::{Caller, Outcome, Phase, Target};
use gridctl_core::fact::UserRole;
use gridctl_core::state::State;
use gridctl_jobs::id::{JobId, JobNumber, StageIndex, UserId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::{JobState, TaskState};
use gridctl_jobs::units::Cpus;

use crate::specs::{job, needs, retries, stage, tasks};
use crate::world::{ADMIN, LEASE_MS, World, could_not_start, exit, kept, nth, range};

const NUMBER: JobNumber = JobNumber(1);

fn target(job: JobId, stage: u32, range: Option<TaskRange>) -> Target {
    Target { job, stage: Some(StageIndex(stage)), range }
}

#[test]
fn what_failed_runs_again_and_the_job_goes_on() {
    let mut world = World::new();
    world.worker(Cpus::whole(3));
    let main = nth(world.submit(tasks(3)), 0);
    world.failed(main, 1, exit(1));
    world.done(main, range(0, 1), 1);
    world.done(main, range(2, 3), 1);
    assert_eq!(world.job_state(main.job), JobState::Failed);
    world.retry(main.job);
    assert_eq!(
        world.recorded(),
        ["job 1 reopened", "reopened what failed of 1/main 0..3 fence t2"]
    );
    assert_eq!(
        world.said(),
        [
            "reply: Retried { number: JobNumber(1), tasks: 1 }",
            "w1: order 1/main",
            "w1: run 1/main 1 attempt 2 lanes 1 t3"
        ]
    );
    assert_eq!(world.job_state(main.job), JobState::Running);
    assert_eq!(world.core.state().job(main.job).unwrap().finished_at(), None);
    let counts = world.counts(main.job);
    assert_eq!((counts.done, counts.running, counts.failed), (2, 1, 0));
    world.done(main, range(1, 2), 1);
    assert_eq!(world.recorded(), ["done 1/main 1 by w1", "job 1 done"]);
}

#[test]
fn nothing_granted_before_a_retry_ever_commits() {
    let mut world = World::new();
    let slow = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let late = world.item(main, range(0, 1), Outcome::Done { kept: None });
    let held = world.held(main, range(0, 1), Phase::Running);
    world.expire(slow);
    let other = world.worker(Cpus::whole(1));
    let again = world.item(main, range(0, 1), Outcome::Done { kept: None });
    world.done(main, range(0, 1), 1);
    world.retry_all(main.job);
    world.report_by(other, again);
    assert!(world.facts.is_empty(), "the committed result, once more");
    world.hello(slow, Cpus::whole(1), vec![held]);
    assert_eq!(world.said()[0], "w1: welcome [Void 1/main 0]");
    world.report_by(slow, late);
    assert!(world.facts.is_empty(), "the late result of a worker that was lost");
    world.restart();
    world.hello(slow, Cpus::whole(1), vec![held]);
    assert_eq!(world.said()[0], "w1: welcome [Void 1/main 0]");
    assert_eq!(world.counts(main.job).done, 0);
}

#[test]
fn budgets_begin_anew_and_attempts_count_on() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(1, stage("main", 1))])), 0);
    world.failed(main, 0, exit(1));
    world.pass(2_000);
    world.failed(main, 0, exit(1));
    assert_eq!(world.job_state(main.job), JobState::Failed);
    world.retry(main.job);
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 3)]);
    assert_eq!(world.stage(main).history(0).unwrap().spent(), 0);
    world.failed(main, 0, exit(1));
    assert_eq!(world.recorded(), ["failed 1/main 0 exit 1"], "not for good");
    world.restart();
    world.pass(LEASE_MS);
    world.hello(gridctl_jobs::id::WorkerId(1), Cpus::whole(1), Vec::new());
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 4)]);
    world.failed(main, 0, exit(1));
    assert_eq!(world.recorded(), ["failed 1/main 0 exit 1 for good", "job 1 failed"]);
}

#[test]
fn a_worker_that_could_not_start_it_is_tried_again() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    world.failed(main, 0, could_not_start());
    assert_eq!(world.job_state(main.job), JobState::Failed);
    world.retry(main.job);
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 2)]);
}

#[test]
fn what_was_running_when_it_was_cancelled_has_had_its_attempt() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(4)), 0);
    world.cancel(main.job, None, None);
    assert_eq!(world.job_state(main.job), JobState::Cancelled);
    world.retry(main.job);
    assert_eq!(*world.reply(), Reply::Retried { number: NUMBER, tasks: 4 });
    assert_eq!(world.granted(), [(1, "1/main 0..2".to_owned(), 2)]);
    assert_eq!(world.task(main, 1).attempts, 2);
    world.done(main, range(0, 2), 10_000_000);
    assert_eq!(world.granted(), [(1, "1/main 2..4".to_owned(), 1)]);
}

#[test]
fn what_was_skipped_because_of_it_waits_again() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let id = world.submit(job([
        stage("a", 2),
        needs([0], stage("b", 3)),
        needs([1], stage("c", 4)),
        stage("d", 0),
    ]));
    world.failed(nth(id, 0), 0, exit(1));
    world.done(nth(id, 0), range(1, 2), 1);
    assert_eq!(world.job_state(id), JobState::Failed);
    assert_eq!(world.counts(id).skipped, 7);
    world.retry(id);
    assert_eq!(
        world.recorded(),
        [
            "job 1 reopened",
            "reopened what failed of 1/a 0..2 fence t2",
            "stage 1/b reopened",
            "stage 1/c reopened"
        ]
    );
    assert_eq!(*world.reply(), Reply::Retried { number: NUMBER, tasks: 8 });
    assert_eq!(world.counts(id).skipped, 0);
    world.done(nth(id, 0), range(0, 1), 1);
    assert_eq!(world.granted(), [(1, "1/b 0..2".to_owned(), 1)]);
}

#[test]
fn what_still_cannot_run_stays_skipped() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let id = world.submit(job([stage("a", 2), needs([0], stage("b", 3))]));
    world.failed(nth(id, 0), 0, exit(1));
    world.failed(nth(id, 0), 1, exit(1));
    world.retry_as(ADMIN, target(id, 1, None), false);
    let (stage, because) = ("b".to_owned(), "a".to_owned());
    let skipped = Refusal::StillSkipped { number: NUMBER, stage, because };
    assert_eq!(*world.reply(), Reply::Refused(skipped));
    world.retry_as(ADMIN, target(id, 0, Some(range(1, 2))), false);
    assert_eq!(*world.reply(), Reply::Retried { number: NUMBER, tasks: 1 });
    assert_eq!((world.counts(id).failed, world.counts(id).skipped), (1, 3));
    world.done(nth(id, 0), range(1, 2), 1);
    assert_eq!(world.job_state(id), JobState::Failed);
}

#[test]
fn a_stage_that_runs_takes_its_failed_tasks_back() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(3)), 0);
    world.failed(main, 0, exit(1));
    world.retry(main.job);
    assert_eq!(world.recorded(), ["reopened what failed of 1/main 0..3 fence t3"]);
    assert_eq!(world.tasks_in(main, TaskState::Running), [1], "what runs is left alone");
    world.done(main, range(1, 2), 10_000_000);
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 2)]);
}

#[test]
fn with_all_what_is_done_runs_again_and_its_results_are_gone() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(2)), 0);
    let item = world.item(main, range(0, 1), Outcome::Done { kept: Some(kept(1)) });
    world.report(item);
    world.done(main, range(1, 2), 1);
    assert!(world.task(main, 0).kept.is_some());
    world.retry(main.job);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NothingToRetry { number: NUMBER }));
    assert!(world.facts.is_empty());
    world.retry_all(main.job);
    assert_eq!(*world.reply(), Reply::Retried { number: NUMBER, tasks: 2 });
    assert_eq!(world.granted(), [(1, "1/main 0..2".to_owned(), 2)]);
    let task = world.task(main, 0);
    assert_eq!((task.kept, task.state, task.attempts), (None, TaskState::Running, 2));
    world.retry_all(main.job);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NothingEnded { number: NUMBER }));
}

#[test]
fn what_a_running_stage_reads_is_left_alone() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let id = world.submit(job([stage("a", 1), needs([0], stage("b", 2))]));
    world.done(nth(id, 0), range(0, 1), 10_000_000);
    world.done(nth(id, 1), range(0, 1), 10_000_000);
    world.retry_as(ADMIN, target(id, 0, None), true);
    let user = "b".to_owned();
    assert_eq!(*world.reply(), Reply::Refused(Refusal::InUse { number: NUMBER, user }));
    world.retry_all(id);
    assert_eq!(*world.reply(), Reply::Retried { number: NUMBER, tasks: 1 });
    assert_eq!(world.counts(id).done, 1);
    world.done(nth(id, 1), range(1, 2), 10_000_000);
    world.done(nth(id, 1), range(0, 1), 10_000_000);
    assert_eq!(world.job_state(id), JobState::Done);
    world.retry_as(ADMIN, target(id, 0, None), true);
    assert_eq!(*world.reply(), Reply::Retried { number: NUMBER, tasks: 1 });
}

#[test]
fn a_second_retry_of_the_same_does_no_harm() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    world.failed(main, 0, exit(1));
    world.retry(main.job);
    world.retry(main.job);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NothingToRetry { number: NUMBER }));
    assert!(world.facts.is_empty());
    world.done(main, range(0, 1), 1);
    assert_eq!(world.job_state(main.job), JobState::Done);
}

#[test]
fn facts_of_a_retry_that_come_again_change_nothing() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let id = world.submit(job([stage("a", 2), needs([0], stage("b", 1))]));
    let mut facts = world.facts.clone();
    let main = nth(id, 0);
    world.failed(main, 0, exit(1));
    facts.extend(world.facts.clone());
    world.done(main, range(1, 2), 1);
    facts.extend(world.facts.clone());
    world.retry(id);
    facts.extend(world.facts.clone());
    world.failed(main, 0, exit(2));
    facts.extend(world.facts.clone());
    let state: &State = world.core.state();
    let mut again = state.clone();
    facts.iter().for_each(|fact| again.apply(fact));
    assert_eq!(again.job(id), state.job(id));
}

#[test]
fn only_owners_and_admins_retry_and_only_what_is_there() {
    let mut world = World::new();
    let ann = Caller { user: UserId(1), role: UserRole::User };
    let bob = Caller { user: UserId(2), role: UserRole::User };
    let id = JobId(uuid::Uuid::from_u128(77));
    world.submit_as(ann, id, [1; 32], tasks(2));
    world.cancel_as(ann, id, None, None);
    let whole = Target { job: id, stage: None, range: None };
    world.retry_as(bob, whole, false);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NotYours { number: NUMBER }));
    world.retry_as(ann, target(id, 0, Some(range(1, 3))), false);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NoSuchTask { number: NUMBER }));
    world.retry_as(ann, whole, false);
    assert_eq!(*world.reply(), Reply::Retried { number: NUMBER, tasks: 2 });
    world.retry(JobId(uuid::Uuid::from_u128(78)));
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NoSuchJob));
}

#[test]
fn four_billion_tasks_are_reopened_as_a_range() {
    let mut world = World::new();
    let id = world.submit(tasks(1 << 32));
    world.cancel(id, None, None);
    world.retry(id);
    assert_eq!(world.facts.len(), 2);
    assert_eq!(world.counts(id).waiting, 1 << 32);
}

#[test]
fn tasks_that_failed_alike_are_granted_together() {
    let mut world = World::new();
    world.worker(Cpus::whole(8));
    let main = nth(world.submit(tasks(8)), 0);
    (0..8).for_each(|index| world.failed(main, index, exit(1)));
    world.retry(main.job);
    assert_eq!(world.granted(), [(1, "1/main 0..8".to_owned(), 2)]);
}

#[test]
fn a_full_grid_does_not_take_an_ended_job_back() {
    let config = gridctl_core::scheduler::Config {
        open_jobs_max: 1,
        ..gridctl_core::scheduler::Config::new(LEASE_MS, 7)
    };
    let mut world = World::with(config);
    let id = world.submit(tasks(1));
    world.cancel(id, None, None);
    world.submit(tasks(1));
    world.retry(id);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::TooManyJobs { max: 1 }));
}
