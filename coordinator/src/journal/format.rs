//! Bytes of a frame.

use gridctl_core::effect::FactIndex;
use gridctl_jobs::planted::{Bug, is_on};

/// The version of the format that is written.
pub(crate) const FORMAT_VERSION: u8 = 1;

/// Whose decision a frame is: one coordinator's reign, where there are several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Term(pub(crate) u64);

impl Term {
    /// The term of a new journal, and the only one of a coordinator that always was alone.
    pub(crate) const SINGLE: Self = Self(1);
}

/// Bytes of a frame before its payload.
pub(crate) const HEADER_BYTES: usize = 34;
/// Bytes of the two fields that `len` does not count.
const PREFIX_BYTES: usize = 8;
/// What `len` is of a frame without a payload.
const LEN_MIN: usize = HEADER_BYTES - PREFIX_BYTES;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FrameKind {
    Facts,
    /// The segment ends here; another one follows.
    End,
}

/// A frame without its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) term: Term,
    pub(crate) index: FactIndex,
    pub(crate) durable: FactIndex,
}

/// What begins at some byte of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Parsed<'a> {
    Frame {
        header: FrameHeader,
        payload: &'a [u8],
        bytes: usize,
    },
    /// `len` is zero, or too few bytes are left for a `len`: no frame begins here.
    Nothing,
    Bad,
    /// Whole, but of a format that this program does not know.
    Newer {
        version: u8,
    },
}

impl FrameKind {
    const fn code(self) -> u8 {
        match self {
            Self::Facts => 1,
            Self::End => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Facts),
            2 => Some(Self::End),
            _ => None,
        }
    }
}

/// Leaves room in `frame` for a header; the payload goes after it.
pub(crate) fn begin_frame(frame: &mut Vec<u8>) {
    frame.clear();
    frame.resize(HEADER_BYTES, 0);
}

/// Fills in the header of a frame whose payload is complete.
///
/// # Panics
/// Where the payload passes 4 GiB; a group is bounded far below.
pub(crate) fn finish_frame(frame: &mut [u8], header: FrameHeader) {
    let len =
        u32::try_from(frame.len() - PREFIX_BYTES).expect("a frame is bounded far below 4 GiB");
    frame[4..8].copy_from_slice(&len.to_le_bytes());
    frame[8] = FORMAT_VERSION;
    frame[9] = header.kind.code();
    frame[10..18].copy_from_slice(&header.term.0.to_le_bytes());
    frame[18..26].copy_from_slice(&header.index.0.to_le_bytes());
    frame[26..34].copy_from_slice(&header.durable.0.to_le_bytes());
    let crc = crc32fast::hash(&frame[4..]);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the frame that begins with `bytes`, which run on to the end of the segment.
pub(crate) fn parse_frame(bytes: &[u8]) -> Parsed<'_> {
    let Some(len) = bytes.get(4..PREFIX_BYTES) else { return Parsed::Nothing };
    let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
    if len == 0 {
        return Parsed::Nothing;
    }
    let Some(frame) = bytes.get(..PREFIX_BYTES + len).filter(|_| len >= LEN_MIN) else {
        return Parsed::Bad;
    };
    let crc = u32::from_le_bytes(frame[..4].try_into().expect("four bytes"));
    if crc32fast::hash(&frame[4..]) != crc && !is_on(Bug::TornFrameAccepted) {
        return Parsed::Bad;
    }
    let version = frame[8];
    if version > FORMAT_VERSION {
        return Parsed::Newer { version };
    }
    match peek_header(frame) {
        Some(header) => {
            Parsed::Frame { header, payload: &frame[HEADER_BYTES..], bytes: frame.len() }
        }
        None => Parsed::Bad,
    }
}

/// Reads what would be a frame's header, without a look at its checksum.
pub(crate) fn peek_header(bytes: &[u8]) -> Option<FrameHeader> {
    let header = bytes.get(..HEADER_BYTES)?;
    if header[8] != FORMAT_VERSION {
        return None;
    }
    let kind = FrameKind::from_code(header[9])?;
    let number =
        |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    Some(FrameHeader {
        kind,
        term: Term(number(10)),
        index: FactIndex(number(18)),
        durable: FactIndex(number(26)),
    })
}
