//! A few seeds in every test run; many more by the program (see CONTRIBUTING).

use gridctl_sim::{Coverage, run};

/// Enough to see each kind of fault, few enough for an unoptimised build.
const SEEDS: u64 = 60;

#[test]
fn invariants_hold_and_everything_ends() {
    let mut coverage = Coverage::new();
    for seed in 0..SEEDS {
        let outcome = run(seed, None);
        if let Some(violation) = outcome.violation {
            panic!("seed {seed}: {violation}\nreplay: cargo run -p gridctl-sim -- --seed {seed} --log");
        }
        coverage.add(&outcome.coverage);
    }
    let never: Vec<String> = coverage.never_hit().into_iter().filter(|kind| kind.starts_with("Fault")).collect();
    assert!(never.is_empty(), "never happened: {never:?}");
}

#[test]
fn same_seed_gives_the_same_run() {
    for seed in [3, 17, 40] {
        let (first, second) = (run(seed, None), run(seed, None));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.simulated, second.simulated, "seed {seed}");
    }
    assert_ne!(run(3, None).trace_hash, run(4, None).trace_hash);
}
