//! Heartbeats: on a stream of their own, ahead of everything else on the connection.

use std::collections::VecDeque;
use std::time::Duration;

use gridctl_transport::endpoint::Connection;
use gridctl_transport::frame::{FrameReader, FrameWriter};
use gridctl_transport::message::worker::{Heartbeat, HeartbeatAnswer, StreamKind};
use tokio::time::{MissedTickBehavior, interval};

use super::session::{lost, unheard, unsaid};
use crate::agent::{AgentEvent, LinkEnd, LinkId, MonoMs};
use crate::clock::mono;
use crate::events::Events;

/// Above the other streams, which have 0.
const PRIORITY: i32 = 1;
/// Heartbeats whose answers are waited for; with more outstanding the lease has run out long ago.
const UNANSWERED_MAX: usize = 64;

/// Beats until the connection is gone.
pub(super) async fn beat(link: LinkId, connection: Connection, every: Duration, events: Events) {
    let ended = try_beat(link, &connection, every, &events).await;
    if let Err(why) = ended {
        events.send(AgentEvent::LinkDown { link, why });
    }
}

async fn try_beat(
    link: LinkId,
    connection: &Connection,
    every: Duration,
    events: &Events,
) -> Result<(), LinkEnd> {
    let (mut writer, mut reader) = connection.open_bi().await.map_err(lost)?;
    // It fails only on a stream that was closed; writing says so.
    let _ = writer.stream().set_priority(PRIORITY);
    writer.write(&StreamKind::Heartbeats).await.map_err(unsaid)?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beats = Beats::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => beats.send(&mut writer).await?,
            answer = hear(&mut reader) => {
                let HeartbeatAnswer { sequence, lease_ms } = answer?;
                if let Some(sent) = beats.answered(sequence) {
                    events.send(AgentEvent::LeaseRenewed { link, sent, lease_ms });
                }
            }
        }
    }
}

async fn hear(reader: &mut FrameReader) -> Result<HeartbeatAnswer, LinkEnd> {
    reader.expect().await.map_err(unheard)
}

/// Which heartbeats were sent when.
#[derive(Debug, Default)]
struct Beats {
    sequence: u64,
    unanswered: VecDeque<(u64, MonoMs)>,
}

impl Beats {
    async fn send(&mut self, writer: &mut FrameWriter) -> Result<(), LinkEnd> {
        self.begin(mono());
        writer.write(&Heartbeat { sequence: self.sequence }).await.map_err(unsaid)
    }

    /// Notes that a heartbeat is about to be sent: the lease runs from here, since the coordinator
    /// cannot have seen it before.
    fn begin(&mut self, now: MonoMs) {
        self.sequence += 1;
        self.unanswered.push_back((self.sequence, now));
        if self.unanswered.len() > UNANSWERED_MAX {
            self.unanswered.pop_front();
        }
    }

    /// Returns when the answered heartbeat was sent; `None` for an answer to none of ours.
    fn answered(&mut self, sequence: u64) -> Option<MonoMs> {
        let place = self.unanswered.iter().position(|(beat, _)| *beat == sequence)?;
        self.unanswered.drain(..=place).next_back().map(|(_, sent)| sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_from_its_own_heartbeat_and_once() {
        let mut beats = Beats::default();
        for at in [10, 20, 30] {
            beats.begin(MonoMs(at));
        }
        assert_eq!(beats.answered(2), Some(MonoMs(20)));
        assert_eq!(beats.answered(1), None, "a later one was answered");
        assert_eq!(beats.answered(2), None);
        assert_eq!(beats.answered(99), None, "it was never sent");
        assert_eq!(beats.answered(3), Some(MonoMs(30)));
    }

    #[test]
    fn unanswered_heartbeats_are_bounded() {
        let mut beats = Beats::default();
        (0..1_000).for_each(|at| beats.begin(MonoMs(at)));
        assert_eq!(beats.unanswered.len(), UNANSWERED_MAX);
        assert_eq!(beats.answered(1_000), Some(MonoMs(999)));
    }
}
