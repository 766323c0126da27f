//! How jobs end.

use gridctl_jobs::state::JobState;
use gridctl_jobs::units::Cpus;

use crate::specs::{job, needs, stage, tasks};
use crate::world::{World, exit, nth, range};

fn job_of_three(world: &mut World) -> gridctl_jobs::id::JobId {
    world.worker(Cpus::whole(3));
    world.submit(tasks(3))
}

#[test]
fn done_only_if_every_task_is_done() {
    let mut world = World::new();
    let id = job_of_three(&mut world);
    world.done(nth(id, 0), range(0, 2), 1);
    assert_eq!(world.job_state(id), JobState::Running);
    world.done(nth(id, 0), range(2, 3), 1);
    assert_eq!(world.job_state(id), JobState::Done);
    assert_eq!(world.said(), ["w1: settled", "w1: forget 1/main"]);
}

#[test]
fn cancelled_if_tasks_were_and_none_failed() {
    let mut world = World::new();
    let id = job_of_three(&mut world);
    world.cancel(id, Some(0), Some(range(0, 1)));
    world.done(nth(id, 0), range(1, 3), 1);
    assert_eq!(world.job_state(id), JobState::Cancelled);
}

#[test]
fn failed_if_a_task_failed_and_others_were_cancelled() {
    let mut world = World::new();
    let id = job_of_three(&mut world);
    world.failed(nth(id, 0), 0, exit(1));
    world.cancel(id, Some(0), Some(range(1, 3)));
    assert_eq!(world.job_state(id), JobState::Failed);
}

#[test]
fn cancelled_if_the_job_was_whatever_failed_before() {
    let mut world = World::new();
    let id = job_of_three(&mut world);
    world.failed(nth(id, 0), 0, exit(1));
    world.cancel(id, None, None);
    assert_eq!(world.recorded(), ["cancelled 1/main 0..3 fence t2", "job 1 cancelled"]);
    assert_eq!(world.counts(id).failed, 1);
}

#[test]
fn a_cancelled_stage_skips_what_needs_it() {
    let mut world = World::new();
    let id = world.submit(job([stage("a", 1), needs([0], stage("b", 1))]));
    world.cancel(id, Some(0), None);
    assert_eq!(
        world.recorded(),
        ["cancelled 1/a 0 fence t1", "skipped 1/b because of 1/a", "job 1 cancelled"]
    );
}

#[test]
fn an_end_that_a_crash_cut_off_is_drawn_at_the_next_start() {
    let mut world = World::new();
    let id = job_of_three(&mut world);
    world.done(nth(id, 0), range(0, 3), 1);
    let facts = world.facts.clone();
    assert_eq!(world.recorded(), ["done 1/main 0..3 by w1", "job 1 done"]);
    // The journal ends before the last fact.
    let mut cut = World::new();
    let again = job_of_three(&mut cut);
    assert_eq!(again, id);
    let mut state = cut.core.state().clone();
    state.apply(&facts[0]);
    let config = gridctl_core::scheduler::Config::new(crate::world::LEASE_MS, 7);
    let mut core = gridctl_core::scheduler::Scheduler::new(config, state);
    let mut out = gridctl_core::effect::Effects::default();
    core.step(cut.now, gridctl_core::event::Event::Start { restored: false }, &mut out);
    core.check_invariants();
    assert_eq!(core.state().job(id).unwrap().ended(), Some(JobState::Done));
}
