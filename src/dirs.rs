//! Where things are kept, by the XDG rules, and below `gridctl` in each.

use std::path::PathBuf;

use etcetera::base_strategy::{BaseStrategy as _, Xdg};
use thiserror::Error;

/// The name of our directory in each of the user's.
const OURS: &str = "gridctl";

/// The user's directories.
#[derive(Debug)]
pub(crate) struct Dirs {
    xdg: Xdg,
}

/// Why the user's directories are not known.
#[derive(Debug, Error)]
#[error("this account's home directory is not known; set HOME")]
pub(crate) struct NoHome;

impl Dirs {
    /// Looks at the environment.
    ///
    /// # Errors
    /// Where the account has no home directory.
    pub(crate) fn new() -> Result<Self, NoHome> {
        Xdg::new().map(|xdg| Self { xdg }).map_err(|_| NoHome)
    }

    /// Returns where profiles and files of settings are.
    pub(crate) fn config(&self) -> PathBuf {
        self.xdg.config_dir().join(OURS)
    }

    /// Returns where a program's own data is kept over restarts.
    pub(crate) fn state(&self) -> PathBuf {
        self.xdg.state_dir().expect("the XDG rules have a state directory").join(OURS)
    }
}
