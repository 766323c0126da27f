//! Many seeds on several threads, each seed from beginning to end on one of them.
//!
//! What comes out does not depend on how many threads there are: seeds are taken in order, and of those that
//! fail the first ones in that order are told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::coverage::Coverage;
use crate::invariants::Violation;
use crate::run::{Outcome, Settings, run};

/// What became of many seeds.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many were run.
    pub ran: usize,
    /// How many of them were schedules that count.
    pub counted: usize,
    /// How often what happened in all of them.
    pub coverage: Coverage,
    /// Simulated time of all of them, in milliseconds.
    pub simulated_ms: u64,
    /// Those that failed, in order of their places.
    pub failures: Vec<Failure>,
    /// The trace hash of each, in order of their places.
    pub hashes: Vec<(usize, u64)>,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its place among the seeds, from 0.
    pub place: usize,
    /// The seed.
    pub seed: u64,
    /// What does not hold.
    pub violation: Violation,
}

/// How many seeds are run, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Threads, at least 1.
    pub threads: usize,
    /// No more seeds are begun once so many have failed.
    pub failures_max: usize,
}

/// Runs seeds as one after another, on several threads. `progress` is told after each how many have ended.
pub fn run_all(
    seeds: &[u64],
    settings: Settings,
    plan: Plan,
    progress: &(dyn Fn(usize) + Sync),
) -> Batch {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let batch = Mutex::new(Batch::default());
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(|| {
                let mut of_thread = Coverage::new();
                while !is_over.load(Ordering::Relaxed) {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = seeds.get(place).copied() else { break };
                    let outcome = run(seed, settings);
                    of_thread.add(&outcome.coverage);
                    let mut batch = lock(&batch);
                    batch.take(place, seed, outcome);
                    if batch.failures.len() >= plan.failures_max {
                        is_over.store(true, Ordering::Relaxed);
                    }
                    progress(batch.ran);
                }
                lock(&batch).coverage.add(&of_thread);
            });
        }
    });
    let mut batch = batch.into_inner().expect("no holder panics");
    batch.failures.sort_by_key(|failure| failure.place);
    batch.hashes.sort_unstable();
    batch
}

fn lock(batch: &Mutex<Batch>) -> MutexGuard<'_, Batch> {
    batch.lock().expect("no holder panics")
}

impl Batch {
    fn take(&mut self, place: usize, seed: u64, outcome: Outcome) {
        self.ran += 1;
        self.counted += usize::from(outcome.counts);
        self.simulated_ms += outcome.simulated.0;
        self.hashes.push((place, outcome.trace_hash));
        if let Some(violation) = outcome.violation {
            self.failures.push(Failure { place, seed, violation });
        }
    }

    /// One number for all that happened: the same for the same seeds, whatever the machine.
    pub fn hash(&self) -> u64 {
        self.hashes.iter().fold(0, |all: u64, (_, hash)| {
            (all.rotate_left(5) ^ hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }
}
