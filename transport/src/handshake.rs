//! The first words on a connection: which version both speak, and whether this coordinator is one to
//! follow.
//!
//! The checks are pure and the same for workers and clients. Deliberately absent: what a worker
//! announces, and the answer to it; that is the coordinator's and the worker's business.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gridctl_jobs::id::Epoch;
use tokio::time::timeout;

use crate::credentials::Credentials;
use crate::endpoint::{Connection, LostConnection};
use crate::files::{FileError, Readable, read_text, write_atomically};
use crate::frame::{ReadFrameError, WriteFrameError};
use crate::join_token::AuthorityHash;
use crate::message::client::{ClientHello, ClientWelcome};
use crate::message::worker::{Hello, Welcome};
use crate::message::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Turned};

/// How long either side waits for the other's greeting.
pub const GREETING_DEADLINE: Duration = Duration::from_secs(10);

const EPOCH_FILE: &str = "epoch";

/// What a coordinator's welcome told a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcomed {
    /// The version to speak.
    pub version: u32,
    /// The coordinator's epoch.
    pub epoch: Epoch,
    /// What the grid is called.
    pub grid: String,
}

/// Why a greeting did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// One of the two sides turns the other away.
    #[error(transparent)]
    Turned(#[from] Turned),
    /// The connection is gone; a refusal by the coordinator's door is here.
    #[error(transparent)]
    Lost(#[from] LostConnection),
    /// What came is no greeting.
    #[error(transparent)]
    Read(ReadFrameError),
    /// The greeting could not be sent.
    #[error(transparent)]
    Write(WriteFrameError),
    /// Nothing came.
    #[error("the other side did not greet within {} seconds", GREETING_DEADLINE.as_secs())]
    Late,
    /// The epoch cannot be remembered.
    #[error(transparent)]
    Memory(#[from] FileError),
}

impl From<ReadFrameError> for GreetError {
    fn from(error: ReadFrameError) -> Self {
        error.into_lost().map_or_else(Self::Read, Self::Lost)
    }
}

impl From<WriteFrameError> for GreetError {
    fn from(error: WriteFrameError) -> Self {
        error.into_lost().map_or_else(Self::Write, Self::Lost)
    }
}

/// Chooses the version to speak with someone whose best is `theirs`.
///
/// # Errors
/// [`Turned::Version`] where that is older than anything that this build speaks.
pub const fn agree_version(theirs: u32) -> Result<u32, Turned> {
    if theirs < PROTOCOL_VERSION_MIN {
        return Err(Turned::Version {
            ours_min: PROTOCOL_VERSION_MIN,
            ours_max: PROTOCOL_VERSION,
            theirs,
        });
    }
    Ok(if theirs < PROTOCOL_VERSION { theirs } else { PROTOCOL_VERSION })
}

/// Checks that a coordinator of epoch `ours` may serve someone who has seen epoch `seen`.
///
/// # Errors
/// [`Turned::OldCoordinator`] where a later one was seen: this one was set back, or is an old copy.
pub const fn check_epoch(ours: Epoch, seen: Epoch) -> Result<(), Turned> {
    if ours.0 < seen.0 {
        return Err(Turned::OldCoordinator { ours, seen });
    }
    Ok(())
}

/// Checks a worker's Hello on the coordinator's side; gives the version to speak.
///
/// # Errors
/// [`Turned`], to be sent to the worker.
pub fn check_hello(hello: &Hello, epoch: Epoch) -> Result<u32, Turned> {
    check_epoch(epoch, hello.epoch_seen)?;
    agree_version(hello.version)
}

/// Checks a coordinator's Welcome on the worker's side, against the highest epoch seen before.
///
/// # Errors
/// [`Turned`], to be shown and not followed.
pub const fn check_welcome(welcome: &Welcome, seen: Epoch) -> Result<(), Turned> {
    check_answer(welcome.version, welcome.epoch, seen)
}

/// Decides on a client's Hello on the coordinator's side.
pub fn answer_client(hello: ClientHello, epoch: Epoch, grid: &str) -> ClientWelcome {
    let checked = check_epoch(epoch, hello.epoch_seen).and_then(|()| agree_version(hello.version));
    match checked {
        Ok(version) => ClientWelcome::Welcome { version, epoch, grid: grid.to_owned() },
        Err(turned) => ClientWelcome::Turned(turned),
    }
}

/// A version that was agreed must be one of ours: the other side chose the smaller of two bests.
const fn check_answer(version: u32, epoch: Epoch, seen: Epoch) -> Result<(), Turned> {
    if version < PROTOCOL_VERSION_MIN || version > PROTOCOL_VERSION {
        return Err(Turned::Version {
            ours_min: PROTOCOL_VERSION_MIN,
            ours_max: PROTOCOL_VERSION,
            theirs: version,
        });
    }
    check_epoch(epoch, seen)
}

/// Greets a coordinator as a client, on the first stream of a connection; remembers its epoch.
///
/// # Errors
/// [`GreetError`] where either side turns the other away, or the connection ends.
pub async fn greet(
    connection: &Connection,
    memory: &mut EpochMemory,
) -> Result<Welcomed, GreetError> {
    let hello = ClientHello { version: PROTOCOL_VERSION, epoch_seen: memory.seen() };
    let exchange = async {
        let (mut writer, mut reader) = connection.open_bi().await?;
        // Where the door was closed, reading says why, and writing only that it was.
        let written = writer.write(&hello).await;
        let welcome = reader.expect::<ClientWelcome>().await?;
        written?;
        writer.finish();
        Ok::<_, GreetError>(welcome)
    };
    match timeout(GREETING_DEADLINE, exchange).await.map_err(|_| GreetError::Late)?? {
        ClientWelcome::Welcome { version, epoch, grid } => {
            check_answer(version, epoch, memory.seen())?;
            memory.welcomed(epoch)?;
            Ok(Welcomed { version, epoch, grid })
        }
        ClientWelcome::Turned(turned) => Err(turned.into()),
    }
}

/// Takes a client's greeting on the first stream of an admitted connection and answers it; gives the
/// version to speak.
///
/// # Errors
/// [`GreetError`] where the client was turned away (it was told), or did not greet.
pub async fn welcome_client(
    connection: &Connection,
    epoch: Epoch,
    grid: &str,
) -> Result<u32, GreetError> {
    let exchange = async {
        let (mut writer, mut reader) = connection.accept_bi().await?;
        let hello = reader.expect::<ClientHello>().await?;
        let answer = answer_client(hello, epoch, grid);
        writer.write(&answer).await?;
        match answer {
            ClientWelcome::Welcome { version, .. } => {
                writer.finish();
                Ok(version)
            }
            ClientWelcome::Turned(turned) => {
                // It has to arrive before the connection is closed.
                writer.finish_and_wait().await?;
                Err(GreetError::Turned(turned))
            }
        }
    };
    timeout(GREETING_DEADLINE, exchange).await.map_err(|_| GreetError::Late)?
}

/// The highest epoch of a grid that ever welcomed the bearer of some credentials, kept beside them.
///
/// The file holds the authority's hash and the epoch, so that joining another grid begins anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochMemory {
    path: PathBuf,
    authority: AuthorityHash,
    seen: Epoch,
}

/// How often the epoch is written where others are in the way, and how long to wait before each further try.
const WRITE_TRIES: u32 = 50;
const WRITE_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_millis(5);

impl EpochMemory {
    /// Opens the memory that belongs to `credentials`.
    ///
    /// # Errors
    /// [`FileError`] where it is there and cannot be read.
    pub fn open(credentials: &Credentials) -> Result<Self, FileError> {
        let authority = AuthorityHash::of(credentials.authority());
        Self::open_in(credentials.directory(), authority)
    }

    fn open_in(directory: &Path, authority: AuthorityHash) -> Result<Self, FileError> {
        let path = directory.join(EPOCH_FILE);
        let seen = read_text(&path)?.and_then(|text| parse_epoch(&text, authority));
        Ok(Self { path, authority, seen: seen.unwrap_or_default() })
    }

    /// Returns the highest epoch that was seen; zero where none was.
    pub const fn seen(&self) -> Epoch {
        self.seen
    }

    /// Remembers the epoch of a coordinator that welcomed. A lower one than before changes nothing.
    ///
    /// # Errors
    /// [`FileError`] where it cannot be written.
    pub fn welcomed(&mut self, epoch: Epoch) -> Result<(), FileError> {
        if epoch <= self.seen {
            return Ok(());
        }
        let text = format!("{} {}\n", self.authority, epoch.0);
        // Commands of one person write the same file, and a coordinator that starts replaces its directory.
        let mut tries = WRITE_TRIES;
        while let Err(error) = write_atomically(&self.path, &text, Readable::Everyone) {
            tries -= 1;
            if tries == 0 || !error.is_race() {
                return Err(error);
            }
            std::thread::sleep(WRITE_AGAIN_AFTER);
        }
        self.seen = epoch;
        Ok(())
    }
}

fn parse_epoch(text: &str, authority: AuthorityHash) -> Option<Epoch> {
    let (hash, epoch) = text.trim_end().split_once(' ')?;
    if hash != authority.to_string() {
        return None;
    }
    epoch.parse().ok().map(Epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_two_bests_is_spoken_unless_it_is_too_old() {
        assert_eq!(agree_version(PROTOCOL_VERSION), Ok(PROTOCOL_VERSION));
        assert_eq!(agree_version(u32::MAX), Ok(PROTOCOL_VERSION));
        assert_eq!(agree_version(PROTOCOL_VERSION_MIN), Ok(PROTOCOL_VERSION_MIN));
        let turned = agree_version(PROTOCOL_VERSION_MIN - 1).unwrap_err();
        assert!(turned.to_string().contains("upgrade the older of the two"), "{turned}");
    }

    #[test]
    fn a_coordinator_serves_whoever_has_seen_none_later() {
        assert_eq!(check_epoch(Epoch(5), Epoch(0)), Ok(()));
        assert_eq!(check_epoch(Epoch(5), Epoch(5)), Ok(()));
        let turned = Turned::OldCoordinator { ours: Epoch(5), seen: Epoch(6) };
        assert_eq!(check_epoch(Epoch(5), Epoch(6)), Err(turned));
    }

    #[test]
    fn a_welcome_in_a_version_that_was_not_offered_is_not_followed() {
        let welcome = |version, epoch| Welcome {
            version,
            epoch: Epoch(epoch),
            grid: "lab".to_owned(),
            lease_ms: 10_000,
            heartbeat_ms: 3_333,
            answers: vec![],
        };
        assert_eq!(check_welcome(&welcome(PROTOCOL_VERSION, 5), Epoch(5)), Ok(()));
        for version in [0, PROTOCOL_VERSION + 1] {
            let checked = check_welcome(&welcome(version, 5), Epoch(5));
            assert!(matches!(checked, Err(Turned::Version { .. })), "{checked:?}");
        }
        let checked = check_welcome(&welcome(PROTOCOL_VERSION, 4), Epoch(5));
        assert!(matches!(checked, Err(Turned::OldCoordinator { .. })), "{checked:?}");
    }

    #[test]
    fn an_epoch_is_remembered_for_its_own_grid_only_and_never_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let (here, elsewhere) = (AuthorityHash([1; 32]), AuthorityHash([2; 32]));
        let open = |authority| EpochMemory::open_in(directory.path(), authority).unwrap();
        assert_eq!(open(here).seen(), Epoch(0));
        let mut memory = open(here);
        memory.welcomed(Epoch(7)).unwrap();
        memory.welcomed(Epoch(6)).unwrap();
        assert_eq!((memory.seen(), open(here).seen()), (Epoch(7), Epoch(7)));
        assert_eq!(open(elsewhere).seen(), Epoch(0));
    }

    #[test]
    fn a_memory_that_cannot_be_read_as_one_is_none() {
        for text in ["", "x", "0101010101010101 ", "0101010101010101 -1", "0101010101010101 7 7"] {
            assert_eq!(parse_epoch(text, AuthorityHash([1; 32])), None, "{text:?}");
        }
        let kept = parse_epoch("0101010101010101 7\n", AuthorityHash([1; 32]));
        assert_eq!(kept, Some(Epoch(7)));
    }
}
