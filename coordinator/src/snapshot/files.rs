//! Writes snapshots, and finds the newest that is whole.

use std::io::{self, Write};
use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::state::State;
use gridctl_jobs::planted::{Bug, is_on};
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, DiskError, DiskFile};
use crate::journal::Term;
use crate::results::BlockId;

use super::error::{PassedOver, ReadSnapshotError};
use super::folded::Folded;
use super::format::{HEADER_BYTES, Header, ParsedHeader, is_whole, parse_header};

/// Where the snapshots lie.
pub(crate) const SNAPSHOTS_DIR: &str = "snapshots";
const NEXT: &str = "snapshots/next";
const SUFFIX: &str = ".snap";
/// Enough for every `u64`, so that byte order is index order.
const DIGITS: usize = 20;
/// Half the time of level 3 for nearly the same size.
const ZSTD_LEVEL: i32 = 1;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// What the data is, to be written.
#[derive(Serialize)]
struct ContentOf<'a> {
    output_end: Option<BlockId>,
    state: &'a State,
}

/// The same, as it is read.
#[derive(Deserialize)]
struct Content {
    output_end: Option<BlockId>,
    state: State,
}

/// A snapshot that is whole, and newer ones that are not.
#[derive(Debug, Default)]
pub(crate) struct Latest {
    pub(crate) folded: Option<Folded>,
    pub(crate) passed_over: Vec<PassedOver>,
}

/// Returns the path of the snapshot whose last fact has that index.
pub(crate) fn path(index: FactIndex) -> String {
    format!("{SNAPSHOTS_DIR}/{:0DIGITS$}{SUFFIX}", index.0)
}

/// Lists the snapshots that are there, whole or not, oldest first.
///
/// # Errors
/// [`DiskError`] where the disk refuses.
pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<FactIndex>, DiskError> {
    match disk.make_dir(SNAPSHOTS_DIR) {
        // Where there is no room for it there is none in it.
        Err(error) if error.is_no_room() => return Ok(Vec::new()),
        made => made?,
    }
    Ok(disk.list(SNAPSHOTS_DIR)?.iter().filter_map(|name| parse_name(name)).collect())
}

fn parse_name(name: &str) -> Option<FactIndex> {
    let digits = name.strip_suffix(SUFFIX)?;
    let ours = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if ours { digits.parse().ok().map(FactIndex) } else { None }
}

/// Writes a snapshot; it is there, durably, or not at all.
///
/// # Errors
/// [`DiskError`] where the disk refuses.
pub(crate) fn write(disk: &dyn Disk, folded: &Folded) -> Result<(), DiskError> {
    disk.make_dir(SNAPSHOTS_DIR)?;
    let file = disk.create(NEXT)?;
    let (header, hasher) = write_data(&*file, folded)?;
    file.write_all_at(0, &header.encode(hasher))?;
    file.sync_data()?;
    disk.rename(NEXT, &path(folded.index()))?;
    if !is_on(Bug::SnapshotNameNotSynced) {
        disk.sync_dir(SNAPSHOTS_DIR)?;
    }
    Ok(())
}

fn write_data(file: &dyn DiskFile, folded: &Folded) -> Result<(Header, blake3::Hasher), DiskError> {
    let content = ContentOf { output_end: folded.output_end, state: &folded.state };
    let mut sink = Sink::new(file);
    let mut packer = zstd::Encoder::new(&mut sink, ZSTD_LEVEL).expect("the level is a valid one");
    let mut counter = Counter { inner: &mut packer, bytes: 0 };
    let written = postcard::to_io(&content, &mut counter).map(|_| ());
    let raw_bytes = counter.bytes;
    let finished =
        written.map_err(|_| ()).and_then(|()| packer.finish().map(|_| ()).map_err(|_| ()));
    if finished.and_then(|()| sink.flush().map_err(|_| ())).is_err() {
        return Err(sink.failed.expect("a state can be written, and only the disk refuses"));
    }
    let packed_bytes = sink.offset - HEADER_BYTES as u64;
    let (term, index) = (folded.term.0, folded.index());
    Ok((Header { term, index, raw_bytes, packed_bytes }, sink.hasher))
}

/// Counts what goes through.
struct Counter<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes into a file behind the header, and hashes what it writes.
struct Sink<'a> {
    file: &'a dyn DiskFile,
    buffer: Vec<u8>,
    offset: u64,
    hasher: blake3::Hasher,
    failed: Option<DiskError>,
}

impl<'a> Sink<'a> {
    fn new(file: &'a dyn DiskFile) -> Self {
        let (buffer, offset) = (Vec::new(), HEADER_BYTES as u64);
        Self { file, buffer, offset, hasher: blake3::Hasher::new(), failed: None }
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all_at(self.offset, &self.buffer) {
            self.failed = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        self.hasher.update(&self.buffer);
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Reads the newest snapshot that is whole. Changes nothing.
///
/// # Errors
/// [`ReadSnapshotError`].
pub(crate) fn latest(disk: &dyn Disk) -> Result<Latest, ReadSnapshotError> {
    let mut latest = Latest::default();
    for index in list(disk)?.into_iter().rev() {
        let path = path(index);
        match read(disk, &path, index)? {
            Ok(folded) => {
                latest.folded = Some(folded);
                break;
            }
            Err(what) => latest.passed_over.push(PassedOver { file: disk.locate(&path), what }),
        }
    }
    Ok(latest)
}

/// Reads one; says what is wrong with it where it is damaged.
fn read(
    disk: &dyn Disk,
    path: &str,
    index: FactIndex,
) -> Result<Result<Folded, &'static str>, ReadSnapshotError> {
    let file: Arc<dyn DiskFile> = disk.open(path)?;
    let file_bytes = file.len()?;
    let Some(most) = file_bytes.checked_sub(HEADER_BYTES as u64) else {
        return Ok(Err("it is shorter than its header"));
    };
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(0, &mut bytes)?;
    let (header, hash) = match parse_header(&bytes) {
        ParsedHeader::Snapshot(header, hash) => (header, hash),
        ParsedHeader::Bad => return Ok(Err("its header is damaged")),
        ParsedHeader::Newer { version } => {
            return Err(ReadSnapshotError::Newer { file: disk.locate(path), version });
        }
    };
    if header.packed_bytes > most {
        return Ok(Err("it is shorter than its header says"));
    }
    let mut data = vec![0; usize::try_from(header.packed_bytes).expect("64-bit machines only")];
    file.read_exact_at(HEADER_BYTES as u64, &mut data)?;
    if !is_whole(&bytes, hash, &data) {
        return Ok(Err("it does not fit its hash"));
    }
    if header.index != index {
        return Ok(Err("it is another one than its name says"));
    }
    let folded = decode(&header, &data)
        .map_err(|source| ReadSnapshotError::UnknownState { file: disk.locate(path), source })?;
    Ok(Ok(folded))
}

fn decode(header: &Header, data: &[u8]) -> Result<Folded, postcard::Error> {
    let raw_bytes = usize::try_from(header.raw_bytes).expect("64-bit machines only");
    let raw = zstd::bulk::decompress(data, raw_bytes)
        .map_err(|_| postcard::Error::DeserializeUnexpectedEnd)?;
    let content: Content = postcard::from_bytes(&raw)?;
    let Content { output_end, state } = content;
    if state.applied() != header.index {
        return Err(postcard::Error::DeserializeBadEncoding);
    }
    Ok(Folded { state, output_end, term: Term(header.term) })
}
