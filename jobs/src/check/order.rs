//! A stage's order as a coordinator sent it to a worker.

use thiserror::Error;

use super::TaskError;
use crate::limits::TASKS_PER_STAGE_MAX;
use crate::name::{NameError, check_job_name, check_stage_name};
use crate::numbers::NumbersError;
use crate::spec::{ItemSource, StageOrder};

/// What is wrong with an order that a coordinator sent.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum OrderError {
    /// The name of the job or the stage breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The numbers break a rule.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// What it runs breaks a rule.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// It counts its tasks differently from what its items give, or more than a stage can have.
    #[error("the stage counts {count} tasks, its items give {items}")]
    Count {
        /// How many it says.
        count: u64,
        /// How many it can have.
        items: u64,
    },
    /// The directory of files is not absolute.
    #[error("the directory of the files is not an absolute path")]
    BaseNotAbsolute,
}

impl StageOrder {
    /// Checks everything that a peer could have got wrong.
    ///
    /// # Errors
    /// Names the first thing that is wrong.
    pub fn check(&self) -> Result<(), OrderError> {
        check_job_name(&self.job_name)?;
        check_stage_name(&self.stage_name)?;
        let items = match &self.source {
            ItemSource::Single => 1,
            ItemSource::Numbers(numbers) => {
                numbers.check()?;
                numbers.tasks()
            }
            ItemSource::Files { base } if !base.starts_with('/') => {
                return Err(OrderError::BaseNotAbsolute);
            }
            ItemSource::Texts | ItemSource::Files { .. } => self.count.min(TASKS_PER_STAGE_MAX),
        };
        if self.count != items {
            return Err(OrderError::Count { count: self.count, items });
        }
        Ok(self.task.check(self.source.kind())?)
    }
}
