//! Tasks that stop with their lease.

use std::sync::Arc;

use gridctl_jobs::id::StageId;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{OnLostLease, StageOrder, TaskTemplate};
use gridctl_transport::message::worker::{CoordinatorMessage, Outcome, Phase, Verdict};

use super::world::{LEASE_MS, World, answer, order, process, sleepers, stage};
use crate::agent::{AgentEffect, AgentEvent, MonoMs, Notice, SliceId};

/// Nine tenths of the lease.
const STOP_MS: u64 = LEASE_MS - LEASE_MS / 10;

fn stoppers() -> StageId {
    stage(2)
}

/// An agent that runs task 0 of a stage that stops with the lease, on slice 1.
fn running() -> (World, SliceId) {
    let mut world = World::connected(2);
    let mut order = StageOrder::clone(&order(stoppers(), process()));
    let task =
        TaskTemplate { on_lost_lease: OnLostLease::Stop, ..TaskTemplate::clone(&order.task) };
    order.task = Arc::new(task);
    world.hear(CoordinatorMessage::Stage(Arc::new(order)));
    world.grant(stoppers(), 1, 0, 1, 1);
    let slice = world.slices()[0].0;
    (world, slice)
}

fn killed(world: &mut World) -> Vec<SliceId> {
    world.take(|effect| match effect {
        AgentEffect::Kill { slice, .. } => Some(*slice),
        _ => None,
    })
}

fn told_until(world: &mut World) -> Vec<Option<MonoMs>> {
    world.take(|effect| match effect {
        AgentEffect::StopUntil(until) => Some(*until),
        _ => None,
    })
}

fn gone(world: &mut World, slice: SliceId) {
    world.happens(AgentEvent::Reclaimed { slice, tail: TaskRange::new(1, 1) });
    world.happens(AgentEvent::Returned { slice });
}

#[test]
fn what_stops_with_the_lease_is_killed_in_time_from_the_sending_of_the_heartbeat() {
    let (mut world, slice) = running();
    let sent = world.now;
    world.wait(100);
    world.renew_lease_from(sent);
    world.wait(STOP_MS - 101);
    assert_eq!(killed(&mut world), []);
    world.wait(1);
    assert_eq!(killed(&mut world), [slice]);
    assert!(world.notices().contains(&Notice::Stopped { tasks: 1 }));
    gone(&mut world, slice);
    assert_eq!(world.given_back(), [[TaskRange::one(0)]], "the session is still there");
    world.wait(10);
    assert!(world.reports().is_empty());
}

#[test]
fn the_shell_knows_until_when_it_may_run() {
    let (mut world, slice) = running();
    let welcomed = world.now;
    assert_eq!(told_until(&mut world), [Some(welcomed.after(STOP_MS))]);
    world.wait(1_000);
    world.renew_lease_from(welcomed.after(500));
    assert_eq!(told_until(&mut world), [Some(welcomed.after(500 + STOP_MS))]);
    world.finish(slice, 1_000_000);
    assert_eq!(told_until(&mut world), [None]);
}

#[test]
fn what_finishes_elsewhere_goes_on_past_the_lease() {
    let (mut world, slice) = running();
    world.grant(sleepers(), 2, 0, 1, 1);
    let other = world.slices()[0].0;
    world.break_link();
    world.wait(2 * LEASE_MS);
    assert_eq!(killed(&mut world), [slice]);
    assert!(world.cancelled().is_empty(), "{other:?} goes on");
}

#[test]
fn an_end_that_comes_too_late_is_no_result() {
    let (mut world, slice) = running();
    world.break_link();
    // The whole machine stood still.
    world.now = world.now.after(10 * LEASE_MS);
    world.end(slice, TaskRange::one(0), 1_000, Outcome::Done, None);
    world.happens(AgentEvent::Returned { slice });
    assert_eq!(world.agent.unsettled_tasks(), 0);
}

#[test]
fn what_is_being_killed_is_announced_until_it_is_gone() {
    let (mut world, slice) = running();
    world.break_link();
    world.wait(STOP_MS);
    assert_eq!(killed(&mut world), [slice]);
    let hello = world.come_up();
    assert_eq!(hello.held.len(), 1);
    assert_eq!((hello.held[0].range, hello.held[0].phase), (TaskRange::one(0), Phase::Running));
    world.welcome(&[answer(stoppers(), 1, 0, 1, Verdict::Adopt)]);
    assert!(world.given_back().is_empty());
    gone(&mut world, slice);
    assert_eq!(world.given_back(), [[TaskRange::one(0)]]);
    assert!(world.reconnect().held.is_empty());
}

#[test]
fn what_the_coordinator_ends_is_killed_without_grace_and_confirmed_once_it_is_gone() {
    let (mut world, slice) = running();
    world.stop(stoppers(), 1, 0, 1);
    assert_eq!(killed(&mut world), [slice]);
    assert!(world.given_back().is_empty());
    gone(&mut world, slice);
    assert_eq!(world.given_back(), [[TaskRange::one(0)]]);
}

#[test]
fn what_has_not_begun_is_confirmed_at_once() {
    let (mut world, _) = running();
    world.grant(stoppers(), 2, 5, 9, 1);
    world.stop(stoppers(), 2, 5, 9);
    assert_eq!(world.given_back(), [[TaskRange::new(5, 9)]]);
}

#[test]
fn what_has_not_begun_is_given_up_with_the_lease_and_announced_no_more() {
    let (mut world, slice) = running();
    world.grant(stoppers(), 2, 5, 9, 1);
    world.break_link();
    world.wait(STOP_MS);
    assert_eq!(killed(&mut world), [slice]);
    gone(&mut world, slice);
    assert!(world.come_up().held.is_empty());
}

#[test]
fn nothing_of_it_begins_between_the_deadline_and_the_end_of_the_lease() {
    let (mut world, slice) = running();
    world.finish(slice, 1_000_000);
    world.wait(STOP_MS);
    world.grant(stoppers(), 2, 5, 6, 1);
    world.grant(sleepers(), 3, 5, 6, 1);
    let begun: Vec<TaskRange> = world.slices().into_iter().map(|(_, range)| range).collect();
    assert_eq!(begun.len(), 1, "the other stage may");
    world.renew_lease_from(world.now);
    assert_eq!(world.slices().len(), 1);
}
