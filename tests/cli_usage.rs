//! The command line without any grid: help, usage, `check`, exit codes.

mod common;

use common::Home;
use serde_json::json;

#[test]
fn help_lists_the_exit_codes_and_only_verbs_that_are_built() {
    let home = Home::new();
    let help = home.ok(&["--help"]);
    for line in ["130  interrupted", "6    no such job, task or worker", "gridctl run job.toml"] {
        assert!(help.contains(line), "{line}: {help}");
    }
    for verb in ["pause", "resume", "results", "top", "ui", "doctor", "completions", "man"] {
        assert!(!verbs(&help).contains(&verb), "{verb}: {help}");
    }
}

/// The verbs that a help text lists.
fn verbs(help: &str) -> Vec<&str> {
    let lines = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn every_verb_has_help() {
    let home = Home::new();
    let help = home.ok(&["--help"]);
    let verbs = verbs(&help);
    assert_eq!(verbs.len(), 19, "{verbs:?}");
    for verb in verbs {
        let shown = home.ok(&[verb, "--help"]);
        assert!(shown.contains("Usage: gridctl"), "{shown}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let home = Home::new();
    let job = home.file("job.toml", "[[stage]]\ncommand = [\"true\"]\n");
    let wrong: [&[&str]; 9] = [
        &[],
        &["nonsense"],
        &["run"],
        &["run", "job.toml", "--", "true"],
        &["run", "--cpus", "2", &job],
        &["status", "7/stage/3"],
        &["watch", "7/stage"],
        &["output", "0"],
        &["tasks", "1", "--state", "sleepy"],
    ];
    for args in wrong {
        let ended = home.run(args);
        assert_eq!((ended.code, ended.out()), (Some(2), ""), "{args:?}: {ended:?}");
        assert!(
            ended.stderr.contains("sage: gridctl") || ended.stderr.contains("error:"),
            "{args:?}: {ended:?}"
        );
    }
}

#[test]
fn check_shows_stages_tasks_and_the_first_commands() {
    let home = Home::new();
    let job = home.file(
        "sweep.toml",
        r#"
        [[stage]]
        name = "fit"
        command = ["fit", "--seed", "{item}", "a b"]
        for_each.range = "5..1005"

        [[stage]]
        name = "report"
        needs = ["fit"]
        script = "echo all fits are there"
        "#,
    );
    let shown = home.ok(&["check", &job]);
    for part in [
        "job sweep: 1001 tasks",
        "fit/0: fit --seed 5 'a b'",
        "fit/2: fit --seed 7",
        "and 997 more",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let document = home.json(&["check", &job, "--json"]);
    assert_eq!(document["stages"][1]["needs"], json!(["fit"]));
    assert_eq!(document["stages"][0]["first"][0], json!("fit --seed 5 'a b'"));
}

#[test]
fn check_finds_every_error_at_once_with_its_place_and_a_hint() {
    let home = Home::new();
    let job = home.file(
        "job.toml",
        "[[stage]]\nname = \"a\"\ncomand = [\"true\"]\n\n[[stage]]\nname = \"b\"\ncommand = [\"echo\", \"{itm}\"]\nfor_each.list = [\"x\"]\nneeds = [\"c\"]\n",
    );
    let ended = home.run(&["check", &job]);
    assert_eq!((ended.code, ended.out()), (Some(2), ""), "{ended:?}");
    for part in
        ["job.toml:3:1", "command", "job.toml:7:", "item", "job.toml:9:", "comand = [\"true\"]"]
    {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_job_file_that_is_not_there_is_named() {
    let home = Home::new();
    for verb in ["check", "run", "submit"] {
        let ended = home.run(&[verb, "nowhere.toml"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(
            ended.stderr.starts_with("error: cannot read the job file nowhere.toml: "),
            "{ended:?}"
        );
    }
}

#[test]
fn a_job_of_10_to_the_12_tasks_is_refused_at_once() {
    let home = Home::new();
    let job = home.file(
        "huge.toml",
        "[[stage]]\ncommand = [\"true\"]\nfor_each.range = \"0..1000000000000\"\n",
    );
    let ended = home.run(&["check", &job]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("huge.toml:3:"), "{ended:?}");
}

#[test]
fn without_any_profile_it_says_how_to_get_one() {
    let home = Home::new();
    for verb in ["jobs", "workers"] {
        let ended = home.run(&[verb]);
        assert_eq!((ended.code, ended.out()), (Some(4), ""), "{ended:?}");
        for part in ["error: no grid is known here", "gridctl login TOKEN", "gridctl coordinator"] {
            assert!(ended.stderr.contains(part), "{part}: {ended:?}");
        }
    }
}

#[test]
fn an_unknown_key_of_a_file_of_settings_is_named_with_its_line() {
    let home = Home::new();
    home.file(
        ".config/gridctl/coordinator.toml",
        "# mine\nlease = \"5s\"\nlisten_on = \"[::]:1\"\n",
    );
    let ended = home.run(&["coordinator"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("coordinator.toml:3: ") && ended.stderr.contains("listen_on"),
        "{ended:?}"
    );
}

#[test]
fn a_token_that_is_none_is_refused_before_anything_is_tried() {
    let home = Home::new();
    let ended = home.run(&["login", "sesame"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("not a join token"), "{ended:?}");
}
