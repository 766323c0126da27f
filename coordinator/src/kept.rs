//! Two small things that a data directory remembers between starts: the grid's name, and the port that was
//! picked. A file each, one line of text, so that a person can read and mend them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::{DEFAULT_GRID_NAME, is_grid_name};

const GRID_FILE: &str = "grid";
const PORT_FILE: &str = "port";
/// Bytes of such a file: a name and a line end.
const FILE_BYTES_MAX: u64 = 256;

/// Why a kept value cannot be read, written or used.
#[derive(Debug, Error)]
pub enum KeptError {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Of the file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What stands there is not what should.
    #[error("{} holds `{text}`, which is not {what}; mend it or remove it", path.display())]
    Content {
        /// Of the file.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// What it should hold.
        what: &'static str,
    },
    /// The data directory is another grid's.
    #[error("the data directory {} is that of the grid `{kept}`, not of `{wanted}`; leave --grid out or give another --data-dir", root.display())]
    OtherGrid {
        /// The data directory.
        root: PathBuf,
        /// Its grid.
        kept: String,
        /// What was asked for.
        wanted: String,
    },
}

/// Returns what the grid is called, and keeps it on first start.
pub(crate) fn grid_name(root: &Path, wanted: Option<&str>) -> Result<String, KeptError> {
    match read(root, GRID_FILE)? {
        Some(kept) if !is_grid_name(&kept) => Err(KeptError::Content {
            path: root.join(GRID_FILE),
            text: kept,
            what: "a grid's name",
        }),
        Some(kept) => match wanted {
            Some(wanted) if wanted != kept => {
                Err(KeptError::OtherGrid { root: root.to_owned(), kept, wanted: wanted.to_owned() })
            }
            Some(_) | None => Ok(kept),
        },
        None => {
            let name = wanted.unwrap_or(DEFAULT_GRID_NAME).to_owned();
            write(root, GRID_FILE, &name)?;
            Ok(name)
        }
    }
}

/// Returns the port that was picked at an earlier start.
pub(crate) fn port(root: &Path) -> Result<Option<u16>, KeptError> {
    let Some(text) = read(root, PORT_FILE)? else { return Ok(None) };
    match text.parse() {
        Ok(port) if port != 0 => Ok(Some(port)),
        Ok(_) | Err(_) => {
            Err(KeptError::Content { path: root.join(PORT_FILE), text, what: "a UDP port" })
        }
    }
}

/// Keeps the port that was picked.
pub(crate) fn keep_port(root: &Path, port: u16) -> Result<(), KeptError> {
    write(root, PORT_FILE, &port.to_string())
}

fn read(root: &Path, name: &str) -> Result<Option<String>, KeptError> {
    let path = root.join(name);
    let fail = |source| KeptError::File { action: "read", path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(fail)?;
    Ok(Some(text.trim_end().to_owned()))
}

fn write(root: &Path, name: &str, text: &str) -> Result<(), KeptError> {
    let path = root.join(name);
    let temporary = root.join(format!("{name}.new"));
    let written = File::create(&temporary)
        .and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, &path))
        .and_then(|()| File::open(root)?.sync_all());
    written.map_err(|source| KeptError::File { action: "write", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_the_grid_stays_with_the_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(grid_name(dir.path(), Some("lab")).expect("kept"), "lab");
        assert_eq!(grid_name(dir.path(), None).expect("read"), "lab");
        let refused = grid_name(dir.path(), Some("other")).expect_err("another grid's directory");
        assert!(matches!(refused, KeptError::OtherGrid { .. }), "{refused}");
    }

    #[test]
    fn grid_without_a_name_has_the_default_one() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(grid_name(dir.path(), None).expect("kept"), DEFAULT_GRID_NAME);
        assert_eq!(fs::read_to_string(dir.path().join(GRID_FILE)).expect("there"), "grid\n");
    }

    #[test]
    fn picked_port_is_used_again_and_damage_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(port(dir.path()).expect("nothing yet"), None);
        keep_port(dir.path(), 40_123).expect("kept");
        assert_eq!(port(dir.path()).expect("read"), Some(40_123));
        fs::write(dir.path().join(PORT_FILE), "70000\n").expect("written");
        let refused = port(dir.path()).expect_err("not a port");
        assert!(
            refused
                .to_string()
                .ends_with("holds `70000`, which is not a UDP port; mend it or remove it")
        );
    }
}
