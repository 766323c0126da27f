//! Where in the file the parts of a job stand.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::Place;
use crate::limits::SOURCE_LINE_CHARS_MAX;

/// A part of a job: a key's path, such as `env.LANG` or `command[2]`, of one stage or of the job.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Spot {
    /// The stage's place in the job; `None` for a key of the job itself.
    pub(crate) stage: Option<usize>,
    /// Empty for the stage or the job as a whole.
    pub(crate) path: String,
}

/// The file that a job was read from, and where in it its parts stand.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The file's path as it was given.
    pub(crate) file: String,
    pub(crate) text: Arc<str>,
    pub(crate) places: Places,
}

/// Byte ranges of the parts of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    spans: BTreeMap<Spot, Range<usize>>,
}

impl Spot {
    pub(crate) fn job(path: &str) -> Self {
        Self { stage: None, path: path.to_owned() }
    }

    pub(crate) fn stage(stage: usize, path: impl Into<String>) -> Self {
        Self { stage: Some(stage), path: path.into() }
    }

    /// Returns the part `key` of this one.
    pub(crate) fn key(&self, key: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { stage: self.stage, path: format!("{}{dot}{key}", self.path) }
    }

    /// Returns the element at `index` of this one.
    pub(crate) fn at(&self, index: usize) -> Self {
        Self { stage: self.stage, path: format!("{}[{index}]", self.path) }
    }

    /// Returns the key of this one itself, apart from its value.
    pub(crate) fn own_key(&self) -> Self {
        Self { stage: self.stage, path: format!("{}#", self.path) }
    }

    /// Returns the part that this one is in.
    fn parent(&self) -> Option<Self> {
        if self.path.is_empty() {
            return None;
        }
        let end = self.path.rfind(['.', '[', '#']).unwrap_or(0);
        Some(Self { stage: self.stage, path: self.path[..end].to_owned() })
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl Places {
    pub(crate) fn insert(&mut self, spot: Spot, span: Range<usize>) {
        self.spans.insert(spot, span);
    }

    /// Returns where `spot` stands, or the nearest part around it that stands somewhere.
    pub(crate) fn span(&self, spot: &Spot) -> Option<Range<usize>> {
        let mut next = Some(spot.clone());
        while let Some(spot) = next {
            if let Some(span) = self.spans.get(&spot) {
                return Some(span.clone());
            }
            next = spot.parent();
        }
        None
    }
}

/// Returns the place of the bytes `span` of `text`; a span past the end is the end.
pub(crate) fn place(text: &str, span: Range<usize>) -> Place {
    let start = floor_boundary(text, span.start);
    let line_start = line_start(text, start);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line = text[line_start..line_end].trim_end_matches('\r');
    // A place at a line's end (something is missing there) lies just behind the line's text.
    let start = start.min(line_start + line.len());
    let end = floor_boundary(text, span.end).clamp(start, line_start + line.len());
    let before = text[line_start..start].chars().count();
    let length = text[start..end].chars().count().max(1);
    let (source_line, source_offset) = excerpt(line, before);
    Place {
        line: text[..line_start].bytes().filter(|&byte| byte == b'\n').count() + 1,
        column: before + 1,
        length: length.min((source_line.chars().count() + 1).saturating_sub(source_offset)).max(1),
        source_line,
        source_offset,
    }
}

/// Returns the start of the line in which the byte `at` of `text` lies.
pub(crate) fn line_start(text: &str, at: usize) -> usize {
    text[..floor_boundary(text, at)].rfind('\n').map_or(0, |end| end + 1)
}

/// Returns the last start of a character of `text` at or before the byte `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Returns at most [`SOURCE_LINE_CHARS_MAX`] characters of `line` around the one at `before`, and where that
/// one is then. Control characters become spaces, so that nothing in a file reaches a terminal as a command.
fn excerpt(line: &str, before: usize) -> (String, usize) {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let chars = line.chars().count();
    if chars <= SOURCE_LINE_CHARS_MAX {
        return (line.chars().map(shown).collect(), before);
    }
    let from = before.saturating_sub(SOURCE_LINE_CHARS_MAX / 2).min(chars - SOURCE_LINE_CHARS_MAX);
    let (left, right) = (from > 0, from + SOURCE_LINE_CHARS_MAX < chars);
    let mut text: String = if left { "…".to_owned() } else { String::new() };
    text.extend(line.chars().skip(from).take(SOURCE_LINE_CHARS_MAX).map(shown));
    if right {
        text.push('…');
    }
    (text, before - from + usize::from(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let text = "a = 1\nb = \"ü\" # x\r\nlast";
        let at = text.find("# x").expect("it is there");
        let found = place(text, at..at + 3);
        assert_eq!((found.line, found.column, found.length), (2, 9, 3));
        assert_eq!(found.source_line, "b = \"ü\" # x");
        let end = place(text, text.len()..text.len() + 5);
        assert_eq!((end.line, end.column, end.length), (3, 5, 1));
    }

    #[test]
    fn a_span_over_lines_is_cut_to_its_first() {
        let found = place("x = [\n1,\n]", 4..10);
        assert_eq!((found.line, found.column, found.length), (1, 5, 1));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let found = place(&text, 5000..5001);
        assert_eq!(found.column, 5001);
        assert_eq!(found.source_line.chars().count(), SOURCE_LINE_CHARS_MAX + 2);
        assert_eq!(found.source_line.chars().nth(found.source_offset), Some('X'));
    }

    #[test]
    fn the_nearest_part_around_is_found() {
        let mut places = Places::default();
        places.insert(Spot::stage(0, ""), 0..9);
        places.insert(Spot::stage(0, "env"), 10..19);
        assert_eq!(places.span(&Spot::stage(0, "env.A.b[3]")), Some(10..19));
        assert_eq!(places.span(&Spot::stage(0, "command[2]")), Some(0..9));
        assert_eq!(places.span(&Spot::job("name")), None);
    }
}
