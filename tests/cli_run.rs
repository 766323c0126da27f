//! `gridctl run`: real jobs, real processes, real QUIC, one command.

mod common;

use std::fs;
use std::process::Stdio;

use common::{Home, Service, at_work, by_own_pid, is_running, until};
use rustix::process::{Pid, Signal};

#[test]
fn a_job_file_runs_to_its_end_and_prints_what_its_last_stage_prints() {
    let home = Home::new();
    let job = home.file(
        "job.toml",
        r#"
        [[stage]]
        name = "square"
        cwd = "."
        for_each.range = "1..=20"
        script = 'echo $((GRID_ITEM * GRID_ITEM)) > square.$GRID_ITEM'

        [[stage]]
        name = "sum"
        needs = ["square"]
        cwd = "."
        script = 'cat square.* | awk "{ sum += \$1 } END { print sum }"'
        "#,
    );
    let ended = home.run(&["run", &job]);
    assert_eq!((ended.code, ended.out(), ended.stderr.as_str()), (Some(0), "2870\n", ""));
}

#[test]
fn a_command_runs_in_the_current_directory_for_every_item_in_order() {
    let home = Home::new();
    home.file("greeting", "hello");
    let script = r#"printf '%s %s\n' "$(cat greeting)" "$1"; sleep 0.0$((9 - $1))"#;
    let ended = home.run(&["run", "--range", "0..10", "--", "sh", "-c", script, "sh", "{item}"]);
    let expected: String = (0..10).map(|n| format!("hello {n}\n")).collect();
    assert_eq!((ended.code, ended.out(), ended.stderr.as_str()), (Some(0), &*expected, ""));
}

#[test]
fn a_job_is_read_from_standard_input() {
    let home = Home::new();
    let path = home.file("job.toml", "[[stage]]\ncommand = [\"echo\", \"from\", \"stdin\"]\n");
    let mut command = home.command(&["run", "-"]);
    command.stdin(Stdio::from(fs::File::open(path).unwrap()));
    let ended = home.finish(command);
    assert_eq!((ended.code, ended.out()), (Some(0), "from stdin\n"), "{ended:?}");
}

