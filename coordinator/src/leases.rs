//! The lease table as sessions, expiry and readers share it. Heartbeats touch nothing else: no reactor, no
//! journal, no placement.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gridctl_core::event::{Event, MonoMs, SessionId};
use gridctl_core::lease::{Closed, EXPIRE_EVERY_MS, LeaseNews, LeaseTable};
use gridctl_jobs::id::WorkerId;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::reactor::ReactorHandle;

/// Leases of all sessions, and when each worker was last heard.
#[derive(Debug)]
pub(crate) struct Leases {
    lease_ms: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: LeaseTable,
    /// One entry a worker that ever said Hello in this life, so no more than are enrolled.
    heard: BTreeMap<WorkerId, MonoMs>,
}

impl Leases {
    pub(crate) fn new(lease_ms: u64, heartbeat_ms: u64) -> Self {
        let table = LeaseTable::new(lease_ms, heartbeat_ms);
        let inner = Inner { table, heard: BTreeMap::new() };
        Self { lease_ms, inner: Mutex::new(inner) }
    }

    /// Returns how long a lease lasts, in milliseconds.
    pub(crate) fn lease_ms(&self) -> u64 {
        self.lease_ms
    }

    /// Begins the lease of a session, before its Hello is passed on.
    pub(crate) fn open(&self, worker: WorkerId, session: SessionId, now: MonoMs) {
        let mut inner = self.locked();
        inner.table.open(session, now);
        inner.heard.insert(worker, now);
    }

    /// Renews a lease; only then may the heartbeat be answered.
    pub(crate) fn renew(
        &self,
        worker: WorkerId,
        session: SessionId,
        now: MonoMs,
    ) -> Result<(), Closed> {
        let mut inner = self.locked();
        inner.table.renew(session, now)?;
        inner.heard.insert(worker, now);
        Ok(())
    }

    /// Ends a lease: its session was superseded, refused, or left in order.
    pub(crate) fn close(&self, session: SessionId) {
        self.locked().table.close(session);
    }

    /// Returns how long ago a worker was last heard, in milliseconds.
    pub(crate) fn heard_ms_ago(&self, worker: WorkerId, now: MonoMs) -> Option<u64> {
        self.locked().heard.get(&worker).map(|heard| now.0.saturating_sub(heard.0))
    }

    /// Ends what has run out and tells the reactor, until it stops. Runs where heartbeats are served: when
    /// that stood still, the table sees it by the gap between two calls.
    pub(crate) async fn keep_expiring(&self, reactor: &ReactorHandle) {
        let mut ticks = tokio::time::interval(Duration::from_millis(EXPIRE_EVERY_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let news = self.locked().table.expire(clock::mono());
            for news in news {
                let event = match news {
                    LeaseNews::Silent(session) => Event::Silent { session },
                    LeaseNews::Heard(session) => Event::Heard { session },
                    LeaseNews::Expired(session) => Event::LeaseExpired { session },
                };
                if reactor.tell(event).await.is_err() {
                    return;
                }
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock, and every change of the table is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_whose_session_ended_is_still_known_to_have_been_heard() {
        let leases = Leases::new(1_000, 300);
        let (worker, session) = (WorkerId(1), SessionId(1));
        leases.open(worker, session, MonoMs(0));
        assert_eq!(leases.heard_ms_ago(worker, MonoMs(5)), Some(5), "its Hello was heard");
        leases.renew(worker, session, MonoMs(10)).expect("open");
        leases.close(session);
        assert_eq!(leases.renew(worker, session, MonoMs(20)), Err(Closed));
        assert_eq!(leases.heard_ms_ago(worker, MonoMs(30)), Some(20));
    }
}
