//! The parent process, in a program of its own: run without a scenario it is the tests, run with one it
//! is the program that they watch. (The usual test harness has threads, and a parent must have none.)

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use gridctl_worker::parent::{Place, supervise};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const SCENARIO: &str = "PARENT_TEST_SCENARIO";
/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// What the parent may have of its own (DESIGN §6).
const PARENT_PRIVATE_KIB_MAX: u64 = 1024;

fn main() -> ExitCode {
    match std::env::var(SCENARIO) {
        Ok(scenario) => match supervise().unwrap() {
            Place::Parent(code) => code,
            Place::Child => child(&scenario),
        },
        Err(_) => tests(),
    }
}

/// The program that is watched: starts a task that would stay, says who is who, and does as told.
#[expect(clippy::zombie_processes, reason = "that is what a parent is for")]
fn child(scenario: &str) -> ExitCode {
    let mut signals = Signals::new([SIGINT, SIGTERM]).unwrap();
    // Two generations, the second in a session of its own, as a daemon would be.
    let task = Command::new("sh")
        .args(["-c", "setsid sh -c 'echo $$; exec sleep 1000' & wait"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let task_id = task.id();
    let mut daemon = String::new();
    BufReader::new(task.stdout.unwrap()).read_line(&mut daemon).unwrap();
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero();
    let own = std::process::id();
    say(&format!("{parent} {own} {} {}", task_id, daemon.trim()));
    match scenario {
        "exits" => ExitCode::from(42),
        "waits" => {
            let signal = signals.forever().next().unwrap();
            say(&format!("signal {signal}"));
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
    let tests: [(&str, fn()); 6] = [
        ("the_exit_code_is_the_childs", the_exit_code_is_the_childs),
        ("what_a_killed_child_leaves_is_killed", what_a_killed_child_leaves_is_killed),
        ("a_dead_parent_takes_all_along", a_dead_parent_takes_all_along),
        ("a_signal_reaches_the_child_once", a_signal_reaches_the_child_once),
        ("the_parent_is_small", the_parent_is_small),
        ("a_mark_of_another_parent_is_not_believed", a_mark_of_another_parent_is_not_believed),
    ];
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut passed = 0;
    for (name, test) in tests {
        if only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            test();
            say(&format!("test {name} ... ok"));
            passed += 1;
        }
    }
    say(&format!("test result: ok. {passed} passed; 0 failed"));
    ExitCode::SUCCESS
}

/// A watched program, and the processes of it.
struct Watched {
    program: Child,
    stdout: BufReader<ChildStdout>,
    parent: i32,
    child: i32,
    below: [i32; 2],
}

impl Watched {
    fn start(scenario: &str) -> Self {
        Self::start_marked(scenario, None)
    }

    fn start_marked(scenario: &str, mark: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(SCENARIO, scenario).stdout(Stdio::piped()).stdin(Stdio::null());
        if let Some(mark) = mark {
            command.env("GRIDCTL_SUPERVISED_BY", mark);
        }
        let mut program = command.spawn().unwrap();
        let mut stdout = BufReader::new(program.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let pids: Vec<i32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        let [parent, child, task, daemon] = pids[..] else { panic!("it said {line:?}") };
        assert_eq!(parent, i32::try_from(program.id()).unwrap(), "the parent is who was started");
        Self { program, stdout, parent, child, below: [task, daemon] }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.program.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the parent does not end");
            std::thread::yield_now();
        }
    }

    fn assert_nothing_is_left(&self) {
        let deadline = Instant::now() + DEADLINE;
        for pid in self.below.into_iter().chain([self.child]) {
            while is_alive(pid) {
                assert!(Instant::now() < deadline, "process {pid} is left");
                std::thread::yield_now();
            }
        }
    }
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn the_exit_code_is_the_childs() {
    let mut watched = Watched::start("exits");
    assert_eq!(watched.wait().code(), Some(42));
    // The parent has gone last.
    for pid in watched.below {
        assert!(!is_alive(pid), "process {pid} is left");
    }
}

fn what_a_killed_child_leaves_is_killed() {
    let mut watched = Watched::start("waits");
    signal(watched.child, Signal::KILL);
    assert_eq!(watched.wait().code(), Some(128 + 9));
    for pid in watched.below {
        assert!(!is_alive(pid), "process {pid} is left");
    }
}

fn a_dead_parent_takes_all_along() {
    let mut watched = Watched::start("waits");
    signal(watched.parent, Signal::KILL);
    watched.wait();
    watched.assert_nothing_is_left();
}

fn a_signal_reaches_the_child_once() {
    for (sent, number) in [(Signal::TERM, SIGTERM), (Signal::INT, SIGINT)] {
        let mut watched = Watched::start("waits");
        signal(watched.parent, sent);
        let mut said = String::new();
        watched.stdout.read_line(&mut said).unwrap();
        assert_eq!(said.trim(), format!("signal {number}"));
        assert_eq!(watched.wait().code(), Some(number));
    }
}

fn the_parent_is_small() {
    let mut watched = Watched::start("waits");
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", watched.parent));
    match rollup {
        Ok(rollup) => {
            let private: u64 = rollup
                .lines()
                .filter(|line| {
                    line.starts_with("Private_Dirty:") || line.starts_with("Private_Clean:")
                })
                .map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
                .sum();
            say(&format!("the parent has {private} KiB of its own"));
            assert!(private <= PARENT_PRIVATE_KIB_MAX, "{rollup}");
        }
        Err(error) => say(&format!("skipped the size of the parent: smaps_rollup: {error}")),
    }
    signal(watched.parent, Signal::TERM);
    watched.wait();
}

fn a_mark_of_another_parent_is_not_believed() {
    let mut watched = Watched::start_marked("exits", Some("1"));
    assert_eq!(watched.wait().code(), Some(42));
}
