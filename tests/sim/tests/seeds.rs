//! A few seeds in every test run; many more by the program (see CONTRIBUTING).

use gridctl_sim::{Coverage, Plan, Settings, run, run_all};

/// Enough to see each kind of fault, few enough for an unoptimised build.
const SEEDS: u64 = 100;

#[test]
fn invariants_hold_and_everything_ends() {
    let seeds: Vec<u64> = (0..SEEDS).collect();
    let plan = Plan { threads: 2, failures_max: 1 };
    let batch = run_all(&seeds, Settings::default(), plan, &|_| {});
    if let Some(failure) = batch.failures.first() {
        let (seed, violation) = (failure.seed, &failure.violation);
        panic!("seed {seed}: {violation}\nreplay: cargo run -p gridctl-sim -- --seed {seed} --log");
    }
    // One schedule in forty goes on from a backup: so few need not have one.
    let is_rare = |kind: &String| ["Fault: backup", "Fault: restore"].contains(&kind.as_str());
    let is_missing = |kind: &String| kind.starts_with("Fault") && !is_rare(kind);
    let never: Vec<String> = batch.coverage.never_hit().into_iter().filter(is_missing).collect();
    assert!(never.is_empty(), "never happened: {never:?}");
}

#[test]
fn what_was_never_hit_is_told() {
    let never = Coverage::new().never_hit();
    assert!(never.iter().any(|kind| kind == "Fault: coordinator crash"), "{never:?}");
    assert!(never.iter().any(|kind| kind.starts_with("hello × ready (")), "{never:?}");
}

#[test]
fn same_seeds_give_the_same_runs_on_any_number_of_threads() {
    let seeds: Vec<u64> = (0..20).collect();
    let [one, three] = [1, 3].map(|threads| {
        let plan = Plan { threads, failures_max: 1 };
        run_all(&seeds, Settings::default(), plan, &|_| {})
    });
    assert_eq!(one.hashes, three.hashes);
    assert_eq!((one.hash(), one.simulated_ms), (three.hash(), three.simulated_ms));
    assert_ne!(one.hashes[0].1, one.hashes[1].1);
}

#[test]
fn keeping_the_log_changes_nothing() {
    let settings = Settings { keep_lines: true, ..Settings::default() };
    let (logged, plain) = (run(5, settings), run(5, Settings::default()));
    assert_eq!(logged.trace_hash, plain.trace_hash);
    assert!(logged.log.len() > 100 && plain.log.is_empty());
}
