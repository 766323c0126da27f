//! Forgetting jobs: by hand, and when their time is over.

use gridctl_core::effect::{Refusal, Reply};
use gridctl_core::event::{Caller, Event, Outcome, Phase, Report};
use gridctl_core::fact::UserRole;
use gridctl_core::scheduler::Config;
use gridctl_core::scheduler::limits::{FORGET_AT_ONCE_MAX, FORGET_EVERY_MS};
use gridctl_core::state::FORGOTTEN_KEPT_MS;
use gridctl_jobs::id::{JobId, JobNumber, UserId};
use gridctl_jobs::units::Cpus;

use crate::specs::tasks;
use crate::world::{ADMIN, LEASE_MS, World, nth, range};

const DAY_MS: u64 = 24 * 3_600_000;

/// A job without tasks, which ends as it comes.
fn ended(world: &mut World) -> JobId {
    world.submit(tasks(0))
}

fn keeping(keep_ms: u64) -> World {
    let mut world =
        World::with(Config { keep_ended_ms: Some(keep_ms), ..Config::new(LEASE_MS, 7) });
    world.now.wall.0 += 1_000 * DAY_MS;
    world.pass(FORGET_EVERY_MS);
    world
}

fn left(world: &World) -> Vec<u64> {
    world.core.state().jobs().map(|job| job.number().0).collect()
}

#[test]
fn a_forgotten_job_is_gone_and_its_number_is_not_used_again() {
    let mut world = World::new();
    let id = ended(&mut world);
    world.forget_as(ADMIN, id);
    assert_eq!(world.recorded(), ["a job forgotten"]);
    assert_eq!(*world.reply(), Reply::Forgotten { number: JobNumber(1) });
    assert!(world.core.state().job(id).is_none());
    assert!(world.core.state().job_by_number(JobNumber(1)).is_none());
    assert!(world.core.state().was_number(JobNumber(1)));
    ended(&mut world);
    assert_eq!(left(&world), [2]);
    world.restart();
    ended(&mut world);
    assert_eq!(left(&world), [2, 3]);
}

#[test]
fn an_id_is_remembered_for_thirty_days_and_free_after_that() {
    let mut world = World::new();
    let id = ended(&mut world);
    world.forget_as(ADMIN, id);
    let gone = Reply::Refused(Refusal::Forgotten { id, number: JobNumber(1) });
    world.submit_as(ADMIN, id, [1; 32], tasks(0));
    assert_eq!(*world.reply(), gone);
    world.forget_as(ADMIN, id);
    assert_eq!(*world.reply(), gone);
    world.restart();
    world.now.wall.0 += FORGOTTEN_KEPT_MS - 1;
    world.submit_as(ADMIN, id, [1; 32], tasks(0));
    assert_eq!(*world.reply(), gone);
    world.now.wall.0 += 1;
    world.submit_as(ADMIN, id, [2; 32], tasks(0));
    assert_eq!(*world.reply(), Reply::Submitted { id, number: JobNumber(2), new: true });
    assert!(world.core.state().forgotten(id).is_none());
}

#[test]
fn only_what_has_ended_is_forgotten_and_only_by_owners_and_admins() {
    let mut world = World::new();
    let ann = Caller { user: UserId(1), role: UserRole::User };
    let bob = Caller { user: UserId(2), role: UserRole::User };
    let id = JobId(uuid::Uuid::from_u128(77));
    world.submit_as(ann, id, [1; 32], tasks(1));
    let number = JobNumber(1);
    world.forget_as(ann, id);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NotEnded { number }));
    world.cancel_as(ann, id, None, None);
    world.forget_as(bob, id);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NotYours { number }));
    world.forget_as(ann, id);
    assert_eq!(*world.reply(), Reply::Forgotten { number });
    world.forget_as(ADMIN, JobId(uuid::Uuid::from_u128(78)));
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NoSuchJob));
}

#[test]
fn a_worker_that_still_speaks_of_a_forgotten_job_is_answered() {
    let mut world = World::new();
    let worker = world.worker(Cpus::whole(1));
    let main = nth(world.submit(tasks(1)), 0);
    let held = world.held(main, range(0, 1), Phase::Running);
    let item = world.item(main, range(0, 1), Outcome::Done { kept: None });
    world.disconnect(worker);
    world.cancel(main.job, None, None);
    world.forget_as(ADMIN, main.job);
    world.hello(worker, Cpus::whole(1), vec![held]);
    assert_eq!(world.said(), ["close: Superseded", "w1: welcome [UnknownJob ? 0]"]);
    let (sequence, session) = (world.number(), world.session(worker));
    world.step(Event::Report { session, report: Report { sequence, items: vec![item] } });
    assert_eq!(world.said(), ["w1: settled"]);
    assert!(world.facts.is_empty());
}

#[test]
fn jobs_are_forgotten_when_their_time_is_over() {
    let mut world = keeping(10 * DAY_MS);
    ended(&mut world);
    let open = world.submit(tasks(1));
    world.pass(DAY_MS);
    ended(&mut world);
    world.pass(9 * DAY_MS - 1);
    assert_eq!(left(&world), [1, 2, 3]);
    world.pass(FORGET_EVERY_MS);
    assert_eq!(left(&world), [2, 3]);
    assert!(world.core.state().job(open).is_some(), "what has not ended is never too old");
    world.pass(DAY_MS);
    assert_eq!(left(&world), [2]);
}

#[test]
fn a_clock_that_jumps_ahead_does_not_empty_the_grid() {
    let mut world = keeping(10 * DAY_MS);
    for _ in 0..10 {
        ended(&mut world);
        world.pass(DAY_MS / 2);
    }
    world.now.wall.0 += 1_000 * DAY_MS;
    world.pass(DAY_MS / 24);
    assert_eq!(left(&world).len(), 10, "an hour later all are there");
    world.now.wall.0 -= 1_000 * DAY_MS;
    world.pass(DAY_MS);
    assert_eq!(left(&world).len(), 10, "and the clock was set right");
    world.now.wall.0 += 1_000 * DAY_MS;
    world.pass(DAY_MS);
    assert_eq!(left(&world).len(), 0, "a day is time enough to notice");
}

#[test]
fn many_old_jobs_go_a_few_in_a_step() {
    let mut world = keeping(DAY_MS);
    let many = 2 * FORGET_AT_ONCE_MAX + 3;
    for _ in 0..many {
        ended(&mut world);
    }
    world.pass(2 * DAY_MS);
    assert_eq!(left(&world).len(), many - FORGET_AT_ONCE_MAX);
    let mut steps = 0;
    while !left(&world).is_empty() {
        let next = world.core.next_deadline().unwrap().0;
        world.pass(next - world.now.mono.0);
        steps += 1;
    }
    assert_eq!(steps, 2);
}

#[test]
fn a_reopened_job_is_not_too_old() {
    let mut world = keeping(DAY_MS);
    world.worker(Cpus::whole(1));
    let id = world.submit(tasks(1));
    world.cancel(id, None, None);
    world.pass(DAY_MS / 2);
    world.retry(id);
    world.pass(2 * DAY_MS);
    assert_eq!(left(&world), [1]);
    world.done(nth(id, 0), range(0, 1), 1);
    world.pass(DAY_MS / 2);
    assert_eq!(left(&world), [1], "its time begins with its new end");
}
