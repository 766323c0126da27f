//! Functions: results, errors, panics, time.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use gridctl_jobs::limits::RESULT_BYTES_MAX;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{ArgValue, Args, Run};
use gridctl_jobs::state::Failure;
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::worker::Outcome;
use rayon::prelude::*;

use super::grid::{Grid, order, order_with};
use crate::functions::Functions;

fn call(name: &str) -> Run {
    Run::Function { name: name.to_owned(), args: Args::Item }
}

#[test]
fn thousands_of_tasks_that_have_nothing_to_tell_are_few_ends() {
    let mut grid = Grid::new();
    grid.begin(order(call("noop")), TaskRange::new(0, 10_000));
    let ran = grid.wait();
    let tasks: u64 = ran.ends.iter().map(|end| end.range.len()).sum();
    assert_eq!(tasks, 10_000);
    assert!(ran.ends.len() < 1_000, "{}", ran.ends.len());
    assert!(ran.ends.iter().all(|end| end.outcome == Outcome::Done));
}

#[test]
fn a_result_is_kept_as_json() {
    let mut grid = Grid::new();
    let bounds = [("start", 0), ("end", 1_000_000)];
    let args = ArgValue::Object(
        bounds.iter().map(|(key, value)| ((*key).to_owned(), ArgValue::Integer(*value))).collect(),
    );
    let run = Run::Function { name: "count_primes".to_owned(), args: Args::Value(args) };
    assert_eq!(grid.run(order(run)).output().result, b"78498");
}

#[test]
fn an_unknown_function_could_not_start_and_what_there_is_is_named() {
    let mut grid = Grid::new();
    let ran = grid.run(order(call("no_such")));
    let message = ran.could_not_start();
    assert!(message.contains("`no_such`") && message.contains("count_primes, noop"), "{message}");
}

#[test]
fn an_error_is_the_tasks_failure() {
    let mut functions = Functions::new();
    functions.insert("fail", |_, args| Err(format!("cannot do {args}")));
    let mut grid = Grid::with(functions);
    assert_eq!(grid.run(order(call("fail"))).error(), "cannot do 0");
}

#[test]
fn a_panic_is_the_tasks_failure_with_its_place() {
    let mut functions = Functions::new();
    functions.insert("break", |_, args| panic!("broken by {args}"));
    let mut grid = Grid::with(functions);
    grid.begin(order(call("break")), TaskRange::new(5, 7));
    let ran = grid.wait();
    assert_eq!(ran.ends.len(), 2, "the second task ran all the same");
    let Outcome::Failed(Failure::Error { message }) = &ran.ends[1].outcome else {
        panic!("{ran:?}")
    };
    assert!(message.contains("functions.rs:") && message.ends_with("broken by 6"), "{message}");
}

#[test]
fn a_panic_on_another_thread_of_the_pool_is_told_the_same() {
    let mut functions = Functions::new();
    functions.insert("spread", |_, _| {
        (0..100).into_par_iter().for_each(|n| assert!(n != 57, "not {n}"));
        Ok(None)
    });
    let mut grid = Grid::with(functions);
    let ran = grid.run(order_with(call("spread"), |task| task.cpus = Cpus::whole(2)));
    assert!(
        ran.error().contains("functions.rs:") && ran.error().ends_with("not 57"),
        "{}",
        ran.error()
    );
}

#[test]
fn rayon_inside_a_function_has_as_many_threads_as_the_task_has_cpus() {
    let mut functions = Functions::new();
    functions.insert("width", |context, _| {
        assert_eq!(context.threads(), rayon::current_num_threads());
        Ok(Some(rayon::current_num_threads().into()))
    });
    let mut grid = Grid::with(functions);
    for (cpus, width) in [(Cpus::whole(3), "3"), (Cpus::ONE, "1"), (Cpus::whole(3), "3")] {
        let ran = grid.run(order_with(call("width"), |task| task.cpus = cpus));
        assert_eq!(ran.output().result, width.as_bytes());
    }
}

#[test]
fn an_oversized_result_is_an_error() {
    let mut functions = Functions::new();
    functions.insert("large", |_, _| Ok(Some("x".repeat(RESULT_BYTES_MAX).into())));
    let mut grid = Grid::with(functions);
    assert!(grid.run(order(call("large"))).error().contains("more than the"));
}

#[test]
fn a_function_whose_time_is_up_is_over_before_it_returns() {
    let (release, released) = channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let mut functions = Functions::new();
    functions.insert("stuck", move |context, _| {
        let _ = released.lock().unwrap().recv();
        Ok(Some(context.is_cancelled().into()))
    });
    let mut grid = Grid::with(functions);
    let stuck = order_with(call("stuck"), |task| task.timeout = Some(Duration::from_millis(50)));
    grid.begin(stuck, TaskRange::new(0, 3));
    let ran = grid.wait_until(|ran| ran.reclaimed.is_some());
    assert_eq!(ran.outcome(), &Outcome::Failed(Failure::Timeout));
    assert_eq!(ran.reclaimed, Some(TaskRange::new(1, 3)), "the rest can run elsewhere");
    release.send(()).unwrap();
    assert!(grid.wait().ends.is_empty(), "what it returns then is too late");
}

#[test]
fn a_cancelled_function_is_told_and_returns() {
    let mut grid = Grid::new();
    let run =
        Run::Function { name: "sleep".to_owned(), args: Args::Value(ArgValue::Integer(1_000)) };
    let slice = grid.begin(order(run), TaskRange::new(0, 10));
    while grid.executor.reclaim(slice) == Some(TaskRange::new(0, 0)) {
        std::thread::yield_now();
    }
    grid.executor.cancel(slice, TaskRange::new(0, 10));
    assert!(grid.wait().ends.is_empty());
}
