//! The bytes of version 1. A change here is a change of the format: old journals must stay readable.

use super::*;

/// What a segment begins with: a frame with one fact, and one with two.
const GOLDEN: &str = "5f0c5089370000000101010000000000000001000000000000000000000000000000061000000000\
    0000000000000000000000070101060301010106010209a0f993e43f000000010101000000000000\
    0003000000000000000100000000000000000383d095ffbc31061000000000000000000000000000\
    0000070104090304010409010209";

#[test]
fn frame_has_the_bytes_of_version_1() {
    let disk = SimDisk::new();
    let mut writer = open(&disk).unwrap().writer;
    writer.stage(FactIndex(1), &fact(1));
    writer.commit().unwrap();
    writer.stage(FactIndex(2), &fact(3));
    writer.stage(FactIndex(3), &fact(4));
    writer.commit().unwrap();
    let (path, bytes) = segments(&disk).remove(0);
    assert_eq!(path, "journal/00000000000000000001.log");
    assert_eq!(bytes.len() as u64, SEGMENT_BYTES);
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let hex: String = bytes[..used].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

#[test]
fn golden_bytes_are_read() {
    let bytes: Vec<u8> = (0..GOLDEN.len() / 2)
        .map(|at| u8::from_str_radix(&GOLDEN[at * 2..at * 2 + 2], 16).unwrap())
        .collect();
    let disk = SimDisk::new();
    disk.put("journal/00000000000000000001.log", bytes);
    assert_eq!(open(&disk).unwrap().facts, [fact(1), fact(3), fact(4)]);
}
