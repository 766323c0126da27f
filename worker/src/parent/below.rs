//! Finds the processes below another, by `/proc`, and ends them.

use std::fs;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

/// How often the descendants of a process that is about to end are looked for: who forks in between is
/// found the next time.
const PASSES: usize = 3;

/// Ends every child of this process, and every process that becomes one because its parent has ended,
/// until there is none. Only for a reaper, which all orphans come to.
pub(super) fn kill_children(own: Pid) {
    loop {
        for child in all_processes().into_iter().filter(|process| process.parent == Some(own)) {
            let _ = kill_process(child.pid, Signal::KILL);
        }
        // Fails once there is no child any more.
        if wait(WaitOptions::empty()).is_err() {
            return;
        }
    }
}

/// Ends every process below `ancestor`.
pub(super) fn kill_descendants(ancestor: Pid) {
    for _ in 0..PASSES {
        let descendants = descendants(&all_processes(), ancestor);
        if descendants.is_empty() {
            return;
        }
        for pid in descendants {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

struct Process {
    pid: Pid,
    parent: Option<Pid>,
}

fn descendants(processes: &[Process], ancestor: Pid) -> Vec<Pid> {
    let mut found = vec![ancestor];
    let mut looked_at = 0;
    while let Some(parent) = found.get(looked_at).copied() {
        looked_at += 1;
        let children = processes.iter().filter(|process| process.parent == Some(parent));
        found.extend(children.map(|process| process.pid));
    }
    found.split_off(1)
}

/// Returns every process that is there now.
fn all_processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let process = |entry: fs::DirEntry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        // It may have ended since.
        let stat = fs::read(entry.path().join("stat")).ok()?;
        Some(Process { pid, parent: parent_in(&stat) })
    };
    entries.filter_map(|entry| process(entry.ok()?)).collect()
}

/// Reads the parent out of `/proc/PID/stat`: `pid (name) state parent …`, where the name may hold anything.
fn parent_in(stat: &[u8]) -> Option<Pid> {
    let after_name = stat.rsplitn(2, |byte| *byte == b')').next()?;
    let parent = str::from_utf8(after_name).ok()?.split_ascii_whitespace().nth(1)?;
    Pid::from_raw(parent.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::from_raw(raw).expect("not zero")
    }

    #[test]
    fn a_name_cannot_fake_a_parent() {
        assert_eq!(parent_in(b"7 (a) b) (c) S 42 7 7 0 -1"), Some(pid(42)));
        assert_eq!(parent_in(b"1 (init) S 0 1 1"), None);
        assert_eq!(parent_in(b"nonsense"), None);
    }

    #[test]
    fn descendants_are_found_through_all_generations() {
        let process = |own, parent| Process { pid: pid(own), parent: Some(pid(parent)) };
        let all = [process(5, 3), process(2, 1), process(3, 2), process(9, 1)];
        assert_eq!(descendants(&all, pid(2)), [pid(3), pid(5)]);
    }

    #[test]
    fn this_process_is_among_all() {
        let own = rustix::process::getpid();
        let parent = rustix::process::getppid();
        let all = all_processes();
        assert!(all.iter().any(|process| process.pid == own && process.parent == parent));
    }
}
