//! The simulator's own account of what tasks may cost beside their retries: workers that are lost with them, and
//! failures of their stage.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_core::fact::{TaskFailed, TaskLost};
use gridctl_jobs::budget::Budget;
use gridctl_jobs::id::{JobId, StageId, Token, WorkerId};

use crate::invariants::{Rule, Violation, check, name};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    stages: BTreeMap<StageId, Budget>,
    tasks: BTreeMap<(StageId, u64), Spent>,
    /// What a worker held when it was lost.
    lost: BTreeMap<WorkerId, BTreeSet<(StageId, u64)>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    /// Workers lost with it.
    losses: u32,
    last_lost: Token,
    has_failed: bool,
    is_set_aside: bool,
}

impl Budgets {
    pub(crate) fn submitted(&mut self, stage: StageId, budget: &Budget) {
        self.stages.insert(stage, budget.clone());
    }

    /// A worker is about to be lost with what it holds.
    pub(crate) fn loses(&mut self, worker: WorkerId, held: BTreeSet<(StageId, u64)>) {
        self.lost.insert(worker, held);
    }

    pub(crate) fn failed(&mut self, failed: &TaskFailed) {
        let spent = self.tasks.entry((failed.stage, u64::from(failed.index))).or_default();
        spent.has_failed |= failed.last;
    }

    /// Checks a loss that a step has just found, before it is taken in.
    pub(crate) fn check_loss(&self, lost: &TaskLost) -> Result<(), Violation> {
        let index = u64::from(lost.index);
        let spent = self.tasks.get(&(lost.stage, index)).copied().unwrap_or_default();
        check(lost.token > spent.last_lost, Rule::BudgetIsSpentOnce, || {
            format!("the loss of {} under {} is charged twice", name(lost.stage, index), lost.token)
        })?;
        let nothing = BTreeSet::new();
        let held = self.lost.get(&lost.worker).unwrap_or(&nothing);
        check(held.contains(&(lost.stage, index)), Rule::BudgetIsSpentOnce, || {
            format!("{} is charged with a worker that did not hold it", name(lost.stage, index))
        })?;
        let most = self.stages.get(&lost.stage).map_or(0, |budget| budget.worker_losses);
        check(!lost.alone || held.len() == 1, Rule::InnocentIsKept, || {
            format!("{} counts as alone beside {} others", name(lost.stage, index), held.len() - 1)
        })?;
        let is_over = lost.alone && spent.losses + 1 >= most;
        check(lost.last == is_over, Rule::InnocentIsKept, || {
            format!(
                "{} {} set aside at loss {} of {most}, alone: {}",
                name(lost.stage, index),
                if lost.last { "is" } else { "is not" },
                spent.losses + 1,
                lost.alone
            )
        })
    }

    pub(crate) fn lost(&mut self, lost: &TaskLost) {
        let spent = self.tasks.entry((lost.stage, u64::from(lost.index))).or_default();
        spent.losses += 1;
        spent.last_lost = lost.token;
        spent.has_failed |= lost.last;
        spent.is_set_aside |= lost.last;
    }

    /// Checks that a stage of which tasks are skipped had failed often enough.
    pub(crate) fn check_skipped(&self, stage: StageId) -> Result<(), Violation> {
        let most = self.stages.get(&stage).and_then(|budget| budget.max_failures);
        let failed = self.failures(stage);
        check(most.is_some_and(|most| failed >= most), Rule::BudgetIsSpentOnce, || {
            format!("tasks of {stage:?} are skipped after {failed} failures of {most:?}")
        })
    }

    /// A task is to be run again, with a new budget.
    pub(crate) fn reopened(&mut self, stage: StageId, index: u64) {
        if let Some(spent) = self.tasks.get_mut(&(stage, index)) {
            *spent = Spent { last_lost: spent.last_lost, ..Spent::default() };
        }
    }

    pub(crate) fn forgotten(&mut self, job: JobId) {
        self.tasks.retain(|(stage, _), _| stage.job != job);
    }

    /// Lists the tasks of a stage that were set aside.
    pub(crate) fn set_aside(&self, stage: StageId) -> BTreeSet<u64> {
        let tasks = self.tasks.range((stage, 0)..=(stage, u64::MAX));
        tasks.filter(|(_, spent)| spent.is_set_aside).map(|((_, index), _)| *index).collect()
    }

    /// Forgets everything but what a restart leaves to be found out.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn failures(&self, stage: StageId) -> u64 {
        let tasks = self.tasks.range((stage, 0)..=(stage, u64::MAX));
        tasks.filter(|(_, spent)| spent.has_failed).count() as u64
    }
}
