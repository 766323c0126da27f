//! Diagnostics while they are being collected.

use std::ops::Range;

use super::places::place;
use super::{Diagnostic, Diagnostics, Places, Severity, Source, Spot};
use crate::limits::DIAGNOSTICS_MAX;

/// Collects diagnostics and puts them in the order of the file.
#[derive(Debug)]
pub(crate) struct Report<'s> {
    /// The file's path and text.
    file: Option<(&'s str, &'s str)>,
    places: Option<&'s Places>,
    /// Names of the stages, for jobs without a file.
    stages: Vec<String>,
    /// Where the text could not be read any further: what lies behind is not judged.
    readable_until: usize,
    errors: Found,
    warnings: Found,
}

/// Diagnostics of one severity, with the byte at which each belongs.
#[derive(Debug, Default)]
struct Found {
    list: Vec<(usize, Diagnostic)>,
    omitted: usize,
}

impl<'s> Report<'s> {
    /// Reports about a text that is being read.
    pub(crate) fn of_text(file: &'s str, text: &'s str) -> Self {
        Self {
            file: Some((file, text)),
            places: None,
            stages: Vec::new(),
            readable_until: usize::MAX,
            errors: Found::default(),
            warnings: Found::default(),
        }
    }

    /// Reports about a job that was read, or built by a program; `stages` are the names of its stages.
    pub(crate) fn of_job(source: Option<&'s Source>, stages: Vec<String>) -> Self {
        Self {
            file: source.map(|source| (source.file.as_str(), &*source.text)),
            places: source.map(|source| &source.places),
            stages,
            readable_until: usize::MAX,
            errors: Found::default(),
            warnings: Found::default(),
        }
    }

    /// Judges nothing from byte `offset` on, and misses nothing: it may stand in what is not readable.
    pub(crate) fn read_only_until(&mut self, offset: usize) {
        self.readable_until = self.readable_until.min(offset);
    }

    /// Says whether the whole text could be read, so that what is not there is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.readable_until == usize::MAX
    }

    pub(crate) fn error_at(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        if span.start < self.readable_until {
            self.push(Severity::Error, Some(span), String::new(), message.into(), hint);
        }
    }

    pub(crate) fn error(&mut self, spot: &Spot, message: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Error, spot, message.into(), hint);
    }

    pub(crate) fn warning(
        &mut self,
        spot: &Spot,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.add(Severity::Warning, spot, message.into(), hint);
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.list.is_empty()
    }

    /// Returns the line of `spot`, from 1, where there is a file.
    pub(crate) fn line(&self, spot: &Spot) -> Option<usize> {
        Some(place(self.file?.1, self.places?.span(spot)?).line)
    }

    /// Adds what another report about the same file has found.
    pub(crate) fn absorb(&mut self, other: Report<'_>) {
        let Report { errors, warnings, .. } = other;
        for (own, others) in [(&mut self.errors, errors), (&mut self.warnings, warnings)] {
            own.omitted += others.omitted;
            others.list.into_iter().for_each(|(order, diagnostic)| own.push(order, || diagnostic));
        }
    }

    /// Returns all that was found, in the order of the file; where there is too much, errors first.
    pub(crate) fn finish(self) -> Diagnostics {
        let mut omitted = self.errors.omitted + self.warnings.omitted;
        let mut list = self.errors.list;
        let room = DIAGNOSTICS_MAX - list.len();
        omitted += self.warnings.list.len().saturating_sub(room);
        list.extend(self.warnings.list.into_iter().take(room));
        list.sort_by_key(|(order, _)| *order);
        Diagnostics {
            file: self.file.map(|(file, _)| file.to_owned()),
            list: list.into_iter().map(|(_, diagnostic)| diagnostic).collect(),
            omitted,
        }
    }

    fn add(&mut self, severity: Severity, spot: &Spot, message: String, hint: Option<String>) {
        let span = self.places.and_then(|places| places.span(spot));
        if span.as_ref().is_none_or(|span| span.start < self.readable_until) {
            let context = self.context(spot);
            self.push(severity, span, context, message, hint);
        }
    }

    fn push(
        &mut self,
        severity: Severity,
        span: Option<Range<usize>>,
        context: String,
        message: String,
        hint: Option<String>,
    ) {
        let order = span.as_ref().map_or(0, |span| span.start);
        let file = self.file;
        // Finding a place takes time by the length of the file; for what is only counted it is not done.
        let place = || file.zip(span).map(|((_, text), span)| place(text, span));
        let found = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        found.push(order, || Diagnostic { severity, message, place: place(), context, hint });
    }

    fn context(&self, spot: &Spot) -> String {
        let stage = spot.stage.map(|at| match self.stages.get(at) {
            Some(name) => format!("stage `{name}`"),
            None => format!("stage {at}"),
        });
        match (stage, spot.path.trim_end_matches('#')) {
            (Some(stage), "") => stage,
            (Some(stage), path) => format!("{stage}, `{path}`"),
            (None, "") => String::new(),
            (None, path) => format!("`{path}`"),
        }
    }
}

impl Found {
    fn push(&mut self, order: usize, diagnostic: impl FnOnce() -> Diagnostic) {
        if self.list.len() < DIAGNOSTICS_MAX {
            self.list.push((order, diagnostic()));
        } else {
            self.omitted += 1;
        }
    }
}
