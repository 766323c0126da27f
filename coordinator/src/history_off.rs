//! Built without the feature `history`: what belongs to the file does nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::Fact;
use gridctl_core::state::State;

use crate::journal::FactGroup;
use crate::space::Space;
use crate::views::Views;

#[derive(Debug)]
pub(crate) struct CatchUp;

#[derive(Debug)]
pub(crate) struct Missing;

#[derive(Clone, Debug)]
pub(crate) struct Feed;

#[derive(Debug)]
pub(crate) struct History;

impl CatchUp {
    pub(crate) fn read(_root: &Path) -> Self {
        Self
    }

    pub(crate) fn see(&mut self, _index: FactIndex, _fact: &Fact) {}

    pub(crate) fn end(self, _last: FactIndex, _state: &State) -> Missing {
        Missing
    }
}

impl Feed {
    pub(crate) fn note(&self, _group: &FactGroup) {}
}

impl History {
    pub(crate) fn start(
        _root: PathBuf,
        _missing: Missing,
        _views: Arc<Views>,
        _space: Arc<Space>,
    ) -> io::Result<(Feed, Self)> {
        Ok((Feed, Self))
    }

    pub(crate) fn stop(self) {}
}
