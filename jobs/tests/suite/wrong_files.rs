//! Every file in `tests/suite/wrong/` is refused with exactly the diagnosis beside it.
//!
//! `GRIDCTL_REWRITE=1 cargo test -p gridctl-jobs --test suite` writes the diagnoses anew, to be read in
//! the diff.

use std::fs;
use std::path::{Path, PathBuf};

use gridctl_jobs::diagnostic::{Diagnostics, Severity};
use gridctl_jobs::job::Job;
use gridctl_jobs::limits::{JOB_FILE_BYTES_MAX, STAGES_MAX};

/// As many as there are at least; a directory that is not found must not pass.
const FILES_MIN: usize = 80;

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/wrong");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn diagnosis(path: &Path) -> Option<Diagnostics> {
    let shown = path.file_name().unwrap().to_str().unwrap();
    Job::parse(&fs::read(path).unwrap(), shown).err()
}

#[test]
fn every_wrong_file_gets_exactly_its_diagnosis() {
    let rewrite = std::env::var_os("GRIDCTL_REWRITE").is_some();
    let files = files();
    assert!(files.len() >= FILES_MIN, "only {} files", files.len());
    let mut differing = Vec::new();
    for path in files {
        let Some(found) = diagnosis(&path) else {
            differing.push(format!("{}: it was not refused", path.display()));
            continue;
        };
        let found = format!("{found}\n");
        let expected_path = path.with_extension("expected");
        if rewrite {
            fs::write(&expected_path, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            differing.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}", path.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_diagnostic_follows_the_style_of_messages() {
    for path in files() {
        for diagnostic in diagnosis(&path).unwrap().list {
            let lines = [Some(diagnostic.message), diagnostic.hint];
            for text in lines.into_iter().flatten() {
                let first = text.chars().next().unwrap();
                assert!(
                    !first.is_uppercase() || text.starts_with("JSON"),
                    "{}: {text}",
                    path.display()
                );
                assert!(!text.ends_with('.') && !text.contains('\n'), "{}: {text}", path.display());
            }
        }
    }
}

#[test]
fn every_diagnostic_points_into_the_file() {
    for path in files() {
        let lines = String::from_utf8_lossy(&fs::read(&path).unwrap()).lines().count().max(1);
        for diagnostic in diagnosis(&path).unwrap().list {
            let place = diagnostic
                .place
                .unwrap_or_else(|| panic!("{}: {}", path.display(), diagnostic.message));
            assert!(
                (1..=lines + 1).contains(&place.line),
                "{}: line {}",
                path.display(),
                place.line
            );
            let width = place.source_line.chars().count();
            assert!(place.source_offset + place.length <= width + 1, "{}", path.display());
        }
    }
}

#[test]
fn a_job_of_too_many_stages_points_at_the_first_one_too_many() {
    let text: String = (0..=STAGES_MAX)
        .map(|at| format!("[[stage]]\nname = \"s{at}\"\nscript = \"x\"\n"))
        .collect();
    assert!(text.len() < JOB_FILE_BYTES_MAX);
    let found = Job::parse(text.as_bytes(), "many.toml").unwrap_err();
    assert_eq!(found.list.len(), 1);
    assert_eq!(found.list[0].severity, Severity::Error);
    assert_eq!(found.list[0].message, "the job has 1025 stages, at most 1024 are allowed");
    assert_eq!(found.list[0].place.as_ref().unwrap().line, STAGES_MAX * 3 + 1);
}

#[test]
fn a_file_whose_name_is_no_job_name_must_name_its_job() {
    let found = Job::parse(b"[[stage]]\nscript = 'x'", "dir/my(job).toml").unwrap_err();
    assert_eq!(
        found.list[0].message,
        "the job has no name, and its file's name cannot be one: a job's name is made of letters, digits, `-`, `_`, \
         `.` and spaces, not of '('"
    );
    assert!(Job::parse(b"name = 'x'\n[[stage]]\nscript = 'x'", "dir/my(job).toml").is_ok());
}
