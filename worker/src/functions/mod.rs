//! Functions that a worker runs in its own process.
//!
//! Those that every worker has:
//!
//! | name | argument | does |
//! |---|---|---|
//! | `noop` | any | nothing; what a task costs by itself |
//! | `sleep` | seconds as a number, `{"seconds": 1.5}`, or text such as `"250ms"` | waits |
//! | `spin` | the same | keeps one cpu busy for so long |
//! | `count_primes` | `{"start": 0, "end": 1000000}` | counts the primes from `start` up to, not including, `end`; on all cpus of its task |
//!
//! `sleep` and `spin` end early when they are cancelled, with an error. Without an argument they take no
//! time. Deliberately absent: how tasks are spread over functions, which is the executor's.

mod primes;
mod trials;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// What a function returns: a value that is kept with the task, nothing, or why it failed.
pub type FunctionResult = Result<Option<Value>, String>;

/// What a function knows of the task that it runs for.
pub struct Context<'a> {
    threads: usize,
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

/// The functions that a worker has, by name.
#[derive(Clone)]
pub struct Functions {
    by_name: BTreeMap<String, Arc<Function>>,
}

/// A function as the worker calls it.
pub(crate) type Function = dyn Fn(&Context<'_>, Value) -> FunctionResult + Send + Sync;

impl<'a> Context<'a> {
    pub(crate) const fn new(threads: usize, cancelled: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { threads, cancelled }
    }

    /// Says whether the task was cancelled or has run out of time. A function that runs long asks now
    /// and then, and returns early: nothing else ends it, and it keeps its cpus until it returns.
    pub fn is_cancelled(&self) -> bool {
        (self.cancelled)()
    }

    /// Returns how many threads the task has; rayon, called inside the function, uses so many.
    pub const fn threads(&self) -> usize {
        self.threads
    }
}

impl Functions {
    /// Returns those that every worker has.
    pub fn new() -> Self {
        let mut functions = Self { by_name: BTreeMap::new() };
        functions.insert("noop", |_, _| Ok(None));
        functions.insert("sleep", trials::sleep);
        functions.insert("spin", trials::spin);
        functions.insert("count_primes", primes::count_primes);
        functions
    }

    /// Adds a function, in place of one of the same name.
    pub fn insert(
        &mut self,
        name: &str,
        function: impl Fn(&Context<'_>, Value) -> FunctionResult + Send + Sync + 'static,
    ) {
        self.by_name.insert(name.to_owned(), Arc::new(function));
    }

    /// Returns the names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Function>> {
        self.by_name.get(name)
    }
}

impl Default for Functions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
