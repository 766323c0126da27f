//! What has ended is there after a restart, and in the history file; what is forgotten is gone from it.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Home, until};
use rusqlite::{Connection, OpenFlags};

fn data_dir(home: &Home) -> PathBuf {
    home.path().join("coordinator")
}

/// Asks the history file; one column of text a row.
fn ask(home: &Home, query: &str) -> rusqlite::Result<Vec<String>> {
    let path = data_dir(home).join("history.sqlite");
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = connection.prepare(query)?;
    query.query_map([], |row| row.get(0))?.collect()
}

fn until_history(home: &Home, query: &str, expected: &[&str]) {
    until(query, || {
        let found = ask(home, query);
        if found.as_ref().is_ok_and(|found| found == expected) { Ok(()) } else { Err(found) }
    });
}

const JOBS: &str = "SELECT number || ' ' || name || ' ' || state || ' ' || done || '/' || tasks FROM jobs \
     ORDER BY number";
const TASKS: &str = "SELECT task || ' ' || state || ' ' || coalesce(failure, '-') || ' ' || coalesce(stdout_bytes, '-') \
     FROM tasks WHERE job = 1 ORDER BY task";

#[test]
fn finished_jobs_are_read_after_a_restart_and_the_history_file_follows_and_can_be_deleted() {
    let home = Home::new();
    let data = data_dir(&home);
    let options = ["--data-dir", data.to_str().unwrap(), "--lease", "30s"];
    let (mut coordinator, token) = home.coordinator_with(&options);
    let _worker = home.worker("one", &token);

    // `expr 0 * 2` prints 0 and exits with 1.
    let submit = ["submit", "--wait", "--range", "0..3", "-n", "twice", "--"];
    let ended = home.run(&[&submit[..], &["expr", "{item}", "*", "2"]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    home.ok(&["submit", "--wait", "--range", "0..20", "-n", "quiet", "--", "true"]);
    let jobs = ["1 twice failed 2/3", "2 quiet done 20/20"];
    let tasks = ["0 failed exit 1 2", "1 done - 2", "2 done - 2"];
    until_history(&home, JOBS, &jobs);
    until_history(&home, TASKS, &tasks);
    until_history(&home, "SELECT name FROM workers", &["one"]);
    let before = (home.json(&["jobs", "--json"]), home.json(&["tasks", "1", "--json"]));

    coordinator.kill();
    for name in ["history.sqlite", "history.sqlite-wal", "history.sqlite-shm"] {
        // What SQLite has beside the file may be gone by itself.
        let _ = fs::remove_file(data.join(name));
    }
    let (coordinator, _) = home.coordinator_with(&options);
    assert_eq!(home.json(&["jobs", "--json"]), before.0);
    assert_eq!(home.json(&["tasks", "1", "--json"]), before.1);
    assert_eq!(home.ok(&["output", "1"]), "0\n2\n4\n");
    assert_eq!(home.run(&["wait", "1"]).code, Some(1));
    until_history(&home, JOBS, &jobs);
    until_history(&home, TASKS, &tasks);

    home.ok(&["forget", "1"]);
    until_history(&home, JOBS, &jobs[1..]);
    until_history(&home, TASKS, &[]);
    assert_eq!(home.run(&["status", "1"]).code, Some(6));

    // A file that is damaged is no reason not to serve.
    coordinator.signal(rustix::process::Signal::TERM);
    let (code, log) = coordinator.ended();
    assert_eq!(code, Some(0), "{log}");
    fs::write(data.join("history.sqlite"), vec![0x5a; 20_000]).unwrap();
    let (coordinator, _) = home.coordinator_with(&options);
    until_history(&home, JOBS, &jobs[1..]);
    assert!(coordinator.log().contains("the history file is made anew"), "{}", coordinator.log());
}
