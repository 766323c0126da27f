//! What is run: a job file, or a command after `--` with options in place of a job file's keys.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gridctl_jobs::numbers::NumberRange;

use super::{GridOption, Patience, WaitOptions, values};

const RUN_EXAMPLES: &str = "\
Examples:
  gridctl run examples/count-primes.toml
  gridctl run -- make test
  gridctl run --range 1..=100 -- sh -c 'echo $GRID_ITEM' | sort -n
  gridctl run --files '*.log' -- gzip -k {item.path}
";

const SUBMIT_EXAMPLES: &str = "\
Examples:
  gridctl submit job.toml                   prints the job's number
  gridctl submit --wait job.toml            exits with the job's exit code
  generate-job | gridctl submit --watch -
  gridctl submit --range 0..1000 --cpus 2 --cwd /data -- ./fit --seed {item}
";

/// Runs a job on this machine, without any set-up
///
/// Starts a coordinator and a worker inside this process, runs the job to its end, and exits with its
/// exit code. What the tasks of the last stages print goes to standard output in task order, each as soon
/// as those before it are out. Nothing is kept, unless --into or --data-dir is given.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    /// Keep what every task printed in files below this directory: STAGE/INDEX.stdout and .stderr
    #[arg(long, short = 'o', value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// Keep the coordinator's and the worker's own data here [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    // Last: its heading would cover what follows.
    #[command(flatten)]
    pub source: Source,
}

/// Submits a job to the grid and prints its number
///
/// Returns once the job is safely on the coordinator's disk; Ctrl-C while waiting leaves it running.
#[derive(Debug, Args)]
#[command(after_help = SUBMIT_EXAMPLES)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub wait: WaitOptions,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub grid: GridOption,
    // Last: its heading would cover what follows.
    #[command(flatten)]
    pub source: Source,
}

/// Validates a job without submitting it
///
/// Prints every error with its place and a hint; else the stages, how many tasks each gives, and the
/// first few commands as they will run.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The job file; `-` reads it from standard input
    #[arg(value_name = "JOB_FILE")]
    pub file: PathBuf,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// A job file, or a command.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The job file; `-` reads it from standard input
    #[arg(
        value_name = "JOB_FILE",
        required_unless_present = "command",
        conflicts_with = "command"
    )]
    pub file: Option<PathBuf>,
    /// A program and its arguments, run as given, without a shell
    #[arg(value_name = "CMD", last = true)]
    pub command: Vec<String>,
    #[command(flatten)]
    pub options: CommandOptions,
}

/// What a job file would say about the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a command (with a job file, its keys)")]
pub(crate) struct CommandOptions {
    /// The job's name [default: the program's]
    #[arg(long, short, conflicts_with = "file")]
    pub name: Option<String>,
    /// One task a number: 0..1000, 1..=9, 0..100:5
    #[arg(
        long,
        value_name = "RANGE",
        conflicts_with = "file",
        group = "for_each",
        allow_hyphen_values = true
    )]
    pub range: Option<NumberRange>,
    /// One task an element: a,b,c
    #[arg(
        long,
        value_name = "ITEMS",
        conflicts_with = "file",
        group = "for_each",
        value_delimiter = ','
    )]
    pub list: Option<Vec<String>>,
    /// One task a line of this file
    #[arg(long, value_name = "FILE", conflicts_with = "file", group = "for_each")]
    pub lines: Option<String>,
    /// One task a file that matches (several, up to the next option or --)
    #[arg(long, value_name = "GLOB", conflicts_with = "file", group = "for_each", num_args = 1..)]
    pub files: Option<Vec<String>>,
    /// What every task reads on standard input
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub stdin: Option<String>,
    /// The directory tasks start in [default: `run`: this one; `submit`: a scratch directory]
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    pub cwd: Option<String>,
    /// Cpus of a task [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "file")]
    pub cpus: Option<f64>,
    /// Of one attempt: 90s, 1h 30m [default: none]
    #[arg(long, value_name = "DURATION", conflicts_with = "file", value_parser = values::duration)]
    pub timeout: Option<Duration>,
    /// How many attempts more a failed task gets [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "file")]
    pub retries: Option<u32>,
    /// Skip what has not begun once so many tasks have failed [default: never]
    #[arg(long, value_name = "N", conflicts_with = "file")]
    pub max_failures: Option<u64>,
    /// -1000 to 1000, higher first [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "file", allow_hyphen_values = true)]
    pub priority: Option<i32>,
    /// A variable of the task's environment: K=V, or K to copy it from here (may be repeated)
    #[arg(long, value_name = "K[=V]", conflicts_with = "file")]
    pub env: Vec<String>,
}
