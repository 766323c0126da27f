//! Filling a task's values into text.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{Part, Placeholder, Template};

/// A task's own item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemValue<'a> {
    /// The stage has no `for_each`.
    None,
    /// A number of a range.
    Number(i64),
    /// A chunk of a range.
    Chunk {
        /// The first number.
        start: i64,
        /// The number after the last.
        end: i64,
    },
    /// An element of a list, or a line.
    Text(&'a str),
    /// A file.
    File {
        /// The absolute directory that a relative `path` starts from.
        base: &'a str,
        /// As matched.
        path: &'a str,
    },
}

/// The values of one attempt of one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill<'a> {
    /// The job's number.
    pub job: u64,
    /// The stage's name.
    pub stage: &'a str,
    /// The task's place in its stage, from 0.
    pub index: u64,
    /// How many tasks the stage has.
    pub count: u64,
    /// From 1.
    pub attempt: u32,
    /// The task's item.
    pub item: ItemValue<'a>,
}

impl<'a> ItemValue<'a> {
    /// Returns the item as a function gets it that asks for nothing else: the number, the text, the path,
    /// a chunk as `{start, end}`, or null.
    pub fn to_json(&self) -> Value {
        match *self {
            Self::None => Value::Null,
            Self::Number(number) => number.into(),
            Self::Chunk { start, end } => json!({ "start": start, "end": end }),
            Self::Text(text) | Self::File { path: text, .. } => text.into(),
        }
    }

    /// Returns the absolute path of a file.
    pub(crate) fn path(&self) -> Option<String> {
        match *self {
            Self::File { path, .. } if path.starts_with('/') => Some(path.to_owned()),
            Self::File { base, path } => Some(format!("{}/{path}", base.trim_end_matches('/'))),
            Self::None | Self::Number(_) | Self::Chunk { .. } | Self::Text(_) => None,
        }
    }

    /// Returns the last component of a file's path.
    pub(crate) fn name(&self) -> Option<&'a str> {
        match *self {
            Self::File { path, .. } => Some(Path::new(path).file_name()?.to_str()?),
            Self::None | Self::Number(_) | Self::Chunk { .. } | Self::Text(_) => None,
        }
    }

    /// Returns the last component of a file's path without its extension.
    pub(crate) fn stem(&self) -> Option<&'a str> {
        match *self {
            Self::File { path, .. } => Some(Path::new(path).file_stem()?.to_str()?),
            Self::None | Self::Number(_) | Self::Chunk { .. } | Self::Text(_) => None,
        }
    }
}

impl Template {
    /// Returns the text with the values of a task filled in.
    ///
    /// A placeholder that the task's item does not have leaves nothing; [`Template::foreign_to`] finds
    /// those beforehand.
    pub fn fill(&self, fill: &Fill<'_>) -> String {
        let mut out = String::with_capacity(self.literal_bytes() + 16 * self.parts.len());
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Fill(placeholder) => fill.write(*placeholder, &mut out),
            }
        }
        out
    }

    /// Returns the value in `args`: of its own type where the text is nothing but one placeholder.
    pub fn fill_value(&self, fill: &Fill<'_>) -> Value {
        match self.parts.as_slice() {
            [Part::Fill(placeholder)] => fill.value(*placeholder),
            _ => self.fill(fill).into(),
        }
    }
}

impl Fill<'_> {
    fn write(&self, placeholder: Placeholder, out: &mut String) {
        let number = match placeholder {
            Placeholder::Job => i128::from(self.job),
            Placeholder::Index => i128::from(self.index),
            Placeholder::Count => i128::from(self.count),
            Placeholder::Attempt => i128::from(self.attempt),
            Placeholder::Stage => return out.push_str(self.stage),
            Placeholder::ItemPath => return out.push_str(&self.item.path().unwrap_or_default()),
            Placeholder::ItemName => return out.push_str(self.item.name().unwrap_or_default()),
            Placeholder::ItemStem => return out.push_str(self.item.stem().unwrap_or_default()),
            Placeholder::Item => match self.item {
                ItemValue::Number(number) => i128::from(number),
                ItemValue::Text(text) | ItemValue::File { path: text, .. } => {
                    return out.push_str(text);
                }
                ItemValue::None | ItemValue::Chunk { .. } => return,
            },
            Placeholder::Start => match self.item {
                ItemValue::Chunk { start, .. } => i128::from(start),
                ItemValue::None
                | ItemValue::Number(_)
                | ItemValue::Text(_)
                | ItemValue::File { .. } => return,
            },
            Placeholder::End => match self.item {
                ItemValue::Chunk { end, .. } => i128::from(end),
                ItemValue::None
                | ItemValue::Number(_)
                | ItemValue::Text(_)
                | ItemValue::File { .. } => return,
            },
        };
        write!(out, "{number}").expect("writing to a string cannot fail");
    }

    fn value(&self, placeholder: Placeholder) -> Value {
        match (placeholder, self.item) {
            (Placeholder::Job, _) => self.job.into(),
            (Placeholder::Index, _) => self.index.into(),
            (Placeholder::Count, _) => self.count.into(),
            (Placeholder::Attempt, _) => self.attempt.into(),
            (Placeholder::Item, item) => item.to_json(),
            (Placeholder::Start, ItemValue::Chunk { start, .. }) => start.into(),
            (Placeholder::End, ItemValue::Chunk { end, .. }) => end.into(),
            (
                Placeholder::Stage
                | Placeholder::ItemPath
                | Placeholder::ItemName
                | Placeholder::ItemStem
                | Placeholder::Start
                | Placeholder::End,
                _,
            ) => {
                let mut text = String::new();
                self.write(placeholder, &mut text);
                text.into()
            }
        }
    }
}
