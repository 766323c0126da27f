//! Timeouts, cancels, and what they leave behind.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::Failure;
use gridctl_transport::message::worker::Outcome;

use super::grid::{Grid, order, order_with, script};

/// Waits until a file has a line in it.
fn line_in(path: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            other => assert!(Instant::now() < deadline, "{}: {other:?}", path.display()),
        }
        std::thread::yield_now();
    }
}

/// Says whether a process is there and is not just waiting to be reaped.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_until_gone(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn a_task_that_runs_too_long_is_ended() {
    let mut grid = Grid::new();
    let begun = Instant::now();
    let ran = grid.run(order_with(script("echo before; sleep 1000"), |task| {
        task.timeout = Some(Duration::from_millis(300));
    }));
    assert_eq!(ran.outcome(), &Outcome::Failed(Failure::Timeout));
    assert_eq!(ran.output().stdout, b"before\n");
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn what_does_not_listen_is_killed_after_the_grace() {
    let mut grid = Grid::new();
    let ran = grid.run(order_with(script("trap '' TERM; while :; do sleep 0.05; done"), |task| {
        task.timeout = Some(Duration::from_millis(100));
    }));
    assert_eq!(ran.outcome(), &Outcome::Failed(Failure::Timeout));
}

#[test]
fn a_timeout_takes_the_whole_group_along() {
    let mut grid = Grid::new();
    let pid_file = grid.data.path().join("pid");
    let text = format!("sh -c 'sleep 1000 & echo $! > {}; wait' & wait", pid_file.display());
    grid.run(order_with(script(&text), |task| task.timeout = Some(Duration::from_millis(500))));
    wait_until_gone(&line_in(&pid_file));
}

#[test]
fn what_a_task_leaves_running_in_its_group_goes_with_it() {
    let mut grid = Grid::new();
    let ran = grid.script("sleep 1000 & echo $!");
    wait_until_gone(ran.stdout().trim());
}

#[test]
fn who_left_the_group_and_holds_the_pipe_is_not_waited_for() {
    let mut grid = Grid::new();
    let begun = Instant::now();
    let ran = grid.script("setsid sleep 20 & echo $!");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let pid: i32 = ran.stdout().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[test]
fn a_cancelled_task_ends_and_says_nothing() {
    let mut grid = Grid::new();
    let pid_file = grid.data.path().join("pid");
    let text = format!("echo $$ > {}; exec sleep 1000", pid_file.display());
    let slice = grid.begin(order(script(&text)), TaskRange::new(0, 4));
    let pid = line_in(&pid_file);
    assert_eq!(grid.executor.reclaim(slice), Some(TaskRange::new(1, 4)));
    grid.executor.cancel(slice, TaskRange::new(2, 4));
    assert!(is_alive(&pid), "it is another task that was cancelled");
    grid.executor.cancel(slice, TaskRange::new(0, 4));
    let ran = grid.wait();
    assert!(ran.ends.is_empty(), "{ran:?}");
    wait_until_gone(&pid);
}

#[test]
fn a_stopping_worker_kills_without_grace() {
    let mut grid = Grid::new();
    let pid_file = grid.data.path().join("pid");
    let text = format!("trap '' TERM; echo $$ > {}; while :; do sleep 1; done", pid_file.display());
    grid.begin(order(script(&text)), TaskRange::one(0));
    let pid = line_in(&pid_file);
    grid.executor.kill_all();
    assert!(!is_alive(&pid));
}

#[test]
fn ends_are_told_although_the_next_task_takes_long() {
    let mut grid = Grid::new();
    let slice =
        grid.begin(order(script("[ $GRID_INDEX = 0 ] || exec sleep 1000")), TaskRange::new(0, 2));
    let ran = grid.wait_until(|ran| !ran.ends.is_empty());
    assert_eq!(ran.ends[0].range, TaskRange::one(0));
    grid.executor.reclaim(slice);
    grid.executor.cancel(slice, TaskRange::new(0, 2));
    grid.wait();
}
