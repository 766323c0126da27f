//! The fold of the facts up to some index, with what a journal and result segments need to go on from there.

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::Fact;
use gridctl_core::state::State;

use crate::journal::{Term, kept_of};
use crate::results::BlockId;

/// What the facts up to an index come to.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Folded {
    pub(crate) state: State,
    /// The last block of output that any fact has named, whether or not something still refers to it: what
    /// lies behind it was never acknowledged.
    pub(crate) output_end: Option<BlockId>,
    /// Of the last fact.
    pub(crate) term: Term,
}

impl Folded {
    /// Returns the index of the last fact in it.
    pub(crate) fn index(&self) -> FactIndex {
        self.state.applied()
    }

    /// Takes in the next fact.
    ///
    /// # Panics
    /// Where a fact was left out.
    pub(crate) fn apply(&mut self, index: FactIndex, fact: &Fact) {
        self.state.apply(fact);
        assert_eq!(self.state.applied(), index, "facts are folded in order, without a gap");
        if let Some(kept) = kept_of(fact) {
            self.output_end = self.output_end.max(Some(BlockId::of(kept)));
        }
    }
}
