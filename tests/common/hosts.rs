//! Two hosts on one wire, as network namespaces, where the machine lets us make them.

use std::process::{Child, Command, Stdio};

use super::until;

/// Longer than any test; the namespace is gone with the process that holds it.
const HELD_FOR: &str = "600";

/// A network namespace of its own, held by a process that does nothing. Gone when it goes out of scope.
pub(crate) struct Host {
    holder: Child,
}

impl Host {
    /// Makes a host without any link.
    ///
    /// # Errors
    /// Why that cannot be done here.
    pub(crate) fn new() -> Result<Self, String> {
        for program in ["unshare", "nsenter", "ip"] {
            let found = Command::new(program).arg("-V").output();
            found.map_err(|error| format!("{program} does not run: {error}"))?;
        }
        let tried = Command::new("unshare").args(["--net", "true"]).output().unwrap();
        if !tried.status.success() {
            return Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned());
        }
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let holder = Command::new("unshare")
            .args(["--net", "sleep", HELD_FOR])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let host = Self { holder };
        until("the holder is in its namespace", || {
            let now = std::fs::read_link(format!("/proc/{}/ns/net", host.pid()));
            if now.as_ref().is_ok_and(|now| *now != own) { Ok(()) } else { Err(now) }
        });
        Ok(host)
    }

    /// Puts a wire between two hosts, and gives each end its address.
    ///
    /// # Errors
    /// Why that cannot be done here.
    pub(crate) fn connect(&self, address: &str, other: &Self, others: &str) -> Result<(), String> {
        self.ip(&[
            "link",
            "add",
            "wire",
            "type",
            "veth",
            "peer",
            "name",
            "wire",
            "netns",
            &other.pid(),
        ])?;
        for (host, address) in [(self, address), (other, others)] {
            host.ip(&["link", "set", "lo", "up"])?;
            host.ip(&["address", "add", address, "dev", "wire"])?;
            host.ip(&["link", "set", "wire", "up"])?;
        }
        Ok(())
    }

    /// Takes one address away and gives another.
    pub(crate) fn move_to(&self, from: &str, to: &str) {
        self.ip(&["address", "del", from, "dev", "wire"]).unwrap();
        self.ip(&["address", "add", to, "dev", "wire"]).unwrap();
    }

    /// What to put before a command, so that it runs on this host.
    pub(crate) fn prefix(&self) -> Vec<String> {
        ["nsenter", "--net", "--target", &self.pid(), "--"].map(str::to_owned).to_vec()
    }

    fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    fn ip(&self, args: &[&str]) -> Result<(), String> {
        let prefix = self.prefix();
        let output =
            Command::new(&prefix[0]).args(&prefix[1..]).arg("ip").args(args).output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("ip {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
