//! Tells the kernel's out-of-memory killer apart from others who send SIGKILL.
//!
//! The kernel counts whom it killed for want of memory: by control group where there is one, else for the
//! whole machine. A process that died of SIGKILL, or a shell that says so of its last command (exit 137), was
//! killed for that if the count has grown within the last seconds, once for each that it grew by: what has a lot of
//! memory takes a while to die.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a file with counts: `/proc/vmstat` has some 4 KiB.
const COUNTS_BYTES_MAX: usize = 16 << 10;
const COUNTS_BYTES: usize = 4 << 10;
/// How long after the kernel chose a process its end may be seen.
const DEATH_TAKES: Duration = Duration::from_secs(5);
/// What the count is called, wherever it is.
const NAME: &[u8] = b"oom_kill ";

/// The kernel's count.
#[derive(Debug)]
pub(super) struct OomKills {
    /// `None` where there is none.
    counts: Option<File>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The count, as far as it is known whom it was about.
    seen: u64,
    /// What it was of late, and when.
    recent: VecDeque<(Instant, u64)>,
}

impl OomKills {
    /// Finds the count that is nearest to this process.
    pub(super) fn new() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::first_of(candidates(&groups))
    }

    fn first_of(candidates: impl IntoIterator<Item = PathBuf>) -> Self {
        let open = |path: PathBuf| File::open(path).ok().filter(|file| read(file).is_some());
        let counts = candidates.into_iter().find_map(open);
        let seen = counts.as_ref().and_then(read).unwrap_or(0);
        let state = State { seen, recent: VecDeque::from([(Instant::now(), seen)]) };
        Self { counts, state: Mutex::new(state) }
    }

    /// Looks at the count; to be called every second or so. What it counted some time ago and nobody asked
    /// about was not one of ours, or not one that we wait for.
    pub(super) fn watch(&self, now: Instant) {
        let Some(count) = self.counts.as_ref().and_then(read) else { return };
        let mut state = self.state();
        let was_watched = state.recent.back().is_some_and(|(at, _)| now - *at < DEATH_TAKES);
        if !was_watched {
            // When it grew is not known.
            state.recent.clear();
            state.seen = count;
        }
        state.recent.push_back((now, count));
        while let Some((at, old)) = state.recent.front().copied()
            && now - at >= DEATH_TAKES
        {
            state.seen = state.seen.max(old);
            state.recent.pop_front();
        }
    }

    /// Says whether a process that has just died of SIGKILL died of that.
    pub(super) fn was_it(&self) -> bool {
        let Some(count) = self.counts.as_ref().and_then(read) else { return false };
        let mut state = self.state();
        let has_grown = count > state.seen;
        state.seen += u64::from(has_grown);
        has_grown
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was locked left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns where the count may be, nearest first. In a container the group's own directory is the root.
fn candidates(groups: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            found.extend(
                [root.join(path), root.to_owned()].map(|group| group.join("memory.events")),
            );
        } else if controllers.split(',').any(|controller| controller == "memory") {
            let root = root.join("memory");
            found.extend([root.join(path), root].map(|group| group.join("memory.oom_control")));
        }
    }
    found.push(PathBuf::from("/proc/vmstat"));
    found
}

fn read(counts: &File) -> Option<u64> {
    let (mut text, mut chunk) = (Vec::new(), [0; COUNTS_BYTES]);
    while text.len() < COUNTS_BYTES_MAX {
        let bytes = counts.read_at(&mut chunk, text.len() as u64).ok()?;
        text.extend_from_slice(&chunk[..bytes]);
        if bytes == 0 {
            break;
        }
    }
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(NAME))?;
    str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kill_that_was_counted_explains_one_death() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory.events");
        let count =
            |kills: u32| fs::write(&path, format!("max 3\noom 9\noom_kill {kills}\n")).unwrap();
        count(4);
        let kills = OomKills::first_of([directory.path().join("none"), path.clone()]);
        assert!(!kills.was_it());
        count(6);
        assert!(kills.was_it() && kills.was_it() && !kills.was_it());
        let begun = Instant::now();
        let after = |seconds| kills.watch(begun + Duration::from_secs(seconds));
        after(1);
        count(7);
        after(2);
        after(4);
        assert!(kills.was_it() && !kills.was_it(), "it takes a while to die");
        count(8);
        (5..12).for_each(after);
        assert!(!kills.was_it(), "it was nobody's");
        count(9);
        after(60);
        assert!(!kills.was_it(), "nobody ran then");
    }

    #[test]
    fn the_group_of_this_process_goes_before_the_machine() {
        let texts =
            |groups| candidates(groups).iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            texts("0::/system.slice/x.service\n"),
            [
                "/sys/fs/cgroup/system.slice/x.service/memory.events",
                "/sys/fs/cgroup/memory.events",
                "/proc/vmstat"
            ]
        );
        assert_eq!(
            texts("5:cpu:/\n4:hugetlb,memory:/a:b\n"),
            [
                "/sys/fs/cgroup/memory/a:b/memory.oom_control",
                "/sys/fs/cgroup/memory/memory.oom_control",
                "/proc/vmstat"
            ]
        );
    }

    #[test]
    fn this_machine_counts() {
        assert!(OomKills::new().counts.is_some());
    }
}
