//! `for_each` and what it goes through.

use toml::de::{DeTable, DeValue};

use super::keys::Level;
use super::values::{Entry, Reader, entries};
use crate::diagnostic::Spot;
use crate::numbers::NumberRange;
use crate::stage::ForEach;

/// `for_each` as read.
#[derive(Default)]
pub(super) struct ReadForEach {
    /// `None` where an error was reported.
    pub(super) for_each: Option<ForEach>,
    pub(super) chunk: Option<u64>,
}

impl Reader<'_> {
    pub(super) fn for_each(&mut self, entry: &Entry<'_, '_>, spot: &Spot) -> ReadForEach {
        match entry.value.get_ref() {
            DeValue::Table(table) => self.for_each_table(entry, table, spot),
            other => {
                let hint = match other {
                    DeValue::String(text) if text.contains("..") => {
                        format!("write for_each.range = \"{text}\"")
                    }
                    DeValue::String(text) => {
                        format!("write for_each.files = \"{text}\", or `lines` or `list`")
                    }
                    DeValue::Array(_) => "write for_each.list = […]".to_owned(),
                    _ => "write for_each.range = \"0..10\", for_each.list = […], …".to_owned(),
                };
                self.wrong_type(entry, "a table", Some(hint));
                ReadForEach::default()
            }
        }
    }

    fn for_each_table(
        &mut self,
        entry: &Entry<'_, '_>,
        table: &DeTable<'_>,
        spot: &Spot,
    ) -> ReadForEach {
        let mut read = ReadForEach::default();
        let mut first: Option<&str> = None;
        let mut complete = true;
        let entries = entries(table);
        for entry in &entries {
            let spot = spot.key(entry.key);
            self.places.insert(spot.clone(), entry.span());
            let found = match entry.key {
                "range" => self.range(entry).map(ForEach::Range),
                "list" => self.list(entry, &spot).map(ForEach::List),
                "lines" => self.string(entry).map(ForEach::Lines),
                "files" => self.files(entry, &spot).map(ForEach::Files),
                "chunk" => {
                    read.chunk = self.chunk(entry);
                    complete &= read.chunk.is_some();
                    continue;
                }
                _ => {
                    self.unknown_key(entry, Level::ForEach);
                    complete = false;
                    continue;
                }
            };
            complete &= found.is_some();
            if let Some(first) = first {
                let message = format!(
                    "`for_each` goes through one thing, here are `{first}` and `{}`",
                    entry.key
                );
                self.report.error_at(
                    entry.key_span.clone(),
                    message,
                    Some("make it two stages".to_owned()),
                );
                complete = false;
            } else {
                first = Some(entry.key);
                read.for_each = found;
            }
        }
        if entries.is_empty() && self.report.is_whole() {
            let hint =
                "write for_each.range, for_each.list, for_each.lines or for_each.files".to_owned();
            self.report.error_at(
                entry.key_span.clone(),
                "`for_each` goes through nothing",
                Some(hint),
            );
            complete = false;
        }
        if complete && first.is_none() {
            // A chunk alone; the job's own check says that it needs a range.
            read.for_each = Some(ForEach::Once);
        }
        if !complete {
            read.for_each = None;
        }
        read
    }

    fn range(&mut self, entry: &Entry<'_, '_>) -> Option<NumberRange> {
        match entry.value.get_ref() {
            DeValue::String(text) => match text.parse::<NumberRange>() {
                Ok(range) => Some(range),
                Err(error) => {
                    self.report.error_at(entry.value.span(), error.to_string(), range_hint(text));
                    None
                }
            },
            other => {
                let hint = other.as_integer().map(|end| format!("write range = \"0..{end}\""));
                let hint = hint.unwrap_or_else(|| "write range = \"0..100\"".to_owned());
                self.wrong_type(entry, "a string", Some(hint));
                None
            }
        }
    }

    fn chunk(&mut self, entry: &Entry<'_, '_>) -> Option<u64> {
        let number = self.integer(entry)?;
        let chunk = u64::try_from(number).ok().filter(|&chunk| chunk > 0);
        if chunk.is_none() {
            let message = format!("a chunk holds at least 1 number, not {number}");
            self.report.error_at(entry.span(), message, None);
        }
        chunk
    }

    fn list(&mut self, entry: &Entry<'_, '_>, spot: &Spot) -> Option<Vec<String>> {
        self.strings(entry, spot, |value| {
            let text = value.as_str()?;
            Some(if text.contains("..") {
                format!("write for_each.range = \"{text}\"")
            } else {
                format!("write list = [\"{text}\"]")
            })
        })
    }

    /// One glob, or a list of them.
    fn files(&mut self, entry: &Entry<'_, '_>, spot: &Spot) -> Option<Vec<String>> {
        if let DeValue::String(glob) = entry.value.get_ref() {
            return Some(vec![glob.to_string()]);
        }
        self.strings(entry, spot, |_| {
            Some("write files = \"data/*.csv\", or a list of globs".to_owned())
        })
    }
}

/// Suggests what a range in another notation is called here.
fn range_hint(text: &str) -> Option<String> {
    if let Some((start, end)) = text.split_once("...") {
        return Some(format!("write {start}..={end} with the last number, {start}..{end} without"));
    }
    if text.contains("..") {
        return text.contains('_').then(|| format!("write {} without `_`", text.replace('_', "")));
    }
    let is_number = |part: &str| part.trim().parse::<i64>().is_ok();
    let (start, end) = text.split_once(['-', ':', ','])?;
    (is_number(start) && is_number(end)).then(|| format!("write {}..{}", start.trim(), end.trim()))
}
