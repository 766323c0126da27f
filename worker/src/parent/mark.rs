//! What a process is told that is started below another one of the same program: one environment variable.
//! (Tasks see nothing of the worker's environment.)

use std::os::fd::RawFd;

use rustix::process::{Pid, getpid, getppid};

/// The variable.
pub(super) const MARK: &str = "GRIDCTL_SUPERVISED_BY";

/// What is in it. Descriptors are inherited under their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub(super) role: Role,
    pub(super) board: RawFd,
    pub(super) wake: RawFd,
    /// Closes when the outermost parent is gone.
    pub(super) life_line: RawFd,
    /// Of the data directory, where the parent has it.
    pub(super) lock: Option<RawFd>,
    pub(super) respawns: bool,
    /// How many processes of this worker this parent has seen the end of.
    pub(super) predecessors: u32,
}

/// What the process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// The first process of a namespace, and the parent of the worker in it.
    Init,
    /// The worker below the outermost parent, which has this pid.
    Below(i32),
    /// The worker in a namespace, below its init.
    InNamespace,
}

impl Mark {
    /// Reads the variable of this process, where it is meant for it: a copy of it that came some other way
    /// is not believed.
    pub(super) fn of_this_process() -> Option<Self> {
        let mark = Self::parse(&std::env::var(MARK).ok()?)?;
        let (own, parent) = (getpid(), getppid().map(Pid::as_raw_pid));
        let is_meant = match mark.role {
            Role::Init => own == Pid::INIT && parent.is_none(),
            Role::Below(pid) => parent == Some(pid),
            Role::InNamespace => parent == Some(Pid::INIT.as_raw_pid()),
        };
        is_meant.then_some(mark)
    }

    /// Writes it down.
    pub(super) fn text(&self) -> String {
        let role = match self.role {
            Role::Init => "init".to_owned(),
            Role::Below(pid) => pid.to_string(),
            Role::InNamespace => "inside".to_owned(),
        };
        let Self { board, wake, life_line, predecessors, .. } = self;
        let lock = self.lock.map_or_else(|| "-".to_owned(), |lock| lock.to_string());
        let respawns = u8::from(self.respawns);
        format!("{role} {board} {wake} {life_line} {lock} {respawns} {predecessors}")
    }

    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [role, board, wake, life_line, lock, respawns, predecessors] = words[..] else {
            return None;
        };
        Some(Self {
            role: match role {
                "init" => Role::Init,
                "inside" => Role::InNamespace,
                pid => Role::Below(pid.parse().ok()?),
            },
            board: board.parse().ok()?,
            wake: wake.parse().ok()?,
            life_line: life_line.parse().ok()?,
            lock: if lock == "-" { None } else { Some(lock.parse().ok()?) },
            respawns: respawns == "1",
            predecessors: predecessors.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for (role, lock) in
            [(Role::Init, None), (Role::Below(7), Some(9)), (Role::InNamespace, Some(3))]
        {
            let mark = Mark {
                role,
                board: 4,
                wake: 6,
                life_line: 7,
                lock,
                respawns: true,
                predecessors: 2,
            };
            assert_eq!(Mark::parse(&mark.text()), Some(mark));
        }
        assert_eq!(Mark::parse("1"), None);
        assert_eq!(Mark::parse(""), None);
    }
}
