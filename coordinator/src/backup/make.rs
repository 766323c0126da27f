//! Makes a backup, piece by piece, of a data directory that is being served.

use std::collections::VecDeque;
use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_jobs::units::WallMs;

use crate::disk::{Disk, DiskFile};
use crate::journal::durable_lengths;
use crate::keeping::{Keeper, ReadHold};
use crate::results;

use super::error::MakeBackupError;
use super::format::{DIRS, FILES, PIECE_BYTES, end, file_head, header};

/// A backup that is being made. Nothing of the data directory goes as long as it is there.
#[derive(Debug)]
pub(crate) struct Backup {
    disk: Arc<dyn Disk>,
    _hold: ReadHold,
    last: FactIndex,
    taken_at: WallMs,
    files: VecDeque<(String, Option<u64>)>,
    reading: Option<Reading>,
    whole: blake3::Hasher,
    is_begun: bool,
    is_over: bool,
}

/// The file that is being read.
#[derive(Debug)]
struct Reading {
    file: Arc<dyn DiskFile>,
    offset: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Backup {
    /// Decides what is in it. Blocks while something is being removed.
    ///
    /// # Errors
    /// [`MakeBackupError`].
    pub(crate) fn begin(keeper: &Arc<Keeper>, taken_at: WallMs) -> Result<Self, MakeBackupError> {
        let hold = ReadHold::new(keeper);
        let disk = Arc::clone(keeper.disk());
        let last = keeper.durable();
        let mut files = VecDeque::new();
        for dir in DIRS {
            if dir == "journal" {
                let lengths = durable_lengths(&*disk, last)?;
                files.extend(lengths.into_iter().map(|(path, bytes)| (path, Some(bytes))));
                continue;
            }
            let names = disk.list(dir)?;
            // What is called otherwise is being written, and means nothing yet.
            let whole = |name: &String| match dir {
                "snapshots" => name.ends_with(".snap"),
                "results" => name.ends_with(".seg"),
                _ => !name.ends_with(".new"),
            };
            for name in names.into_iter().filter(whole) {
                let path = format!("{dir}/{name}");
                let bytes = match dir {
                    "results" => Some(results::durable_length(&*disk, &path, last)?),
                    _ => None,
                };
                files.push_back((path, bytes));
            }
        }
        let there = disk.list("")?;
        let single = FILES.iter().filter(|name| there.iter().any(|there| there == *name));
        files.extend(single.map(|name| ((*name).to_owned(), None)));
        Ok(Self {
            disk,
            _hold: hold,
            last,
            taken_at,
            files,
            reading: None,
            whole: blake3::Hasher::new(),
            is_begun: false,
            is_over: false,
        })
    }

    /// Reads the next piece; `None` after the last one. Blocks on the disk.
    ///
    /// # Errors
    /// [`MakeBackupError`].
    pub(crate) fn next_piece(&mut self) -> Result<Option<Vec<u8>>, MakeBackupError> {
        if self.is_over {
            return Ok(None);
        }
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        if !self.is_begun {
            self.is_begun = true;
            piece.extend_from_slice(&header());
        }
        while piece.len() < PIECE_BYTES && !self.is_over {
            match &mut self.reading {
                Some(reading) => {
                    if reading.read_into(&mut piece)? {
                        self.reading = None;
                    }
                }
                None => self.begin_next(&mut piece)?,
            }
        }
        if !self.is_over {
            self.whole.update(&piece);
        }
        Ok(Some(piece))
    }

    /// Opens the next file, or writes the end.
    fn begin_next(&mut self, piece: &mut Vec<u8>) -> Result<(), MakeBackupError> {
        let Some((path, bytes)) = self.files.pop_front() else {
            piece.extend_from_slice(&end(self.last.0, self.taken_at.0));
            self.whole.update(piece);
            piece.extend_from_slice(self.whole.finalize().as_bytes());
            self.is_over = true;
            return Ok(());
        };
        let file = self.disk.open(&path)?;
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => file.len()?,
        };
        piece.extend_from_slice(&file_head(&path, bytes));
        self.reading = Some(Reading { file, offset: 0, bytes, hasher: blake3::Hasher::new() });
        Ok(())
    }
}

impl Reading {
    /// Reads on, and says whether the file is read whole.
    fn read_into(&mut self, piece: &mut Vec<u8>) -> Result<bool, MakeBackupError> {
        let left = usize::try_from(self.bytes - self.offset).unwrap_or(usize::MAX);
        let start = piece.len();
        let room = PIECE_BYTES.saturating_sub(start).min(left);
        piece.resize(start + room, 0);
        self.file.read_exact_at(self.offset, &mut piece[start..])?;
        self.hasher.update(&piece[start..]);
        self.offset += room as u64;
        if self.offset < self.bytes {
            return Ok(false);
        }
        piece.extend_from_slice(self.hasher.finalize().as_bytes());
        Ok(true)
    }
}
