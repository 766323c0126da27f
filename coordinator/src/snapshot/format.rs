//! Bytes of a snapshot.

use gridctl_core::effect::FactIndex;

/// The version of the format that is written.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Bytes before the data.
pub(crate) const HEADER_BYTES: usize = 80;
/// Bytes of the header that the hash covers.
const HASHED_BYTES: usize = 48;
const MAGIC: [u8; 8] = *b"GRIDSNAP";
const CODEC_ZSTD: u32 = 1;

/// A snapshot without its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) term: u64,
    pub(crate) index: FactIndex,
    pub(crate) raw_bytes: u64,
    pub(crate) packed_bytes: u64,
}

/// What the bytes at the start of a file are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ParsedHeader {
    Snapshot(Header, [u8; 32]),
    Bad,
    Newer { version: u32 },
}

impl Header {
    /// Writes the header; `hasher` has seen the data.
    pub(crate) fn encode(&self, mut hasher: blake3::Hasher) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&CODEC_ZSTD.to_le_bytes());
        let numbers = [self.term, self.index.0, self.raw_bytes, self.packed_bytes];
        for (place, number) in bytes[16..HASHED_BYTES].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        hasher.update(&bytes[..HASHED_BYTES]);
        bytes[HASHED_BYTES..].copy_from_slice(hasher.finalize().as_bytes());
        bytes
    }
}

/// Reads a header; whether its hash holds is seen once the data was read.
pub(crate) fn parse_header(bytes: &[u8; HEADER_BYTES]) -> ParsedHeader {
    let small = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if bytes[..8] != MAGIC {
        return ParsedHeader::Bad;
    }
    if small(8) > FORMAT_VERSION {
        return ParsedHeader::Newer { version: small(8) };
    }
    if small(8) != FORMAT_VERSION || small(12) != CODEC_ZSTD {
        return ParsedHeader::Bad;
    }
    let header = Header {
        term: number(16),
        index: FactIndex(number(24)),
        raw_bytes: number(32),
        packed_bytes: number(40),
    };
    ParsedHeader::Snapshot(header, bytes[HASHED_BYTES..].try_into().expect("32 bytes"))
}

/// Says whether header and data are those that were written.
pub(crate) fn is_whole(header: &[u8; HEADER_BYTES], hash: [u8; 32], data: &[u8]) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(data);
    hasher.update(&header[..HASHED_BYTES]);
    *hasher.finalize().as_bytes() == hash
}
