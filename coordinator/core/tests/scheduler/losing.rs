//! Workers that are lost with what they run: charges, suspects, poison.

use gridctl_core::event::{Event, Outcome, Phase};
use gridctl_jobs::id::{StageId, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::reason::WaitReason;
use gridctl_jobs::state::{Failure, JobState, TaskState};
use gridctl_jobs::units::Cpus;

use crate::specs::{budget, job, priority, retries, stage, stops, tasks};
use crate::world::{LEASE_MS, World, could_not_start, exit, nth, range};

fn losses(world: &World, stage: StageId, index: u64) -> u32 {
    world.stage(stage).history(index).map_or(0, gridctl_core::state::History::losses)
}

/// The workers that hold something of a stage, with what.
fn holders(world: &World, stage: StageId) -> Vec<(u64, TaskRange)> {
    let granted = world.core.activity().granted.get(&stage).into_iter().flatten();
    granted.map(|(start, piece)| (piece.worker.0, range(*start, piece.end))).collect()
}

fn held_tasks(world: &World, stage: StageId) -> u64 {
    world.core.activity().granted_tasks(stage)
}

/// Loses the worker that holds a task; another machine takes its place.
fn lose_holder(world: &mut World, stage: StageId, index: u64) -> WorkerId {
    let (holder, _) = world.grant_of(stage, index);
    world.expire(holder);
    let recorded = world.facts.clone();
    world.worker(Cpus::whole(4));
    world.facts = recorded;
    holder
}

#[test]
fn only_what_may_have_been_running_is_charged() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(40)), 0);
    world.done(main, range(0, 2), 10_000);
    assert_eq!(holders(&world, main), [(worker.0, range(2, 20))]);
    let (_, grant) = world.grant_of(main, 7);
    let (session, begun) = (world.session(worker), vec![(grant.token, main, range(7, 8))]);
    world.step(Event::Started { session, tasks: begun });
    world.expire(worker);
    assert_eq!(world.recorded(), ["lost 1/main 7 with w1", "lost 1/main 2 with w1"]);
    assert_eq!(world.counts(main.job).failed, 0);
    let lost = world.task(main, 2);
    assert_eq!(lost.failure, Some(&Failure::WorkerLost { losses: 1, alone: false }));
    assert_eq!((lost.state, lost.attempts, lost.worker), (TaskState::Waiting, 1, Some(worker)));
}

#[test]
fn a_worker_that_leaves_in_order_or_lies_charges_nobody() {
    let mut world = World::new();
    let (first, second) = (world.worker(Cpus::whole(1)), world.worker(Cpus::whole(1)));
    let main = nth(world.submit(tasks(2)), 0);
    world.step(Event::Goodbye { session: world.session(first) });
    assert_eq!(world.recorded(), [""; 0]);
    let session = world.session(second);
    let tasks = vec![(world.grant_of(main, 1).1.token, main, range(0, 99))];
    world.step(Event::Started { session, tasks });
    assert_eq!(world.recorded(), [""; 0]);
    assert_eq!(world.counts(main.job).waiting, 2);
}

#[test]
fn what_was_lost_goes_out_one_by_one_so_that_it_is_known_what_ran() {
    let mut world = World::new();
    let first = world.worker(Cpus::whole(2));
    let main = nth(world.submit(tasks(40)), 0);
    world.done(main, range(0, 2), 1_000);
    let (_, held) = holders(&world, main)[0];
    assert!(held.len() > 10, "{held}");
    world.expire(first);
    world.worker(Cpus::whole(2));
    assert_eq!(held_tasks(&world, main), 2, "no more than it can begin");
}

#[test]
fn a_late_result_of_a_lost_attempt_still_counts() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let late = world.item(main, range(0, 1), Outcome::Done { kept: None });
    let held = world.held(main, range(0, 1), Phase::Running);
    world.expire(worker);
    assert_eq!(world.recorded(), ["lost 1/main 0 with w1"]);
    world.hello(worker, Cpus::whole(1), vec![held]);
    world.report(late);
    assert_eq!(world.recorded(), ["done 1/main 0 by w1", "job 1 done"]);
}

