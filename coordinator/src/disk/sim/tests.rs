use super::*;

#[test]
fn synced_data_survives_every_crash_and_unsynced_data_only_some() {
    let mut kept = 0;
    for seed in 0..64 {
        let disk = SimDisk::new();
        let file = disk.create("d/f").unwrap();
        file.write_all_at(0, &[1; 600]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir("d").unwrap();
        file.write_all_at(0, &[2; 600]).unwrap();
        disk.crash(CrashSeed(seed));
        assert!(file.len().is_err(), "a handle outlived the crash");
        let content = disk.content("d/f").unwrap();
        assert_eq!(content.len(), 600);
        assert!(content.iter().all(|byte| [1, 2].contains(byte)));
        kept += usize::from(content[0] == 2);
    }
    assert!((1..64).contains(&kept), "{kept} of 64");
}

#[test]
fn unsynced_names_are_lost_from_some_point_on() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let disk = SimDisk::new();
        disk.create("d/a").unwrap();
        disk.rename("d/a", "d/b").unwrap();
        disk.crash(CrashSeed(seed));
        seen.insert(disk.list("d").unwrap());
    }
    let names = |name: &str| vec![name.to_owned()];
    assert_eq!(seen, [vec![], names("a"), names("b")].into());
}

#[test]
fn power_fails_in_the_change_that_was_chosen() {
    let disk = SimDisk::new();
    let file = disk.create("d/f").unwrap();
    disk.crash_in(2);
    file.write_all_at(0, b"x").unwrap();
    file.sync_data().unwrap_err();
    assert!(disk.is_down());
    disk.list("d").unwrap_err();
    disk.crash(CrashSeed(1));
    assert!(!disk.is_down());
    disk.list("d").unwrap();
}

#[test]
fn full_disk_takes_what_fits_and_writes_in_place_go_on() {
    let disk = SimDisk::new();
    let file = disk.create("d/f").unwrap();
    file.write_all_at(0, &[1; 100]).unwrap();
    disk.set_capacity(Some(150));
    assert_eq!(disk.free().unwrap().bytes, 50);
    let error = file.write_all_at(80, &[2; 100]).unwrap_err();
    assert!(error.is_no_room(), "{error}");
    assert_eq!(disk.content("d/f").unwrap(), [vec![1; 80], vec![2; 70]].concat());
    file.write_all_at(0, &[3; 150]).unwrap();
    file.sync_data().unwrap();
    let other = disk.create("d/g").unwrap();
    assert!(other.allocate(1).unwrap_err().is_no_room());
    disk.remove("d/f").unwrap();
    other.allocate(150).unwrap();
    assert_eq!(disk.content("d/g").unwrap(), vec![0; 150]);
    disk.set_capacity(None);
    other.write_all_at(150, &[1]).unwrap();
}

#[test]
fn files_have_a_bound_of_their_own() {
    let disk = SimDisk::new();
    disk.create("d/f").unwrap();
    disk.set_files_max(Some(1));
    assert_eq!(disk.free().unwrap().files, 0);
    assert!(disk.create("d/g").unwrap_err().is_no_room());
    disk.create("d/f").unwrap();
    disk.remove("d/f").unwrap();
    disk.create("d/g").unwrap();
}

#[test]
fn read_only_disk_can_be_read_and_takes_no_change() {
    let disk = SimDisk::new();
    let file = disk.create("d/f").unwrap();
    file.write_all_at(0, b"abc").unwrap();
    disk.set_read_only(true);
    assert!(disk.free().unwrap().is_read_only);
    assert!(file.write_all_at(0, b"x").unwrap_err().is_no_room());
    assert!(disk.create("d/g").unwrap_err().is_no_room());
    assert!(disk.rename("d/f", "d/g").unwrap_err().is_no_room());
    assert!(disk.remove("d/f").unwrap_err().is_no_room());
    assert_eq!(file.len().unwrap(), 3);
    file.sync_data().unwrap();
    disk.set_read_only(false);
    file.write_all_at(0, b"x").unwrap();
    assert_eq!(disk.content("d/f").unwrap(), b"xbc");
}
