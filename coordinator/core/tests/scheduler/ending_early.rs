//! `max_failures`: a stage ends early.

use gridctl_core::effect::{Effect, ToWorker};
use gridctl_core::event::{Event, Phase};
use gridctl_jobs::spec::StageSpec;
use gridctl_jobs::state::{JobState, TaskState};
use gridctl_jobs::units::Cpus;

use crate::specs::{budget, job, needs, retries, stage, tasks};
use crate::world::{LEASE_MS, World, exit, nth, range};

fn max_failures(failures: u64, stage: StageSpec) -> StageSpec {
    budget(|budget| budget.max_failures = Some(failures), stage)
}

#[test]
fn what_has_not_begun_is_skipped_and_what_runs_goes_on() {
    let mut world = World::new();
    world.worker(Cpus::whole(3));
    let main = nth(world.submit(job([max_failures(2, stage("main", 100))])), 0);
    world.failed(main, 0, exit(1));
    assert_eq!(world.recorded(), ["failed 1/main 0 exit 1 for good"]);
    world.failed(main, 1, exit(1));
    assert_eq!(
        world.recorded(),
        ["failed 1/main 1 exit 1 for good", "left out 1/main 4..100 after 2 failures"]
    );
    assert_eq!(world.tasks_in(main, TaskState::Running), [2, 3]);
    assert_eq!(
        (world.counts(main.job).skipped, world.job_state(main.job)),
        (96, JobState::Running)
    );
    world.done(main, range(2, 3), 1);
    world.failed(main, 3, exit(1));
    assert_eq!(world.recorded(), ["failed 1/main 3 exit 1 for good", "job 1 failed"]);
    let ended = world.stage(main).ended_early().unwrap();
    assert_eq!(ended.failed, 2);
    assert_eq!(world.tasks_in(main, TaskState::Skipped)[..2], [4, 5]);
}

#[test]
fn what_waits_for_a_retry_is_skipped_too() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let spec = max_failures(1, retries(1, stage("main", 3)));
    let main = nth(world.submit(job([spec])), 0);
    world.failed(main, 0, exit(1));
    world.failed(main, 1, exit(1));
    world.pass(60_000);
    world.done(main, range(2, 3), 60_000_000);
    world.failed(main, world.tasks_in(main, TaskState::Running)[0], exit(1));
    assert_eq!(world.recorded().last().unwrap(), "job 1 failed");
    let counts = world.counts(main.job);
    assert_eq!((counts.done, counts.failed, counts.skipped), (1, 1, 1));
}

#[test]
fn what_workers_have_not_begun_is_asked_back_and_skipped() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([max_failures(1, stage("main", 10))])), 0);
    world.done(main, range(0, 1), 10_000);
    let held = world.core.activity().granted[&main].clone();
    assert!(held.values().all(|piece| piece.end == 10), "{held:?}");
    world.failed(main, 1, exit(1));
    let asked = world.effects.iter().find_map(|effect| match effect {
        Effect::Send { message: ToWorker::TakeBack { token, tasks, .. }, .. } => {
            Some((*token, *tasks))
        }
        _ => None,
    });
    let (token, tasks) = asked.expect("asked back");
    assert_eq!(tasks, 8);
    let session = world.session(worker);
    let ranges = vec![range(3, 10)];
    world.step(Event::GivenBack { session, token, stage: main, ranges });
    assert_eq!(world.recorded(), ["left out 1/main 3..10 after 1 failures"]);
    world.done(main, range(2, 3), 10_000);
    assert_eq!(world.recorded(), ["done 1/main 2 by w1", "job 1 failed"]);
}

#[test]
fn stages_that_need_one_that_ended_early_are_skipped_and_the_others_go_on() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let spec = job([max_failures(1, stage("a", 2)), needs([0], stage("b", 1)), stage("c", 1)]);
    let id = world.submit(spec);
    world.failed(nth(id, 0), 0, exit(1));
    assert_eq!(
        world.recorded(),
        [
            "failed 1/a 0 exit 1 for good",
            "left out 1/a 1 after 1 failures",
            "skipped 1/b because of 1/a"
        ]
    );
    world.done(nth(id, 2), range(0, 1), 1);
    assert_eq!(world.job_state(id), JobState::Failed);
}

#[test]
fn a_stage_that_ended_early_stays_ended_over_a_restart() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let main = nth(world.submit(job([max_failures(1, stage("main", 9))])), 0);
    let held = world.held(main, range(1, 2), Phase::Running);
    world.failed(main, 0, exit(1));
    world.restart();
    world.hello(worker, Cpus::whole(2), vec![held]);
    assert_eq!(world.tasks_in(main, TaskState::Running), [1]);
    world.done(main, range(1, 2), 1);
    assert_eq!(world.job_state(main.job), JobState::Failed);
    // One whose worker does not come back is skipped once it can be running nowhere.
    let other = nth(world.submit(job([max_failures(1, stage("main", 9))])), 0);
    world.pass(LEASE_MS);
    world.failed(other, 0, exit(1));
    world.restart();
    assert_eq!(world.counts(other.job).skipped, 7);
    world.pass(LEASE_MS);
    assert_eq!(
        (world.counts(other.job).skipped, world.job_state(other.job)),
        (8, JobState::Failed)
    );
    world.hello(worker, Cpus::whole(2), Vec::new());
    assert_eq!(world.granted(), []);
    let after = nth(world.submit(tasks(1)), 0);
    world.done(after, range(0, 1), 1);
    assert_eq!(world.job_state(after.job), JobState::Done);
}
