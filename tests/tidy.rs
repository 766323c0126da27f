//! Holds the rules of the house that the compiler cannot: who may use whom, and how long a file may be.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which members a member may use; nothing else of this workspace.
const MAY_USE: &[(&str, &str, &[&str])] = &[
    ("gridctl-jobs", "jobs", &[]),
    ("gridctl-core", "coordinator/core", &["gridctl-jobs"]),
    ("gridctl-transport", "transport", &["gridctl-jobs"]),
    ("gridctl-coordinator", "coordinator", &["gridctl-jobs", "gridctl-core", "gridctl-transport"]),
    ("gridctl-worker", "worker", &["gridctl-jobs", "gridctl-transport"]),
    (
        "gridctl",
        ".",
        &["gridctl-jobs", "gridctl-transport", "gridctl-coordinator", "gridctl-worker"],
    ),
];

/// What would make the core or the job types impure: the network, files, clocks, threads.
const IMPURE: &[&str] = &[
    "tokio",
    "quinn",
    "quinn-proto",
    "mio",
    "socket2",
    "rustix",
    "nix",
    "rayon",
    "tempfile",
    "chrono",
    "jiff",
];

/// Past this a file is no longer one idea.
const LINES_MAX: usize = 1000;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn manifest(dir: &Path) -> toml::Table {
    std::fs::read_to_string(dir.join("Cargo.toml")).unwrap().parse().unwrap()
}

fn table_keys(manifest: &toml::Table, table: &str) -> BTreeSet<String> {
    manifest
        .get(table)
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|t| t.keys().cloned())
        .collect()
}

/// Every file below `dir` that git would track, as far as names tell, ending in `.rs`.
fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                rust_files(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn members_use_only_the_members_that_they_may() {
    for (name, dir, may_use) in MAY_USE {
        let manifest = manifest(&root().join(dir));
        assert_eq!(manifest["package"]["name"].as_str(), Some(*name), "the package in {dir}");
        let used: BTreeSet<String> = table_keys(&manifest, "dependencies")
            .into_iter()
            .filter(|dependency| dependency.starts_with("gridctl"))
            .collect();
        let allowed: BTreeSet<String> = may_use.iter().map(ToString::to_string).collect();
        assert!(used.is_subset(&allowed), "{name} uses {used:?}, and may use {allowed:?}");
    }
}

#[test]
fn every_member_has_a_rule() {
    let members = manifest(&root())["workspace"]["members"].as_array().unwrap().clone();
    for member in members {
        let member = member.as_str().unwrap().to_owned();
        let tests_only = member.starts_with("tests/") || member == "bench";
        assert!(
            tests_only || MAY_USE.iter().any(|(_, dir, _)| *dir == member),
            "{member} has no entry in MAY_USE"
        );
    }
}

#[test]
fn the_core_and_the_job_types_reach_nothing_impure() {
    for package in ["gridctl-core", "gridctl-jobs"] {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--locked",
                "-p",
                package,
                "-e",
                "normal",
                "--prefix",
                "none",
                "-f",
                "{p}",
            ])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        let reached: BTreeSet<&str> =
            tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(reached.contains("gridctl-jobs"), "the tree of {package} was read: {tree}");
        for impure in IMPURE {
            assert!(!reached.contains(impure), "{package} reaches {impure}");
        }
    }
}

#[test]
fn versions_of_dependencies_stand_only_in_the_workspace() {
    for (name, dir, _) in MAY_USE {
        let manifest = manifest(&root().join(dir));
        for table in ["dependencies", "dev-dependencies"] {
            for (dependency, how) in
                manifest.get(table).and_then(toml::Value::as_table).into_iter().flatten()
            {
                let inherited = how.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherited, "{name}: {dependency} has a version of its own");
            }
        }
    }
}

#[test]
fn no_file_is_longer_than_one_idea() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    assert!(files.len() > 20, "the tree was walked");
    for file in files {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines; split it along an idea", file.display());
    }
}
