//! The examples run as they are, on real input, and give what the same commands give without a grid.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::Home;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Copies an example with its data, since its stages hand over through files beside it.
fn copied(home: &Home, job: &str, data: &str) -> String {
    home.file(
        &format!("data/{data}"),
        &fs::read_to_string(examples().join("data").join(data)).unwrap(),
    );
    home.file(job, &fs::read_to_string(examples().join(job)).unwrap())
}

/// Runs a script as a task would, without any grid.
fn plain(script: &str, directory: &Path, variables: &[(&str, &str)]) -> String {
    let mut shell = Command::new("/bin/sh")
        .args(["-eu", "-s"])
        .envs(variables.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_weather_of_seattle_is_that_of_a_plain_shell_loop() {
    let (home, by_hand) = (Home::new(), Home::new());
    let job = copied(&home, "seattle-weather.toml", "seattle-weather.csv");
    let table = home.ok(&["run", &job]);

    let job: toml::Table =
        fs::read_to_string(copied(&by_hand, "seattle-weather.toml", "seattle-weather.csv"))
            .unwrap()
            .parse()
            .unwrap();
    let [month, sum] = [0, 1].map(|stage| job["stage"][stage]["script"].as_str().unwrap());
    let months = job["stage"][0]["for_each"]["list"].as_array().unwrap();
    assert_eq!(months.len(), 48);
    for item in months {
        let variables = [("GRID_ITEM", item.as_str().unwrap()), ("GRID_TOKEN", "1")];
        assert_eq!(plain(month, by_hand.path(), &variables), "");
    }
    assert_eq!(table, plain(sum, by_hand.path(), &[]));
    assert!(table.ends_with("48 months, 4426.0 mm of rain\n"), "{table}");
}

#[test]
fn the_primes_below_a_hundred_million_are_as_many_as_is_known() {
    let home = Home::new();
    let job = examples().join("count-primes.toml");
    let counts = home.ok(&["run", job.to_str().unwrap()]);
    assert_eq!(counts.lines().count(), 200);
    assert_eq!(counts.lines().map(|line| line.parse::<u64>().unwrap()).sum::<u64>(), 5_761_455);
}

#[test]
fn the_lines_of_the_crates_that_were_downloaded_are_counted_file_by_file() {
    let home_directory = std::env::home_dir().unwrap();
    if !home_directory.join(".cargo/registry/src").is_dir() {
        writeln!(std::io::stderr(), "skipped: CARGO_HOME is not ~/.cargo, which the example reads")
            .unwrap();
        return;
    }
    let home = Home::new();
    let mut command = home.command(&["run", examples().join("count-lines.toml").to_str().unwrap()]);
    command.env("HOME", &home_directory);
    let ended = home.finish(command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let counted = ended.out().lines();
    let mut files = 0;
    for line in counted {
        let (lines, path) = line.trim().split_once(' ').unwrap();
        let content = fs::read(path).unwrap();
        let newlines = content.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines.parse::<usize>().unwrap(), newlines, "{path}");
        files += 1;
    }
    assert!(files > 1000, "{files} files");
}
