//! The fold of facts: repeats and what was overtaken change nothing.

use gridctl_core::fact::{Fact, RangeDone, TaskDone};
use gridctl_core::state::State;
use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::state::TaskState;
use gridctl_jobs::units::Cpus;

use crate::specs::{job, retries, stage};
use crate::world::{World, exit, kept, nth, range};

/// Four tasks: 0 to 2 are done, 3 has failed once and waits. Returns all facts, too.
fn world() -> (World, StageId, Vec<Fact>) {
    let mut world = World::new();
    world.worker(Cpus::whole(4));
    let main = nth(world.submit(job([retries(1, stage("main", 4))])), 0);
    let mut facts = world.facts.clone();
    world.failed(main, 3, exit(1));
    facts.extend(world.facts.clone());
    world.done(main, range(0, 3), 1);
    facts.extend(world.facts.clone());
    (world, main, facts)
}

fn with(state: &State, facts: &[Fact]) -> State {
    let mut state = state.clone();
    for fact in facts {
        state.apply(fact);
    }
    state
}

#[test]
fn repeated_facts_change_nothing_but_their_count() {
    let (world, main, facts) = world();
    let state = world.core.state();
    let again = with(state, &facts);
    assert_eq!(again.job(main.job), state.job(main.job));
    assert_eq!(again.applied().0, state.applied().0 + facts.len() as u64);
}

#[test]
fn a_fact_not_above_the_tasks_last_token_changes_nothing() {
    let (world, main, facts) = world();
    let state = world.core.state();
    let token = state.stage(main).unwrap().history(3).unwrap().last();
    let Some(Fact::RangeDone(done)) = facts.last() else { panic!("the last fact is a range") };
    let range_done =
        |token| Fact::RangeDone(RangeDone { range: range(3, 4), token, ..done.clone() });
    let RangeDone { stage, attempt, worker, span, .. } = done.clone();
    let task_done = |token| {
        let kept = kept(1);
        Fact::TaskDone(TaskDone { stage, index: 3, token, attempt, worker, span, kept })
    };
    let newer = Token { counter: token.counter + 1, ..token };
    for (fact, counts) in [
        (range_done(token), false),
        (task_done(token), false),
        (range_done(newer), true),
        (task_done(newer), true),
    ] {
        let after = with(state, std::slice::from_ref(&fact));
        let open = after.stage(main).unwrap().is_open(3);
        assert_eq!(open, !counts, "{fact:?}");
    }
    assert_eq!(world.task_state(main, 3), TaskState::Waiting);
}

#[test]
fn facts_of_what_is_unknown_change_nothing() {
    let (_, _, facts) = world();
    let after = with(&State::new(), &facts[1..]);
    assert_eq!(after.jobs().count(), 0);
}
