//! A file system of one's own that can be filled, where the machine lets us mount one.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::until;

/// Longer than any test; the mount is gone with the process that holds it.
const HELD_FOR: &str = "900";
/// What fills it.
const FILLER: &str = "filler";

/// A tmpfs in a mount namespace of its own, which nothing else sees. Gone when it goes out of scope.
pub(crate) struct Tmpfs {
    holder: Child,
    at: TempDir,
}

impl Tmpfs {
    /// Mounts one with these options.
    ///
    /// # Errors
    /// Why that cannot be done here.
    pub(crate) fn mount(options: &str) -> Result<Self, String> {
        for program in ["unshare", "nsenter"] {
            let found = Command::new(program).arg("-V").output();
            found.map_err(|error| format!("{program} does not run: {error}"))?;
        }
        let at = TempDir::new().unwrap();
        let script = r#"mount -t tmpfs -o "$1" none "$2" && : > "$2/mounted""#;
        let mount = |then: &str| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", &format!("{script} && {then}"), "sh", options]);
            command.arg(at.path()).stdin(Stdio::null());
            command
        };
        let tried = mount("true").output().unwrap();
        if !tried.status.success() {
            return Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned());
        }
        let holder = mount(&format!("exec sleep {HELD_FOR}")).spawn().unwrap();
        let tmpfs = Self { holder, at };
        until("the file system is mounted", || {
            let seen = fs::read_dir(tmpfs.seen()).map(|entries| entries.count());
            if tmpfs.seen().join("mounted").exists() { Ok(()) } else { Err(seen) }
        });
        Ok(tmpfs)
    }

    /// Where it is for commands behind [`Tmpfs::prefix`].
    pub(crate) fn path(&self) -> &Path {
        self.at.path()
    }

    /// What runs a command where it is mounted.
    pub(crate) fn prefix(&self) -> Vec<String> {
        ["nsenter", "--mount", "--target", &self.holder.id().to_string(), "--"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.seen().join(FILLER))
            .unwrap();
        // In ever smaller steps, so that nothing is left.
        for step in [1 << 20, 64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![1; step]).is_ok() {}
        }
    }

    /// Takes all inodes that are left.
    pub(crate) fn fill_inodes(&self) {
        let directory = self.seen().join("fillers");
        fs::create_dir_all(&directory).unwrap();
        let file = |n: usize| fs::File::create(directory.join(n.to_string()));
        let _ = (0..).map(file).find(Result::is_err);
    }

    /// Gives back what was taken.
    pub(crate) fn free(&self) {
        for taken in [self.seen().join(FILLER), self.seen().join("fillers")] {
            // One of the two is there.
            let _ = if taken.is_dir() { fs::remove_dir_all(taken) } else { fs::remove_file(taken) };
        }
    }

    /// Mounts it again with other options.
    pub(crate) fn remount(&self, options: &str) {
        let prefix = self.prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).args(["mount", "-o", &format!("remount,{options}")]);
        let ended = command.arg(self.path()).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
    }

    /// Counts the files in one of its directories.
    pub(crate) fn count(&self, directory: &str) -> usize {
        fs::read_dir(self.seen().join(directory)).map_or(0, Iterator::count)
    }

    /// Where we see it.
    fn seen(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(self.at.path().strip_prefix("/").unwrap())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // It may be gone by now.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
