//! A coordinator that is killed again and again in the middle of its work. The judge is the clients' own
//! record: whatever was acknowledged to one of them, or shown to it as done, is there after every kill.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends at the first thing that is not as it should be, and says what it measured"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{Ended, Home, Service, until};
use serde_json::Value;

/// How often the coordinator is killed, unless `GRIDCTL_KILLS` says another number.
const KILLS: u32 = 15;
/// What the moments follow from, unless `GRIDCTL_SEED` says another number.
const SEED: u64 = 1;
/// Tasks a kill, so that the job lasts as long as the killing.
const TASKS_A_KILL: u32 = 10;
/// The longest that a coordinator may serve before it is killed.
const SERVES_MS_MAX: u64 = 400;
/// A lease longer than any of the outages: no running task may be given away because of one. The heartbeat
/// says how soon a worker notices that its coordinator was another one meanwhile.
const OPTIONS: [&str; 4] = ["--lease", "90s", "--heartbeat", "300ms"];
/// The longest that a coordinator gets to start, where it is killed while it starts.
const STARTS_MS_MAX: u64 = 60;
/// Notes that it began, takes a while, prints a line.
const LOGGED: &str = r#"echo "$1" >> runs; sleep 0.05; echo "line $1""#;

/// What a client was told.
#[derive(Default)]
struct Record {
    /// By the id under which it was submitted, the number that was acknowledged.
    acknowledged: BTreeMap<String, String>,
    /// Tasks of the long job that were shown as done.
    done: BTreeSet<u64>,
    /// How often an answer did not come, and was asked for again.
    repeats: u32,
}

/// Submits small jobs, each until it is acknowledged, and looks at the long one in between.
struct Client {
    ended: Arc<AtomicBool>,
    record: Arc<Mutex<Record>>,
    thread: JoinHandle<()>,
}

impl Client {
    fn start(home: &Arc<Home>, job: &str, seed: u64) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let record = Arc::new(Mutex::new(Record::default()));
        let thread = thread::spawn({
            let (home, ended, record) = (Arc::clone(home), Arc::clone(&ended), Arc::clone(&record));
            let (job, mut chance) = (job.to_owned(), fastrand::Rng::with_seed(seed));
            move || {
                while !ended.load(Ordering::SeqCst) {
                    submit(&home, &mut chance, &record);
                    look(&home, &job, &record);
                }
            }
        });
        Self { ended, record, thread }
    }

    fn finish(self) -> Record {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        Arc::into_inner(self.record).unwrap().into_inner().unwrap()
    }
}

/// An id of the form that clients make, from the test's own chance.
fn job_id(chance: &mut fastrand::Rng) -> String {
    let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let (high, low) = (since_1970 >> 16, since_1970 & 0xffff);
    let (a, b, c) = (chance.u16(..) & 0xfff, chance.u16(..) & 0x3fff | 0x8000, chance.u64(..));
    format!("{high:08x}-{low:04x}-7{a:03x}-{b:04x}-{:012x}", c >> 16)
}

fn is_unreached(ended: &Ended) -> bool {
    ended.code == Some(3)
}

fn submit(home: &Home, chance: &mut fastrand::Rng, record: &Mutex<Record>) {
    let id = job_id(chance);
    let name = format!("small {}", &id[..8]);
    let number = until("a submission is acknowledged", || {
        let ended = home.run(&["submit", "--id", &id, "-n", &name, "--", "echo", &id]);
        match ended.code {
            Some(0) => Ok(ended.out().trim().to_owned()),
            Some(3) => {
                record.lock().unwrap().repeats += 1;
                Err(ended)
            }
            _ => panic!("a submission ended otherwise than acknowledged or unreached: {ended:?}"),
        }
    });
    record.lock().unwrap().acknowledged.insert(id, number);
}

fn look(home: &Home, job: &str, record: &Mutex<Record>) {
    let ended = home.run(&["tasks", job, "--state", "done", "--json"]);
    if ended.code != Some(0) {
        assert!(is_unreached(&ended), "{ended:?}");
        return;
    }
    let tasks: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let done = tasks.as_array().unwrap().iter().map(|task| task["index"].as_u64().unwrap());
    let now: BTreeSet<u64> = done.collect();
    let record = &mut *record.lock().unwrap();
    let lost: Vec<&u64> = record.done.difference(&now).collect();
    assert!(lost.is_empty(), "tasks that were shown as done are not done: {lost:?}");
    record.done.extend(now);
}

/// Checks after a kill that everything acknowledged is there, once.
fn judge(home: &Home, record: &Record) {
    let jobs = home.json(&["jobs", "--json"]);
    let mut there: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for job in jobs.as_array().unwrap() {
        there.entry(job["id"].as_str().unwrap()).or_default().push(job["number"].to_string());
    }
    for (id, number) in &record.acknowledged {
        let known = there.get(id.as_str());
        assert_eq!(known, Some(&vec![number.clone()]), "job {number}, which was acknowledged");
    }
}

