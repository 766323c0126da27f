//! The verbs, a file each, and what they share.

mod backup;
mod cancel;
mod check;
mod coordinator;
mod explain;
mod forget;
mod job_source;
mod jobs;
mod log;
mod login;
mod output;
mod report;
mod retry;
mod run;
mod selection;
mod signals;
mod status;
mod submit;
mod tasks;
mod token;
mod wait;
mod watch;
mod worker;
mod workers;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

pub(crate) use backup::BackupError;
pub(crate) use coordinator::ServeError;
pub(crate) use job_source::JobSourceError;
pub(crate) use login::LoginError;
pub(crate) use run::RunError;
pub(crate) use worker::WorkError;

use crate::cli::{Cli, Command, GridOption};
use crate::client::Client;
use crate::dirs::Dirs;
use crate::error::{CommandError, Exit, with_causes};
use crate::output::screen::{Screen, Tone};
use crate::profile::{Profile, Profiles};

/// How long a command lingers after its last word: the packet that closes its connection is on its way
/// within the first millisecond, and without it the coordinator would keep the connection until it has
/// been silent for seconds.
const FAREWELL: Duration = Duration::from_millis(2);

/// What a command comes to.
pub(crate) type Ended = Result<Exit, CommandError>;

/// Does what was typed.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen::detect(cli.quiet);
    perform(cli.command, screen).unwrap_or_else(|error| report(&error, screen).into())
}

fn perform(command: Command, screen: Screen) -> Result<ExitCode, CommandError> {
    let ended = match command {
        // These two become two processes, of which the upper one exits as the lower one did.
        Command::Run(args) => return run::run(args, screen),
        Command::Worker(options) => return worker::worker(options, screen),
        Command::Submit(args) => block_on(submit::submit(args, screen)),
        Command::Check(args) => check::check(&args, screen),
        Command::Jobs(args) => block_on(jobs::jobs(args, screen)),
        Command::Status(args) => block_on(status::status(args)),
        Command::Tasks(args) => block_on(tasks::tasks(args)),
        Command::Watch(args) => block_on(watch::watch(args, screen)),
        Command::Wait(args) => block_on(wait::wait(args, screen)),
        Command::Output(args) => block_on(output::output(args, screen)),
        Command::Cancel(args) => block_on(cancel::cancel(args, screen)),
        Command::Retry(args) => block_on(retry::retry(args, screen)),
        Command::Forget(args) => block_on(forget::forget(args, screen)),
        Command::Explain(args) => block_on(explain::explain(args)),
        Command::Workers(args) => block_on(workers::workers(args, screen)),
        Command::Backup(args) => block_on(backup::backup(args, screen)),
        Command::Coordinator(options) => coordinator::coordinator(options, screen),
        Command::Login(args) => block_on(login::login(args, screen)),
        Command::Token(command) => block_on(token::token(command, screen)),
    };
    ended.map(ExitCode::from)
}

/// Prints why a command did not succeed, and returns its exit code.
fn report(error: &CommandError, screen: Screen) -> Exit {
    if error.is_broken_pipe() {
        return Exit::Done;
    }
    if let CommandError::Job(diagnostics) = error {
        job_source::show(diagnostics, screen);
    } else {
        screen.line(format_args!("{} {}", screen.paint(Tone::Bad, "error:"), with_causes(error)));
    }
    if let Some(hint) = error.hint() {
        screen.line(format_args!("{} {hint}", screen.paint(Tone::Note, "hint:")));
    }
    error.exit()
}

/// Runs a client's command. One thread keeps connections alive while this one prints.
fn block_on(command: impl Future<Output = Ended>) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    let ended = runtime.block_on(async {
        let ended = command.await;
        tokio::time::sleep(FAREWELL).await;
        ended
    });
    // Whatever is still under way must not hold the end up.
    runtime.shutdown_background();
    ended
}

/// Returns the profile that the options name.
fn profile(grid: &GridOption) -> Result<Profile, CommandError> {
    Ok(Profiles::new(&Dirs::new()?).pick(grid.grid.as_deref())?)
}

/// Connects to the grid that the options name.
async fn connect(grid: &GridOption) -> Result<Client, CommandError> {
    Ok(Client::connect(&profile(grid)?).await?)
}
