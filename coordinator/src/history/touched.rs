//! Which rows facts change.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_core::fact::Fact;
use gridctl_jobs::id::{JobId, StageId, WorkerId};
use gridctl_jobs::range::TaskRange;

/// Ranges of one stage that are kept apart; more are taken together, which only writes some rows for nothing.
const RANGES_MAX: usize = 1024;

/// Rows to write anew.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// With all their rows.
    pub(super) whole_jobs: BTreeSet<JobId>,
    /// Only the rows of the job and of its stages.
    pub(super) jobs: BTreeSet<JobId>,
    pub(super) tasks: BTreeMap<StageId, Vec<TaskRange>>,
    pub(super) workers: BTreeSet<WorkerId>,
}

impl Touched {
    pub(super) fn is_empty(&self) -> bool {
        let Self { whole_jobs, jobs, tasks, workers } = self;
        whole_jobs.is_empty() && jobs.is_empty() && tasks.is_empty() && workers.is_empty()
    }

    /// Adds the rows that `fact` changes.
    pub(super) fn add(&mut self, fact: &Fact) {
        match fact {
            Fact::JobSubmitted(submitted) => {
                self.whole_jobs.insert(submitted.id);
            }
            // Times of single tasks may have been taken together meanwhile.
            Fact::JobEnded { job, .. } | Fact::JobForgotten { job, .. } => {
                self.whole_jobs.insert(*job);
            }
            Fact::JobReopened { job, .. } => {
                self.jobs.insert(*job);
            }
            Fact::StageSkipped { stage, .. } | Fact::StageReopened { stage, .. } => {
                self.add_tasks(*stage, TaskRange::new(0, u64::from(u32::MAX) + 1));
            }
            Fact::RangeDone(done) => self.add_tasks(done.stage, done.range),
            Fact::TaskDone(done) => {
                self.add_tasks(done.stage, TaskRange::one(u64::from(done.index)))
            }
            Fact::TaskFailed(failed) => {
                self.add_tasks(failed.stage, TaskRange::one(u64::from(failed.index)));
            }
            Fact::TaskLost(lost) => {
                self.add_tasks(lost.stage, TaskRange::one(u64::from(lost.index)));
            }
            Fact::TasksCancelled { stage, range, .. }
            | Fact::TasksSkipped { stage, range, .. }
            | Fact::TasksReopened { stage, range, .. } => {
                self.add_tasks(*stage, *range);
            }
            Fact::WorkerEnrolled { worker, .. }
            | Fact::WorkerDraining { worker, .. }
            | Fact::WorkerResumed { worker, .. } => {
                self.workers.insert(*worker);
            }
            Fact::EpochStarted { .. }
            | Fact::TokenCreated(_)
            | Fact::TokenRevoked { .. }
            | Fact::UserEnrolled { .. }
            | Fact::WorkerAttached { .. }
            | Fact::WorkerDetached { .. }
            | Fact::LeaseLength { .. }
            | Fact::Watermark { .. }
            | Fact::SetBack { .. } => {}
        }
    }

    fn add_tasks(&mut self, stage: StageId, range: TaskRange) {
        self.jobs.insert(stage.job);
        let ranges = self.tasks.entry(stage).or_default();
        match ranges.last_mut() {
            Some(last) if last.start <= range.end && range.start <= last.end => {
                *last = TaskRange::new(last.start.min(range.start), last.end.max(range.end));
            }
            Some(_) | None => ranges.push(range),
        }
        if ranges.len() > RANGES_MAX {
            let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
            let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
            *ranges = vec![TaskRange::new(start, end)];
        }
    }
}
