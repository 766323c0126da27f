//! Outputs that wait for the coordinator: in memory up to a bound, beyond it in a file.
//!
//! The file has no name, so that it is gone with the process, whatever ends that: a worker that was started
//! anew has nothing to hand over, since its tasks count as lost. Each output in it has a hash, which is
//! checked when it is read back. What was handed over gives its space back to the file system.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gridctl_transport::message::worker::INLINE_OUTPUT_BYTES_MAX;
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};
use tracing::warn;

use crate::agent::TaskOutput;
use crate::limits::SPILL_FROM_BYTES;

/// Where outputs are kept. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Spill(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// From so many bytes in memory on what is added goes to the file.
    memory_bytes_max: usize,
    state: Mutex<State>,
    has_warned: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes in memory of outputs that are large enough to be kept elsewhere.
    in_memory: usize,
    /// Made when it is first needed.
    file: Option<Arc<File>>,
    /// Where the next output goes.
    end: u64,
    /// Bytes in the file that are still needed.
    needed: u64,
}

/// The place of an output that was large enough to be counted or kept elsewhere; gives it back when dropped.
pub struct Place {
    shared: Arc<Shared>,
    lengths: [usize; 3],
    /// `None` where the bytes are in memory.
    in_file: Option<InFile>,
}

struct InFile {
    file: Arc<File>,
    at: u64,
    hash: blake3::Hash,
}

/// Why an output cannot be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadBackError {
    #[error("results that were kept on disk cannot be read back")]
    Read(#[from] io::Error),
    #[error("results that were kept on disk are damaged; check the disk of the data directory")]
    Damaged,
}

impl Spill {
    /// Makes a place for outputs, in files of this directory where memory does not do.
    pub(crate) fn new(directory: &Path) -> Self {
        Self::with_bound(directory, SPILL_FROM_BYTES)
    }

    fn with_bound(directory: &Path, memory_bytes_max: usize) -> Self {
        Self(Arc::new(Shared {
            directory: directory.to_owned(),
            memory_bytes_max,
            state: Mutex::default(),
            has_warned: AtomicBool::new(false),
        }))
    }

    /// Keeps an output until it is dropped: in the file where it is large and memory has its fill of such.
    pub(crate) fn keep(&self, mut output: TaskOutput) -> TaskOutput {
        let bytes = output.bytes();
        if bytes <= INLINE_OUTPUT_BYTES_MAX {
            return output;
        }
        let lengths = [output.stdout.len(), output.stderr.len(), output.result.len()];
        let fits = {
            let mut state = self.0.state();
            let fits = state.in_memory.saturating_add(bytes) <= self.0.memory_bytes_max;
            state.in_memory += if fits { bytes } else { 0 };
            fits
        };
        let mut place = Place { shared: Arc::clone(&self.0), lengths, in_file: None };
        if !fits {
            match self.0.write(&output) {
                Ok(in_file) => {
                    place.in_file = Some(in_file);
                    output = TaskOutput::default();
                }
                Err(trouble) => {
                    self.0.state().in_memory += bytes;
                    if !self.0.has_warned.swap(true, Ordering::Relaxed) {
                        let directory = self.0.directory.display();
                        warn!(
                            "results stay in memory, since {directory} does not take them: {trouble}"
                        );
                    }
                }
            }
        }
        TaskOutput { place: Some(Arc::new(place)), ..output }
    }
}

impl Shared {
    fn write(&self, output: &TaskOutput) -> io::Result<InFile> {
        let parts = [&output.stdout, &output.stderr, &output.result];
        let bytes = output.bytes() as u64;
        let (file, at) = {
            let mut state = self.state();
            let file = match &state.file {
                Some(file) => Arc::clone(file),
                None => Arc::clone(state.file.insert(Arc::new(nameless(&self.directory)?))),
            };
            let at = state.end;
            state.end += bytes;
            state.needed += bytes;
            (file, at)
        };
        let mut hasher = blake3::Hasher::new();
        let mut next = at;
        let written = parts.into_iter().try_for_each(|part| {
            hasher.update(part);
            file.write_all_at(part, next)?;
            next += part.len() as u64;
            Ok(())
        });
        match written {
            Ok(()) => Ok(InFile { file, at, hash: hasher.finalize() }),
            Err(error) => {
                self.give_back(&file, at, bytes);
                Err(error)
            }
        }
    }

