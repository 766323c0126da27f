//! This machine as a job sees it while it is resolved: files, globs, variables.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use gridctl_jobs::surroundings::{LookError, Surroundings};
use thiserror::Error;

/// How globs match: as in a shell, `*` stays within a directory and leaves hidden files out.
const GLOB_OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The real machine, seen from a directory.
#[derive(Debug)]
pub(crate) struct Machine {
    base: String,
}

/// Why a directory cannot be the one that a job stands in.
#[derive(Debug, Error)]
pub(crate) enum BaseError {
    /// It cannot be found.
    #[error("the directory {} cannot be found", path.display())]
    NotFound {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Its path is not text.
    #[error("the path {} is not valid UTF-8; a job's directory has to be", path.display())]
    NotText { path: PathBuf },
}

impl Machine {
    /// Looks from the directory of the job file at `path`.
    ///
    /// # Errors
    /// Where the directory is not there, or its path is not text.
    pub(crate) fn beside(path: &Path) -> Result<Self, BaseError> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self::at(directory.unwrap_or(Path::new(".")))
    }

    /// Looks from the current directory.
    ///
    /// # Errors
    /// See [`beside`](Self::beside).
    pub(crate) fn here() -> Result<Self, BaseError> {
        Self::at(Path::new("."))
    }

    fn at(directory: &Path) -> Result<Self, BaseError> {
        // Not canonical: a path through symbolic links is what people wrote, and what they expect to see.
        let absolute = std::path::absolute(directory)
            .and_then(|path| path.metadata().map(|_| path))
            .map_err(|source| BaseError::NotFound { path: directory.to_owned(), source })?;
        let base = absolute.into_os_string().into_string();
        base.map(|base| Self { base }).map_err(|path| BaseError::NotText { path: path.into() })
    }

    fn absolute(&self, path: &str) -> PathBuf {
        Path::new(&self.base).join(path)
    }
}

impl Surroundings for Machine {
    fn base(&self) -> &str {
        &self.base
    }

    fn glob(&self, pattern: &str, files_max: usize) -> Result<Vec<PathBuf>, LookError> {
        let is_absolute = pattern.starts_with('/');
        let whole = match is_absolute {
            true => pattern.to_owned(),
            false => format!("{}/{pattern}", glob::Pattern::escape(&self.base)),
        };
        let paths = glob::glob_with(&whole, GLOB_OPTIONS)
            .map_err(|error| LookError::Pattern { source: Box::new(error) })?;
        let mut files = Vec::new();
        for path in paths {
            let path = path.map_err(|error| LookError::Unreadable { source: error.into() })?;
            if !path.is_file() {
                continue;
            }
            if files.len() == files_max {
                return Err(LookError::TooMany { files_max });
            }
            let relative = path.strip_prefix(&self.base).ok().filter(|_| !is_absolute);
            files.push(relative.map(Path::to_owned).unwrap_or(path));
        }
        Ok(files)
    }

    fn read(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, LookError> {
        let file = File::open(self.absolute(path)).map_err(look_error)?;
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(look_error)?;
        if bytes.len() > bytes_max { Err(LookError::TooLong { bytes_max }) } else { Ok(bytes) }
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn home(&self) -> Option<String> {
        etcetera::home_dir().ok()?.into_os_string().into_string().ok()
    }
}

fn look_error(source: io::Error) -> LookError {
    if source.kind() == io::ErrorKind::NotFound {
        LookError::NotFound
    } else {
        LookError::Unreadable { source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn machine(files: &[&str]) -> (Machine, tempfile::TempDir) {
        // Characters that mean something in a glob, in the directory's own name.
        let directory = tempfile::Builder::new().prefix("a[b]*").tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        (Machine::at(directory.path()).unwrap(), directory)
    }

    fn globbed(machine: &Machine, pattern: &str) -> Vec<String> {
        let mut found: Vec<String> = machine
            .glob(pattern, 100)
            .unwrap()
            .iter()
            .map(|path| path.to_str().unwrap().to_owned())
            .collect();
        found.sort();
        found
    }

    #[test]
    fn globs_match_as_in_a_shell_relative_to_the_base() {
        let (machine, _directory) =
            machine(&["a.txt", "d/b.txt", "d/e/c.txt", ".hidden.txt", "d/b.csv"]);
        assert_eq!(globbed(&machine, "*.txt"), ["a.txt"]);
        assert_eq!(globbed(&machine, "./d/*.txt"), ["d/b.txt"]);
        assert_eq!(globbed(&machine, "**/*.txt"), ["a.txt", "d/b.txt", "d/e/c.txt"]);
        assert_eq!(globbed(&machine, "d"), [""; 0], "directories are no files");
    }

    #[test]
    fn an_absolute_glob_gives_absolute_paths() {
        let (machine, directory) = machine(&["a.txt"]);
        let pattern =
            format!("{}/*.txt", glob::Pattern::escape(directory.path().to_str().unwrap()));
        assert_eq!(globbed(&machine, &pattern), [directory.path().join("a.txt").to_str().unwrap()]);
    }

    #[test]
    fn more_files_or_bytes_than_are_taken_are_an_error() {
        let (machine, _directory) = machine(&["a.txt", "b.txt"]);
        assert!(matches!(machine.glob("*.txt", 1), Err(LookError::TooMany { files_max: 1 })));
        assert!(matches!(machine.read("a.txt", 4), Err(LookError::TooLong { bytes_max: 4 })));
        assert_eq!(machine.read("a.txt", 5).unwrap(), b"a.txt");
        assert!(matches!(machine.read("c.txt", 5), Err(LookError::NotFound)));
        assert!(matches!(machine.glob("[", 1), Err(LookError::Pattern { .. })));
    }
}
