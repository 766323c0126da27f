//! What a backup promises: taken while the grid goes on, restored elsewhere, the same state.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::{Fact, Kept};
use gridctl_core::state::State;
use gridctl_jobs::units::WallMs;

use super::*;
use crate::disk::{Disk, RealDisk};
use crate::journal::{FactGroup, Store, StoreConfig};
use crate::results::{Part, ResultsConfig};
use crate::space::SpaceConfig;
use crate::testing::{done, submitted};

const CONFIG: StoreConfig = StoreConfig {
    segment_bytes: 3000,
    snapshot_every_bytes: 1 << 40,
    results: ResultsConfig { block_bytes: 200, segment_bytes: 700, buffered_bytes_max: 1000 },
    space: SpaceConfig { reserve_bytes: 0, kept_free_bytes: 0 },
};

struct World {
    store: Store,
    state: State,
    kept: Vec<Kept>,
}

fn open(root: &Path) -> World {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(root).unwrap());
    let opened = Store::open(disk, CONFIG, &mut |_, _| {}).unwrap();
    World { store: opened.store, state: opened.state, kept: Vec::new() }
}

impl World {
    fn commit(&mut self, fact: Fact) {
        self.state.apply(&fact);
        self.store.stage(&FactGroup::new(vec![(self.state.applied(), fact)]).unwrap());
        self.store.commit().unwrap();
    }

    fn done(&mut self, from: u32, to: u32) {
        for n in from..to {
            let kept = self.store.results().append(&n.to_le_bytes(), b"", b"").unwrap();
            self.kept.push(kept);
            self.commit(done(1, n, 1, kept));
        }
    }
}

/// A data directory as a coordinator makes it, with two snapshots and some journal behind them.
fn world(root: &Path) -> World {
    fs::create_dir_all(root.join("authority")).unwrap();
    fs::write(root.join("authority/ca.key"), "secret").unwrap();
    fs::write(root.join("grid"), "lab\n").unwrap();
    let mut world = open(root);
    world.commit(submitted(1, 10_000));
    for round in 0..3 {
        world.done(round * 20, round * 20 + 20);
        world.store.keeper().sweep().unwrap();
    }
    world.done(60, 77);
    world
}

fn take(backup: &mut Backup, mut between: impl FnMut()) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next_piece().unwrap() {
        bytes.extend_from_slice(&piece);
        between();
    }
    bytes
}

fn backup(world: &World) -> Vec<u8> {
    take(&mut Backup::begin(world.store.keeper(), WallMs(7)).unwrap(), || ())
}

#[test]
fn backup_taken_while_the_grid_goes_on_is_the_state_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(&dir.path().join("old"));
    let then = world.state.clone();
    let mut backup = Backup::begin(world.store.keeper(), WallMs(7)).unwrap();
    // More than a journal segment of it, and a sweep, before the first byte is read.
    world.done(77, 200);
    world.store.keeper().sweep().unwrap();
    let bytes = take(&mut backup, || ());
    let file = dir.path().join("backup");
    fs::write(&file, &bytes).unwrap();
    let summary = check(&file).unwrap();
    assert_eq!((summary.last, summary.taken_at), (then.applied(), WallMs(7)));
    assert_eq!(summary.bytes, bytes.len() as u64);
    let root = dir.path().join("new");
    assert_eq!(restore(&file, &root).unwrap(), summary);
    assert!(root.join(RESTORED).exists() && !root.join(HALF_RESTORED).exists());
    assert_eq!(fs::read(root.join("authority/ca.key")).unwrap(), b"secret");
    assert_eq!(fs::read(root.join("grid")).unwrap(), b"lab\n");
    let mut restored = open(&root);
    assert_eq!(restored.state, then);
    for (n, kept) in (0..77u32).zip(&world.kept) {
        let stdout = restored.store.results().read(kept, Part::Stdout).unwrap();
        assert_eq!(stdout, n.to_le_bytes());
    }
    // It goes on like any other.
    restored.done(77, 140);
    let state = restored.state.clone();
    drop(restored);
    assert_eq!(open(&root).state, state);
}

#[test]
fn damaged_or_short_backup_is_refused_with_its_place_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(&dir.path().join("old"));
    let bytes = backup(&world);
    let (file, root) = (dir.path().join("backup"), dir.path().join("new"));
    let refuses = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let error = restore(&file, &root).unwrap_err();
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        assert!(!root.exists(), "{error}");
        error
    };
    for at in (0..bytes.len()).step_by(97) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        refuses(&flipped);
        refuses(&bytes[..at]);
    }
    refuses(&[&bytes[..], b"x"].concat());
    let mut newer = bytes.clone();
    newer[8] = 2;
    let error = refuses(&newer);
    assert!(
        matches!(error, RestoreError::Backup(ReadBackupError::Newer { version: 2, .. })),
        "{error}"
    );
}

#[test]
fn names_that_lead_elsewhere_are_none_of_a_data_directory() {
    for name in ["grid", "port", "journal/0.log", "authority/ca.key"] {
        assert!(format::is_ours(name), "{name}");
    }
    for name in
        ["", "lock", "/etc/passwd", "journal/../x", "journal/", "a/b", "journal/a/b", "journal/.x"]
    {
        assert!(!format::is_ours(name), "{name}");
    }
}

#[test]
fn directory_with_anything_in_it_is_not_restored_into() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(&dir.path().join("old"));
    let file = dir.path().join("backup");
    fs::write(&file, backup(&world)).unwrap();
    let root = dir.path().join("new");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("note"), "mine").unwrap();
    let error = restore(&file, &root).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty { .. }), "{error}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
}

#[test]
fn nothing_is_removed_while_a_backup_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(&dir.path().join("old"));
    let mut backup = Backup::begin(world.store.keeper(), WallMs(7)).unwrap();
    backup.next_piece().unwrap();
    world.done(77, 120);
    let swept = world.store.keeper().sweep().unwrap().unwrap();
    assert_eq!(swept.journal_segments, 0);
    drop(backup);
    world.done(120, 121);
    let swept = world.store.keeper().sweep().unwrap().unwrap();
    assert!(swept.journal_segments > 0);
    assert_eq!(swept.snapshot, FactIndex(122));
}
