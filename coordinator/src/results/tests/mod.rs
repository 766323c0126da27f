//! What the result segments promise.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::Kept;

use crate::disk::{CrashSeed, Disk, SimDisk};
use crate::space::{Space, SpaceConfig};

use super::error::RecoverResultsError;
use super::{AppendResultError, Part, Results, ResultsConfig, Scan};

/// A few records a block, a few blocks a segment.
const CONFIG: ResultsConfig =
    ResultsConfig { block_bytes: 200, segment_bytes: 700, buffered_bytes_max: 1000 };

fn open(disk: &SimDisk, needed: &[Kept]) -> Result<Results, RecoverResultsError> {
    let scan = Scan::read(disk)?;
    let mut last = BTreeMap::new();
    for place in needed.iter().map(|kept| kept.place) {
        let block = last.entry(place.segment).or_insert(0);
        *block = place.block.max(*block);
    }
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let reserve = SpaceConfig { reserve_bytes: 0, kept_free_bytes: 0 };
    let space = Arc::new(Space::open(Arc::clone(&shared), reserve).unwrap());
    Results::open((shared, space), CONFIG, scan, &last, None, FactIndex(1))
}

/// Three parts that only record `n` has.
fn parts(n: usize) -> [Vec<u8>; 3] {
    [
        vec![b'a'; n % 90],
        format!("error {n}").into_bytes(),
        vec![u8::try_from(n % 256).unwrap(); n % 7],
    ]
}

fn append(results: &Results, n: usize) -> Kept {
    let [stdout, stderr, result] = parts(n);
    results.append(&stdout, &stderr, &result).unwrap()
}

fn assert_reads(results: &Results, kept: &Kept, n: usize) {
    let [stdout, stderr, result] = parts(n);
    for (part, bytes) in [(Part::Stdout, stdout), (Part::Stderr, stderr), (Part::Result, result)] {
        assert_eq!(results.read(kept, part).unwrap(), bytes, "record {n}, {part:?}");
    }
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.list("results").unwrap().into_iter().map(|name| format!("results/{name}")).collect()
}

#[test]
fn records_are_read_back_before_and_after_sync_and_restart() {
    let disk = SimDisk::new();
    let results = open(&disk, &[]).unwrap();
    let kept: Vec<Kept> = (0..100)
        .map(|n| {
            let kept = append(&results, n);
            assert_reads(&results, &kept, n);
            if n % 10 == 9 {
                results.sync(FactIndex(1)).unwrap();
            }
            kept
        })
        .collect();
    assert!(segments(&disk).len() > 3);
    for reopened in [results, open(&disk, &kept).unwrap()] {
        for (n, kept) in kept.iter().enumerate() {
            assert_reads(&reopened, kept, n);
        }
    }
}

#[test]
fn record_larger_than_a_block_is_one_of_its_own() {
    let disk = SimDisk::new();
    let results = open(&disk, &[]).unwrap();
    let (small, large) = (append(&results, 5), vec![7; 5000]);
    let kept = results.append(&large, b"", b"").unwrap();
    let after = append(&results, 6);
    assert_ne!(small.place.block, kept.place.block);
    assert_ne!((kept.place.segment, kept.place.block), (after.place.segment, after.place.block));
    results.sync(FactIndex(1)).unwrap();
    let results = open(&disk, &[small, kept, after]).unwrap();
    assert_eq!(results.read(&kept, Part::Stdout).unwrap(), large);
    assert_reads(&results, &after, 6);
}

#[test]
fn record_beyond_every_limit_is_refused() {
    let results = open(&SimDisk::new(), &[]).unwrap();
    let error = results.append(&vec![0; (48 << 20) + 1], b"", b"").unwrap_err();
    assert!(matches!(error, AppendResultError::TooLarge { .. }), "{error}");
}

#[test]
fn full_blocks_do_not_pile_up_in_memory() {
    let disk = SimDisk::new();
    let results = open(&disk, &[]).unwrap();
    let kept: Vec<Kept> = (0..200).map(|n| append(&results, n)).collect();
    assert!(results.buffer().closed_bytes() <= CONFIG.buffered_bytes_max);
    assert!(!segments(&disk).is_empty(), "nothing was written without a sync");
    for (n, kept) in kept.iter().enumerate() {
        assert_reads(&results, kept, n);
    }
}

#[test]
fn synced_records_survive_a_crash_and_the_rest_is_cut() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new();
        let mut synced: Vec<(usize, Kept)> = Vec::new();
        for life in 0..3 {
            let needed: Vec<Kept> = synced.iter().map(|(_, kept)| *kept).collect();
            let results = open(&disk, &needed).unwrap();
            for (n, kept) in &synced {
                assert_reads(&results, kept, *n);
            }
            disk.crash_in(rng.u64(1..30));
            let mut waiting = Vec::new();
            for n in 0.. {
                let [stdout, stderr, result] = parts(life * 1000 + n);
                let Ok(kept) = results.append(&stdout, &stderr, &result) else { break };
                waiting.push((life * 1000 + n, kept));
                if rng.u8(0..8) == 0 {
                    if results.sync(FactIndex(1)).is_err() {
                        break;
                    }
                    synced.append(&mut waiting);
                }
            }
            disk.crash(CrashSeed(rng.u64(..)));
        }
    }
}

