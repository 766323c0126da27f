//! A coordinator whose disk is full, out of inodes or read-only: on a file system of its own.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends at the first thing that is not as it should be, and says why it is skipped"
)]

mod common;

use std::fs;
use std::path::Path;

use common::tmpfs::Tmpfs;
use common::{Ended, Home, Service, until};

/// Of each task's output: noise, so that nothing makes it smaller.
const OUTPUT_BYTES: usize = 1 << 20;
const TASKS: usize = 8;
/// Room for two outputs, not for eight.
const RESERVE: &str = "3MiB";
/// Nothing here may run out; after a restart of the coordinator it may have to be waited out.
const LEASE: &str = "15s";

/// A coordinator on a file system of its own, where one can be mounted.
fn on_tmpfs(options: &str) -> Option<(Home, Tmpfs)> {
    match Tmpfs::mount(options) {
        Ok(tmpfs) => Some((Home::on(tmpfs.prefix()), tmpfs)),
        Err(why) => {
            println!("skipped: no file system can be mounted here: {why}");
            None
        }
    }
}

fn coordinator(home: &Home, disk: &Tmpfs) -> (Service, String) {
    let data_dir = disk.path().to_str().unwrap();
    home.coordinator_with(&["--data-dir", data_dir, "--reserve", RESERVE, "--lease", LEASE])
}

fn refused(ended: &Ended, why: &str, disk: &Tmpfs) {
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains(why), "{ended:?}");
    assert!(ended.stderr.contains(disk.path().to_str().unwrap()), "{ended:?}");
}

fn submit(home: &Home) -> Ended {
    home.run(&["submit", "--", "true"])
}

/// Submits tasks that run one after the other, wait for a file, and print noise that they keep a copy of.
fn submit_noise(home: &Home) -> String {
    let at = home.path().display();
    let job = format!(
        "[[stage]]\nname = \"noise\"\nfor_each.range = \"0..{TASKS}\"\ncpus = 2\nscript = '''\n\
         while [ ! -e {at}/go ]; do sleep 0.05; done\n\
         head -c {OUTPUT_BYTES} /dev/urandom | tee \"{at}/noise/$GRID_INDEX.$GRID_TOKEN\"\n'''\n"
    );
    fs::create_dir(home.path().join("noise")).unwrap();
    home.ok(&["submit", &home.file("noise.toml", &job)]).trim().to_owned()
}

/// The output of a task is whole, and that of one of its attempts.
fn check_noise(home: &Home, job: &str, task: usize) {
    let printed = home.run(&["output", &format!("{job}/noise/{task}")]).stdout;
    assert_eq!(printed.len(), OUTPUT_BYTES, "task {task}");
    let is_of_task =
        |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{task}."));
    let copies =
        fs::read_dir(home.path().join("noise")).unwrap().map(|entry| entry.unwrap().path());
    let mut copies = copies.filter(|path| is_of_task(path)).map(|path| fs::read(path).unwrap());
    assert!(copies.any(|copy| copy == printed), "task {task}");
}

fn until_log(service: &Service, text: &str) {
    until(text, || {
        let log = service.log();
        if log.contains(text) { Ok(()) } else { Err(log) }
    });
}

fn until_accepted(home: &Home) {
    until("submissions are taken again", || {
        let ended = submit(home);
        if ended.code == Some(0) { Ok(()) } else { Err(ended) }
    });
}

/// Fills the disk while tasks run, and lets them end: some results fit into the reserve, the others wait.
fn until_results_wait(home: &Home, disk: &Tmpfs, coordinator: &Service) -> String {
    let job = submit_noise(home);
    until("the reserve is there", || match disk.count("reserve") {
        16 => Ok(()),
        files => Err((files, coordinator.log())),
    });
    home.until_job(&job, "a task runs", |status| status["tasks"]["running"] == 1);
    disk.fill();
    refused(&submit(home), "the coordinator's disk is full", disk);
    refused(&home.run(&["token", "create", "--role", "worker"]), "disk is full", disk);
    let status = home.ok(&["status", &job]);
    assert!(status.contains("disk is full"), "{status}");
    assert!(home.ok(&["explain", &job]).contains("disk is full"));
    until_log(coordinator, "the coordinator's disk is full");
    home.file("go", "");
    until_log(coordinator, "the reserve is used up");
    job
}

