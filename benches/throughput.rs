//! The first numbers: whole commands against the floor of the machine, as ratios in one run.
//!
//! `cargo bench --bench throughput` prints a table; each row gives the median of interleaved pairs and
//! their spread. Machines differ and drift, so only the ratios of one run mean something.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends at the first failure and prints a table"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Interleaved pairs of each row: enough for a median that a single disturbance does not move.
const PAIRS: usize = 7;
const PROCESSES: u64 = 10_000;
const FUNCTIONS: u64 = 1_000_000;
const SUBMISSIONS: usize = 50;

fn gridctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gridctl"));
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end and returns how long it took.
fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    let output = command.output().unwrap();
    let took = start.elapsed();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    took
}

/// The floor: the same programs from bare threads, as many as there are cpus.
fn bare_processes(total: u64) -> Duration {
    let threads = std::thread::available_parallelism().unwrap().get();
    let next = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < total {
                    assert!(Command::new("/bin/true").output().unwrap().status.success());
                }
            });
        }
    });
    start.elapsed()
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn row(name: &str, what: &str, values: Vec<f64>) {
    let (middle, low, high) = median(values);
    println!("{name:<52} {middle:>12.2} {what:<22} ({low:.2} to {high:.2})");
}

fn processes() {
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let floor = bare_processes(PROCESSES);
        let range = format!("0..{PROCESSES}");
        let ours = timed(gridctl().args(["run", "--quiet", "--range", &range, "--", "/bin/true"]));
        ratios.push(floor.as_secs_f64() / ours.as_secs_f64());
        rates.push(PROCESSES as f64 / ours.as_secs_f64());
    }
    row("10,000 /bin/true by `gridctl run`", "of the bare loop's rate", ratios);
    row("", "processes/s", rates);
}

fn functions(dir: &Path) {
    let file = dir.join("noop.toml");
    let job = format!("[[stage]]\nfunction = \"noop\"\nfor_each.range = \"0..{FUNCTIONS}\"\n");
    std::fs::write(&file, job).unwrap();
    let rates = (0..PAIRS)
        .map(|_| {
            FUNCTIONS as f64 / timed(gridctl().args(["run", "--quiet"]).arg(&file)).as_secs_f64()
        })
        .collect();
    row("1,000,000 noop functions by `gridctl run`", "functions/s", rates);
}

/// A grid of real processes with directories of its own.
struct Grid {
    coordinator: Child,
    worker: Child,
    home: tempfile::TempDir,
}

impl Grid {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut coordinator = Self::here(home.path(), "person")
            .args(["coordinator", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(coordinator.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let token = line.split_whitespace().last().unwrap().to_owned();
        let worker = Self::here(home.path(), "machine")
            .args(["worker", "--join", &token])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { coordinator, worker, home }
    }

    fn here(home: &Path, who: &str) -> Command {
        let mut command = gridctl();
        for directory in ["CONFIG", "STATE", "CACHE", "RUNTIME"] {
            let name = if directory == "RUNTIME" {
                "XDG_RUNTIME_DIR".into()
            } else {
                format!("XDG_{directory}_HOME")
            };
            let path = home.join(who).join(directory.to_lowercase());
            std::fs::create_dir_all(&path).unwrap();
            command.env(name, path);
        }
        command
    }

    fn submit_and_wait(&self) -> Duration {
        timed(Self::here(self.home.path(), "person").args([
            "submit",
            "--quiet",
            "--wait",
            "--",
            "/bin/true",
        ]))
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        for child in [&mut self.worker, &mut self.coordinator] {
            let _already_gone = child.kill();
            let _already_reaped = child.wait();
        }
    }
}

fn submissions() {
    let grid = Grid::start();
    grid.submit_and_wait();
    let (mut ours, mut version) = (Vec::new(), Vec::new());
    for _ in 0..SUBMISSIONS {
        version.push(timed(gridctl().arg("--version")).as_secs_f64() * 1e3);
        ours.push(grid.submit_and_wait().as_secs_f64() * 1e3);
    }
    row("`submit --wait` of one trivial task", "ms", ours);
    row("`--version`, the floor of a command", "ms", version);
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    println!("{:<52} {:>12} {:<22} (lowest to highest)", "row", "median", "unit");
    processes();
    functions(dir.path());
    submissions();
}
