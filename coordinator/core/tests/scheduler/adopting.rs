//! Hello: what a worker announces, and the answers.

use gridctl_core::effect::{CloseReason, Effect, Violation};
use gridctl_core::event::{Held, Outcome, Phase};
use gridctl_jobs::id::{Epoch, JobId, Token, WorkerId};
use gridctl_jobs::state::TaskState;
use gridctl_jobs::units::Cpus;

use crate::specs::{job, needs, retries, stage, tasks};
use crate::world::{World, exit, nth, range};

fn reserved(world: &World, worker: WorkerId) -> Cpus {
    world.core.activity().workers[&worker].reserved
}

#[test]
fn what_runs_on_is_adopted_and_its_cpus_counted() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(4)), 0);
    world.done(main, range(0, 1), 1_000_000);
    let running = world.held(main, range(1, 4), Phase::Running);
    world.restart();
    world.hello(worker, Cpus::whole(4), vec![running]);
    assert_eq!(world.said(), ["w1: welcome [Adopt 1/main 1..4]", "w1: order 1/main"]);
    assert_eq!(reserved(&world, worker), Cpus::whole(3));
    assert_eq!(world.tasks_in(main, TaskState::Running), [1, 2, 3]);
    world.done(main, range(1, 4), 1);
    assert_eq!(world.recorded(), ["done 1/main 1..4 by w1", "job 1 done"]);
}

#[test]
fn every_item_is_answered() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(9));
    let main = nth(world.submit(tasks(6)), 0);
    let mut items = vec![world.held(main, range(0, 6), Phase::Running)];
    items.push(Held { stage: nth(JobId(uuid::Uuid::from_u128(99)), 3), ..items[0] });
    world.done(main, range(0, 2), 1);
    world.done(main, range(4, 5), 1);
    world.cancel(main.job, Some(0), Some(range(3, 4)));
    world.restart();
    world.hello(worker, Cpus::whole(9), items);
    assert_eq!(
        world.said()[0],
        "w1: welcome [Done 1/main 0..2, Adopt 1/main 2, Void 1/main 3, Done 1/main 4, \
         Adopt 1/main 5, UnknownJob ? 0..6]"
    );
}

#[test]
fn a_failure_that_is_known_already_is_done() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(2, stage("main", 1))])), 0);
    let held = world.held(main, range(0, 1), Phase::Finished);
    world.failed(main, 0, exit(1));
    world.hello(worker, Cpus::whole(1), vec![held]);
    assert_eq!(world.said(), ["close: Superseded", "w1: welcome [Done 1/main 0]"]);
}

#[test]
fn of_two_workers_with_the_same_task_the_higher_token_stays() {
    let mut world = World::new();
    let (one, two) = (world.worker(Cpus::whole(1)), world.enrolled());
    let main = nth(world.submit(tasks(1)), 0);
    let older = world.held(main, range(0, 1), Phase::Running);
    world.expire(one);
    world.hello(two, Cpus::whole(1), Vec::new());
    let newer = world.held(main, range(0, 1), Phase::Running);
    assert!(newer.token > older.token);
    world.restart();
    world.hello(one, Cpus::whole(1), vec![older]);
    assert_eq!(world.said()[0], "w1: welcome [Adopt 1/main 0]");
    world.hello(two, Cpus::whole(1), vec![newer]);
    assert_eq!(
        world.said(),
        ["w1: stop 1/main 0 t1", "w2: welcome [Adopt 1/main 0]", "w2: order 1/main"]
    );
    world.hello(one, Cpus::whole(1), vec![older]);
    assert_eq!(world.said(), ["close: Superseded", "w1: welcome [Void 1/main 0]"]);
}

#[test]
fn a_worker_back_after_its_lease_keeps_what_nobody_else_got() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(2)), 0);
    let held = world.held(main, range(0, 2), Phase::Running);
    world.expire(worker);
    world.hello(worker, Cpus::whole(2), vec![held]);
    assert_eq!(world.said(), ["w1: welcome [Adopt 1/main 0..2]", "w1: order 1/main"]);
}

