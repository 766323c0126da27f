//! Workers, their parents and their tasks that are killed, stopped and told to end: what was running runs
//! again at once, and nothing is left behind. Each with a pid namespace, where there is one to be had, and
//! without.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Home, Service, at_work, by_own_pid, children, is_running, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Longer than any test: what happens within it did not wait for the lease to run out.
const LONG_LEASE: &str = "10m";
/// Two that last, one in a session of its own, the other an orphan in one; then it lasts itself.
const FAMILY: &str = r#"
printf %s "$GRID_SCRATCH" > "$1/scratch"
touch some thing
setsid sh -c 'echo $$ > "$0/session.new"; mv "$0/session.new" "$0/session"; exec sleep 1000' "$1" &
(setsid sh -c 'echo $$ > "$0/orphan.new"; mv "$0/orphan.new" "$0/orphan"; exec sleep 1000' "$1" &)
echo $$ > "$1/first.new"; mv "$1/first.new" "$1/first"
while [ ! -e "$1/session" ] || [ ! -e "$1/orphan" ]; do sleep 0.02; done
eval "$2"
"#;

/// Takes away what it takes to make namespaces.
const WITHOUT: [&str; 5] = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"];

/// Whether workers get a pid namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    AsItIs,
    Without,
}

/// A grid with one worker of two cpus.
struct Grid {
    home: Home,
    mode: Mode,
    token: String,
    worker: Service,
    coordinator: Service,
}

impl Grid {
    fn start(mode: Mode, lease: &str) -> Self {
        let home = Home::new();
        let (coordinator, token) = home.coordinator_with(&["--lease", lease]);
        let worker = start_worker(&home, mode, &token, &[]);
        let grid = Self { home, mode, token, worker, coordinator };
        grid.until_ready();
        grid
    }

    fn until_ready(&self) {
        until("the worker is ready", || {
            let workers = self.home.json(&["workers", "--json"]);
            if workers[0]["state"] == "ready" { Ok(()) } else { Err((workers, self.worker.log())) }
        });
    }

    fn start_worker_again(&mut self) {
        self.worker = start_worker(&self.home, self.mode, &self.token, &[]);
    }

    /// Submits one task of that family, and returns it once all of it runs.
    fn family(&self, options: &[&str], last: &str) -> Family {
        let directory = self.home.path().to_str().unwrap();
        let submit =
            [&["submit"], options, &["--", "sh", "-c", FAMILY, "sh", directory, last]].concat();
        let job = self.home.ok(&submit).trim().to_owned();
        let pids = ["first", "session", "orphan"].map(|name| {
            let file = self.home.path().join(name);
            until("the task runs", || {
                let own = fs::read_to_string(&file).unwrap_or_default().trim().parse().ok();
                let pid = own.and_then(|own| by_own_pid(self.worker.pid(), own));
                pid.ok_or_else(|| (name, own, self.home.ok(&["status", &job]), self.worker.log()))
            })
        });
        let scratch = fs::read_to_string(self.home.path().join("scratch")).unwrap();
        Family { job, pids, scratch: PathBuf::from(scratch) }
    }
}

fn start_worker(home: &Home, mode: Mode, token: &str, more: &[&str]) -> Service {
    let data_dir = home.path().join("worker");
    let data_dir = data_dir.to_str().unwrap();
    let args = [
        &["worker", "--join", token, "--data-dir", data_dir, "--cpus", "2", "--grace", "60s"],
        more,
    ]
    .concat();
    let mut command = home.command(&args);
    if mode == Mode::Without && rustix::process::geteuid().is_root() {
        command = behind(home, &WITHOUT, &command);
    }
    home.start_command(command).0
}

/// The same command, started by another one.
fn behind(home: &Home, first: &[&str], command: &Command) -> Command {
    let mut whole = Command::new(first[0]);
    whole.args(&first[1..]).arg(command.get_program()).args(command.get_args());
    whole.env_clear().current_dir(home.path());
    for (name, value) in command.get_envs() {
        whole.env(name, value.unwrap());
    }
    whole
}

/// A task of several processes.
struct Family {
    job: String,
    pids: [Pid; 3],
    scratch: PathBuf,
}

