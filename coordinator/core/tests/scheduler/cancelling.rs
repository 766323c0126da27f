//! Cancelling, and its fence.

use gridctl_core::effect::{Refusal, Reply};
use gridctl_core::event::{Caller, Outcome};
use gridctl_core::fact::UserRole;
use gridctl_jobs::id::{JobId, JobNumber, UserId};
use gridctl_jobs::state::{Failure, TaskState};
use gridctl_jobs::units::Cpus;

use crate::specs::{job, retries, stage, tasks};
use crate::world::{World, exit, nth, range};

const NUMBER: JobNumber = JobNumber(1);

#[test]
fn running_tasks_are_stopped_and_their_cpus_free() {
    let mut world = World::new();
    world.worker(Cpus::whole(2));
    let id = world.submit(tasks(5));
    world.submit(tasks(1));
    world.cancel(id, None, None);
    assert_eq!(
        world.said(),
        [
            "w1: stop 1/main 0..2 t1",
            "reply: Cancelled { number: JobNumber(1), tasks: 5 }",
            "w1: forget 1/main",
            "w1: order 2/main",
            "w1: run 2/main 0 attempt 1 lanes 1 t3",
        ]
    );
}

#[test]
fn nothing_granted_before_a_cancel_ever_commits() {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let main = nth(world.submit(tasks(4)), 0);
    let late = world.item(main, range(0, 4), Outcome::Done { kept: None });
    world.cancel(main.job, Some(0), Some(range(1, 3)));
    assert_eq!(world.said()[0], "w1: stop 1/main 1..3 t1");
    world.report(late);
    assert_eq!(world.recorded(), ["done 1/main 0 by w1", "done 1/main 3 by w1", "job 1 cancelled"]);
    assert_eq!(world.tasks_in(main, TaskState::Cancelled), [1, 2]);
    let cancelled = world.task(main, 1);
    assert_eq!((cancelled.failure, cancelled.exit_code), (Some(&Failure::Cancelled), None));
}

#[test]
fn tasks_that_wait_for_a_retry_are_cancelled_too() {
    let mut world = World::new();
    world.worker(Cpus::whole(1));
    let main = nth(world.submit(job([retries(5, stage("main", 2))])), 0);
    world.failed(main, 0, exit(1));
    world.cancel(main.job, Some(0), Some(range(0, 1)));
    assert_eq!(world.core.next_deadline(), None);
    assert_eq!(world.task_state(main, 0), TaskState::Cancelled);
}

#[test]
fn four_billion_tasks_are_cancelled_as_a_range() {
    let mut world = World::new();
    let id = world.submit(tasks(1 << 32));
    world.cancel(id, None, None);
    assert_eq!(world.facts.len(), 2);
    assert_eq!(world.counts(id).cancelled, 1 << 32);
}

#[test]
fn only_owners_and_admins_cancel() {
    let mut world = World::new();
    let ann = Caller { user: UserId(1), role: UserRole::User };
    let bob = Caller { user: UserId(2), role: UserRole::User };
    let id = JobId(uuid::Uuid::from_u128(77));
    world.submit_as(ann, id, [1; 32], tasks(2));
    world.cancel_as(bob, id, None, None);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NotYours { number: NUMBER }));
    world.cancel_as(ann, id, Some(0), Some(range(0, 1)));
    assert_eq!(*world.reply(), Reply::Cancelled { number: NUMBER, tasks: 1 });
    world.cancel(id, None, None);
    assert_eq!(*world.reply(), Reply::Cancelled { number: NUMBER, tasks: 1 });
    world.cancel(id, None, None);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::AlreadyEnded { number: NUMBER }));
}

#[test]
fn what_is_not_there_cannot_be_cancelled() {
    let mut world = World::new();
    let id = world.submit(tasks(2));
    let no_task = Reply::Refused(Refusal::NoSuchTask { number: NUMBER });
    world.cancel(id, Some(1), None);
    assert_eq!(*world.reply(), no_task);
    world.cancel(id, Some(0), Some(range(1, 3)));
    assert_eq!(*world.reply(), no_task);
    world.cancel(id, None, Some(range(0, 1)));
    assert_eq!(*world.reply(), no_task);
    world.cancel(JobId(uuid::Uuid::from_u128(99)), None, None);
    assert_eq!(*world.reply(), Reply::Refused(Refusal::NoSuchJob));
}
