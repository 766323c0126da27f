//! The bytes of version 1. A change here is a change of the format, or of the state in it: what a released version
//! wrote must stay readable. `GRIDCTL_REWRITE=1` writes them anew.

use super::*;
use crate::snapshot::format::HEADER_BYTES;

const GOLDEN: &str = include_str!("version_1.txt");

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Everything but what depends on the version of the compressor: its output, the length of that, and the hash.
fn content(bytes: &[u8]) -> (&[u8], Vec<u8>) {
    let raw_bytes = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
    let raw = usize::try_from(raw_bytes).unwrap();
    (&bytes[..40], zstd::bulk::decompress(&bytes[HEADER_BYTES..], raw).unwrap())
}

#[test]
fn golden_snapshot_of_version_1_is_written_and_read() {
    let disk = SimDisk::new();
    write(&disk, &folded(4)).unwrap();
    let path = path(FactIndex(4));
    let written = disk.content(&path).unwrap();
    if std::env::var_os("GRIDCTL_REWRITE").is_some() {
        let hex: Vec<String> = written.iter().map(|byte| format!("{byte:02x}")).collect();
        let lines: Vec<String> = hex.chunks(40).map(<[String]>::concat).collect();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/snapshot/tests/version_1.txt");
        std::fs::write(file, lines.join("\n") + "\n").unwrap();
        return;
    }
    let golden = from_hex(GOLDEN);
    assert_eq!(content(&written), content(&golden));
    disk.put(&path, golden);
    assert_eq!(read(&disk).unwrap().folded, Some(folded(4)));
}