#[test]
fn a_late_failure_of_a_lost_attempt_is_charged_as_one() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(1, stage("main", 1))])), 0);
    let late = world.item(main, range(0, 1), Outcome::Failed { failure: exit(1), kept: None });
    let held = world.held(main, range(0, 1), Phase::Running);
    world.expire(worker);
    world.hello(worker, Cpus::whole(1), vec![held]);
    world.report(late.clone());
    world.report(late);
    let history = world.stage(main).history(0).unwrap();
    assert_eq!((history.spent(), history.losses()), (1, 1));
}

#[test]
fn after_one_loss_a_task_is_given_out_like_any_other() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(4)), 0);
    lose_holder(&mut world, main, 0);
    assert_eq!(world.recorded().len(), 4);
    assert_eq!(held_tasks(&world, main), 4, "side by side");
}

#[test]
fn from_the_second_loss_on_each_runs_alone_and_the_innocent_get_through() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(4)), 0);
    for _ in 0..2 {
        lose_holder(&mut world, main, 0);
    }
    let beside = nth(world.submit(priority(-1, tasks(9))), 0);
    for _ in 0..4 {
        let [(worker, one)] = holders(&world, main)[..] else { panic!("not one at a time") };
        assert_eq!(one.len(), 1);
        assert_eq!(holders(&world, beside), [], "nothing runs beside it");
        assert!(world.core.activity().workers[&WorkerId(worker)].alone);
        world.done(main, one, 1_000);
    }
    assert_eq!(world.job_state(main.job), JobState::Done);
    assert_eq!(held_tasks(&world, beside), 4, "the worker is there for others again");
}

#[test]
fn a_poison_task_is_set_aside_and_no_innocent_with_it() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(4)), 0);
    let mut machines = 0;
    while world.job_state(main.job) != JobState::Failed {
        let running: Vec<(u64, TaskRange)> = holders(&world, main);
        // Task 2 takes down every machine that it runs on; the others succeed where they can.
        let poisoned =
            running.iter().find(|(_, range)| range.contains(2)).map(|(worker, _)| *worker);
        for (_, one) in running.iter().filter(|(worker, _)| Some(*worker) != poisoned) {
            world.done(main, *one, 1_000);
        }
        if poisoned.is_some() {
            lose_holder(&mut world, main, 2);
            machines += 1;
        }
    }
    assert_eq!((world.counts(main.job).done, world.counts(main.job).failed), (3, 1));
    assert_eq!(machines, 3, "`worker_losses` machines");
    let poison = world.task(main, 2);
    assert_eq!(poison.failure, Some(&Failure::WorkerLost { losses: 3, alone: true }));
    assert_eq!((poison.state, poison.attempts), (TaskState::Failed, 3));
}

#[test]
fn with_one_loss_allowed_it_is_the_first_while_alone() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let one = |stage| budget(|budget| budget.worker_losses = 1, stage);
    let main = nth(world.submit(job([one(stage("main", 2))])), 0);
    lose_holder(&mut world, main, 0);
    assert_eq!(world.counts(main.job).failed, 0, "they were two");
    let [(_, alone)] = holders(&world, main)[..] else { panic!("not one at a time") };
    lose_holder(&mut world, main, alone.start);
    assert_eq!(world.recorded()[0], format!("lost 1/main {alone} with w2 alone for good"));
    assert_eq!(world.counts(main.job).failed, 1);
}

#[test]
fn losses_survive_a_restart() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(4)), 0);
    for _ in 0..2 {
        lose_holder(&mut world, main, 0);
    }
    world.restart();
    world.pass(LEASE_MS);
    world.worker(Cpus::whole(4));
    let [(worker, one)] = holders(&world, main)[..] else { panic!("not one at a time") };
    assert_eq!((one.len(), losses(&world, main, 3)), (1, 2));
    let held = world.held(main, one, Phase::Running);
    world.restart();
    world.hello(WorkerId(worker), Cpus::whole(4), vec![held]);
    world.pass(LEASE_MS);
    assert_eq!(holders(&world, main), [(worker, one)], "adopted, and alone still");
    world.expire(WorkerId(worker));
    let lost = format!("lost 1/main {one} with w{worker} alone for good");
    assert_eq!(world.recorded()[0], lost);
}

