//! A disk without room: the same write goes on once there is some, in its order, and nothing is lost meanwhile.

use std::time::Duration;

use super::*;
use crate::disk::CrashSeed;
use crate::journal::{Durability, FactGroup, JournalThread, Store, StoreConfig};
use crate::results::{Part, ResultsConfig};

/// Far longer than anything takes; a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

fn config() -> StoreConfig {
    let results = ResultsConfig { block_bytes: 100, segment_bytes: 1000, buffered_bytes_max: 1000 };
    let space = SpaceConfig { reserve_bytes: 1600, kept_free_bytes: 0 };
    StoreConfig { segment_bytes: SEGMENT_BYTES, results, space, ..StoreConfig::default() }
}

fn open_store(disk: &SimDisk) -> (Store, Vec<Fact>) {
    let mut facts = Vec::new();
    let opened = Store::open(Arc::new(disk.clone()), config(), &mut |_, fact| {
        facts.push(fact.clone());
    });
    (opened.unwrap().store, facts)
}

fn group(n: u64, fact: Fact) -> FactGroup {
    FactGroup::new(vec![(FactIndex(n), fact)]).unwrap()
}

/// As much as no compression makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect()
}

/// Takes all the room that there is now.
fn fill(disk: &SimDisk) {
    const MUCH: u64 = 1 << 40;
    disk.set_capacity(Some(MUCH));
    disk.set_capacity(Some(MUCH - disk.free().unwrap().bytes));
}

/// Commits until there is no room; returns the fact that found none.
fn commit_until_full(store: &mut Store, from: u64) -> u64 {
    for n in from.. {
        store.stage(&group(n, fact(n)));
        match store.commit() {
            Ok(durable) => assert_eq!(durable, FactIndex(n)),
            Err(error) => {
                assert!(error.is_no_room(), "{error}");
                return n;
            }
        }
    }
    unreachable!("no disk is that large")
}

#[test]
fn write_that_found_no_room_goes_on_in_its_order_once_there_is_some() {
    let disk = SimDisk::new();
    let (mut store, _) = open_store(&disk);
    store.space().tend();
    fill(&disk);
    let first = commit_until_full(&mut store, 1);
    assert_eq!(store.space().reserve_files(), 0, "the reserve was used");
    assert!(store.space().is_waiting());
    assert!(store.commit().unwrap_err().is_no_room());
    assert_eq!(store.durable(), FactIndex(first - 1), "what found no room is not durable");
    disk.set_capacity(None);
    assert_eq!(store.commit().unwrap(), FactIndex(first));
    assert!(!store.space().is_waiting());
    let last = first + 30;
    for n in first + 1..=last {
        store.stage(&group(n, fact(n)));
        store.commit().unwrap();
    }
    drop(store);
    disk.crash(CrashSeed(1));
    assert_eq!(open_store(&disk).1, facts(last));
}

#[test]
fn every_crash_while_there_is_no_room_keeps_exactly_what_was_durable() {
    for seed in 0..200 {
        let disk = SimDisk::new();
        let (mut store, _) = open_store(&disk);
        let full_at = 1 + seed % 12;
        for n in 1..=full_at {
            store.stage(&group(n, fact(n)));
            store.commit().unwrap();
        }
        let used: u64 = segments(&disk).iter().map(|(_, bytes)| bytes.len() as u64).sum();
        // Some bytes are left: writes that grow a file are cut in the middle.
        disk.set_capacity(Some(used + seed * 7));
        let found_none = commit_until_full(&mut store, full_at + 1);
        let _ = store.commit();
        drop(store);
        disk.crash(CrashSeed(seed));
        disk.set_capacity(None);
        let (mut store, facts) = open_store(&disk);
        assert_eq!(facts, super::facts(found_none - 1), "seed {seed}");
        store.stage(&group(found_none, fact(found_none)));
        store.commit().unwrap();
    }
}

#[test]
fn start_on_a_full_disk_gives_the_reserve_up() {
    let disk = SimDisk::new();
    let (mut store, _) = open_store(&disk);
    store.space().tend();
    let mut last = 0;
    while segments(&disk).len() < 2 {
        last += 1;
        store.stage(&group(last, fact(last)));
        store.commit().unwrap();
    }
    drop(store);
    // As after a crash between the end of a segment and the making of the next one.
    disk.remove(&segments(&disk)[1].0).unwrap();
    fill(&disk);
    let (mut store, found) = open_store(&disk);
    assert_eq!(found, facts(last - 1));
    assert_eq!(store.space().reserve_files(), 10, "a segment of 600 bytes was made of it");
    let found_none = commit_until_full(&mut store, last);
    assert!(found_none > last + 3, "{found_none} follows {last}");
    drop(store);
    assert_eq!(open_store(&disk).1, facts(found_none - 1));
}

