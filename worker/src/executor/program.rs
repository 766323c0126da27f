//! Finds the program that a task names, and says why it cannot be started.
//!
//! The search is ours, and not left to the system: where `PATH` is set for the child, a bare name would
//! make std fork instead of using `posix_spawn`; and a person wants to know which of several things is
//! missing.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// What a task runs when its script has no `#!` line.
const SHELL: [&str; 2] = ["/bin/sh", "-eu"];

/// Why a process could not be started. Each names the path that is the trouble.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(
        "the directory {} (`cwd`) is not on this worker; until files travel it must be there", .0.display()
    )]
    NoDirectory(PathBuf),
    #[error("{} (`cwd`) cannot be entered ({})", .0.display(), .1)]
    BadDirectory(PathBuf, io::Error),
    #[error("the program `{program}` is not found in PATH ({path}) on this worker")]
    NotInPath { program: String, path: String },
    #[error("the program {} is not on this worker", .0.display())]
    NotThere(PathBuf),
    #[error("{} is not executable; chmod +x it, or name its interpreter", .0.display())]
    NotExecutable(PathBuf),
    #[error(
        "{} is there, but what it needs to run is not (the interpreter of its `#!` line, or its loader)", .0.display()
    )]
    NoInterpreter(PathBuf),
    #[error("{} is not a program that this machine can run; a script needs a `#!` line", .0.display())]
    NotAProgram(PathBuf),
    #[error("the file {} (`stdin`) is not on this worker; until files travel it must be there", .0.display())]
    NoStdin(PathBuf),
    #[error("{} (`stdin`) cannot be read ({})", .0.display(), .1)]
    BadStdin(PathBuf, io::Error),
    #[error("{} cannot be started ({})", .0.display(), .1)]
    Other(PathBuf, io::Error),
    #[error("its scratch directory {} cannot be used ({}); check the space there", .0.display(), .1)]
    Scratch(PathBuf, io::Error),
}

/// Finds `program` as a shell does: a name with a slash is a path from `cwd`, any other is looked for in
/// the directories of `path`.
pub(super) fn find(program: &str, path: &str, cwd: &Path) -> Result<PathBuf, StartError> {
    if program.contains('/') {
        let file = cwd.join(program);
        return match executable(&file) {
            Found::Yes => Ok(file),
            Found::NotExecutable => Err(StartError::NotExecutable(file)),
            Found::No => Err(about_directory(cwd).err().unwrap_or(StartError::NotThere(file))),
        };
    }
    let mut not_executable = None;
    for directory in path.split(':') {
        let file = cwd.join(directory).join(program);
        match executable(&file) {
            Found::Yes if !program.is_empty() => return Ok(file),
            Found::NotExecutable => not_executable = not_executable.or(Some(file)),
            Found::Yes | Found::No => {}
        }
    }
    let not_found = StartError::NotInPath { program: program.to_owned(), path: path.to_owned() };
    Err(not_executable.map_or(not_found, StartError::NotExecutable))
}

/// Says what is wrong after a start failed.
pub(super) fn diagnose(error: io::Error, program: &Path, cwd: &Path) -> StartError {
    if let Err(trouble) = about_directory(cwd) {
        return trouble;
    }
    let program = program.to_owned();
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) if program.exists() => StartError::NoInterpreter(program),
        Some(rustix::io::Errno::NOENT) => StartError::NotThere(program),
        Some(rustix::io::Errno::ACCESS) => StartError::NotExecutable(program),
        Some(rustix::io::Errno::NOEXEC) => StartError::NotAProgram(program),
        Some(_) | None => StartError::Other(program, error),
    }
}

/// Splits a script's `#!` line as the kernel does: the interpreter, and all the rest as one argument.
/// The shell, where there is none.
pub(super) fn interpreter(script: &str) -> (String, Option<String>) {
    let line = script.strip_prefix("#!").and_then(|rest| rest.lines().next());
    let mut words = line.unwrap_or_default().trim().splitn(2, [' ', '\t']);
    match words.next() {
        Some(program) if !program.is_empty() => {
            let rest = words.next().map(str::trim).filter(|rest| !rest.is_empty());
            (program.to_owned(), rest.map(str::to_owned))
        }
        Some(_) | None => {
            let [shell, flags] = SHELL.map(str::to_owned);
            (shell, Some(flags))
        }
    }
}

enum Found {
    Yes,
    NotExecutable,
    No,
}

fn executable(file: &Path) -> Found {
    if !file.is_file() {
        return Found::No;
    }
    match access(file, Access::EXEC_OK) {
        Ok(()) => Found::Yes,
        Err(_) => Found::NotExecutable,
    }
}

fn about_directory(cwd: &Path) -> Result<(), StartError> {
    match cwd.metadata() {
        Ok(found) if found.is_dir() => match access(cwd, Access::EXEC_OK) {
            Ok(()) => Ok(()),
            Err(error) => Err(StartError::BadDirectory(cwd.to_owned(), error.into())),
        },
        Ok(_) => Err(StartError::NoDirectory(cwd.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StartError::NoDirectory(cwd.to_owned()))
        }
        Err(error) => Err(StartError::BadDirectory(cwd.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(script: &str) -> (String, Option<String>) {
        interpreter(script)
    }

    #[test]
    fn the_first_line_of_a_script_is_honoured() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("#!/bin/bash\necho"), ("/bin/bash".to_owned(), None));
        assert_eq!(
            of("#! /usr/bin/env  python3 -u \n"),
            ("/usr/bin/env".to_owned(), some("python3 -u"))
        );
        assert_eq!(of("echo hi"), ("/bin/sh".to_owned(), some("-eu")));
        assert_eq!(of("#!\necho"), ("/bin/sh".to_owned(), some("-eu")));
        assert_eq!(of(""), ("/bin/sh".to_owned(), some("-eu")));
    }
}
