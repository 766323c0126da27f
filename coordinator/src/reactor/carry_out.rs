//! What is durable is shown to readers first, then sent.

use std::mem;

use gridctl_core::effect::{CloseReason, Effect, FactIndex, ToWorker};
use gridctl_core::event::SessionId;

use super::log;
use super::run::Reactor;

impl Reactor {
    /// Shows facts and changes up to `durable`, then sends, replies and closes.
    pub(super) fn carry_out(&mut self, durable: FactIndex) {
        self.pins.release(durable);
        let released: Vec<Effect> = self.gate.release(durable).collect();
        let news = self.unshown.front().is_some_and(|group| group.facts()[0].0 <= durable);
        if released.is_empty() && !news {
            return;
        }
        let effects = self.show(durable, released);
        for effect in effects {
            match effect {
                Effect::Send { session, message } => self.send(session, message),
                Effect::Reply { request, reply } => {
                    if let Some(line) = self.requests.remove(&request) {
                        // Whoever asked may have gone meanwhile.
                        let _ = line.send(reply);
                    }
                }
                Effect::Close { session, why } => self.close(session, why),
                Effect::Show(_) => unreachable!("changes of the views were taken out above"),
            }
        }
    }

    /// Applies to the views, at once, all facts up to `durable` and all changes among `released`; returns the
    /// other effects.
    fn show(&mut self, durable: FactIndex, released: Vec<Effect>) -> Vec<Effect> {
        let mut others = Vec::with_capacity(released.len());
        let mut lines = Vec::new();
        let unshown = mem::take(&mut self.unshown);
        let mut shown = Vec::new();
        self.views.publish(|content| {
            for group in unshown {
                for (index, fact) in group.facts() {
                    if *index <= durable && *index > content.state.applied() {
                        content.state.apply(fact);
                        lines.extend(log::of_fact(fact, &content.state));
                    }
                }
                if group.last() > durable {
                    self.unshown.push_back(group);
                } else {
                    shown.push(group);
                }
            }
            for effect in released {
                match effect {
                    Effect::Show(change) => {
                        lines.extend(log::of_change(&change, content));
                        content.activity.apply(&change);
                    }
                    other @ (Effect::Send { .. } | Effect::Reply { .. } | Effect::Close { .. }) => {
                        others.push(other);
                    }
                }
            }
        });
        shown.iter().for_each(|group| self.views.note_shown(group));
        lines.into_iter().for_each(log::Line::write);
        others
    }

    fn send(&mut self, session: SessionId, message: ToWorker) {
        let Some(outbox) = self.sessions.get(&session) else { return };
        if outbox.push(message).is_err() {
            // The session sees why, and tells the core that the connection is gone.
            self.sessions.remove(&session);
        }
    }

    fn close(&mut self, session: SessionId, why: CloseReason) {
        self.leases.close(session);
        if let Some(outbox) = self.sessions.remove(&session) {
            outbox.close(why);
        }
    }
}
