//! Values of options, read from what was typed or from a file of settings.

use std::fmt;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use gridctl_jobs::limits::CPUS_MAX;
use gridctl_jobs::selector::{JobSelector, ParseSelectorError, Selector};
use gridctl_jobs::state::TaskState;
use gridctl_jobs::units::Cpus;
use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use serde::{Deserialize, de};
use thiserror::Error;

/// Why a text is not a number of cpus.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a number of cpus from 0.0001 to {CPUS_MAX} is expected, such as 4 or 0.5")]
pub(super) struct CpusError;

/// Why a text is not a duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a duration is expected, such as 90s or 1h 30m")]
pub(super) struct DurationError;

/// Why a text is not a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a size is expected, such as 512MB or 2GiB")]
pub(super) struct SizeError;

/// Units of sizes, longest names first, with their bytes.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Why a text does not select what a command is about.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(super) enum JobError {
    #[error(transparent)]
    Selector(#[from] ParseSelectorError),
    #[error("a stage or tasks cannot be meant here, only the whole job: {job}")]
    Part { job: String },
    #[error(
        "single tasks cannot be meant here, only a job or a stage of it; to see them: gridctl tasks {text}"
    )]
    Tasks { text: String },
}

/// Reads `90s`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, DurationError> {
    humantime::parse_duration(text).map_err(|_| DurationError)
}

/// Reads `512MB`, `2GiB`, `0`.
pub(super) fn size(text: &str) -> Result<u64, SizeError> {
    let unit = SIZE_UNITS.into_iter().find_map(|(name, bytes)| {
        let number = text.get(..text.len().checked_sub(name.len())?)?;
        let named = text[number.len()..].eq_ignore_ascii_case(name);
        named.then_some((number.trim_end(), bytes))
    });
    let (number, bytes) = unit.unwrap_or((text, 1));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| is_number);
    number.and_then(|number| number.checked_mul(bytes)).ok_or(SizeError)
}

/// Reads `4`, `0.5`.
pub(super) fn cpus(text: &str) -> Result<Cpus, CpusError> {
    text.parse().map_err(|_| CpusError).and_then(cpus_of)
}

/// Reads what selects a job, a stage of it, or some tasks.
pub(super) fn selector(text: &str) -> Result<Selector, ParseSelectorError> {
    text.parse()
}

/// Reads what selects a whole job.
pub(super) fn job(text: &str) -> Result<JobSelector, JobError> {
    match text.parse()? {
        Selector { job, stage: None, tasks: None } => Ok(job),
        Selector { job, .. } => Err(JobError::Part { job: job.to_string() }),
    }
}

/// Reads what selects a job, or a stage of it.
pub(super) fn job_or_stage(text: &str) -> Result<Selector, JobError> {
    let selector: Selector = text.parse()?;
    match selector.tasks {
        None => Ok(selector),
        Some(_) => Err(JobError::Tasks { text: text.to_owned() }),
    }
}

/// Reads the word for a task's state; others are listed in the error.
pub(super) fn task_state() -> impl TypedValueParser<Value = TaskState> {
    PossibleValuesParser::new(TaskState::ALL.map(TaskState::as_str)).map(|word| {
        let named = TaskState::ALL.into_iter().find(|state| state.as_str() == word);
        named.expect("the parser before lets only these words through")
    })
}

/// Reads a duration of a file of settings.
pub(super) fn duration_in_file<'de, D: Deserializer<'de>>(
    file: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(file)?;
    let expected = &"a duration, such as \"90s\" or \"1h 30m\"";
    let read = humantime::parse_duration(&text);
    read.map(Some).map_err(|_| D::Error::invalid_value(Unexpected::Str(&text), expected))
}

/// Reads a size of a file of settings.
pub(super) fn size_in_file<'de, D: Deserializer<'de>>(file: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(file)?;
    let expected = &"a size, such as \"512MB\" or \"2GiB\"";
    size(&text).map(Some).map_err(|_| D::Error::invalid_value(Unexpected::Str(&text), expected))
}

/// Reads a number of cpus of a file of settings.
pub(super) fn cpus_in_file<'de, D: Deserializer<'de>>(file: D) -> Result<Option<Cpus>, D::Error> {
    struct Number;

    impl Visitor<'_> for Number {
        type Value = Cpus;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a number of cpus from 0.0001 to {CPUS_MAX}")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Cpus, E> {
            let whole = i32::try_from(number).map(f64::from).map_err(|_| CpusError);
            whole.and_then(cpus_of).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Cpus, E> {
            cpus_of(number).map_err(|_| E::invalid_value(Unexpected::Float(number), &self))
        }
    }

    file.deserialize_any(Number).map(Some)
}

fn cpus_of(number: f64) -> Result<Cpus, CpusError> {
    if !(0.0001..=f64::from(CPUS_MAX)).contains(&number) {
        return Err(CpusError);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "its range was just checked"
    )]
    let ten_thousandths = (number * 10_000.0).round() as u64;
    Ok(Cpus::from_ten_thousandths(ten_thousandths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_read_exactly_to_four_places() {
        assert_eq!(cpus("4"), Ok(Cpus::whole(4)));
        assert_eq!(cpus("0.0001"), Ok(Cpus::from_ten_thousandths(1)));
        assert_eq!(cpus("2.3"), Ok(Cpus::from_ten_thousandths(23_000)));
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512MB", 512_000_000),
            ("2GiB", 2 << 30),
            ("8 mib", 8 << 20),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "-1MB", "+1", "1.5GB", "1 x", "99999999TB", "\u{fc}B"] {
            assert_eq!(size(text), Err(SizeError), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_of_cpus_is_refused() {
        for text in ["", "0", "-1", "NaN", "inf", "1e9", "four"] {
            assert_eq!(cpus(text), Err(CpusError), "{text}");
        }
    }
}
