//! Reads a backup, and puts it into an empty data directory.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_jobs::units::WallMs;

use crate::disk::{Disk, DiskFile, RealDisk};

use super::error::{ReadBackupError, RestoreError};
use super::format::{
    DIRS, FORMAT_VERSION, HASH_BYTES, HEADER_BYTES, KIND_END, KIND_FILE, MAGIC, NAME_BYTES_MAX,
    PIECE_BYTES, is_ours,
};

/// There as long as a restore has not come to its end.
pub(crate) const HALF_RESTORED: &str = "restoring";
/// There until the first epoch after a restore is durable.
pub(crate) const RESTORED: &str = "restored";

/// What a backup holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The last fact in it.
    pub last: FactIndex,
    /// When it was taken, by the clock of the coordinator.
    pub taken_at: WallMs,
    /// How many files it holds.
    pub files: usize,
    /// Of the backup itself.
    pub bytes: u64,
}

/// Reads a whole backup, and checks every hash in it.
///
/// # Errors
/// [`ReadBackupError`].
pub fn check(path: &Path) -> Result<Summary, ReadBackupError> {
    struct Nothing;
    impl Files for Nothing {
        type Error = ReadBackupError;
        fn begin(&mut self, _: &str) -> Result<(), ReadBackupError> {
            Ok(())
        }
        fn take(&mut self, _: &[u8]) -> Result<(), ReadBackupError> {
            Ok(())
        }
        fn end(&mut self) -> Result<(), ReadBackupError> {
            Ok(())
        }
    }
    read(path, &mut Nothing)
}

/// Puts a backup into the data directory `root`, which is not there or empty.
///
/// # Errors
/// [`RestoreError`]; nothing was written unless it is [`RestoreError::Disk`].
pub(crate) fn restore(backup: &Path, root: &Path) -> Result<Summary, RestoreError> {
    let look = |source| RestoreError::Look { path: root.to_owned(), source };
    match fs::read_dir(root) {
        Ok(mut entries) => {
            if entries.next().transpose().map_err(look)?.is_some() {
                return Err(RestoreError::NotEmpty { path: root.to_owned() });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(look(error)),
    }
    check(backup)?;
    let disk = RealDisk::open(root)?;
    disk.create(HALF_RESTORED)?.sync_data()?;
    disk.sync_dir("")?;
    for dir in DIRS {
        disk.make_dir(dir)?;
    }
    let mut into = Into { disk: &disk, file: None, offset: 0 };
    let summary = read(backup, &mut into)?;
    for dir in DIRS {
        disk.sync_dir(dir)?;
    }
    disk.rename(HALF_RESTORED, RESTORED)?;
    disk.sync_dir("")?;
    Ok(summary)
}

/// Takes the files of a backup, one after the other.
trait Files {
    type Error: From<ReadBackupError>;
    fn begin(&mut self, name: &str) -> Result<(), Self::Error>;
    fn take(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
    fn end(&mut self) -> Result<(), Self::Error>;
}

/// A data directory that is being filled.
struct Into<'a> {
    disk: &'a RealDisk,
    file: Option<Arc<dyn DiskFile>>,
    offset: u64,
}

impl Files for Into<'_> {
    type Error = RestoreError;

    fn begin(&mut self, name: &str) -> Result<(), RestoreError> {
        self.file = Some(self.disk.create(name)?);
        self.offset = 0;
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let file = self.file.as_ref().expect("a file has begun");
        file.write_all_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> Result<(), RestoreError> {
        Ok(self.file.take().expect("a file has begun").sync_data()?)
    }
}

/// A backup as far as it was read.
struct Source {
    path: PathBuf,
    reader: BufReader<File>,
    offset: u64,
    whole: blake3::Hasher,
}

fn read<F: Files>(path: &Path, files: &mut F) -> Result<Summary, F::Error> {
    let mut source = Source::open(path)?;
    let mut count = 0;
    loop {
        let [kind] = source.array()?;
        match kind {
            KIND_FILE => {
                source.file(files)?;
                count += 1;
            }
            KIND_END => break,
            _ => return Err(source.damaged("nothing begins here").into()),
        }
    }
    let last = FactIndex(u64::from_le_bytes(source.array()?));
    let taken_at = WallMs(u64::from_le_bytes(source.array()?));
    let hash = *source.whole.finalize().as_bytes();
    if source.array::<HASH_BYTES>()? != hash {
        return Err(source.damaged("the whole does not fit its hash").into());
    }
    let bytes = source.offset;
    match source.reader.read(&mut [0]) {
        Ok(0) => Ok(Summary { last, taken_at, files: count, bytes }),
        Ok(_) => Err(source.damaged("there is more after the end").into()),
        Err(error) => Err(source.unreadable(error).into()),
    }
}

impl Source {
    fn open(path: &Path) -> Result<Self, ReadBackupError> {
        let file = File::open(path)
            .map_err(|source| ReadBackupError::Read { path: path.to_owned(), source })?;
        let mut source = Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(PIECE_BYTES, file),
            offset: 0,
            whole: blake3::Hasher::new(),
        };
        let no_backup = || ReadBackupError::NoBackup { path: path.to_owned() };
        let header: [u8; HEADER_BYTES] = source.array().map_err(|error| match error {
            ReadBackupError::Damaged { .. } => no_backup(),
            other @ (ReadBackupError::Read { .. }
            | ReadBackupError::NoBackup { .. }
            | ReadBackupError::Newer { .. }) => other,
        })?;
        if header[..8] != MAGIC {
            return Err(no_backup());
        }
        let version = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
        match version {
            FORMAT_VERSION => Ok(source),
            version if version > FORMAT_VERSION => {
                Err(ReadBackupError::Newer { path: path.to_owned(), version })
            }
            _ => Err(no_backup()),
        }
    }

    /// Reads a file, all but its kind.
    fn file<F: Files>(&mut self, files: &mut F) -> Result<(), F::Error> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        if length > NAME_BYTES_MAX {
            return Err(self.damaged("a name is too long").into());
        }
        let mut name = vec![0; length];
        self.fill(&mut name)?;
        let name = String::from_utf8(name).ok().filter(|name| is_ours(name));
        let Some(name) = name else {
            return Err(self.damaged("a name is none of a data directory").into());
        };
        let mut left = u64::from_le_bytes(self.array()?);
        files.begin(&name)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; PIECE_BYTES];
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            self.fill(&mut buffer[..step])?;
            hasher.update(&buffer[..step]);
            files.take(&buffer[..step])?;
            left -= step as u64;
        }
        if self.array::<HASH_BYTES>()? != *hasher.finalize().as_bytes() {
            return Err(self.damaged("a file does not fit its hash").into());
        }
        files.end()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadBackupError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ReadBackupError> {
        match self.reader.read_exact(bytes) {
            Ok(()) => {
                self.offset += bytes.len() as u64;
                self.whole.update(bytes);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it ends too early"))
            }
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn damaged(&self, what: &'static str) -> ReadBackupError {
        ReadBackupError::Damaged { path: self.path.clone(), offset: self.offset, what }
    }

    fn unreadable(&self, source: io::Error) -> ReadBackupError {
        ReadBackupError::Read { path: self.path.clone(), source }
    }
}
