//! Text with placeholders, parsed once.
//!
//! Which names there are for which items is in `names`, how text is read in `parse`, how a task's values
//! are filled in in `fill`.

mod fill;
mod names;
mod parse;

use serde::{Deserialize, Serialize};

pub use fill::{Fill, ItemValue};
pub use names::ItemKind;
pub use parse::{Issue, IssueKind, ParsedTemplate};

/// Text in which placeholders stand for what differs from task to task.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Template {
    /// In order; literals next to each other are allowed.
    pub parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Part {
    /// Text that stays as it is.
    Literal(String),
    /// A value of the task.
    Fill(Placeholder),
}

/// What can be filled in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Placeholder {
    /// `{job}`: the job's number.
    Job,
    /// `{stage}`: the stage's name.
    Stage,
    /// `{index}`: the task's place in its stage, from 0.
    Index,
    /// `{count}`: how many tasks the stage has.
    Count,
    /// `{attempt}`: from 1.
    Attempt,
    /// `{item}`: the number, the text, or the path as matched.
    Item,
    /// `{item.path}`: absolute.
    ItemPath,
    /// `{item.name}`: the last component.
    ItemName,
    /// `{item.stem}`: the last component without its extension.
    ItemStem,
    /// `{start}` of a chunk.
    Start,
    /// `{end}` of a chunk, exclusive.
    End,
}
