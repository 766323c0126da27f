//! Failures, budgets and backoff.

use gridctl_core::event::Event;
use gridctl_jobs::budget::Backoff;
use gridctl_jobs::state::{Failure, FailureKind, JobState, TaskState};
use gridctl_jobs::units::Cpus;

use crate::specs::{budget, job, retries, stage, tasks};
use crate::world::{World, could_not_start, exit, nth, range};

#[test]
fn without_retries_the_first_failure_is_for_good() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    world.failed(main, 0, exit(3));
    assert_eq!(world.recorded(), ["failed 1/main 0 exit 3 for good", "job 1 failed"]);
    let task = world.task(main, 0);
    assert_eq!((task.state, task.exit_code, task.attempts), (TaskState::Failed, Some(3), 1));
}

#[test]
fn a_failed_task_waits_before_it_is_tried_again() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(1, stage("main", 1))])), 0);
    world.failed(main, 0, Failure::Signal { signal: 11 });
    assert_eq!(world.recorded(), ["failed 1/main 0 signal 11"]);
    assert_eq!(world.granted(), []);
    let due = world.core.next_deadline().unwrap();
    assert!((500..=1_000).contains(&due.0), "{due:?}");
    world.pass(due.0 - 1);
    assert_eq!(world.granted(), []);
    world.pass(1);
    assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), 2)]);
    assert_eq!(world.core.next_deadline(), None);
    world.failed(main, 0, Failure::Timeout);
    assert_eq!(world.recorded(), ["failed 1/main 0 timeout for good", "job 1 failed"]);
}

#[test]
fn the_last_three_failed_attempts_are_kept() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(9, stage("main", 1))])), 0);
    for code in 1..=5 {
        world.failed(main, 0, exit(code));
        world.pass(60_000);
    }
    let task = world.task(main, 0);
    let codes: Vec<&Failure> =
        task.failed_attempts.iter().map(|attempt| &attempt.failure).collect();
    assert_eq!(codes, [&exit(3), &exit(4), &exit(5)]);
    assert_eq!((task.state, task.attempts), (TaskState::Running, 6));
}

#[test]
fn others_run_while_a_failed_task_waits() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(1, stage("main", 2))])), 0);
    world.failed(main, 0, exit(1));
    assert_eq!(world.granted(), [(1, "1/main 1".to_owned(), 1)]);
    assert_eq!(world.tasks_in(main, TaskState::Waiting), [0]);
}

#[test]
fn a_task_that_could_not_start_is_tried_on_three_workers_without_spending_retries() {
    let mut world = World::new();
    for _ in 0..4 {
        world.worker(Cpus::whole(1));
    }
    let main = nth(world.submit(tasks(1)), 0);
    let mut tried = vec![world.granted()[0].0];
    for _ in 0..2 {
        world.failed(main, 0, could_not_start());
        tried.push(world.granted()[0].0);
    }
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), 3, "three different workers");
    assert_eq!(world.stage(main).history(0).unwrap().spent(), 0);
    world.failed(main, 0, could_not_start());
    assert_eq!(
        world.recorded(),
        ["failed 1/main 0 could not start: not found for good", "job 1 failed"]
    );
}

#[test]
fn a_task_that_could_not_start_is_tried_on_fewer_where_there_are_fewer() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    world.failed(main, 0, could_not_start());
    assert_eq!(world.job_state(main.job), JobState::Failed);
}

#[test]
fn a_task_that_could_not_start_waits_for_another_worker() {
    let mut world = World::new();
    let (first, second) = (world.worker(Cpus::whole(1)), world.worker(Cpus::whole(1)));
    let blocker = world.submit(tasks(1));
    let main = nth(world.submit(tasks(1)), 0);
    let (holder, _) = world.grant_of(main, 0);
    assert_ne!(world.grant_of(nth(blocker, 0), 0).0, holder);
    world.failed(main, 0, could_not_start());
    assert_eq!(world.granted(), [], "the other one is busy, and this one cannot");
    let other = if holder == first { second } else { first };
    world.done(nth(blocker, 0), range(0, 1), 1);
    assert_eq!(world.granted(), [(other.0, "2/main 0".to_owned(), 2)]);
}

