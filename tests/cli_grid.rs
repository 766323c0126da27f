//! A grid of one coordinator and two workers, and every verb that asks it.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::process::{Command, Stdio};

use common::{Home, until};
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn two_workers_join_with_one_token_and_every_verb_answers() {
    let home = Home::new();
    let (coordinator, token) = home.coordinator();
    let _one = home.worker("one", &token);
    let _two = home.worker("two", &token);

    let submit = ["submit", "--wait", "--range", "0..50", "-n", "squares", "--"];
    // `expr 0 * 2` prints 0 and exits with 1.
    let ended = home.run(&[&submit[..], &["expr", "{item}", "*", "2"]].concat());
    assert_eq!((ended.code, ended.out(), ended.stderr.as_str()), (Some(1), "1\n", ""));
    let expected: String = (0..50).map(|n| format!("{}\n", n * 2)).collect();
    let ended = home.run(&["wait", "1"]);
    assert_eq!((ended.code, ended.out(), ended.stderr.as_str()), (Some(1), "", ""));
    assert_eq!(home.ok(&["output", "squares"]), expected);
    assert_eq!(home.ok(&["output", "1/main/3..5"]), "6\n8\n");

    check_json(&home);
    let table = home.ok(&["jobs"]);
    assert!(table.starts_with("JOB  NAME") && table.contains("squares"), "{table}");
    let status = home.ok(&["status", "last"]);
    assert!(
        status.contains("job 1 (squares): failed") && status.contains("last failure: main/0 ("),
        "{status}"
    );
    assert!(home.ok(&["workers"]).contains("ready"));
    assert!(home.ok(&["token", "list"]).contains("worker"));
    assert_eq!(home.ok(&["explain", "1"]), "nothing of it waits\n");

    coordinator.signal(Signal::TERM);
    let (code, log) = coordinator.ended();
    assert_eq!(code, Some(0), "{log}");
}

