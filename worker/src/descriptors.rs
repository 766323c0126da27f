//! Descriptors that this program was started with: a shell's redirections, a build tool's job server.
//!
//! What the worker opens itself is closed in every process that it starts. What it inherited is not, unless
//! [`keep_from_tasks`] says so.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

/// Standard error, the last descriptor that a task gets one of its own for.
const STDERR: RawFd = 2;

/// Sees to it that no descriptor which is open now reaches a task, but for the three that each task gets
/// anew. To be called before threads are started, and after everything was read that the program was
/// given by descriptor.
///
/// # Errors
/// Where `/proc` is not there.
pub fn keep_from_tasks() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<RawFd>().ok());
        if let Some(descriptor) = number.filter(|number| *number > STDERR) {
            keep(descriptor)?;
        }
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "an inherited descriptor has no owner in this program to borrow it from"
)]
fn keep(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: it is used for two calls that neither close nor read it. It was open a moment ago; where it
    // was the listing's own it may be closed by now, which the kernel says.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    match fcntl_getfd(borrowed).and_then(|flags| fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC)) {
        Ok(()) | Err(Errno::BADF) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
