//! The parent processes, in a program of its own: run without a scenario it is the tests, run with one it
//! is the program that they watch. (The usual test harness has threads, and a parent must have none.)
//!
//! Each test runs twice where a pid namespace is to be had: in one, and without the right to make one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use gridctl_worker::parent::{Place, Plan, Supervision, Trees, supervise};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const SCENARIO: &str = "PARENT_TEST_SCENARIO";
/// Set where the program is to do without namespaces.
const PLAIN: &str = "PARENT_TEST_PLAIN";
/// A directory that the program notes.
const DIRECTORY: &str = "PARENT_TEST_DIRECTORY";
/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// What each parent may have of its own (DESIGN §6).
const PARENT_PRIVATE_KIB_MAX: u64 = 1024;

fn main() -> ExitCode {
    let Ok(scenario) = std::env::var(SCENARIO) else { return tests() };
    if std::env::var_os(PLAIN).is_some() {
        give_up_namespaces();
    }
    let plan = Plan { data_dir: None, respawn: scenario.starts_with("lives") };
    match supervise(&plan).unwrap() {
        Place::Parent(code) => code,
        Place::Child(above) => child(&scenario, &above),
    }
}

/// Gives up the right to make them, if it is there.
fn give_up_namespaces() {
    let CapabilitySets { effective, permitted, inheritable } = capabilities(None).unwrap();
    let without = |set: CapabilitySet| set - CapabilitySet::SYS_ADMIN;
    let sets = CapabilitySets {
        effective: without(effective),
        permitted: without(permitted),
        inheritable: without(inheritable),
    };
    set_capabilities(None, sets).unwrap();
}

/// The program that is watched: starts a task that would stay, says that it has, and does as told.
#[expect(clippy::zombie_processes, reason = "that is what a parent is for")]
fn child(scenario: &str, above: &Supervision) -> ExitCode {
    let mut signals = Signals::new([SIGINT, SIGTERM]).unwrap();
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        fs::create_dir_all(Path::new(&directory).join("some/thing")).unwrap();
        above.remove_afterwards(Path::new(&directory)).unwrap();
    }
    // Three generations, the second in a session of its own, and the last an orphan, as a daemon would be.
    let task = Command::new("sh")
        .args(["-c", "setsid sh -c 'sleep 1000 & (sleep 1000 &) ; echo begun; wait' & wait"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = String::new();
    BufReader::new(task.stdout.unwrap()).read_line(&mut begun).unwrap();
    let namespace = above.trees() == Trees::Namespace;
    say(&format!(
        "life {} {}",
        above.predecessors() + 1,
        if namespace { "namespace" } else { "plain" }
    ));
    match scenario {
        "exits" => {
            above.end_in_order();
            ExitCode::from(42)
        }
        "lives, panics" => panic!("as it was told"),
        "waits" | "lives" => {
            let signal = signals.forever().next().unwrap();
            say(&format!("signal {signal}"));
            above.end_in_order();
            ExitCode::from(u8::try_from(signal).unwrap())
        }
        other => panic!("no scenario {other}"),
    }
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").unwrap();
    stdout.flush().unwrap();
}

fn tests() -> ExitCode {
    let tests: [Test; 10] = [
        ("the_exit_code_is_the_childs", the_exit_code_is_the_childs),
        ("what_a_killed_child_leaves_is_killed", what_a_killed_child_leaves_is_killed),
        ("a_dead_parent_takes_all_along", a_dead_parent_takes_all_along),
        ("a_namespace_dies_with_all_of_its_parents", a_namespace_dies_with_all_of_its_parents),
        ("a_child_that_died_is_started_again", a_child_that_died_is_started_again),
        ("a_child_that_panicked_is_started_again", a_child_that_panicked_is_started_again),
        ("who_was_told_to_end_is_not_started_again", who_was_told_to_end_is_not_started_again),
        ("a_signal_reaches_the_child_once", a_signal_reaches_the_child_once),
        ("the_parents_are_small", the_parents_are_small),
        ("a_mark_of_another_parent_is_not_believed", a_mark_of_another_parent_is_not_believed),
    ];
    let has_namespaces = Watched::start(Mode::Namespace, "exits").has_namespace;
    if !has_namespaces {
        say("skipped what takes a pid namespace: there is none to be had");
    }
    let modes = [Some(Mode::Plain), has_namespaces.then_some(Mode::Namespace)];
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut passed = 0;
    for (name, test) in tests {
        if only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            modes.into_iter().flatten().for_each(test);
            say(&format!("test {name} ... ok"));
            passed += 1;
        }
    }
    say(&format!("test result: ok. {passed} passed; 0 failed"));
    ExitCode::SUCCESS
}