#[test]
fn truncation_below_what_is_needed_is_refused_and_above_it_harmless() {
    let disk = SimDisk::new();
    let results = open(&disk, &[]).unwrap();
    let needed = append(&results, 40);
    results.sync(FactIndex(1)).unwrap();
    let needed_bytes = disk.content("results/0000000001.seg").unwrap().len();
    append(&results, 41);
    results.sync(FactIndex(1)).unwrap();
    let bytes = disk.content("results/0000000001.seg").unwrap();
    for len in 0..bytes.len() {
        let cut = disk.fork();
        cut.put("results/0000000001.seg", bytes[..len].to_vec());
        match open(&cut, &[needed]) {
            Ok(results) => {
                assert!(len >= needed_bytes);
                assert_reads(&results, &needed, 40);
                assert_eq!(cut.content("results/0000000001.seg").unwrap().len(), needed_bytes);
            }
            Err(error) => {
                assert!(len < needed_bytes, "{error}");
                assert!(error.to_string().contains("0000000001.seg"), "{error}");
            }
        }
    }
}

#[test]
fn flipped_bit_is_an_error_and_never_other_bytes() {
    let disk = SimDisk::new();
    let results = open(&disk, &[]).unwrap();
    let kept: Vec<Kept> = (60..64).map(|n| append(&results, n)).collect();
    results.sync(FactIndex(1)).unwrap();
    let path = "results/0000000001.seg";
    let bytes = disk.content(path).unwrap();
    let mut errors = 0;
    for bit in 0..bytes.len() * 8 {
        let damaged = disk.fork();
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        damaged.put(path, flipped);
        let Ok(results) = open(&damaged, &kept) else { continue };
        for (n, kept) in (60..).zip(&kept) {
            match results.read(kept, Part::Stderr) {
                Ok(stderr) => assert_eq!(stderr, parts(n)[1]),
                Err(error) => {
                    assert!(error.to_string().contains(path), "{error}");
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 100, "{errors}");
}

#[test]
fn place_of_another_record_is_an_error() {
    let results = open(&SimDisk::new(), &[]).unwrap();
    let (mut kept, other) = (append(&results, 50), append(&results, 51));
    kept.place.offset = other.place.offset;
    results.read(&kept, Part::Stderr).unwrap_err();
    kept.place.segment = 77;
    let error = results.read(&kept, Part::Stderr).unwrap_err().to_string();
    assert!(error.contains("0000000077.seg"), "{error}");
}

#[test]
fn newer_format_is_refused_and_nothing_is_written() {
    let disk = SimDisk::new();
    let results = open(&disk, &[]).unwrap();
    append(&results, 3);
    results.sync(FactIndex(1)).unwrap();
    let path = &segments(&disk)[0];
    let mut bytes = disk.content(path).unwrap();
    bytes[4] = 2;
    let crc = crc32fast::hash(&bytes[4..32]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    disk.put(path, bytes);
    let changes = disk.changes();
    assert!(matches!(open(&disk, &[]), Err(RecoverResultsError::Newer { version: 2, .. })));
    assert_eq!(disk.changes(), changes);
}

#[test]
fn reading_and_appending_go_on_side_by_side() {
    let disk = SimDisk::new();
    let results = open(&disk, &[]).unwrap();
    let kept = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for lane in 0..3 {
            let (results, kept) = (&results, &kept);
            scope.spawn(move || {
                for n in (lane..600).step_by(3) {
                    let place = append(results, n);
                    kept.lock().unwrap().push((n, place));
                    if n % 20 == lane {
                        results.sync(FactIndex(1)).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut rng = fastrand::Rng::with_seed(1);
            for _ in 0..3000 {
                let choice = rng.choice(&*kept.lock().unwrap()).copied();
                if let Some((n, place)) = choice {
                    assert_reads(&results, &place, n);
                }
            }
        });
    });
    results.sync(FactIndex(1)).unwrap();
    let all = kept.into_inner().unwrap();
    let places: Vec<Kept> = all.iter().map(|(_, place)| *place).collect();
    let results = open(&disk, &places).unwrap();
    assert_eq!(all.len(), 600);
    all.iter().for_each(|(n, place)| assert_reads(&results, place, *n));
}

/// A segment of version 1 with one block: "hello" on standard output, "!" as the result.
const GOLDEN: &str = "803103f00101000000000000060000000f0000003d0639eb0102000000000000\
    28b52ffd200631000068656c6c6f21";

#[test]
fn golden_block_of_version_1_is_read_and_written() {
    let bytes: Vec<u8> = (0..GOLDEN.len() / 2)
        .map(|at| u8::from_str_radix(&GOLDEN[at * 2..at * 2 + 2], 16).unwrap())
        .collect();
    let disk = SimDisk::new();
    let results = open(&disk, &[]).unwrap();
    let kept = results.append(b"hello", b"", b"!").unwrap();
    results.sync(FactIndex(513)).unwrap();
    let written = disk.content("results/0000000001.seg").unwrap();
    // Another version of the compressor may pack the same data into other bytes.
    assert_eq!((&written[4..16], &written[24..32]), (&bytes[4..16], &bytes[24..32]));
    let golden = SimDisk::new();
    golden.put("results/0000000001.seg", bytes);
    let results = open(&golden, &[kept]).unwrap();
    assert_eq!(results.read(&kept, Part::Stdout).unwrap(), b"hello");
    assert_eq!(results.read(&kept, Part::Result).unwrap(), b"!");
}
