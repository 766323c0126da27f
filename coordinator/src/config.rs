//! What a coordinator is told when it starts, checked once.
//!
//! [`Settings`] is what a person or a program asks for; [`CoordinatorConfig`] is the same with every value in
//! its bounds. Deliberately absent: flags, files and environment variables, which are the command line's.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gridctl_core::scheduler::limits::LEASE_MS_MAX;
use thiserror::Error;

use crate::space::RESERVE_BYTES;

/// The UDP port that a coordinator listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 7443;
/// How long a worker may be silent before its work is given to others, unless told otherwise.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(10);
/// The name of a grid that was not given one.
pub const DEFAULT_GRID_NAME: &str = "grid";
/// A shorter lease would be lost to a busy disk or a slow network, not to a lost machine.
pub const LEASE_MIN: Duration = Duration::from_millis(500);
/// A longer one would keep the work of a lost machine waiting too long, and with it a coordinator that was set
/// back, which waits for the longest lease that there can be.
pub const LEASE_MAX: Duration = Duration::from_millis(LEASE_MS_MAX);
/// Jobs that are kept for less might as well not be: nobody could see how they ended.
pub const KEEP_ENDED_MIN: Duration = Duration::from_secs(1);
/// Longer is for ever, which is what leaving it out says.
pub const KEEP_ENDED_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
/// Heartbeats in one lease unless told otherwise: two may be lost.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// More often costs cpu for nothing: leases are not that short.
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);
/// Addresses that are advertised: a token holds them all, and people type it.
pub const ADVERTISED_MAX: usize = 16;
/// Bytes of one advertised address: a DNS name has at most 253, then `:` and a port.
const ADVERTISED_BYTES_MAX: usize = 253 + 1 + 5;
/// Bytes of a grid's name: it becomes a file name of profiles.
const GRID_NAME_BYTES_MAX: usize = 64;

/// What a coordinator is asked to be; [`CoordinatorConfig::new`] checks it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Where everything is kept; made on first start.
    pub data_dir: PathBuf,
    /// Port 0 picks one, which is kept in the data directory and used again.
    pub listen: SocketAddr,
    /// `HOST:PORT` under which workers and clients reach it; where empty, see
    /// [`advertised`](crate::CoordinatorHandle::advertised).
    pub advertise: Vec<String>,
    /// How long a worker may be silent: 500 ms to 10 min.
    pub lease: Duration,
    /// How often a worker says that it is there: 50 ms to half a lease; a third of the lease where `None`.
    pub heartbeat: Option<Duration>,
    /// How long jobs are kept after their end: a second to 100 years; for ever where `None`.
    pub keep_ended: Option<Duration>,
    /// A backup to restore into the data directory first, which is not there or empty.
    pub restore: Option<PathBuf>,
    /// What the grid is called; where `None`, as the data directory has it, else [`DEFAULT_GRID_NAME`].
    pub grid: Option<String>,
    /// Bytes of the disk that are held back, for results to be committed from when it is full.
    pub reserve_bytes: u64,
    /// Whether the history is kept as a SQLite file, where the program was built with that.
    pub history: bool,
}

/// [`Settings`] that hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoordinatorConfig {
    settings: Settings,
    heartbeat: Duration,
}

/// What is wrong with [`Settings`].
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ConfigError {
    /// The lease is not between its bounds.
    #[error("a lease lasts from 500ms to 10m, not {}ms", lease.as_millis())]
    Lease {
        /// What was asked for.
        lease: Duration,
    },
    /// The heartbeat is too short, or too long for the lease.
    #[error(
        "a heartbeat comes every 50ms at most and twice in a lease at least: every {}ms does not fit a lease of {}ms",
        heartbeat.as_millis(), lease.as_millis()
    )]
    Heartbeat {
        /// What was asked for.
        heartbeat: Duration,
        /// The lease beside it.
        lease: Duration,
    },
    /// The retention is not between its bounds.
    #[error(
        "ended jobs are kept from 1s to 100 years, not {}ms; to keep them for ever, leave it out",
        keep_ended.as_millis()
    )]
    KeepEnded {
        /// What was asked for.
        keep_ended: Duration,
    },
    /// An advertised address is not `HOST:PORT`.
    #[error("`{address}` is not HOST:PORT, as in `10.0.0.5:7443` or `[fd00::5]:7443`")]
    Advertise {
        /// What was given.
        address: String,
    },
    /// More addresses than a token holds.
    #[error("at most {ADVERTISED_MAX} addresses can be advertised, {count} were given")]
    TooManyAddresses {
        /// How many were given.
        count: usize,
    },
    /// The grid's name does not do.
    #[error(
        "a grid's name is 1 to 64 ASCII letters, digits, `-`, `_` or `.`, and begins with a letter or digit: not `{name}`"
    )]
    GridName {
        /// What was given.
        name: String,
    },
}

impl Settings {
    /// Returns the defaults over a data directory: all addresses, port 7443, a lease of 10 s.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
            advertise: Vec::new(),
            lease: DEFAULT_LEASE,
            heartbeat: None,
            keep_ended: None,
            restore: None,
            grid: None,
            reserve_bytes: RESERVE_BYTES,
            history: true,
        }
    }
}