#[test]
fn full_disk_refuses_submissions_commits_from_the_reserve_then_lets_results_wait_and_heals() {
    let Some((home, disk)) = on_tmpfs("size=24m") else { return };
    let (coordinator, token) = coordinator(&home, &disk);
    let _worker = home.worker("one", &token);
    let job = until_results_wait(&home, &disk, &coordinator);
    assert_eq!(disk.count("reserve"), 0);

    // Reads go on, and so do heartbeats.
    let status = home.json(&["status", &job, "--json"]);
    let done = usize::try_from(status["tasks"]["done"].as_u64().unwrap()).unwrap();
    assert!((1..TASKS).contains(&done), "{status}");
    check_noise(&home, &job, 0);
    assert_eq!(home.json(&["workers", "--json"])[0]["state"], "ready");
    assert!(home.ok(&["explain", &job]).contains("results wait with their workers"));
    refused(&home.run(&["cancel", &job]), "results wait with their workers", &disk);
    refused(&submit(&home), "the coordinator's disk is full", &disk);

    disk.free();
    assert_eq!(home.run(&["wait", &job]).code, Some(0), "{}", coordinator.log());
    (0..TASKS).for_each(|task| check_noise(&home, &job, task));
    until_accepted(&home);
    until("the reserve is made again", || match disk.count("reserve") {
        16 => Ok(()),
        files => Err((files, coordinator.log())),
    });
    assert!(!home.ok(&["status", &job]).contains("disk is full"));
}

#[test]
fn coordinator_that_is_killed_on_a_full_disk_loses_nothing() {
    let Some((home, disk)) = on_tmpfs("size=24m") else { return };
    let (mut coordinator, token) = coordinator(&home, &disk);
    let _worker = home.worker("one", &token);
    let job = until_results_wait(&home, &disk, &coordinator);
    let done = |status: &serde_json::Value| status["tasks"]["done"].as_u64().unwrap();
    let before = done(&home.json(&["status", &job, "--json"]));
    coordinator.kill();
    disk.free();
    let (coordinator, _) = self::coordinator(&home, &disk);
    let after = done(&home.json(&["status", &job, "--json"]));
    assert!(after >= before, "{before} tasks were done, and now {after} are");
    assert_eq!(home.run(&["wait", &job]).code, Some(0), "{}", coordinator.log());
    (0..TASKS).for_each(|task| check_noise(&home, &job, task));
    until_accepted(&home);
}

#[test]
fn coordinator_that_is_told_to_stop_on_a_full_disk_stops_and_says_what_was_not_kept() {
    let Some((home, disk)) = on_tmpfs("size=24m") else { return };
    let (coordinator, token) = coordinator(&home, &disk);
    let _worker = home.worker("one", &token);
    until_results_wait(&home, &disk, &coordinator);
    coordinator.signal(rustix::process::Signal::TERM);
    let (code, log) = coordinator.ended();
    assert_eq!(code, Some(7), "{log}");
    assert!(log.contains("was not acknowledged to anybody"), "{log}");
}

#[test]
fn disk_without_inodes_refuses_submissions_until_there_are_some() {
    let Some((home, disk)) = on_tmpfs("size=24m,nr_inodes=80") else { return };
    let (coordinator, token) = coordinator(&home, &disk);
    let _worker = home.worker("one", &token);
    until_accepted(&home);
    disk.fill_inodes();
    refused(&submit(&home), "no inodes are left", &disk);
    until_log(&coordinator, "no inodes are left");
    disk.free();
    until_accepted(&home);
    assert_eq!(home.run(&["wait", "last"]).code, Some(0), "{}", coordinator.log());
}

#[test]
fn coordinator_on_a_read_only_disk_does_not_start_and_says_so() {
    let Some((home, disk)) = on_tmpfs("size=24m") else { return };
    let (mut coordinator, _) = coordinator(&home, &disk);
    until_accepted(&home);
    coordinator.kill();
    disk.remount("ro");
    let data_dir = disk.path().to_str().unwrap();
    let ended = home.run(&["coordinator", "--data-dir", data_dir, "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stderr.contains("Read-only") && ended.stderr.contains(data_dir), "{ended:?}");
    disk.remount("rw");
    let _coordinator = self::coordinator(&home, &disk);
    assert_eq!(home.json(&["jobs", "--json"]).as_array().map(Vec::len), Some(1));
}
