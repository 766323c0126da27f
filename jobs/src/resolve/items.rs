//! The items of a stage, looked up.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Resolver;
use super::expand::{Into, expand};
use crate::check::ItemsError;
use crate::diagnostic::Spot;
use crate::limits::{ITEM_BYTES_MAX, ITEMS_BYTES_MAX, ITEMS_MAX};
use crate::spec::{ItemList, Items};
use crate::stage::ForEach;
use crate::surroundings::LookError;

impl Resolver<'_, '_> {
    /// Returns the stage's items, or `None` where an error was reported.
    pub(super) fn items(&mut self) -> Option<Items> {
        match &self.stage.for_each {
            ForEach::Once => Some(Items::Single),
            ForEach::Range(range) => {
                let spot = Spot::stage(self.at, "for_each.range");
                let numbers = range.numbers(self.stage.chunk);
                self.reported(numbers, &spot).map(Items::Numbers)
            }
            ForEach::List(items) => {
                Some(Items::Texts(Arc::new(items.iter().map(String::as_str).collect())))
            }
            ForEach::Lines(path) => self.lines(path).map(|list| Items::Texts(Arc::new(list))),
            ForEach::Files(globs) => self.files(globs),
        }
    }

    fn lines(&mut self, path: &str) -> Option<ItemList> {
        let spot = Spot::stage(self.at, "for_each.lines");
        let expanded = expand(path, Into::Path, self.surroundings);
        let path = self.reported(expanded, &spot)?;
        let bytes = match self.surroundings.read(&path, ITEMS_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                let hint = matches!(error, LookError::NotFound)
                    .then(|| format!("the path is relative to {}", self.surroundings.base()))
                    .filter(|_| !path.starts_with('/'));
                self.report.error(&spot, format!("`{path}`: {error}"), hint);
                return None;
            }
        };
        match split_lines(&bytes) {
            Ok(list) => Some(list),
            Err(BrokenLine { line, error }) => {
                self.report.error(&spot, format!("`{path}`, line {line}: {error}"), None);
                None
            }
        }
    }

    fn files(&mut self, globs: &[String]) -> Option<Items> {
        // One file that several globs match is one task; a set also puts them in byte order.
        let mut paths = BTreeSet::new();
        let mut complete = true;
        for (nth, glob) in globs.iter().enumerate() {
            let spot = Spot::stage(self.at, "for_each.files").at(nth);
            complete &= self.glob(glob, &spot, &mut paths).is_some();
        }
        let spot = Spot::stage(self.at, "for_each.files");
        let bytes = paths.iter().map(String::len).sum();
        if paths.len() > ITEMS_MAX {
            self.report.error(&spot, ItemsError::TooMany { items: paths.len() }.to_string(), None);
        } else if bytes > ITEMS_BYTES_MAX {
            self.report.error(&spot, ItemsError::TooManyBytes { bytes }.to_string(), None);
        } else if complete {
            let paths = Arc::new(paths.iter().map(String::as_str).collect());
            return Some(Items::Files { base: self.surroundings.base().to_owned(), paths });
        }
        None
    }

    /// Adds the files that match `glob`; returns `None` where an error was reported.
    fn glob(&mut self, glob: &str, spot: &Spot, paths: &mut BTreeSet<String>) -> Option<()> {
        let expanded = expand(glob, Into::Glob, self.surroundings);
        let pattern = self.reported(expanded, spot)?;
        let found = match self.surroundings.glob(&pattern, ITEMS_MAX) {
            Ok(found) => found,
            Err(error) => {
                self.report.error(spot, format!("`{pattern}`: {error}"), None);
                return None;
            }
        };
        if found.is_empty() {
            let hint = (!pattern.starts_with('/'))
                .then(|| format!("the glob is relative to {}", self.surroundings.base()));
            self.report.error(spot, format!("no file matches `{pattern}`"), hint);
            return None;
        }
        for path in found {
            let Some(text) = path.to_str() else {
                let message = format!("the name of the file {} is not UTF-8", path.display());
                self.report.error(
                    spot,
                    message,
                    Some("rename it, or leave it out of the glob".to_owned()),
                );
                return None;
            };
            if text.len() > ITEM_BYTES_MAX {
                let error = ItemsError::ItemTooLong { index: paths.len(), bytes: text.len() };
                self.report.error(spot, error.to_string(), None);
                return None;
            }
            paths.insert(text.to_owned());
        }
        Some(())
    }
}

struct BrokenLine {
    /// From 1.
    line: usize,
    error: LineError,
}

#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("it is not UTF-8")]
    Utf8,
    #[error("it holds a NUL character")]
    Nul,
    #[error("it has {bytes} bytes, at most {ITEM_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
    #[error("there are more than {ITEMS_MAX} lines")]
    TooMany,
}

/// Splits a file into its lines, each without its end (LF or CRLF), empty ones too; no line follows the last
/// line end.
fn split_lines(bytes: &[u8]) -> Result<ItemList, BrokenLine> {
    let mut list = ItemList::default();
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.is_empty() {
        return Ok(list);
    }
    for (line, item) in (1..).zip(body.split(|&byte| byte == b'\n')) {
        let item = item.strip_suffix(b"\r").unwrap_or(item);
        let broken = |error| Err(BrokenLine { line, error });
        match std::str::from_utf8(item) {
            _ if line > ITEMS_MAX => return broken(LineError::TooMany),
            _ if item.len() > ITEM_BYTES_MAX => {
                return broken(LineError::TooLong { bytes: item.len() });
            }
            Err(_) => return broken(LineError::Utf8),
            Ok(text) if text.contains('\0') => return broken(LineError::Nul),
            Ok(text) => list.push(text),
        }
    }
    Ok(list)
}
