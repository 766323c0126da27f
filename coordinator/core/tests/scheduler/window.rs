//! A restart, and the window after it.

use gridctl_core::event::{Event, Held, Outcome, Phase};
use gridctl_core::scheduler::Config;
use gridctl_core::scheduler::limits::LEASE_MS_MAX;
use gridctl_jobs::id::{Epoch, Token};
use gridctl_jobs::state::TaskState;
use gridctl_jobs::units::Cpus;

use crate::specs::{job, priority, retries, stage, tasks};
use crate::world::{LEASE_MS, World, exit, kept, nth, range};

#[test]
fn what_a_missing_worker_may_run_waits_for_the_end_of_its_lease() {
    let mut world = World::new();
    let (back, missing) = (world.worker(Cpus::whole(1)), world.worker(Cpus::whole(1)));
    world.submit(tasks(2));
    world.restart();
    world.hello(back, Cpus::whole(2), Vec::new());
    assert_eq!(world.granted(), []);
    world.pass(LEASE_MS - 1);
    assert_eq!(world.granted(), []);
    assert_eq!(world.core.next_deadline(), Some(gridctl_core::event::MonoMs(world.now.mono.0 + 1)));
    world.pass(1);
    assert_eq!(world.granted(), [(1, "1/main 0..2".to_owned(), 1)]);
    assert_eq!(world.recorded_of_leases(), [format!("w{} detached", missing.0)]);
}

#[test]
fn the_window_closes_once_everyone_who_held_a_lease_is_back() {
    let mut world = World::new();
    let workers = [world.worker(Cpus::whole(1)), world.worker(Cpus::whole(1))];
    world.submit(tasks(2));
    world.restart();
    world.hello(workers[0], Cpus::whole(1), Vec::new());
    assert_eq!(world.granted(), []);
    world.hello(workers[1], Cpus::whole(1), Vec::new());
    assert_eq!(world.said()[0], "w2: welcome []", "nothing is said before the Welcome");
    assert_eq!(world.granted().len(), 2);
}

#[test]
fn who_left_or_was_lost_before_the_restart_is_not_waited_for() {
    let mut world = World::new();
    let workers = [world.worker(Cpus::whole(1)), world.worker(Cpus::whole(1))];
    world.submit(tasks(2));
    world.step(Event::Goodbye { session: world.session(workers[0]) });
    world.expire(workers[1]);
    world.restart();
    world.hello(workers[0], Cpus::whole(1), Vec::new());
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 2)]);
}

#[test]
fn tasks_above_the_watermark_and_new_jobs_go_at_once() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.worker(Cpus::whole(1));
    world.submit(tasks(1_000));
    let watermark = world.core.state().jobs().next().unwrap().stages()[0].watermark();
    assert!((2..1_000).contains(&watermark), "{watermark}");
    world.restart();
    world.hello(worker, Cpus::whole(1), Vec::new());
    assert_eq!(world.granted(), [(1, format!("1/main {watermark}"), 1)]);
    let other = world.enrolled();
    world.submit(priority(5, tasks(1)));
    world.hello(other, Cpus::whole(1), Vec::new());
    assert_eq!(world.granted(), [(3, "2/main 0".to_owned(), 1)]);
}

#[test]
fn what_comes_free_below_the_watermark_waits_with_the_rest() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(2)), 0);
    let held = world.held(main, range(0, 1), Phase::Running);
    world.restart();
    world.hello(worker, Cpus::whole(2), vec![held]);
    assert_eq!(world.tasks_in(main, TaskState::Running), [0]);
    world.hello(worker, Cpus::whole(2), Vec::new());
    assert_eq!(world.granted(), [], "the missing worker may have it under a later token");
    world.pass(LEASE_MS);
    assert_eq!(world.granted().len(), 2);
}

#[test]
fn a_shorter_lease_waits_for_the_longer_ones_in_force() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.submit(tasks(1));
    world.restart_with(Config::new(LEASE_MS / 5, 7), false);
    let other = world.enrolled();
    world.hello(other, Cpus::whole(1), Vec::new());
    world.pass(LEASE_MS - 1);
    assert_eq!(world.granted(), []);
    world.pass(1);
    assert_eq!(world.granted(), [(other.0, "1/main 0".to_owned(), 1)]);
    let lines = [format!("w{} detached", worker.0), format!("leases of {}", LEASE_MS / 5)];
    assert_eq!(world.recorded_of_leases(), lines);
}

#[test]
fn a_restored_coordinator_grants_nothing_for_the_longest_lease_there_can_be() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    world.submit(tasks(100));
    world.restart_with(Config::new(LEASE_MS, 7), true);
    world.hello(worker, Cpus::whole(2), Vec::new());
    world.submit(tasks(1));
    world.pass(LEASE_MS_MAX / 2);
    assert_eq!(world.granted(), [], "nor a new job");
    // It is not forgotten over a restart.
    world.restart();
    world.hello(worker, Cpus::whole(2), Vec::new());
    world.pass(LEASE_MS_MAX - 1);
    assert_eq!(world.granted(), []);
    world.pass(1);
    assert_eq!(world.granted(), [(1, "1/main 0..2".to_owned(), 1)]);
    world.restart();
    world.hello(worker, Cpus::whole(2), Vec::new());
    assert_eq!(world.granted().len(), 1, "it is over");
}

#[test]
fn a_token_of_an_unknown_epoch_says_once_that_the_coordinator_was_set_back() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(5)), 0);
    let held = world.held(main, range(0, 1), Phase::Running);
    let older = Token { epoch: Epoch(held.token.epoch.0 - 1), counter: 9 };
    world.hello(worker, Cpus::whole(2), vec![Held { token: older, ..held }]);
    assert_eq!(world.recorded_of_leases(), ["set back over false"]);
    assert_eq!(world.granted(), []);
    world.pass(LEASE_MS_MAX);
    assert!(!world.granted().is_empty());
    world.hello(worker, Cpus::whole(2), vec![Held { token: older, ..held }]);
    assert_eq!(world.recorded_of_leases(), [""; 0]);
}

#[test]
fn output_that_a_failure_names_is_found_while_it_waits() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(1, stage("main", 1))])), 0);
    world.worker(Cpus::whole(1));
    let held = world.held(main, range(0, 1), Phase::Finished);
    let failed = Outcome::Failed { failure: exit(1), kept: Some(kept(5)) };
    let failed = world.item(main, range(0, 1), failed);
    world.restart();
    world.hello(worker, Cpus::whole(1), vec![held]);
    world.report(failed);
    assert_eq!(world.core.held_back().collect::<Vec<_>>(), [kept(5)]);
    world.pass(LEASE_MS);
    assert_eq!(world.core.held_back().count(), 0);
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
    world.worker(Cpus::whole(1));
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
    world.worker(Cpus::whole(1));
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
