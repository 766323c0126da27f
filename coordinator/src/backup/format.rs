//! Bytes of a backup.

/// The version of the format that is written.
pub(crate) const FORMAT_VERSION: u32 = 1;
pub(crate) const MAGIC: [u8; 8] = *b"GRIDBKUP";
/// Bytes before the first entry.
pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const KIND_FILE: u8 = 1;
pub(crate) const KIND_END: u8 = 2;
pub(crate) const HASH_BYTES: usize = 32;
/// Bytes of a file's name: directory, slash, and the longest that we give.
pub(crate) const NAME_BYTES_MAX: usize = 128;
/// Bytes that are read and sent at once.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// Directories that a backup holds files of, and single files.
pub(crate) const DIRS: [&str; 4] = ["snapshots", "journal", "results", "authority"];
pub(crate) const FILES: [&str; 2] = ["grid", "port"];

/// Writes the header.
pub(crate) fn header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes
}

/// Writes what comes before the bytes of a file.
pub(crate) fn file_head(name: &str, bytes: u64) -> Vec<u8> {
    let length = u16::try_from(name.len()).expect("names of ours are short");
    let mut head = vec![KIND_FILE];
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(&bytes.to_le_bytes());
    head
}

/// Writes the end, without its hash.
pub(crate) fn end(last: u64, taken_at_ms: u64) -> Vec<u8> {
    let mut end = vec![KIND_END];
    end.extend_from_slice(&last.to_le_bytes());
    end.extend_from_slice(&taken_at_ms.to_le_bytes());
    end
}

/// Says whether a file of that name belongs into a data directory: nothing else is ever written.
pub(crate) fn is_ours(name: &str) -> bool {
    let plain = |part: &str| {
        let ours = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(ours)
    };
    match name.split_once('/') {
        Some((dir, file)) => DIRS.contains(&dir) && plain(file),
        None => FILES.contains(&name),
    }
}
