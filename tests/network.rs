//! Networks that move, lose and cut, between real processes.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends at the first thing that is not as it should be, and says what it measured"
)]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use common::hosts::Host;
use common::relay::Relay;
use common::{DEADLINE, Home, Service, until};
use rustix::process::Signal;

/// Longer than a loaded machine makes anyone wait: it runs out in none of the tests that use it.
const LONG_LEASE: &str = "60s";
/// Notes that it began, then waits until it may end.
const GATED: &str = r#"echo "$1" >> runs; while [ ! -e go ]; do sleep 0.05; done; echo "line $1""#;

/// A coordinator that workers reach only through a relay, and people directly.
struct Grid {
    home: Home,
    relay: Relay,
    coordinator: Service,
    /// Where it listens itself.
    address: SocketAddr,
    token: String,
}

impl Grid {
    fn new(lease: &str) -> Self {
        let (home, relay) = (Home::new(), Relay::new(7));
        let options = ["--lease", lease, "--advertise", &relay.address()];
        let (coordinator, token) = home.coordinator_with(&options);
        let port = home.path().join(".local/state/gridctl/coordinator/port");
        let port: u16 = fs::read_to_string(port).unwrap().trim().parse().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        relay.lead_to(address);
        let profile = home.path().join(".config/gridctl/profiles/grid/profile.toml");
        let text = fs::read_to_string(&profile).unwrap();
        fs::write(&profile, text.replace(&relay.address(), &address.to_string())).unwrap();
        Self { home, relay, coordinator, address, token }
    }

    /// Submits tasks that wait for [`open`](Self::open), and waits until some of them have begun.
    fn submit_gated(&self, tasks: u32, begun: usize) -> String {
        let (range, here) = (format!("0..{tasks}"), self.home.path().to_str().unwrap());
        let submit = ["submit", "--cwd", here, "--range", &range, "--"];
        let script = ["sh", "-c", GATED, "sh", "{item}"];
        let job = self.home.ok(&[&submit[..], &script].concat()).trim().to_owned();
        until("the tasks have begun", || {
            let runs = self.runs();
            if runs.len() >= begun { Ok(()) } else { Err((runs, self.coordinator.log())) }
        });
        job
    }

