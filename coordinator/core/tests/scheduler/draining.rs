//! Draining a worker, and resuming it.

use gridctl_core::activity::WorkerState;
use gridctl_core::effect::{Refusal, Reply};
use gridctl_core::event::{Caller, Event, Phase, RequestId};
use gridctl_core::fact::UserRole;
use gridctl_jobs::id::{UserId, WorkerId};
use gridctl_jobs::units::Cpus;

use crate::specs::tasks;
use crate::world::{World, nth, range};

fn state(world: &World, worker: WorkerId) -> WorkerState {
    world.core.activity().workers[&worker].state
}

#[test]
fn a_draining_worker_gives_back_what_it_has_not_begun_and_gets_nothing_new() {
    let mut world = World::new();
    let one = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(50)), 0);
    world.done(main, range(0, 1), 1_000);
    assert_eq!(world.said(), ["w1: settled", "w1: run 1/main 1..10 attempt 1 lanes 1 t2"]);
    world.drain(one);
    assert_eq!(world.recorded(), ["w1 draining"]);
    let name = "machine".to_owned();
    let draining = Reply::WorkerDraining { worker: one, name, running: 1, new: true };
    assert_eq!(*world.reply(), draining);
    assert_eq!(world.said()[0], format!("w1: give back {} of 1/main t2", u64::MAX));
    assert_eq!(state(&world, one), WorkerState::Draining);

    let (session, token) = (world.session(one), world.grant_of(main, 1).1.token);
    let ranges = vec![range(2, 10)];
    world.step(Event::GivenBack { session, token, stage: main, ranges });
    assert_eq!(world.granted(), []);
    world.done(main, range(1, 2), 1_000);
    assert_eq!(world.said(), ["w1: settled"]);
    let two = world.worker(Cpus::whole(1));
    assert_eq!(world.granted()[0], (two.0, "1/main 2..10".to_owned(), 1));
}

#[test]
fn draining_holds_over_restarts_of_both_sides_until_it_is_resumed() {
    let mut world = World::new();
    let one = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(3)), 0);
    let held = world.held(main, range(0, 1), Phase::Running);
    world.drain(one);
    world.restart();
    world.hello(one, Cpus::whole(1), vec![held]);
    assert_eq!(state(&world, one), WorkerState::Draining);
    world.pass(crate::world::LEASE_MS);
    assert_eq!(world.granted(), []);
    world.hello(one, Cpus::whole(1), Vec::new());
    assert_eq!(world.granted(), []);
    world.resume(one);
    assert_eq!(world.recorded(), ["w1 resumed"]);
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 2)]);
    assert_eq!(state(&world, one), WorkerState::Ready);
}

#[test]
fn what_a_draining_worker_announces_as_not_begun_is_asked_back() {
    let mut world = World::new();
    let one = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let held = world.held(main, range(0, 1), Phase::Queued);
    world.disconnect(one);
    world.drain(one);
    world.hello(one, Cpus::whole(1), vec![held]);
    let asked = format!("w1: give back {} of 1/main t1", u64::MAX);
    assert!(world.said().contains(&asked), "{:?}", world.said());
}

#[test]
fn draining_and_resuming_twice_changes_nothing() {
    let mut world = World::new();
    let one = world.worker(Cpus::whole(1));
    world.drain(one);
    world.drain(one);
    assert!(world.facts.is_empty());
    assert!(matches!(world.reply(), Reply::WorkerDraining { new: false, .. }));
    world.resume(one);
    assert!(matches!(world.reply(), Reply::WorkerResumed { new: true, .. }));
    world.resume(one);
    assert!(world.facts.is_empty());
    assert!(matches!(world.reply(), Reply::WorkerResumed { new: false, .. }));
}

#[test]
fn only_admins_drain_workers_and_only_those_there_are() {
    let mut world = World::new();
    let one = world.worker(Cpus::whole(1));
    let caller = Caller { user: UserId(1), role: UserRole::User };
    let request = RequestId(world.number());
    world.step(Event::DrainWorker { request, caller, worker: one });
    assert_eq!(*world.reply(), Reply::Refused(Refusal::AdminOnly));
    world.step(Event::ResumeWorker { request, caller, worker: one });
    assert_eq!(*world.reply(), Reply::Refused(Refusal::AdminOnly));
    world.drain(WorkerId(9));
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NoSuchWorker));
}

#[test]
fn a_draining_worker_is_no_hope_for_what_could_not_start() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let two = world.worker(Cpus::whole(1));
    world.drain(two);
    let main = nth(world.submit(tasks(1)), 0);
    world.failed(main, 0, crate::world::could_not_start());
    assert_eq!(world.recorded()[0], "failed 1/main 0 could not start: not found for good");
}
