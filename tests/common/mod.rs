//! What end-to-end tests share: a home of one's own, commands with a deadline, services that are always
//! ended.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]
#![allow(dead_code, reason = "each test program uses another part of it")]

pub(crate) mod hosts;
pub(crate) mod relay;
pub(crate) mod tmpfs;

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that has to happen: far more than it does on the slowest machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
/// How long to pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A home directory with XDG directories below it, so that no test sees another or the person who runs it.
pub(crate) struct Home {
    directory: TempDir,
    /// What stands before each command: how it gets where it runs.
    prefix: Vec<String>,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// A process that runs on; killed when it goes out of scope, with all that it started.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::on(Vec::new())
    }

    /// Makes a home whose commands all run behind `prefix`.
    pub(crate) fn on(prefix: Vec<String>) -> Self {
        Self { directory: TempDir::new().unwrap(), prefix }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file below the home, and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Prepares a command that sees nothing but this home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let words = self.prefix.iter().map(String::as_str);
        let mut words = words.chain([env!("CARGO_BIN_EXE_gridctl")]).chain(args.iter().copied());
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path())
            .env("USER", "tester")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.finish(self.command(args))
    }

    /// Runs a command that has to succeed, and returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Runs a command that has to print a JSON document.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Runs a prepared command to its end.
    pub(crate) fn finish(&self, mut command: Command) -> Ended {
        let (out, err) = (self.scratch_file(), self.scratch_file());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut child = command.spawn().unwrap();
        let status = wait(&mut child, &format!("{command:?}"));
        Ended {
            code: status.code(),
            stdout: fs::read(out).unwrap(),
            stderr: String::from_utf8_lossy(&fs::read(err).unwrap()).into_owned(),
        }
    }

    /// Starts a command that runs on. What it prints on standard output comes line by line.
    pub(crate) fn start(&self, args: &[&str]) -> (Service, Receiver<String>) {
        self.start_command(self.command(args))
    }

    /// Starts a prepared command that runs on.
    pub(crate) fn start_command(&self, mut command: Command) -> (Service, Receiver<String>) {
        let log = self.scratch_file();
        command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        (Service { child, log }, lines)
    }

    /// Starts a coordinator with a lease that no pause of a loaded machine outlasts, and returns it with its join
    /// token once it serves.
    pub(crate) fn coordinator(&self) -> (Service, String) {
        self.coordinator_with(&["--lease", "10s"])
    }

    /// Starts a coordinator on a port of loopback, and returns it with its join token once it serves.
    pub(crate) fn coordinator_with(&self, options: &[&str]) -> (Service, String) {
        let args = [&["coordinator", "--listen", "127.0.0.1:0"], options].concat();
        let (service, lines) = self.start(&args);
        let Ok(line) = lines.recv_timeout(DEADLINE) else { panic!("no line: {}", service.log()) };
        let token = line.strip_prefix("gridctl worker --join ").unwrap_or_else(|| panic!("{line}"));
        (service, token.to_owned())
    }

    /// Starts a worker with a directory of its own, and returns it once the coordinator knows it as ready.
    pub(crate) fn worker(&self, name: &str, token: &str) -> Service {
        let data_dir = self.path().join(name);
        let data_dir = data_dir.to_str().unwrap();
        let args = [
            "worker",
            "--join",
            token,
            "--data-dir",
            data_dir,
            "--name",
            name,
            "--cpus",
            "2",
            "--grace",
            "1s",
        ];
        let (service, _) = self.start(&args);
        until("the worker is ready", || {
            let workers = self.json(&["workers", "--json"]);
            let ready = |worker: &Value| worker["name"] == name && worker["state"] == "ready";
            (workers.as_array().unwrap().iter().any(ready))
                .then_some(())
                .ok_or((workers, service.log()))
        });
        service
    }

    /// Waits until the job is such that `holds` of its status says so.
    pub(crate) fn until_job(&self, job: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let status = self.json(&["status", job, "--json"]);
            if holds(&status) { Ok(status) } else { Err(status) }
        })
    }

    fn scratch_file(&self) -> PathBuf {
        let (_, path) = tempfile::Builder::new()
            .prefix("out-")
            .tempfile_in(self.path())
            .unwrap()
            .keep()
            .unwrap();
        path
    }
}

impl Ended {
    pub(crate) fn out(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

impl Service {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it has written to standard error so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Ends it the hard way, with the processes that it consists of, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        for pid in children(self.pid()).into_iter().chain([self.pid()]) {
            // It may be gone by now.
            let _ = kill_process(pid, Signal::KILL);
        }
        self.child.wait().unwrap();
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let status = wait(&mut self.child, "a service that was told to end");
        (status.code(), self.log())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}

/// The processes that a process has started, and theirs.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    // Each thread has its own.
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let lists = threads
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .map(|thread| thread.path().join("children"));
    let text: String = lists.filter_map(|list| fs::read_to_string(list).ok()).collect();
    let direct: Vec<Pid> =
        text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
    let further: Vec<Pid> = direct.iter().flat_map(|pid| children(*pid)).collect();
    [direct, further].concat()
}

/// The process that does the work of a worker, or of a `run`, below the small ones that watch over it.
pub(crate) fn at_work(parent: Pid) -> Option<Pid> {
    let program = |pid: Pid| fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).ok();
    let own = program(parent);
    children(parent).into_iter().rfind(|pid| own.is_some() && program(*pid) == own)
}

/// Finds a process below `parent` by the pid that it has for itself, which is another in a pid namespace.
pub(crate) fn by_own_pid(parent: Pid, own: i32) -> Option<Pid> {
    children(parent).into_iter().find(|pid| {
        let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
        let status = status.unwrap_or_default();
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        pids.and_then(|pids| pids.split_whitespace().last()) == Some(own.to_string().as_str())
    })
}

/// Says whether a process is there, and not merely unreaped by whoever inherited it.
pub(crate) fn is_running(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

/// Waits until `look` gives something; shows what it saw last where it never does.
pub(crate) fn until<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(seen) if started.elapsed() > DEADLINE => {
                panic!("not in time: {what}; last seen: {seen:#?}")
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

fn wait(child: &mut Child, what: &str) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("did not end in time: {what}");
        }
        thread::sleep(LOOK_EVERY);
    }
}
