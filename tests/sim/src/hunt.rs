//! Hunting planted bugs: how many schedules until each is found.

use gridctl_jobs::planted::Bug;

use crate::batch::{Failure, Plan, run_all};
use crate::run::{Checks, Settings};

/// Schedules within which every planted bug is found.
pub const WITHIN_SCHEDULES: u64 = 100_000;

/// Returns the first seed from 0 on that shows a planted bug, and what it shows; the same whatever the machine.
pub fn hunt(planted: Bug, checks: Checks, within: u64, threads: usize) -> Option<Failure> {
    let settings = Settings { planted: Some(planted), checks, keep_lines: false };
    let seeds: Vec<u64> = (0..within).collect();
    let plan = Plan { threads, failures_max: 1 };
    run_all(&seeds, settings, plan, &|_| {}).failures.into_iter().next()
}

/// Chooses some of the bugs by a text, such as the hash of a commit: over many commits, all of them.
pub fn part_of(text: &str, count: usize) -> Vec<Bug> {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut rng = fastrand::Rng::with_seed(hash);
    let mut bugs = Bug::ALL.to_vec();
    rng.shuffle(&mut bugs);
    bugs.truncate(count);
    bugs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_chooses_the_same_bugs() {
        assert_eq!(part_of("4f1a", 5), part_of("4f1a", 5));
        assert_eq!(part_of("4f1a", 5).len(), 5);
    }

    #[test]
    fn over_many_texts_every_bug_is_chosen() {
        let chosen = |bug: &Bug| (0..200).any(|n| part_of(&format!("{n:x}"), 5).contains(bug));
        assert!(Bug::ALL.iter().all(chosen));
    }
}
