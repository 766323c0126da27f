//! The first process of a namespace: the worker's parent in there.
//!
//! When the worker is gone, or the parent outside, it ends what is left, removes what was noted, and ends
//! itself; whatever it should miss dies with it, by the kernel's hand.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, waitpid};

use super::board::{Board, Slot, inherited_reader};
use super::inbox::{Inbox, wait_for};
use super::mark::{Mark, Role};
use super::{exit_code, namespace, remove, start};
use crate::processes::kill_children;

/// How long what is left may take to die before this process does: then the kernel ends it, without fail.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Starts the worker, and cleans up after it.
pub(super) fn be_init(mark: &Mark) -> io::Result<ExitCode> {
    let board = Board::inherited(mark.board)?;
    let life_line = inherited_reader(mark.life_line)?;
    if namespace::show_own_pids().is_err() {
        board.write(Slot::NoNamespace, 1)?;
        return Ok(ExitCode::FAILURE);
    }
    let mut inbox = Inbox::new()?;
    let worker = start(&Mark { role: Role::InNamespace, ..*mark })?;
    let status = watch(&mut inbox, &life_line, worker);
    kill_children(getpid(), Some(Instant::now() + KILL_PATIENCE));
    remove(&board);
    Ok(status.map_or(ExitCode::FAILURE, exit_code))
}

/// Waits until the worker is gone; it is killed when the parent outside is.
fn watch(inbox: &mut Inbox, life_line: impl AsFd, worker: Pid) -> Option<WaitStatus> {
    loop {
        let [signalled, alone] = wait_for([inbox.descriptor(), life_line.as_fd()], None);
        if alone {
            // First of all: how its tasks end now is no outcome of theirs, and it must not see it.
            let _ = kill_process(worker, Signal::KILL);
            return waitpid(Some(worker), WaitOptions::empty())
                .ok()
                .flatten()
                .map(|(_, status)| status);
        }
        if signalled && let Some(status) = inbox.hear(Some(worker)).ended {
            return Some(status);
        }
    }
}
