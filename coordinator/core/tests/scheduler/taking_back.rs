//! Unstarted work moves to workers that have nothing to do.

use gridctl_core::event::Event;
use gridctl_jobs::id::{StageId, WorkerId};
use gridctl_jobs::units::Cpus;

use crate::specs::tasks;
use crate::world::{World, nth, range};

/// One worker with one lane that holds all: task 2 runs and 3 to 9 have not begun, 10 ms each.
fn one_busy_worker(world: &mut World) -> (WorkerId, StageId) {
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(10)), 0);
    world.done(main, range(0, 1), 10_000);
    world.done(main, range(1, 2), 10_000);
    assert_eq!(world.core.activity().granted_tasks(main), 8);
    (worker, main)
}

#[test]
fn half_of_what_has_not_begun_is_asked_back_for_an_idle_worker() {
    let mut world = World::new();
    let (busy, main) = one_busy_worker(&mut world);
    let idle = world.worker(Cpus::whole(1));
    assert_eq!(world.said(), ["w2: welcome []", "w1: give back 4 of 1/main t2"]);
    let (_, grant) = world.grant_of(main, 9);
    world.step(Event::GivenBack {
        session: world.session(busy),
        token: grant.token,
        stage: main,
        ranges: vec![range(6, 10)],
    });
    let granted = world.granted();
    assert!(
        granted.iter().all(|(worker, _, attempt)| (*worker, *attempt) == (idle.0, 1)),
        "{granted:?}"
    );
}

#[test]
fn nothing_is_free_before_it_was_given_back() {
    let mut world = World::new();
    let (busy, main) = one_busy_worker(&mut world);
    world.worker(Cpus::whole(1));
    assert_eq!(world.granted(), []);
    world.pass(60_000);
    assert_eq!((world.granted().len(), world.said().len()), (0, 0), "asked once");
    world.expire(busy);
    assert_eq!(world.granted(), [(2, "1/main 3".to_owned(), 2)], "what was lost goes one by one");
    assert_eq!(world.stage(main).counts().done, 2);
}

#[test]
fn a_worker_that_had_begun_all_is_not_asked_again() {
    let mut world = World::new();
    let (busy, main) = one_busy_worker(&mut world);
    world.worker(Cpus::whole(1));
    let (_, grant) = world.grant_of(main, 9);
    let session = world.session(busy);
    world.step(Event::GivenBack { session, token: grant.token, stage: main, ranges: Vec::new() });
    assert_eq!(world.said(), [""; 0]);
    world.worker(Cpus::whole(1));
    assert_eq!(world.said(), ["w3: welcome []"]);
}

#[test]
fn what_is_over_soon_is_left_where_it_is() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(10)), 0);
    world.done(main, range(0, 1), 100);
    world.worker(Cpus::whole(1));
    assert_eq!(world.said(), ["w2: welcome []"]);
}

#[test]
fn only_what_the_worker_holds_can_be_given_back() {
    let mut world = World::new();
    let (_, main) = one_busy_worker(&mut world);
    let other = world.worker(Cpus::ZERO);
    let (_, grant) = world.grant_of(main, 9);
    let session = world.session(other);
    world.step(Event::GivenBack {
        session,
        token: grant.token,
        stage: main,
        ranges: vec![range(0, 10)],
    });
    assert_eq!(world.core.activity().granted_tasks(main), 8);
}
