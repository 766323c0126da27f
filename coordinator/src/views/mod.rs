//! What readers see: a copy of the durable state and of what goes on, always as of some durable index.
//!
//! The reactor publishes; sessions read, without asking the core. A reader holds the lock for one page of a
//! table at most.
//!
//! - `jobs`: lists and statuses · `tasks`: rows of tasks · `people`: workers, tokens, names
//! - `resolve`: which job a person means · `output`: which output comes next

mod jobs;
mod output;
mod people;
mod resolve;
mod tasks;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use gridctl_core::activity::Activity;
use gridctl_core::state::State;
use tokio::sync::watch;

use crate::history::Feed;
use crate::journal::FactGroup;
use crate::leases::Leases;

pub(crate) use output::{NextOutput, OutputCursor, OutputOf, OutputPiece};
pub(crate) use resolve::Resolved;
pub(crate) use tasks::TaskCursor;

/// What readers see.
#[derive(Debug)]
pub(crate) struct Views {
    content: RwLock<Content>,
    /// Counts changes.
    shown: watch::Sender<u64>,
    leases: Arc<Leases>,
    /// Where facts go that readers see.
    history: OnceLock<Feed>,
}

/// Durable and volatile state, of one moment.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) state: State,
    pub(crate) activity: Activity,
}

impl Views {
    /// Begins with what was recovered.
    pub(crate) fn new(state: State, leases: Arc<Leases>) -> Self {
        let content = RwLock::new(Content { state, activity: Activity::default() });
        Self { content, shown: watch::Sender::new(0), leases, history: OnceLock::new() }
    }

    /// Lets the history know from now on what readers see.
    pub(crate) fn feed(&self, history: Feed) {
        self.history.set(history).expect("there is one history");
    }

    /// Notes that readers see these facts.
    pub(crate) fn note_shown(&self, group: &FactGroup) {
        if let Some(history) = self.history.get() {
            history.note(group);
        }
    }

    /// Changes what is seen, at once, and wakes those who wait for a change.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.content.write().unwrap_or_else(PoisonError::into_inner));
        self.shown.send_modify(|version| *version += 1);
    }

    /// Reads; keep it short.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Content) -> T) -> T {
        read(&self.content.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns what sees every change that is published from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shown.subscribe()
    }
}
