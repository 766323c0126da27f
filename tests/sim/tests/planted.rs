//! Every bug that can be planted is found: with the product's own checks, and by the simulator's ledger alone.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use gridctl_jobs::planted::Bug;
use gridctl_sim::invariants::Violation;
use gridctl_sim::{Checks, Settings, run};

/// Seeds that a bug may take to be found: some seconds of simulation.
const SEEDS_MAX: u64 = 400;

fn find(planted: Bug, checks: Checks) -> Option<(u64, Violation)> {
    let settings = Settings { planted: Some(planted), checks, keep_lines: false };
    (0..SEEDS_MAX).find_map(|seed| Some((seed, run(seed, settings).violation?)))
}

fn assert_all_are_found(checks: Checks) {
    let bugs = Bug::ALL;
    assert!(bugs.len() >= 5);
    let mut report = String::new();
    let mut missed = Vec::new();
    for bug in bugs {
        match find(bug, checks) {
            Some((seed, violation)) => {
                writeln!(report, "{bug:?}: seed {seed}, {violation}").unwrap()
            }
            None => missed.push(bug),
        }
    }
    // Shown with --nocapture.
    std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes()).unwrap();
    assert!(missed.is_empty(), "not found within {SEEDS_MAX} seeds: {missed:?}");
}

#[test]
fn every_planted_bug_is_found() {
    assert_all_are_found(Checks::All);
}

#[test]
fn every_planted_bug_is_found_by_the_ledger_alone() {
    assert_all_are_found(Checks::Ledger);
}

#[test]
fn without_a_planted_bug_the_same_seeds_hold() {
    for seed in 0..20 {
        assert_eq!(run(seed, Settings::default()).violation, None, "seed {seed}");
    }
}