#[test]
fn a_busy_grid_makes_room_for_suspects_on_one_worker() {
    let mut world = World::new();
    let (first, second) = (world.worker(Cpus::whole(4)), world.worker(Cpus::whole(3)));
    let main = nth(world.submit(priority(1, tasks(2))), 0);
    let others = nth(world.submit(tasks(100)), 0);
    for worker in [first, second] {
        world.expire(worker);
        world.hello(worker, Cpus::whole(2), Vec::new());
    }
    world.expire(first);
    world.expire(second);
    assert_eq!((losses(&world, main, 0), losses(&world, main, 1)), (2, 2));
    let high = nth(world.submit(priority(2, tasks(2))), 0);
    world.hello(first, Cpus::whole(2), Vec::new());
    assert_eq!(holders(&world, high).len(), 1, "what is served first is served first");
    assert_eq!((held_tasks(&world, main), held_tasks(&world, others)), (0, 0));
    world.done(high, range(0, 1), 60_000_000);
    assert_eq!((held_tasks(&world, main), held_tasks(&world, others)), (0, 0), "it is emptied");
    for _ in 0..2 {
        let ended =
            if held_tasks(&world, high) > 0 { (high, range(1, 2)) } else { (main, range(0, 1)) };
        world.done(ended.0, ended.1, 60_000_000);
        assert_eq!((held_tasks(&world, main), held_tasks(&world, others)), (1, 0), "alone");
    }
    world.done(main, range(1, 2), 60_000_000);
    assert_eq!(world.job_state(main.job), JobState::Done);
    assert_eq!(held_tasks(&world, others), 1, "those of another stage come next");
}

#[test]
fn a_suspect_goes_to_another_worker_than_the_one_that_was_lost_if_there_is_one() {
    let mut world = World::new();
    let first = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    world.expire(first);
    world.hello(first, Cpus::whole(1), Vec::new());
    assert_eq!(holders(&world, main), [(first.0, range(0, 1))]);
    world.expire(first);
    let second = world.enrolled();
    world.hello(second, Cpus::whole(1), Vec::new());
    assert_eq!(holders(&world, main), [(second.0, range(0, 1))]);
    world.hello(first, Cpus::whole(1), Vec::new());
    world.expire(second);
    assert_eq!(world.job_state(main.job), JobState::Failed);
}

#[test]
fn a_suspect_that_stops_with_its_lease_runs_where_it_was_lost_if_no_other_worker_may() {
    let mut world = World::new();
    let first = world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([stops(stage("main", 1))])), 0);
    let second = world.enrolled();
    world.hello_without_trees(second, Cpus::whole(1));
    for _ in 0..2 {
        world.expire(first);
        world.pass(LEASE_MS);
        world.hello(first, Cpus::whole(1), Vec::new());
    }
    assert_eq!(losses(&world, main, 0), 2);
    assert_eq!(holders(&world, main), [(first.0, range(0, 1))]);
}

#[test]
fn an_attempt_that_was_lost_is_charged_once_though_its_worker_comes_back_with_it() {
    let mut world = World::new();
    let first = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let held = world.held(main, range(0, 1), Phase::Running);
    world.expire(first);
    assert_eq!(losses(&world, main, 0), 1);
    world.facts.clear();
    world.hello(first, Cpus::whole(1), vec![held]);
    world.expire(first);
    assert_eq!(world.recorded(), [""; 0]);
    assert_eq!(losses(&world, main, 0), 1);
}

#[test]
fn a_suspect_that_could_not_start_goes_elsewhere() {
    let mut world = World::new();
    let first = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    for _ in 0..2 {
        world.expire(first);
        world.hello(first, Cpus::whole(1), Vec::new());
    }
    let second = world.worker(Cpus::whole(1));
    let (holder, _) = world.grant_of(main, 0);
    assert_eq!(holder, first);
    world.failed(main, 0, could_not_start());
    assert_eq!(holders(&world, main), [(second.0, range(0, 1))]);
}

#[test]
fn why_a_suspect_waits_is_explained() {
    let mut world = World::new();
    let first = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    for _ in 0..2 {
        world.expire(first);
        if world.recorded() == ["lost 1/main 0 with w1"] && losses(&world, main, 0) == 2 {
            break;
        }
        world.hello(first, Cpus::whole(1), Vec::new());
    }
    // It is empty no more when the suspect could come.
    let before = nth(world.submit(priority(1, tasks(1))), 0);
    world.hello(first, Cpus::whole(1), Vec::new());
    assert_eq!(holders(&world, before), [(first.0, range(0, 1))]);
    let (state, activity) = (world.core.state(), world.core.activity());
    let why = gridctl_core::explain::why_waiting(state, activity, world.now.mono, main);
    assert_eq!(why, [WaitReason::RunsAlone { tasks: 1 }]);
}
