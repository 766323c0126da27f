//! Runs one seed.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use gridctl_jobs::planted::Bug;

use crate::coverage::Coverage;
use crate::invariants::{Rule, Violation};
use crate::planted;
use crate::schedule::{FAULTS_MIN, Schedule};
use crate::time::SimMs;
use crate::world::World;

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// What was violated, if anything.
    pub violation: Option<Violation>,
    /// The same for the same seed, whatever the machine.
    pub trace_hash: u64,
    /// How long it took, in simulated time.
    pub simulated: SimMs,
    /// How often what happened.
    pub coverage: Coverage,
    /// Whether enough went wrong for the schedule to count.
    pub counts: bool,
    /// What happened, where that was wanted.
    pub log: Vec<String>,
}

/// How a seed is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// A bug to plant.
    pub planted: Option<Bug>,
    /// Who looks after the invariants.
    pub checks: Checks,
    /// Whether to keep a line for everything that happens.
    pub keep_lines: bool,
}

/// Who looks after the invariants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checks {
    /// The simulator's ledger, and the product's own `check_invariants`.
    #[default]
    All,
    /// The simulator's ledger alone.
    Ledger,
}

/// Runs a seed.
pub fn run(seed: u64, settings: Settings) -> Outcome {
    let schedule = Schedule::draw(seed);
    let mut world = World::new(&schedule, seed, settings);
    planted::switch(settings.planted);
    let ended = catching(|| {
        while world.step()? {}
        world.check_end()
    });
    planted::switch(None);
    Outcome {
        violation: ended.err(),
        trace_hash: world.trace_hash(),
        simulated: world.now,
        counts: schedule.counts() && world.faults_that_hit >= FAULTS_MIN,
        coverage: world.coverage.clone(),
        log: world.trace.into_lines(),
    }
}

thread_local! {
    /// Where a panic of this thread is kept, while one is caught here.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes a violation of a panic: a product part that panics has found one of its own invariants broken.
fn catching(run: impl FnOnce() -> Result<(), Violation>) -> Result<(), Violation> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let caught = CAUGHT.with(|caught| match &mut *caught.borrow_mut() {
                Some(what) => {
                    *what = info.to_string();
                    true
                }
                None => false,
            });
            if !caught {
                before(info);
            }
        }));
    });
    CAUGHT.with(|caught| *caught.borrow_mut() = Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let what = CAUGHT.with(|caught| caught.borrow_mut().take()).unwrap_or_default();
    result.unwrap_or(Err(Violation { rule: Rule::NoPanic, what }))
}
