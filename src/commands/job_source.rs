//! From a job file, or a command after `--`, to a job that can be submitted.

use std::fs::File;
use std::io::{self, Read, stdin};
use std::path::{Path, PathBuf};

use gridctl_jobs::diagnostic::{Diagnostics, Style};
use gridctl_jobs::job::Job;
use gridctl_jobs::limits::{JOB_FILE_BYTES_MAX, NAME_CHARS_MAX};
use gridctl_jobs::name::check_job_name;
use gridctl_jobs::resolve::Resolved;
use gridctl_jobs::stage::Stage;
use thiserror::Error;

use crate::cli::{CommandOptions, Source};
use crate::error::{CommandError, Exit};
use crate::output::screen::Screen;
use crate::surroundings::{BaseError, Machine};

/// The path that means standard input.
const STDIN: &str = "-";
/// What standard input is called in messages; also the job, where it has no name.
const STDIN_NAME: &str = "stdin";
/// What the only stage of a job from the command line is called: what a job file would call it.
const STAGE_NAME: &str = "main";

/// Why there is no job to look at.
#[derive(Debug, Error)]
pub(crate) enum JobSourceError {
    /// The file is not there, or cannot be read.
    #[error("cannot read the job file {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The directory that the job stands in.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A variable that was to be copied from here.
    #[error(
        "--env {name}: there is no variable {name} here, or it is not valid UTF-8; give it a value: --env {name}=…"
    )]
    Variable { name: String },
}

/// Where tasks of a command start unless it is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StartIn {
    /// In the directory in which the command was typed.
    Here,
    /// Each in a scratch directory of its own.
    Scratch,
}

impl JobSourceError {
    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read { .. } | Self::Base(_) | Self::Variable { .. } => Exit::Usage,
        }
    }
}

/// Returns the job that was asked for; what is only doubtful in it is shown.
pub(super) fn load(
    source: Source,
    start_in: StartIn,
    screen: Screen,
) -> Result<Resolved, CommandError> {
    let resolved = match source.file {
        Some(path) => load_file(&path)?,
        None => {
            let job = from_command(source.command, source.options, start_in)?;
            resolve(&job, &Machine::here().map_err(JobSourceError::from)?)?
        }
    };
    if !resolved.warnings.is_empty() {
        screen.note(resolved.warnings.render(style(screen)));
    }
    Ok(resolved)
}

/// Returns the job in a file.
pub(super) fn load_file(path: &Path) -> Result<Resolved, CommandError> {
    let failed = |source| JobSourceError::Read { path: path.to_owned(), source };
    let is_stdin = path == Path::new(STDIN);
    let (bytes, machine, shown) = if is_stdin {
        (read(stdin().lock()), Machine::here(), STDIN_NAME.to_owned())
    } else {
        (File::open(path).and_then(read), Machine::beside(path), path.display().to_string())
    };
    // That the file is not there says more than that its directory is not.
    let bytes = bytes.map_err(failed)?;
    let machine = machine.map_err(JobSourceError::from)?;
    let job = Job::parse(&bytes, &shown).map_err(wrong)?;
    resolve(&job, &machine)
}

/// Shows everything that is wrong with a job.
pub(super) fn show(diagnostics: &Diagnostics, screen: Screen) {
    screen.line(diagnostics.render(style(screen)));
}

fn style(screen: Screen) -> Style {
    if screen.is_live() { Style::Colour } else { Style::Plain }
}

fn resolve(job: &Job, machine: &Machine) -> Result<Resolved, CommandError> {
    job.resolve(machine).map_err(wrong)
}

fn wrong(diagnostics: Diagnostics) -> CommandError {
    CommandError::Job(Box::new(diagnostics))
}

fn read(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a longer file is told as such.
    file.take(JOB_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn from_command(
    command: Vec<String>,
    options: CommandOptions,
    start_in: StartIn,
) -> Result<Job, JobSourceError> {
    let name = options.name.clone().unwrap_or_else(|| name_of(&command));
    let priority = options.priority.unwrap_or_default();
    let stage = with_options(Stage::command(STAGE_NAME, command), options, start_in)?;
    Ok(Job::new(name).priority(priority).stage(stage))
}

fn with_options(
    mut stage: Stage,
    options: CommandOptions,
    start_in: StartIn,
) -> Result<Stage, JobSourceError> {
    let CommandOptions {
        name: _,
        priority: _,
        range,
        list,
        lines,
        files,
        stdin,
        cwd,
        cpus,
        timeout,
        retries,
        max_failures,
        env,
    } = options;
    if let Some(range) = range {
        stage = stage.for_each_range(range);
    }
    if let Some(items) = list {
        stage = stage.for_each_list(items);
    }
    if let Some(path) = lines {
        stage = stage.for_each_lines(path);
    }
    if let Some(globs) = files {
        stage = stage.for_each_files(globs);
    }
    if let Some(path) = stdin {
        stage = stage.stdin_file(path);
    }
    match (cwd, start_in) {
        (Some(cwd), StartIn::Here | StartIn::Scratch) => stage = stage.cwd(cwd),
        (None, StartIn::Here) => stage = stage.cwd("."),
        (None, StartIn::Scratch) => {}
    }
    if let Some(cpus) = cpus {
        stage = stage.cpus(cpus);
    }
    if let Some(timeout) = timeout {
        stage = stage.timeout(timeout);
    }
    for variable in env {
        let (name, value) = read_variable(&variable)?;
        stage = stage.env(name, value);
    }
    if let Some(failures) = max_failures {
        stage = stage.max_failures(failures);
    }
    Ok(stage.retries(retries.unwrap_or_default()))
}

fn read_variable(variable: &str) -> Result<(String, String), JobSourceError> {
    if let Some((name, value)) = variable.split_once('=') {
        return Ok((name.to_owned(), value.to_owned()));
    }
    let here = std::env::var(variable);
    here.map(|value| (variable.to_owned(), value))
        .map_err(|_| JobSourceError::Variable { name: variable.to_owned() })
}

/// Returns what a job is called whose only name is its command's.
fn name_of(command: &[String]) -> String {
    let program =
        command.first().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    let allowed = |c: char| check_job_name(c.encode_utf8(&mut [0; 4])).is_ok();
    let name: String =
        program.chars().take(NAME_CHARS_MAX).map(|c| if allowed(c) { c } else { '_' }).collect();
    if name.is_empty() { "command".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_its_job_whatever_it_is_called() {
        let named = |program: &str| name_of(&[program.to_owned()]);
        assert_eq!(named("/usr/bin/python3.11"), "python3.11");
        assert_eq!(named("./a+b"), "a_b");
        assert_eq!(named(""), "command");
        assert_eq!(named("dir/"), "command");
    }

    #[test]
    fn a_variable_has_a_value_or_is_copied_from_here() {
        assert_eq!(read_variable("A=b=c").unwrap(), ("A".to_owned(), "b=c".to_owned()));
        let path = std::env::var("PATH").unwrap();
        assert_eq!(read_variable("PATH").unwrap(), ("PATH".to_owned(), path));
        let error = read_variable("GRIDCTL_NOT_SET").unwrap_err().to_string();
        assert!(error.contains("GRIDCTL_NOT_SET=…"), "{error}");
    }
}