/// A test, and what it is called.
type Test = (&'static str, fn(Mode));

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Namespace,
}

/// A watched program, and the processes of it.
struct Watched {
    program: Child,
    stdout: BufReader<ChildStdout>,
    has_namespace: bool,
    directory: PathBuf,
    _home: tempfile::TempDir,
}

impl Watched {
    fn start(mode: Mode, scenario: &str) -> Self {
        Self::start_marked(mode, scenario, None)
    }

    fn start_marked(mode: Mode, scenario: &str, mark: Option<&str>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("scratch");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(SCENARIO, scenario).env(DIRECTORY, &directory);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
        if mode == Mode::Plain {
            command.env(PLAIN, "1");
        }
        if let Some(mark) = mark {
            command.env("GRIDCTL_SUPERVISED_BY", mark);
        }
        let mut program = command.spawn().unwrap();
        let stdout = BufReader::new(program.stdout.take().unwrap());
        let mut watched = Self { program, stdout, has_namespace: false, directory, _home: home };
        let line = watched.line();
        let how = line.strip_prefix("life 1 ").unwrap_or_else(|| panic!("it said {line:?}"));
        watched.has_namespace = how == "namespace";
        assert!(mode == Mode::Namespace || !watched.has_namespace, "it was to do without");
        watched
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn parent(&self) -> Pid {
        Pid::from_child(&self.program)
    }

    /// Every process below the outermost parent.
    fn below(&self) -> Vec<Pid> {
        below(self.parent())
    }

    /// The parents below the outermost one, if any, and the child, which runs the same program.
    fn same_program(&self) -> Vec<Pid> {
        let link = |pid: Pid| fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).ok();
        let own = link(self.parent());
        self.below().into_iter().filter(|pid| link(*pid) == own).collect()
    }

    fn child(&self) -> Pid {
        let expected = if self.has_namespace { 2 } else { 1 };
        let same = self.same_program();
        assert_eq!(same.len(), expected, "its processes");
        same[expected - 1]
    }

    fn wait(&mut self) -> ExitStatus {
        until("the parent has ended", || self.program.try_wait().unwrap())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for pid in self.below().into_iter().chain([self.parent()]) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.program.wait();
    }
}

fn below(pid: Pid) -> Vec<Pid> {
    let mut found = vec![pid];
    let mut looked_at = 0;
    while let Some(pid) = found.get(looked_at).copied() {
        looked_at += 1;
        let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
        for thread in threads.into_iter().flatten().map_while(Result::ok) {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(
                children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)),
            );
        }
    }
    found.split_off(1)
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn assert_gone(pids: &[Pid]) {
    for pid in pids {
        assert!(!is_alive(*pid), "process {pid:?} is left");
    }
}

fn await_gone(pids: &[Pid]) {
    for pid in pids {
        until("it is gone", || (!is_alive(*pid)).then_some(()));
    }
}

fn signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).unwrap();
}

/// Every process of the program and its four of the task.
fn all_below(watched: &Watched) -> Vec<Pid> {
    let expected = if watched.has_namespace { 2 } else { 1 } + 4;
    until("all of it has begun", || Some(watched.below()).filter(|below| below.len() == expected))
}

fn the_exit_code_is_the_childs(mode: Mode) {
    let mut watched = Watched::start(mode, "exits");
    let below = watched.below();
    assert_eq!(watched.wait().code(), Some(42));
    // The parent has gone last, and taken everything along.
    assert_gone(&below);
    assert!(!watched.directory.exists());
}

fn what_a_killed_child_leaves_is_killed(mode: Mode) {
    let mut watched = Watched::start(mode, "waits");
    let below = all_below(&watched);
    signal(watched.child(), Signal::KILL);
    assert_eq!(watched.wait().code(), Some(128 + 9));
    assert_gone(&below);
    assert!(!watched.directory.exists());
}

