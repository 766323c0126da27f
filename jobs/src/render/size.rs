//! How large a task becomes once its values are filled in, bounded before anything is allocated.

use crate::limits::NAME_CHARS_MAX;
use crate::spec::{ArgValue, Args, Run, Stdin, TaskTemplate};
use crate::template::{ItemValue, Part, Template};

/// Bytes of a character at most.
const CHAR_BYTES_MAX: usize = 4;

/// What a task is made of: bytes that stay, and places that are filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Size {
    literal_bytes: usize,
    fills: usize,
}

impl Size {
    pub(super) fn of(task: &TaskTemplate) -> Self {
        let mut size = Self::default();
        match &task.run {
            Run::Command { argv } => argv.iter().for_each(|text| size.add(text)),
            Run::Script { .. } | Run::Function { args: Args::Item, .. } => {}
            Run::Function { args: Args::Value(value), .. } => size.add_arg(value),
        }
        task.env.values().for_each(|value| size.add(value));
        match &task.stdin {
            Stdin::Empty => {}
            Stdin::Text(text) | Stdin::File(text) => size.add(text),
        }
        task.cwd.iter().for_each(|cwd| size.add(cwd));
        size
    }

    /// Returns how many bytes the task has at most with `item` filled in.
    pub(super) fn filled_bytes_max(self, item: &ItemValue<'_>) -> usize {
        let item_bytes = match item {
            ItemValue::None | ItemValue::Number(_) | ItemValue::Chunk { .. } => 0,
            ItemValue::Text(text) => text.len(),
            ItemValue::File { base, path } => base.len() + 1 + path.len(),
        };
        // Numbers and the stage's name are no longer than a name can be.
        let value_bytes = item_bytes.max(NAME_CHARS_MAX * CHAR_BYTES_MAX);
        self.literal_bytes.saturating_add(self.fills.saturating_mul(value_bytes))
    }

    fn add(&mut self, text: &Template) {
        self.literal_bytes += text.literal_bytes();
        self.fills += text.parts.iter().filter(|part| matches!(part, Part::Fill(_))).count();
    }

    fn add_arg(&mut self, value: &ArgValue) {
        match value {
            ArgValue::Null | ArgValue::Bool(_) | ArgValue::Integer(_) | ArgValue::Float(_) => {}
            ArgValue::Text(text) => self.add(text),
            ArgValue::Array(values) => values.iter().for_each(|value| self.add_arg(value)),
            ArgValue::Object(entries) => entries.iter().for_each(|(_, value)| self.add_arg(value)),
        }
    }
}
