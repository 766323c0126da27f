//! Hello, Welcome, being turned away, losing the coordinator and finding it again.

use gridctl_jobs::id::Epoch;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::ItemList;
use gridctl_transport::message::Turned;
use gridctl_transport::message::worker::{
    CoordinatorMessage, Grant, Phase, Verdict, WorkerMessage,
};

use super::world::{
    LEASE_MS, LONG_NS, World, answer, noops, order, process, sleepers, stage, token,
};
use crate::agent::{AgentEffect, AgentEvent, AgentExit, LinkEnd, LinkId, Notice, Violation};

#[test]
fn hello_announces_what_waits_runs_and_is_not_acknowledged() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 10, 1);
    let first = world.slices();
    world.finish(first[0].0, LONG_NS);
    let hello = world.reconnect();
    let held: Vec<_> = hello.held.iter().map(|held| (held.range, held.phase)).collect();
    assert_eq!(
        held,
        [
            (TaskRange::new(0, 1), Phase::Finished),
            (TaskRange::new(1, 2), Phase::Running),
            (TaskRange::new(2, 10), Phase::Queued),
        ]
    );
    assert!(hello.held.iter().all(|held| held.token == token(1) && held.attempt == 1));
    assert_eq!(hello.epoch_seen, Epoch(5));
}

#[test]
fn what_is_adopted_goes_on_and_what_is_not_ends() {
    let mut world = World::connected(2);
    world.grant(sleepers(), 1, 0, 10, 2);
    let slices = world.slices();
    let done = slices[0].0;
    world.finish(done, LONG_NS);
    let third = world.slices()[0];
    world.reconnect();
    world.welcome(&[
        answer(sleepers(), 1, 0, 1, Verdict::Done),
        answer(sleepers(), 1, 1, 2, Verdict::Void),
        answer(sleepers(), 1, 2, 5, Verdict::Adopt),
        answer(sleepers(), 1, 5, 10, Verdict::UnknownJob),
    ]);
    assert_eq!(world.cancelled(), [(slices[1].0, TaskRange::new(1, 2))]);
    assert_eq!(world.agent.unsettled_tasks(), 0);
    world.happens(AgentEvent::Reclaimed { slice: slices[1].0, tail: TaskRange::new(2, 2) });
    world.happens(AgentEvent::Returned { slice: slices[1].0 });
    world.finish(third.0, LONG_NS);
    let rest: Vec<_> = world.slices().iter().map(|(_, range)| *range).collect();
    assert_eq!(rest, [TaskRange::one(3), TaskRange::one(4)]);
}

#[test]
fn a_dropped_result_is_told() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 1, 1);
    let slices = world.slices();
    world.finish(slices[0].0, LONG_NS);
    world.reconnect();
    world.notices();
    world.welcome(&[answer(sleepers(), 1, 0, 1, Verdict::UnknownJob)]);
    assert!(world.notices().contains(&Notice::Dropped { tasks: 1 }));
}

#[test]
fn a_coordinator_of_a_lower_epoch_is_refused_by_name() {
    let mut world = World::fresh(1);
    world.happens(AgentEvent::Start);
    let hello = world.come_up();
    assert_eq!(hello.epoch_seen, Epoch(3));
    world.welcome_of(Epoch(2), &[]);
    assert_eq!(world.notices(), [Notice::OldCoordinator { epoch: Epoch(2), seen: Epoch(3) }]);
    assert!(!world.agent.is_connected());
    world.wait(200);
    world.come_up();
    world.welcome_of(Epoch(2), &[]);
    assert_eq!(world.notices(), [], "it is told once");
}

#[test]
fn a_higher_epoch_is_remembered() {
    let mut world = World::fresh(1);
    world.happens(AgentEvent::Start);
    world.come_up();
    world.welcome_of(Epoch(9), &[]);
    let remembered = world.take(|effect| match effect {
        AgentEffect::RememberEpoch(epoch) => Some(*epoch),
        _ => None,
    });
    assert_eq!(remembered, [Epoch(9)]);
}

#[test]
fn an_outage_is_told_once_and_attempts_grow_apart() {
    let mut world = World::connected(1);
    let mut waits = Vec::new();
    for _ in 0..8 {
        world.break_link();
        let retry = world.agent.session.retry_at().expect("it tries again");
        waits.push(retry.since(world.now));
        world.wait(retry.since(world.now));
    }
    let told = world.notices().into_iter().filter(|notice| matches!(notice, Notice::Lost { .. }));
    assert_eq!(told.count(), 1);
    assert!(waits[0] <= 100 && waits[7] >= LEASE_MS / 8, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= LEASE_MS / 4), "several within a lease: {waits:?}");
}