impl Family {
    fn until_gone(&self) {
        until("every process of the task is gone", || {
            let left: Vec<_> = self.pids.iter().filter(|pid| is_running(**pid)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
    }

    /// Waits until the directory of its worker, with those of all lanes, is gone.
    fn until_no_scratch(&self) {
        let root = self.scratch.parent().and_then(Path::parent).unwrap();
        until("the scratch directories are gone", || {
            if root.exists() { Err(root.to_owned()) } else { Ok(()) }
        });
    }

    /// Waits until the directory of the task is empty or gone.
    fn until_scratch_is_empty(&self) {
        until("the task's scratch directory is empty", || {
            let entries = fs::read_dir(&self.scratch).map_or(0, Iterator::count);
            if entries == 0 { Ok(()) } else { Err(entries) }
        });
    }
}

/// Both kinds of worker; a reason is printed where there is only one.
fn modes() -> Vec<Mode> {
    let can_do_without = !rustix::process::geteuid().is_root()
        || Command::new(WITHOUT[0])
            .args(&WITHOUT[1..])
            .arg("true")
            .status()
            .is_ok_and(|status| status.success());
    if can_do_without {
        return vec![Mode::AsItIs, Mode::Without];
    }
    say("skipped workers without CAP_SYS_ADMIN: setpriv cannot take it away here");
    vec![Mode::AsItIs]
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn kill(pid: Pid) {
    // Its parent may have taken it along.
    let _ = kill_process(pid, Signal::KILL);
}

/// A task that lasts in its first run, and is over at once in every other; each run writes a line.
const LASTS_ONCE: &str = r#"echo run >> "$1"; [ "$(wc -l < "$1")" -gt 1 ] || exec sleep 1000"#;

fn lasts_once(home: &Home, log: &Path) -> String {
    let log = log.to_str().unwrap();
    home.ok(&["submit", "--", "sh", "-c", LASTS_ONCE, "sh", log]).trim().to_owned()
}

fn runs(log: &Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().lines().count()
}

#[test]
fn what_a_killed_worker_was_running_runs_again_there_without_waiting_for_the_lease() {
    for mode in modes() {
        let grid = Grid::start(mode, LONG_LEASE);
        let log = grid.home.path().join("log");
        let job = lasts_once(&grid.home, &log);
        until("it runs", || if runs(&log) == 1 { Ok(()) } else { Err(grid.worker.log()) });
        kill(at_work(grid.worker.pid()).unwrap());
        let waited = grid.home.run(&["wait", &job]);
        assert_eq!(waited.code, Some(0), "{waited:?}\n{}", grid.worker.log());
        assert_eq!(runs(&log), 2);
        assert!(grid.worker.log().contains("the worker died (signal 9)"), "{}", grid.worker.log());
    }
}

#[test]
fn without_starting_again_a_killed_worker_is_gone_with_its_tasks() {
    for mode in modes() {
        let home = Home::new();
        let (_coordinator, token) = home.coordinator();
        let worker = start_worker(&home, mode, &token, &["--no-respawn"]);
        let log = home.path().join("log");
        let job = lasts_once(&home, &log);
        until("it runs", || if runs(&log) == 1 { Ok(()) } else { Err(worker.log()) });
        let below = children(worker.pid());
        kill(at_work(worker.pid()).unwrap());
        let (code, said) = worker.ended();
        assert_eq!(code, Some(128 + 9), "{said}");
        assert!(below.iter().all(|pid| !is_running(*pid)), "{below:?}");
        // Another process of the same worker; it waits for the lease of the one before.
        let _again = start_worker(&home, mode, &token, &["--no-respawn"]);
        assert_eq!(home.run(&["wait", &job]).code, Some(0));
        assert_eq!(runs(&log), 2);
    }
}

#[test]
fn children_in_sessions_of_their_own_end_with_a_task_that_is_cancelled() {
    for mode in modes() {
        let grid = Grid::start(mode, LONG_LEASE);
        let family = grid.family(&[], "exec sleep 1000");
        grid.home.ok(&["cancel", &family.job]);
        family.until_gone();
        family.until_scratch_is_empty();
        assert_eq!(grid.home.run(&["wait", &family.job]).code, Some(5));
    }
}

#[test]
fn children_in_sessions_of_their_own_end_with_a_task_that_takes_too_long() {
    for mode in modes() {
        let grid = Grid::start(mode, LONG_LEASE);
        // It has to get as far as that on a slow machine, too.
        let family = grid.family(&["--timeout", "10s"], "trap 'echo told' TERM; wait; sleep 1000");
        let waited = grid.home.run(&["wait", &family.job]);
        assert_eq!(waited.code, Some(1), "{waited:?}");
        family.until_gone();
        family.until_scratch_is_empty();
        let tasks = grid.home.json(&["tasks", &family.job, "--json"]);
        assert_eq!(tasks[0]["failure"], json!("timeout"), "{tasks}");
        assert_eq!(grid.home.ok(&["output", &family.job]), "told\n");
    }
}

#[test]
fn children_that_a_task_leaves_running_end_with_it() {
    for mode in modes() {
        let grid = Grid::start(mode, LONG_LEASE);
        let go = grid.home.path().join("go");
        let last = format!("while [ ! -e {} ]; do sleep 0.02; done; exit 0", go.display());
        let family = grid.family(&[], &last);
        fs::write(&go, "").unwrap();
        assert_eq!(grid.home.run(&["wait", &family.job]).code, Some(0));
        family.until_gone();
        family.until_scratch_is_empty();
        assert!(at_work(grid.worker.pid()).is_some_and(is_running), "the worker works on");
    }
}

#[test]
fn nothing_is_left_after_the_worker_or_its_parent_or_both_were_killed() {
    for mode in modes() {
        for (worker_dies, parent_dies) in [(true, false), (false, true), (true, true)] {
            let mut grid = Grid::start(mode, LONG_LEASE);
            let family = grid.family(&[], "exec sleep 1000");
            let below = children(grid.worker.pid());
            let at_work = at_work(grid.worker.pid()).unwrap();
            // The parent first: it would start the worker again.
            for pid in [parent_dies.then_some(grid.worker.pid()), worker_dies.then_some(at_work)] {
                pid.into_iter().for_each(kill);
            }
            if worker_dies && parent_dies && mode == Mode::Without {
                // Nobody is left who could end it; the next start does.
                grid.start_worker_again();
            }
            family.until_gone();
            until("every process that was below is gone", || {
                let left: Vec<_> = below.iter().filter(|pid| is_running(**pid)).collect();
                if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
            });
            // No zombie either: whoever is above now has reaped it.
            if parent_dies {
                drop(grid);
            } else {
                grid.home.ok(&["cancel", &family.job]);
                grid.until_ready();
                grid.worker.signal(Signal::TERM);
                let (code, log) = grid.worker.ended();
                assert_eq!(code, Some(0), "{log}");
            }
            if !(worker_dies && parent_dies && mode == Mode::Without) {
                family.until_no_scratch();
            }
        }
    }
}

#[test]
fn a_worker_that_slept_past_its_lease_commits_nothing_that_was_given_away() {
    for mode in modes() {
        let home = Home::new();
        let (_coordinator, token) = home.coordinator();
        let sleeper = start_worker(&home, mode, &token, &["--name", "sleeper"]);
        let (log, go) = (home.path().join("log"), home.path().join("go"));
        // The first run waits for a word; every other one is over at once.
        let script = r#"echo run >> "$1"; n=$(wc -l < "$1"); [ "$n" -gt 1 ] || while [ ! -e "$2" ]; do sleep 0.02; done; echo "run $n""#;
        let (log_text, go_text) = (log.to_str().unwrap(), go.to_str().unwrap());
        let args = ["submit", "--", "sh", "-c", script, "sh", log_text, go_text];
        let job = home.ok(&args).trim().to_owned();
        until("it runs", || if runs(&log) == 1 { Ok(()) } else { Err(sleeper.log()) });
        let at_work = at_work(sleeper.pid()).unwrap();
        kill_process(at_work, Signal::STOP).unwrap();
        let _other = home.worker("other", &token);
        assert_eq!(home.run(&["wait", &job]).code, Some(0), "it was given away");
        assert_eq!(home.ok(&["output", &job]), "run 2\n");
        // What it ran meanwhile ends while it sleeps, and it wakes with the result.
        fs::write(&go, "").unwrap();
        kill_process(at_work, Signal::CONT).unwrap();
        until("the sleeper is back", || {
            let workers = home.json(&["workers", "--json"]);
            let ready = |worker: &Value| worker["name"] == "sleeper" && worker["state"] == "ready";
            let is_back = workers.as_array().unwrap().iter().any(ready);
            if is_back { Ok(()) } else { Err((workers, sleeper.log())) }
        });
        assert_eq!(home.run(&["submit", "--wait", "--range", "0..20", "--", "true"]).code, Some(0));
        assert_eq!(home.ok(&["output", &job]), "run 2\n");
        let tasks = home.json(&["tasks", &job, "--json"]);
        assert_eq!(tasks[0]["worker"], json!("other"), "{tasks}");
    }
}

#[test]
fn sigterm_of_a_worker_or_its_parent_drains_and_it_is_not_started_again() {
    for mode in modes() {
        for is_told_itself in [false, true] {
            let grid = Grid::start(mode, LONG_LEASE);
            let go = grid.home.path().join("go");
            let script = r#"touch "$1.runs"; while [ ! -e "$1" ]; do sleep 0.02; done; echo done"#;
            let args = ["submit", "--", "sh", "-c", script, "sh", go.to_str().unwrap()];
            let job = grid.home.ok(&args).trim().to_owned();
            let runs = grid.home.path().join("go.runs");
            until("it runs", || if runs.exists() { Ok(()) } else { Err(grid.worker.log()) });
            let told = if is_told_itself {
                at_work(grid.worker.pid()).unwrap()
            } else {
                grid.worker.pid()
            };
            kill_process(told, Signal::TERM).unwrap();
            until("it drains", || {
                let log = grid.worker.log();
                if log.contains("draining for up to") { Ok(()) } else { Err(log) }
            });
            fs::write(&go, "").unwrap();
            let (code, log) = grid.worker.ended();
            assert_eq!(code, Some(0), "{log}");
            assert_eq!(grid.home.ok(&["output", &job]), "done\n");
            assert_eq!(log.matches("working").count(), 1, "{log}");
            assert!(grid.coordinator.log().lines().all(|line| !line.contains("ERROR")));
        }
    }
}

/// A control group with a limit of memory; removed when it goes out of scope.
struct SmallMemory(PathBuf);

impl SmallMemory {
    /// # Errors
    /// Why that cannot be had here.
    fn new() -> Result<Self, String> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
        let path_of = |start: &str| {
            groups.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                (controllers == start).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let root = Path::new("/sys/fs/cgroup");
        let (parent, limits): (_, [(&str, &str); 2]) = match (path_of("memory"), path_of("")) {
            (Some(path), _) => (
                root.join("memory").join(path),
                [("memory.limit_in_bytes", "300M"), ("memory.swappiness", "0")],
            ),
            (None, Some(path)) => {
                (root.join(path), [("memory.max", "300M"), ("memory.swap.max", "0")])
            }
            (None, None) => return Err("there are no control groups".to_owned()),
        };
        let group = Self(parent.join(format!("gridctl-test-{}", std::process::id())));
        fs::create_dir(&group.0).map_err(|error| format!("{}: {error}", group.0.display()))?;
        for (place, (file, limit)) in limits.into_iter().enumerate() {
            // The second only keeps the machine from swapping, where it can at all.
            let set = fs::write(group.0.join(file), limit);
            set.or_else(|error| if place == 0 { Err(format!("{file}: {error}")) } else { Ok(()) })?;
        }
        // Where nobody may be put into it, nothing can be tried in it.
        let enter = format!("echo $$ > {}/cgroup.procs", group.0.display());
        let entered = Command::new("sh").args(["-ec", &enter]).output().unwrap();
        if entered.status.success() {
            Ok(group)
        } else {
            Err(String::from_utf8_lossy(&entered.stderr).trim().to_owned())
        }
    }
}

impl Drop for SmallMemory {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_task_that_the_kernel_kills_for_want_of_memory_is_out_of_memory() {
    let group = match SmallMemory::new() {
        Ok(group) => group,
        Err(why) => return say(&format!("skipped a task without memory: {why}")),
    };
    let home = Home::new();
    for (script, failure) in [
        ("exec tail /dev/zero", "out of memory"),
        ("tail /dev/zero; exit $?", "out of memory"),
        ("kill -9 $$", "signal 9"),
    ] {
        let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.0.display());
        let run = home.command(&["run", "--", "sh", "-c", script]);
        let ended = home.finish(behind(&home, &["sh", "-c", &enter, "sh"], &run));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(failure), "{ended:?}");
    }
}
