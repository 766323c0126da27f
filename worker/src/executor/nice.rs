//! Threads that run tasks stand back behind those that speak with the coordinator.

use rustix::process::setpriority_process;

/// How far: at 10 a thread at 0 gets nine times as much of a contended cpu, and never waits long.
const NICE: i32 = 10;

/// Lowers the calling thread's priority for good; a process that it starts inherits it.
pub(super) fn be_nice() {
    // Lowering is always allowed; on Linux the priority is the thread's. A task that runs at normal
    // priority all the same is no reason not to run it.
    let _ = setpriority_process(None, NICE);
}