fn runs(path: &Path) -> BTreeMap<u64, u32> {
    let mut runs = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        *runs.entry(line.parse().unwrap()).or_default() += 1;
    }
    runs
}

fn serve(home: &Home) -> Service {
    home.coordinator_with(&OPTIONS).0
}

#[test]
fn nothing_acknowledged_is_lost_and_no_task_runs_twice_however_often_the_coordinator_is_killed() {
    let kills = std::env::var("GRIDCTL_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let seed = std::env::var("GRIDCTL_SEED").map_or(SEED, |text| text.parse().unwrap());
    println!("GRIDCTL_SEED={seed} GRIDCTL_KILLS={kills}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let home = Arc::new(Home::new());
    let (mut coordinator, token) = home.coordinator_with(&OPTIONS);
    let worker = home.worker("one", &token);
    let (tasks, here) = (kills * TASKS_A_KILL, home.path().to_str().unwrap());
    let range = format!("0..{tasks}");
    let args =
        ["submit", "--cwd", here, "--range", &range, "--", "sh", "-c", LOGGED, "sh", "{item}"];
    let job = home.ok(&args).trim().to_owned();
    let client = Client::start(&home, &job, chance.u64(..));

    for _ in 0..kills {
        thread::sleep(Duration::from_millis(chance.u64(0..SERVES_MS_MAX)));
        coordinator.kill();
        if chance.u32(0..4) == 0 {
            // A life that ends before it serves anyone.
            let args = [&["coordinator", "--listen", "127.0.0.1:0"], &OPTIONS[..]].concat();
            let (mut early, _) = home.start(&args);
            thread::sleep(Duration::from_millis(chance.u64(0..STARTS_MS_MAX)));
            early.kill();
        }
        coordinator = serve(&home);
    }
    let record = client.finish();
    judge(&home, &record);
    until("the long job ends", || {
        let status = home.json(&["status", &job, "--json"]);
        if status["state"] == "running" {
            return Err((status["tasks"].clone(), coordinator.log(), worker.log()));
        }
        Ok(())
    });
    let ended = home.run(&["wait", &job]);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}\n{}", coordinator.log(), worker.log());
    let lines: String = (0..tasks).map(|n| format!("line {n}\n")).collect();
    assert_eq!(home.ok(&["output", &job]), lines);
    let twice: Vec<(u64, u32)> =
        runs(&home.path().join("runs")).into_iter().filter(|(_, times)| *times != 1).collect();
    assert!(twice.is_empty(), "the worker stayed, and yet these ran again: {twice:?}");
    for (id, number) in &record.acknowledged {
        let ended = home.run(&["wait", number]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(home.ok(&["output", number]).trim(), id, "job {number}");
    }
    assert!(!record.acknowledged.is_empty(), "nothing was acknowledged between the kills");
    println!(
        "{kills} kills: {} of {tasks} tasks shown as done meanwhile, {} submissions acknowledged, {} \
         sent again; nothing lost, nothing twice",
        record.done.len(),
        record.acknowledged.len(),
        record.repeats
    );
}

/// Work redone after an outage of the coordinator; `scripts/outage.sh` runs it with one of a minute.
#[test]
fn an_outage_of_the_coordinator_redoes_none_of_what_was_in_flight() {
    let outage = std::env::var("GRIDCTL_OUTAGE_S").map_or(4, |text| text.parse().unwrap());
    let lease = std::env::var("GRIDCTL_LEASE").unwrap_or_else(|_| "90s".to_owned());
    let options = ["--lease", &lease, "--heartbeat", "300ms"];
    let home = Home::new();
    let (mut coordinator, token) = home.coordinator_with(&options);
    let workers: Vec<Service> =
        ["one", "two", "three", "four"].map(|name| home.worker(name, &token)).into();
    let (tasks, here) = (workers.len() * 2, home.path().to_str().unwrap());
    // All of them are in flight when the outage begins; half end during it, half after it.
    let script =
        r#"echo "$1" >> runs; until [ -e "go$(($1 % 2))" ]; do sleep 0.1; done; echo "line $1""#;
    let range = format!("0..{tasks}");
    let args =
        ["submit", "--cwd", here, "--range", &range, "--", "sh", "-c", script, "sh", "{item}"];
    let job = home.ok(&args).trim().to_owned();
    let path = home.path().join("runs");
    until("all are in flight", || {
        let begun = fs::read_to_string(&path).unwrap_or_default().lines().count();
        if begun >= tasks { Ok(()) } else { Err(begun) }
    });
    let in_flight = runs(&path);
    coordinator.kill();
    home.file("go0", "");
    thread::sleep(Duration::from_secs(outage));
    let (_coordinator, _) = home.coordinator_with(&options);
    home.file("go1", "");
    let ended = home.run(&["wait", &job]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let redone = runs(&path).iter().filter(|(task, times)| **times > in_flight[*task]).count();
    println!(
        "lease {lease}, outage of {outage} s: {redone} of {tasks} tasks in flight were run again"
    );
    assert_eq!(redone, 0, "{}", workers[0].log());
}
