//! Files that hold nothing but room.

use crate::disk::{Disk, DiskError};

/// Where they lie.
const RESERVE_DIR: &str = "reserve";
/// How many there are: each gives an inode back too, and the room of the others stays ours.
const FILES: usize = 16;

/// The reserve of one data directory.
#[derive(Debug)]
pub(super) struct Reserve {
    file_bytes: u64,
    is_there: [bool; FILES],
}

impl Reserve {
    /// Finds what is there of a reserve of `bytes`, and removes what is of another.
    pub(super) fn find(disk: &dyn Disk, bytes: u64) -> Result<Self, DiskError> {
        let mut reserve =
            Self { file_bytes: bytes.div_ceil(FILES as u64), is_there: [false; FILES] };
        match disk.make_dir(RESERVE_DIR) {
            Err(error) if error.is_no_room() => return Ok(reserve),
            made => made?,
        }
        let names = disk.list(RESERVE_DIR)?;
        for (file, is_there) in reserve.is_there.iter_mut().enumerate() {
            let path = path(file);
            let is_listed = names.iter().any(|name| path.ends_with(&format!("/{name}")));
            *is_there = is_listed && disk.open(&path)?.len()? == reserve.file_bytes && bytes > 0;
            if is_listed && !*is_there {
                // Half made, or of a reserve of another size. Where it cannot go it is only room lost.
                let _ = disk.remove(&path);
            }
        }
        Ok(reserve)
    }

    /// Counts what is there.
    pub(super) fn files(&self) -> usize {
        self.is_there.iter().filter(|is_there| **is_there).count()
    }

    pub(super) fn missing_files(&self) -> u64 {
        if self.file_bytes == 0 { 0 } else { (FILES - self.files()) as u64 }
    }

    pub(super) fn missing_bytes(&self) -> u64 {
        self.missing_files() * self.file_bytes
    }

    /// Makes a file that is missing; says false where none is.
    ///
    /// # Errors
    /// [`DiskError`]; nothing was made then.
    pub(super) fn make_next(&mut self, disk: &dyn Disk) -> Result<bool, DiskError> {
        let missing = self.is_there.iter().position(|is_there| !is_there);
        let Some(file) = missing.filter(|_| self.file_bytes > 0) else { return Ok(false) };
        disk.make_dir(RESERVE_DIR)?;
        let path = path(file);
        // Nothing is synced: where it is gone after a crash, it is made again.
        if let Err(error) = disk.create(&path).and_then(|made| made.allocate(self.file_bytes)) {
            // Half a file is room that nobody has. Where it cannot go either, it is made anew next time.
            let _ = disk.remove(&path);
            return Err(error);
        }
        self.is_there[file] = true;
        Ok(true)
    }

    /// Removes one file; says false where there is none (that can be removed).
    pub(super) fn give_up(&mut self, disk: &dyn Disk) -> bool {
        for file in (0..FILES).rev().filter(|file| self.is_there[*file]).collect::<Vec<_>>() {
            match disk.remove(&path(file)) {
                Ok(()) => {
                    self.is_there[file] = false;
                    return true;
                }
                // Read-only: it is there still.
                Err(error) if error.is_no_room() => return false,
                Err(error) => {
                    tracing::warn!(%error, "a file of the reserve cannot be given up");
                    self.is_there[file] = false;
                }
            }
        }
        false
    }
}

fn path(file: usize) -> String {
    format!("{RESERVE_DIR}/{file:02}")
}
