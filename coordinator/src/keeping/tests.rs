//! What a sweep promises: everything that is needed is still there, and no more than that.

use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::{Fact, Kept};
use gridctl_core::state::State;

use super::*;
use crate::disk::{CrashSeed, Disk, SimDisk};
use crate::journal::{FactGroup, OpenStoreError, Opened, Store, StoreConfig};
use crate::results::{Part, Pin, ResultsConfig};
use crate::space::SpaceConfig;
use crate::testing::{done, failed, submitted};

/// A few frames a journal segment, a few records a result segment.
const CONFIG: StoreConfig = StoreConfig {
    segment_bytes: 700,
    snapshot_every_bytes: 1 << 40,
    results: ResultsConfig { block_bytes: 200, segment_bytes: 700, buffered_bytes_max: 1000 },
    space: SpaceConfig { reserve_bytes: 0, kept_free_bytes: 0 },
};

/// A store, and what it must come to.
struct World {
    disk: SimDisk,
    store: Store,
    state: State,
    facts: Vec<Fact>,
    kept: Vec<(Kept, Vec<u8>)>,
}

fn open(disk: &SimDisk) -> Result<Opened, OpenStoreError> {
    Store::open(Arc::new(disk.clone()), CONFIG, &mut |_, _| {})
}

impl World {
    fn new() -> Self {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap().store;
        let (state, facts, kept) = (State::new(), Vec::new(), Vec::new());
        let mut world = Self { disk, store, state, facts, kept };
        world.commit(submitted(1, 10_000));
        world
    }

    fn commit(&mut self, fact: Fact) {
        self.facts.push(fact.clone());
        self.state.apply(&fact);
        let index = FactIndex(self.facts.len() as u64);
        self.store.stage(&FactGroup::new(vec![(index, fact)]).unwrap());
        self.store.commit().unwrap();
    }

    fn append(&mut self, bytes: usize) -> Kept {
        let stdout: Vec<u8> = (0..bytes).map(|_| fastrand::u8(..)).collect();
        let kept = self.store.results().append(&stdout, b"", b"").unwrap();
        self.kept.push((kept, stdout));
        kept
    }

    fn done(&mut self, index: u32, bytes: usize) {
        let kept = self.append(bytes);
        self.commit(done(1, index, 1, kept));
    }

    fn sweep(&mut self) -> Option<Swept> {
        self.store.keeper().sweep().unwrap()
    }

    /// Starts again, and looks whether everything is there.
    fn restart(&mut self) -> Opened {
        let mut seen = Vec::new();
        let see = &mut |index: FactIndex, fact: &Fact| seen.push((index, fact.clone()));
        let opened = Store::open(Arc::new(self.disk.clone()), CONFIG, see).unwrap();
        assert_eq!(opened.state, self.state);
        let base = opened.recovered.snapshot.map_or(0, |index| index.0);
        let tail = &self.facts[usize::try_from(base).unwrap()..];
        assert_eq!(seen.iter().map(|(_, fact)| fact.clone()).collect::<Vec<_>>(), tail);
        assert!(seen.iter().zip(base + 1..).all(|((index, _), wanted)| index.0 == wanted));
        self.check_kept(&opened.store);
        opened
    }

    fn check_kept(&self, store: &Store) {
        for kept in self.state.kept() {
            let (_, bytes) = self.kept.iter().find(|(other, _)| other == kept).unwrap();
            assert_eq!(store.results().read(kept, Part::Stdout).unwrap(), *bytes);
        }
    }

    fn files(&self, dir: &str) -> Vec<String> {
        self.disk.list(dir).unwrap()
    }
}

#[test]
fn journal_is_cut_up_to_the_older_of_two_snapshots_and_nothing_is_lost() {
    let mut world = World::new();
    for round in 0..12 {
        for n in 0..9 {
            world.done(round * 9 + n, 20);
        }
        let swept = world.sweep().unwrap();
        assert_eq!(swept.snapshot.0, world.facts.len() as u64);
        assert_eq!(world.files("snapshots").len(), if round == 0 { 1 } else { 2 });
        world.store = world.restart().store;
    }
    let first = world.files("journal").remove(0);
    let first: u64 = first.strip_suffix(".log").unwrap().parse().unwrap();
    let older = world.files("snapshots").remove(0);
    let older: u64 = older.strip_suffix(".snap").unwrap().parse().unwrap();
    assert!(first > 80 && first <= older + 1, "cut up to {first}, the older snapshot is {older}");
    assert!(world.sweep().is_none(), "nothing is new");
}

#[test]
fn snapshot_may_end_where_any_segment_ends() {
    let mut world = World::new();
    for n in 0..60 {
        world.done(n, 10);
        world.sweep().unwrap();
        let forked = world.disk.fork();
        assert_eq!(open(&forked).unwrap().state, world.state, "after {n}");
    }
    assert!(world.files("journal").len() <= 3, "{:?}", world.files("journal"));
}

#[test]
fn damaged_snapshot_is_passed_over_and_all_damaged_ones_refuse_the_start() {
    let mut world = World::new();
    for n in 0..30 {
        world.done(n, 10);
        if n % 10 == 9 {
            world.sweep().unwrap();
        }
    }
    world.done(30, 10);
    let [older, newer] = world.files("snapshots").try_into().unwrap();
    let disk = world.disk.clone();
    let damage = |name: &str| {
        let path = format!("snapshots/{name}");
        let mut bytes = disk.content(&path).unwrap();
        bytes[100] ^= 1;
        disk.put(&path, bytes);
    };
    damage(&newer);
    let opened = world.restart();
    assert!(opened.recovered.passed_over[0].file.ends_with(&newer));
    assert_eq!(format!("{:020}.snap", opened.recovered.snapshot.unwrap().0), older);
    drop(opened);
    damage(&older);
    let changes = world.disk.changes();
    let error = open(&world.disk).err().unwrap().to_string();
    assert!(error.contains("journal/") && error.contains("no whole snapshot"), "{error}");
    assert_eq!(world.disk.changes(), changes);
}

