//! What commits and what does not.

use gridctl_core::effect::{CloseReason, Effect, Violation};
use gridctl_core::event::{Event, Outcome, ReportItem};
use gridctl_jobs::id::{Epoch, Token};
use gridctl_jobs::state::{JobState, TaskState};
use gridctl_jobs::units::Cpus;

use crate::specs::{job, retries, stage, tasks};
use crate::world::{World, exit, kept, nth, range};

const DONE: Outcome = Outcome::Done { kept: None };

#[test]
fn a_range_commits_with_one_fact() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(9)), 0);
    world.done(main, range(0, 4), 1_000_000);
    assert_eq!(world.recorded(), ["done 1/main 0..4 by w1"]);
    assert_eq!(world.said()[0], "w1: settled");
    assert_eq!(world.counts(main.job).done, 4);
}

#[test]
fn what_a_task_left_behind_is_kept() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let item = world.item(main, range(0, 1), Outcome::Done { kept: Some(kept(3)) });
    world.report(item);
    assert_eq!(world.recorded(), ["kept 1/main 0 by w1", "job 1 done"]);
    assert_eq!(world.task(main, 0).kept, Some(kept(3)));
    assert_eq!(world.job_state(main.job), JobState::Done);
}

#[test]
fn a_repeated_report_changes_nothing_and_is_settled() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(9)), 0);
    let item = world.item(main, range(0, 1), DONE);
    world.report(item.clone());
    world.report(item);
    assert_eq!(world.recorded(), [""; 0]);
    assert_eq!(world.said(), ["w1: settled"]);
}

#[test]
fn a_late_result_of_a_lost_worker_commits_while_nobody_else_has_the_task() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let late = world.item(main, range(0, 1), DONE);
    world.expire(worker);
    // Back without announcing it: its report is on the way already. The task stays with nobody, since the
    // other job is served first.
    world.submit(crate::specs::priority(9, tasks(5)));
    world.hello(worker, Cpus::whole(1), Vec::new());
    assert_eq!(world.task_state(main, 0), TaskState::Waiting);
    world.report(late);
    assert_eq!(world.recorded(), ["done 1/main 0 by w1", "job 1 done"]);
}

#[test]
fn a_late_result_is_void_once_another_has_the_task() {
    let mut world = World::new();
    let slow = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let late = world.item(main, range(0, 1), DONE);
    world.expire(slow);
    world.worker(Cpus::whole(1));
    assert_eq!(world.granted(), [(2, "1/main 0".to_owned(), 2)]);
    world.hello(slow, Cpus::whole(1), Vec::new());
    world.report(late);
    assert_eq!(world.recorded(), [""; 0]);
    assert_eq!(world.said(), ["w1: settled"]);
    world.done(main, range(0, 1), 1);
    assert_eq!(world.recorded(), ["done 1/main 0 by w2", "job 1 done"]);
}

#[test]
fn of_a_range_only_what_nobody_overtook_commits() {
    let mut world = World::new();
    let slow = world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(4)), 0);
    let late = world.item(main, range(0, 4), DONE);
    world.expire(slow);
    world.worker(Cpus::whole(1));
    assert_eq!(world.granted(), [(2, "1/main 0".to_owned(), 2)]);
    // Without cpus, so that it is given nothing.
    world.hello(slow, Cpus::ZERO, Vec::new());
    world.report(late);
    assert_eq!(world.recorded(), ["done 1/main 1..4 by w1"]);
}

#[test]
fn a_message_of_an_older_session_is_dropped() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let old = world.session(worker);
    world.hello(worker, Cpus::whole(1), Vec::new());
    let items = vec![world.item(main, range(0, 1), DONE)];
    let report = gridctl_core::event::Report { sequence: 1, items };
    world.step(Event::Report { session: old, report });
    assert_eq!((world.recorded().len(), world.said().len()), (0, 0));
}

#[test]
fn a_failure_of_an_overtaken_grant_is_not_charged() {
    let mut world = World::new();
    let slow = world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(3, stage("main", 1))])), 0);
    let late = world.item(main, range(0, 1), Outcome::Failed { failure: exit(1), kept: None });
    world.expire(slow);
    world.worker(Cpus::whole(1));
    world.hello(slow, Cpus::whole(1), Vec::new());
    world.report(late);
    assert_eq!(world.recorded(), [""; 0]);
    assert_eq!(world.stage(main).history(0).unwrap().spent(), 0);
}

#[test]
fn a_repeated_failure_is_charged_once() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(3, stage("main", 1))])), 0);
    let item = world.item(main, range(0, 1), Outcome::Failed { failure: exit(1), kept: None });
    world.report(item.clone());
    world.report(item);
    assert_eq!(world.recorded(), [""; 0]);
    assert_eq!(world.stage(main).history(0).unwrap().spent(), 1);
}

fn violation_of(change: impl FnOnce(&mut ReportItem)) -> Violation {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(9)), 0);
    let mut item = world.item(main, range(0, 4), DONE);
    change(&mut item);
    let worker = gridctl_jobs::id::WorkerId(1);
    world.report_by(worker, item);
    assert_eq!(world.recorded(), [""; 0]);
    assert_eq!(world.tasks_in(main, TaskState::Waiting).len(), 9, "its tasks are free again");
    match &world.effects[0] {
        Effect::Close { why: CloseReason::Violation(violation), .. } => violation.clone(),
        other => panic!("not closed: {other:?}"),
    }
}

#[test]
fn a_peer_that_breaks_the_rules_is_sent_away() {
    assert_eq!(violation_of(|item| item.range = range(5, 5)), Violation::BadRange);
    assert_eq!(violation_of(|item| item.range = range(5, 3)), Violation::BadRange);
    assert_eq!(violation_of(|item| item.range = range(0, u64::MAX)), Violation::BadRange);
    let kept = Outcome::Done { kept: Some(kept(1)) };
    assert_eq!(violation_of(|item| item.outcome = kept), Violation::OneTaskOnly);
    let failed = Outcome::Failed { failure: exit(1), kept: None };
    assert_eq!(violation_of(|item| item.outcome = failed), Violation::OneTaskOnly);
    assert_eq!(violation_of(|item| item.token.counter += 1), Violation::FutureToken);
    let future = Token { epoch: Epoch(u64::MAX), counter: 0 };
    assert_eq!(violation_of(|item| item.token = future), Violation::FutureToken);
}

#[test]
fn a_report_of_an_unknown_job_is_settled() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(2)), 0);
    let mut item = world.item(main, range(0, 1), DONE);
    item.stage.job = gridctl_jobs::id::JobId(uuid::Uuid::from_u128(999));
    item.range = range(u64::MAX - 1, u64::MAX);
    world.report(item);
    assert_eq!(world.said(), ["w1: settled"]);
}

#[test]
fn a_failures_message_is_cut_at_its_bound() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let message = format!("x{}", "é".repeat(10_000));
    world.failed(main, 0, gridctl_jobs::state::Failure::Error { message });
    let task = world.task(main, 0);
    let gridctl_jobs::state::Failure::Error { message } = task.failure.unwrap() else { panic!() };
    assert_eq!(message.len(), 8_191);
}
