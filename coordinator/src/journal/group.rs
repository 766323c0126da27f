//! What is committed together.

use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::{Fact, Kept};

/// Facts of one or more steps, in order, without a gap; shared, since the views apply them once they are
/// durable.
#[derive(Clone, Debug)]
pub struct FactGroup(Arc<Vec<(FactIndex, Fact)>>);

impl FactGroup {
    /// Makes a group of `facts`, or `None` where there is none.
    pub fn new(facts: Vec<(FactIndex, Fact)>) -> Option<Self> {
        if facts.is_empty() { None } else { Some(Self(Arc::new(facts))) }
    }

    /// Returns the facts with their indexes.
    pub fn facts(&self) -> &[(FactIndex, Fact)] {
        &self.0
    }

    /// Returns the index of the last fact.
    pub fn last(&self) -> FactIndex {
        self.0.last().expect("a group is never empty").0
    }
}

/// Returns where the output of the attempt lies that `fact` is about.
pub(crate) fn kept_of(fact: &Fact) -> Option<&Kept> {
    match fact {
        Fact::TaskDone(done) => Some(&done.kept),
        Fact::TaskFailed(failed) => failed.kept.as_ref(),
        Fact::EpochStarted { .. }
        | Fact::JobSubmitted(_)
        | Fact::RangeDone(_)
        | Fact::StageSkipped { .. }
        | Fact::TasksCancelled { .. }
        | Fact::JobEnded { .. }
        | Fact::TokenCreated(_)
        | Fact::TokenRevoked { .. }
        | Fact::WorkerEnrolled { .. }
        | Fact::UserEnrolled { .. }
        | Fact::JobReopened { .. }
        | Fact::StageReopened { .. }
        | Fact::TasksReopened { .. }
        | Fact::WorkerDraining { .. }
        | Fact::WorkerResumed { .. }
        | Fact::JobForgotten { .. }
        | Fact::WorkerAttached { .. }
        | Fact::WorkerDetached { .. }
        | Fact::LeaseLength { .. }
        | Fact::Watermark { .. }
        | Fact::SetBack { .. }
        | Fact::TaskLost(_)
        | Fact::TasksSkipped { .. } => None,
    }
}
