//! Stages whose tasks never run twice at once.

use gridctl_core::activity::WorkerState;
use gridctl_core::effect::CloseReason;
use gridctl_core::event::{Event, Outcome, Phase};
use gridctl_core::explain::why_waiting;
use gridctl_jobs::id::{StageId, WorkerId};
use gridctl_jobs::reason::WaitReason;
use gridctl_jobs::units::Cpus;

use crate::specs::{job, retries, stage, stops, tasks};
use crate::world::{LEASE_MS, World, exit, nth, range};

/// A tenth of a lease, and the time that killing takes.
const MARGIN_MS: u64 = LEASE_MS / 10 + 250;

fn two_workers() -> (World, WorkerId, WorkerId, StageId) {
    let mut world = World::new();
    let one = world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([stops(stage("main", 1))])), 0);
    let two = world.worker(Cpus::whole(1));
    (world, one, two, main)
}

fn given_back(world: &mut World, worker: WorkerId, stage: StageId) {
    let (_, grant) = world.grant_of(stage, 0);
    let session = world.session(worker);
    let ranges = vec![range(0, 1)];
    world.step(Event::GivenBack { session, token: grant.token, stage, ranges });
}

#[test]
fn a_lost_workers_task_runs_elsewhere_only_once_it_is_surely_dead() {
    let (mut world, one, two, main) = two_workers();
    world.disconnect(one);
    world.expire(one);
    assert_eq!(world.core.activity().workers[&one].state, WorkerState::Lost);
    assert_eq!(world.granted(), []);
    let waits = why_waiting(world.core.state(), world.core.activity(), world.now.mono, main);
    assert_eq!(waits, [WaitReason::StillRunsElsewhere { tasks: 1 }]);
    world.pass(MARGIN_MS - 1);
    assert_eq!(world.granted(), []);
    assert_eq!(world.core.next_deadline().unwrap().0, world.now.mono.0 + 1);
    world.pass(1);
    assert_eq!(world.granted(), [(two.0, "1/main 0".to_owned(), 2)]);
    assert_eq!(world.recorded_of_leases(), [format!("w{} detached", one.0)]);
}

#[test]
fn a_restart_in_the_margin_still_waits_for_the_lost_worker() {
    let (mut world, one, two, _) = two_workers();
    world.expire(one);
    world.restart();
    world.hello(two, Cpus::whole(1), Vec::new());
    assert_eq!(world.granted(), []);
    world.pass(LEASE_MS + MARGIN_MS - 1);
    assert_eq!(world.granted(), []);
    world.pass(1);
    assert_eq!(world.granted(), [(two.0, "1/main 0".to_owned(), 2)]);
}

#[test]
fn what_fails_while_another_is_to_end_an_older_attempt_waits_for_that() {
    let mut world = World::new();
    let one = world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([stops(retries(2, stage("main", 1)))])), 0);
    let two = world.worker(Cpus::whole(1));
    let held = world.held(main, range(0, 1), Phase::Running);
    world.expire(one);
    world.pass(MARGIN_MS);
    assert_eq!(world.granted(), [(two.0, "1/main 0".to_owned(), 2)]);
    world.hello(one, Cpus::whole(1), vec![held]);
    world.failed(main, 0, exit(1));
    world.pass(60_000);
    assert_eq!(world.granted(), []);
    let session = world.session(one);
    let ranges = vec![range(0, 1)];
    world.step(Event::GivenBack { session, token: held.token, stage: main, ranges });
    assert_eq!(world.granted(), [(one.0, "1/main 0".to_owned(), 3)]);
}

#[test]
fn it_is_placed_only_where_whole_trees_can_be_ended() {
    let mut world = World::new();
    let worker = world.enrolled();
    world.hello_without_trees(worker, Cpus::whole(2));
    let main = nth(world.submit(job([stops(stage("main", 1))])), 0);
    world.submit(tasks(1));
    assert_eq!(world.granted(), [(1, "2/main 0".to_owned(), 1)]);
    let waits = why_waiting(world.core.state(), world.core.activity(), world.now.mono, main);
    assert_eq!(waits, [WaitReason::NoTreesEnded { workers: 1 }]);
    world.worker(Cpus::whole(1));
    assert_eq!(world.granted(), [(2, "1/main 0".to_owned(), 1)]);
}

