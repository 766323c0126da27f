use super::*;

#[test]
fn flipped_bit_is_refused_or_cuts_the_last_frame_only() {
    let disk = SimDisk::new();
    write(&mut open(&disk).unwrap().writer, 0, 16);
    let whole = facts(16);
    let without_last_frame = facts(14);
    let (mut refused, mut cut, mut harmless) = (0, 0, 0);
    for (path, bytes) in segments(&disk) {
        for bit in 0..bytes.len() * 8 {
            let damaged = disk.fork();
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            damaged.put(&path, flipped);
            let before = segments(&damaged);
            match open(&damaged) {
                Ok(opened) if opened.facts == whole => harmless += 1,
                Ok(opened) => {
                    assert_eq!(opened.facts, without_last_frame, "{path}, bit {bit}");
                    assert!(opened.cut.is_some());
                    cut += 1;
                }
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.contains(&path), "{message}");
                    assert_eq!(
                        segments(&damaged),
                        before,
                        "changed something and refused: {message}"
                    );
                    refused += 1;
                }
            }
        }
    }
    assert!(
        refused > 1000 && cut > 300 && harmless > 1000,
        "{refused} refused, {cut} cut, {harmless} harmless"
    );
}

#[test]
fn newer_format_is_refused_and_nothing_is_written() {
    let disk = SimDisk::new();
    write(&mut open(&disk).unwrap().writer, 0, 2);
    let (path, mut bytes) = segments(&disk).remove(0);
    bytes[8] = 2;
    let len = 8 + usize::try_from(u32::from_le_bytes(bytes[4..8].try_into().unwrap())).unwrap();
    let crc = crc32fast::hash(&bytes[4..len]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    disk.put(&path, bytes.clone());
    let changes = disk.changes();
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, RecoverJournalError::Newer { offset: 0, version: 2, .. }), "{error}");
    assert_eq!((disk.changes(), segments(&disk)), (changes, vec![(path, bytes)]));
}

#[test]
fn log_that_ends_below_what_was_durable_is_refused() {
    let disk = SimDisk::new();
    write(&mut open(&disk).unwrap().writer, 0, 4);
    assert_eq!(open_knowing(&disk, FactIndex(4)).unwrap().facts, facts(4));
    let error = open_knowing(&disk, FactIndex(5)).err().unwrap();
    assert!(
        matches!(error, RecoverJournalError::LostDurable { last: FactIndex(4), .. }),
        "{error}"
    );
    let error = open_knowing(&SimDisk::new(), FactIndex(5)).err().unwrap();
    assert!(
        matches!(error, RecoverJournalError::LostDurable { last: FactIndex(0), .. }),
        "{error}"
    );
}

#[test]
fn missing_segment_is_refused_by_name() {
    let disk = SimDisk::new();
    write(&mut open(&disk).unwrap().writer, 0, 40);
    let segments = segments(&disk);
    for (path, _) in &segments[..segments.len() - 1] {
        let gap = disk.fork();
        gap.remove(path).unwrap();
        let error = open(&gap).err().unwrap();
        let (RecoverJournalError::Missing { file: named, .. }
        | RecoverJournalError::NoSnapshot { file: named, .. }) = &error
        else {
            panic!("{error}")
        };
        assert!(named.display().to_string().contains("journal/"), "{error}");
    }
}

#[test]
fn frame_in_the_wrong_place_is_refused() {
    let disk = SimDisk::new();
    write(&mut open(&disk).unwrap().writer, 0, 40);
    let segments = segments(&disk);
    let swapped = disk.fork();
    swapped.put(&segments[1].0, segments[0].1.clone());
    let error = open(&swapped).err().unwrap();
    assert!(matches!(error, RecoverJournalError::OutOfOrder { offset: 0, .. }), "{error}");
}

#[test]
fn fact_of_an_unknown_kind_is_refused_with_its_place() {
    use crate::journal::format::{FrameHeader, FrameKind, Term, begin_frame, finish_frame};
    let disk = SimDisk::new();
    open(&disk).unwrap();
    let (path, mut bytes) = segments(&disk).remove(0);
    let mut frame = Vec::new();
    begin_frame(&mut frame);
    frame.push(200);
    let header = FrameHeader {
        kind: FrameKind::Facts,
        term: Term::SINGLE,
        index: FactIndex(1),
        durable: FactIndex(0),
    };
    finish_frame(&mut frame, header);
    bytes[..frame.len()].copy_from_slice(&frame);
    disk.put(&path, bytes);
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, RecoverJournalError::UnknownFact { offset: 0, .. }), "{error}");
}

#[test]
fn journal_goes_on_in_the_term_that_it_was_left_in() {
    use crate::journal::format::{FrameHeader, FrameKind, Term, begin_frame, finish_frame};
    let disk = SimDisk::new();
    open(&disk).unwrap();
    let (path, mut bytes) = segments(&disk).remove(0);
    let mut frame = Vec::new();
    begin_frame(&mut frame);
    frame = postcard::to_extend(&fact(1), frame).unwrap();
    let (term, index) = (Term(7), FactIndex(1));
    let header = FrameHeader { kind: FrameKind::Facts, term, index, durable: FactIndex(0) };
    finish_frame(&mut frame, header);
    bytes[..frame.len()].copy_from_slice(&frame);
    disk.put(&path, bytes);
    write(&mut open(&disk).unwrap().writer, 1, 40);
    assert!(segments(&disk).len() > 3);
    // Were it to go on in term 1, this would be out of order.
    assert_eq!(open(&disk).unwrap().facts, facts(40));
    let (_, last) = segments(&disk).pop().unwrap();
    assert_eq!(last[10..18], 7u64.to_le_bytes());
}