#[test]
fn a_refused_identity_ends_the_worker_with_what_to_do() {
    let mut world = World::fresh(1);
    world.happens(AgentEvent::Start);
    world.come_up();
    world.hear(CoordinatorMessage::Turned(Turned::UnknownIdentity));
    let Some(AgentExit::Refused(what)) = world.exit() else { panic!("it ends") };
    assert!(what.contains("join again"), "{what}");
    world.wait(LEASE_MS);
    assert_eq!(world.agent.next_deadline(), None);
}

#[test]
fn a_refused_certificate_ends_the_worker() {
    let mut world = World::fresh(1);
    world.happens(AgentEvent::Start);
    let why = LinkEnd::Refused("the certificate has expired".to_owned());
    world.happens(AgentEvent::LinkDown { link: LinkId(1), why });
    assert!(matches!(world.exit(), Some(AgentExit::Refused(_))));
}

#[test]
fn a_hello_without_an_answer_is_given_up() {
    let mut world = World::fresh(1);
    world.happens(AgentEvent::Start);
    world.come_up();
    world.wait(11_000);
    assert!(matches!(world.notices()[0], Notice::NotReached { .. }));
    assert_eq!(world.agent.session.link(), Some(LinkId(2)));
}

#[test]
fn messages_of_an_earlier_link_are_not_heard() {
    let mut world = World::connected(1);
    world.reconnect();
    let settled = CoordinatorMessage::Welcome(gridctl_transport::message::worker::Welcome {
        version: 1,
        epoch: Epoch(5),
        grid: "home".to_owned(),
        lease_ms: 1,
        heartbeat_ms: 1,
        answers: vec![],
    });
    world.happens(AgentEvent::Message { link: LinkId(1), message: settled });
    assert!(!world.agent.is_connected());
}

#[test]
fn silence_past_the_lease_is_a_reason_to_connect_again() {
    let mut world = World::connected(1);
    world.wait(LEASE_MS + 200);
    assert!(!world.agent.is_connected());
    assert_eq!(world.agent.session.link(), Some(LinkId(2)));
}

#[test]
fn nonsense_from_the_coordinator_closes_the_link_and_nothing_else() {
    let grant = |range, items| Grant {
        token: token(1),
        stage: noops(),
        range,
        attempt: 1,
        lanes: 1,
        items,
    };
    let unknown = Grant { stage: stage(77), ..grant(TaskRange::new(0, 1), None) };
    let items: ItemList = ["a", "b"].into_iter().collect();
    let cases = [
        (unknown, Violation::UnknownStage),
        (grant(TaskRange::new(5, 5), None), Violation::BadGrant),
        (grant(TaskRange::new(5, 4), None), Violation::BadGrant),
        (grant(TaskRange::new(0, u64::MAX), None), Violation::BadGrant),
        (grant(TaskRange::new(0, 2), Some(items)), Violation::BadGrant),
    ];
    for (grant, violation) in cases {
        let mut world = World::connected(1);
        world.hear(CoordinatorMessage::Assign(grant));
        assert_eq!(world.notices(), [Notice::Violation(violation)]);
        assert!(!world.agent.is_connected());
    }
    let mut world = World::connected(1);
    world.welcome(&[]);
    assert_eq!(world.notices(), [Notice::Violation(Violation::OutOfOrder)]);
}

#[test]
fn ranges_that_make_no_sense_in_other_messages_do_nothing() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 4, 1);
    world.stop(sleepers(), 1, 9, 3);
    world.stop(sleepers(), 1, u64::MAX, u64::MAX);
    world.stop(stage(77), 1, 0, 4);
    world.take_back(sleepers(), 9, u64::MAX);
    world.hear(CoordinatorMessage::Settled { up_to: u64::MAX });
    assert_eq!(world.cancelled(), []);
    assert_eq!(world.given_back(), [Vec::<TaskRange>::new()]);
}

#[test]
fn a_forgotten_stage_is_known_as_long_as_it_is_held() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 2, 1);
    let first = world.slices();
    world.hear(CoordinatorMessage::Forget { stage: sleepers() });
    world.finish(first[0].0, LONG_NS);
    let second = world.slices();
    assert_eq!(second.len(), 1);
    world.finish(second[0].0, LONG_NS);
    world.grant(sleepers(), 2, 2, 3, 1);
    assert!(world.notices().contains(&Notice::Violation(Violation::UnknownStage)));
}

#[test]
fn a_repeated_stage_order_changes_nothing() {
    let mut world = World::connected(1);
    world.grant(sleepers(), 1, 0, 2, 1);
    world.hear(CoordinatorMessage::Stage(order(sleepers(), process())));
    assert!(world.agent.is_connected());
    assert_eq!(world.slices().len(), 1);
    assert!(!world.said().iter().any(|said| matches!(said, WorkerMessage::GivenBack { .. })));
}
