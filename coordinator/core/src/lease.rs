//! Leases of worker sessions: who may go on, until when.
//!
//! The table is shared by the session tasks, which renew and then answer heartbeats, and the reactor, which
//! expires. Expiry first closes a session to answers, and only then tells the scheduler, so that no worker
//! is promised time that the scheduler has given away.
//!
//! A coordinator that itself stood still (paused, or starved of cpu) finds every lease run out at once, while
//! the heartbeats that would have renewed them lie unread. So [`LeaseTable::expire`] notices when it was not
//! called for long, and expires nothing for a moment, until what has arrived was read.
//!
//! Deliberately absent: clocks, locks, and what a worker holds.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::planted::{Bug, is_on};

use crate::event::{MonoMs, SessionId};

/// How often [`LeaseTable::expire`] wants to be called, in milliseconds: a fraction of the shortest lease
/// that makes sense (1 s), and nothing to a cpu.
pub const EXPIRE_EVERY_MS: u64 = 100;
/// A gap between two calls of [`LeaseTable::expire`] that says that we stood still, in milliseconds: five
/// calls missed, which a merely busy machine does not reach.
pub const STALL_MS: u64 = 500;
/// How long nothing expires after we stood still, in milliseconds: time to read what the kernel's socket
/// buffers hold, which is at most some thousand datagrams.
pub const STALL_GRACE_MS: u64 = 250;

/// The leases of all sessions.
#[derive(Clone, Debug)]
pub struct LeaseTable {
    lease_ms: u64,
    silence_ms: u64,
    sessions: BTreeMap<SessionId, Lease>,
    by_end: BTreeSet<(MonoMs, SessionId)>,
    /// When sessions that are not silent are.
    by_silence: BTreeSet<(MonoMs, SessionId)>,
    /// Were silent, and were heard since the last call.
    heard: BTreeSet<SessionId>,
    last_call: Option<MonoMs>,
    grace_until: MonoMs,
}

/// What has become of a session, by its heartbeats alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseNews {
    /// Heartbeats are missing; its lease still runs.
    Silent(SessionId),
    /// It was silent, and a heartbeat came.
    Heard(SessionId),
    /// Its lease has run out; it gets no answer any more.
    Expired(SessionId),
}

/// The session's lease has run out or was closed: it gets no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the lease of this session has run out; say Hello again")]
pub struct Closed;

#[derive(Clone, Copy, Debug)]
struct Lease {
    end: MonoMs,
    renewed: MonoMs,
    /// `None` where it is silent.
    silent_at: Option<MonoMs>,
}

impl LeaseTable {
    /// Makes a table of leases of `lease_ms` milliseconds, of workers that are to be heard every
    /// `heartbeat_ms`: who misses two heartbeats is silent.
    pub const fn new(lease_ms: u64, heartbeat_ms: u64) -> Self {
        // Two intervals, and a part of one for the way; and before the lease is over.
        let missed = heartbeat_ms.saturating_mul(2).saturating_add(heartbeat_ms / 4);
        let latest = lease_ms / 10 * 9;
        Self {
            lease_ms,
            silence_ms: if missed < latest { missed } else { latest },
            sessions: BTreeMap::new(),
            by_end: BTreeSet::new(),
            by_silence: BTreeSet::new(),
            heard: BTreeSet::new(),
            last_call: None,
            grace_until: MonoMs(0),
        }
    }

    /// Begins a session's lease, before its Hello is passed on.
    pub fn open(&mut self, session: SessionId, now: MonoMs) {
        // Also who stands still before the first look at leases is noticed.
        self.last_call.get_or_insert(now);
        self.set(session, now);
    }

    /// Renews a session's lease from `now` on; only then its heartbeat may be answered.
    ///
    /// # Errors
    /// [`Closed`] where the lease has run out or was closed: no answer goes out.
    pub fn renew(&mut self, session: SessionId, now: MonoMs) -> Result<(), Closed> {
        if !self.sessions.contains_key(&session) {
            return Err(Closed);
        }
        self.set(session, now);
        Ok(())
    }

    /// Ends a session's lease without expiry: it was superseded, or left in order.
    pub fn close(&mut self, session: SessionId) {
        if let Some(lease) = self.sessions.remove(&session) {
            self.by_end.remove(&(lease.end, session));
            self.heard.remove(&session);
            if let Some(at) = lease.silent_at {
                self.by_silence.remove(&(at, session));
            }
        }
    }

    /// Says which sessions have become silent, were heard again, or have run out; the last are closed. To be
    /// called every [`EXPIRE_EVERY_MS`].
    ///
    /// After a gap of more than [`STALL_MS`] nobody is silent or expires for [`STALL_GRACE_MS`], so that
    /// heartbeats that have arrived meanwhile are read first.
    pub fn expire(&mut self, now: MonoMs) -> Vec<LeaseNews> {
        let stood_still =
            self.last_call.is_some_and(|last| now.0.saturating_sub(last.0) > STALL_MS);
        self.last_call = Some(now);
        if stood_still {
            self.grace_until = MonoMs(now.0 + STALL_GRACE_MS);
        }
        let heard = std::mem::take(&mut self.heard).into_iter();
        let mut news: Vec<LeaseNews> = heard.map(LeaseNews::Heard).collect();
        if now < self.grace_until && !is_on(Bug::StandstillExpires) {
            return news;
        }
        while let Some((end, session)) = self.by_end.first().copied() {
            if end > now {
                break;
            }
            if is_on(Bug::ExpiredStillAnswered) {
                self.by_end.remove(&(end, session));
            } else {
                self.close(session);
            }
            news.push(LeaseNews::Expired(session));
        }
        while let Some((at, session)) = self.by_silence.first().copied() {
            if at > now {
                break;
            }
            self.by_silence.remove(&(at, session));
            if let Some(lease) = self.sessions.get_mut(&session) {
                lease.silent_at = None;
            }
            news.push(LeaseNews::Silent(session));
        }
        news
    }

