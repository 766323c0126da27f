//! A machine made up for tests: its files, variables and home.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gridctl_jobs::surroundings::{LookError, Surroundings};

/// Files by absolute path, variables by name; the job file lies in `/jobs`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    files: BTreeMap<PathBuf, Vec<u8>>,
    variables: BTreeMap<String, String>,
    home: Option<String>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn file(mut self, path: impl Into<PathBuf>, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.into(), content.as_ref().to_vec());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn home(mut self, home: &str) -> Self {
        self.home = Some(home.to_owned());
        self
    }
}

impl Surroundings for Machine {
    fn base(&self) -> &str {
        "/jobs"
    }

    fn glob(&self, pattern: &str, files_max: usize) -> Result<Vec<PathBuf>, LookError> {
        let compiled = glob::Pattern::new(pattern)
            .map_err(|error| LookError::Pattern { source: error.into() })?;
        let options =
            glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
        let relative = |path: &PathBuf| match pattern.starts_with('/') {
            true => Some(path.clone()),
            false => path.strip_prefix(self.base()).ok().map(PathBuf::from),
        };
        // From the last to the first, since the order is not the machine's business.
        let found: Vec<PathBuf> = self.files.keys().rev().filter_map(relative).collect();
        let found: Vec<PathBuf> = found
            .into_iter()
            .filter(|path| compiled.matches_with(&path.to_string_lossy(), options))
            .collect();
        if found.len() > files_max { Err(LookError::TooMany { files_max }) } else { Ok(found) }
    }

    fn read(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, LookError> {
        let path = PathBuf::from(self.base()).join(path);
        match self.files.get(&path) {
            None => Err(LookError::NotFound),
            Some(content) if content.len() > bytes_max => Err(LookError::TooLong { bytes_max }),
            Some(content) => Ok(content.clone()),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn home(&self) -> Option<String> {
        self.home.clone()
    }
}
