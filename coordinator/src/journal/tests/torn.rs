use super::*;
use crate::disk::CrashSeed;
use crate::journal::format::{Parsed, parse_frame};

/// Where frames end in a segment's bytes, with the index that each ends with.
fn frame_ends(bytes: &[u8], before: u64) -> Vec<(usize, u64)> {
    let (mut at, mut ends) = (0, vec![(0, before)]);
    while let Parsed::Frame { header, bytes: len, .. } = parse_frame(&bytes[at..]) {
        at += len;
        ends.push((at, header.index.0));
    }
    ends
}

#[test]
fn truncation_at_every_byte_recovers_exactly_the_whole_frames() {
    let disk = SimDisk::new();
    write(&mut open(&disk).unwrap().writer, 0, 40);
    let segments = segments(&disk);
    let (path, bytes) = segments.last().unwrap();
    let before = path[8..28].parse::<u64>().unwrap() - 1;
    let ends = frame_ends(bytes, before);
    assert!(ends.len() > 3 && segments.len() > 3, "too small a journal to mean anything");
    for len in 0..bytes.len() {
        let cut = disk.fork();
        cut.put(path, bytes[..len].to_vec());
        let (_, whole) = *ends.iter().rev().find(|(end, _)| *end <= len).unwrap();
        let mut opened = open(&cut).unwrap();
        assert_eq!(opened.facts, facts(whole), "cut at {len}");
        write(&mut opened.writer, whole, whole + 9);
        assert_eq!(open(&cut).unwrap().facts, facts(whole + 9), "written on after a cut at {len}");
    }
}

#[test]
fn truncated_earlier_segment_is_refused() {
    let disk = SimDisk::new();
    write(&mut open(&disk).unwrap().writer, 0, 40);
    let (path, bytes) = &segments(&disk)[1];
    let end = frame_ends(bytes, 0).last().unwrap().0;
    for len in 0..end {
        let cut = disk.fork();
        cut.put(path, bytes[..len].to_vec());
        let error = open(&cut).err().unwrap().to_string();
        assert!(error.contains(path.as_str()), "{error}");
    }
}

#[test]
fn what_was_committed_survives_a_crash_at_any_moment() {
    let (mut crashes, mut cuts) = (0, 0);
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new();
        let mut acknowledged = 0;
        for life in 0..4 {
            disk.crash_in(rng.u64(1..40));
            let Ok(mut opened) = open(&disk) else {
                assert!(disk.is_down(), "refused after a crash, seed {seed}, life {life}");
                disk.crash(CrashSeed(rng.u64(..)));
                continue;
            };
            let found = opened.facts.len() as u64;
            assert_eq!(opened.facts, facts(found), "seed {seed}");
            assert!(
                found >= acknowledged,
                "{acknowledged} acknowledged, {found} found, seed {seed}"
            );
            cuts += u64::from(opened.cut.is_some());
            for n in found + 1.. {
                opened.writer.stage(FactIndex(n), &fact(n));
                match opened.writer.commit() {
                    Ok(durable) => acknowledged = durable.0,
                    Err(_) => break,
                }
            }
            disk.crash(CrashSeed(rng.u64(..)));
            crashes += 1;
        }
    }
    assert!(crashes > 500 && cuts > 50, "{crashes} crashes, {cuts} torn tails");
}

#[test]
fn tail_that_was_torn_in_its_first_bytes_is_cut_too() {
    let disk = SimDisk::new();
    write(&mut open(&disk).unwrap().writer, 0, 1);
    let (path, mut bytes) = segments(&disk).remove(0);
    let end = frame_ends(&bytes, 0).last().unwrap().0;
    // The sector with the length never came, a later one did.
    bytes[end + 100..end + 140].fill(0xab);
    disk.put(&path, bytes);
    let opened = open(&disk).unwrap();
    let cut = opened.cut.unwrap();
    assert_eq!((cut.offset, cut.after), (end as u64, FactIndex(1)));
    assert_eq!(open(&disk).unwrap().cut, None);
}