#[test]
fn a_failed_task_exits_with_1_and_says_which_why_and_what_it_said() {
    let home = Home::new();
    let script = "test $1 != 3 || { echo gone wrong >&2; exit 42; }; echo $1";
    let ended = home.run(&["run", "--range", "0..6", "--", "sh", "-c", script, "sh", "{item}"]);
    assert_eq!((ended.code, ended.out()), (Some(1), "0\n1\n2\n4\n5\n"), "{ended:?}");
    for part in ["1 of 6 tasks failed", "main/3 (local): exit 42", "| gone wrong", "--into"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    let quiet = home.run(&["run", "-q", "--", "false"]);
    assert_eq!((quiet.code, quiet.out(), quiet.stderr.as_str()), (Some(1), "", ""));
}

#[test]
fn what_follows_a_failure_is_skipped_and_said_so() {
    let home = Home::new();
    let job = home.file(
        "job.toml",
        "[[stage]]\nname = \"a\"\ncommand = [\"false\"]\n\n[[stage]]\nname = \"b\"\nneeds = [\"a\"]\ncommand = [\"true\"]\n",
    );
    let ended = home.run(&["run", &job]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("b was skipped: a did not succeed"), "{ended:?}");
}

#[test]
fn a_program_that_is_not_there_could_not_start() {
    let home = Home::new();
    let ended = home.run(&["run", "--", "no-such-program-anywhere"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("could not start"), "{ended:?}");
}

#[test]
fn what_this_machine_can_never_run_is_refused_at_once() {
    let home = Home::new();
    let ended = home.run(&["run", "--cpus", "60000", "--", "true"]);
    assert_eq!((ended.code, ended.out()), (Some(7), ""), "{ended:?}");
    assert!(ended.stderr.contains("asks for 60000 cpus"), "{ended:?}");
}

#[test]
fn into_keeps_what_every_task_printed() {
    let home = Home::new();
    let script = "echo out $1; echo err $1 >&2; test $1 != 1";
    let args = ["run", "-o", "kept", "--range", "0..3", "--", "sh", "-c", script, "sh", "{item}"];
    let ended = home.run(&args);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for index in 0..3 {
        let kept = |what: &str| {
            fs::read_to_string(home.path().join(format!("kept/main/{index}.{what}"))).unwrap()
        };
        assert_eq!(kept("stdout"), format!("out {index}\n"));
        assert_eq!(kept("stderr"), format!("err {index}\n"));
    }
    assert!(ended.stderr.contains("kept/main/1.stderr"), "{ended:?}");
}

#[test]
fn functions_print_their_results() {
    let home = Home::new();
    let job = home.file(
        "primes.toml",
        "[[stage]]\nfunction = \"count_primes\"\nfor_each = { range = \"0..100000\", chunk = 25000 }\n",
    );
    let counts = home.ok(&["run", &job]);
    let counts: Vec<u64> = counts.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (4, 9592));
}

#[test]
fn nothing_is_left_of_a_run_but_what_was_asked_for() {
    let home = Home::new();
    let temporary = home.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = home.command(&["run", "--", "true"]);
    command.env("TMPDIR", &temporary);
    assert_eq!(home.finish(command).code, Some(0));
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    assert!(!home.path().join(".config").exists() && !home.path().join(".local").exists());
    // With a directory of its own it is kept, and the next run goes on in it.
    for number in ["1", "2"] {
        home.ok(&["run", "--data-dir", "data", "--", "true"]);
        assert!(home.path().join("data/coordinator").is_dir(), "{number}");
    }
}

#[test]
fn a_task_gets_no_descriptor_that_the_program_was_started_with() {
    let home = Home::new();
    home.file(
        "job.toml",
        "[[stage]]\nscript = 'for n in 7 8; do [ ! -e /proc/$$/fd/$n ] || echo $n leaked; done'\n",
    );
    // The job itself comes by one of them.
    let program = env!("CARGO_BIN_EXE_gridctl");
    let script = format!("exec 7</dev/null 8<job.toml; exec {program} run /dev/fd/8");
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &script]).current_dir(home.path()).env_clear().env("HOME", home.path());
    let ended = home.finish(shell);
    assert_eq!((ended.code, ended.out(), ended.stderr.as_str()), (Some(0), "", ""));
}

/// Runs a task that never ends by itself, and returns its pid once it runs.
fn endless_task(home: &Home) -> (Service, Pid) {
    let script = "echo $$ > pid; exec sleep 1000";
    let (service, _) = home.start(&["run", "--", "sh", "-c", script]);
    let pid_file = home.path().join("pid");
    let pid = until("the task is running", || {
        let text = fs::read_to_string(&pid_file).unwrap_or_default();
        let own = text.trim().parse().ok();
        own.and_then(|own| by_own_pid(service.pid(), own)).ok_or_else(|| (text, service.log()))
    });
    (service, pid)
}

#[test]
fn ctrl_c_cancels_the_job_kills_its_tasks_and_exits_with_130() {
    let home = Home::new();
    let (service, pid) = endless_task(&home);
    service.signal(Signal::INT);
    let (code, log) = service.ended();
    assert_eq!(code, Some(130), "{log}");
    assert!(log.contains("cancelling the job") && log.contains("cancelled after"), "{log}");
    assert!(!log.contains("out of reach"), "that the grid stops is no outage: {log}");
    until("the task is gone", || if is_running(pid) { Err(pid) } else { Ok(()) });
}

#[test]
fn killing_it_leaves_no_task_behind() {
    let home = Home::new();
    let (service, pid) = endless_task(&home);
    rustix::process::kill_process(at_work(service.pid()).unwrap(), Signal::KILL).unwrap();
    let (code, log) = service.ended();
    assert_eq!(code, Some(128 + 9), "{log}");
    until("the task is gone", || if is_running(pid) { Err(pid) } else { Ok(()) });
}

#[test]
fn whoever_stops_reading_ends_it_quietly() {
    let home = Home::new();
    let mut command = home.command(&["run", "--range", "0..1000", "--", "echo", "{item}"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(Stdio::from(writer)).stderr(Stdio::piped());
    let ended = command.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*String::from_utf8_lossy(&ended.stderr)), (Some(5), ""));
}
