//! Every truncation and every flipped bit of a journal. All of them take minutes without optimisation: there a
//! sample is looked at, and `cargo test --release -p gridctl-coordinator exhaustive` looks at the rest.

use super::*;
use crate::journal::format::{Parsed, parse_frame};

const PATH: &str = "journal/00000000000000000001.log";

/// A journal of one segment of `bytes`, with its facts, and where its frames end with how many facts there are then.
struct Journal {
    bytes: Vec<u8>,
    facts: Vec<Fact>,
    ends: Vec<(usize, usize)>,
}

impl Journal {
    fn new(bytes: u64) -> Self {
        let disk = SimDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (space, base) = (no_reserve(&shared), Base::default());
        let found = recover(&shared, &space, bytes, base, FactIndex(0), &mut |_, _| {}).unwrap();
        let mut writer = found.writer;
        let mut facts = Vec::new();
        // Room for a frame more is left, and zeros after the last.
        while writer.written_bytes() + 1500 < bytes {
            for _ in 0..=facts.len() % 3 {
                let fact = fact(facts.len() as u64 % 40 + 1);
                writer.stage(FactIndex(facts.len() as u64 + 1), &fact);
                facts.push(fact);
            }
            writer.commit().unwrap();
        }
        let bytes = disk.content(PATH).unwrap();
        let (mut at, mut ends) = (0, vec![(0, 0)]);
        while let Parsed::Frame { header, bytes: len, .. } = parse_frame(&bytes[at..]) {
            at += len;
            ends.push((at, usize::try_from(header.index.0).unwrap()));
        }
        assert!(ends.len() > 100, "too few frames to mean anything");
        Self { bytes, facts, ends }
    }

    /// Recovers from other bytes; the facts that are found, or why it refuses, having changed nothing.
    fn recover(&self, bytes: Vec<u8>) -> Result<(Vec<Fact>, bool), RecoverJournalError> {
        let disk = SimDisk::new();
        disk.put(PATH, bytes);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (space, base) = (no_reserve(&shared), Base::default());
        let (segment, changes) = (self.bytes.len() as u64, disk.changes());
        let mut facts = Vec::new();
        let found = recover(&shared, &space, segment, base, FactIndex(0), &mut |_, fact| {
            facts.push(fact);
        });
        match found {
            Ok(found) => Ok((facts, found.cut.is_some())),
            Err(error) => {
                assert_eq!(disk.changes(), changes, "changed something and refused: {error}");
                assert!(error.to_string().contains(PATH), "{error}");
                Err(error)
            }
        }
    }

    fn truncate(&self, step: usize) {
        for len in (0..self.bytes.len()).step_by(step) {
            let (_, whole) = *self.ends.iter().rev().find(|(end, _)| *end <= len).unwrap();
            let (facts, _) = self.recover(self.bytes[..len].to_vec()).unwrap();
            assert!(facts == self.facts[..whole], "cut at byte {len}: {} facts", facts.len());
        }
    }

    fn flip(&self, step: usize) {
        let [.., (last_begins, before_last), (end, _)] = &*self.ends else { unreachable!() };
        for bit in (0..self.bytes.len() * 8).step_by(step) {
            let mut bytes = self.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = self.recover(bytes);
            let place = bit / 8;
            if place >= *end {
                let (facts, _) = found.unwrap_or_else(|error| panic!("bit {bit}: {error}"));
                assert!(facts == self.facts, "bit {bit}, in the zeros");
            } else if place >= *last_begins {
                // A version that grew by the damage is refused as what it says it is.
                let Ok((facts, cut)) = found else { continue };
                assert!(cut && facts == self.facts[..*before_last], "bit {bit}, in the last frame");
            } else {
                assert!(found.is_err(), "bit {bit}, in an earlier frame");
            }
        }
    }
}

#[test]
fn sample_of_truncations_recovers_exactly_the_whole_frames() {
    Journal::new(64 << 10).truncate(211);
}

#[test]
fn sample_of_flipped_bits_is_refused_or_cuts_the_last_frame_only() {
    Journal::new(32 << 10).flip(1009);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn exhaustive_truncations_recover_exactly_the_whole_frames() {
    Journal::new(64 << 10).truncate(1);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn exhaustive_flipped_bits_are_refused_or_cut_the_last_frame_only() {
    Journal::new(32 << 10).flip(1);
}
