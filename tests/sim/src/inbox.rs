//! What has arrived at someone who stands still, or has more to do than there is time for.
//!
//! It is taken in the order in which it arrived, one thing after another.

use std::collections::VecDeque;

use crate::invariants::Violation;
use crate::network::Up;
use crate::time::SimMs;
use crate::world::{Happening, World};

/// A heartbeat that arrived so long before the end of a pause is one that a coordinator can know of.
const UNREAD_FROM_MS: u64 = 1_000;

/// Someone who may stand still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    Coordinator,
    Worker(usize),
}

/// What waits for one node.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: VecDeque<Happening>,
    /// Whether the next look into it is on the agenda.
    is_due: bool,
}

/// A coordinator with more to do than there is time for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Overload {
    pub(crate) until: SimMs,
    /// What it takes for one thing, at most.
    pub(crate) cost_ms: u64,
    busy_until: SimMs,
}

impl World<'_> {
    /// Lets something happen, or lets it wait for who does not get to it yet.
    pub(crate) fn happen_or_wait(&mut self, happening: Happening) -> Result<(), Violation> {
        let Some(node) = self.node_of(&happening) else { return self.happen(happening) };
        let free_at = self.free_at(node, &happening);
        let passes = is_of_its_own(&happening);
        if free_at <= self.now && (passes || self.inbox(node).waiting.is_empty()) {
            self.note_busy(node, &happening);
            return self.happen(happening);
        }
        if let Happening::Up(connection, Up::Heartbeat { .. }) = &happening
            && free_at >= self.now.after(UNREAD_FROM_MS)
            && let Some(connection) = self.connections.get_mut(connection)
        {
            connection.has_unread = true;
        }
        self.inbox(node).waiting.push_back(happening);
        self.look_later(node, free_at);
        Ok(())
    }

    /// Looks into an inbox.
    pub(crate) fn look_into_inbox(&mut self, node: Node) -> Result<(), Violation> {
        self.inbox(node).is_due = false;
        // What has a thread of its own does not wait behind what has not.
        let waiting = std::mem::take(&mut self.inbox(node).waiting);
        let ready = waiting.iter().position(|it| self.free_at(node, it) <= self.now);
        self.inbox(node).waiting = waiting;
        let first = ready.and_then(|place| self.inbox(node).waiting.remove(place));
        if let Some(first) = &first {
            self.note_busy(node, first);
        }
        let waiting = std::mem::take(&mut self.inbox(node).waiting);
        let next_at = waiting.iter().map(|it| self.free_at(node, it)).min();
        self.inbox(node).waiting = waiting;
        if let Some(next_at) = next_at {
            self.look_later(node, next_at);
        }
        first.map_or(Ok(()), |first| self.happen(first))
    }

    fn look_later(&mut self, node: Node, at: SimMs) {
        let at = at.max(self.now);
        let inbox = self.inbox(node);
        if !inbox.is_due {
            inbox.is_due = true;
            self.agenda.put(at, Happening::Look(node));
        }
    }

    fn inbox(&mut self, node: Node) -> &mut Inbox {
        match node {
            Node::Coordinator => &mut self.coordinator_inbox,
            Node::Worker(worker) => &mut self.workers[worker].inbox,
        }
    }

    /// Returns from when on somebody gets to this.
    fn free_at(&self, node: Node, happening: &Happening) -> SimMs {
        match node {
            Node::Worker(worker) => self.workers[worker].paused_until,
            Node::Coordinator if is_of_its_own(happening) => self.coordinator_paused_until,
            Node::Coordinator => self.coordinator_paused_until.max(self.overload.busy_until),
        }
    }

    fn note_busy(&mut self, node: Node, happening: &Happening) {
        if node == Node::Coordinator && self.overload.until > self.now && !is_of_its_own(happening)
        {
            let cost_ms = self.rng.u64(0..=self.overload.cost_ms);
            self.overload.busy_until = self.now.after(cost_ms);
        }
    }

    /// Returns who must be there for this to happen.
    fn node_of(&self, happening: &Happening) -> Option<Node> {
        match happening {
            Happening::CommitEnds(_)
            | Happening::Sweep(_)
            | Happening::CoordinatorTick(_)
            | Happening::ExpireLeases(_)
            | Happening::Up(..)
            | Happening::RequestArrives(_) => Some(Node::Coordinator),
            Happening::Connect(life, _)
            | Happening::AgentTick(life)
            | Happening::FromExecutor(life, _)
            // Tasks run on while their worker stands still, but nobody takes their ends.
            | Happening::TaskEnds(life, ..) => Some(Node::Worker(life.worker)),
            Happening::Down(connection, _) | Happening::Heartbeat(connection) => {
                let connection = self.connections.get(connection)?;
                Some(Node::Worker(connection.life.worker))
            }
            Happening::Fault(_)
            | Happening::StartCoordinator
            | Happening::ParentKills(..)
            | Happening::DiskHeals
            | Happening::HearAgain(_)
            | Happening::StartWorker(_)
            | Happening::Ask(_)
            | Happening::ReplyArrives(..)
            | Happening::Look(_) => None,
        }
    }
}

/// Says whether a coordinator has a thread for this that does nothing else.
const fn is_of_its_own(happening: &Happening) -> bool {
    matches!(
        happening,
        Happening::Up(_, Up::Heartbeat { .. })
            | Happening::ExpireLeases(_)
            | Happening::CommitEnds(_)
            | Happening::Sweep(_)
    )
}
