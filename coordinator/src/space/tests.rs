//! What is promised when there is no room.

use super::*;
use crate::disk::SimDisk;

const CONFIG: SpaceConfig = SpaceConfig { reserve_bytes: 1600, kept_free_bytes: 200 };

fn space(disk: &SimDisk) -> Arc<Space> {
    Arc::new(Space::open(Arc::new(disk.clone()), CONFIG).unwrap())
}

fn write(disk: &SimDisk, path: &str, bytes: usize) -> Result<(), DiskError> {
    disk.create(path)?.write_all_at(0, &vec![1; bytes])
}

#[test]
fn reserve_is_made_given_up_file_by_file_and_made_again_once_there_is_room() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(2000));
    let space = space(&disk);
    assert_eq!(space.reserve_files(), 0);
    space.tend();
    assert_eq!((space.reserve_files(), disk.free().unwrap().bytes), (16, 400));
    space.with_reserve(|| write(&disk, "d/a", 450)).unwrap();
    assert_eq!(space.reserve_files(), 15, "no more is given up than is needed");
    assert_eq!(space.shortage().unwrap().cause, Cause::Full);
    space.tend();
    assert_eq!(space.reserve_files(), 15, "there is no room to make it again");
    disk.remove("d/a").unwrap();
    space.tend();
    assert_eq!((space.reserve_files(), space.shortage()), (16, None));
}

#[test]
fn when_the_reserve_is_used_up_the_write_finds_no_room() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(2000));
    let space = space(&disk);
    space.tend();
    let error = space.with_reserve(|| write(&disk, "d/a", 2001)).unwrap_err();
    assert!(error.is_no_room(), "{error}");
    assert_eq!(space.reserve_files(), 0);
}

#[test]
fn nothing_new_is_admitted_at_the_cost_of_the_reserve_or_of_what_was_admitted_before() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(2000));
    let space = space(&disk);
    space.tend();
    let first = space.admit(150).unwrap();
    let refused = space.admit(100).unwrap_err();
    assert_eq!((refused.free_bytes, refused.needed_bytes), (400, 450));
    let text = refused.to_string();
    assert!(text.contains("disk is full: 400 B free in sim/, 450 B needed"), "{text}");
    drop(first);
    space.admit(100).unwrap();
    assert!(space.admit(201).is_err());
    space.admit_relief().unwrap();
}

#[test]
fn reserve_gives_inodes_back_too() {
    let disk = SimDisk::new();
    let space = space(&disk);
    space.tend();
    disk.set_files_max(Some(16));
    assert_eq!(space.shortage().unwrap().cause, Cause::NoInodes);
    space.with_reserve(|| write(&disk, "d/a", 1)).unwrap();
    assert_eq!(space.reserve_files(), 15);
    disk.set_files_max(Some(40));
    space.tend();
    assert_eq!((space.reserve_files(), space.shortage()), (16, None));
}

#[test]
fn read_only_disk_keeps_its_reserve_and_takes_nothing_until_it_is_writable() {
    let disk = SimDisk::new();
    let space = space(&disk);
    space.tend();
    disk.set_read_only(true);
    assert!(space.with_reserve(|| write(&disk, "d/a", 1)).unwrap_err().is_no_room());
    let shortage = space.shortage().unwrap();
    assert_eq!(shortage.cause, Cause::ReadOnly);
    assert!(shortage.to_string().contains("disk is read-only: sim/"), "{shortage}");
    disk.set_read_only(false);
    space.tend();
    assert_eq!((space.reserve_files(), space.shortage()), (16, None));
}

#[test]
fn reserve_of_another_size_is_made_anew() {
    let disk = SimDisk::new();
    space(&disk).tend();
    let larger = SpaceConfig { reserve_bytes: 3200, kept_free_bytes: 0 };
    let space = Space::open(Arc::new(disk.clone()), larger).unwrap();
    assert_eq!(space.reserve_files(), 0);
    space.tend();
    assert_eq!(space.reserve_files(), 16);
    assert_eq!(disk.content("reserve/07").unwrap().len(), 200);
    let none = SpaceConfig { reserve_bytes: 0, kept_free_bytes: 0 };
    let space = Space::open(Arc::new(disk.clone()), none).unwrap();
    space.tend();
    assert_eq!(disk.list("reserve").unwrap(), Vec::<String>::new());
    assert_eq!(space.shortage(), None);
}
