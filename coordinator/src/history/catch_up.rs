//! What a file that was kept over a restart lacks: what the facts after it touch, as recovery reads them.

use std::path::Path;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::Fact;
use gridctl_core::state::State;
use gridctl_jobs::id::Epoch;

use super::file::{HistoryFile, Mark};
use super::touched::Touched;

/// Goes along with recovery.
#[derive(Debug)]
pub(crate) struct CatchUp {
    mark: Option<Mark>,
    /// The first fact that was read: those before are in a snapshot.
    first: Option<FactIndex>,
    /// The epoch at the mark, where that was read.
    epoch_there: Option<Epoch>,
    /// Another epoch began after the mark.
    epoch_since: bool,
    touched: Touched,
}

/// What a file lacks.
#[derive(Debug)]
pub(crate) enum Missing {
    /// Rows, but for those only.
    Rows(Touched),
    /// All, or nobody knows what.
    Everything,
}

impl CatchUp {
    /// Reads up to where the file below `root` is.
    pub(crate) fn read(root: &Path) -> Self {
        // Whatever is wrong with it is found again by the thread, which says so.
        let mark = HistoryFile::open(root).and_then(|file| file.mark()).ok().flatten();
        let touched = Touched::default();
        Self { mark, first: None, epoch_there: None, epoch_since: false, touched }
    }

    /// Sees a fact that recovery has read.
    pub(crate) fn see(&mut self, index: FactIndex, fact: &Fact) {
        let Some(mark) = self.mark else { return };
        self.first.get_or_insert(index);
        if index > mark.fact {
            self.touched.add(fact);
        }
        if let Fact::EpochStarted { epoch, at: _ } = fact {
            if index > mark.fact {
                self.epoch_since = true;
            } else {
                self.epoch_there = Some(*epoch);
            }
        }
    }

    /// Says what is missing, once all was read and `state` is as of `last`.
    pub(crate) fn end(self, last: FactIndex, state: &State) -> Missing {
        let Some(mark) = self.mark else { return Missing::Everything };
        // What lies in a snapshot is not told fact by fact.
        let all_read = match self.first {
            Some(first) => first.0 <= mark.fact.0 + 1 && mark.fact <= last,
            None => mark.fact == last,
        };
        // A file of a journal that went another way since (a restored backup, say) was written in another life.
        let epoch = self.epoch_there.or((!self.epoch_since).then_some(state.epoch()));
        if all_read && epoch == Some(mark.epoch) {
            Missing::Rows(self.touched)
        } else {
            Missing::Everything
        }
    }
}
