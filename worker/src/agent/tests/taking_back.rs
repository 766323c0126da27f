//! Take back: only what has not begun, and every question is answered.

use gridctl_jobs::range::TaskRange;

use super::world::{World, noops, sleepers};
use crate::agent::AgentEvent;

#[test]
fn the_end_of_the_queue_is_given_back() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 10, 1);
    world.take_back(sleepers(), 1, 4);
    assert_eq!(world.given_back(), [[TaskRange::new(6, 10)]]);
    assert!(world.asked_to_reclaim().is_empty(), "the queue had enough");
}

#[test]
fn only_tasks_of_that_grant_are_given_back() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 3, 1);
    world.grant(sleepers(), 2, 3, 6, 1);
    world.take_back(sleepers(), 1, 10);
    assert_eq!(world.given_back(), [[TaskRange::new(1, 3)]]);
}

#[test]
fn what_runs_is_not_given_back() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    world.take_back(sleepers(), 1, 1);
    assert_eq!(world.given_back(), [Vec::<TaskRange>::new()]);
}

#[test]
fn the_tail_of_a_slice_is_given_back_once_it_is_known() {
    let mut world = World::connected(1);
    world.grant(noops(), 1, 0, 1, 1);
    let first = world.slices();
    world.finish(first[0].0, 100);
    world.grant(noops(), 2, 1, 9, 1);
    let slice = world.slices()[0].0;
    world.take_back(noops(), 2, 5);
    assert!(world.given_back().is_empty());
    assert_eq!(world.asked_to_reclaim(), [slice]);
    world.reclaimed(slice, 2);
    assert_eq!(world.given_back(), [[TaskRange::new(4, 9)]]);
    world.done(slice, TaskRange::one(1), 100);
    world.happens(AgentEvent::Returned { slice });
    assert_eq!(world.slices()[0].1, TaskRange::new(2, 4));
}

#[test]
fn what_was_given_back_is_not_announced_any_more() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 10, 1);
    world.take_back(sleepers(), 1, 9);
    let hello = world.reconnect();
    assert_eq!(hello.held.len(), 1);
    assert_eq!(hello.held[0].range, TaskRange::one(0));
}
