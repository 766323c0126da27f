//! Bytes of a block.

use gridctl_core::effect::FactIndex;
use gridctl_jobs::limits::{OUTPUT_BYTES_MAX, RESULT_BYTES_MAX};

use super::error::Damage;

/// The version of the format that is written.
pub(crate) const FORMAT_VERSION: u8 = 1;
/// Bytes of a block before its data.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes of one record: standard output, standard error and a result, each at its largest.
pub(crate) const RECORD_BYTES_MAX: usize = 2 * OUTPUT_BYTES_MAX + RESULT_BYTES_MAX;

const CODEC_ZSTD: u8 = 1;
/// Half the time of level 3 for nearly the same size on text.
const ZSTD_LEVEL: i32 = 1;

/// A block without its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockHeader {
    pub(crate) block: u32,
    pub(crate) raw_bytes: u32,
    pub(crate) packed_bytes: u32,
    pub(crate) data_crc: u32,
    pub(crate) durable: FactIndex,
}

/// What the bytes at the start of a block are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ParsedHeader {
    Block(BlockHeader),
    Bad,
    Newer { version: u8 },
}

/// Compresses `raw` into a whole block.
///
/// # Panics
/// Where `raw` is larger than any record; appending holds that bound.
pub(crate) fn encode_block(block: u32, raw: &[u8], durable: FactIndex) -> Vec<u8> {
    let data = zstd::bulk::compress(raw, ZSTD_LEVEL)
        .expect("compressing in memory into a buffer that grows");
    let field =
        |bytes: usize| u32::try_from(bytes).expect("blocks are bounded by the largest record");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + data.len());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[FORMAT_VERSION, CODEC_ZSTD, 0, 0]);
    for number in [block, field(raw.len()), field(data.len()), crc32fast::hash(&data)] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&durable.0.to_le_bytes());
    let crc = crc32fast::hash(&bytes[4..HEADER_BYTES]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&data);
    bytes
}

/// Reads a header.
pub(crate) fn parse_header(bytes: &[u8; HEADER_BYTES]) -> ParsedHeader {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if crc32fast::hash(&bytes[4..]) != number(0) {
        return ParsedHeader::Bad;
    }
    if bytes[4] > FORMAT_VERSION {
        return ParsedHeader::Newer { version: bytes[4] };
    }
    let header = BlockHeader {
        block: number(8),
        raw_bytes: number(12),
        packed_bytes: number(16),
        data_crc: number(20),
        durable: FactIndex(u64::from_le_bytes(bytes[24..].try_into().expect("eight bytes"))),
    };
    let known = bytes[4] == FORMAT_VERSION && bytes[5] == CODEC_ZSTD;
    if known && header.raw_bytes as usize <= RECORD_BYTES_MAX {
        ParsedHeader::Block(header)
    } else {
        ParsedHeader::Bad
    }
}

/// Checks and decompresses the data of a block.
pub(crate) fn decode_data(header: &BlockHeader, data: &[u8]) -> Result<Vec<u8>, Damage> {
    if crc32fast::hash(data) != header.data_crc {
        return Err(Damage::Data);
    }
    let raw = zstd::bulk::decompress(data, header.raw_bytes as usize).map_err(|_| Damage::Data)?;
    if raw.len() == header.raw_bytes as usize { Ok(raw) } else { Err(Damage::Data) }
}
