//! Reads the journal back: all of it, or a refusal that names the place.

use std::path::PathBuf;
use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::Fact;
use gridctl_jobs::planted::{Bug, is_on};

use crate::disk::{Disk, DiskError, DiskFile, zero_fill};
use crate::snapshot::PassedOver;
use crate::space::Space;

use super::error::RecoverJournalError;
use super::format::{FrameHeader, FrameKind, Parsed, Term, parse_frame, peek_header};
use super::reading::segments_from;
use super::segment::{JOURNAL_DIR, segment_path};
use super::writer::{ActiveSegment, Writer};

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The last fact.
    pub last: FactIndex,
    /// The last fact of the snapshot that was read, where there was one.
    pub snapshot: Option<FactIndex>,
    /// Newer snapshots, which are damaged.
    pub passed_over: Vec<PassedOver>,
    /// The torn tail, where there was one.
    pub cut: Option<Cut>,
}

/// A write that was never acknowledged, and was not whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The segment.
    pub file: PathBuf,
    /// Where the cut was made, in bytes.
    pub offset: u64,
    /// The last fact before it.
    pub after: FactIndex,
}

/// From where on the journal is wanted: what a snapshot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Base {
    /// The last fact that is known already.
    pub(crate) index: FactIndex,
    pub(crate) term: Term,
}

/// What the journal is found to be.
pub(crate) struct Found {
    pub(crate) writer: Writer,
    pub(crate) last: FactIndex,
    pub(crate) cut: Option<Cut>,
    /// Of the frames that were read.
    pub(crate) tail_bytes: u64,
}

/// Reads the journal, hands each fact after `base` to `apply` in order, repairs a torn tail, and finds a writer
/// that goes on from there. `known_durable` is what is known from elsewhere to have been durable.
///
/// # Errors
/// [`RecoverJournalError`]; nothing was changed on disk then, unless the repair itself failed.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    space: &Arc<Space>,
    segment_bytes: u64,
    base: Base,
    known_durable: FactIndex,
    apply: &mut dyn FnMut(FactIndex, Fact),
) -> Result<Found, RecoverJournalError> {
    disk.make_dir(JOURNAL_DIR)?;
    let segments = segments_from(&**disk, base.index)?;
    let mut log = Log {
        disk: &**disk,
        base,
        last: FactIndex(segments.first().map_or(0, |first| first.0 - 1)),
        durable: known_durable.max(base.index),
        term: Term(0),
        apply,
        tail_bytes: 0,
    };
    let mut tail = None;
    for (place, first) in segments.iter().enumerate() {
        let next = segments.get(place + 1).copied();
        tail = Some(log.read_segment(*first, next)?);
    }
    let last = log.last;
    let Some(tail) = tail else {
        log.check_nothing_lost(segment_path(FactIndex(1)), 0)?;
        let space = Arc::clone(space);
        let writer = Writer::begin(Arc::clone(disk), space, segment_bytes, last, log.term)?;
        return Ok(Found { writer, last, cut: None, tail_bytes: 0 });
    };
    log.check_nothing_lost(tail.path.clone(), tail.end)?;
    let cut =
        tail.torn.then(|| Cut { file: disk.locate(&tail.path), offset: tail.end, after: last });
    let (term, tail_bytes) = (log.term.max(base.term), log.tail_bytes);
    space.with_reserve(|| tail.repair())?;
    disk.sync_dir(JOURNAL_DIR)?;
    let space = Arc::clone(space);
    let writer = if tail.finished {
        Writer::begin(Arc::clone(disk), space, segment_bytes, last, term)?
    } else {
        // One that was shortened has little room left, and gets a successor soon.
        let active = ActiveSegment {
            file: tail.file,
            offset: tail.end,
            bytes: tail.file_bytes,
            is_ended: false,
        };
        Writer::resume(Arc::clone(disk), space, segment_bytes, active, last, term)
    };
    Ok(Found { writer, last, cut, tail_bytes })
}

/// The log as far as it was read.
struct Log<'a> {
    disk: &'a dyn Disk,
    base: Base,
    last: FactIndex,
    /// Known to have been durable.
    durable: FactIndex,
    term: Term,
    apply: &'a mut dyn FnMut(FactIndex, Fact),
    tail_bytes: u64,
}

/// How the last segment ends.
struct Tail {
    path: String,
    file: Arc<dyn DiskFile>,
    file_bytes: u64,
    /// Where the last frame begins, and its bytes.
    last_frame: Option<(u64, Vec<u8>)>,
    /// After the last frame.
    end: u64,
    /// With a frame that says so.
    finished: bool,
    /// Something that is no frame comes after the last one.
    torn: bool,
}

