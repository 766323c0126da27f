//! Small files that must be whole or not there: written under another name, synced, renamed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of any file read here: keys, certificates and counters are a few hundred.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Readable {
    /// The owner only (mode 0600).
    Owner,
    /// Everyone (mode 0644, less what the umask takes).
    Everyone,
}

/// What could not be done with a file.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} {}; check that the directory exists, is writable, and belongs to the account that runs this",
    path.display()
)]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl FileError {
    fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    /// Says whether another process that writes the same file, or replaces its directory, may be the cause.
    pub(crate) fn is_race(&self) -> bool {
        let kind = self.source.kind();
        kind == io::ErrorKind::NotFound || kind == io::ErrorKind::AlreadyExists
    }
}

/// Makes a directory (and those above it) that only its owner may look into.
pub(crate) fn create_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::new("create the directory", path, source))
}

/// Reads a whole file of text; `None` where there is none.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, FileError> {
    let fail = |source| FileError::new("read", path, source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(fail)?;
    Ok(Some(text))
}

/// Writes a file that after a crash is either the old one or the new one, whole.
pub(crate) fn write_atomically(
    path: &Path,
    text: &str,
    readable: Readable,
) -> Result<(), FileError> {
    let temporary = with_suffix(path, ".new");
    let fail = |source| FileError::new("write", path, source);
    // One left behind by a crash might have another mode.
    remove(&temporary)?;
    let mode = match readable {
        Readable::Owner => 0o600,
        Readable::Everyone => 0o644,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    rename(&temporary, path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Renames a file within its directory, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    let fail = |source| FileError::new("write", to, source);
    fs::rename(from, to).map_err(fail)?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(fail)
}

/// Removes a file if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::new("remove", path, error)),
    }
}
