//! Stop: tasks end wherever they are, and nothing is reported of them.

use gridctl_jobs::range::TaskRange;
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::worker::Outcome;

use super::world::{LONG_NS, World, noops, sleepers};
use crate::agent::AgentEvent;

#[test]
fn a_stop_reaches_queues_lanes_and_results() {
    let mut world = World::connected(2);
    world.grant(sleepers(), 1, 0, 10, 2);
    let slices = world.slices();
    world.done(slices[0].0, slices[0].1, LONG_NS);
    world.stop(sleepers(), 1, 0, 10);
    assert_eq!(world.cancelled(), [(slices[1].0, TaskRange::new(0, 10))]);
    world.happens(AgentEvent::Returned { slice: slices[0].0 });
    world.wait(10);
    assert!(world.reports().is_empty());
    assert!(world.slices().is_empty());
    assert_eq!(world.agent.unsettled_tasks(), 0);
}

#[test]
fn a_stopped_task_keeps_its_cpus_until_it_is_gone() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    let slices = world.slices();
    world.stop(sleepers(), 1, 0, 1);
    world.grant(sleepers(), 2, 1, 2, 1);
    assert!(world.slices().is_empty());
    assert_eq!(world.agent.cpus_used(), Cpus::ONE);
    world.happens(AgentEvent::Reclaimed { slice: slices[0].0, tail: TaskRange::new(1, 1) });
    world.happens(AgentEvent::Returned { slice: slices[0].0 });
    assert_eq!(world.slices().len(), 1);
}

#[test]
fn an_end_that_crosses_the_stop_is_not_reported() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    let slices = world.slices();
    world.stop(sleepers(), 1, 0, 1);
    world.end(slices[0].0, TaskRange::one(0), 0, Outcome::Done, None);
    world.happens(AgentEvent::Returned { slice: slices[0].0 });
    world.wait(10);
    assert!(world.reports().is_empty());
}

#[test]
fn a_stop_in_the_middle_of_a_slice_spares_the_rest() {
    let mut world = World::connected(1);
    world.grant(noops(), 1, 0, 1, 1);
    let first = world.slices();
    world.finish(first[0].0, 100);
    world.grant(noops(), 2, 1, 9, 1);
    let slice = world.slices()[0];
    assert_eq!(slice.1, TaskRange::new(1, 9));
    world.stop(noops(), 2, 4, 6);
    world.reclaimed(slice.0, 3);
    world.done(slice.0, TaskRange::new(1, 3), 100);
    world.happens(AgentEvent::Returned { slice: slice.0 });
    let next = world.slices()[0];
    assert_eq!(next.1, TaskRange::new(3, 4));
    world.finish(next.0, 100);
    assert_eq!(world.slices()[0].1, TaskRange::new(6, 9));
}

#[test]
fn a_stop_of_another_grant_of_the_same_tasks_does_nothing() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 5, 0, 4, 1);
    world.stop(sleepers(), 4, 0, 4);
    assert_eq!(world.cancelled(), []);
}
