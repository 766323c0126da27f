//! Values of a job file by their type.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Level, UnknownKey, unknown_key};
use crate::diagnostic::{Places, Report, Spot};

/// A value and its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// A text being read: what was found wrong, and where everything stands.
pub(super) struct Reader<'t> {
    pub(super) report: Report<'t>,
    pub(super) places: Places,
}

/// A key, where it stands, and its value.
pub(super) struct Entry<'a, 'i> {
    pub(super) key: &'a str,
    pub(super) key_span: Range<usize>,
    pub(super) value: &'a Value<'i>,
}

impl Entry<'_, '_> {
    /// Where to point for this entry: at the value, or at the key of a table, which may be far from its
    /// header.
    pub(super) fn span(&self) -> Range<usize> {
        if self.value.get_ref().is_table() { self.key_span.clone() } else { self.value.span() }
    }
}

/// Returns the entries of a table in the order of the file.
pub(super) fn entries<'a, 'i>(table: &'a DeTable<'i>) -> Vec<Entry<'a, 'i>> {
    let entry = |(key, value): (&'a Spanned<_>, &'a Value<'i>)| {
        let key_text: &std::borrow::Cow<'i, str> = key.get_ref();
        Entry { key: key_text.as_ref(), key_span: key.span(), value }
    };
    let mut entries: Vec<_> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

impl Reader<'_> {
    /// Reports a key that the table at `level` does not have, and returns the one most likely meant.
    pub(super) fn unknown_key(
        &mut self,
        entry: &Entry<'_, '_>,
        level: Level,
    ) -> Option<&'static str> {
        let UnknownKey { message, hint, meant } = unknown_key(entry.key, level);
        self.report.error_at(entry.key_span.clone(), message, Some(hint));
        meant
    }

    /// Reports a value of another type than `expected`.
    pub(super) fn wrong_type(
        &mut self,
        entry: &Entry<'_, '_>,
        expected: &str,
        hint: Option<String>,
    ) {
        let message = format!("`{}` must be {expected}, not {}", entry.key, kind(entry.value));
        self.report.error_at(entry.span(), message, hint);
    }

    pub(super) fn string(&mut self, entry: &Entry<'_, '_>) -> Option<String> {
        match entry.value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            other => {
                let hint = quoted(other);
                self.wrong_type(entry, "a string", hint);
                None
            }
        }
    }

    /// Reads a list of strings; `hint` helps where it is none.
    pub(super) fn strings(
        &mut self,
        entry: &Entry<'_, '_>,
        spot: &Spot,
        hint: impl Fn(&DeValue<'_>) -> Option<String>,
    ) -> Option<Vec<String>> {
        let DeValue::Array(values) = entry.value.get_ref() else {
            self.wrong_type(entry, "a list of strings", hint(entry.value.get_ref()));
            return None;
        };
        let mut complete = true;
        let mut texts = Vec::with_capacity(values.len());
        for (at, value) in values.iter().enumerate() {
            self.places.insert(spot.at(at), value.span());
            if let DeValue::String(text) = value.get_ref() {
                texts.push(text.to_string());
            } else {
                let message = format!("`{}` must hold strings, not {}", entry.key, kind(value));
                self.report.error_at(value.span(), message, quoted(value.get_ref()));
                complete = false;
            }
        }
        complete.then_some(texts)
    }

    /// Reads a whole number; any that TOML can say.
    pub(super) fn integer(&mut self, entry: &Entry<'_, '_>) -> Option<i128> {
        let found = match entry.value.get_ref() {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if found.is_none() {
            let hint = unquoted(entry);
            self.wrong_type(entry, "a whole number", hint);
        }
        found
    }

    /// Reads a number, whole or not.
    pub(super) fn number(&mut self, entry: &Entry<'_, '_>) -> Option<f64> {
        let found = match entry.value.get_ref() {
            #[expect(
                clippy::cast_precision_loss,
                reason = "what is out of bounds is so after rounding too"
            )]
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(|number| number as f64),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        if found.is_none() {
            let hint = unquoted(entry);
            self.wrong_type(entry, "a number", hint);
        }
        found
    }
}

/// Returns what a value is, in words.
pub(super) fn kind(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Suggests quotes around a plain value that should be a string.
pub(super) fn quoted(value: &DeValue<'_>) -> Option<String> {
    let text = match value {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => return None,
    };
    Some(format!("write it in quotes: \"{text}\""))
}

/// Suggests to leave the quotes out around a number.
fn unquoted(entry: &Entry<'_, '_>) -> Option<String> {
    let text = entry.value.get_ref().as_str()?.trim();
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
    is_number.then(|| format!("leave the quotes out: {} = {text}", entry.key))
}
