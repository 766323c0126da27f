//! JOB as people type it: `7`, `last`, a UUID or a name; then optionally a stage and tasks, as in
//! `7/count/0..100`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

use crate::id::{JobId, JobNumber};
use crate::limits::TASKS_PER_STAGE_MAX;
use crate::name::{NameError, check_job_name, check_stage_name};
use crate::range::TaskRange;

/// Some tasks of a job: all, those of one stage, or a range of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    /// Which job.
    pub job: JobSelector,
    /// The name of one stage; all stages where it is `None`.
    pub stage: Option<String>,
    /// Some tasks of that stage; all where it is `None`, which it is without a stage.
    pub tasks: Option<TaskRange>,
}

/// One job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobSelector {
    /// By its number on the grid.
    Number(JobNumber),
    /// The caller's own last job.
    Last,
    /// By its id.
    Id(JobId),
    /// By a name that only one job has.
    Name(String),
}

/// Why a text selects nothing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ParseSelectorError {
    /// There is no job in it.
    #[error("no job is named, write a number, `last`, an id or a name")]
    Empty,
    /// Its number is none that a job can have.
    #[error("`{text}` is not a job's number, they count from 1")]
    JobNumber {
        /// What stands there.
        text: String,
    },
    /// No job can have that name.
    #[error("`{text}` is no job: {source}")]
    JobName {
        /// What stands there.
        text: String,
        /// Why not.
        source: NameError,
    },
    /// No stage can have that name.
    #[error("`{text}` is no stage: {source}")]
    StageName {
        /// What stands there.
        text: String,
        /// Why not.
        source: NameError,
    },
    /// The tasks are neither a number nor a range.
    #[error("`{text}` is no task, write a number from 0 or a range such as `0..100`")]
    Tasks {
        /// What stands there.
        text: String,
    },
    /// The range of tasks holds none.
    #[error("the range `{text}` holds no task, its end is exclusive")]
    NoTask {
        /// What stands there.
        text: String,
    },
    /// There are more than three parts.
    #[error("`{text}` has too many parts, write JOB/STAGE/TASKS")]
    TooManyParts {
        /// The whole text.
        text: String,
    },
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, ParseSelectorError> {
        // No name holds a slash, so that the parts are plain.
        let mut parts = text.split('/');
        let job = parts.next().unwrap_or_default().parse()?;
        let stage = parts.next().map(parse_stage).transpose()?;
        let tasks = parts.next().map(parse_tasks).transpose()?;
        match parts.next() {
            Some(_) => Err(ParseSelectorError::TooManyParts { text: text.to_owned() }),
            None => Ok(Self { job, stage, tasks }),
        }
    }
}

impl FromStr for JobSelector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, ParseSelectorError> {
        if text.is_empty() {
            return Err(ParseSelectorError::Empty);
        }
        if text == "last" {
            return Ok(Self::Last);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(number) if number > 0 => Ok(Self::Number(JobNumber(number))),
                _ => Err(ParseSelectorError::JobNumber { text: text.to_owned() }),
            };
        }
        if let Ok(id) = Uuid::try_parse(text) {
            return Ok(Self::Id(JobId(id)));
        }
        check_job_name(text)
            .map_err(|source| ParseSelectorError::JobName { text: text.to_owned(), source })?;
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.job.fmt(f)?;
        if let Some(stage) = &self.stage {
            write!(f, "/{stage}")?;
        }
        self.tasks.map_or(Ok(()), |tasks| write!(f, "/{tasks}"))
    }
}

impl fmt::Display for JobSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Last => f.write_str("last"),
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

fn parse_stage(text: &str) -> Result<String, ParseSelectorError> {
    check_stage_name(text)
        .map_err(|source| ParseSelectorError::StageName { text: text.to_owned(), source })?;
    Ok(text.to_owned())
}

fn parse_tasks(text: &str) -> Result<TaskRange, ParseSelectorError> {
    let number = |digits: &str| {
        let number = digits.parse::<u64>().ok().filter(|&number| number <= TASKS_PER_STAGE_MAX);
        number.ok_or_else(|| ParseSelectorError::Tasks { text: text.to_owned() })
    };
    let range = match text.split_once("..") {
        Some((start, end)) => match end.strip_prefix('=') {
            Some(last) => TaskRange::new(number(start)?, number(last)? + 1),
            None => TaskRange::new(number(start)?, number(end)?),
        },
        None => TaskRange::one(number(text)?),
    };
    if range.is_empty() {
        Err(ParseSelectorError::NoTask { text: text.to_owned() })
    } else {
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Selector {
        text.parse().unwrap()
    }

    #[test]
    fn a_job_is_named_by_number_last_id_or_name() {
        assert_eq!(parsed("7").job, JobSelector::Number(JobNumber(7)));
        assert_eq!(parsed("last").job, JobSelector::Last);
        assert_eq!(parsed("night run").job, JobSelector::Name("night run".to_owned()));
        assert_eq!(parsed("7b").job, JobSelector::Name("7b".to_owned()));
        let id = "019373c2-1d3a-7c51-9f3e-5d0a6d2b8f10";
        assert_eq!(parsed(id).job, JobSelector::Id(JobId(Uuid::try_parse(id).unwrap())));
    }

    #[test]
    fn a_stage_and_tasks_may_follow() {
        for (text, stage, tasks) in [
            ("7", None, None),
            ("7/count", Some("count"), None),
            ("last/count/12", Some("count"), Some(TaskRange::one(12))),
            ("a b/count/0..100", Some("count"), Some(TaskRange::new(0, 100))),
            ("7/count/4..=5", Some("count"), Some(TaskRange::new(4, 6))),
        ] {
            let selector = parsed(text);
            assert_eq!((selector.stage.as_deref(), selector.tasks), (stage, tasks), "{text}");
        }
        assert_eq!(parsed("7/count/0..100").to_string(), "7/count/0..100");
        assert_eq!(parsed("last").to_string(), "last");
    }

    #[test]
    fn what_selects_nothing_says_why() {
        for (text, message) in [
            ("", "no job is named, write a number, `last`, an id or a name"),
            ("/count", "no job is named, write a number, `last`, an id or a name"),
            ("0", "`0` is not a job's number, they count from 1"),
            (
                "99999999999999999999",
                "`99999999999999999999` is not a job's number, they count from 1",
            ),
            (
                "a:b",
                "`a:b` is no job: a job's name is made of letters, digits, `-`, `_`, `.` and spaces, not of ':'",
            ),
            ("7/", "`` is no stage: a name has 1 to 128 characters, this one is empty"),
            ("7/count/x", "`x` is no task, write a number from 0 or a range such as `0..100`"),
            ("7/count/-1", "`-1` is no task, write a number from 0 or a range such as `0..100`"),
            ("7/count/5..5", "the range `5..5` holds no task, its end is exclusive"),
            ("7/a/1/2", "`7/a/1/2` has too many parts, write JOB/STAGE/TASKS"),
        ] {
            assert_eq!(text.parse::<Selector>().unwrap_err().to_string(), message, "{text}");
        }
    }
}
