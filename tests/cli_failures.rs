//! Machines that fail: `kill -9` of workers and of the coordinator, outages, and peers that do not belong.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use common::{DEADLINE, Home, at_work, children, is_running, until};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

/// Appends its index to the file `log`, then prints a line; takes a while.
const LOGGED: &str = r#"echo "$1" >> "$2"; sleep 0.1; echo "line $1""#;

/// The words of a submission of [`LOGGED`].
fn logged<'a>(options: &[&'a str], range: &'a str, log: &'a str) -> Vec<&'a str> {
    let submit = [&["submit"], options, &["--range", range, "--"]].concat();
    [&submit[..], &["sh", "-c", LOGGED, "sh", "{item}", log]].concat()
}

fn submit_logged(home: &Home, tasks: u32, log: &Path) -> String {
    let range = format!("0..{tasks}");
    home.ok(&logged(&[], &range, log.to_str().unwrap())).trim().to_owned()
}

fn expected(tasks: u32) -> String {
    (0..tasks).map(|n| format!("line {n}\n")).collect()
}

fn runs_of(log: &Path, index: u64) -> usize {
    let index = index.to_string();
    fs::read_to_string(log).unwrap().lines().filter(|line| *line == index).count()
}

fn done(status: &Value) -> u64 {
    status["tasks"]["done"].as_u64().unwrap()
}

#[test]
fn what_a_killed_worker_was_running_runs_elsewhere_and_the_output_is_the_same() {
    let home = Home::new();
    let (_coordinator, token) = home.coordinator();
    let mut one = home.worker("one", &token);
    let _two = home.worker("two", &token);
    let log = home.path().join("log");
    let job = submit_logged(&home, 120, &log);
    home.until_job(&job, "both have begun", |status| done(status) >= 20);
    one.kill();
    assert_eq!(home.run(&["wait", &job]).code, Some(0));
    assert_eq!(home.ok(&["output", &job]), expected(120));
    let lost = |workers: &Value| {
        workers.as_array().unwrap().iter().any(|w| w["name"] == "one" && w["state"] == "lost")
    };
    until("the killed worker is lost", || {
        let workers = home.json(&["workers", "--json"]);
        if lost(&workers) { Ok(()) } else { Err(workers) }
    });
}

