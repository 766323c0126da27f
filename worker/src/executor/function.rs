//! Runs functions on rayon: one pool a task, of as many threads as the task has cpus.
//!
//! Pools are kept by width, since one costs 100 µs to make. A slice runs whole inside its pool, so that a
//! short task costs a call and a lock that nobody contends for.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Instant;

use gridctl_jobs::limits::RESULT_BYTES_MAX;
use gridctl_jobs::spec::Run;
use gridctl_jobs::state::Failure;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use serde_json::Value;

use super::nice::be_nice;
use super::run::{Finish, SliceRun};
use crate::agent::TaskOutput;
use crate::functions::{Context, Function, Functions};
use crate::limits::IDLE_POOL_THREADS_MAX;
use crate::spill::Spill;
use crate::text::bounded;

/// What a panic said, and where.
type PanicNote = Arc<Mutex<Option<String>>>;

thread_local! {
    /// Where the threads of a pool leave what a panic said: the pool's task may have spread over them.
    static PANIC_NOTE: RefCell<Option<PanicNote>> = const { RefCell::new(None) };
}

/// Runs slices of functions.
pub(crate) struct FunctionExecutor {
    functions: Functions,
    pools: Arc<Pools>,
    spill: Spill,
}

/// Pools that nobody uses, by width.
#[derive(Default)]
struct Pools {
    idle: Mutex<IdlePools>,
}

#[derive(Default)]
struct IdlePools {
    by_width: BTreeMap<usize, Vec<Arc<Pool>>>,
    threads: usize,
}

struct Pool {
    threads: ThreadPool,
    width: usize,
    note: PanicNote,
}

impl FunctionExecutor {
    pub(crate) fn new(functions: Functions, spill: Spill) -> Self {
        catch_panics();
        Self { functions, pools: Arc::default(), spill }
    }

    /// Begins a slice on a pool of its own.
    pub(crate) fn begin(&self, run: Arc<SliceRun>) {
        let order = run.slice.renderer.order();
        let Run::Function { name, .. } = &order.task.run else {
            return fail_all(&run, "it is no function");
        };
        let Some(function) = self.functions.find(name) else {
            let known: Vec<_> = self.functions.names().collect();
            let known = known.join(", ");
            return fail_all(
                &run,
                &format!("no function `{name}` on this worker, which has {known}"),
            );
        };
        let (function, pools) = (Arc::clone(function), Arc::clone(&self.pools));
        let spill = self.spill.clone();
        match pools.take(order.task.cpus.threads()) {
            Ok(pool) => {
                let lane = Arc::clone(&pool);
                pool.threads.spawn(move || {
                    run_slice(&run, &*function, &spill, &lane);
                    // Before it is told, so that what is begun next finds it.
                    pools.put(lane);
                    run.returned();
                });
            }
            Err(error) => fail_all(&run, &format!("its threads could not be made ({error})")),
        }
    }
}

/// Ends the task of a function that has run out of time.
pub(super) fn check_timeout(run: &SliceRun, now: Instant) {
    let task = &run.slice.renderer.order().task;
    if let (Run::Function { .. }, Some(timeout)) = (&task.run, task.timeout) {
        run.check_timeout(timeout, now);
    }
}

/// Returns when [`check_timeout`] is due.
pub(super) fn timeout_at(run: &SliceRun) -> Option<Instant> {
    let task = &run.slice.renderer.order().task;
    match (&task.run, task.timeout) {
        (Run::Function { .. }, Some(timeout)) => run.timeout_at(timeout),
        (Run::Function { .. } | Run::Command { .. } | Run::Script { .. }, _) => None,
    }
}

fn run_slice(run: &SliceRun, function: &Function, spill: &Spill, pool: &Pool) {
    let is_cancelled = || run.is_cancelled();
    let context = Context::new(pool.width, &is_cancelled);
    let mut next = run.first();
    while let Some(index) = next {
        let Finish { outcome, output } = call(run, function, &context, index, pool);
        next = run.next(Finish { outcome, output: spill.keep(output) });
    }
}

fn call(
    run: &SliceRun,
    function: &Function,
    context: &Context<'_>,
    index: u64,
    pool: &Pool,
) -> Finish {
    let renderer = &run.slice.renderer;
    let args = match renderer.function_args(index, run.item(index), run.slice.attempt) {
        Ok(args) => args,
        Err(error) => return Finish::could_not_start(error.to_string()),
    };
    // What a function leaves half done behind a panic is its own; nothing of ours is in there.
    match catch_unwind(AssertUnwindSafe(|| function(context, args))) {
        Ok(Ok(None)) => Finish::DONE,
        Ok(Ok(Some(value))) => with_result(&value),
        Ok(Err(message)) => failed(message),
        Err(payload) => failed(pool.panic_message(payload.as_ref())),
    }
}

fn with_result(value: &Value) -> Finish {
    let result = serde_json::to_vec(value).expect("a JSON value is written as JSON");
    if result.len() > RESULT_BYTES_MAX {
        return failed(format!(
            "the result has {} bytes, more than the {RESULT_BYTES_MAX} that are kept; write it to a file, or return less",
            result.len()
        ));
    }
    let output = TaskOutput { result, ..TaskOutput::default() };
    Finish { output, ..Finish::DONE }
}

fn failed(message: String) -> Finish {
    Finish::failed(Failure::Error { message: bounded(message) })
}

/// Lets every task of a slice fail to start.
fn fail_all(run: &SliceRun, why: &str) {
    let mut next = run.first();
    while next.is_some() {
        next = run.next(Finish::could_not_start(why));
    }
    run.returned();
}

impl Pools {
    fn take(&self, width: usize) -> Result<Arc<Pool>, ThreadPoolBuildError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = idle.by_width.get_mut(&width).and_then(Vec::pop) {
            idle.threads -= width;
            return Ok(pool);
        }
        drop(idle);
        Pool::new(width).map(Arc::new)
    }

    fn put(&self, pool: Arc<Pool>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.threads + pool.width <= IDLE_POOL_THREADS_MAX {
            idle.threads += pool.width;
            idle.by_width.entry(pool.width).or_default().push(pool);
        }
    }
}

impl Pool {
    fn new(width: usize) -> Result<Self, ThreadPoolBuildError> {
        let note = PanicNote::default();
        let notes = Arc::clone(&note);
        let threads = ThreadPoolBuilder::new()
            .num_threads(width)
            .thread_name(|place| format!("function-{place}"))
            .start_handler(move |_| {
                be_nice();
                PANIC_NOTE.with(|slot| *slot.borrow_mut() = Some(Arc::clone(&notes)));
            })
            .build()?;
        Ok(Self { threads, width, note })
    }

    /// Takes what a panic on one of the threads said, and where.
    fn panic_message(&self, payload: &(dyn Any + Send)) -> String {
        let note = self.note.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Without a note the panic was one without the hook (`resume_unwind`).
        note.unwrap_or_else(|| format!("panicked: {}", payload_text(payload)))
    }
}

fn payload_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with something that is not text")
}

/// Makes a panic of a function that function's failure, with its place, and not a page in the worker's
/// log. Panics on other threads are reported as before.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let note = PANIC_NOTE.with(|slot| slot.borrow().clone());
            match note {
                Some(note) => note_panic(&note, info),
                None => before(info),
            }
        }));
    });
}

fn note_panic(note: &PanicNote, info: &PanicHookInfo<'_>) {
    let text = payload_text(info.payload());
    let message = match info.location() {
        Some(place) => format!("panicked at {place}: {text}"),
        None => format!("panicked: {text}"),
    };
    // The first is the cause; others may follow from it.
    note.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
}
