//! What fits on the simulated disk: bytes, files, and whether it takes anything at all.

use std::io;

use super::super::traits::FreeSpace;
use super::{DataChange, Inode, World};

/// Bounds; none unless they are set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capacity {
    pub(super) bytes: Option<u64>,
    pub(super) files: Option<usize>,
    pub(super) is_read_only: bool,
}

impl World {
    pub(super) fn free(&self) -> FreeSpace {
        let left = |bound: u64, used: u64| bound.saturating_sub(used);
        FreeSpace {
            bytes: self.capacity.bytes.map_or(u64::MAX, |bound| left(bound, self.used())),
            files: self
                .capacity
                .files
                .map_or(u64::MAX, |bound| left(bound as u64, self.names.len() as u64)),
            is_read_only: self.capacity.is_read_only,
        }
    }

    /// Says whether names may change, by one file more where `makes` is one that is not there.
    pub(super) fn takes_name(&self, makes: Option<&str>) -> io::Result<()> {
        if self.capacity.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let is_new = makes.is_some_and(|path| !self.names.contains_key(path));
        if is_new && self.free().files == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Returns as much of `change` as fits, and what the system says about the rest.
    pub(super) fn fit(
        &self,
        file: Inode,
        change: DataChange,
    ) -> (Option<DataChange>, io::Result<()>) {
        if self.capacity.is_read_only {
            return (None, Err(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let has = self.files[file.0].now.len();
        let free = usize::try_from(self.free().bytes).unwrap_or(usize::MAX);
        let end_max = has.saturating_add(free);
        let full = || Err(io::ErrorKind::StorageFull.into());
        match change {
            DataChange::Write { offset, mut bytes } if offset + bytes.len() > end_max => {
                bytes.truncate(end_max.saturating_sub(offset));
                let fits = !bytes.is_empty();
                (fits.then_some(DataChange::Write { offset, bytes }), full())
            }
            DataChange::Resize { bytes } if bytes > end_max => (None, full()),
            fits @ (DataChange::Write { .. } | DataChange::Resize { .. }) => (Some(fits), Ok(())),
        }
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[file.0].now.len() as u64).sum()
    }
}