    /// Returns when a session's last heartbeat (or its Hello) came.
    pub fn last_heartbeat(&self, session: SessionId) -> Option<MonoMs> {
        self.sessions.get(&session).map(|lease| lease.renewed)
    }

    /// Says whether a session's lease runs.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Returns how long a lease lasts, in milliseconds.
    pub const fn lease_ms(&self) -> u64 {
        self.lease_ms
    }

    fn set(&mut self, session: SessionId, now: MonoMs) {
        let end = MonoMs(now.0.saturating_add(self.lease_ms));
        let silent_at = MonoMs(now.0.saturating_add(self.silence_ms));
        let lease = Lease { end, renewed: now, silent_at: Some(silent_at) };
        if let Some(old) = self.sessions.insert(session, lease) {
            self.by_end.remove(&(old.end, session));
            match old.silent_at {
                Some(at) => {
                    self.by_silence.remove(&(at, session));
                }
                None => {
                    self.heard.insert(session);
                }
            }
        }
        self.by_end.insert((end, session));
        self.by_silence.insert((silent_at, session));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn table() -> LeaseTable {
        LeaseTable::new(1_000, 300)
    }

    /// Calls `expire` as the reactor does, up to and with `until`; returns who has run out.
    fn run(table: &mut LeaseTable, from: u64, until: u64) -> Vec<SessionId> {
        (from..=until)
            .step_by(usize::try_from(EXPIRE_EVERY_MS).unwrap())
            .flat_map(|now| expired(table, now))
            .collect()
    }

    fn expired(table: &mut LeaseTable, now: u64) -> Vec<SessionId> {
        let of = |news| match news {
            LeaseNews::Expired(session) => Some(session),
            LeaseNews::Silent(_) | LeaseNews::Heard(_) => None,
        };
        table.expire(MonoMs(now)).into_iter().filter_map(of).collect()
    }

    #[test]
    fn a_session_that_misses_two_heartbeats_is_silent_until_it_is_heard() {
        let mut table = table();
        table.open(A, MonoMs(0));
        let news: Vec<LeaseNews> =
            (0..=7).flat_map(|step| table.expire(MonoMs(step * EXPIRE_EVERY_MS))).collect();
        assert_eq!(news, [LeaseNews::Silent(A)], "told once, before the lease is over");
        table.renew(A, MonoMs(750)).unwrap();
        assert_eq!(table.expire(MonoMs(800)), [LeaseNews::Heard(A)]);
        assert_eq!(table.expire(MonoMs(900)), []);
        table.close(A);
        assert_eq!(table.expire(MonoMs(1_400)), [], "it has left");
    }

    #[test]
    fn silence_comes_before_the_end_of_the_lease_however_rare_heartbeats_are() {
        let mut table = LeaseTable::new(1_000, 500);
        table.open(A, MonoMs(0));
        assert_eq!(table.expire(MonoMs(450)), []);
        assert_eq!(table.expire(MonoMs(900)), [LeaseNews::Silent(A)]);
        assert_eq!(table.expire(MonoMs(1_000)), [LeaseNews::Expired(A)]);
    }

    #[test]
    fn a_lease_runs_out_unless_renewed() {
        let mut table = table();
        table.open(A, MonoMs(0));
        table.open(B, MonoMs(0));
        assert_eq!(run(&mut table, 0, 500), []);
        table.renew(B, MonoMs(500)).unwrap();
        assert_eq!(run(&mut table, 600, 900), []);
        assert_eq!(expired(&mut table, 1_000), [A]);
        assert_eq!(run(&mut table, 1_100, 1_400), []);
        assert_eq!(expired(&mut table, 1_500), [B]);
    }

    #[test]
    fn an_expired_session_gets_no_answer() {
        let mut table = table();
        table.open(A, MonoMs(0));
        assert_eq!(run(&mut table, 0, 1_000), [A]);
        assert_eq!(table.renew(A, MonoMs(1_000)), Err(Closed));
        assert_eq!(table.last_heartbeat(A), None);
    }

    #[test]
    fn a_closed_session_does_not_expire() {
        let mut table = table();
        table.open(A, MonoMs(0));
        table.close(A);
        assert!(!table.is_open(A));
        assert_eq!(run(&mut table, 0, 2_000), []);
    }

    #[test]
    fn a_coordinator_that_stood_still_before_its_first_look_reads_before_it_expires() {
        let mut table = table();
        table.open(A, MonoMs(0));
        assert_eq!(table.expire(MonoMs(2_000)), []);
        table.renew(A, MonoMs(2_010)).unwrap();
        assert_eq!(run(&mut table, 2_100, 3_000), []);
        assert_eq!(expired(&mut table, 3_010), [A]);
    }

    #[test]
    fn a_coordinator_that_stood_still_reads_before_it_expires() {
        let mut table = table();
        table.open(A, MonoMs(0));
        table.open(B, MonoMs(0));
        assert_eq!(expired(&mut table, 100), []);
        // Paused for a minute; both leases have run out meanwhile, but only B is really gone.
        assert_eq!(expired(&mut table, 60_000), []);
        table.renew(A, MonoMs(60_010)).unwrap();
        assert_eq!(run(&mut table, 60_100, 60_200), []);
        assert_eq!(expired(&mut table, 60_250), [B]);
        assert_eq!(table.last_heartbeat(A), Some(MonoMs(60_010)));
    }
}
