//! What readers see.

use gridctl_core::event::{Event, Outcome};
use gridctl_core::view::{self, TaskCounts, TaskQuery};
use gridctl_jobs::state::{JobState, TaskState};
use gridctl_jobs::units::{Cpus, WallMs};

use crate::specs::{job, retries, stage, tasks};
use crate::world::{World, exit, kept, nth, range};

#[test]
fn tasks_are_counted_by_state() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let id = world.submit(tasks(20));
    world.done(nth(id, 0), range(0, 1), 1_000_000);
    world.failed(nth(id, 0), 1, exit(2));
    world.cancel(id, Some(0), Some(range(10, 15)));
    let expected = TaskCounts {
        total: 20,
        waiting: 9,
        running: 4,
        done: 1,
        failed: 1,
        cancelled: 5,
        skipped: 0,
    };
    assert_eq!(world.counts(id), expected);
    assert_eq!(world.tasks_in(nth(id, 0), TaskState::Running), [2, 3, 4, 5]);
    assert_eq!(world.tasks_in(nth(id, 0), TaskState::Waiting), [6, 7, 8, 9, 15, 16, 17, 18, 19]);
}

#[test]
fn a_page_of_tasks_costs_the_page() {
    let mut world = World::new();
    let id = world.submit(tasks(1 << 32));
    let job = world.core.state().job(id).unwrap();
    let query = TaskQuery { range: range(4_000_000_000, 1 << 32), state: None, limit: 2 };
    let tasks = view::tasks(job, &job.stages()[0], world.core.activity(), query);
    let seen: Vec<(u64, TaskState)> = tasks.iter().map(|task| (task.index, task.state)).collect();
    let waiting = TaskState::Waiting;
    assert_eq!(seen, [(4_000_000_000, waiting), (4_000_000_001, waiting)]);
}

#[test]
fn the_times_of_a_range_are_not_exact() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(4)), 0);
    world.done(main, range(0, 3), 1);
    let item = world.item(main, range(3, 4), Outcome::Done { kept: Some(kept(1)) });
    world.report(item);
    let (of_range, alone) = (world.task(main, 1), world.task(main, 3));
    assert_eq!((of_range.exact, alone.exact), (false, true));
    assert_eq!(alone.finished_at, Some(world.now.wall));
    assert_eq!((of_range.kept, alone.kept), (None, Some(kept(1))));
}

#[test]
fn a_task_that_was_announced_as_begun_shows_since_when() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(9)), 0);
    let (_, grant) = world.grant_of(main, 1);
    world.now.wall = WallMs(5_000_000);
    let tasks = vec![(grant.token, main, range(1, 2))];
    world.step(Event::Started { session: world.session(worker), tasks });
    assert_eq!(world.task(main, 1).started_at, Some(WallMs(5_000_000)));
    assert_eq!(world.task(main, 0).started_at, None);
    assert_eq!(world.job_state(main.job), JobState::Running);
}

#[test]
fn a_job_waits_until_something_of_it_is_out() {
    let mut world = World::new();
    let id = world.submit(tasks(1));
    assert_eq!(world.job_state(id), JobState::Waiting);
    world.worker(Cpus::whole(1));
    assert_eq!(world.job_state(id), JobState::Running);
}

/// What broke: the row of the last failure showed the new attempt, which has not failed.
#[test]
fn the_last_failure_is_shown_while_its_task_runs_again() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let id = world.submit(job([retries(1, stage("main", 1))]));
    world.failed(nth(id, 0), 0, exit(7));
    world.pass(60_000);
    let job = world.core.state().job(id).unwrap();
    let (_, task) = view::last_failure(job, world.core.activity()).unwrap();
    assert_eq!((task.state, task.attempts), (TaskState::Running, 1));
    assert_eq!((task.failure, task.exit_code), (Some(&exit(7)), Some(7)));
}
