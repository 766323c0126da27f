//! Numbers of `for_each.range`: as people write them, and as tasks count through them.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use thiserror::Error;

use crate::limits::TASKS_PER_STAGE_MAX;
use crate::spec::Numbers;

/// What is wrong with [`Numbers`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NumbersError {
    /// The step is 0.
    #[error("the step of a range is at least 1")]
    StepZero,
    /// The chunk is 0.
    #[error("a chunk holds at least 1 number")]
    ChunkZero,
    /// A chunk of a range with a step.
    #[error("a range with a step cannot be cut into chunks")]
    ChunkedStep,
    /// The last number, or a chunk's exclusive end, is over `i64::MAX`.
    #[error("the range goes past the largest number, {}", i64::MAX)]
    TooLarge,
    /// More than 2^32 tasks.
    #[error("the range gives {tasks} tasks, a stage has at most {TASKS_PER_STAGE_MAX}")]
    TooManyTasks {
        /// How many tasks it would give.
        tasks: u64,
    },
}

/// A range of whole numbers as people write it: `0..1000`, `1..=9`, `0..100:5`.
///
/// It may be empty (`5..5`). Whether it runs backwards, or has too many numbers, is checked by
/// [`NumberRange::numbers`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NumberRange {
    /// The first number.
    pub start: i64,
    /// Where it ends: the last number where `inclusive`, else the first one that is not in it.
    pub end: i64,
    /// Whether `end` may be in it.
    pub inclusive: bool,
    /// How far each number is from the one before, at least 1.
    pub step: u64,
}

/// What is wrong with the text of a range.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ParseRangeError {
    /// There is no `..` in it.
    #[error("a range is written `0..100`, `1..=100` or `0..100:5`")]
    Form,
    /// A bound is not a whole number of 64 bits.
    #[error("`{text}` is not a whole number between {} and {}", i64::MIN, i64::MAX)]
    Number {
        /// What stands there instead.
        text: String,
    },
    /// The step is not a whole number from 1.
    #[error("`{text}` is not a step: a whole number from 1")]
    Step {
        /// What stands there instead.
        text: String,
    },
}

/// Why a range gives no [`Numbers`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RangeError {
    /// Its end lies before its start.
    #[error("the range {range} runs backwards")]
    Backwards {
        /// The range.
        range: NumberRange,
    },
    /// It has more numbers than 64 bits can count.
    #[error("the range {range} has more numbers than can be counted")]
    TooManyNumbers {
        /// The range.
        range: NumberRange,
    },
    /// The numbers themselves do not fit.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
}

impl Numbers {
    /// Makes `numbers` numbers from `first`, `step` apart, `chunk` of them to a task.
    ///
    /// # Errors
    /// Says which invariant does not hold.
    pub const fn new(
        first: i64,
        step: u64,
        numbers: u64,
        chunk: Option<u64>,
    ) -> Result<Self, NumbersError> {
        let made = Self { first, step, numbers, chunk };
        match made.check() {
            Ok(()) => Ok(made),
            Err(error) => Err(error),
        }
    }

    /// Checks the invariants, for numbers that a peer sent.
    ///
    /// # Errors
    /// Says which invariant does not hold.
    pub const fn check(&self) -> Result<(), NumbersError> {
        if self.step == 0 {
            return Err(NumbersError::StepZero);
        }
        let end = match self.chunk {
            Some(0) => return Err(NumbersError::ChunkZero),
            Some(_) if self.step != 1 => return Err(NumbersError::ChunkedStep),
            Some(_) => self.first as i128 + self.numbers as i128,
            None if self.numbers == 0 => self.first as i128,
            None => (self.first as i128)
                .saturating_add((self.numbers as i128 - 1).saturating_mul(self.step as i128)),
        };
        if end > i64::MAX as i128 {
            return Err(NumbersError::TooLarge);
        }
        let tasks = self.tasks();
        if tasks > TASKS_PER_STAGE_MAX { Err(NumbersError::TooManyTasks { tasks }) } else { Ok(()) }
    }

    /// Returns the number of the task at `index`; `None` past the last one, or where tasks have chunks.
    pub fn number(&self, index: u64) -> Option<i64> {
        if self.chunk.is_some() || index >= self.numbers {
            return None;
        }
        let offset = i128::from(index).checked_mul(i128::from(self.step))?;
        let number = offset.checked_add(i128::from(self.first))?;
        i64::try_from(number).ok()
    }

    /// Returns the chunk of the task at `index`, its end exclusive; `None` past the last one, or where
    /// tasks have single numbers.
    pub fn chunk_bounds(&self, index: u64) -> Option<Range<i64>> {
        let from = index.checked_mul(self.chunk?).filter(|&from| from < self.numbers)?;
        let to = from.saturating_add(self.chunk?).min(self.numbers);
        let bound = |offset: u64| i64::try_from(i128::from(self.first) + i128::from(offset)).ok();
        Some(bound(from)?..bound(to)?)
    }
}

impl NumberRange {
    /// Returns the numbers that it stands for, `chunk` of them to a task.
    ///
    /// # Errors
    /// Says why it stands for none: it runs backwards, or breaks a limit.
    pub fn numbers(&self, chunk: Option<u64>) -> Result<Numbers, RangeError> {
        if self.end < self.start {
            return Err(RangeError::Backwards { range: *self });
        }
        if self.step == 0 {
            return Err(NumbersError::StepZero.into());
        }
        let span = self.end.abs_diff(self.start);
        let numbers = if self.inclusive {
            (span / self.step).checked_add(1).ok_or(RangeError::TooManyNumbers { range: *self })?
        } else {
            span.div_ceil(self.step)
        };
        Ok(Numbers::new(self.start, self.step, numbers, chunk)?)
    }
}

impl From<Range<i64>> for NumberRange {
    fn from(range: Range<i64>) -> Self {
        Self { start: range.start, end: range.end, inclusive: false, step: 1 }
    }
}

impl From<RangeInclusive<i64>> for NumberRange {
    fn from(range: RangeInclusive<i64>) -> Self {
        Self { start: *range.start(), end: *range.end(), inclusive: true, step: 1 }
    }
}

impl FromStr for NumberRange {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, ParseRangeError> {
        let (start, rest) = text.split_once("..").ok_or(ParseRangeError::Form)?;
        let (rest, inclusive) = match rest.strip_prefix('=') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (end, step) = match rest.split_once(':') {
            Some((end, step)) => (end, parse_step(step.trim())?),
            None => (rest, 1),
        };
        Ok(Self {
            start: parse_bound(start.trim())?,
            end: parse_bound(end.trim())?,
            inclusive,
            step,
        })
    }
}

impl fmt::Display for NumberRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dots = if self.inclusive { "..=" } else { ".." };
        write!(f, "{}{dots}{}", self.start, self.end)?;
        if self.step == 1 { Ok(()) } else { write!(f, ":{}", self.step) }
    }
}

fn parse_bound(text: &str) -> Result<i64, ParseRangeError> {
    if text.is_empty() {
        return Err(ParseRangeError::Form);
    }
    text.parse().map_err(|_| ParseRangeError::Number { text: text.to_owned() })
}

fn parse_step(text: &str) -> Result<u64, ParseRangeError> {
    match text.parse() {
        Ok(step) if step > 0 => Ok(step),
        _ => Err(ParseRangeError::Step { text: text.to_owned() }),
    }
}
