//! A backup of a grid that goes on, and a grid that goes on from a backup.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::{DEADLINE, Home};
use serde_json::Value;

#[test]
fn restored_grid_goes_on_with_the_workers_and_tasks_that_the_old_one_had() {
    let home = Home::new();
    let (mut old, token) = home.coordinator_with(&["--lease", "60s"]);
    let _worker = home.worker("one", &token);
    home.ok(&["submit", "--wait", "--range", "0..5", "-n", "quick", "--", "echo", "{item}"]);
    let gate = home.path().join("gate");
    let waits =
        format!("while [ ! -e {} ]; do sleep 0.05; done; echo out {{item}}", gate.display());
    home.ok(&["submit", "--range", "0..2", "-n", "slow", "--", "sh", "-c", &waits]);
    home.until_job("slow", "both tasks run", |status| status["tasks"]["running"] == 2);
    let quick = home.json(&["tasks", "quick", "--json"]);

    let file = home.path().join("grid.backup");
    let file = file.to_str().unwrap();
    home.ok(&["backup", file]);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    // The grid goes on; this is not in the backup.
    home.ok(&["submit", "-n", "later", "--", "true"]);
    old.kill();

    let elsewhere = home.path().join("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    let start =
        ["coordinator", "--listen", "127.0.0.1:0", "--lease", "60s", "--data-dir", elsewhere];
    let restore = [&start[..], &["--restore", file]].concat();
    let (mut restored, lines) = home.start(&restore);
    assert!(lines.recv_timeout(DEADLINE).is_ok(), "{}", restored.log());
    assert!(restored.log().contains("whatever was acknowledged after"), "{}", restored.log());
    let jobs = home.json(&["jobs", "--json"]);
    let names: Vec<&Value> = jobs.as_array().unwrap().iter().map(|job| &job["name"]).collect();
    assert_eq!(names, ["quick", "slow"]);
    assert_eq!(home.json(&["tasks", "quick", "--json"]), quick);
    assert_eq!(home.ok(&["output", "quick"]), "0\n1\n2\n3\n4\n");

    // What runs is adopted, and its results are taken: nothing has to be given out for that.
    fs::write(&gate, "").unwrap();
    home.until_job("slow", "the job is done", |status| status["state"] == "done");
    assert_eq!(home.ok(&["output", "slow"]), "out 0\nout 1\n");
    let tasks = home.json(&["tasks", "slow", "--json"]);
    assert!(tasks.as_array().unwrap().iter().all(|task| task["attempts"] == 1), "{tasks}");

    restored.kill();
    let again = home.run(&restore);
    assert_eq!(again.code, Some(7), "{again:?}");
    assert!(again.stderr.contains("is not empty"), "{again:?}");
    // Without --restore it is a grid like any other.
    let (restored, lines) = home.start(&start);
    assert!(lines.recv_timeout(DEADLINE).is_ok(), "{}", restored.log());
    assert_eq!(home.ok(&["output", "slow"]), "out 0\nout 1\n");
}

#[test]
fn backups_are_for_admins_and_damaged_ones_are_refused_before_anything_is_written() {
    let home = Home::new();
    let (_coordinator, _) = home.coordinator();
    let token = home.ok(&["token", "create", "--role", "user"]);
    let other = Home::new();
    other.ok(&["login", token.trim()]);
    let file = other.path().join("b");
    let refused = other.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    let left = fs::read_dir(other.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('b')), "{left:?}");

    let file = home.path().join("b");
    let file = file.to_str().unwrap();
    home.ok(&["backup", file]);
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
    let root = home.path().join("elsewhere");
    let args = ["coordinator", "--listen", "127.0.0.1:0", "--data-dir", root.to_str().unwrap()];
    let ended = home.run(&[&args[..], &["--restore", file]].concat());
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stderr.contains("is damaged at byte"), "{ended:?}");
    assert!(!root.exists());
}
