//! Stages that need others.

use gridctl_jobs::state::{JobState, TaskState};
use gridctl_jobs::units::Cpus;

use crate::specs::{job, needs, stage};
use crate::world::{World, exit, nth, range};

#[test]
fn a_stage_begins_when_every_task_of_what_it_needs_has_succeeded() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let id = world.submit(job([stage("a", 2), needs([0], stage("b", 1))]));
    assert_eq!(world.granted(), [(1, "1/a 0..2".to_owned(), 1)]);
    world.done(nth(id, 0), range(0, 1), 1_000_000);
    assert_eq!(world.granted(), []);
    world.done(nth(id, 0), range(1, 2), 1_000_000);
    assert_eq!(
        world.said(),
        ["w1: settled", "w1: forget 1/a", "w1: order 1/b", "w1: run 1/b 0 attempt 1 lanes 1 t2"]
    );
}

#[test]
fn what_needs_a_failed_stage_is_skipped_through() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let id = world.submit(job([
        needs([1], stage("c", 5)),
        needs([2], stage("b", 1)),
        stage("a", 1),
        stage("other", 1),
    ]));
    world.failed(nth(id, 2), 0, exit(1));
    assert_eq!(
        world.recorded(),
        [
            "failed 1/a 0 exit 1 for good",
            "skipped 1/b because of 1/a",
            "skipped 1/c because of 1/b"
        ]
    );
    assert_eq!(world.counts(id).skipped, 6);
    assert_eq!(world.tasks_in(nth(id, 0), TaskState::Skipped), [0, 1, 2, 3, 4]);
    assert_eq!(world.job_state(id), JobState::Running, "another stage still runs");
    world.done(nth(id, 3), range(0, 1), 1);
    assert_eq!(world.recorded(), ["done 1/other 0 by w1", "job 1 failed"]);
}

#[test]
fn a_stage_is_skipped_once_one_task_before_it_has_failed() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let id = world.submit(job([stage("a", 3), needs([0], stage("b", 1))]));
    world.failed(nth(id, 0), 0, exit(1));
    assert_eq!(world.recorded()[1], "skipped 1/b because of 1/a");
    assert_eq!(world.granted(), [(1, "1/a 1".to_owned(), 1)], "the rest of a still runs");
}

#[test]
fn an_empty_stage_is_done_at_once() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let id = world.submit(job([stage("a", 0), needs([0], stage("b", 1))]));
    assert_eq!(world.granted(), [(1, "1/b 0".to_owned(), 1)]);
    let empty = world.submit(job([stage("a", 0)]));
    assert_eq!(world.recorded(), ["job 2 test", "job 2 done"]);
    assert_eq!((world.job_state(id), world.job_state(empty)), (JobState::Running, JobState::Done));
}
