//! Workers that go away, and what becomes of their tasks.

use gridctl_core::activity::WorkerState;
use gridctl_core::effect::{CloseReason, Effect};
use gridctl_core::event::Event;
use gridctl_jobs::id::WorkerId;
use gridctl_jobs::state::TaskState;
use gridctl_jobs::units::Cpus;

use crate::specs::tasks;
use crate::world::{World, nth, range};

fn state(world: &World, worker: WorkerId) -> WorkerState {
    world.core.activity().workers[&worker].state
}

#[test]
fn a_worker_without_connection_keeps_its_tasks_and_gets_no_more() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(5)), 0);
    world.disconnect(worker);
    assert_eq!(state(&world, worker), WorkerState::Suspect);
    assert_eq!(world.tasks_in(main, TaskState::Running), [0, 1]);
    world.submit(tasks(1));
    assert_eq!(world.granted(), []);
}

#[test]
fn a_silent_worker_gets_nothing_new_until_it_is_heard() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let first = world.submit(tasks(1));
    let session = world.session(worker);
    world.step(Event::Silent { session });
    assert_eq!(state(&world, worker), WorkerState::Suspect);
    world.submit(tasks(1));
    assert_eq!(world.granted(), []);
    world.cancel(first, None, None);
    assert_eq!(world.said()[0], "w1: stop 1/main 0 t1", "its connection is there");
    world.step(Event::Heard { session });
    assert_eq!(state(&world, worker), WorkerState::Ready);
    assert_eq!(world.granted(), [(1, "2/main 0".to_owned(), 1)]);
}

#[test]
fn a_heartbeat_that_came_before_the_connection_broke_does_not_make_it_ready() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let session = world.session(worker);
    world.step(Event::Silent { session });
    world.disconnect(worker);
    world.step(Event::Heard { session });
    assert_eq!(state(&world, worker), WorkerState::Suspect);
}

#[test]
fn a_lost_workers_tasks_run_elsewhere_as_their_next_attempt() {
    let mut world = World::new();
    let (lost, other) = (world.worker(Cpus::whole(2)), world.worker(Cpus::whole(2)));
    world.submit(tasks(4));
    world.disconnect(lost);
    world.expire(lost);
    assert_eq!(state(&world, lost), WorkerState::Lost);
    assert!(matches!(&world.effects[..], [Effect::Close { why: CloseReason::LeaseExpired, .. }]));
    let (_, grant) = world.grant_of(nth(world.core.state().jobs().next().unwrap().id(), 0), 0);
    assert_ne!(world.grants[&grant.token].0, lost);
    world.done(grant.stage, grant.range, 1_000_000);
    let again: Vec<(u64, u32)> =
        world.granted().into_iter().map(|(w, _, attempt)| (w, attempt)).collect();
    assert_eq!(again, [(other.0, 2)]);
}

#[test]
fn the_end_of_an_older_sessions_lease_means_nothing() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let old = world.session(worker);
    world.hello(worker, Cpus::whole(1), Vec::new());
    world.step(Event::LeaseExpired { session: old });
    world.step(Event::Disconnected { session: old });
    assert_eq!(state(&world, worker), WorkerState::Ready);
}

#[test]
fn a_worker_that_leaves_in_order_frees_at_once() {
    let mut world = World::new();
    let leaving = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    world.worker(Cpus::whole(1));
    let session = world.session(leaving);
    let (_, grant) = world.grant_of(main, 0);
    world.step(Event::GivenBack {
        session,
        token: grant.token,
        stage: main,
        ranges: vec![range(0, 1)],
    });
    assert_eq!(world.granted(), [(2, "1/main 0".to_owned(), 1)], "never begun: the same attempt");
    world.step(Event::Goodbye { session });
    assert!(!world.core.activity().workers.contains_key(&leaving));
}

#[test]
fn what_a_leaving_worker_forgot_is_given_out_again() {
    let mut world = World::new();
    let leaving = world.worker(Cpus::whole(1));
    world.submit(tasks(1));
    world.worker(Cpus::whole(1));
    world.step(Event::Goodbye { session: world.session(leaving) });
    assert_eq!(world.granted(), [(2, "1/main 0".to_owned(), 2)]);
}

#[test]
fn an_identity_is_in_use_while_another_machine_is_connected_under_it() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.hello_of(worker, [200; 16], Cpus::whole(1), Vec::new());
    let in_use = CloseReason::IdentityInUse { name: "machine".to_owned() };
    assert!(matches!(&world.effects[..], [Effect::Close { why, .. }] if *why == in_use));
    assert_eq!(state(&world, worker), WorkerState::Ready);
    world.disconnect(worker);
    world.hello_of(worker, [200; 16], Cpus::whole(1), Vec::new());
    assert_eq!(world.said(), ["close: Superseded", "w1: welcome []"]);
}

#[test]
fn a_worker_that_nobody_enrolled_is_sent_away() {
    let mut world = World::new();
    world.hello(WorkerId(5), Cpus::whole(1), Vec::new());
    assert_eq!(world.said(), ["close: UnknownWorker"]);
}