#[test]
fn crash_in_any_moment_of_a_sweep_loses_nothing() {
    for seed in 0..150 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        for n in 0..40 {
            // Failures leave output behind that nothing refers to once there are newer ones.
            let kept = world.append(rng.usize(1..150));
            world.commit(failed(1, rng.u32(0..2), n + 1, kept));
            if rng.u8(0..4) > 0 {
                continue;
            }
            world.disk.crash_in(rng.u64(1..14));
            let swept = world.store.keeper().sweep();
            if swept.is_ok() && !world.disk.is_down() {
                world.disk.cancel_crash();
            } else {
                world.disk.crash(CrashSeed(rng.u64(..)));
                world.store = world.restart().store;
            }
        }
        world.disk.crash(CrashSeed(rng.u64(..)));
        world.restart();
    }
}

#[test]
fn failing_sync_in_a_sweep_is_final_and_a_refused_write_is_not() {
    let mut world = World::new();
    world.done(1, 10);
    world.disk.set_failing_syncs(true);
    assert!(world.store.keeper().sweep().unwrap_err().is_final());
    world.disk.set_failing_syncs(false);
    world.disk.crash_in(1);
    assert!(!world.store.keeper().sweep().unwrap_err().is_final());
}

#[test]
fn output_that_nothing_refers_to_goes_with_the_next_snapshot() {
    let mut world = World::new();
    // Only the last three failures of a task are kept.
    for n in 0..40 {
        let kept = world.append(100);
        world.commit(failed(1, 0, n + 1, kept));
    }
    let before = world.files("results").len();
    let swept = world.sweep().unwrap();
    assert!(swept.results.removed >= before - 2, "{swept:?} of {before}");
    assert!(world.files("results").len() <= 2);
    // Numbers of segments that are gone are not given out again.
    world.store = world.restart().store;
    let kept = world.append(10);
    assert!(kept.place.segment as usize >= before, "{kept:?}");
}

#[test]
fn segment_that_is_mostly_forgotten_is_written_anew() {
    let mut world = World::new();
    // One small record that stays in the midst of large ones that do not.
    for n in 0..40 {
        let kept = world.append(100);
        world.commit(failed(1, 0, n + 1, kept));
        if n % 8 == 3 {
            world.done(u32::try_from(n).unwrap() + 1, 9);
        }
    }
    let bytes = |world: &World| -> usize {
        let names = world.files("results").into_iter();
        names.map(|name| world.disk.content(&format!("results/{name}")).unwrap().len()).sum()
    };
    let before = bytes(&world);
    let swept = world.sweep().unwrap();
    assert!(swept.results.rewritten > 2, "{swept:?}");
    assert!(bytes(&world) < before / 2, "{} of {before}", bytes(&world));
    world.check_kept(&world.store);
    world.store = world.restart().store;
    // In the next life too there is nothing more to leave out.
    world.done(9998, 1);
    assert_eq!(world.sweep().unwrap().results.rewritten, 0);
    world.restart();
}

#[test]
fn what_is_pinned_or_being_backed_up_stays() {
    let mut world = World::new();
    let pin = Pin::new(world.store.results());
    let void = world.append(5);
    for n in 0..30 {
        let kept = world.append(100);
        world.commit(failed(1, 0, n + 1, kept));
    }
    assert_eq!(world.sweep().unwrap().results, Default::default());
    assert!(world.store.results().read(&void, Part::Stdout).is_ok());
    drop(pin);
    world.done(2, 1);
    *world.store.keeper().readers() += 1;
    let (journal, results) = (world.files("journal"), world.files("results"));
    assert_eq!(world.sweep().unwrap().results, Default::default());
    assert_eq!(world.files("results"), results);
    assert!(world.files("journal").len() >= journal.len());
    *world.store.keeper().readers() -= 1;
    world.done(3, 1);
    assert!(world.sweep().unwrap().results.removed > 0);
    world.restart();
}

#[test]
fn whichever_sync_fails_nothing_is_acknowledged_after_it_and_nothing_before_it_is_lost() {
    let mut ended = 0;
    for n in 1..120 {
        let mut world = World::new();
        world.disk.fail_sync_in(n);
        let failed = (0..30u32).any(|task| {
            let kept = world.append(60);
            let fact = done(1, task, 1, kept);
            let index = FactIndex(world.facts.len() as u64 + 1);
            world.store.stage(&FactGroup::new(vec![(index, fact.clone())]).unwrap());
            if world.store.commit().is_err() {
                // For good: another try is refused without a look at the disk.
                let changes = world.disk.changes();
                assert!(world.store.commit().is_err(), "sync {n}");
                assert_eq!(world.disk.changes(), changes, "sync {n}");
                return true;
            }
            world.state.apply(&fact);
            world.facts.push(fact);
            task % 5 == 4 && world.store.keeper().sweep().is_err_and(|error| error.is_final())
        });
        ended += u32::from(failed);
        world.disk.crash(CrashSeed(n));
        let opened = open(&world.disk).unwrap();
        let found = opened.recovered.last.0;
        let acknowledged = world.facts.len() as u64;
        // The write that was not acknowledged may have got through.
        assert!((acknowledged..=acknowledged + 1).contains(&found), "sync {n}: {found}");
        if found == acknowledged {
            assert_eq!(opened.state, world.state, "sync {n}");
        }
    }
    assert!(ended > 60, "{ended} of them failed");
}
