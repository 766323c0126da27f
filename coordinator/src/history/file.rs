//! The SQLite file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gridctl_core::effect::FactIndex;
use gridctl_jobs::id::Epoch;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior};
use thiserror::Error;

use super::rows::number;

/// The file, in the data directory.
const FILE: &str = "history.sqlite";
/// What SQLite keeps beside it.
const BESIDE: [&str; 2] = ["history.sqlite-wal", "history.sqlite-shm"];
/// `grid` in ASCII: what `file` and others tell the file by.
const APPLICATION_ID: i64 = 0x6772_6964;
/// Of the tables below. A file of another version is made anew.
const SCHEMA_VERSION: i64 = 1;
/// How long to wait for a lock that somebody else holds.
const BUSY_WITHIN: Duration = Duration::from_secs(2);

/// Readers go on while rows are written (WAL), and a crash loses the last batches at most, which are written again.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;";
const SCHEMA: &str = "
CREATE TABLE applied (only INTEGER PRIMARY KEY CHECK (only = 1), fact INTEGER NOT NULL, epoch INTEGER NOT NULL);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, owner TEXT NOT NULL,
    priority INTEGER NOT NULL, state TEXT NOT NULL, tasks INTEGER NOT NULL, done INTEGER NOT NULL,
    failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, skipped INTEGER NOT NULL,
    submitted_ms INTEGER NOT NULL, finished_ms INTEGER
);
CREATE TABLE stages (
    job INTEGER NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL, tasks INTEGER NOT NULL, done INTEGER NOT NULL,
    failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, skipped INTEGER NOT NULL, PRIMARY KEY (job, place)
) WITHOUT ROWID;
CREATE TABLE tasks (
    job INTEGER NOT NULL, stage INTEGER NOT NULL, task INTEGER NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL, worker TEXT, exit_code INTEGER, failure TEXT, started_ms INTEGER,
    finished_ms INTEGER, exact INTEGER NOT NULL, stdout_bytes INTEGER, stderr_bytes INTEGER, result_bytes INTEGER,
    PRIMARY KEY (job, stage, task)
) WITHOUT ROWID;
CREATE TABLE workers (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, enrolled_ms INTEGER NOT NULL, draining INTEGER NOT NULL
);
";

/// Up to which fact a file is, and in which life that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub(crate) fact: FactIndex,
    pub(crate) epoch: Epoch,
}

/// Why the file cannot be used now.
#[derive(Debug, Error)]
pub(super) enum HistoryError {
    #[error("it cannot be used")]
    Sqlite(#[from] rusqlite::Error),
    #[error("it cannot be removed")]
    Remove(#[source] io::Error),
    #[error("it was removed")]
    Gone,
    #[error("it is of another version of gridctl")]
    OtherVersion,
}

/// An open file of this version.
#[derive(Debug)]
pub(super) struct HistoryFile {
    pub(super) connection: Connection,
    path: PathBuf,
    inode: u64,
}

impl HistoryError {
    /// Says whether the file has to be made anew; else the same is tried again later.
    pub(super) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode;
        match self {
            Self::Gone | Self::OtherVersion => true,
            Self::Remove(_) => false,
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(code) => !matches!(
                    code,
                    ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::DiskFull
                        | ErrorCode::ReadOnly
                        | ErrorCode::CannotOpen
                        | ErrorCode::PermissionDenied
                        | ErrorCode::OutOfMemory
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::FileLockingProtocolFailed
                ),
                // A value of a type that we never write.
                None => true,
            },
        }
    }
}

impl HistoryFile {
    /// Opens the file below `root`, and makes it where there is none.
    pub(super) fn open(root: &Path) -> Result<Self, HistoryError> {
        let path = root.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY_WITHIN)?;
        let pragma =
            |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        match (pragma("application_id")?, pragma("user_version")?) {
            (APPLICATION_ID, SCHEMA_VERSION) => connection.execute_batch(PRAGMAS)?,
            (0, 0) if pragma("schema_version")? == 0 => {
                connection.execute_batch(PRAGMAS)?;
                connection.execute_batch(&format!(
                    "BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; \
                     PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                ))?;
            }
            _ => return Err(HistoryError::OtherVersion),
        }
        let inode = inode(&path).ok_or(HistoryError::Gone)?;
        Ok(Self { connection, path, inode })
    }

    /// Removes the file below `root`, with all that belongs to it.
    pub(super) fn remove(root: &Path) -> Result<(), HistoryError> {
        // The file itself last: what is left of an interrupted removal is no whole file.
        for name in BESIDE.into_iter().chain([FILE]) {
            match fs::remove_file(root.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(HistoryError::Remove(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Returns up to where it is.
    pub(super) fn mark(&self) -> Result<Option<Mark>, HistoryError> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let found =
            self.connection.query_row("SELECT fact, epoch FROM applied", [], read).optional()?;
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(found.map(|(fact, epoch)| Mark {
            fact: FactIndex(unsigned(fact)),
            epoch: Epoch(unsigned(epoch)),
        }))
    }

    /// Lets `write` write rows, and stores what `write` returns as the mark, in one transaction.
    pub(super) fn write(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Mark>,
    ) -> Result<(), HistoryError> {
        if inode(&self.path) != Some(self.inode) {
            return Err(HistoryError::Gone);
        }
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mark = write(&transaction)?;
        transaction.execute(
            "INSERT OR REPLACE INTO applied VALUES (1, ?1, ?2)",
            [number(mark.fact.0), number(mark.epoch.0)],
        )?;
        transaction.commit()?;
        Ok(())
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}
