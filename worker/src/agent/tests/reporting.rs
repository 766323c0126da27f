//! What is reported, how it is joined, and how long it is kept.

use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::Failure;
use gridctl_transport::message::worker::{
    CoordinatorMessage, Outcome, Output, Phase, UploadId, Verdict,
};

use super::world::{LONG_NS, World, answer, noops, sleepers};
use crate::agent::{AgentEffect, AgentEvent, TaskOutput};

#[test]
fn contiguous_successes_of_a_grant_are_one_item() {
    let mut world = World::connected(1);
    world.grant(noops(), 1, 0, 1_000, 1);
    for _ in 0..4 {
        let slices = world.slices();
        world.finish(slices[0].0, 1_000);
    }
    world.wait(5);
    let reports = world.reports();
    assert_eq!(reports.len(), 1);
    let item = &reports[0].items[0];
    assert_eq!((reports[0].items.len(), item.range), (1, TaskRange::new(0, 1 + 8 + 64 + 512)));
    assert_eq!(item.busy_us, 585);
}

#[test]
fn what_has_something_to_tell_is_an_item_of_its_own() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 3, 1);
    let outcomes = [
        (Outcome::Done, Some(b"hello".to_vec())),
        (Outcome::Failed(Failure::Exit { code: 3 }), None),
        (Outcome::Done, None),
    ];
    for (index, (outcome, stdout)) in (0..).zip(outcomes) {
        let slice = world.slices()[0].0;
        let output = stdout.map(|stdout| TaskOutput { stdout, ..TaskOutput::default() });
        world.end(slice, TaskRange::one(index), LONG_NS, outcome, output);
        world.happens(AgentEvent::Returned { slice });
    }
    let items: Vec<_> = world.reports().into_iter().flat_map(|report| report.items).collect();
    assert_eq!(items.len(), 3);
    let inline = Output::Inline { stdout: b"hello".to_vec(), stderr: vec![], result: vec![] };
    assert_eq!(items[0].output, Some(inline));
    assert_eq!(items[1].outcome, Outcome::Failed(Failure::Exit { code: 3 }));
}

#[test]
fn the_last_end_is_reported_at_once() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    let slices = world.slices();
    world.done(slices[0].0, TaskRange::one(0), LONG_NS);
    assert_eq!(world.reports().len(), 1);
}

#[test]
fn a_large_output_goes_ahead_of_the_report_that_names_it() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    let slices = world.slices();
    let large = TaskOutput { stdout: vec![b'x'; 100_000], ..TaskOutput::default() };
    world.end(slices[0].0, TaskRange::one(0), 0, Outcome::Done, Some(large));
    let order: Vec<_> = world.take(|effect| match effect {
        AgentEffect::Upload { upload, .. } => Some(Some(*upload)),
        AgentEffect::Send { .. } => Some(None),
        _ => None,
    });
    assert_eq!(order, [Some(UploadId(1)), None]);
}

#[test]
fn unsettled_reports_are_sent_again_in_order_with_their_numbers() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 3, 1);
    for _ in 0..3 {
        let slices = world.slices();
        world.finish(slices[0].0, LONG_NS);
        world.wait(5);
    }
    let sequences: Vec<_> = world.reports().iter().map(|report| report.sequence).collect();
    assert_eq!(sequences, [1, 2, 3]);
    world.hear(CoordinatorMessage::Settled { up_to: 1 });
    let hello = world.reconnect();
    assert_eq!(hello.held.len(), 1, "neighbours are announced together");
    assert_eq!((hello.held[0].range, hello.held[0].phase), (TaskRange::new(1, 3), Phase::Finished));
    world.welcome(&[answer(sleepers(), 1, 1, 3, Verdict::Adopt)]);
    let sequences: Vec<_> = world.reports().iter().map(|report| report.sequence).collect();
    assert_eq!(sequences, [2, 3]);
    world.hear(CoordinatorMessage::Settled { up_to: 3 });
    assert_eq!(world.agent.unsettled_tasks(), 0);
}

#[test]
fn what_ends_without_a_link_is_reported_on_the_next() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    let slices = world.slices();
    world.break_link();
    world.finish(slices[0].0, LONG_NS);
    world.wait(200);
    assert!(world.reports().is_empty());
    world.come_up();
    world.welcome(&[answer(sleepers(), 1, 0, 1, Verdict::Adopt)]);
    assert_eq!(world.reports().len(), 1);
}

#[test]
fn a_large_output_is_uploaded_again_on_the_next_link() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    let slices = world.slices();
    let large = TaskOutput { stderr: vec![b'x'; 100_000], ..TaskOutput::default() };
    world.end(slices[0].0, TaskRange::one(0), 0, Outcome::Done, Some(large));
    world.reconnect();
    world.welcome(&[answer(sleepers(), 1, 0, 1, Verdict::Adopt)]);
    let uploads = world.take(|effect| match effect {
        AgentEffect::Upload { link, .. } => Some(link.0),
        _ => None,
    });
    assert_eq!(uploads, [1, 2]);
}

#[test]
fn of_a_joined_result_only_what_is_unwanted_is_dropped() {
    let mut world = World::connected(1);
    world.grant(noops(), 1, 0, 1 + 8 + 64, 1);
    for _ in 0..3 {
        let slices = world.slices();
        world.finish(slices[0].0, 1_000);
    }
    world.reconnect();
    world.reports();
    world.welcome(&[
        answer(noops(), 1, 0, 10, Verdict::Adopt),
        answer(noops(), 1, 10, 20, Verdict::Done),
        answer(noops(), 1, 20, 70, Verdict::Adopt),
        answer(noops(), 1, 70, 73, Verdict::Void),
    ]);
    let items: Vec<_> = world.reports().into_iter().flat_map(|report| report.items).collect();
    let told: Vec<_> = items.iter().map(|item| (item.range, item.busy_us)).collect();
    // In two reports: the second began when nothing waited any more.
    let [one, two, three] =
        [(0, 9), (9, 10), (20, 70)].map(|(start, end)| TaskRange::new(start, end));
    assert_eq!(told, [(one, 9), (two, 1), (three, 50)]);
    assert_eq!(world.agent.unsettled_tasks(), 60);
}

#[test]
fn a_report_stays_far_below_what_a_frame_holds() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 50, 1);
    world.break_link();
    for index in 0..50 {
        let slice = world.slices()[0].0;
        let output = TaskOutput { stdout: vec![b'x'; 60_000], ..TaskOutput::default() };
        world.end(slice, TaskRange::one(index), LONG_NS, Outcome::Done, Some(output));
        world.happens(AgentEvent::Returned { slice });
    }
    world.wait(200);
    world.come_up();
    world.welcome(&[answer(sleepers(), 1, 0, 50, Verdict::Adopt)]);
    let reports = world.reports();
    assert_eq!(reports.iter().map(|report| report.items.len()).sum::<usize>(), 50);
    assert!(reports.iter().all(|report| report.items.len() <= 6), "some 256 KiB each");
    assert!(reports.is_sorted_by_key(|report| report.sequence));
}
