//! A pid namespace: everything in it dies with its first process, whatever that is, and for sure.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The way back to the namespace that this process is in itself.
#[derive(Debug)]
pub(super) struct OwnNamespace(File);

impl OwnNamespace {
    pub(super) fn open() -> io::Result<Self> {
        File::open("/proc/self/ns/pid").map(Self)
    }

    /// Lets the next child be the first process of a new namespace. Each namespace has one life: when its
    /// first process is gone, nothing can be started in it any more.
    pub(super) fn next_child_in_new_one(&self) -> io::Result<()> {
        self.next_child_here()?;
        leave(UnshareFlags::NEWPID)
    }

    /// Lets the next child be in the namespace of this process.
    pub(super) fn next_child_here(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::ProcessID))?)
    }
}

/// In the first process of a namespace: gives it a `/proc` that shows the pids which it has. What is
/// mounted elsewhere later is seen here, what is mounted here is not seen elsewhere.
pub(super) fn show_own_pids() -> io::Result<()> {
    leave(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("proc", "/proc", "proc", flags, None)?)
}

#[expect(unsafe_code, reason = "the call is unsafe for the sake of another of its flags")]
fn leave(what: UnshareFlags) -> io::Result<()> {
    // SAFETY: only a table of descriptors that is no longer shared (FILES) could harm anyone; neither of
    // the two flags that come here touches it.
    Ok(unsafe { unshare_unsafe(what) }?)
}
