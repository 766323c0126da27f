//! The keys of a stage that say how much failure it bears.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::values::{Entry, Reader};
use crate::budget::{Backoff, Budget};
use crate::diagnostic::Spot;
use crate::job::did_you_mean;
use crate::limits::{RETRIES_MAX, TASKS_PER_STAGE_MAX, WORKER_LOSSES_MAX};
use crate::state::FailureKind;

impl Reader<'_> {
    pub(super) fn budget_key(&mut self, entry: &Entry<'_, '_>, spot: &Spot, budget: &mut Budget) {
        match entry.key {
            "retries" => budget.retries = self.whole(entry, 0..=RETRIES_MAX).unwrap_or_default(),
            "backoff" => budget.backoff = self.backoff(entry).unwrap_or_default(),
            "retry_on" => {
                if let Some(kinds) = self.retry_on(entry, spot) {
                    budget.retry_on = kinds;
                }
            }
            "worker_losses" => {
                let losses = self.whole(entry, 1..=WORKER_LOSSES_MAX);
                budget.worker_losses = losses.unwrap_or(budget.worker_losses);
            }
            _ => budget.max_failures = self.whole(entry, 1..=TASKS_PER_STAGE_MAX),
        }
    }

    fn whole<T>(&mut self, entry: &Entry<'_, '_>, allowed: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let number = self.integer(entry)?;
        let fits = T::try_from(number).ok().filter(|number| allowed.contains(number));
        if fits.is_none() {
            let (least, most) = allowed.into_inner();
            let message = format!("`{}` is between {least} and {most}, not {number}", entry.key);
            self.report.error_at(entry.span(), message, None);
        }
        fits
    }

    fn backoff(&mut self, entry: &Entry<'_, '_>) -> Option<Backoff> {
        const FORM: &str = "write the first wait and the longest, such as \"1s..1m\"";
        let Some(text) = entry.value.get_ref().as_str() else {
            self.wrong_type(entry, "a string", Some(FORM.to_owned()));
            return None;
        };
        match text.parse::<Backoff>() {
            Ok(backoff) => Some(backoff),
            Err(error) => {
                self.report.error_at(entry.span(), error.to_string(), Some(FORM.to_owned()));
                None
            }
        }
    }

    fn retry_on(&mut self, entry: &Entry<'_, '_>, spot: &Spot) -> Option<BTreeSet<FailureKind>> {
        let hint =
            |value: &DeValue<'_>| Some(format!("write retry_on = [\"{}\"]", value.as_str()?));
        let words = self.strings(entry, spot, hint)?;
        let mut kinds = BTreeSet::new();
        for (at, word) in words.iter().enumerate() {
            let known = FailureKind::OWN.into_iter().find(|kind| kind.as_str() == word);
            if let Some(kind) = known {
                kinds.insert(kind);
                continue;
            }
            let all = FailureKind::OWN.map(FailureKind::as_str);
            let hint = did_you_mean(word, all).unwrap_or_else(|| {
                format!("the failures that can be tried again are \"{}\"", all.join("\", \""))
            });
            let message = format!("{word:?} is no failure that spends retries");
            let place = self.places.span(&spot.at(at)).unwrap_or_else(|| entry.span());
            self.report.error_at(place, message, Some(hint));
        }
        Some(kinds)
    }
}