    fn give_back(&self, file: &File, at: u64, bytes: u64) {
        let mut state = self.state();
        state.needed -= bytes;
        if state.needed == 0 {
            state.end = 0;
            // Where it fails the space is written over.
            let _ = file.set_len(0);
        } else {
            // A file system without holes gives the space back at the end.
            let _ =
                fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, bytes);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was locked left nothing half done: every change is a sum.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts the bytes that are in the file.
    pub(crate) fn bytes_in_file(&self) -> usize {
        if self.in_file.is_some() { self.lengths.iter().sum() } else { 0 }
    }

    /// Reads back what is in the file: standard output, standard error, result; `None` where it is in memory.
    ///
    /// # Errors
    /// See [`ReadBackError`].
    pub(crate) fn read_back(&self) -> Result<Option<TaskOutput>, ReadBackError> {
        let Some(InFile { file, at, hash }) = &self.in_file else { return Ok(None) };
        let mut next = *at;
        let mut hasher = blake3::Hasher::new();
        let mut part = |length: usize| {
            let mut part = vec![0; length];
            file.read_exact_at(&mut part, next)?;
            next += length as u64;
            hasher.update(&part);
            Ok::<_, io::Error>(part)
        };
        let [stdout, stderr, result] = self.lengths;
        let (stdout, stderr, result) = (part(stdout)?, part(stderr)?, part(result)?);
        if hasher.finalize() != *hash {
            return Err(ReadBackError::Damaged);
        }
        Ok(Some(TaskOutput { stdout, stderr, result, place: None }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let bytes: usize = self.lengths.iter().sum();
        match &self.in_file {
            Some(InFile { file, at, .. }) => self.shared.give_back(file, *at, bytes as u64),
            None => self.shared.state().in_memory -= bytes,
        }
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Place {}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("lengths", &self.lengths).finish_non_exhaustive()
    }
}

/// Makes a file without a name, or takes its name away at once where the file system must have one.
fn nameless(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(file) = open(directory, flags, Mode::RUSR | Mode::WUSR) {
        return Ok(File::from(file));
    }
    let path = directory.join("results.new");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(open(&path, flags, Mode::RUSR | Mode::WUSR)?);
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(byte: u8) -> TaskOutput {
        TaskOutput {
            stdout: vec![byte; 100_000],
            stderr: vec![byte + 1; 5],
            ..TaskOutput::default()
        }
    }

    fn in_file(output: &TaskOutput) -> bool {
        output.place.as_ref().is_some_and(|place| place.bytes_in_file() > 0)
    }

    #[test]
    fn what_memory_has_no_room_for_is_read_back_from_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let spill = Spill::with_bound(directory.path(), 150_000);
        let small = TaskOutput { stdout: vec![1; 10], ..TaskOutput::default() };
        assert_eq!(spill.keep(small.clone()), small);
        let kept: Vec<TaskOutput> = (0..4).map(|byte| spill.keep(output(byte))).collect();
        assert_eq!(kept.iter().map(in_file).collect::<Vec<_>>(), [false, true, true, true]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it has no name");
        for (byte, kept) in (0..).zip(&kept).skip(1) {
            assert_eq!((kept.bytes(), kept.stdout.len()), (100_005, 0));
            let back = kept.place.as_ref().unwrap().read_back().unwrap().unwrap();
            assert_eq!(back, output(byte));
        }
        assert_eq!(kept[0].stdout, output(0).stdout);
    }

    #[test]
    fn room_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let spill = Spill::with_bound(directory.path(), 150_000);
        let mut kept: Vec<TaskOutput> = (0..4).map(|byte| spill.keep(output(byte))).collect();
        kept.remove(2);
        assert_eq!(spill.0.state().needed, 200_010);
        let last = kept.pop().unwrap();
        assert_eq!(last.place.as_ref().unwrap().read_back().unwrap(), Some(output(3)));
        drop((kept, last));
        let state = spill.0.state();
        assert_eq!((state.in_memory, state.end, state.needed), (0, 0, 0));
        assert_eq!(state.file.as_ref().unwrap().metadata().unwrap().len(), 0);
    }

    #[test]
    fn damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let spill = Spill::with_bound(directory.path(), 0);
        let kept = spill.keep(output(7));
        let place = kept.place.as_ref().unwrap();
        place.in_file.as_ref().unwrap().file.write_all_at(&[9], 50_000).unwrap();
        assert!(matches!(place.read_back(), Err(ReadBackError::Damaged)));
    }

    #[test]
    fn where_the_disk_refuses_it_stays_in_memory() {
        let spill = Spill::with_bound(Path::new("/proc/nothing"), 0);
        let kept = spill.keep(output(7));
        assert!(!in_file(&kept));
        assert_eq!(kept.stdout, output(7).stdout);
    }
}
