//! Who is served first.

use gridctl_jobs::units::Cpus;

use crate::specs::{priority, tasks};
use crate::world::{World, nth, range};

#[test]
fn priority_goes_first_then_age() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let first = world.submit(tasks(1));
    world.submit(tasks(1));
    let third = world.submit(priority(5, tasks(1)));
    world.submit(tasks(1));
    world.done(nth(first, 0), range(0, 1), 1_000_000);
    assert_eq!(world.granted(), [(1, "3/main 0".to_owned(), 1)]);
    world.done(nth(third, 0), range(0, 1), 1_000_000);
    assert_eq!(world.granted(), [(1, "2/main 0".to_owned(), 1)]);
}

#[test]
fn a_running_job_is_not_topped_up_before_one_of_higher_priority() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let low = nth(world.submit(tasks(1_000)), 0);
    world.done(low, range(0, 1), 1_000);
    world.submit(priority(1, tasks(1)));
    assert_eq!(world.granted(), []);
    let (_, last) = world.grant_of(low, 9);
    world.done(low, last.range, 1_000);
    assert_eq!(world.granted()[0], (1, "2/main 0".to_owned(), 1));
}

#[test]
fn tasks_given_out_again_go_before_fresh_ones() {
    let mut world = World::new();
    let lost = world.worker(Cpus::whole(2));
    world.submit(tasks(10));
    world.expire(lost);
    world.worker(Cpus::whole(3));
    assert_eq!(world.granted(), [(2, "1/main 0..2".to_owned(), 2), (2, "1/main 2".to_owned(), 1)]);
}
