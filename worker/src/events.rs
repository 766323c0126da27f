//! The reactor's inbox: whoever has something to tell the agent has one of these.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::agent::AgentEvent;

/// Where events go in. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub(crate) struct Events(Sender<ToReactor>);

/// What the reactor hears.
#[derive(Debug)]
pub(crate) enum ToReactor {
    Event(AgentEvent),
    /// A moment has come that something may be due at.
    Look,
    /// Ends the worker at once: what runs is killed, nothing is given back.
    Stop,
}

impl Events {
    /// Makes the two ends.
    pub(crate) fn new() -> (Self, Receiver<ToReactor>) {
        let (sender, receiver) = channel();
        (Self(sender), receiver)
    }

    /// Tells the agent. Once the reactor has ended nobody listens, and nothing needs to be told.
    pub(crate) fn send(&self, event: AgentEvent) {
        let _ = self.0.send(ToReactor::Event(event));
    }

    /// Makes the reactor look at the time; says whether it is there.
    pub(crate) fn wake(&self) -> bool {
        self.0.send(ToReactor::Look).is_ok()
    }

    /// Ends the worker at once.
    pub(crate) fn stop(&self) {
        let _ = self.0.send(ToReactor::Stop);
    }
}
