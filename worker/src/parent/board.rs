//! What a worker and the processes above it let each other know: a page in memory that all of them have
//! open, and pipes that wake.
//!
//! Nothing is sent: a value is written where the other side looks, so that nobody waits for anybody.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};

/// Directories that can be noted: of scratch, and of a grid that lives as long as one command.
const PATHS_MAX: u64 = 4;
/// Room for one of them, with its length in front.
const PATH_BYTES_MAX: usize = 4096;
/// Where the paths begin.
const PATHS_AT: u64 = 4096;

/// A number on the board; all are 0 when a life begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    /// 1 once the worker ends by its own will: it is not started again.
    InOrder = 0,
    /// Until when tasks may run that must not outlive the lease, by the clock that counts suspend, in
    /// milliseconds; 0 where none runs.
    StopUntil = 8,
    /// 1 where the namespace could not be made whole.
    NoNamespace = 16,
}

/// The page.
#[derive(Debug)]
pub(super) struct Board(File);

impl Board {
    /// Makes one that children inherit.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(File::from(memfd_create("gridctl-board", MemfdFlags::empty())?)))
    }

    /// Opens the one that was inherited by this number.
    pub(super) fn inherited(number: RawFd) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(link(number)).map(Self)
    }

    /// Wipes it for the next life.
    pub(super) fn wipe(&self) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.set_len(PATHS_AT + PATHS_MAX * PATH_BYTES_MAX as u64)
    }

    pub(super) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Reads a number. Memory gives no error; a page that was never written reads as 0.
    pub(super) fn read(&self, slot: Slot) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, slot as u64).map_or(0, |()| u64::from_le_bytes(bytes))
    }

    pub(super) fn write(&self, slot: Slot, value: u64) -> io::Result<()> {
        self.0.write_all_at(&value.to_le_bytes(), slot as u64)
    }

    /// Notes a directory that is to be removed when the worker is gone.
    pub(super) fn add_path(&self, path: &Path) -> io::Result<()> {
        let bytes = path.as_os_str().as_bytes();
        let free = (0..PATHS_MAX).find(|place| self.path(*place).is_none());
        let (Some(place), true) = (free, bytes.len() <= PATH_BYTES_MAX - 8) else {
            return Err(io::Error::other(
                "no room for another directory, or a path that is too long",
            ));
        };
        let at = PATHS_AT + place * PATH_BYTES_MAX as u64;
        // The length comes last: a path is there whole or not at all.
        self.0.write_all_at(bytes, at + 8)?;
        self.0.write_all_at(&(bytes.len() as u64).to_le_bytes(), at)
    }

    /// Returns the directories that were noted.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        (0..PATHS_MAX).filter_map(|place| self.path(place)).collect()
    }

    fn path(&self, place: u64) -> Option<PathBuf> {
        let at = PATHS_AT + place * PATH_BYTES_MAX as u64;
        let mut length = [0; 8];
        self.0.read_exact_at(&mut length, at).ok()?;
        let length = usize::try_from(u64::from_le_bytes(length)).ok()?;
        let mut bytes =
            vec![0; Some(length).filter(|length| (1..PATH_BYTES_MAX - 8).contains(length))?];
        self.0.read_exact_at(&mut bytes, at + 8).ok()?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }
}

/// A pipe by which the worker wakes its parent; children inherit it.
#[derive(Debug)]
pub(super) struct WakePipe {
    pub(super) reader: OwnedFd,
    pub(super) writer: OwnedFd,
}

impl WakePipe {
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer })
    }
}

/// Opens the writing end that was inherited by this number.
pub(super) fn inherited_writer(number: RawFd) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(open(link(number), flags, Mode::empty())?)
}

/// A pipe that nobody writes to: who has the reading end sees it close when this process is gone.
#[derive(Debug)]
pub(super) struct LifeLine {
    pub(super) reader: OwnedFd,
    _writer: OwnedFd,
}

impl LifeLine {
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        inherit(&reader)?;
        Ok(Self { reader, _writer: writer })
    }
}

/// Opens the reading end that was inherited by this number.
pub(super) fn inherited_reader(number: RawFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(open(link(number), flags, Mode::empty())?)
}

/// Lets children inherit a descriptor.
pub(super) fn inherit(descriptor: impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfd(descriptor, FdFlags::empty())?)
}

/// Names a descriptor of this process by path: opened, it is an owned one.
pub(super) fn link(number: RawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_writes_the_other_reads_until_it_is_wiped() {
        let board = Board::new().unwrap();
        board.wipe().unwrap();
        let other = Board::inherited(board.number()).unwrap();
        assert_eq!((board.read(Slot::InOrder), board.paths()), (0, Vec::new()));
        other.write(Slot::StopUntil, 77).unwrap();
        other.add_path(Path::new("/a")).unwrap();
        other.add_path(Path::new("/b c")).unwrap();
        assert_eq!(board.read(Slot::StopUntil), 77);
        assert_eq!(board.paths(), [PathBuf::from("/a"), PathBuf::from("/b c")]);
        assert!(other.add_path(Path::new(&"x".repeat(5_000))).is_err());
        board.wipe().unwrap();
        assert_eq!((other.read(Slot::StopUntil), other.paths()), (0, Vec::new()));
    }

    #[test]
    fn a_life_line_closes_with_its_owner() {
        let line = LifeLine::new().unwrap();
        let reader = inherited_reader(line.reader.as_raw_fd()).unwrap();
        let mut buffer = [0; 1];
        assert_eq!(rustix::io::read(&reader, &mut buffer), Err(rustix::io::Errno::AGAIN));
        drop(line);
        assert_eq!(rustix::io::read(&reader, &mut buffer), Ok(0));
    }
}
