//! What a worker remembers from life to life: `worker.json` in its data directory.
//!
//! Deliberately absent: its identity and the epochs that it has seen, which lie beside each other.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE: &str = "worker.json";
/// Bytes of the file: sixteen addresses and a few words.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The file, and what is in it.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    content: Content,
}

/// What is remembered.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Content {
    /// What the grid is called.
    pub(crate) grid: String,
    /// Where its coordinator may be reached, best first.
    pub(crate) addresses: Vec<String>,
    /// Hash of the join token that gave the identity: the same token does not join twice.
    pub(crate) token: String,
    /// Counts the processes that used this data directory.
    pub(crate) lives: u64,
}

/// Why a worker's memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file or its directory.
    #[error("cannot {action} {}; check that it belongs to the account that runs this, and that there is space", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Something else than a worker wrote it.
    #[error("{} is damaged; remove it and join again: gridctl worker --join TOKEN", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl Memory {
    /// Reads what is remembered in a data directory; nothing where there is no file.
    ///
    /// # Errors
    /// See [`MemoryError`].
    pub(crate) fn load(data_dir: &Path) -> Result<Self, MemoryError> {
        let path = data_dir.join(FILE);
        let fail = |source| MemoryError::File { action: "read", path: path.clone(), source };
        let content = match File::open(&path) {
            Ok(file) => {
                let text =
                    io::read_to_string(io::Read::take(file, FILE_BYTES_MAX)).map_err(fail)?;
                serde_json::from_str(&text)
                    .map_err(|source| MemoryError::Damaged { path: path.clone(), source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(fail(error)),
        };
        Ok(Self { path, content })
    }

    pub(crate) const fn content(&self) -> &Content {
        &self.content
    }

    /// Replaces what is remembered, durably.
    ///
    /// # Errors
    /// Where it cannot be written; then what was remembered before still is.
    pub(crate) fn replace(&mut self, content: Content) -> Result<(), MemoryError> {
        let fail = |source| MemoryError::File { action: "write", path: self.path.clone(), source };
        self.write(&content).map_err(fail)?;
        self.content = content;
        Ok(())
    }

    /// Counts this process, durably; returns its number.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn begin_life(&mut self) -> Result<u64, MemoryError> {
        let life = self.content.lives.saturating_add(1);
        self.replace(Content { lives: life, ..self.content.clone() })?;
        Ok(life)
    }

    /// Written under another name, synced, renamed: it is whole or as before.
    fn write(&self, content: &Content) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(content)?;
        text.push(b'\n');
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let directory = self.path.parent().expect("the path has a directory: it was joined to one");
        File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_there_in_the_next_life() {
        let data = tempfile::tempdir().unwrap();
        let mut memory = Memory::load(data.path()).unwrap();
        assert_eq!(memory.content(), &Content::default());
        let content = Content { grid: "home".to_owned(), ..Content::default() };
        memory.replace(content).unwrap();
        let memory = Memory::load(data.path()).unwrap();
        assert_eq!(memory.content().grid, "home");
    }

    #[test]
    fn every_process_has_a_higher_number_than_the_one_before() {
        let data = tempfile::tempdir().unwrap();
        for life in 1..4 {
            assert_eq!(Memory::load(data.path()).unwrap().begin_life().unwrap(), life);
        }
    }

    #[test]
    fn a_damaged_file_is_named() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(FILE), "{").unwrap();
        let error = Memory::load(data.path()).unwrap_err().to_string();
        assert!(error.contains("worker.json is damaged"), "{error}");
    }
}
