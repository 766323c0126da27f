//! What begins, when, and how many tasks at once.

use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::Failure;
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::worker::{CoordinatorMessage, Outcome, WorkerMessage};

use super::world::{LEASE_MS, LONG_NS, World, noops, order_of, process, sleepers, stage};
use crate::agent::{AgentEvent, Notice, TaskOutput};

#[test]
fn no_more_tasks_of_a_stage_run_than_it_has_lanes() {
    let mut world = World::connected(8);
    world.grant(sleepers(), 1, 0, 100, 3);
    let slices = world.slices();
    assert_eq!(slices.len(), 3);
    world.finish(slices[0].0, LONG_NS);
    assert_eq!(world.slices().len(), 1);
}

#[test]
fn functions_and_processes_share_one_account_of_cpus() {
    let mut world = World::connected(2);
    world.grant(sleepers(), 1, 0, 10, 2);
    world.grant(noops(), 2, 0, 10, 2);
    let slices = world.slices();
    assert_eq!(slices.len(), 2, "{slices:?}");
    assert_eq!(world.agent.cpus_used(), Cpus::whole(2));
    world.finish(slices[0].0, LONG_NS);
    assert_eq!(world.slices().len(), 1);
}

#[test]
fn a_task_of_many_cpus_waits_until_they_are_free() {
    let mut world = World::connected(4);
    world.hear(CoordinatorMessage::Stage(order_of(stage(2), process(), Cpus::whole(3))));
    world.grant(sleepers(), 1, 0, 2, 2);
    world.grant(stage(2), 2, 0, 1, 1);
    let small = world.slices();
    assert_eq!(small.len(), 2);
    world.finish(small[0].0, LONG_NS);
    assert_eq!(world.slices().len(), 1);
    assert_eq!(world.agent.cpus_used(), Cpus::whole(4));
}

#[test]
fn short_tasks_run_in_growing_slices() {
    let mut world = World::connected(1);
    world.grant(noops(), 1, 0, 100_000, 1);
    let mut sizes = Vec::new();
    for _ in 0..5 {
        let slices = world.slices();
        sizes.push(slices[0].1.len());
        world.finish(slices[0].0, 100);
    }
    assert_eq!(sizes, [1, 8, 64, 512, 4_096]);
}

#[test]
fn lanes_share_what_is_left() {
    let mut world = World::connected(2);
    world.grant(noops(), 1, 0, 1, 2);
    let first = world.slices();
    world.finish(first[0].0, 100);
    world.grant(noops(), 2, 1, 9, 2);
    let sizes: Vec<_> = world.slices().iter().map(|(_, range)| range.len()).collect();
    assert_eq!(sizes, [4, 2]);
}

#[test]
fn the_tail_of_a_slice_that_turned_out_long_goes_to_an_idle_lane() {
    let mut world = World::connected(2);
    world.grant(noops(), 1, 0, 1, 1);
    let first = world.slices();
    world.finish(first[0].0, 100);
    world.grant(noops(), 2, 1, 9, 1);
    let slow = world.slices();
    assert_eq!(slow[0].1, TaskRange::new(1, 9));
    world.grant(noops(), 3, 9, 10, 2);
    let other = world.slices();
    world.finish(other[0].0, 100);
    assert!(world.asked_to_reclaim().is_empty(), "it is not long yet");
    world.wait(20);
    assert_eq!(world.asked_to_reclaim(), [slow[0].0]);
    world.reclaimed(slow[0].0, 2);
    let shared = world.slices();
    assert_eq!(shared[0].1.start, 2);
    world.done(slow[0].0, TaskRange::one(1), LONG_NS);
    world.happens(AgentEvent::Returned { slice: slow[0].0 });
    assert!(!world.slices().is_empty(), "the rest follows on the lane that has returned");
}

#[test]
fn a_function_that_overruns_keeps_its_cpus_until_it_returns() {
    let mut world = World::connected(1);
    world.grant(noops(), 1, 0, 2, 1);
    let slices = world.slices();
    world.end(slices[0].0, TaskRange::one(0), 0, Outcome::Failed(Failure::Timeout), None);
    assert_eq!(world.agent.cpus_used(), Cpus::ONE);
    assert!(world.slices().is_empty(), "its cpu is not free");
    assert_eq!(world.reports().len(), 0, "what waits may follow within the delay");
    world.wait(1_500);
    assert_eq!(world.reports().len(), 1);
    let told = Notice::Overrun { stage: "stage-1".to_owned(), cpus: Cpus::ONE };
    assert_eq!(world.notices(), [told]);
    world.happens(AgentEvent::Returned { slice: slices[0].0 });
    assert_eq!(world.slices().len(), 1);
}

#[test]
fn nothing_begins_once_the_lease_has_run_out_and_what_runs_goes_on() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 10, 1);
    let slices = world.slices();
    world.break_link();
    world.wait(LEASE_MS - 1);
    world.finish(slices[0].0, LONG_NS);
    let second = world.slices();
    assert_eq!(second.len(), 1, "the lease still runs");
    world.wait(1);
    assert!(world.notices().contains(&Notice::LeaseEnded));
    world.finish(second[0].0, LONG_NS);
    assert!(world.slices().is_empty());
    assert_eq!(world.agent.unsettled_tasks(), 2);
}

#[test]
fn a_lease_runs_from_when_the_answered_heartbeat_was_sent() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 10, 1);
    let first = world.slices();
    world.wait(LEASE_MS / 2);
    let sent = world.now;
    world.wait(LEASE_MS / 2 - 1);
    world.renew_lease_from(sent);
    world.break_link();
    world.wait(LEASE_MS / 2);
    world.finish(first[0].0, LONG_NS);
    let second = world.slices();
    assert!(!second.is_empty(), "it was renewed");
    world.wait(1);
    world.finish(second[0].0, LONG_NS);
    assert!(world.slices().is_empty(), "but not from when the answer came");
}

#[test]
fn only_tasks_that_take_a_while_are_announced_as_begun() {
    let mut world = World::connected(2);
    world.grant(sleepers(), 1, 0, 2, 2);
    let slices = world.slices();
    world.wait(10);
    world.finish(slices[0].0, LONG_NS);
    world.said();
    world.wait(100);
    let said = world.said();
    let begun = said.iter().filter_map(|message| match message {
        WorkerMessage::Started { tasks } => Some(tasks.clone()),
        _ => None,
    });
    let ranges: Vec<_> = begun.flatten().map(|tasks| tasks.range).collect();
    assert_eq!(ranges, [slices[1].1]);
    world.wait(1_000);
    assert!(world.said().is_empty(), "once is enough");
}

#[test]
fn nothing_begins_while_results_pile_up() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 100, 1);
    let mut ended = 0;
    while let Some((slice, range)) = world.slices().first().copied() {
        let output = TaskOutput { stdout: vec![b'x'; 16 << 20], ..TaskOutput::default() };
        world.end(slice, range, LONG_NS, Outcome::Done, Some(output));
        world.happens(AgentEvent::Returned { slice });
        ended += 1;
    }
    assert_eq!(ended, 4, "64 MiB are the bound");
    let last = world.reports().iter().map(|report| report.sequence).max();
    world.wait(10);
    let last = world.reports().iter().map(|report| report.sequence).max().or(last);
    world.hear(CoordinatorMessage::Settled { up_to: last.expect("reports were sent") });
    assert_eq!(world.slices().len(), 1);
}
