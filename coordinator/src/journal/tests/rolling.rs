use super::*;

#[test]
fn journal_goes_on_over_segments_and_restarts() {
    let disk = SimDisk::new();
    for life in 0..12 {
        let mut opened = open(&disk).unwrap();
        assert_eq!(opened.facts, facts(life * 10));
        assert_eq!(opened.cut, None);
        write(&mut opened.writer, life * 10, life * 10 + 10);
    }
    assert!(segments(&disk).len() > 5);
}

#[test]
fn frame_larger_than_a_segment_gets_one_of_its_own_size() {
    let disk = SimDisk::new();
    let mut writer = open(&disk).unwrap().writer;
    write(&mut writer, 0, 2);
    for n in 3..200 {
        writer.stage(FactIndex(n), &fact(n));
    }
    assert!(writer.staged_bytes() as u64 > 3 * SEGMENT_BYTES);
    writer.commit().unwrap();
    write(&mut writer, 199, 210);
    assert_eq!(open(&disk).unwrap().facts, facts(210));
    assert!(segments(&disk).iter().any(|(_, bytes)| bytes.len() as u64 > 3 * SEGMENT_BYTES));
}

#[test]
fn segment_made_ahead_is_used() {
    let disk = SimDisk::new();
    let mut writer = open(&disk).unwrap().writer;
    let mut made = 0;
    for n in 1..60 {
        writer.stage(FactIndex(n), &fact(n));
        writer.commit().unwrap();
        if let Some(bytes) = writer.wants_next() {
            let disk = disk.clone();
            writer
                .adopt_next(Box::new(move || crate::journal::segment::prepare_next(&disk, bytes)));
            made += 1;
        }
    }
    assert!(made > 3);
    assert_eq!(open(&disk).unwrap().facts, facts(59));
}

#[test]
fn new_journal_begins_small_and_goes_on_in_whole_segments() {
    const WHOLE: u64 = 3 << 20;
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (space, base) = (no_reserve(&shared), Base::default());
    let found = recover(&shared, &space, WHOLE, base, FactIndex(0), &mut |_, _| {}).unwrap();
    let mut writer = found.writer;
    write(&mut writer, 0, 1);
    for n in 2..=2600 {
        writer.stage(FactIndex(n), &fact(n));
    }
    assert!(writer.staged_bytes() > 1 << 20, "too few facts to fill the first segment");
    writer.commit().unwrap();
    let bytes: Vec<usize> = segments(&disk).iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(bytes, [1 << 20, 3 << 20]);
    assert_eq!(open(&disk).unwrap().facts, facts(2600));
}

#[test]
fn empty_commit_writes_nothing() {
    let disk = SimDisk::new();
    let mut writer = open(&disk).unwrap().writer;
    let changes = disk.changes();
    assert_eq!(writer.commit().unwrap(), FactIndex(0));
    assert_eq!(disk.changes(), changes);
}

#[test]
#[should_panic(expected = "facts reach the journal in order")]
fn gap_in_the_facts_is_a_broken_invariant() {
    let mut writer = open(&SimDisk::new()).unwrap().writer;
    writer.stage(FactIndex(2), &fact(2));
}