    /// The indices of what began, in its order; one that began twice is there twice.
    fn runs(&self) -> Vec<String> {
        let text = fs::read_to_string(self.home.path().join("runs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn open(&self) {
        self.home.file("go", "");
    }

    /// Waits for the job, and checks that each of its tasks ran just once.
    fn each_ran_once(&self, job: &str, tasks: u32) {
        let ended = self.home.run(&["wait", job]);
        assert_eq!(ended.code, Some(0), "{ended:?}\n{}", self.coordinator.log());
        let lines: String = (0..tasks).map(|n| format!("line {n}\n")).collect();
        assert_eq!(self.home.ok(&["output", job]), lines);
        let mut runs = self.runs();
        runs.sort_unstable();
        let mut expected: Vec<String> = (0..tasks).map(|n| n.to_string()).collect();
        expected.sort_unstable();
        assert_eq!(runs, expected, "each task once\n{}", self.coordinator.log());
    }

    fn state(&self, worker: &str) -> String {
        let workers = self.home.json(&["workers", "--json"]);
        let named = workers.as_array().unwrap().iter().find(|row| row["name"] == worker);
        named.unwrap()["state"].as_str().unwrap().to_owned()
    }

    /// Waits until datagrams have passed both ways after now.
    fn until_passed(&self, datagrams: u64) {
        let (before, _) = self.relay.counts();
        until("datagrams pass", || {
            let (now, _) = self.relay.counts();
            if now >= before + datagrams { Ok(()) } else { Err((before, now)) }
        });
    }
}

#[test]
fn a_worker_behind_a_nat_that_rebinds_keeps_its_connection_and_its_tasks() {
    let grid = Grid::new(LONG_LEASE);
    let worker = grid.home.worker("one", &grid.token);
    let job = grid.submit_gated(2, 2);
    let connected = grid.coordinator.log().matches("worker connected").count();
    for _ in 0..3 {
        grid.relay.rebind();
        // The old mapping is gone for good: what passes now goes by the new one.
        grid.until_passed(4);
    }
    grid.open();
    grid.each_ran_once(&job, 2);
    let log = grid.coordinator.log();
    assert_eq!(log.matches("worker connected").count(), connected, "{log}");
    assert!(!worker.log().contains("lost the coordinator"), "{}", worker.log());
}

#[test]
fn a_worker_whose_address_changes_in_mid_task_keeps_its_connection_and_its_task() {
    let hosts = Host::new().and_then(|one| Ok((one, Host::new()?)));
    let wired = hosts.and_then(|(here, there)| {
        here.connect("10.99.0.1/24", &there, "10.99.0.2/24")?;
        Ok((here, there))
    });
    let (here, there) = match wired {
        Ok(hosts) => hosts,
        Err(why) => {
            println!("skipped: no network namespaces here: {why}");
            return;
        }
    };
    let (home, roamer) = (Home::on(here.prefix()), Home::on(there.prefix()));
    let options = ["coordinator", "--listen", "10.99.0.1:0", "--lease", LONG_LEASE];
    let (coordinator, lines) = home.start(&[&options[..], &["--heartbeat", "300ms"]].concat());
    let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{}", coordinator.log()));
    let join: Vec<&str> = line.split(' ').skip(1).collect();
    let (worker, _) = roamer.start(&[&join[..], &["--name", "roamer"]].concat());
    let (begun, go) = (roamer.path().join("begun"), roamer.path().join("go"));
    let script = r#"touch "$1"; while [ ! -e "$2" ]; do sleep 0.05; done; echo done"#;
    let paths = [begun.to_str().unwrap(), go.to_str().unwrap()];
    let submit = ["submit", "--", "sh", "-c", script, "sh", paths[0], paths[1]];
    let job = home.ok(&submit).trim().to_owned();
    until("the task has begun", || if begun.exists() { Ok(()) } else { Err(worker.log()) });
    for (from, to) in [("10.99.0.2/24", "10.99.0.3/24"), ("10.99.0.3/24", "10.99.0.4/24")] {
        there.move_to(from, to);
        let moved = Instant::now();
        until("a heartbeat came from the new address", || {
            let workers = home.json(&["workers", "--json"]);
            let since_ms = workers[0]["last_heartbeat_ms"].as_u64().unwrap();
            let is_new = Duration::from_millis(since_ms + 100) < moved.elapsed();
            if is_new { Ok(()) } else { Err((workers, worker.log())) }
        });
    }
    std::fs::write(go, "").unwrap();
    let ended = home.run(&["wait", &job]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(home.json(&["tasks", &job, "--json"])[0]["attempts"], 1);
    let log = coordinator.log();
    assert_eq!(log.matches("worker connected").count(), 1, "{log}");
    assert!(!worker.log().contains("lost the coordinator"), "{}", worker.log());
}

#[test]
fn a_cut_that_is_shorter_than_the_lease_costs_no_task() {
    let grid = Grid::new(LONG_LEASE);
    let _worker = grid.home.worker("one", &grid.token);
    let job = grid.submit_gated(2, 2);
    grid.relay.cut(true);
    // The tasks end while nothing passes, so that their reports have to wait for the end of the cut.
    grid.open();
    thread::sleep(Duration::from_secs(2));
    grid.relay.cut(false);
    grid.each_ran_once(&job, 2);
    assert!(!grid.coordinator.log().contains("worker lost"), "{}", grid.coordinator.log());
}

#[test]
fn a_network_that_loses_a_fifth_of_everything_costs_no_task() {
    let grid = Grid::new(LONG_LEASE);
    let _worker = grid.home.worker("one", &grid.token);
    grid.relay.lose(20);
    grid.open();
    let job = grid.submit_gated(60, 1);
    grid.each_ran_once(&job, 60);
    let (passed, lost) = grid.relay.counts();
    assert!(lost * 20 > passed, "{lost} lost, {passed} passed");
    assert!(!grid.coordinator.log().contains("worker lost"), "{}", grid.coordinator.log());
}

#[test]
fn after_a_cut_longer_than_the_lease_both_sides_agree_on_one_result() {
    let grid = Grid::new("2s");
    join_direct(&grid, "two");
    let _one = grid.home.worker("one", &grid.token);
    let job = grid.submit_gated(2, 2);
    grid.relay.cut(true);
    until("the worker that is cut off is lost", || {
        let state = grid.state("one");
        if state == "lost" { Ok(()) } else { Err(state) }
    });
    // A worker that reaches the coordinator directly takes the tasks over; the first one still runs them.
    let data_dir = grid.home.path().join("two");
    let (_two, _) =
        grid.home.start(&["worker", "--data-dir", data_dir.to_str().unwrap(), "--cpus", "2"]);
    until("they run again on the other worker", || {
        let runs = grid.runs();
        if runs.len() >= 4 { Ok(()) } else { Err((runs, grid.coordinator.log())) }
    });
    grid.open();
    let ended = grid.home.run(&["wait", &job]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let before = grid.home.json(&["tasks", &job, "--json"]);
    let healed = Instant::now();
    grid.relay.cut(false);
    until("both are ready", || {
        let states = [grid.state("one"), grid.state("two")];
        if states == ["ready", "ready"] { Ok(()) } else { Err((states, grid.coordinator.log())) }
    });
    // What a person would want to know; the machine decides, so nothing is asserted of it.
    println!("agreed {:.1} s after the end of the cut", healed.elapsed().as_secs_f64());
    assert_eq!(grid.home.json(&["tasks", &job, "--json"]), before, "no result was replaced");
    assert_eq!(grid.home.ok(&["output", &job]), "line 0\nline 1\n");
}

/// Lets a worker join and leave, and tells it the coordinator's own address for its next start.
fn join_direct(grid: &Grid, name: &str) {
    let worker = grid.home.worker(name, &grid.token);
    worker.signal(Signal::TERM);
    let (code, log) = worker.ended();
    assert_eq!(code, Some(0), "{log}");
    let memory = grid.home.path().join(name).join("worker.json");
    let text = fs::read_to_string(&memory).unwrap();
    let direct = text.replace(&grid.relay.address(), &grid.address.to_string());
    assert_ne!(direct, text, "it knew the relay only");
    fs::write(&memory, direct).unwrap();
}
