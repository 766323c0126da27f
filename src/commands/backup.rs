//! `gridctl backup`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gridctl_coordinator::backup::{ReadBackupError, check};
use gridctl_transport::message::client::{Answer, Request};
use thiserror::Error;

use super::Ended;
use crate::cli::Backup;
use crate::error::Exit;
use crate::output::screen::Screen;
use crate::output::time::rfc3339_seconds;

/// Why there is no backup.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    #[error("cannot write the backup {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// What came is not what was sent.
    #[error(transparent)]
    Check(#[from] ReadBackupError),
}

impl BackupError {
    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Write { .. } | Self::Check(_) => Exit::Machine,
        }
    }
}

/// Takes a backup into a file, which is whole or not there.
pub(super) async fn backup(args: Backup, screen: Screen) -> Ended {
    let client = super::connect(&args.grid).await?;
    let mut partial = Partial::create(&args.file)?;
    let mut answers = client.ask(&Request::Backup).await?;
    let take = |answer| if let Answer::Backup { bytes } = answer { Some(bytes) } else { None };
    while let Some(bytes) = answers.next_of(take).await? {
        partial.write(&bytes)?;
    }
    let summary = partial.finish()?;
    screen.confirm(format_args!(
        "{} holds the grid as of {}: {} bytes, everything up to fact {}, and the key that signs for the grid; \
         keep it safe",
        args.file.display(),
        rfc3339_seconds(summary.taken_at),
        summary.bytes,
        summary.last.0
    ));
    Ok(Exit::Done)
}

/// A file under another name until it is whole; gone where it never is.
struct Partial<'a> {
    path: &'a Path,
    partial: PathBuf,
    file: File,
    is_whole: bool,
}

impl<'a> Partial<'a> {
    fn create(path: &'a Path) -> Result<Self, BackupError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.part", std::process::id()));
        let partial = PathBuf::from(partial);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .map_err(|source| BackupError::Write { path: partial.clone(), source })?;
        Ok(Self { path, partial, file, is_whole: false })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.file.write_all(bytes).map_err(|source| self.failed(source))
    }

    /// Checks what was written, and gives it its name, durably.
    fn finish(mut self) -> Result<gridctl_coordinator::backup::Summary, BackupError> {
        self.file.sync_all().map_err(|source| self.failed(source))?;
        let summary = check(&self.partial)?;
        fs::rename(&self.partial, self.path).map_err(|source| self.failed(source))?;
        self.is_whole = true;
        let above = self.path.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))
            .and_then(|above| above.sync_all())
            .map_err(|source| self.failed(source))?;
        Ok(summary)
    }

    fn failed(&self, source: io::Error) -> BackupError {
        BackupError::Write { path: self.path.to_owned(), source }
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            // What is left of it is named as partial.
            let _ = fs::remove_file(&self.partial);
        }
    }
}
