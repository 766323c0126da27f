//! What can be typed: the commands, their options and help. What they do is in `commands`.

mod grid;
mod submission;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use gridctl_jobs::selector::{JobSelector, Selector};
use gridctl_jobs::state::TaskState;
use uuid::Uuid;

pub(crate) use grid::{
    CoordinatorOptions, Login, Role, TokenCommand, TokenCreate, TokenList, WorkerOptions,
};
pub(crate) use submission::{Check, CommandOptions, Run, Source, Submit};

use crate::error::EXIT_CODES_HELP;

const EXAMPLES: &str = "\
Examples:
  gridctl run job.toml                      run a job on this machine, without any set-up
  gridctl run --range 0..10 -- echo {item}  the same, without a job file
  gridctl coordinator                       serve a grid; prints how other machines join
  gridctl submit --watch job.toml           hand a job to the grid and watch it
";

/// A batch-compute grid for people with spare machines
#[derive(Debug, Parser)]
#[command(name = "gridctl", version, after_help = concat_help(&[EXAMPLES, EXIT_CODES_HELP]))]
#[command(infer_subcommands = false, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print nothing but data and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// A verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Submit(Submit),
    Check(Check),
    Jobs(Jobs),
    Status(Status),
    Tasks(Tasks),
    Watch(Watch),
    Wait(Wait),
    Output(Output),
    Cancel(Cancel),
    Retry(Retry),
    Forget(Forget),
    Explain(Explain),
    Workers(Workers),
    Backup(Backup),
    Coordinator(CoordinatorOptions),
    Worker(WorkerOptions),
    Login(Login),
    /// Make, list and revoke join tokens (admins only)
    #[command(subcommand)]
    Token(TokenCommand),
}

/// Which grid.
#[derive(Debug, Args)]
pub(crate) struct GridOption {
    /// The grid to talk to, by the name of its profile [default: the only one there is]
    #[arg(long, value_name = "NAME", env = "GRID_PROFILE", hide_env_values = true)]
    pub grid: Option<String>,
}

/// For how long to put up with a coordinator that cannot be reached.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Patience {
    /// While waiting, how long to keep trying to reach a coordinator that went away
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = values::duration)]
    pub reconnect: Duration,
}

/// Lists the jobs of the grid
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Leave out what has ended
    #[arg(long)]
    pub open: bool,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Shows how a job goes, stage by stage
#[derive(Debug, Args)]
#[command(after_help = SELECTOR_HELP)]
pub(crate) struct Status {
    /// The job, or a stage of it
    #[arg(value_name = "JOB", value_parser = values::job_or_stage)]
    pub target: Selector,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Lists the tasks of a job
#[derive(Debug, Args)]
#[command(after_help = SELECTOR_HELP)]
pub(crate) struct Tasks {
    /// The job, a stage of it, or some tasks
    #[arg(value_name = "JOB", value_parser = values::selector)]
    pub target: Selector,
    /// Only those in this state (several with commas)
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = values::task_state())]
    pub state: Vec<TaskState>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Shows the progress of jobs until they have ended; exits like the worst of them
#[derive(Debug, Args)]
#[command(after_help = SELECTOR_HELP)]
pub(crate) struct Watch {
    /// The jobs
    #[arg(value_name = "JOB", required = true, value_parser = values::job)]
    pub jobs: Vec<JobSelector>,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Waits until jobs have ended; exits like the worst of them
#[derive(Debug, Args)]
#[command(after_help = SELECTOR_HELP)]
pub(crate) struct Wait {
    /// The jobs, or stages of jobs
    #[arg(value_name = "JOB", required = true, value_parser = values::job_or_stage)]
    pub targets: Vec<Selector>,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Prints what tasks printed: stages in file order, tasks in theirs, nothing added
///
/// Of each task the attempt that counts: the one that succeeded, or the last one that failed.
#[derive(Debug, Args)]
#[command(after_help = SELECTOR_HELP)]
pub(crate) struct Output {
    /// The job, a stage of it, or some tasks
    #[arg(value_name = "JOB", value_parser = values::selector)]
    pub target: Selector,
    /// What was printed on standard error instead
    #[arg(long)]
    pub stderr: bool,
    /// Go on until the job has ended, each task's output as soon as those before it are out
    #[arg(long)]
    pub follow: bool,
    /// A certain attempt, from 1 (the last three failed ones are kept)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Cancels a job, a stage of it, or some tasks
#[derive(Debug, Args)]
#[command(after_help = SELECTOR_HELP)]
pub(crate) struct Cancel {
    /// The job, a stage of it, or some tasks
    #[arg(value_name = "JOB", value_parser = values::selector)]
    pub target: Selector,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Runs again what failed, was cancelled, or was skipped because of it
///
/// What waits or runs is left alone. Retries and lost workers are counted anew; attempts are numbered on.
#[derive(Debug, Args)]
#[command(after_help = SELECTOR_HELP)]
pub(crate) struct Retry {
    /// The job, a stage of it, or some tasks
    #[arg(value_name = "JOB", value_parser = values::selector)]
    pub target: Selector,
    /// Run again what is done, too: everything that has ended
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Forgets a job that has ended, with everything that it left behind
///
/// Its number is never used again, and its id not for 30 days.
#[derive(Debug, Args)]
#[command(after_help = SELECTOR_HELP)]
pub(crate) struct Forget {
    /// The job
    #[arg(value_name = "JOB", value_parser = values::job)]
    pub job: JobSelector,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Takes a backup of the whole grid into a file, while it goes on (admins only)
///
/// It holds the key that signs for the grid, and is readable by its owner only. Restore it with
/// `gridctl coordinator --restore FILE`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file; one that is there is replaced once the backup is whole
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Says why a job is not running, stage by stage, and the nearest fix
#[derive(Debug, Args)]
#[command(after_help = SELECTOR_HELP)]
pub(crate) struct Explain {
    /// The job, or a stage of it
    #[arg(value_name = "JOB", value_parser = values::job_or_stage)]
    pub target: Selector,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Lists the workers of the grid, or lets one drain or resume
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Workers {
    #[command(subcommand)]
    pub command: Option<WorkersCommand>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub grid: GridOption,
}

/// What can be done with a worker.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkersCommand {
    /// Lets a worker finish what it runs, and gives it nothing new (admins only)
    ///
    /// What it has not begun goes to others. It holds over restarts of the worker and of the coordinator,
    /// until the worker is resumed.
    Drain(OneWorker),
    /// Gives a worker work again (admins only)
    Resume(OneWorker),
}

/// A worker.
#[derive(Debug, Args)]
pub(crate) struct OneWorker {
    /// Its name or its id, as `gridctl workers` shows them
    #[arg(value_name = "WORKER")]
    pub worker: String,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Waiting for a job right after it was submitted.
#[derive(Debug, Args)]
pub(crate) struct WaitOptions {
    /// Wait until the job has ended, and exit with its exit code
    #[arg(long, short)]
    pub wait: bool,
    /// The same, and show its progress meanwhile
    #[arg(long)]
    pub watch: bool,
    /// The job's id (a UUID): submitting again under the same id is safe [default: a new one]
    #[arg(long, value_name = "UUID")]
    pub id: Option<Uuid>,
}

const SELECTOR_HELP: &str = "\
JOB is a number (7), `last` (your own last one), a UUID, or a name that only one job has; where a stage or \
tasks can be meant, also 7/count, 7/count/12 and 7/count/0..100.";

fn concat_help(parts: &[&str]) -> String {
    parts.join("\n")
}
