//! What is granted to whom, and how much.

use gridctl_core::effect::{Effect, ToWorker};
use gridctl_jobs::units::Cpus;

use crate::specs::{cpus, job, priority, stage, tasks, texts};
use crate::world::{World, nth, range};

#[test]
fn a_worker_gets_the_order_once_and_as_many_tasks_as_it_has_cpus() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let job = world.submit(tasks(5));
    assert_eq!(
        world.said()[1..],
        ["w1: order 1/main", "w1: run 1/main 0..2 attempt 1 lanes 2 t1"],
        "after the reply"
    );
    world.done(nth(job, 0), range(0, 1), 1_000_000);
    assert_eq!(world.said(), ["w1: settled", "w1: run 1/main 2 attempt 1 lanes 2 t2"]);
}

#[test]
fn work_is_split_fairly_among_workers_that_are_free() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    world.worker(Cpus::whole(4));
    world.submit(tasks(4));
    assert_eq!(
        world.granted(),
        [(2, "1/main 0..2".to_owned(), 1), (1, "1/main 2..4".to_owned(), 1)]
    );
}

#[test]
fn no_free_cpu_stays_idle_for_fairness() {
    let mut world = World::new();
    for cpus in [1, 2, 3] {
        world.worker(Cpus::whole(cpus));
    }
    let job = world.submit(tasks(6));
    assert_eq!(world.core.activity().granted_tasks(nth(job, 0)), 6);
}

#[test]
fn four_billion_tasks_are_split_as_they_are_given_out() {
    let mut world = World::new();
    let job = world.submit(tasks(1 << 32));
    assert_eq!(world.counts(job).waiting, 1 << 32);
    world.worker(Cpus::whole(1));
    let main = nth(job, 0);
    let mut next = 0;
    for _ in 0..8 {
        let (_, grant) = world.grant_of(main, next);
        next = grant.range.end;
        world.done(main, grant.range, 1);
    }
    assert!(next > 100_000, "grants grow with short tasks, so far to {next}");
    assert!(next < 1_000_000, "and not without bound, so far to {next}");
}

#[test]
fn short_tasks_are_held_ahead_and_topped_up_at_half() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(100_000)), 0);
    world.done(main, range(0, 1), 10_000);
    assert_eq!(
        world.granted(),
        [(1, "1/main 1..10".to_owned(), 1)],
        "1 to run, and 8 times what was measured"
    );
    world.done(main, range(1, 4), 10_000);
    assert_eq!(world.granted(), [], "6 are left of 11, the work of 100 ms and 1 to run");
    world.done(main, range(4, 5), 10_000);
    assert_eq!(world.granted(), [(1, "1/main 10..16".to_owned(), 1)]);
}

/// A worker that held a backlog of short tasks on one lane got no more new lanes than tasks were pending, so
/// that a cpu idled beside its own backlog. Found by the simulator.
#[test]
fn cpus_that_become_free_are_used_for_a_backlog_too() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let wide = nth(world.submit(job([cpus(Cpus::whole(3), stage("wide", 1))])), 0);
    let main = nth(world.submit(tasks(12)), 0);
    world.done(main, range(0, 1), 10_000);
    assert_eq!(world.granted(), [(1, "2/main 1..10".to_owned(), 1)], "two are left, nine are held");
    world.done(wide, range(0, 1), 1_000_000);
    let lanes = world.said().into_iter().rfind(|line| line.contains("run 2/main"));
    assert!(lanes.as_ref().is_some_and(|line| line.contains("lanes 4")), "{lanes:?}");
}

#[test]
fn tasks_share_cpus_by_ten_thousandths() {
    let mut world = World::new();
    world.worker(Cpus::ONE);
    let quarter = Cpus::from_ten_thousandths(2_500);
    world.submit(job([cpus(quarter, stage("main", 9))]));
    assert_eq!(world.granted(), [(1, "1/main 0..4".to_owned(), 1)]);
    let reserved = world.core.activity().workers.values().next().unwrap().reserved;
    assert_eq!(reserved, Cpus::ONE);
}

#[test]
fn stages_of_different_requests_share_a_worker() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    world.submit(job([cpus(Cpus::whole(3), stage("wide", 5))]));
    assert_eq!(world.granted(), [(1, "1/wide 0".to_owned(), 1)]);
    world.submit(tasks(5));
    assert_eq!(
        world.granted(),
        [(1, "2/main 0".to_owned(), 1)],
        "in the cpu that the wide ones cannot use"
    );
}

#[test]
fn wide_tasks_are_not_starved_by_narrow_ones() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let narrow = nth(world.submit(tasks(100)), 0);
    world.submit(priority(1, job([cpus(Cpus::whole(2), stage("wide", 1))])));
    assert_eq!(world.granted(), []);
    world.done(narrow, range(0, 1), 1_000_000);
    assert_eq!(world.granted(), [], "one cpu is kept free for the wide task");
    world.done(narrow, range(1, 2), 1_000_000);
    assert_eq!(world.granted(), [(1, "2/wide 0".to_owned(), 1)]);
}

#[test]
fn only_as_many_workers_are_emptied_as_there_are_wide_tasks() {
    let mut world = World::new();
    let (one, two) = (world.worker(Cpus::whole(2)), world.worker(Cpus::whole(2)));
    let narrow = nth(world.submit(tasks(100)), 0);
    world.submit(priority(1, job([cpus(Cpus::whole(2), stage("wide", 1))])));
    let of = |world: &World, worker| {
        let mut held = world.core.activity().granted[&narrow].iter();
        let (start, _) = held.find(|(_, granted)| granted.worker == worker).unwrap();
        range(*start, *start + 1)
    };
    let (first, second) = (of(&world, one), of(&world, two));
    world.done(narrow, first, 1_000_000);
    assert_eq!(world.granted(), [], "worker 1 is being emptied");
    world.done(narrow, second, 1_000_000);
    assert_eq!(world.granted().len(), 1, "worker 2 is not");
}

#[test]
fn items_travel_with_their_grant() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    world.submit(job([texts("main", &["a", "b", "c"])]));
    let items = world.effects.iter().find_map(|effect| match effect {
        Effect::Send { message: ToWorker::Assign { grant }, .. } => grant.items.clone(),
        _ => None,
    });
    assert_eq!(items.unwrap(), ["a", "b"].into_iter().collect());
}

#[test]
fn items_of_one_grant_are_bounded_by_their_bytes() {
    let mut world = World::new();
    world.worker(Cpus::whole(100));
    let large = "x".repeat(60_000);
    world.submit(job([texts("main", &[large.as_str(); 10])]));
    let sizes: Vec<u64> = world.grants.values().map(|(_, grant)| grant.range.len()).collect();
    assert_eq!(sizes, [4, 4, 2]);
}

#[test]
fn nothing_is_granted_to_a_worker_that_is_too_small() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    world.submit(job([cpus(Cpus::whole(4), stage("main", 1))]));
    assert_eq!(world.granted(), []);
    world.worker(Cpus::whole(4));
    assert_eq!(world.granted(), [(2, "1/main 0".to_owned(), 1)]);
}
