//! Heartbeats: a lease is renewed, then the answer goes out. Nothing else is touched or waited for.

use std::sync::Arc;
use std::time::Duration;

use gridctl_core::event::SessionId;
use gridctl_jobs::id::WorkerId;
use gridctl_transport::frame::{FrameReader, FrameWriter};
use gridctl_transport::message::worker::{Heartbeat, HeartbeatAnswer, StreamKind};
use tokio::time::{Instant, timeout};

use super::Shared;
use super::end::End;
use crate::clock;
use crate::limits::{FIRST_MESSAGE_WITHIN, HEARTBEATS_PER_INTERVAL_MAX, WRITE_WITHIN};

/// Above that of the other streams of the connection, which is 0.
const PRIORITY: i32 = 1;

/// Serves the heartbeat stream of a session until it ends or the lease does.
pub(super) async fn serve(
    shared: Arc<Shared>,
    (worker, session): (WorkerId, SessionId),
    mut writer: FrameWriter,
    mut reader: FrameReader,
) -> Result<(), End> {
    let kind = timeout(FIRST_MESSAGE_WITHIN, reader.expect::<StreamKind>());
    match kind.await.map_err(|_| End::Late("the kind of a stream"))?? {
        StreamKind::Heartbeats => {}
        StreamKind::Control | StreamKind::Upload { .. } => {
            return Err(End::Unexpected(
                "a stream of a kind that was there before, or that does not answer",
            ));
        }
    }
    // An error means that the stream is gone already; the next write says so.
    let _ = writer.stream().set_priority(PRIORITY);
    let lease_ms = shared.leases.lease_ms();
    let mut pace = Pace::new(Duration::from_millis(shared.heartbeat_ms));
    while let Some(Heartbeat { sequence }) = reader.read().await? {
        if !pace.allows(Instant::now()) {
            return Err(End::Unexpected("heartbeats come far too often"));
        }
        if shared.leases.renew(worker, session, clock::mono()).is_err() {
            // The lease has run out or was closed; the core closes the session with the reason.
            return Ok(());
        }
        let answer = HeartbeatAnswer { sequence, lease_ms };
        timeout(WRITE_WITHIN, writer.write(&answer)).await.map_err(|_| End::DoesNotRead)??;
    }
    Ok(())
}

/// Counts heartbeats by interval.
struct Pace {
    interval: Duration,
    since: Option<Instant>,
    beats: u32,
}

impl Pace {
    fn new(interval: Duration) -> Self {
        Self { interval, since: None, beats: 0 }
    }

    fn allows(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now - since >= self.interval) {
            self.since = Some(now);
            self.beats = 0;
        }
        self.beats += 1;
        self.beats <= HEARTBEATS_PER_INTERVAL_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_of_heartbeats_is_seen_and_an_ordinary_pace_is_not() {
        let interval = Duration::from_secs(1);
        let start = Instant::now();
        let mut pace = Pace::new(interval);
        assert!((0..100).all(|n| pace.allows(start + interval * n)), "one an interval");
        let burst = start + interval * 200;
        assert!((0..HEARTBEATS_PER_INTERVAL_MAX).all(|_| pace.allows(burst)));
        assert!(!pace.allows(burst));
        assert!(pace.allows(burst + interval));
    }
}
