//! Planted bugs are found, with the product's own checks and by the simulator's ledger alone. Here are some of
//! them in a few schedules each, since this is an unoptimised build; the program looks for all (see CONTRIBUTING).

use gridctl_jobs::planted::Bug;
use gridctl_sim::{Checks, Settings, hunt, run};

/// Bugs that show in almost every schedule.
const OPEN: [Bug; 5] = [
    Bug::AcknowledgeBeforeSync,
    Bug::ReleaseBeforeRecord,
    Bug::ForgetResultsOnReconnect,
    Bug::DuplicateSubmission,
    Bug::LanesTooMany,
];
/// Schedules that one of those may take to be found.
const WITHIN: u64 = 200;

fn find_all(checks: Checks) {
    for bug in OPEN {
        assert!(
            hunt(bug, checks, WITHIN, 2).is_some(),
            "{bug:?} is not found in {WITHIN} schedules"
        );
    }
}

#[test]
fn planted_bugs_are_found() {
    find_all(Checks::All);
}

#[test]
fn planted_bugs_are_found_by_the_ledger_alone() {
    find_all(Checks::Ledger);
}

#[test]
fn planted_bugs_are_found_in_the_same_schedule_by_any_number_of_threads() {
    let [one, three] =
        [1, 3].map(|threads| hunt(Bug::LostRequeue, Checks::All, 2_000, threads).map(|it| it.seed));
    assert_eq!(one, three);
    assert!(one.is_some());
}

#[test]
fn without_a_planted_bug_the_same_seeds_hold() {
    for seed in 0..20 {
        assert_eq!(run(seed, Settings::default()).violation, None, "seed {seed}");
    }
}
