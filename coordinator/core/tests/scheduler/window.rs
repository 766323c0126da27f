//! A restart, and the window after it.

use gridctl_core::event::{Outcome, Phase};
use gridctl_jobs::state::TaskState;
use gridctl_jobs::units::Cpus;

use crate::specs::{job, retries, stage, tasks};
use crate::world::{LEASE_MS, World, exit, nth, range};

#[test]
fn nothing_is_granted_for_one_lease_after_a_start_that_finds_jobs() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    world.submit(tasks(2));
    world.restart();
    world.hello(worker, Cpus::whole(2), Vec::new());
    world.submit(tasks(1));
    assert_eq!(world.granted(), []);
    world.pass(LEASE_MS - 1);
    assert_eq!(world.granted(), []);
    assert_eq!(world.core.next_deadline(), Some(gridctl_core::event::MonoMs(world.now.mono.0 + 1)));
    world.pass(1);
    assert_eq!(world.granted(), [(1, "1/main 0..2".to_owned(), 1)]);
}

#[test]
fn a_start_that_finds_no_jobs_does_not_wait() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.restart();
    world.hello(worker, Cpus::whole(1), Vec::new());
    world.submit(tasks(1));
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 1)]);
}

#[test]
fn epochs_grow_and_are_recorded_first() {
    let mut world = World::new();
    let first = world.core.epoch();
    assert_eq!(first.0, world.now.wall.0);
    world.now.wall.0 = 5;
    world.restart();
    assert_eq!(world.recorded(), ["epoch"]);
    assert_eq!(world.core.epoch().0, first.0 + 1, "even where the clock went back");
}

#[test]
fn tokens_grow_over_a_restart() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let before = world.held(main, range(0, 1), Phase::Running).token;
    world.restart();
    world.pass(LEASE_MS);
    world.hello(worker, Cpus::whole(1), Vec::new());
    assert!(world.held(main, range(0, 1), Phase::Running).token > before);
}

#[test]
fn in_the_window_successes_commit_and_failures_of_older_epochs_wait() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let main = nth(world.submit(job([retries(1, stage("main", 2))])), 0);
    let held = world.held(main, range(0, 2), Phase::Finished);
    let failed = Outcome::Failed { failure: exit(1), kept: None };
    let failed = world.item(main, range(0, 1), failed);
    let done = world.item(main, range(1, 2), Outcome::Done { kept: None });
    world.restart();
    world.hello(worker, Cpus::whole(2), vec![held]);
    world.report(failed);
    assert_eq!((world.recorded().len(), world.said().len()), (0, 0), "not settled either");
    world.report(done);
    assert_eq!(world.recorded(), ["done 1/main 1 by w1"]);
    assert_eq!(world.said(), [""; 0], "what came before it is not settled");
    world.pass(LEASE_MS);
    assert_eq!(world.recorded(), ["failed 1/main 0 exit 1"]);
    assert_eq!(world.said(), ["w1: settled"]);
}

#[test]
fn a_failure_that_waited_is_void_where_a_later_attempt_turns_up() {
    let mut world = World::new();
    let (one, two) = (world.worker(Cpus::whole(1)), world.enrolled());
    let main = nth(world.submit(job([retries(0, stage("main", 1))])), 0);
    let older = world.held(main, range(0, 1), Phase::Finished);
    let failed = Outcome::Failed { failure: exit(1), kept: None };
    let failed = world.item(main, range(0, 1), failed);
    world.expire(one);
    world.hello(two, Cpus::whole(1), Vec::new());
    let newer = world.held(main, range(0, 1), Phase::Running);
    world.restart();
    world.hello(one, Cpus::whole(1), vec![older]);
    world.report(failed);
    world.hello(two, Cpus::whole(1), vec![newer]);
    world.pass(LEASE_MS);
    assert_eq!(world.recorded(), [""; 0], "the job would have failed");
    assert_eq!(world.said(), ["w1: settled"]);
    assert_eq!(world.tasks_in(main, TaskState::Running), [0]);
}

#[test]
fn a_cancel_in_the_window_stops_what_was_adopted() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(3)), 0);
    let held = world.held(main, range(0, 1), Phase::Running);
    world.restart();
    world.hello(worker, Cpus::whole(1), vec![held]);
    world.cancel(main.job, None, None);
    assert_eq!(world.said()[0], "w1: stop 1/main 0 t1");
    assert_eq!(world.recorded()[1], "job 1 cancelled");
}