fn check_json(home: &Home) {
    let jobs = home.json(&["jobs", "--json"]);
    let job = &jobs[0];
    for key in ["number", "id", "name", "state", "tasks", "submitted_at", "finished_at"] {
        assert!(!job[key].is_null(), "{key}: {job}");
    }
    let tasks = json!({
        "total": 50, "waiting": 0, "running": 0, "done": 49, "failed": 1, "cancelled": 0, "skipped": 0
    });
    assert_eq!(
        (&job["number"], &job["state"], &job["tasks"]),
        (&json!(1), &json!("failed"), &tasks)
    );
    let status = home.json(&["status", "squares", "--json"]);
    assert_eq!(status["stages"][0]["tasks"], tasks);

    let failed = home.json(&["tasks", "1", "--state", "failed", "--json"]);
    assert_eq!(failed.as_array().map(Vec::len), Some(1));
    let task = failed[0].as_object().unwrap();
    let keys = [
        "job",
        "stage",
        "index",
        "state",
        "attempts",
        "worker",
        "exit_code",
        "failure",
        "started_at",
        "finished_at",
        "exact",
    ];
    for key in keys {
        assert!(task.contains_key(key), "{key}: {task:?}");
    }
    assert_eq!(
        (&task["index"], &task["exit_code"], &task["failure"]),
        (&json!(0), &json!(1), &json!("exit 1"))
    );
    assert_eq!(home.json(&["tasks", "1", "--json"]).as_array().map(Vec::len), Some(50));

    let workers = home.json(&["workers", "--json"]);
    let mut names: Vec<&str> =
        workers.as_array().unwrap().iter().filter_map(|w| w["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["one", "two"]);
    for key in ["name", "id", "state", "cpus", "running", "labels", "last_heartbeat_ms"] {
        assert!(!workers[0][key].is_null(), "{key}: {workers}");
    }
    assert_eq!(workers[0]["cpus"], json!(2.0));
}

#[test]
fn output_is_that_of_a_shell_loop_byte_for_byte() {
    let home = Home::new();
    let (_coordinator, token) = home.coordinator();
    let _one = home.worker("one", &token);
    // Nothing, no newline, bytes that are no text, and more than fits one message.
    let script = r#"case $1 in 3) ;; 5) printf 'no newline' ;; 7) printf '\000\377\033[1m' ;; 9) head -c 300000 /dev/zero ;; *) echo "line $1" ;; esac"#;
    home.ok(&["submit", "--wait", "--range", "0..12", "--", "sh", "-c", script, "sh", "{item}"]);
    let looped: Vec<u8> = (0..12)
        .flat_map(|n| {
            Command::new("sh").args(["-c", script, "sh", &n.to_string()]).output().unwrap().stdout
        })
        .collect();
    let ended = home.run(&["output", "last"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout == looped, "{} bytes instead of {}", ended.stdout.len(), looped.len());
}

#[test]
fn exit_codes_say_what_became_of_a_job() {
    let home = Home::new();
    let (_coordinator, token) = home.coordinator();
    let _one = home.worker("one", &token);
    let codes = |args: &[&str]| home.run(args).code;
    assert_eq!(codes(&["submit", "--wait", "--", "true"]), Some(0));
    assert_eq!(codes(&["submit", "--wait", "--", "false"]), Some(1));
    home.ok(&["submit", "-n", "long", "--", "sleep", "1000"]);
    home.ok(&["cancel", "long"]);
    assert_eq!(codes(&["wait", "long"]), Some(5));
    assert_eq!(codes(&["wait", "1", "long"]), Some(5));
    assert_eq!(codes(&["watch", "1", "2", "long"]), Some(1));
    for args in [["status", "99"], ["wait", "nobody"], ["output", "1/nostage"], ["cancel", "99"]] {
        let ended = home.run(&args);
        assert_eq!((ended.code, ended.out()), (Some(6), ""), "{args:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    }
    // What is quiet when piped stays quiet.
    let watched = home.run(&["submit", "--watch", "--", "true"]);
    assert_eq!((watched.code, watched.out(), watched.stderr.as_str()), (Some(0), "4\n", ""));
}

#[test]
fn waiting_never_exits_0_for_a_job_that_failed_though_nobody_reads_its_number() {
    let home = Home::new();
    let (_coordinator, token) = home.coordinator();
    let _one = home.worker("one", &token);
    for (waits, code) in [("--wait", 1), ("--watch", 1)] {
        let mut command = home.command(&["submit", waits, "--", "false"]);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(Stdio::from(writer)).stderr(Stdio::null());
        assert_eq!(command.status().unwrap().code(), Some(code), "{waits}");
    }
}

#[test]
fn the_same_submission_twice_is_one_job_and_another_under_its_id_is_refused() {
    let home = Home::new();
    let (_coordinator, _token) = home.coordinator();
    let id = "01890000-0000-7000-8000-0000000000aa";
    let submit = |command: &str| home.run(&["submit", "--id", id, "--", command]);
    assert_eq!(submit("true").out(), "1\n");
    let again = submit("true");
    assert_eq!((again.code, again.out()), (Some(0), "1\n"));
    assert!(again.stderr.contains("submitted before, as job 1"), "{again:?}");
    let other = submit("false");
    assert_eq!((other.code, other.out()), (Some(2), ""));
    assert!(other.stderr.contains("job 1"), "{other:?}");
}

#[test]
fn a_stage_of_a_job_is_waited_for_shown_and_explained_by_itself() {
    let home = Home::new();
    let (_coordinator, token) = home.coordinator();
    let _one = home.worker("one", &token);
    let job = home.file(
        "two.toml",
        "[[stage]]\nname = \"first\"\ncommand = [\"true\"]\n\n\
         [[stage]]\nname = \"second\"\nneeds = [\"first\"]\ncommand = [\"true\"]\ncpus = 64\n",
    );
    home.ok(&["submit", &job]);
    // The job cannot end: its second stage asks for more than there is.
    assert_eq!(home.run(&["wait", "last/first"]).code, Some(0));
    let status = home.ok(&["status", "last/first"]);
    assert!(status.contains("first") && !status.contains("second"), "{status}");
    assert_eq!(home.ok(&["explain", "last/first"]), "nothing of it waits\n");
    assert!(home.ok(&["explain", "last/second"]).contains("64 cpus"));
    for verb in ["wait", "status", "explain"] {
        let ended = home.run(&[verb, "last/third"]);
        assert_eq!((ended.code, ended.out()), (Some(6), ""), "{ended:?}");
        assert!(ended.stderr.contains("no stage third; it has first, second"), "{ended:?}");
    }
    home.ok(&["cancel", "last/second"]);
    assert_eq!(home.run(&["wait", "last/second"]).code, Some(5));
    assert_eq!(home.run(&["wait", "last/first/0"]).code, Some(2));
}

#[test]
fn a_job_without_a_worker_is_explained() {
    let home = Home::new();
    let (_coordinator, token) = home.coordinator();
    home.ok(&["submit", "--cpus", "64", "--", "true"]);
    let explained = home.ok(&["explain", "1"]);
    assert!(explained.contains("no worker is connected"), "{explained}");
    let _one = home.worker("one", &token);
    let explained = until("it names the largest worker", || {
        let explained = home.ok(&["explain", "1"]);
        if explained.contains("64") { Ok(explained) } else { Err(explained) }
    });
    assert!(explained.contains("one, has 2"), "{explained}");
    let document = home.json(&["explain", "1", "--json"]);
    assert_eq!(document[0]["reasons"][0]["kind"], json!("too-many-cpus"));
}

#[test]
fn a_second_person_logs_in_sees_every_job_and_changes_only_their_own() {
    let (home, other) = (Home::new(), Home::new());
    let (_coordinator, _token) = home.coordinator();
    home.ok(&["submit", "--", "sleep", "1000"]);
    let token = home.ok(&["token", "create", "--role", "user"]);
    let told = other.run(&["login", token.trim()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("you are tester") && told.stderr.contains("(user)"), "{told:?}");
    assert_eq!(
        other.json(&["jobs", "--json"])[0]["owner"],
        home.json(&["jobs", "--json"])[0]["owner"]
    );
    for args in [&["cancel", "1"][..], &["token", "create", "--role", "worker"], &["token", "list"]]
    {
        let refused = other.run(args);
        assert_eq!((refused.code, refused.out()), (Some(4), ""), "{args:?}: {refused:?}");
    }
    // A person's token is for one person, and a worker's for no person.
    let used = Home::new().run(&["login", token.trim()]);
    assert_eq!(used.code, Some(4), "{used:?}");
    let own = other.ok(&["submit", "--", "true"]);
    assert_eq!(own, "2\n");
    other.ok(&["cancel", "last"]);
    assert_eq!(home.json(&["status", "2", "--json"])["state"], json!("cancelled"));
    assert_eq!(home.json(&["status", "last", "--json"])["number"], json!(1));
}

#[test]
fn ctrl_c_while_watching_leaves_the_job_running_and_says_how_to_go_on() {
    let home = Home::new();
    let (_coordinator, token) = home.coordinator();
    let _one = home.worker("one", &token);
    let (watching, lines) = home.start(&["submit", "--watch", "--", "sleep", "1000"]);
    assert_eq!(lines.recv_timeout(common::DEADLINE).as_deref(), Ok("1"));
    let running = |status: &Value| status["tasks"]["running"] == json!(1);
    home.until_job("1", "it is running", running);
    watching.signal(Signal::INT);
    let (code, log) = watching.ended();
    assert_eq!(code, Some(130), "{log}");
    assert!(log.contains("gridctl watch 1"), "{log}");
    assert!(running(&home.json(&["status", "1", "--json"])));
}
