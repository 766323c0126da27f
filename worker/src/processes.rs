//! Finds processes by `/proc`, and ends those below another.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

/// How long to wait between two looks at processes that were killed, at first and at most.
const LOOK_AFTER: Duration = Duration::from_micros(200);
const LOOK_AFTER_MAX: Duration = Duration::from_millis(20);

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// `None` where it is outside this namespace, or the kernel.
    pub(crate) parent: Option<Pid>,
    pub(crate) group: Option<Pid>,
    /// In ticks of 10 ms since the machine started; with the pid it names a process for good.
    pub(crate) started: u64,
    /// Whether nothing of it runs any more; it may not be reaped yet.
    pub(crate) is_over: bool,
}

/// Waits longer and longer between looks at something that ends soon.
pub(crate) struct Patience(Duration);

impl Patience {
    pub(crate) const fn new() -> Self {
        Self(LOOK_AFTER)
    }

    pub(crate) fn wait(&mut self) {
        std::thread::sleep(self.0);
        self.0 = (self.0 * 2).min(LOOK_AFTER_MAX);
    }
}

/// Ends every child of this process, and every process that becomes one because its parent has ended,
/// until there is none or the time is up. Only for a reaper, which all orphans come to.
pub(crate) fn kill_children(own: Pid, until: Option<Instant>) {
    let mut patience = Patience::new();
    loop {
        for child in all().into_iter().filter(|process| process.parent == Some(own)) {
            let _ = kill_process(child.pid, Signal::KILL);
        }
        // Fails once there is no child any more.
        while let Ok(reaped) = wait(WaitOptions::NOHANG) {
            if reaped.is_none() {
                break;
            }
        }
        if wait(WaitOptions::NOHANG).is_err() || until.is_some_and(|until| until <= Instant::now())
        {
            return;
        }
        patience.wait();
    }
}

/// Ends every process below `ancestor` until nothing of them runs, or the time is up.
pub(crate) fn kill_descendants(ancestor: Pid, until: Instant) {
    let mut patience = Patience::new();
    loop {
        let all = all();
        let mut running = below(&all, &[ancestor]);
        running.retain(|process| !process.is_over);
        if running.is_empty() || until <= Instant::now() {
            return;
        }
        for process in running {
            let _ = kill_process(process.pid, Signal::KILL);
        }
        patience.wait();
    }
}

/// Returns the processes below `ancestors`, through all generations.
pub(crate) fn below(processes: &[Process], ancestors: &[Pid]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = ancestors.to_vec();
    while let Some(parent) = parents.pop() {
        for child in processes.iter().filter(|process| process.parent == Some(parent)) {
            if !found.contains(child) {
                found.push(*child);
                parents.push(child.pid);
            }
        }
    }
    found
}

/// Returns every process that is there now.
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let process =
        |entry: fs::DirEntry| find(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?);
    entries.filter_map(|entry| process(entry.ok()?)).collect()
}

/// Returns what is known of one process; `None` where it is gone.
pub(crate) fn find(pid: Pid) -> Option<Process> {
    parse(pid, &fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

/// Reads `/proc/PID/stat`: `pid (name) state parent group …`, where the name may hold anything.
fn parse(pid: Pid, stat: &[u8]) -> Option<Process> {
    let after_name = stat.rsplitn(2, |byte| *byte == b')').next()?;
    let fields: Vec<&str> = str::from_utf8(after_name).ok()?.split_ascii_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<i32>().ok();
    // A first thread that has ended looks like this too while others of its process go on.
    let has_ended = matches!(*fields.first()?, "Z" | "X");
    Some(Process {
        pid,
        parent: Pid::from_raw(number(1)?),
        group: Pid::from_raw(number(2)?),
        started: fields.get(19)?.parse().ok()?,
        is_over: has_ended && number(17)? <= 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::from_raw(raw).expect("not zero")
    }

    const REST: &str = "7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0";

    #[test]
    fn a_name_cannot_fake_a_parent() {
        let parsed = parse(pid(7), format!("7 (a) b) (c) S 42 7 {REST}").as_bytes()).unwrap();
        assert_eq!((parsed.parent, parsed.group), (Some(pid(42)), Some(pid(7))));
        assert_eq!((parsed.started, parsed.is_over), (4242, false));
        let init = parse(pid(1), format!("1 (init) S 0 1 {REST}").as_bytes()).unwrap();
        assert_eq!(init.parent, None);
        assert_eq!(parse(pid(7), b"nonsense"), None);
    }

    #[test]
    fn a_process_is_over_when_its_last_thread_is() {
        let stat =
            |threads: u32| format!("7 (a) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 4242 0");
        assert!(parse(pid(7), stat(1).as_bytes()).unwrap().is_over);
        assert!(!parse(pid(7), stat(2).as_bytes()).unwrap().is_over);
    }

    #[test]
    fn descendants_are_found_through_all_generations() {
        let process = |own, parent| Process {
            pid: pid(own),
            parent: Some(pid(parent)),
            group: None,
            started: 0,
            is_over: false,
        };
        let all = [process(5, 3), process(2, 1), process(3, 2), process(9, 1)];
        let found: Vec<Pid> =
            below(&all, &[pid(2)]).into_iter().map(|process| process.pid).collect();
        assert_eq!(found, [pid(3), pid(5)]);
    }

    #[test]
    fn this_process_is_among_all() {
        let own = find(rustix::process::getpid()).unwrap();
        assert_eq!(own.parent, rustix::process::getppid());
        assert!(!own.is_over && own.started > 0);
        assert!(all().iter().any(|process| process.pid == own.pid));
    }
}
