//! The planted mistakes do what they say, so that the simulator has something to find. Each test has a thread of
//! its own, and so has what is planted in it.

use gridctl_core::effect::FactIndex;
use gridctl_core::event::Outcome;
use gridctl_core::gate::ReleaseGate;
use gridctl_jobs::planted::{Bug, plant};
use gridctl_jobs::units::Cpus;

use crate::specs::{job, retries, stage, tasks};
use crate::world::{World, exit, nth, range};

#[test]
fn without_a_fence_stale_results_commit() {
    plant(Some(Bug::NoFence));
    let mut world = World::new();
    let slow = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let late = world.item(main, range(0, 1), Outcome::Done { kept: None });
    world.expire(slow);
    world.worker(Cpus::whole(1));
    world.hello(slow, Cpus::whole(1), Vec::new());
    world.report(late);
    assert_eq!(world.recorded()[0], "done 1/main 0 by w1", "though worker 2 has it");
}

#[test]
#[should_panic(expected = "open tasks are pending, granted, waiting or barred")]
fn a_lost_requeue_leaves_tasks_nowhere() {
    plant(Some(Bug::LostRequeue));
    let mut world = World::new();
    let lost = world.worker(Cpus::whole(1));
    world.submit(tasks(1));
    world.expire(lost);
}

#[test]
#[should_panic(expected = "what workers hold")]
fn a_double_release_upsets_the_account() {
    plant(Some(Bug::DoubleRelease));
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(2)), 0);
    world.done(main, range(0, 1), 1_000_000);
}

#[test]
fn without_a_window_a_restart_grants_what_may_still_run() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    world.submit(tasks(1));
    plant(Some(Bug::NoWindow));
    world.restart();
    world.hello(worker, Cpus::whole(1), Vec::new());
    assert_eq!(world.granted().len(), 1);
}

#[test]
fn a_repeated_failure_is_charged_twice() {
    plant(Some(Bug::DoubleCharge));
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(5, stage("main", 1))])), 0);
    let item = world.item(main, range(0, 1), Outcome::Failed { failure: exit(1), kept: None });
    world.report(item.clone());
    world.report(item);
    assert_eq!(world.stage(main).history(0).unwrap().spent(), 2);
}

#[test]
fn a_leaking_gate_acknowledges_before_the_sync() {
    plant(Some(Bug::ReleaseBeforeRecord));
    let mut gate = ReleaseGate::new(FactIndex(0));
    gate.hold(FactIndex(9), 'a');
    assert_eq!(gate.release(FactIndex(0)).collect::<String>(), "a");
}
