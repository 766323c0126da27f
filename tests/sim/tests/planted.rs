//! Every bug that can be planted is found.
#![expect(clippy::unwrap_used, reason = "tests")]

use gridctl_sim::{Planted, run};

/// Seeds that a bug may take to be found: a few seconds of simulation.
const SEEDS_MAX: u64 = 400;

#[test]
fn every_planted_bug_is_found() {
    let mut report = String::new();
    let mut missed = Vec::new();
    for bug in Planted::all() {
        let found = (0..SEEDS_MAX).find_map(|seed| Some((seed, run(seed, Some(bug)).violation?)));
        match found {
            Some((seed, violation)) => report.push_str(&format!("{bug:?}: seed {seed}, {violation}\n")),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS_MAX} seeds: {missed:?}\nfound:\n{report}");
    assert!(Planted::all().len() >= 5);
    // Shown with --nocapture.
    std::io::Write::write_all(&mut std::io::stdout(), report.as_bytes()).unwrap();
}
