//! Connections between workers and the coordinator, as QUIC gives them: streams are ordered and whole until
//! the connection breaks; then what is under way is lost, and each end notices in its own time.

use std::collections::VecDeque;
use std::sync::Arc;

use gridctl_core::event::SessionId;
use gridctl_transport::message::worker::{CoordinatorMessage, Output, UploadId, WorkerMessage};
use gridctl_worker::agent::{AgentEvent, LinkEnd, LinkId, MonoMs, TaskOutput};

use crate::coverage::Group;
use crate::invariants::Violation;
use crate::time::SimMs;
use crate::worker::AgentLife;
use crate::world::{Happening, Life, World};

/// Counts the connections of a schedule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// A connection, from its handshake on.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) life: AgentLife,
    pub(crate) link: LinkId,
    pub(crate) coordinator: Life,
    pub(crate) session: Option<SessionId>,
    /// Whether the worker takes it for open.
    pub(crate) worker_open: bool,
    /// Whether the coordinator does.
    pub(crate) coordinator_open: bool,
    /// Whether it still carries anything in this direction.
    pub(crate) carries_up: bool,
    pub(crate) carries_down: bool,
    /// When the last message sent in this direction arrives: none overtakes another.
    last_up: SimMs,
    /// The same of uploads, each of which has a stream of its own.
    last_upload: SimMs,
    last_down: SimMs,
    /// Nothing sent on it arrives at the coordinator before.
    pub(crate) late_until: SimMs,
    heartbeat_every_ms: u64,
    /// What it said first found no room.
    pub(crate) waits_for_room: bool,
    /// A heartbeat arrived while the coordinator stood still, and is not read.
    pub(crate) has_unread: bool,
    pub(crate) uploads: Vec<(UploadId, Arc<TaskOutput>)>,
    /// Messages that arrived behind a report whose uploads have not, that report first.
    pub(crate) waiting: VecDeque<WorkerMessage>,
}

/// What travels to the coordinator.
#[derive(Debug)]
pub(crate) enum Up {
    Message(Box<WorkerMessage>),
    Upload(UploadId, Arc<TaskOutput>),
    Heartbeat {
        sent: MonoMs,
    },
    /// The worker closed the connection, or it is noticed that it broke.
    End,
}

/// What travels to a worker.
#[derive(Debug)]
pub(crate) enum Down {
    Message(Box<CoordinatorMessage>),
    HeartbeatAnswered {
        sent: MonoMs,
    },
    /// The coordinator closed the connection, or it is noticed that it broke.
    End,
}

impl Connection {
    fn has_uploads_of(&self, message: &WorkerMessage) -> bool {
        let WorkerMessage::Report(report) = message else { return true };
        report.items.iter().all(|item| match item.output {
            Some(Output::Uploaded(upload)) => self.uploads.iter().any(|(sent, _)| *sent == upload),
            Some(Output::Inline { .. }) | None => true,
        })
    }
}