#[test]
fn tasks_that_die_with_the_small_parent_of_a_worker_are_lost_and_not_failed() {
    let home = Home::new();
    let (_coordinator, token) = home.coordinator();
    let one = home.worker("one", &token);
    let _two = home.worker("two", &token);
    let log = home.path().join("log");
    let job = submit_logged(&home, 120, &log);
    home.until_job(&job, "both have begun", |status| done(status) >= 20);
    let below = children(one.pid());
    assert!(below.len() > 1, "the worker, and a task of it: {below:?}");
    // The child kills its tasks and itself; that signal is nobody's failure.
    one.signal(Signal::KILL);
    assert_eq!(home.run(&["wait", &job]).code, Some(0), "{}", home.ok(&["status", &job]));
    assert_eq!(home.ok(&["output", &job]), expected(120));
    until("nothing of it is left", || {
        let left: Vec<&Pid> = below.iter().filter(|pid| is_running(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn a_restart_of_the_coordinator_costs_nothing_that_was_done_and_no_running_task() {
    let home = Home::new();
    // A lease that no pause of a loaded machine outlasts: what ran may not be given away.
    let options = ["--lease", "60s", "--heartbeat", "300ms"];
    let (mut coordinator, token) = home.coordinator_with(&options);
    let _one = home.worker("one", &token);
    let log = home.path().join("log");
    let (waiting, lines) = home.start(&logged(&["--wait"], "0..100", log.to_str().unwrap()));
    // Whoever has been told the number is connected, and waits.
    let job = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{}", waiting.log()));
    home.until_job(&job, "some of it is done", |status| done(status) >= 20);
    let before = home.json(&["tasks", &job, "--state", "done", "--json"]);
    coordinator.kill();
    drop(coordinator);
    let (_again, _) = home.coordinator_with(&options);
    let (code, said) = waiting.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("out of reach") && said.contains("is back"), "{said}");
    assert_eq!(home.ok(&["output", &job]), expected(100));
    let before: BTreeSet<u64> =
        before.as_array().unwrap().iter().map(|task| task["index"].as_u64().unwrap()).collect();
    assert!(before.len() >= 20);
    for index in before {
        assert_eq!(runs_of(&log, index), 1, "task {index} was done before, and ran again");
    }
    // Here the worker stayed, so what it was running was adopted.
    for index in 0..100 {
        assert_eq!(runs_of(&log, index), 1, "task {index}");
    }
}

#[test]
fn a_coordinator_that_is_gone_is_told_with_exit_3_and_how_to_go_on() {
    let home = Home::new();
    let (mut coordinator, _token) = home.coordinator();
    let (waiting, lines) = home.start(&["submit", "--wait", "--reconnect", "1s", "--", "true"]);
    // Whoever has been told the number is connected, and waits.
    let job = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{}", waiting.log()));
    coordinator.kill();
    let (code, said) = waiting.ended();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&format!("gridctl wait {job}")), "{said}");
    let ended = home.run(&["jobs"]);
    assert_eq!((ended.code, ended.out()), (Some(3), ""), "{ended:?}");
    assert!(ended.stderr.contains("no coordinator was reached"), "{ended:?}");
}

#[test]
fn strangers_are_refused_and_the_coordinator_serves_on() {
    let (home, other) = (Home::new(), Home::new());
    let (coordinator, token) = home.coordinator();
    let (_other_coordinator, other_token) = other.coordinator();
    let _one = home.worker("one", &token);
    let profile = |home: &Home| home.path().join(".config/gridctl/profiles/grid");
    let address = {
        let text = fs::read_to_string(profile(&home).join("profile.toml")).unwrap();
        let table: toml::Table = text.parse().unwrap();
        table["addresses"][0].as_str().unwrap().to_owned()
    };

    // Of another authority.
    let with_address = format!("addresses = [\"{address}\"]\n");
    fs::write(profile(&other).join("profile.toml"), &with_address).unwrap();
    let refused = other.run(&["jobs"]);
    assert_eq!((refused.code, refused.out()), (Some(4), ""), "{refused:?}");

    // Of the right authority, and the wrong role.
    let identity = home.path().join("one/identity");
    for file in ["key.pem", "certificate.pem", "ca.pem"] {
        fs::copy(identity.join(file), profile(&other).join(file)).unwrap();
    }
    let refused = other.run(&["jobs"]);
    assert_eq!((refused.code, refused.out()), (Some(4), ""), "{refused:?}");
    assert!(refused.stderr.contains("that of a worker"), "{refused:?}");

    // Without any certificate.
    fs::remove_file(profile(&other).join("certificate.pem")).unwrap();
    let refused = other.run(&["jobs"]);
    assert_eq!((refused.code, refused.out()), (Some(4), ""), "{refused:?}");

    // With a token of another grid.
    let stranger = Home::new();
    let refused = stranger.run(&["login", &other_token]);
    assert_eq!(refused.code, Some(4), "a worker's token enrols no person: {refused:?}");

    // Garbage.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [1_usize, 20, 1200, 1400] {
        let garbage: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
        socket.send_to(&garbage, &address).unwrap();
    }

    assert_eq!(
        home.run(&["submit", "--wait", "--", "true"]).code,
        Some(0),
        "{}",
        coordinator.log()
    );
    let log = coordinator.log();
    let refusals = log.lines().filter(|line| line.contains("WARN")).count();
    // That of the other authority; the rest did not get as far, or said nothing that could be heard.
    assert_eq!(refusals, 1, "a refusal is one line: {log}");
    assert_eq!(home.json(&["workers", "--json"])[0]["state"], json!("ready"));
}

#[test]
fn results_that_memory_has_no_room_for_wait_on_disk_for_a_coordinator_that_is_away() {
    let home = Home::new();
    let (mut coordinator, token) = home.coordinator_with(&["--lease", "10m"]);
    let one = home.worker("one", &token);
    let go = home.path().join("go");
    let script = r#"touch "$1.$2"; while [ ! -e "$1" ]; do sleep 0.02; done; head -c 15000000 /dev/zero; head -c 15000000 /dev/zero >&2"#;
    let go_text = go.to_str().unwrap();
    let job =
        home.ok(&["submit", "--range", "0..2", "--", "sh", "-c", script, "sh", go_text, "{item}"]);
    let job = job.trim();
    until("both run", || {
        let begun = ["go.0", "go.1"].map(|file| home.path().join(file).exists());
        if begun == [true; 2] { Ok(()) } else { Err((begun, one.log())) }
    });
    coordinator.kill();
    fs::write(&go, "").unwrap();
    let worker = at_work(one.pid()).unwrap();
    let descriptors = format!("/proc/{}/fd", worker.as_raw_nonzero());
    until("some of it is in a file without a name", || {
        let links = fs::read_dir(&descriptors).unwrap().filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_nameless = fs::read_link(&path).ok()?.to_string_lossy().ends_with(" (deleted)");
            let bytes = fs::metadata(&path).ok()?.len();
            is_nameless.then_some(bytes)
        });
        let largest = links.max();
        if largest >= Some(30_000_000) { Ok(()) } else { Err((largest, one.log())) }
    });
    drop(coordinator);
    let (_again, _) = home.coordinator_with(&["--lease", "10m"]);
    assert_eq!(home.run(&["wait", job]).code, Some(0), "{}", one.log());
    for stream in [&[][..], &["--stderr"]] {
        let ended = home.run(&[&["output", job], stream].concat());
        assert!(ended.stdout == vec![0; 30_000_000], "{} bytes", ended.stdout.len());
    }
}
