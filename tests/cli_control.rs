//! What is done to jobs and workers that are there: retry, drain and resume, forget; and that a job is
//! submitted once, however often it is sent.

mod common;

use common::{Home, Service, until};
use serde_json::{Value, json};

/// Tasks that fail until a file is there, and a stage that needs them.
const FLAKY: &str = r#"
name = "flaky"

[[stage]]
name = "main"
for_each.range = "0..3"
command = ["sh", "-c", 'echo "$1 attempt $2"; test "$1" != 1 || test -e "$3"', "sh", "{item}", "{attempt}", "FLAG"]

[[stage]]
name = "merge"
needs = ["main"]
command = ["echo", "merged"]
"#;

#[test]
fn retry_runs_again_what_failed_and_what_was_skipped_because_of_it() {
    let home = Home::new();
    let (_coordinator, token) = serve(&home, &PATIENT);
    let _one = home.worker("one", &token);
    let flag = home.path().join("flag");
    let file = home.file("job.toml", &FLAKY.replace("FLAG", flag.to_str().unwrap()));
    assert_eq!(home.run(&["submit", "--wait", &file]).code, Some(1));
    let status = home.json(&["status", "1", "--json"]);
    let tasks = &status["tasks"];
    assert_eq!(
        (&tasks["done"], &tasks["failed"], &tasks["skipped"]),
        (&json!(2), &json!(1), &json!(1))
    );

    home.file("flag", "");
    let ended = home.run(&["retry", "1"]);
    assert_eq!((ended.code, ended.out()), (Some(0), ""), "{ended:?}");
    assert!(ended.stderr.contains("job 1: 2 tasks to run again"), "{ended:?}");
    assert_eq!(home.run(&["wait", "1"]).code, Some(0));
    let all = "0 attempt 1\n1 attempt 2\n2 attempt 1\nmerged\n";
    assert_eq!(home.ok(&["output", "1"]), all);
    assert_eq!(home.json(&["tasks", "1/main/1", "--json"])[0]["attempts"], json!(2));

    let nothing = home.run(&["retry", "1"]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    assert!(nothing.stderr.contains("nothing of that has failed"), "{nothing:?}");
    home.ok(&["retry", "--all", "1/main/0..2"]);
    assert_eq!(home.run(&["wait", "1"]).code, Some(0));
    let some = "0 attempt 2\n1 attempt 3\n2 attempt 1\nmerged\n";
    assert_eq!(home.ok(&["output", "1"]), some);

    assert_eq!(home.run(&["retry", "9"]).code, Some(6));
    assert_eq!(home.run(&["retry", "1/none"]).code, Some(6));
}

#[test]
fn a_cancelled_job_is_retried() {
    let home = Home::new();
    let (_coordinator, token) = serve(&home, &PATIENT);
    let _one = home.worker("one", &token);
    let flag = home.path().join("flag");
    let script = r#"test -e "$1" || exec sleep 1000"#;
    home.ok(&["submit", "--range", "0..3", "--", "sh", "-c", script, "sh", flag.to_str().unwrap()]);
    home.until_job("1", "two tasks run", |status| status["tasks"]["running"] == 2);
    home.ok(&["cancel", "1"]);
    assert_eq!(home.run(&["wait", "1"]).code, Some(5));
    home.file("flag", "");
    home.ok(&["retry", "1"]);
    assert_eq!(home.run(&["wait", "1"]).code, Some(0));
    let tasks = home.json(&["tasks", "1", "--json"]);
    let attempts: Vec<&Value> =
        tasks.as_array().unwrap().iter().map(|task| &task["attempts"]).collect();
    assert_eq!(attempts, [&json!(2), &json!(2), &json!(1)], "those that ran are counted on");
}

#[test]
fn a_draining_worker_finishes_what_it_runs_and_gets_nothing_new() {
    let home = Home::new();
    let (mut coordinator, token) = home.coordinator();
    let _one = home.worker("one", &token);
    let flag = home.path().join("flag");
    let script = r#"while ! test -e "$1"; do sleep 0.05; done"#;
    home.ok(&["submit", "--range", "0..4", "--", "sh", "-c", script, "sh", flag.to_str().unwrap()]);
    home.until_job("1", "two tasks run", |status| status["tasks"]["running"] == 2);

    let drained = home.run(&["workers", "drain", "one"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert!(drained.stderr.contains("worker one is draining"), "{drained:?}");
    until_state(&home, "draining");
    assert!(home.ok(&["workers"]).contains("draining"));
    until("the reason for waiting is told", || {
        let why = home.json(&["explain", "1", "--json"]).to_string();
        if why.contains("gridctl workers resume one") { Ok(()) } else { Err(why) }
    });
    home.file("flag", "");
    let two_done = |status: &Value| status["tasks"]["done"] == 2 && status["tasks"]["running"] == 0;
    home.until_job("1", "what ran is done", two_done);

    coordinator.kill();
    let (_coordinator, _lines) = restart(&home);
    until_state(&home, "draining");
    home.until_job("1", "nothing else ran", two_done);
    let again = home.run(&["workers", "drain", "1"]);
    assert!(again.stderr.contains("already draining, nothing runs there"), "{again:?}");

    home.ok(&["workers", "resume", "one"]);
    assert_eq!(home.run(&["wait", "1"]).code, Some(0));
    until_state(&home, "ready");
    let nothing = home.run(&["workers", "resume", "one"]);
    assert!(nothing.stderr.contains("nothing kept worker one from work"), "{nothing:?}");
    assert_eq!(home.run(&["workers", "drain", "nobody"]).code, Some(6));
}

#[test]
fn a_forgotten_job_is_gone_and_its_id_is_remembered() {
    let home = Home::new();
    let (mut coordinator, token) = home.coordinator();
    let _one = home.worker("one", &token);
    let id = "01890000-0000-7000-8000-000000000001";
    let submit = ["submit", "--wait", "--id", id, "--", "echo", "out"];
    home.ok(&submit);
    home.ok(&["submit", "-n", "long", "--", "sleep", "1000"]);
    let open = home.run(&["forget", "long"]);
    assert_eq!(open.code, Some(2), "{open:?}");
    assert!(open.stderr.contains("has not ended"), "{open:?}");

    let forgotten = home.run(&["forget", "1"]);
    assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
    for restarted in [false, true] {
        if restarted {
            coordinator.kill();
            (coordinator, _) = restart(&home);
        }
        let listed = home.json(&["jobs", "--json"]);
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
        for verb in ["status", "output", "tasks", "retry", "forget", "wait"] {
            let gone = home.run(&[verb, "1"]);
            assert_eq!(gone.code, Some(6), "{verb}: {gone:?}");
            assert!(gone.stderr.contains("job 1 was forgotten"), "{verb}: {gone:?}");
        }
        let again = home.run(&submit);
        assert_eq!(again.code, Some(2), "{again:?}");
        assert!(again.stderr.contains("was that of job 1, which was forgotten"), "{again:?}");
    }
    let next = home.ok(&["submit", "--", "true"]);
    assert_eq!(next, "3\n", "numbers are not used again");
}

#[test]
fn jobs_are_forgotten_when_their_time_is_over() {
    let home = Home::new();
    let args = ["coordinator", "--listen", "127.0.0.1:0", "--lease", "10s", "--keep-ended", "1s"];
    let (_coordinator, token) = serve(&home, &args);
    let _one = home.worker("one", &token);
    home.ok(&["submit", "-n", "open", "--", "sleep", "1000"]);
    home.ok(&["submit", "-n", "short", "--", "true"]);
    until("only the open job is left", || {
        let jobs = home.json(&["jobs", "--json"]);
        let names: Vec<&Value> = jobs.as_array().unwrap().iter().map(|job| &job["name"]).collect();
        if names == ["open"] { Ok(()) } else { Err(jobs) }
    });
}

#[test]
fn the_same_submission_again_is_the_same_job() {
    let home = Home::new();
    let (mut coordinator, token) = home.coordinator();
    let _one = home.worker("one", &token);
    let id = "01890000-0000-7000-8000-000000000002";
    let submit = ["submit", "--id", id, "-n", "once", "--", "echo", "out"];
    assert_eq!(home.ok(&submit), "1\n");
    let again = home.run(&submit);
    assert_eq!((again.code, again.out()), (Some(0), "1\n"), "{again:?}");
    assert!(again.stderr.contains("submitted before, as job 1"), "{again:?}");
    assert_eq!(home.run(&["wait", "1"]).code, Some(0));
    coordinator.kill();
    let (_coordinator, _lines) = restart(&home);
    assert_eq!(home.ok(&submit), "1\n", "after it has ended, and a restart");
    let other = home.run(&["submit", "--id", id, "-n", "once", "--", "echo", "other"]);
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.stderr.contains(&format!("{id} is already job 1")), "{other:?}");
    assert_eq!(home.json(&["jobs", "--json"]).as_array().map(Vec::len), Some(1));
}

/// A coordinator whose workers lose nothing, however slow the machine: attempts are counted.
const PATIENT: [&str; 5] = ["coordinator", "--listen", "127.0.0.1:0", "--lease", "60s"];

/// Starts the coordinator again over what it left.
fn restart(home: &Home) -> (Service, String) {
    serve(home, &["coordinator", "--lease", "10s", "--listen", "127.0.0.1:0"])
}

fn serve(home: &Home, args: &[&str]) -> (Service, String) {
    let (service, lines) = home.start(args);
    let Ok(line) = lines.recv_timeout(common::DEADLINE) else {
        panic!("no line: {}", service.log())
    };
    (service, line.trim_start_matches("gridctl worker --join ").to_owned())
}

fn until_state(home: &Home, state: &str) {
    until(&format!("the worker is {state}"), || {
        let workers = home.json(&["workers", "--json"]);
        if workers[0]["state"] == state { Ok(()) } else { Err(workers) }
    });
}
