//! What a snapshot promises.

mod golden;

use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::{Fact, Kept, Place};

use super::files::Latest;
use super::*;
use crate::disk::{CrashSeed, Disk, SimDisk};
use crate::journal::Term;
use crate::results::BlockId;
use crate::testing::{done, failed, submitted};

fn kept(block: u32) -> Kept {
    let place = Place { segment: 3, block, offset: 5, crc: 6 };
    Kept { place, stdout_bytes: 1, stderr_bytes: 2, result_bytes: 3 }
}

fn facts() -> Vec<Fact> {
    vec![submitted(1, 9), done(1, 4, 2, kept(8)), failed(1, 5, 3, kept(2)), submitted(2, 1)]
}

fn folded(count: usize) -> Folded {
    let mut folded = Folded { term: Term(3), ..Folded::default() };
    for (index, fact) in (1..).map(FactIndex).zip(facts().iter().take(count)) {
        folded.apply(index, fact);
    }
    folded
}

fn read(disk: &SimDisk) -> Result<Latest, ReadSnapshotError> {
    latest(disk)
}

#[test]
fn what_was_written_is_read_back() {
    let disk = SimDisk::new();
    assert_eq!(read(&disk).unwrap().folded, None);
    write(&disk, &folded(4)).unwrap();
    let found = read(&disk).unwrap();
    assert_eq!(found.folded, Some(folded(4)));
    assert_eq!(found.folded.unwrap().output_end, Some(BlockId { segment: 3, block: 8 }));
    assert!(found.passed_over.is_empty());
}

#[test]
fn damaged_one_is_passed_over_for_the_one_before() {
    let disk = SimDisk::new();
    write(&disk, &folded(2)).unwrap();
    write(&disk, &folded(4)).unwrap();
    let path = path(FactIndex(4));
    let bytes = disk.content(&path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        disk.put(&path, flipped);
        match read(&disk) {
            Ok(found) => {
                assert_eq!(found.folded, Some(folded(2)), "bit {bit}");
                assert!(found.passed_over[0].file.ends_with(&path), "bit {bit}");
            }
            // A version that grew by the damage is refused as what it says it is.
            Err(ReadSnapshotError::Newer { version, .. }) => {
                assert!((8 * 8..12 * 8).contains(&bit) && version > 1, "bit {bit}");
            }
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    for len in 0..bytes.len() {
        disk.put(&path, bytes[..len].to_vec());
        assert_eq!(read(&disk).unwrap().folded, Some(folded(2)), "cut at {len}");
    }
}

#[test]
fn newer_format_is_refused_by_name() {
    let disk = SimDisk::new();
    write(&disk, &folded(4)).unwrap();
    let path = path(FactIndex(4));
    let mut bytes = disk.content(&path).unwrap();
    bytes[8] = 2;
    disk.put(&path, bytes);
    let error = read(&disk).unwrap_err();
    assert!(matches!(error, ReadSnapshotError::Newer { version: 2, .. }), "{error}");
    assert!(error.to_string().contains(&path), "{error}");
}

#[test]
fn crash_leaves_it_whole_or_not_there() {
    let (mut there, mut not_there) = (0, 0);
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new();
        write(&disk, &folded(2)).unwrap();
        disk.crash_in(rng.u64(1..12));
        let written = write(&disk, &folded(4)).is_ok();
        disk.crash(CrashSeed(rng.u64(..)));
        let found = read(&disk).unwrap();
        assert!(found.passed_over.is_empty(), "seed {seed}");
        let index = found.folded.unwrap().index();
        assert!(index == FactIndex(4) || index == FactIndex(2) && !written, "seed {seed}");
        if index == FactIndex(4) {
            there += 1;
        } else {
            not_there += 1;
        }
    }
    assert!(there > 20 && not_there > 20, "{there} there, {not_there} not");
}

#[test]
fn refusal_of_the_disk_is_the_error() {
    let disk = SimDisk::new();
    disk.set_failing_syncs(true);
    let disk: Arc<dyn Disk> = Arc::new(disk);
    assert_eq!(write(&*disk, &folded(1)).unwrap_err().action, crate::disk::DiskAction::Sync);
}
