//! Draining: finish what runs within the grace, give back the rest, say goodbye.

use gridctl_jobs::range::TaskRange;
use gridctl_transport::message::worker::{CoordinatorMessage, WorkerMessage};

use super::world::{GRACE_MS, LONG_NS, World, noops, sleepers};
use crate::agent::{AgentEvent, AgentExit};

fn is_goodbye(message: &WorkerMessage) -> bool {
    matches!(message, WorkerMessage::Goodbye)
}

#[test]
fn an_idle_worker_says_goodbye_at_once() {
    let mut world = World::connected(1);
    world.happens(AgentEvent::Drain);
    assert!(world.said().iter().any(is_goodbye));
    assert_eq!(world.exit(), Some(AgentExit::Drained));
}

#[test]
fn what_runs_is_finished_and_settled_before_the_goodbye() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 5, 1);
    let slices = world.slices();
    world.happens(AgentEvent::Drain);
    world.finish(slices[0].0, LONG_NS);
    assert!(world.slices().is_empty(), "nothing new begins");
    world.wait(10);
    assert_eq!(world.exit(), None, "the result is not settled");
    world.said();
    world.hear(CoordinatorMessage::Settled { up_to: 1 });
    let said = world.said();
    assert!(matches!(&said[0], WorkerMessage::GivenBack { ranges, .. }
        if *ranges == [TaskRange::new(1, 5)]));
    assert!(is_goodbye(&said[1]));
    assert_eq!(world.exit(), Some(AgentExit::Drained));
}

#[test]
fn what_runs_longer_than_the_grace_is_ended_and_given_back() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    let slice = world.slices()[0].0;
    world.happens(AgentEvent::Drain);
    world.wait_connected(GRACE_MS);
    assert_eq!(world.cancelled(), [(slice, TaskRange::one(0))]);
    assert_eq!(world.exit(), None, "it is not gone yet");
    world.said();
    world.happens(AgentEvent::Returned { slice });
    let said = world.said();
    assert!(matches!(&said[0], WorkerMessage::GivenBack { ranges, .. }
        if *ranges == [TaskRange::one(0)]));
    assert!(is_goodbye(&said[1]));
}

#[test]
fn a_function_that_does_not_return_does_not_hold_the_worker() {
    let mut world = World::connected(1);
    world.grant(noops(), 1, 0, 1, 1);
    world.slices();
    world.happens(AgentEvent::Drain);
    world.wait_connected(GRACE_MS);
    assert_eq!(world.exit(), Some(AgentExit::Drained));
}

#[test]
fn results_that_nobody_took_are_counted() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    let slices = world.slices();
    world.break_link();
    world.happens(AgentEvent::Drain);
    world.finish(slices[0].0, LONG_NS);
    world.wait(GRACE_MS);
    assert_eq!(world.exit(), Some(AgentExit::Undelivered { tasks: 1 }));
}

#[test]
fn the_tail_of_a_slice_is_not_begun_while_draining() {
    let mut world = World::connected(1);
    world.grant(noops(), 1, 0, 1, 1);
    let first = world.slices();
    world.finish(first[0].0, 100);
    world.wait(5);
    world.hear(CoordinatorMessage::Settled { up_to: 1 });
    world.grant(noops(), 2, 1, 9, 1);
    let slice = world.slices()[0].0;
    world.happens(AgentEvent::Drain);
    assert_eq!(world.asked_to_reclaim(), [slice]);
    world.reclaimed(slice, 2);
    world.done(slice, TaskRange::one(1), 100);
    world.happens(AgentEvent::Returned { slice });
    world.wait(5);
    world.said();
    world.hear(CoordinatorMessage::Settled { up_to: 2 });
    assert!(matches!(&world.said()[0], WorkerMessage::GivenBack { ranges, .. }
        if *ranges == [TaskRange::new(2, 9)]));
}

#[test]
fn a_worker_that_has_no_coordinator_and_nothing_to_tell_just_goes() {
    let mut world = World::fresh(1);
    world.happens(AgentEvent::Start);
    world.happens(AgentEvent::Drain);
    assert_eq!(world.exit(), Some(AgentExit::Drained));
}