impl CoordinatorConfig {
    /// Checks settings.
    ///
    /// # Errors
    /// Says which value does not hold, and within which bounds it would.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let lease = settings.lease;
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Err(ConfigError::Lease { lease });
        }
        let heartbeat = settings.heartbeat.unwrap_or(lease / HEARTBEATS_PER_LEASE);
        if heartbeat < HEARTBEAT_MIN || heartbeat > lease / 2 {
            return Err(ConfigError::Heartbeat { heartbeat, lease });
        }
        let kept = KEEP_ENDED_MIN..=KEEP_ENDED_MAX;
        if let Some(keep_ended) = settings.keep_ended.filter(|keep| !kept.contains(keep)) {
            return Err(ConfigError::KeepEnded { keep_ended });
        }
        if settings.advertise.len() > ADVERTISED_MAX {
            return Err(ConfigError::TooManyAddresses { count: settings.advertise.len() });
        }
        if let Some(address) = settings.advertise.iter().find(|address| !is_host_and_port(address))
        {
            return Err(ConfigError::Advertise { address: address.clone() });
        }
        if let Some(name) = settings.grid.as_ref().filter(|name| !is_grid_name(name)) {
            return Err(ConfigError::GridName { name: name.clone() });
        }
        Ok(Self { settings, heartbeat })
    }

    /// Returns the settings as they were given.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the lease, in milliseconds.
    pub fn lease_ms(&self) -> u64 {
        whole_ms(self.settings.lease)
    }

    /// Returns how long jobs are kept after their end, in milliseconds; for ever where `None`.
    pub fn keep_ended_ms(&self) -> Option<u64> {
        self.settings.keep_ended.map(whole_ms)
    }

    /// Returns how often workers say that they are there, in milliseconds.
    pub fn heartbeat_ms(&self) -> u64 {
        whole_ms(self.heartbeat)
    }
}

/// Says whether `name` can be a grid's: it becomes part of a file name.
pub(crate) fn is_grid_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= GRID_NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(allowed)
}

fn is_host_and_port(address: &str) -> bool {
    if address.len() > ADVERTISED_BYTES_MAX {
        return false;
    }
    if let Ok(socket) = address.parse::<SocketAddr>() {
        return socket.port() != 0;
    }
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !host.is_empty()
        && host.chars().all(host_fits)
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("every duration was checked to be at most 100 years")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl FnOnce(&mut Settings)) -> Result<CoordinatorConfig, ConfigError> {
        let mut settings = Settings::new("/data");
        change(&mut settings);
        CoordinatorConfig::new(settings)
    }

    #[test]
    fn heartbeat_is_a_third_of_the_lease_unless_set() {
        let config = checked(|settings| settings.lease = Duration::from_secs(9)).expect("valid");
        assert_eq!((config.lease_ms(), config.heartbeat_ms()), (9_000, 3_000));
        let config =
            checked(|settings| settings.heartbeat = Some(Duration::from_secs(1))).expect("valid");
        assert_eq!((config.lease_ms(), config.heartbeat_ms()), (10_000, 1_000));
    }

    #[test]
    fn leases_and_heartbeats_out_of_bounds_are_refused() {
        for lease in [Duration::from_millis(499), Duration::from_secs(601)] {
            assert_eq!(checked(|s| s.lease = lease), Err(ConfigError::Lease { lease }));
        }
        for heartbeat in [Duration::from_millis(49), Duration::from_millis(5_001), Duration::MAX] {
            let lease = DEFAULT_LEASE;
            let result = checked(|s| s.heartbeat = Some(heartbeat));
            assert_eq!(result, Err(ConfigError::Heartbeat { heartbeat, lease }));
        }
    }

    #[test]
    fn retention_is_between_a_second_and_for_ever() {
        assert_eq!(checked(|_| {}).expect("valid").keep_ended_ms(), None);
        let week = Duration::from_secs(7 * 24 * 3600);
        let config = checked(|settings| settings.keep_ended = Some(week)).expect("valid");
        assert_eq!(config.keep_ended_ms(), Some(7 * 24 * 3_600_000));
        for keep_ended in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
            let refused = checked(|settings| settings.keep_ended = Some(keep_ended));
            assert_eq!(refused, Err(ConfigError::KeepEnded { keep_ended }));
        }
    }

    #[test]
    fn advertised_addresses_are_host_and_port() {
        for address in ["10.0.0.5:7443", "[fd00::5]:7443", "grid.example.org:1", "box_3:65535"] {
            checked(|s| s.advertise = vec![address.to_owned()]).expect(address);
        }
        let long = format!("{}:7443", "a".repeat(300));
        for address in [
            "",
            "host",
            "host:",
            "host:0",
            "1.2.3.4:0",
            ":7443",
            "a b:1",
            "host:65536",
            long.as_str(),
        ] {
            let refused = checked(|s| s.advertise = vec![address.to_owned()]);
            assert_eq!(refused, Err(ConfigError::Advertise { address: address.to_owned() }));
        }
        let refused = checked(|s| s.advertise = vec!["a:1".to_owned(); ADVERTISED_MAX + 1]);
        assert_eq!(refused, Err(ConfigError::TooManyAddresses { count: ADVERTISED_MAX + 1 }));
    }

    #[test]
    fn grid_names_are_file_names() {
        for name in ["lab", "lab-2", "9.x_y"] {
            checked(|s| s.grid = Some(name.to_owned())).expect(name);
        }
        for name in ["", ".", "../x", "-x", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(
                checked(|s| s.grid = Some(name.to_owned())),
                Err(ConfigError::GridName { name: name.to_owned() })
            );
        }
    }
}
