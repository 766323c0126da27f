//! A whole job as a peer sent it.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{ItemsError, TaskError};
use crate::budget::BudgetError;
use crate::graph::cycles;
use crate::id::StageIndex;
use crate::limits::{PRIORITY_ABS_MAX, STAGES_MAX};
use crate::name::{NameError, check_job_name, check_stage_name};
use crate::spec::{JobSpec, StageSpec};

/// What is wrong with a job that a peer sent.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SpecError {
    /// The job's name breaks a rule.
    #[error("the job's name is refused: {source}")]
    JobName {
        /// Which rule.
        source: NameError,
    },
    /// Its priority is out of bounds.
    #[error("priority {priority} is not between -{PRIORITY_ABS_MAX} and {PRIORITY_ABS_MAX}")]
    Priority {
        /// What it asks for.
        priority: i32,
    },
    /// It has no stage.
    #[error("a job has at least one stage")]
    NoStage,
    /// More than [`STAGES_MAX`].
    #[error("{stages} stages, at most {STAGES_MAX} are allowed")]
    TooManyStages {
        /// How many it has.
        stages: usize,
    },
    /// A stage's name breaks a rule.
    #[error("the name of stage {} is refused: {source}", stage.0)]
    StageName {
        /// Which stage.
        stage: StageIndex,
        /// Which rule.
        source: NameError,
    },
    /// Two stages have the same name.
    #[error("two stages are called `{name}`")]
    DuplicateStage {
        /// Their name.
        name: String,
    },
    /// A stage's items break a rule.
    #[error("the items of stage `{stage}` are refused: {source}")]
    Items {
        /// The stage's name.
        stage: String,
        /// Which rule.
        source: ItemsError,
    },
    /// What a stage runs breaks a rule.
    #[error("stage `{stage}` is refused: {source}")]
    Task {
        /// The stage's name.
        stage: String,
        /// Which rule.
        source: TaskError,
    },
    /// How much failure a stage bears breaks a rule.
    #[error("stage `{stage}` is refused: {source}")]
    Budget {
        /// The stage's name.
        stage: String,
        /// Which rule.
        source: BudgetError,
    },
    /// A stage needs one that is not there.
    #[error("stage `{stage}` needs stage {need}, but there are only {stages}", need = need.0)]
    UnknownNeed {
        /// The stage's name.
        stage: String,
        /// What it needs.
        need: StageIndex,
        /// How many stages there are.
        stages: usize,
    },
    /// A stage needs more stages than there can be.
    #[error("stage `{stage}` needs {needs} stages, but there are only {stages}")]
    TooManyNeeds {
        /// The stage's name.
        stage: String,
        /// How many it needs.
        needs: usize,
        /// How many stages there are.
        stages: usize,
    },
    /// Stages need each other in a circle.
    #[error("stages need each other in a circle: {}", stages.join(" → "))]
    Cycle {
        /// Their names, each needing the next, the first repeated at the end.
        stages: Vec<String>,
    },
}

impl JobSpec {
    /// Checks everything that a peer could have got wrong; takes time by the bytes of the job.
    ///
    /// # Errors
    /// Names the first thing that is wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        check_job_name(&self.name).map_err(|source| SpecError::JobName { source })?;
        if self.priority.unsigned_abs() > PRIORITY_ABS_MAX.unsigned_abs() {
            return Err(SpecError::Priority { priority: self.priority });
        }
        match self.stages.len() {
            0 => return Err(SpecError::NoStage),
            stages if stages > STAGES_MAX => return Err(SpecError::TooManyStages { stages }),
            _ => {}
        }
        let mut seen = BTreeMap::new();
        for (stage, index) in self.stages.iter().zip(0..) {
            let stage_index = StageIndex(index);
            check_stage_name(&stage.name)
                .map_err(|source| SpecError::StageName { stage: stage_index, source })?;
            if seen.insert(stage.name.as_str(), stage_index).is_some() {
                return Err(SpecError::DuplicateStage { name: stage.name.clone() });
            }
            stage.check(self.stages.len())?;
        }
        self.check_cycles()
    }

    fn check_cycles(&self) -> Result<(), SpecError> {
        let needs: Vec<Vec<usize>> = self
            .stages
            .iter()
            .map(|stage| stage.needs.iter().map(|need| need.0 as usize).collect())
            .collect();
        match cycles(&needs, 1).into_iter().next() {
            None => Ok(()),
            Some(cycle) => {
                let names =
                    cycle.iter().chain(cycle.first()).map(|&at| self.stages[at].name.clone());
                Err(SpecError::Cycle { stages: names.collect() })
            }
        }
    }
}

impl StageSpec {
    fn check(&self, stages: usize) -> Result<(), SpecError> {
        self.items
            .check()
            .map_err(|source| SpecError::Items { stage: self.name.clone(), source })?;
        let task_error = |source| SpecError::Task { stage: self.name.clone(), source };
        self.task.check(self.items.kind()).map_err(task_error)?;
        if let Some((_, source)) = self.budget.errors().into_iter().next() {
            return Err(SpecError::Budget { stage: self.name.clone(), source });
        }
        if self.needs.len() > stages {
            let (stage, needs) = (self.name.clone(), self.needs.len());
            return Err(SpecError::TooManyNeeds { stage, needs, stages });
        }
        match self.needs.iter().find(|need| need.0 as usize >= stages) {
            Some(&need) => Err(SpecError::UnknownNeed { stage: self.name.clone(), need, stages }),
            None => Ok(()),
        }
    }
}