#[test]
fn read_only_disk_is_one_without_room() {
    let disk = SimDisk::new();
    let (mut store, _) = open_store(&disk);
    store.stage(&group(1, fact(1)));
    disk.set_read_only(true);
    assert!(store.commit().unwrap_err().is_no_room());
    disk.set_read_only(false);
    assert_eq!(store.commit().unwrap(), FactIndex(1));
}

#[test]
fn sync_that_fails_for_want_of_room_is_final() {
    let disk = SimDisk::new();
    let (mut store, _) = open_store(&disk);
    store.stage(&group(1, fact(1)));
    disk.set_failing_syncs(true);
    assert!(!store.commit().unwrap_err().is_no_room());
    disk.set_failing_syncs(false);
    assert!(!store.commit().unwrap_err().is_no_room(), "nothing is tried twice");
}

#[test]
fn output_that_found_no_room_is_written_whole_later_and_memory_is_bounded() {
    let disk = SimDisk::new();
    let (mut store, _) = open_store(&disk);
    let results = Arc::clone(store.results());
    fill(&disk);
    let outputs: Vec<Vec<u8>> = (0..8).map(|n| noise(300 + n)).collect();
    let mut kept = Vec::new();
    let refused = loop {
        match results.append(&outputs[kept.len()], b"", b"") {
            Ok(there) => kept.push(there),
            Err(error) => break error,
        }
    };
    assert!(refused.is_no_room(), "{refused}");
    assert!((2..8).contains(&kept.len()), "{} records in memory", kept.len());
    for (n, kept) in (1..).zip(&kept) {
        store.stage(&group(n, done(n, *kept)));
    }
    assert!(store.commit().unwrap_err().is_no_room());
    for (kept, output) in kept.iter().zip(&outputs) {
        assert_eq!(&results.read(kept, Part::Stdout).unwrap(), output, "reads go on");
    }
    disk.set_capacity(Some(100_000));
    let last = store.commit().unwrap();
    assert_eq!(last.0, kept.len() as u64);
    results.append(&outputs[0], b"", b"").unwrap();
    drop((store, results));
    disk.crash(CrashSeed(3));
    let (store, facts) = open_store(&disk);
    assert_eq!(facts.len() as u64, last.0);
    for (kept, output) in kept.iter().zip(&outputs) {
        assert_eq!(&store.results().read(kept, Part::Stdout).unwrap(), output);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, future).await.expect("the journal goes on")
    })
}

#[test]
fn thread_waits_for_room_acknowledges_nothing_meanwhile_and_goes_on() {
    let disk = SimDisk::new();
    let (store, _) = open_store(&disk);
    let space = Arc::clone(store.space());
    let (sender, thread) = JournalThread::spawn(store).unwrap();
    fill(&disk);
    block_on(async {
        for n in 1..=40 {
            sender.send(group(n, fact(n))).await.unwrap();
        }
        while !space.is_waiting() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let durable = sender.durability().borrow().durable();
        assert!(durable < FactIndex(40), "{durable:?}");
        disk.set_capacity(None);
        space.tend();
        sender.durability().wait_for(|state| state.durable() == FactIndex(40)).await.unwrap();
    });
    drop(sender);
    thread.join().unwrap();
    assert_eq!(open_store(&disk).1, facts(40));
}

#[test]
fn thread_that_is_to_stop_waits_for_room_no_longer() {
    let disk = SimDisk::new();
    let (store, _) = open_store(&disk);
    let space = Arc::clone(store.space());
    let (sender, thread) = JournalThread::spawn(store).unwrap();
    fill(&disk);
    block_on(async {
        for n in 1..=40 {
            sender.send(group(n, fact(n))).await.unwrap();
        }
    });
    space.stop_waiting();
    let durability = sender.durability();
    drop(sender);
    assert!(thread.join().unwrap_err().is_no_room());
    let durable = durability.borrow().durable();
    assert!(matches!(&*durability.borrow(), Durability::Failed { .. }));
    assert_eq!(open_store_when_there_is_room(&disk), facts(durable.0));
}

fn open_store_when_there_is_room(disk: &SimDisk) -> Vec<Fact> {
    disk.set_capacity(None);
    open_store(disk).1
}
