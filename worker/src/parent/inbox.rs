//! Signals of a process without threads, as a descriptor that can be waited for beside others.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

/// The signals of a process above a worker.
pub(super) struct Inbox(SignalDelivery<UnixStream, WithOrigin>);

/// What signals told.
#[derive(Default)]
pub(super) struct Told {
    /// How the child ended.
    pub(super) ended: Option<WaitStatus>,
    /// Whether someone asked for the end.
    pub(super) stop: bool,
}

impl Inbox {
    /// Takes over what ends programs, and the news of children. A hangup that this program was started to
    /// ignore (`nohup`) stays ignored, for the child too.
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let mut signals = vec![SIGCHLD, SIGINT, SIGTERM];
        signals.extend(Some(SIGHUP).filter(|signal| !is_ignored(*signal)));
        SignalDelivery::with_pipe(read, write, WithOrigin::default(), signals).map(Self)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }

    /// Hears what has come: reaps all that has ended below, forwards what ends programs to `child`.
    pub(super) fn hear(&mut self, child: Option<Pid>) -> Told {
        let mut told = Told::default();
        // What woke is read away first, so that what comes meanwhile wakes again.
        let mut buffer = [0; 64];
        while rustix::io::read(self.0.get_read(), &mut buffer)
            .is_ok_and(|bytes| bytes == buffer.len())
        {}
        for origin in self.0.pending() {
            if origin.signal == SIGCHLD {
                told.ended = told.ended.or(reap(child));
                continue;
            }
            told.stop = true;
            // A terminal tells its whole process group, of which the child is one; told twice, it would
            // take it for the second Ctrl-C, which stops at once.
            let by_terminal = origin.signal != SIGTERM && origin.cause == Cause::Kernel;
            if let (Some(child), Some(signal), false) =
                (child, Signal::from_named_raw(origin.signal), by_terminal)
            {
                // It fails where the child is gone; that is noticed next.
                let _ = kill_process(child, signal);
            }
        }
        told
    }
}

/// Reaps all that has ended below, and returns the status of `child` if it is among it.
fn reap(child: Option<Pid>) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if Some(pid) == child {
            found = Some(status);
        }
    }
    found
}

/// Waits until one of the descriptors has something, or the time is up; says which have.
pub(super) fn wait_for<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<&Timespec>,
) -> [bool; N] {
    let mut polled =
        descriptors.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
    // Interrupted, it has nothing to tell yet; it is called again.
    let _ = poll(&mut polled, timeout);
    polled.map(|descriptor| !descriptor.revents().is_empty())
}

/// Says whether this program was started with a signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}
