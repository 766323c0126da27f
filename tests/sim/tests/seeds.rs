//! A few seeds in every test run; many more by the program (see CONTRIBUTING).

use gridctl_sim::{Coverage, Settings, run};

/// Enough to see each kind of fault, few enough for an unoptimised build.
const SEEDS: u64 = 60;

#[test]
fn invariants_hold_and_everything_ends() {
    let mut coverage = Coverage::new();
    for seed in 0..SEEDS {
        let outcome = run(seed, Settings::default());
        if let Some(violation) = outcome.violation {
            panic!(
                "seed {seed}: {violation}\nreplay: cargo run -p gridctl-sim -- --seed {seed} --log"
            );
        }
        coverage.add(&outcome.coverage);
    }
    let never: Vec<String> =
        coverage.never_hit().into_iter().filter(|kind| kind.starts_with("Fault")).collect();
    assert!(never.is_empty(), "never happened: {never:?}");
}

#[test]
fn same_seed_gives_the_same_run() {
    for seed in [3, 17, 40] {
        let [first, second] = [(); 2].map(|()| run(seed, Settings::default()));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.simulated, second.simulated, "seed {seed}");
    }
    let [one, other] = [3, 4].map(|seed| run(seed, Settings::default()));
    assert_ne!(one.trace_hash, other.trace_hash);
}

#[test]
fn keeping_the_log_changes_nothing() {
    let settings = Settings { keep_lines: true, ..Settings::default() };
    let (logged, plain) = (run(5, settings), run(5, Settings::default()));
    assert_eq!(logged.trace_hash, plain.trace_hash);
    assert!(logged.log.len() > 100 && plain.log.is_empty());
}
