//! Files of settings: TOML, small, every unknown key an error with its place.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes of a file of settings: a hundred times what all keys with comments need.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Why a file of settings cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ReadConfigError {
    /// It is there, and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{}:{line}: {message}", path.display())]
    Content { path: PathBuf, line: usize, message: String },
    /// It is longer than any file of settings.
    #[error("{} is longer than {FILE_BYTES_MAX} bytes; is it the right file?", path.display())]
    TooLong { path: PathBuf },
}

/// Reads the settings in `path`; `None` where there is no such file.
///
/// # Errors
/// Names the file, and the line where there is one.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ReadConfigError> {
    let failed = |source| ReadConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ReadConfigError::TooLong { path: path.to_owned() });
    }
    parse(path, &text).map(Some)
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ReadConfigError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        ReadConfigError::Content { path: path.to_owned(), line, message }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory as _;
    use gridctl_jobs::units::Cpus;

    use super::*;
    use crate::cli::{Cli, CoordinatorOptions, WorkerOptions};
    use crate::profile::ProfileFile;

    fn coordinator(text: &str) -> Result<CoordinatorOptions, String> {
        parse(Path::new("c.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_key_is_an_error_with_file_and_line_that_lists_the_right_ones() {
        let error = coordinator("lease = \"5s\"\n\nlisten_on = \"[::]:1\"\n").unwrap_err();
        assert!(error.starts_with("c.toml:3: "), "{error}");
        assert!(error.contains("listen_on") && error.contains("`listen`"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_says_what_is_expected() {
        let error = coordinator("lease = \"soon\"\n").unwrap_err();
        assert!(error.starts_with("c.toml:1: ") && error.contains("1h 30m"), "{error}");
        let worker =
            parse::<WorkerOptions>(Path::new("w.toml"), "cpus = 0\n").unwrap_err().to_string();
        assert!(worker.contains("0.0001"), "{worker}");
    }

    #[test]
    fn values_are_read_as_flags_read_them() {
        let options = coordinator(
            "data-dir = \"/d\"\nlisten = \"[::]:1\"\nadvertise = [\"a:1\"]\nlease = \"5s\"",
        );
        let options = options.unwrap();
        assert_eq!(options.lease, Some(Duration::from_secs(5)));
        assert_eq!(options.advertise, Some(vec!["a:1".to_owned()]));
        let worker: WorkerOptions =
            parse(Path::new("w.toml"), "cpus = 2.5\ngrace = \"1m\"").unwrap();
        assert_eq!(worker.cpus, Some(Cpus::from_ten_thousandths(25_000)));
    }

    #[test]
    fn what_a_flag_says_goes_before_the_file() {
        let flags = CoordinatorOptions {
            lease: Some(Duration::from_secs(1)),
            ..CoordinatorOptions::default()
        };
        let file = coordinator("lease = \"5s\"\ngrid = \"lab\"").unwrap();
        let both = flags.or(file);
        assert_eq!((both.lease, both.grid.as_deref()), (Some(Duration::from_secs(1)), Some("lab")));
    }

    /// Returns a sample with every key that it has commented out.
    fn uncommented(sample: &str) -> String {
        let is_key = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let line = |line| match str::strip_prefix(line, "# ") {
            Some(rest) if is_key(rest) => format!("{rest}\n"),
            Some(_) | None => format!("{line}\n"),
        };
        sample.lines().map(line).collect()
    }

    #[test]
    fn the_samples_hold_keys_that_exist_and_all_of_them() {
        let sample = uncommented(include_str!("../config/coordinator.toml"));
        let options = coordinator(&sample).unwrap();
        let CoordinatorOptions {
            data_dir,
            listen,
            advertise,
            lease,
            heartbeat,
            keep_ended,
            grid,
            reserve,
            restore,
        } = options;
        assert!(keep_ended.is_some());
        assert!(data_dir.is_some() && listen.is_some() && advertise.is_some(), "{sample}");
        assert!(lease.is_some() && heartbeat.is_some() && grid.is_some(), "{sample}");
        assert_eq!(reserve, Some(64 << 20), "{sample}");
        assert!(restore.is_none(), "it is done once, and no setting");
        let sample = uncommented(include_str!("../config/worker.toml"));
        let WorkerOptions { join, data_dir, name, cpus, grace, no_respawn } =
            parse(Path::new("worker.toml"), &sample).unwrap();
        assert!(join.is_some() && data_dir.is_some() && name.is_some(), "{sample}");
        assert!(cpus.is_some() && grace.is_some() && no_respawn.is_some(), "{sample}");
        let sample = uncommented(include_str!("../config/profile.toml"));
        let profile: ProfileFile = parse(Path::new("profile.toml"), &sample).unwrap();
        assert!(profile.coordinator.is_some(), "{sample}");
    }

    #[test]
    fn every_long_flag_of_a_service_is_a_key_of_its_file() {
        for (verb, expected) in [
            ("coordinator", coordinator("nothing = 1").unwrap_err()),
            (
                "worker",
                parse::<WorkerOptions>(Path::new("w"), "nothing = 1").unwrap_err().to_string(),
            ),
        ] {
            let cli = Cli::command();
            let command = cli.find_subcommand(verb).unwrap();
            for flag in command.get_arguments().filter(|arg| !arg.is_global_set()) {
                let long = flag.get_long().unwrap();
                if long == "restore" {
                    // Done once, and no setting.
                    continue;
                }
                assert!(
                    ["help", "version"].contains(&long) || expected.contains(&format!("`{long}`")),
                    "{long}"
                );
            }
        }
    }
}
