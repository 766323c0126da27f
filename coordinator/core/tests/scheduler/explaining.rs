//! Why something waits.

use gridctl_core::explain::why_waiting;
use gridctl_jobs::id::{JobNumber, StageId, WorkerId};
use gridctl_jobs::reason::{NeededStage, WaitReason};
use gridctl_jobs::units::Cpus;

use crate::specs::{cpus, job, needs, priority, retries, stage, tasks};
use crate::world::{LEASE_MS, World, could_not_start, exit, nth, range};

fn why(world: &World, stage: StageId) -> Vec<WaitReason> {
    why_waiting(world.core.state(), world.core.activity(), world.now.mono, stage)
}

#[test]
fn a_stage_waits_for_what_it_needs() {
    let mut world = World::new();
    let id = world.submit(job([stage("a", 3), needs([0], stage("b", 1))]));
    let stages = vec![NeededStage { name: "a".to_owned(), open: 3 }];
    assert_eq!(why(&world, nth(id, 1)), [WaitReason::Needs { stages }]);
}

#[test]
fn without_workers_everything_waits() {
    let mut world = World::new();
    let main = nth(world.submit(tasks(1)), 0);
    assert_eq!(why(&world, main), [WaitReason::NoWorkers]);
    let worker = world.worker(Cpus::whole(1));
    assert_eq!(why(&world, main), []);
    let other = nth(world.submit(tasks(1)), 0);
    world.disconnect(worker);
    assert_eq!(why(&world, other), [WaitReason::Suspect { workers: 1 }]);
}

#[test]
fn a_task_may_be_too_wide_for_every_worker() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    world.worker(Cpus::whole(3));
    let main = nth(world.submit(job([cpus(Cpus::whole(4), stage("main", 1))])), 0);
    assert_eq!(
        why(&world, main),
        [WaitReason::TooManyCpus {
            wanted: Cpus::whole(4),
            largest: Cpus::whole(3),
            largest_worker: WorkerId(2)
        }]
    );
}

#[test]
fn others_are_served_first() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let first = nth(world.submit(tasks(5)), 0);
    let busy = WaitReason::Busy { wanted: Cpus::ONE, free: Cpus::ZERO };
    assert_eq!(why(&world, first), std::slice::from_ref(&busy));
    world.submit(priority(3, tasks(5)));
    let behind = WaitReason::Behind { job: JobNumber(2), priority: 3 };
    assert_eq!(why(&world, first), [behind, busy]);
}

#[test]
fn a_window_and_a_retry_say_how_long() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(1, stage("main", 1))])), 0);
    world.worker(Cpus::whole(1));
    world.failed(main, 0, exit(1));
    let next_in_ms = world.core.next_deadline().unwrap().0;
    assert_eq!(why(&world, main), [WaitReason::Backoff { tasks: 1, next_in_ms }]);
    world.restart();
    world.hello(worker, Cpus::whole(1), Vec::new());
    assert_eq!(why(&world, main), [WaitReason::RestartWindow { remaining_ms: LEASE_MS }]);
}

#[test]
fn a_task_that_could_not_start_anywhere_waits_for_another_worker() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    world.worker(Cpus::whole(1));
    let blocker = world.submit(tasks(1));
    let main = nth(world.submit(tasks(1)), 0);
    let (other, _) = world.grant_of(nth(blocker, 0), 0);
    world.failed(main, 0, could_not_start());
    assert_eq!(why(&world, main), [], "the other one will be asked");
    world.expire(other);
    assert_eq!(why(&world, main)[0], WaitReason::CouldNotStartHere { tasks: 1 });
}

#[test]
fn what_runs_or_is_over_waits_for_nothing() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    assert_eq!(why(&world, main), []);
    world.done(main, range(0, 1), 1);
    assert_eq!(why(&world, main), []);
}