impl World<'_> {
    /// A worker's attempt to connect reaches the coordinator, or nobody.
    pub(crate) fn connect(&mut self, life: AgentLife, link: LinkId) -> Result<(), Violation> {
        if self.coordinator.is_none() {
            self.coverage.hit(Group::Elsewhere, "connection refused");
            let why = LinkEnd::Broken("nobody answers".to_owned());
            return self.tell_agent(life, AgentEvent::LinkDown { link, why });
        }
        if self.coordinator_paused_until > self.now {
            self.agenda.put(self.coordinator_paused_until, Happening::Connect(life, link));
            return Ok(());
        }
        let id = ConnectionId(self.connections.last_key_value().map_or(0, |(last, _)| last.0 + 1));
        let connection = Connection {
            life,
            link,
            coordinator: self.life,
            session: None,
            worker_open: true,
            coordinator_open: true,
            carries_up: true,
            carries_down: true,
            last_up: self.now,
            last_upload: self.now,
            last_down: self.now,
            late_until: SimMs(0),
            heartbeat_every_ms: 0,
            waits_for_room: false,
            has_unread: false,
            uploads: Vec::new(),
            waiting: VecDeque::new(),
        };
        self.connections.insert(id, connection);
        if self.workers[life.worker].life() == life {
            self.workers[life.worker].connection = Some(id);
        }
        self.tell_agent(life, AgentEvent::LinkUp { link })
    }

    /// Sends something to the coordinator.
    pub(crate) fn send_up(&mut self, id: ConnectionId, up: Up) {
        let latency = self.latency();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.carries_up {
            return;
        }
        let stalled = self.workers[connection.life.worker].stalled_up_until;
        let mut at = self.now.after(latency).max(stalled).max(connection.late_until);
        // Streams overtake each other; within one nothing does, and a connection ends after all of them.
        match up {
            Up::Heartbeat { .. } => {}
            Up::Upload(..) => connection.last_upload = at.max(connection.last_upload),
            Up::Message(_) => {
                at = at.max(connection.last_up);
                connection.last_up = at;
            }
            Up::End => at = at.max(connection.last_up).max(connection.last_upload),
        }
        self.agenda.put(at, Happening::Up(id, up));
    }

    /// Sends something to a worker.
    pub(crate) fn send_down(&mut self, id: ConnectionId, down: Down) {
        let latency = self.latency();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.carries_down {
            return;
        }
        let mut at =
            self.now.after(latency).max(self.workers[connection.life.worker].stalled_down_until);
        if !matches!(down, Down::HeartbeatAnswered { .. }) {
            at = at.max(connection.last_down);
            connection.last_down = at;
        }
        self.agenda.put(at, Happening::Down(id, down));
    }

    /// Breaks a connection: what is sent from now on is lost, what is under way too unless `late`; both ends
    /// notice within `within_ms`.
    pub(crate) fn break_connection(&mut self, id: ConnectionId, late: bool, within_ms: u64) {
        let worker_at = self.now.after(self.rng.u64(0..=within_ms));
        let coordinator_at = self.now.after(self.rng.u64(0..=2 * within_ms));
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.carries_down = false;
        connection.carries_up &= late;
        self.agenda.put(worker_at, Happening::Down(id, Down::End));
        let coordinator_at = coordinator_at.max(connection.last_up);
        self.agenda.put(coordinator_at, Happening::Up(id, Up::End));
    }

    pub(crate) fn arrive_up(&mut self, id: ConnectionId, up: Up) -> Result<(), Violation> {
        let alive = self.coordinator.is_some();
        let life = self.life;
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let is_end = matches!(up, Up::End);
        if matches!(up, Up::Heartbeat { .. }) {
            connection.has_unread = false;
        }
        if !alive || connection.coordinator != life || !connection.coordinator_open {
            return Ok(());
        }
        if !connection.carries_up && !is_end {
            return Ok(());
        }
        let session = connection.session;
        match up {
            Up::Message(message) => {
                connection.waiting.push_back(*message);
                self.hear_what_waits(id)
            }
            Up::Upload(upload, output) => {
                connection.uploads.push((upload, output));
                self.coverage.hit(Group::Elsewhere, "upload");
                self.hear_what_waits(id)
            }
            Up::Heartbeat { sent } => {
                let renewed = match session {
                    Some(session) => self.renew_lease(session)?,
                    None => false,
                };
                if renewed {
                    self.send_down(id, Down::HeartbeatAnswered { sent });
                } else {
                    self.coverage.hit(Group::Elsewhere, "heartbeat not answered");
                }
                Ok(())
            }
            Up::End => {
                connection.coordinator_open = false;
                connection.carries_down = false;
                session.map_or(Ok(()), |session| self.session_ends(session))
            }
        }
    }

    /// Takes in what a worker said, up to a report whose uploads have not arrived.
    pub(crate) fn hear_what_waits(&mut self, id: ConnectionId) -> Result<(), Violation> {
        while let Some(connection) = self.connections.get_mut(&id) {
            if connection.waits_for_room {
                break;
            }
            let Some(first) = connection.waiting.front() else { break };
            if !connection.has_uploads_of(first) {
                self.coverage.hit(Group::Elsewhere, "report waits for upload");
                break;
            }
            let Some(message) = connection.waiting.pop_front() else { break };
            self.worker_says(id, message)?;
        }
        Ok(())
    }

    pub(crate) fn arrive_down(&mut self, id: ConnectionId, down: Down) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let is_end = matches!(down, Down::End);
        if !connection.worker_open || (!connection.carries_down && !is_end) {
            return Ok(());
        }
        let (life, link) = (connection.life, connection.link);
        match down {
            Down::Message(message) => {
                self.trace.line(|| format!("worker {} hears {message:?}", life.worker));
                self.note_heard(life, &message);
                self.tell_agent(life, AgentEvent::Message { link, message: *message })?;
                self.check_epoch_remembered(life)
            }
            Down::HeartbeatAnswered { sent } => {
                let lease_ms = self.schedule.lease_ms;
                self.workers[life.worker].extend_lease(sent, lease_ms);
                self.tell_agent(life, AgentEvent::LeaseRenewed { link, sent, lease_ms })
            }
            Down::End => {
                connection.worker_open = false;
                connection.carries_up &= connection.late_until > self.now;
                let why = LinkEnd::Broken("the connection is gone".to_owned());
                self.tell_agent(life, AgentEvent::LinkDown { link, why })
            }
        }
    }

    /// Begins the heartbeats of a connection.
    pub(crate) fn begin_heartbeats(&mut self, id: ConnectionId, every_ms: u64) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.heartbeat_every_ms = every_ms;
            self.agenda.put(self.now, Happening::Heartbeat(id));
        }
    }

    pub(crate) fn heartbeat(&mut self, id: ConnectionId) -> Result<(), Violation> {
        let Some(connection) =
            self.connections.get(&id).filter(|connection| connection.worker_open)
        else {
            return Ok(());
        };
        let (life, every_ms) = (connection.life, connection.heartbeat_every_ms);
        if self.workers[life.worker].life() == life {
            let sent = self.workers[life.worker].mono(self.now);
            self.send_up(id, Up::Heartbeat { sent });
            self.agenda.put(self.now.after(every_ms), Happening::Heartbeat(id));
        }
        Ok(())
    }
}
