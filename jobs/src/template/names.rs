//! Which placeholders exist, and for which items.

use std::fmt;

use super::{Part, Placeholder, Template};
use crate::spec::{ItemSource, Items};

/// The kinds of items that differ in what a task can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemKind {
    /// No `for_each`.
    Single,
    /// A number a task.
    Numbers,
    /// A chunk of numbers a task.
    Chunks,
    /// A text a task (`list`, `lines`).
    Texts,
    /// A file a task.
    Files,
}

impl ItemKind {
    /// Returns every placeholder that exists for such a stage, in the order in which people are told them.
    pub fn placeholders(self) -> impl Iterator<Item = Placeholder> {
        Placeholder::ALL.into_iter().filter(move |placeholder| placeholder.exists_for(self))
    }
}

impl fmt::Display for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "a stage without for_each",
            Self::Numbers => "a stage over a range",
            Self::Chunks => "a stage over chunks of a range",
            Self::Texts => "a stage over a list or lines",
            Self::Files => "a stage over files",
        })
    }
}

impl Placeholder {
    /// Every placeholder, in the order in which people are told them.
    pub const ALL: [Self; 11] = [
        Self::Item,
        Self::ItemPath,
        Self::ItemName,
        Self::ItemStem,
        Self::Start,
        Self::End,
        Self::Job,
        Self::Stage,
        Self::Index,
        Self::Count,
        Self::Attempt,
    ];

    /// Returns the name that stands between the braces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Stage => "stage",
            Self::Index => "index",
            Self::Count => "count",
            Self::Attempt => "attempt",
            Self::Item => "item",
            Self::ItemPath => "item.path",
            Self::ItemName => "item.name",
            Self::ItemStem => "item.stem",
            Self::Start => "start",
            Self::End => "end",
        }
    }

    /// Returns the placeholder of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|placeholder| placeholder.name() == name)
    }

    /// Says whether a stage over such items has it.
    pub const fn exists_for(self, kind: ItemKind) -> bool {
        match self {
            Self::Job | Self::Stage | Self::Index | Self::Count | Self::Attempt => true,
            Self::Item => matches!(kind, ItemKind::Numbers | ItemKind::Texts | ItemKind::Files),
            Self::ItemPath | Self::ItemName | Self::ItemStem => matches!(kind, ItemKind::Files),
            Self::Start | Self::End => matches!(kind, ItemKind::Chunks),
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.name())
    }
}

impl Template {
    /// Returns the first placeholder that a stage over such items does not have.
    pub fn foreign_to(&self, kind: ItemKind) -> Option<Placeholder> {
        self.parts.iter().find_map(|part| match part {
            Part::Fill(placeholder) if !placeholder.exists_for(kind) => Some(*placeholder),
            Part::Fill(_) | Part::Literal(_) => None,
        })
    }
}

impl Items {
    /// Returns what tasks over these items can ask for.
    pub const fn kind(&self) -> ItemKind {
        match self {
            Self::Single => ItemKind::Single,
            Self::Numbers(numbers) if numbers.chunk.is_some() => ItemKind::Chunks,
            Self::Numbers(_) => ItemKind::Numbers,
            Self::Texts(_) => ItemKind::Texts,
            Self::Files { .. } => ItemKind::Files,
        }
    }
}

impl ItemSource {
    /// Returns what tasks over these items can ask for.
    pub const fn kind(&self) -> ItemKind {
        match self {
            Self::Single => ItemKind::Single,
            Self::Numbers(numbers) if numbers.chunk.is_some() => ItemKind::Chunks,
            Self::Numbers(_) => ItemKind::Numbers,
            Self::Texts => ItemKind::Texts,
            Self::Files { .. } => ItemKind::Files,
        }
    }
}
