//! Submitting.

use gridctl_core::effect::{Refusal, Reply};
use gridctl_core::scheduler::Config;
use gridctl_jobs::id::{JobId, JobNumber};

use crate::specs::{job, needs, stage, tasks};
use crate::world::{ADMIN, LEASE_MS, World};

const ID: JobId = JobId(uuid::Uuid::from_u128(5));

#[test]
fn the_same_submission_again_is_the_same_job() {
    let mut world = World::new();
    world.submit_as(ADMIN, ID, [1; 32], tasks(2));
    let number = JobNumber(1);
    assert_eq!(*world.reply(), Reply::Submitted { id: ID, number, new: true });
    world.submit_as(ADMIN, ID, [1; 32], tasks(2));
    assert_eq!(*world.reply(), Reply::Submitted { id: ID, number, new: false });
    assert_eq!(world.recorded(), [""; 0]);
    world.restart();
    world.submit_as(ADMIN, ID, [1; 32], tasks(2));
    assert_eq!(*world.reply(), Reply::Submitted { id: ID, number, new: false });
}

#[test]
fn another_content_under_the_same_id_is_refused_by_name() {
    let mut world = World::new();
    world.submit_as(ADMIN, ID, [1; 32], tasks(2));
    world.submit_as(ADMIN, ID, [2; 32], tasks(3));
    let refusal = Refusal::OtherContent { id: ID, number: JobNumber(1) };
    assert_eq!(*world.reply(), Reply::Refused(refusal));
}

#[test]
fn a_job_that_breaks_the_rules_is_refused() {
    let mut world = World::new();
    world.submit_as(
        ADMIN,
        ID,
        [1; 32],
        job([needs([1], stage("a", 1)), needs([0], stage("b", 1))]),
    );
    assert!(matches!(world.reply(), Reply::Refused(Refusal::BadJob(_))), "{:?}", world.reply());
    world.submit_as(ADMIN, ID, [1; 32], tasks((1 << 32) + 1));
    assert!(matches!(world.reply(), Reply::Refused(Refusal::BadJob(_))), "{:?}", world.reply());
    assert_eq!(world.core.state().jobs().count(), 0);
}

#[test]
fn open_jobs_are_bounded() {
    let mut config = Config::new(LEASE_MS, 7);
    config.open_jobs_max = 1;
    let mut world = World::with(config);
    let first = world.submit(tasks(1));
    world.submit_as(ADMIN, ID, [1; 32], tasks(1));
    assert_eq!(*world.reply(), Reply::Refused(Refusal::TooManyJobs { max: 1 }));
    world.cancel(first, None, None);
    world.submit_as(ADMIN, ID, [1; 32], tasks(1));
    assert!(matches!(world.reply(), Reply::Submitted { new: true, .. }));
}
