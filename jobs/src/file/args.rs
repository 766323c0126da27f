//! `args` of a function: any TOML value that JSON has too.

use serde_json::{Map, Number};
use toml::de::DeValue;

use super::values::{Reader, Value, entries};
use crate::diagnostic::Spot;

impl Reader<'_> {
    /// Reads a value in `args`; `None` where an error was reported.
    ///
    /// Recursion is bounded by how deep the TOML parser lets a file nest.
    pub(super) fn args(&mut self, value: &Value<'_>, spot: &Spot) -> Option<serde_json::Value> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.as_ref().into()),
            DeValue::Boolean(yes) => Some((*yes).into()),
            DeValue::Integer(number) => {
                let whole = i64::from_str_radix(number.as_str(), number.radix()).ok();
                self.or_refuse(
                    whole.map(Into::into),
                    value,
                    "a whole number here has at most 64 bits",
                )
            }
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(Number::from_f64);
                self.or_refuse(number.map(Into::into), value, "JSON has no such number")
            }
            DeValue::Datetime(_) => {
                self.or_refuse(None, value, "JSON has no dates, write it in quotes")
            }
            DeValue::Array(values) => {
                let mut complete = Some(Vec::with_capacity(values.len()));
                for (at, value) in values.iter().enumerate() {
                    let spot = spot.at(at);
                    self.places.insert(spot.clone(), value.span());
                    let converted = self.args(value, &spot);
                    complete = complete.zip(converted).map(|(mut list, value)| {
                        list.push(value);
                        list
                    });
                }
                complete.map(Into::into)
            }
            DeValue::Table(table) => {
                let mut complete = Some(Map::new());
                for entry in entries(table) {
                    let spot = spot.key(entry.key);
                    self.places.insert(spot.clone(), entry.span());
                    let converted = self.args(entry.value, &spot);
                    complete = complete.zip(converted).map(|(mut map, value)| {
                        map.insert(entry.key.to_owned(), value);
                        map
                    });
                }
                complete.map(Into::into)
            }
        }
    }

    fn or_refuse(
        &mut self,
        converted: Option<serde_json::Value>,
        value: &Value<'_>,
        why: &str,
    ) -> Option<serde_json::Value> {
        if converted.is_none() {
            self.report.error_at(value.span(), format!("`args` cannot hold this: {why}"), None);
        }
        converted
    }
}
