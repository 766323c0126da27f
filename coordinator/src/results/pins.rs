//! Pins: what was appended and is in no durable fact yet keeps its segment.

use std::collections::VecDeque;
use std::sync::Arc;

use gridctl_core::effect::FactIndex;

use super::log::Results;

/// Keeps the segment that was open when it was made, and all later ones, from being cleared.
#[derive(Debug)]
pub struct Pin {
    results: Arc<Results>,
    segment: u32,
}

impl Pin {
    /// Takes one. Do so before anything is appended, and hold it until the fact that names it is durable, or until
    /// there will be none.
    pub fn new(results: &Arc<Results>) -> Self {
        let segment = results.pin();
        Self { results: Arc::clone(results), segment }
    }
}

impl Pin {
    /// Returns the one of `pins` that keeps the most.
    pub fn lowest(pins: Vec<Self>) -> Option<Self> {
        pins.into_iter().min_by_key(|pin| pin.segment)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.results.unpin(self.segment);
    }
}

/// Pins of what the scheduler has been told, each until a fact is durable.
#[derive(Debug, Default)]
pub struct Pins(VecDeque<(FactIndex, Vec<Pin>)>);

impl Pins {
    /// Holds pins until `index` is durable; indexes do not go back.
    pub fn hold(&mut self, index: FactIndex, pins: Vec<Pin>) {
        if !pins.is_empty() {
            self.0.push_back((index, pins));
        }
    }

    /// Lets go of those whose facts are durable.
    pub fn release(&mut self, durable: FactIndex) {
        while self.0.front().is_some_and(|(index, _)| *index <= durable) {
            self.0.pop_front();
        }
    }
}
