//! A stage that runs: its needs have succeeded and some of its tasks are open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gridctl_jobs::id::WorkerId;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{Items, JobSpec, OnLostLease, StageOrder, StageSpec};
use gridctl_jobs::units::Cpus;

use super::fleet::Machine;
use super::limits::{
    BACKLOG_GROWTH, BACKLOG_US, GRANT_ITEM_BYTES_MAX, OUTSTANDING_MAX, PACE_MEMORY_TASKS,
};
use super::queue::Rank;
use super::report::task_index;
use super::retry::Later;
use super::split::{Choice, Pending};
use crate::event::MonoMs;
use crate::state::{Job, Stage};

/// What the scheduler keeps of a stage that runs.
#[derive(Debug)]
pub(super) struct Runnable {
    pub(super) rank: Rank,
    pub(super) order: Arc<StageOrder>,
    spec: Arc<JobSpec>,
    /// Of one task.
    pub(super) cpus: Cpus,
    /// Whether its tasks are killed before their worker's lease has run out.
    pub(super) stops: bool,
    pub(super) pending: Pending,
    pub(super) later: Later,
    /// Tasks that wait to run alone on a worker, each with the number of its next attempt.
    pub(super) suspects: BTreeMap<u32, u32>,
    /// When the timer of `later` is set for.
    pub(super) timer: Option<MonoMs>,
    /// How many tasks workers hold.
    pub(super) granted: u64,
    pub(super) pace: Pace,
    /// Workers that were sent the order in their session.
    pub(super) told: BTreeSet<WorkerId>,
    /// Workers that are being emptied for it.
    pub(super) claims: BTreeSet<WorkerId>,
}

/// How long tasks of a stage run, as measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pace {
    /// Tasks measured.
    tasks: u64,
    /// Weighted mean, recent ones more.
    mean_ns: u64,
}

impl Runnable {
    pub(super) fn new(job: &Job, stage: &Stage) -> Self {
        let spec = stage_spec(job.spec(), stage);
        let id = stage.id();
        let mut pending = Pending::new(stage);
        let mut suspects = BTreeMap::new();
        for (index, history) in stage.suspects_in(TaskRange::new(0, stage.counts().total)) {
            pending.remove(TaskRange::one(index));
            suspects.insert(task_index(index), history.attempts() + 1);
        }
        Self {
            rank: Rank {
                priority: std::cmp::Reverse(job.spec().priority),
                number: job.number(),
                stage: id.stage,
                job: id.job,
            },
            order: Arc::new(StageOrder {
                job: id.job,
                number: job.number(),
                job_name: job.spec().name.clone(),
                stage: id.stage,
                stage_name: spec.name.clone(),
                count: stage.counts().total,
                task: Arc::clone(&spec.task),
                source: spec.items.source(),
            }),
            spec: Arc::clone(job.spec()),
            cpus: spec.task.cpus,
            stops: spec.task.on_lost_lease == OnLostLease::Stop,
            pending,
            later: Later::default(),
            suspects,
            timer: None,
            granted: 0,
            pace: Pace::default(),
            told: BTreeSet::new(),
            claims: BTreeSet::new(),
        }
    }

    /// Counts the tasks that nobody holds.
    pub(super) fn waiting(&self) -> u64 {
        self.pending.len() + self.later.len() + self.suspects.len() as u64
    }

    /// Takes tasks out of wherever they wait: they have ended, or somebody turned out to hold them.
    pub(super) fn forget(&mut self, range: TaskRange) {
        self.hold_back(range);
        self.later.remove(range);
    }

    /// Takes tasks out that are ready to be granted.
    pub(super) fn hold_back(&mut self, range: TaskRange) {
        self.pending.remove(range);
        if !self.suspects.is_empty() {
            self.suspects.retain(|index, _| !range.contains(u64::from(*index)));
        }
    }

    /// Returns what was asked for of it.
    pub(super) fn spec(&self) -> &StageSpec {
        let place = usize::try_from(self.rank.stage.0).expect("a job has at most 1,024 stages");
        &self.spec.stages[place]
    }

    /// Returns the items of the stage.
    pub(super) fn items(&self) -> &Items {
        &self.spec().items
    }