impl Log<'_> {
    fn read_segment(
        &mut self,
        first: FactIndex,
        next: Option<FactIndex>,
    ) -> Result<Tail, RecoverJournalError> {
        let path = segment_path(first);
        if first.0 != self.last.0 + 1 {
            return Err(RecoverJournalError::Missing {
                file: self.disk.locate(&path),
                expected: FactIndex(self.last.0 + 1),
            });
        }
        let file = self.disk.open(&path)?;
        let file_bytes = file.len()?;
        let mut bytes = vec![0; usize::try_from(file_bytes).expect("64-bit machines only")];
        file.read_exact_at(0, &mut bytes)?;
        let (mut at, mut last_frame, mut finished) = (0, None, false);
        while !finished {
            match parse_frame(&bytes[at..]) {
                Parsed::Frame { header, payload, bytes: frame_bytes } => {
                    self.take_frame(&path, at, header, payload)?;
                    last_frame = Some(at);
                    at += frame_bytes;
                    finished = header.kind == FrameKind::End;
                }
                Parsed::Newer { version } => {
                    return Err(RecoverJournalError::Newer {
                        file: self.disk.locate(&path),
                        offset: at as u64,
                        version,
                    });
                }
                Parsed::Nothing | Parsed::Bad => break,
            }
        }
        // What comes after the end of a segment is never read.
        let torn = !finished && bytes[at..].iter().any(|byte| *byte != 0);
        if torn && let Some(later) = self.find_later(&bytes[at + 1..]) {
            return Err(RecoverJournalError::Damaged {
                file: self.disk.locate(&path),
                offset: at as u64,
                later,
            });
        }
        if let Some(next) = next.filter(|_| !finished) {
            return Err(RecoverJournalError::Unfinished {
                file: self.disk.locate(&path),
                offset: at as u64,
                next: self.disk.locate(&segment_path(next)),
            });
        }
        let last_frame = last_frame.map(|start| (start as u64, bytes[start..at].to_vec()));
        Ok(Tail { path, file, file_bytes, last_frame, end: at as u64, finished, torn })
    }

    fn take_frame(
        &mut self,
        path: &str,
        at: usize,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), RecoverJournalError> {
        let offset = at as u64;
        let expected = FactIndex(self.last.0 + 1);
        let facts = decode_facts(payload).map_err(|source| RecoverJournalError::UnknownFact {
            file: self.disk.locate(path),
            offset,
            source,
        })?;
        let since_base = header.index > self.base.index;
        let in_order = header.index.0 == self.last.0 + facts.len() as u64
            && header.durable <= self.last
            && header.term >= self.term
            && (!since_base || header.term >= self.base.term);
        if !in_order {
            return Err(RecoverJournalError::OutOfOrder {
                file: self.disk.locate(path),
                offset,
                expected,
                found: header.index,
            });
        }
        for (index, fact) in (expected.0..).map(FactIndex).zip(facts) {
            if index > self.base.index {
                (self.apply)(index, fact);
            }
        }
        if since_base {
            self.tail_bytes += payload.len() as u64;
        }
        self.last = header.index;
        self.durable = self.durable.max(header.durable);
        self.term = header.term;
        Ok(())
    }

    /// Looks at every byte for a frame that belongs behind what was read so far.
    fn find_later(&self, rest: &[u8]) -> Option<FactIndex> {
        // A fact takes a byte at least; an index further off is chance, or someone's data.
        let reach = FactIndex(self.last.0.saturating_add(rest.len() as u64));
        let belongs = |header: &FrameHeader| {
            header.term >= self.term && (self.last..=reach).contains(&header.index)
        };
        // The checksum comes last: over any few bytes that look like a length it would take for ever.
        (0..rest.len())
            .filter(|at| peek_header(&rest[*at..]).is_some_and(|header| belongs(&header)))
            .find_map(|at| match parse_frame(&rest[at..]) {
                Parsed::Frame { header, .. } => Some(header.index),
                Parsed::Newer { .. } | Parsed::Nothing | Parsed::Bad => None,
            })
    }

    fn check_nothing_lost(&self, path: String, offset: u64) -> Result<(), RecoverJournalError> {
        if self.last >= self.durable {
            return Ok(());
        }
        let (last, durable) = (self.last, self.durable);
        Err(RecoverJournalError::LostDurable {
            file: self.disk.locate(&path),
            offset,
            last,
            durable,
        })
    }
}

impl Tail {
    /// Overwrites a torn tail, and makes the last frame durable for certain.
    fn repair(&self) -> Result<(), DiskError> {
        if self.torn {
            zero_fill(&*self.file, self.end, self.file_bytes)?;
        }
        if is_on(Bug::LastFrameTrusted) {
            return Ok(());
        }
        if let Some((offset, frame)) = &self.last_frame {
            self.file.write_all_at(*offset, frame)?;
        }
        self.file.sync_data()
    }
}

/// Reads the facts of a frame.
pub(crate) fn decode_facts(payload: &[u8]) -> Result<Vec<Fact>, postcard::Error> {
    let mut facts = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let (fact, after) = postcard::take_from_bytes::<Fact>(rest)?;
        facts.push(fact);
        rest = after;
    }
    Ok(facts)
}