#[test]
fn after_a_cancel_a_retry_waits_until_the_worker_says_that_it_has_ended() {
    let (mut world, one, two, main) = two_workers();
    world.cancel(main.job, None, None);
    assert_eq!(world.said()[0], "w1: stop 1/main 0 t1");
    world.retry(main.job);
    assert_eq!(world.granted(), []);
    given_back(&mut world, one, main);
    assert_eq!(world.granted().len(), 1);
    assert_ne!(world.granted()[0].2, 1, "it has been tried before");
    let _ = two;
}

#[test]
fn after_a_cancel_a_retry_waits_for_the_end_of_a_worker_that_says_nothing() {
    let (mut world, one, two, main) = two_workers();
    world.cancel(main.job, None, None);
    world.retry(main.job);
    world.pass(10 * LEASE_MS);
    assert_eq!(world.granted(), [], "as long as its lease is renewed it may run");
    world.expire(one);
    world.pass(MARGIN_MS);
    assert_eq!(world.granted(), [(two.0, "1/main 0".to_owned(), 2)]);
}

#[test]
fn what_a_worker_announces_and_may_not_go_on_with_is_waited_for() {
    let (mut world, one, _, main) = two_workers();
    let held = world.held(main, range(0, 1), Phase::Running);
    world.cancel(main.job, None, None);
    world.hello(one, Cpus::whole(1), vec![held]);
    assert_eq!(world.said()[1], "w1: welcome [Void 1/main 0]");
    world.retry(main.job);
    assert_eq!(world.granted(), []);
    world.hello(one, Cpus::whole(1), Vec::new());
    assert_eq!(world.granted().len(), 1, "it came back without it");
}

#[test]
fn a_task_that_is_killed_with_its_lease_and_given_back_runs_again_at_once() {
    let (mut world, one, two, main) = two_workers();
    given_back(&mut world, one, main);
    assert_eq!(world.granted().len(), 1);
    let _ = two;
}

#[test]
fn a_late_result_of_a_lost_worker_counts() {
    let (mut world, one, _, main) = two_workers();
    let item = world.item(main, range(0, 1), Outcome::Done { kept: None });
    let held = world.held(main, range(0, 1), Phase::Finished);
    world.expire(one);
    world.hello(one, Cpus::whole(1), vec![held]);
    world.report_by(one, item);
    assert_eq!(world.recorded(), ["done 1/main 0 by w1", "job 1 done"]);
}

#[test]
fn a_new_process_waits_for_the_lease_of_the_one_before() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    world.hello_of_process(worker, 2, false);
    assert_eq!(world.said(), ["close: LeaseRuns"]);
    assert!(
        matches!(world.effects[0], gridctl_core::effect::Effect::Close { ref why, .. } if *why == CloseReason::LeaseRuns)
    );
    world.expire(worker);
    world.hello_of_process(worker, 2, false);
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 2)]);
    let _ = main;
}

#[test]
fn a_new_process_after_one_that_is_surely_gone_voids_its_grants_at_once() {
    for stop in [false, true] {
        let mut world = World::new();
        let worker = world.worker(Cpus::whole(1));
        let stage = stage("main", 1);
        world.submit(job([if stop { stops(stage) } else { stage }]));
        world.hello_of_process(worker, 2, true);
        assert_eq!(world.said()[..2], ["close: Superseded", "w1: welcome []"]);
        assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 2)]);
    }
}

#[test]
fn a_new_process_after_a_restart_is_held_to_the_same() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.submit(tasks(1));
    world.restart();
    world.hello_of_process(worker, 2, false);
    assert_eq!(world.said(), ["close: LeaseRuns"]);
    world.hello_of_process(worker, 3, true);
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 1)]);
}

#[test]
fn a_late_hello_of_a_dead_process_supersedes_nobody() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.submit(tasks(1));
    world.hello_of_process(worker, 3, true);
    world.hello_of_process(worker, 2, true);
    assert_eq!(world.said(), ["close: Superseded"]);
    assert_eq!(world.core.activity().workers[&worker].state, WorkerState::Ready);
}

#[test]
fn a_late_hello_of_an_abandoned_connection_supersedes_nobody() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.hello_on_connection(worker, 0);
    assert_eq!(world.said(), ["close: Superseded"]);
}

#[test]
fn a_new_process_need_not_wait_where_the_one_before_held_nothing() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.hello_of_process(worker, 2, false);
    assert_eq!(world.said(), ["close: Superseded", "w1: welcome []"]);
}
