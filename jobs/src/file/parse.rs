//! A job file as a whole.

use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::keys::Level;
use super::values::{Entry, Reader, entries, kind};
use crate::diagnostic::{Diagnostics, Places, Report, Source, Spot, line_start};
use crate::job::{Doubt, Job, check, priority_message};
use crate::limits::JOB_FILE_BYTES_MAX;
use crate::stage::{Stage, StageRun};

/// Reads a job file; see [`Job::parse`].
pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<Job, Diagnostics> {
    let text: Arc<str> = readable(bytes, file)?.into();
    let mut reader = Reader { report: Report::of_text(file, &text), places: Places::default() };
    let (table, errors) = DeTable::parse_recoverable(&text);
    reader.syntax_errors(&errors, &text);
    // What the file as a whole lacks is missing at its end.
    let end = text.trim_end().len();
    reader.places.insert(Spot::job(""), end..end);
    let (mut job, doubts) = reader.job(table.get_ref());
    let Reader { mut report, places } = reader;
    job.file_stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    job.source = Some(Arc::new(Source { file: file.to_owned(), text: text.clone(), places }));
    if report.is_whole() {
        report.absorb(check(&job, &doubts));
    }
    if report.has_errors() { Err(report.finish()) } else { Ok(job) }
}

/// Returns the text of a file that is not too long and is text.
fn readable<'b>(bytes: &'b [u8], file: &str) -> Result<&'b str, Diagnostics> {
    if bytes.len() > JOB_FILE_BYTES_MAX {
        let mut report = Report::of_text(file, "");
        let message =
            format!("a job file has at most {JOB_FILE_BYTES_MAX} bytes, this one has more");
        let hint = "keep long lists in a file of their own, for for_each.lines".to_owned();
        report.error(&Spot::job(""), message, Some(hint));
        return Err(report.finish());
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let mut report = Report::of_text(file, valid);
        let message = "from here on the file is not UTF-8 text";
        report.error_at(valid.len()..valid.len(), message, Some("save it as UTF-8".to_owned()));
        report.finish()
    })
}

impl Reader<'_> {
    /// Reports what is no TOML: the first error of each line, since others in it only follow from that.
    fn syntax_errors(&mut self, errors: &[toml::de::Error], text: &str) {
        let span = |error: &toml::de::Error| error.span().unwrap_or(text.len()..text.len());
        let mut errors: Vec<_> =
            errors.iter().map(|error| (span(error), error.message())).collect();
        errors.sort_by_key(|(span, _)| span.start);
        let mut line_end = 0;
        errors.retain(|(span, _)| {
            let is_first = span.start >= line_end;
            if is_first {
                let rest = text.as_bytes().get(span.start..).unwrap_or_default();
                let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
                line_end = span.start + length + 1;
            }
            is_first
        });
        for (span, message) in &errors {
            self.report.error_at(span.clone(), *message, None);
        }
        // Judged is only what stands in whole lines before the first error.
        if let Some((first, _)) = errors.first() {
            self.report.read_only_until(line_start(text, first.start));
        }
    }

    fn job(&mut self, table: &DeTable<'_>) -> (Job, Vec<Doubt>) {
        let mut job =
            Job { name: None, priority: 0, stages: Vec::new(), file_stem: None, source: None };
        let mut doubts = Vec::new();
        for entry in entries(table) {
            self.places.insert(Spot::job(entry.key), entry.span());
            match entry.key {
                "name" => job.name = self.string(&entry),
                "priority" => job.priority = self.priority(&entry),
                "stage" => (job.stages, doubts) = self.stages(&entry).into_iter().unzip(),
                _ => {
                    self.unknown_key(&entry, Level::Job);
                }
            }
        }
        (job, doubts)
    }

    fn priority(&mut self, entry: &Entry<'_, '_>) -> i32 {
        let number = self.integer(entry).unwrap_or_default();
        i32::try_from(number).unwrap_or_else(|_| {
            self.report.error_at(entry.span(), priority_message(number), None);
            0
        })
    }

    fn stages(&mut self, entry: &Entry<'_, '_>) -> Vec<(Stage, Doubt)> {
        let hint = || Some("begin each stage with a line [[stage]]".to_owned());
        match entry.value.get_ref() {
            DeValue::Table(table) => {
                let message = "a stage begins with [[stage]], in two brackets";
                self.report.error_at(entry.key_span.clone(), message, hint());
                vec![self.stage(0, table, entry.key_span.clone())]
            }
            DeValue::Array(values) => {
                let mut stages = Vec::with_capacity(values.len());
                for (at, value) in values.iter().enumerate() {
                    match value.get_ref() {
                        DeValue::Table(table) => stages.push(self.stage(at, table, value.span())),
                        _ => {
                            let message = format!("a stage must be a table, not {}", kind(value));
                            self.report.error_at(value.span(), message, hint());
                            stages.push(unreadable(at));
                        }
                    }
                }
                stages
            }
            _ => {
                self.wrong_type(entry, "a list of tables", hint());
                vec![unreadable(0)]
            }
        }
    }
}

/// Returns a stand-in, so that a stage that cannot be read is not also a missing one.
fn unreadable(at: usize) -> (Stage, Doubt) {
    (
        Stage::new(Some(format!("stage-{at}")), StageRun::Command(Vec::new())),
        Doubt { run: true, items: true },
    )
}
