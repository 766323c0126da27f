use std::time::Duration;

use super::*;
use crate::disk::RealDisk;
use crate::journal::{CommitError, Durability, FactGroup, JournalThread, Store, StoreConfig};
use crate::results::Part;
use crate::space::SpaceConfig;
use crate::testing;

/// Far longer than any disk takes; a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(30);

fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: SEGMENT_BYTES,
        space: SpaceConfig { reserve_bytes: 0, kept_free_bytes: 0 },
        ..StoreConfig::default()
    }
}

fn open_store(disk: Arc<dyn Disk>) -> (Store, Vec<Fact>) {
    let mut facts = Vec::new();
    let see = &mut |_, fact: &Fact| facts.push(fact.clone());
    let store = Store::open(disk, config(), see).unwrap().store;
    (store, facts)
}

fn group(n: u64, fact: Fact) -> FactGroup {
    FactGroup::new(vec![(FactIndex(n), fact)]).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, future).await.expect("the journal goes on")
    })
}

#[test]
fn what_the_thread_calls_durable_is_read_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (store, _) = open_store(Arc::clone(&disk));
    let results = Arc::clone(store.results());
    let (sender, thread) = JournalThread::spawn(store).unwrap();
    let kept = results.append(b"out", b"err", b"result").unwrap();
    block_on(async {
        for n in 1..=99 {
            sender.send(group(n, fact(n))).await.unwrap();
        }
        sender.send(group(100, done(100, kept))).await.unwrap();
        sender.durability().wait_for(|state| state.durable() == FactIndex(100)).await.unwrap();
    });
    drop(sender);
    thread.join().unwrap();
    let (store, facts) = open_store(disk);
    assert_eq!(facts.len(), 100);
    assert_eq!(facts[99], done(100, kept));
    assert_eq!(store.results().read(&kept, Part::Stdout).unwrap(), b"out");
    assert_eq!(store.results().read(&kept, Part::Stderr).unwrap(), b"err");
    assert_eq!(store.results().read(&kept, Part::Result).unwrap(), b"result");
}

#[test]
fn failed_sync_ends_the_journal_at_once_and_acknowledges_nothing_more() {
    let disk = SimDisk::new();
    let (store, _) = open_store(Arc::new(disk.clone()));
    let (sender, thread) = JournalThread::spawn(store).unwrap();
    block_on(async {
        sender.send(group(1, fact(1))).await.unwrap();
        let mut durability = sender.durability();
        durability.wait_for(|state| state.durable() == FactIndex(1)).await.unwrap();
        disk.set_failing_syncs(true);
        sender.send(group(2, fact(2))).await.unwrap();
        let failed = durability
            .wait_for(|state| !matches!(state, Durability::Running { .. }))
            .await
            .unwrap();
        assert_eq!(failed.durable(), FactIndex(1));
        disk.set_failing_syncs(false);
        // The channel closes as soon as the thread is gone.
        while sender.send(group(3, fact(3))).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    let error = thread.join().unwrap_err();
    assert!(matches!(&*error, CommitError::Journal { durable: FactIndex(1), .. }), "{error}");
    assert!(error.to_string().contains("after fact 1"), "{error}");
}

#[test]
fn store_that_failed_never_tries_again() {
    let disk = SimDisk::new();
    let (mut store, _) = open_store(Arc::new(disk.clone()));
    store.stage(&group(1, fact(1)));
    disk.set_failing_syncs(true);
    store.commit().unwrap_err();
    disk.set_failing_syncs(false);
    let changes = disk.changes();
    assert!(matches!(store.commit(), Err(CommitError::FailedBefore)));
    assert_eq!(disk.changes(), changes);
}

#[test]
fn output_is_synced_before_the_frame_that_names_it() {
    for crash in 1..12 {
        let disk = SimDisk::new();
        let (mut store, _) = open_store(Arc::new(disk.clone()));
        let kept = store.results().append(b"out", b"", b"").unwrap();
        store.stage(&group(1, done(1, kept)));
        disk.crash_in(crash);
        let committed = store.commit().is_ok();
        disk.crash(crate::disk::CrashSeed(crash));
        let (store, facts) = open_store(Arc::new(disk.clone()));
        assert!(!committed || facts.len() == 1);
        if !facts.is_empty() {
            assert_eq!(store.results().read(&kept, Part::Stdout).unwrap(), b"out");
        }
    }
}

#[test]
fn output_that_the_journal_names_but_the_disk_lost_is_refused() {
    let disk = SimDisk::new();
    let (mut store, _) = open_store(Arc::new(disk.clone()));
    store.stage(&group(1, testing::submitted(1, 3)));
    store.stage(&group(2, testing::done(1, 0, 1, kept_nowhere())));
    store.commit().unwrap();
    let error = Store::open(Arc::new(disk), config(), &mut |_, _| {}).err().unwrap().to_string();
    assert!(error.contains("0000000009.seg") && error.contains("block 9"), "{error}");
}