#[test]
fn what_is_not_announced_is_free_at_once() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(2)), 0);
    let held = world.held(main, range(0, 1), Phase::Running);
    world.hello(worker, Cpus::whole(2), vec![held]);
    assert_eq!(
        world.said(),
        [
            "close: Superseded",
            "w1: welcome [Adopt 1/main 0]",
            "w1: order 1/main",
            "w1: run 1/main 1 attempt 2 lanes 2 t2"
        ]
    );
}

#[test]
fn an_older_grant_is_void_even_where_the_newer_never_arrived() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let older = world.held(main, range(0, 1), Phase::Running);
    world.expire(worker);
    world.hello(worker, Cpus::whole(1), Vec::new());
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 2)]);
    world.hello(worker, Cpus::whole(1), vec![older]);
    assert_eq!(world.said()[1], "w1: welcome [Void 1/main 0]");
}

#[test]
fn what_is_queued_gets_lanes_as_far_as_cpus_are_free() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1_000)), 0);
    world.done(main, range(0, 1), 100);
    let running = world.held(main, range(1, 2), Phase::Running);
    let queued = world.held(main, range(2, 9), Phase::Queued);
    world.restart();
    world.hello(worker, Cpus::whole(3), vec![queued, running]);
    assert_eq!(reserved(&world, worker), Cpus::whole(3));
    assert_eq!(world.tasks_in(main, TaskState::Running), [1, 2, 3]);
}

#[test]
fn a_stage_that_has_not_begun_adopts_nothing() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let id = world.submit(job([stage("a", 2), needs([0], stage("b", 1))]));
    let held = Held { stage: nth(id, 1), ..world.held(nth(id, 0), range(0, 1), Phase::Running) };
    world.hello(worker, Cpus::whole(1), vec![held]);
    assert_eq!(world.said()[1], "w1: welcome [Void 1/b 0]");
}

#[test]
fn a_finished_item_needs_no_cpu() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(2)), 0);
    let held = world.held(main, range(0, 2), Phase::Finished);
    world.restart();
    world.hello(worker, Cpus::whole(2), vec![held]);
    assert_eq!(reserved(&world, worker), Cpus::ZERO);
    let item = world.item(main, range(0, 2), Outcome::Done { kept: None });
    world.report(item);
    assert_eq!(world.recorded(), ["done 1/main 0..2 by w1", "job 1 done"]);
}

#[test]
fn a_hello_that_breaks_the_rules_is_refused_and_the_older_session_goes_on() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(2)), 0);
    let good = world.held(main, range(0, 1), Phase::Running);
    let future = Token { epoch: Epoch(u64::MAX), counter: 1 };
    for (bad, why) in [
        (Held { range: range(0, 3), ..good }, Violation::BadRange),
        (Held { range: range(1, 1), ..good }, Violation::BadRange),
        (Held { stage: nth(main.job, 1), ..good }, Violation::BadRange),
        (Held { token: future, ..good }, Violation::FutureToken),
    ] {
        world.hello(worker, Cpus::whole(2), vec![bad]);
        let why = CloseReason::Violation(why);
        assert!(matches!(&world.effects[..], [Effect::Close { why: its, .. }] if *its == why));
        assert_eq!(world.tasks_in(main, TaskState::Running), [0, 1]);
    }
}

#[test]
fn an_announcement_is_bounded() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1 << 32)), 0);
    let held = world.held(main, range(0, 1), Phase::Queued);
    world.hello(worker, Cpus::whole(1), vec![Held { range: range(0, 1 << 32), ..held }]);
    assert!(world.said()[0].contains("TooManyItems"), "{:?}", world.said());
}

#[test]
fn a_worker_that_exaggerates_does_not_upset_the_account() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(100)), 0);
    let held = world.held(main, range(0, 1), Phase::Running);
    let all = Held { range: range(0, 100), ..held };
    world.hello(worker, Cpus::from_ten_thousandths(u64::MAX), vec![all, all]);
    world.hello(worker, Cpus::whole(1), vec![all]);
    assert_eq!(reserved(&world, worker), Cpus::whole(1));
}
