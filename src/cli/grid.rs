//! Setting up a grid: coordinator, worker, login and join tokens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::client::TokenRole;
use serde::Deserialize;

use super::{GridOption, values};

const COORDINATOR_HELP: &str = "\
The same keys (long names without the dashes) can stand in gridctl/coordinator.toml below XDG_CONFIG_HOME; \
flags go before GRID_… variables, those before the file. GRID_LOG=debug makes the log longer.

Prints one line on standard output once it serves, unless that is a service's log on a later start:
  gridctl worker --join TOKEN
";

const WORKER_HELP: &str = "\
The same keys (long names without the dashes) can stand in gridctl/worker.toml below XDG_CONFIG_HOME; flags \
go before GRID_… variables, those before the file. GRID_LOG=debug makes the log longer.

Whoever may submit jobs to the grid can run any program as the account that this runs under.
";

/// Runs the coordinator of a grid
///
/// On first start it makes its data directory, its certificate authority and its own certificate; each
/// start gives this account a profile with the role admin.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[command(after_help = COORDINATOR_HELP)]
pub(crate) struct CoordinatorOptions {
    /// Where everything is kept [default: gridctl/coordinator below XDG_STATE_HOME]
    #[arg(long, value_name = "DIR", env = "GRID_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// The UDP address to listen on; port 0 picks one and keeps it [default: [::]:7443]
    #[arg(long, value_name = "ADDR:PORT", env = "GRID_LISTEN", hide_env_values = true)]
    pub listen: Option<SocketAddr>,
    /// How others reach it (may be repeated) [default: the address listened on, or all of the machine's]
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "GRID_ADVERTISE",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub advertise: Option<Vec<String>>,
    /// How long a worker may be silent before its tasks are given to others [default: 10s]
    #[arg(
        long,
        value_name = "DURATION",
        env = "GRID_LEASE",
        hide_env_values = true,
        value_parser = values::duration
    )]
    #[serde(deserialize_with = "values::duration_in_file")]
    pub lease: Option<Duration>,
    /// How often workers report that they are there [default: a third of the lease]
    #[arg(
        long,
        value_name = "DURATION",
        env = "GRID_HEARTBEAT",
        hide_env_values = true,
        value_parser = values::duration
    )]
    #[serde(deserialize_with = "values::duration_in_file")]
    pub heartbeat: Option<Duration>,
    /// How long jobs are kept after their end [default: until they are forgotten by hand]
    #[arg(
        long,
        value_name = "DURATION",
        env = "GRID_KEEP_ENDED",
        hide_env_values = true,
        value_parser = values::duration
    )]
    #[serde(deserialize_with = "values::duration_in_file")]
    pub keep_ended: Option<Duration>,
    /// Room on the disk that is held back, for results when it is full [default: 64MiB]
    #[arg(
        long,
        value_name = "SIZE",
        env = "GRID_RESERVE",
        hide_env_values = true,
        value_parser = values::size
    )]
    #[serde(deserialize_with = "values::size_in_file")]
    pub reserve: Option<u64>,
    /// A backup to restore into the data directory first, which must not be there or be empty; whatever was
    /// acknowledged after it was taken is gone
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub restore: Option<PathBuf>,
    /// The grid's name, and that of the profile made here [default: as on first start, else grid]
    #[arg(long, value_name = "NAME", env = "GRID_GRID", hide_env_values = true)]
    pub grid: Option<String>,
}

/// Runs a worker; with --join, enrols this machine first
///
/// Joining is needed once. The private key is made here and never leaves.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[command(after_help = WORKER_HELP)]
pub(crate) struct WorkerOptions {
    /// A join token, as `gridctl coordinator` or `gridctl token create` prints it
    #[arg(long, value_name = "TOKEN", env = "GRID_JOIN", hide_env_values = true)]
    pub join: Option<String>,
    /// Where its identity and results not yet handed over are kept [default: gridctl/worker below
    /// XDG_STATE_HOME]
    #[arg(long, value_name = "DIR", env = "GRID_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// The name to ask for when joining; a name in use gets -2 [default: this machine's name]
    #[arg(long, value_name = "NAME", env = "GRID_NAME", hide_env_values = true)]
    pub name: Option<String>,
    /// How many cpus tasks may use [default: all that this process may use]
    #[arg(long, value_name = "N", env = "GRID_CPUS", hide_env_values = true, value_parser = values::cpus)]
    #[serde(deserialize_with = "values::cpus_in_file")]
    pub cpus: Option<Cpus>,
    /// How long running tasks may go on after SIGTERM or Ctrl-C [default: 30s]
    #[arg(
        long,
        value_name = "DURATION",
        env = "GRID_GRACE",
        hide_env_values = true,
        value_parser = values::duration
    )]
    #[serde(deserialize_with = "values::duration_in_file")]
    pub grace: Option<Duration>,
    /// Do not start the worker again when its process dies; then its tasks wait for the lease to run out
    #[arg(
        long,
        env = "GRID_NO_RESPAWN",
        hide_env_values = true,
        num_args = 0,
        default_missing_value = "true"
    )]
    pub no_respawn: Option<bool>,
}

/// Enrols you as a client of a grid, by a token of role user or admin
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The join token
    #[arg(value_name = "TOKEN")]
    pub token: String,
    /// The profile's name here [default: the grid's name]
    #[arg(long, value_name = "NAME")]
    pub grid: Option<String>,
}

impl CoordinatorOptions {
    /// Returns these, and where they say nothing, what `file` says.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(file.data_dir),
            listen: self.listen.or(file.listen),
            advertise: self.advertise.or(file.advertise),
            lease: self.lease.or(file.lease),
            heartbeat: self.heartbeat.or(file.heartbeat),
            keep_ended: self.keep_ended.or(file.keep_ended),
            restore: self.restore,
            grid: self.grid.or(file.grid),
            reserve: self.reserve.or(file.reserve),
        }
    }
}

impl WorkerOptions {
    /// Returns these, and where they say nothing, what `file` says.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            join: self.join.or(file.join),
            data_dir: self.data_dir.or(file.data_dir),
            name: self.name.or(file.name),
            cpus: self.cpus.or(file.cpus),
            grace: self.grace.or(file.grace),
            no_respawn: self.no_respawn.or(file.no_respawn),
        }
    }
}

/// What can be done with join tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    Create(TokenCreate),
    List(TokenList),
    Revoke(TokenRevoke),
}

/// Makes a join token and prints it
#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// What its bearer becomes
    #[arg(long)]
    pub role: Role,
    /// How often it can be used [default: any number of times for workers, once for people]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: Option<u32>,
    /// For how long it can be used
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = values::duration)]
    pub expires: Duration,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Lists join tokens, without their secrets
#[derive(Debug, Args)]
pub(crate) struct TokenList {
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub grid: GridOption,
}

/// Revokes a join token; who has joined by it stays
#[derive(Debug, Args)]
pub(crate) struct TokenRevoke {
    /// Its number, as `token list` shows it
    #[arg(value_name = "ID")]
    pub id: u64,
    #[command(flatten)]
    pub grid: GridOption,
}

/// What a token makes of its bearer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Role {
    /// Runs tasks
    Worker,
    /// Submits jobs, sees all, changes its own
    User,
    /// Changes all, and makes join tokens
    Admin,
}

impl From<Role> for TokenRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Worker => Self::Worker,
            Role::User => Self::User,
            Role::Admin => Self::Admin,
        }
    }
}