    /// Says whether any of its tasks may run on a worker like this.
    pub(super) const fn may_run_on(&self, machine: &Machine) -> bool {
        machine.ends_trees || !self.stops
    }

    /// Takes tasks for a worker out of what is pending, no more than whose items fit one grant.
    pub(super) fn take(
        &mut self,
        stage: &Stage,
        worker: WorkerId,
        choice: Choice,
        max: u64,
    ) -> Option<super::split::Cut> {
        let spec = Arc::clone(&self.spec);
        let place = usize::try_from(self.rank.stage.0).expect("a job has at most 1,024 stages");
        let items = &spec.stages[place].items;
        self.pending.take(stage, worker, choice, max, |range| fitting(items, range))
    }
}

impl Pace {
    /// Takes in that `tasks` ran for `busy_us` microseconds together.
    pub(super) fn measure(&mut self, tasks: u64, busy_us: u64) {
        let known = self.tasks.min(PACE_MEMORY_TASKS);
        let busy_ns = u128::from(busy_us) * 1_000;
        let sum = u128::from(self.mean_ns) * u128::from(known) + busy_ns;
        let mean = sum / u128::from((known + tasks).max(1));
        self.mean_ns = u64::try_from(mean).unwrap_or(u64::MAX);
        self.tasks = self.tasks.saturating_add(tasks);
    }

    /// Returns how many tasks a worker with so many lanes should hold.
    pub(super) fn target(&self, lanes: u64) -> u64 {
        if self.tasks == 0 {
            return lanes;
        }
        let unstarted = lanes.saturating_mul(BACKLOG_US * 1_000) / self.mean_ns.max(1);
        let grown = self.tasks.saturating_mul(BACKLOG_GROWTH);
        lanes.saturating_add(unstarted.min(grown)).min(OUTSTANDING_MAX.max(lanes))
    }

    /// Returns how long so many tasks run, in microseconds; `None` where nothing was measured.
    pub(super) fn run_time_us(&self, tasks: u64) -> Option<u64> {
        (self.tasks > 0).then(|| self.mean_ns.saturating_mul(tasks) / 1_000)
    }
}

/// Returns what was asked for of a stage.
pub(super) fn stage_spec<'a>(spec: &'a JobSpec, stage: &Stage) -> &'a StageSpec {
    let place = usize::try_from(stage.id().stage.0).expect("a job has at most 1,024 stages");
    &spec.stages[place]
}

/// Counts how many tasks of a range have items that fit one grant together.
fn fitting(items: &Items, range: TaskRange) -> u64 {
    let list = match items {
        Items::Single | Items::Numbers(_) => return range.len(),
        Items::Texts(list) | Items::Files { paths: list, .. } => list,
    };
    let mut bytes = 0;
    for index in range.start..range.end {
        let item = usize::try_from(index).ok().and_then(|index| list.item(index));
        bytes += item.map_or(0, str::len);
        if bytes > GRANT_ITEM_BYTES_MAX {
            return index - range.start;
        }
    }
    range.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unstarted_is_held_until_something_was_measured() {
        assert_eq!(Pace::default().target(4), 4);
    }

    #[test]
    fn long_tasks_travel_singly_and_short_ones_by_thousands() {
        let mut hour = Pace::default();
        hour.measure(1, 3_600_000_000);
        assert_eq!(hour.target(4), 4);
        let mut short = Pace::default();
        short.measure(100_000, 100_000);
        assert_eq!(short.target(4), OUTSTANDING_MAX);
        let mut middle = Pace::default();
        middle.measure(100, 100 * 10_000);
        assert_eq!(middle.target(4), 4 + 40);
    }

    #[test]
    fn backlogs_grow_with_what_was_measured() {
        let mut pace = Pace::default();
        pace.measure(2, 2);
        assert_eq!(pace.target(2), 2 + 16);
    }

    #[test]
    fn recent_tasks_count_more() {
        let mut pace = Pace::default();
        pace.measure(1_000, 1_000);
        pace.measure(8, 8 * 1_000_000);
        let mean = pace.run_time_us(1).unwrap();
        assert!((400_000..=600_000).contains(&mean), "{mean} us");
    }
}