#[test]
fn where_a_task_could_not_start_is_remembered_over_a_restart() {
    let mut world = World::new();
    let (first, second) = (world.worker(Cpus::whole(1)), world.worker(Cpus::whole(1)));
    let blocker = world.submit(tasks(1));
    let main = nth(world.submit(tasks(1)), 0);
    let (holder, _) = world.grant_of(main, 0);
    world.failed(main, 0, could_not_start());
    world.cancel(blocker, None, None);
    world.restart();
    world.pass(crate::world::LEASE_MS);
    world.hello(holder, Cpus::whole(1), Vec::new());
    assert_eq!(world.granted(), []);
    let other = if holder == first { second } else { first };
    world.hello(other, Cpus::whole(1), Vec::new());
    assert_eq!(world.granted().last().unwrap(), &(other.0, "2/main 0".to_owned(), 2));
}

#[test]
fn attempts_are_counted_on_after_a_restart() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(4));
    let main = nth(world.submit(job([retries(5, stage("main", 4))])), 0);
    world.failed(main, 1, exit(1));
    world.restart();
    world.pass(crate::world::LEASE_MS);
    world.hello(worker, Cpus::whole(4), Vec::new());
    let granted: Vec<(String, u32)> =
        world.granted().into_iter().map(|(_, tasks, attempt)| (tasks, attempt)).collect();
    assert_eq!(
        granted,
        [("1/main 0".to_owned(), 1), ("1/main 2..4".to_owned(), 1), ("1/main 1".to_owned(), 2)]
    );
}

#[test]
fn running_out_of_memory_is_a_failure_of_the_task() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(1, stage("main", 1))])), 0);
    world.failed(main, 0, Failure::OutOfMemory);
    assert_eq!(world.recorded(), ["failed 1/main 0 out of memory"]);
    world.pass(1_000);
    world.failed(main, 0, Failure::OutOfMemory);
    assert_eq!(world.recorded(), ["failed 1/main 0 out of memory for good", "job 1 failed"]);
}

#[test]
fn a_task_that_was_preempted_runs_again_without_spending_retries() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    for attempt in 2..9 {
        world.failed(main, 0, Failure::Preempted);
        assert_eq!(world.granted(), [(1, "1/main 0".to_owned(), attempt)]);
    }
    assert_eq!(world.stage(main).history(0).unwrap().spent(), 0);
    world.done(main, range(0, 1), 1);
    assert_eq!(world.job_state(main.job), JobState::Done);
}

#[test]
fn failures_that_are_not_to_be_retried_are_for_good_at_once() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let only = |stage| budget(|budget| budget.retry_on = [FailureKind::Signal].into(), stage);
    let main = nth(world.submit(job([only(retries(9, stage("main", 2)))])), 0);
    world.failed(main, 0, exit(1));
    assert_eq!(world.recorded(), ["failed 1/main 0 exit 1 for good"]);
    world.failed(main, 1, Failure::Signal { signal: 9 });
    assert_eq!(world.recorded(), ["failed 1/main 1 signal 9"]);
}

#[test]
fn the_wait_is_that_of_the_stage() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let backoff = Backoff { first_ms: 100, longest_ms: 150 };
    let main = budget(|budget| budget.backoff = backoff, retries(9, stage("main", 1)));
    let main = nth(world.submit(job([main])), 0);
    for bounds in [50..=100, 75..=150, 75..=150] {
        world.failed(main, 0, exit(1));
        let wait = world.core.next_deadline().unwrap().0 - world.now.mono.0;
        assert!(bounds.contains(&wait), "{wait} ms");
        world.pass(wait);
    }
}

#[test]
fn a_retry_prefers_another_worker() {
    let mut world = World::new();
    let (first, second) = (world.worker(Cpus::whole(1)), world.worker(Cpus::whole(2)));
    let main = nth(world.submit(job([retries(9, stage("main", 1))])), 0);
    let mut holder = world.grant_of(main, 0).0;
    assert_eq!(holder, second);
    for _ in 0..4 {
        world.failed(main, 0, exit(1));
        world.pass(60_000);
        let before = std::mem::replace(&mut holder, world.grant_of(main, 0).0);
        assert_ne!(before, holder, "the other one is free");
    }
    world.step(Event::Goodbye { session: world.session(first) });
    world.step(Event::Goodbye { session: world.session(second) });
    world.hello(holder, Cpus::whole(1), Vec::new());
    world.failed(main, 0, exit(1));
    world.pass(60_000);
    assert_eq!(world.granted().len(), 1, "where there is no other it is this one");
}