fn a_dead_parent_takes_all_along(mode: Mode) {
    let mut watched = Watched::start(mode, "lives");
    let below = all_below(&watched);
    signal(watched.parent(), Signal::KILL);
    watched.wait();
    await_gone(&below);
    until("its directory is gone", || (!watched.directory.exists()).then_some(()));
}

fn a_namespace_dies_with_all_of_its_parents(mode: Mode) {
    if mode == Mode::Plain {
        return;
    }
    let mut watched = Watched::start(mode, "lives");
    let below = all_below(&watched);
    for pid in [watched.parent(), watched.child()] {
        // The first may have taken the other along.
        let _ = kill_process(pid, Signal::KILL);
    }
    watched.wait();
    await_gone(&below);
    until("its directory is gone", || (!watched.directory.exists()).then_some(()));
}

fn a_child_that_died_is_started_again(mode: Mode) {
    let mut watched = Watched::start(mode, "lives");
    for life in 2..4 {
        let below = all_below(&watched);
        // In a namespace its init may be the one that somebody kills.
        let same = watched.same_program();
        signal(same[life % same.len()], Signal::KILL);
        assert!(watched.line().starts_with(&format!("life {life} ")));
        assert_gone(&below);
    }
    signal(watched.parent(), Signal::TERM);
    assert_eq!(watched.line(), format!("signal {SIGTERM}"));
    assert_eq!(watched.wait().code(), Some(SIGTERM));
}

fn a_child_that_panicked_is_started_again(mode: Mode) {
    let mut watched = Watched::start(mode, "lives, panics");
    for life in 2..4 {
        assert!(watched.line().starts_with(&format!("life {life} ")));
    }
    // From the third death on it waits, and can be told to end meanwhile.
    signal(watched.parent(), Signal::TERM);
    watched.wait();
}

fn who_was_told_to_end_is_not_started_again(mode: Mode) {
    let mut watched = Watched::start(mode, "lives");
    let child = watched.child();
    let flags = format!("/proc/{}/status", child.as_raw_nonzero());
    signal(child, Signal::STOP);
    until("it stands still", || {
        fs::read_to_string(&flags).unwrap().contains("State:\tT").then_some(())
    });
    // It cannot hear of it.
    signal(watched.parent(), Signal::TERM);
    until("the signal has come through", || {
        let status = fs::read_to_string(&flags).unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
        (u64::from_str_radix(pending.trim(), 16).unwrap() & (1 << (SIGTERM - 1)) != 0).then_some(())
    });
    signal(child, Signal::KILL);
    assert_eq!(watched.wait().code(), Some(128 + 9));
}

fn a_signal_reaches_the_child_once(mode: Mode) {
    for (sent, number) in [(Signal::TERM, SIGTERM), (Signal::INT, SIGINT)] {
        let mut watched = Watched::start(mode, "waits");
        signal(watched.parent(), sent);
        assert_eq!(watched.line(), format!("signal {number}"));
        assert_eq!(watched.wait().code(), Some(number));
    }
}

fn the_parents_are_small(mode: Mode) {
    let watched = Watched::start(mode, "waits");
    let child = watched.child();
    let parents = watched.same_program().into_iter().filter(|pid| *pid != child);
    for pid in parents.chain([watched.parent()]) {
        let rollup =
            match fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero())) {
                Ok(rollup) => rollup,
                Err(error) => {
                    return say(&format!("skipped the size of a parent: smaps_rollup: {error}"));
                }
            };
        let private: u64 = rollup
            .lines()
            .filter(|line| line.starts_with("Private_Dirty:") || line.starts_with("Private_Clean:"))
            .map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
            .sum();
        say(&format!("a parent has {private} KiB of its own"));
        assert!(private <= PARENT_PRIVATE_KIB_MAX, "{rollup}");
    }
}

fn a_mark_of_another_parent_is_not_believed(mode: Mode) {
    for mark in ["1", "1 3 4 5 - 0 0", "init 3 4 5 - 0 0"] {
        let mut watched = Watched::start_marked(mode, "exits", Some(mark));
        assert_eq!(watched.wait().code(), Some(42));
    }
}
