//! Reads facts that are durable out of the segments, while the journal is written on.

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::Fact;

use crate::disk::Disk;

use super::error::RecoverJournalError;
use super::format::{FrameKind, Parsed, Term, parse_frame};
use super::recovery::decode_facts;
use super::segment::{list, segment_path};

/// Lists the segments that hold facts after `base`, by the index of their first fact.
///
/// # Errors
/// [`RecoverJournalError::NoSnapshot`] where facts after `base` are not there any more.
pub(crate) fn segments_from(
    disk: &dyn Disk,
    base: FactIndex,
) -> Result<Vec<FactIndex>, RecoverJournalError> {
    let mut segments = list(disk)?;
    let needed = segments.partition_point(|first| first.0 <= base.0 + 1);
    if needed == 0
        && let Some(first) = segments.first()
    {
        let file = disk.locate(&segment_path(*first));
        return Err(RecoverJournalError::NoSnapshot { file, after: FactIndex(first.0 - 1) });
    }
    Ok(segments.split_off(needed.saturating_sub(1)))
}

/// How far the journal was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ReadTo {
    /// The last segment that was read.
    pub(crate) segment: FactIndex,
    /// Behind the last frame.
    pub(crate) offset: u64,
    /// Of the last frame.
    pub(crate) term: Term,
}

/// Hands each fact after `base` and up to `durable`, which all are durable, to `apply`, in order.
///
/// # Errors
/// [`RecoverJournalError`] where the disk refuses, or something durable is damaged.
pub(crate) fn read_facts(
    disk: &dyn Disk,
    base: FactIndex,
    durable: FactIndex,
    apply: &mut dyn FnMut(FactIndex, &Fact),
) -> Result<ReadTo, RecoverJournalError> {
    let mut read = ReadTo::default();
    let mut last = FactIndex(0);
    for first in segments_from(disk, base)? {
        let path = segment_path(first);
        let file = disk.open(&path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).expect("64-bit machines only")];
        file.read_exact_at(0, &mut bytes)?;
        last = FactIndex(first.0 - 1);
        read = ReadTo { segment: first, offset: 0, ..read };
        let mut at = 0;
        while last < durable {
            let Parsed::Frame { header, payload, bytes: frame_bytes } = parse_frame(&bytes[at..])
            else {
                let (file, offset) = (disk.locate(&path), at as u64);
                return Err(RecoverJournalError::LostDurable { file, offset, last, durable });
            };
            at += frame_bytes;
            read = ReadTo { segment: first, offset: at as u64, term: header.term };
            if header.kind == FrameKind::End {
                break;
            }
            let facts =
                decode_facts(payload).map_err(|source| RecoverJournalError::UnknownFact {
                    file: disk.locate(&path),
                    offset: (at - frame_bytes) as u64,
                    source,
                })?;
            for (index, fact) in (last.0 + 1..).map(FactIndex).zip(&facts) {
                if index > base {
                    apply(index, fact);
                }
            }
            last = header.index;
        }
        if last >= durable {
            return Ok(read);
        }
    }
    let file = disk.locate(&segment_path(read.segment));
    Err(RecoverJournalError::LostDurable { file, offset: read.offset, last, durable })
}

/// Returns the segments that hold facts up to `durable`, with the bytes of each that their frames take.
///
/// # Errors
/// [`RecoverJournalError`] where the disk refuses, or something durable is damaged.
pub(crate) fn durable_lengths(
    disk: &dyn Disk,
    durable: FactIndex,
) -> Result<Vec<(String, u64)>, RecoverJournalError> {
    let mut lengths = Vec::new();
    for first in list(disk)?.into_iter().take_while(|first| first.0 <= durable.0.max(1)) {
        let path = segment_path(first);
        let file = disk.open(&path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).expect("64-bit machines only")];
        file.read_exact_at(0, &mut bytes)?;
        let (mut at, mut last) = (0, FactIndex(first.0 - 1));
        while last < durable
            && let Parsed::Frame { header, bytes: frame_bytes, .. } = parse_frame(&bytes[at..])
        {
            at += frame_bytes;
            last = header.index;
            if header.kind == FrameKind::End {
                break;
            }
        }
        lengths.push((path, at as u64));
    }
    Ok(lengths)
}
