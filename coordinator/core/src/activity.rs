//! What readers see of the volatile state: who is connected, what is out, what waits and why.
//!
//! The scheduler and the readers' copy are folds of the same [`Change`]s by [`Activity::apply`].

use std::collections::BTreeMap;

use gridctl_jobs::id::{StageId, Token, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::units::{Cpus, WallMs};

use crate::event::MonoMs;
use crate::ranges::{self, Piece};

/// The volatile state that readers see.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Activity {
    /// Every worker that said Hello in this life and has not left in order since.
    pub workers: BTreeMap<WorkerId, WorkerActivity>,
    /// What is granted, by stage and first task; ranges do not overlap.
    pub granted: BTreeMap<StageId, BTreeMap<u64, Granted>>,
    /// Failed tasks that wait before they are tried again.
    pub backoff: BTreeMap<StageId, Backoff>,
    /// Until when, after a restart, nothing is granted that workers may still run.
    pub window_until: Option<MonoMs>,
    /// Tasks that must not be granted yet, since earlier attempts may still be running.
    pub barred: BTreeMap<StageId, Barred>,
}

/// Tasks of a stage that must not be granted yet, counted with those among them that are not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Barred {
    /// Until the window after a restart has closed.
    pub in_window: u64,
    /// Until what ran of them is surely dead.
    pub dying: u64,
}

/// A worker, as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerActivity {
    /// Whether it can be given work.
    pub state: WorkerState,
    /// All that it has.
    pub cpus: Cpus,
    /// Reserved for what it holds.
    pub reserved: Cpus,
    /// Whether it can end whole process trees for sure.
    pub ends_trees: bool,
    /// Whether it runs one task alone, or is kept free for such tasks; it gets nothing else.
    pub alone: bool,
}

/// Whether a worker can be given work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkerState {
    /// Connected.
    Ready,
    /// Connected; it finishes what it runs, and gets nothing new.
    Draining,
    /// Its connection is gone; its lease still runs.
    Suspect,
    /// Its lease has run out.
    Lost,
}

/// Tasks that a worker holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    /// Exclusive.
    pub end: u64,
    /// Who holds them.
    pub worker: WorkerId,
    /// Of the grant.
    pub token: Token,
    /// From 1.
    pub attempt: u32,
    /// How many tasks of the stage may run at once on this worker, over all its grants.
    pub lanes: u32,
    /// When they began, for those that the worker said have begun.
    pub started: Option<WallMs>,
}

/// Failed tasks of a stage that wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// How many.
    pub tasks: u64,
    /// When the first of them is tried again.
    pub next: MonoMs,
}

/// The tasks of a stage that run, as far as the coordinator can know.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Running {
    /// How many.
    pub tasks: u64,
    /// Which, in order.
    pub ranges: Vec<TaskRange>,
}

/// A change of the volatile state.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A worker is there, or is there differently.
    Worker {
        /// Which.
        worker: WorkerId,
        /// As it is now.
        activity: WorkerActivity,
    },
    /// A worker left in order.
    WorkerLeft {
        /// Which.
        worker: WorkerId,
    },
    /// Tasks were granted or adopted.
    Granted {
        /// Of this stage.
        stage: StageId,
        /// These tasks; `end` of `granted` is their end.
        range: TaskRange,
        /// To whom and how.
        granted: Granted,
    },
    /// Tasks have begun.
    Started {
        /// Of this stage.
        stage: StageId,
        /// These tasks.
        range: TaskRange,
        /// By the coordinator's clock.
        at: WallMs,
    },
    /// Tasks are no longer held by anyone: finished, lost, given back, cancelled.
    Released {
        /// Of this stage.
        stage: StageId,
        /// These tasks.
        range: TaskRange,
    },
    /// What waits after failures; `None` once nothing does.
    Backoff {
        /// Of this stage.
        stage: StageId,
        /// What waits now.
        backoff: Option<Backoff>,
    },
    /// The window after a restart opened or closed.
    Window {
        /// When it closes; `None` once it has.
        until: Option<MonoMs>,
    },
    /// What must not be granted yet; `None` once nothing is held so.
    Barred {
        /// Of this stage.
        stage: StageId,
        /// What is held now.
        barred: Option<Barred>,
    },
}

impl Activity {
    /// Takes a change in.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Worker { worker, activity } => {
                self.workers.insert(*worker, activity.clone());
            }
            Change::WorkerLeft { worker } => {
                self.workers.remove(worker);
            }
            Change::Granted { stage, range, granted } => {
                let pieces = self.granted.entry(*stage).or_default();
                ranges::put(pieces, range.start, granted.until(range.end));
            }
            Change::Started { stage, range, at } => {
                if let Some(pieces) = self.granted.get_mut(stage) {
                    for (part, piece) in ranges::carve(pieces, *range) {
                        let begun = Granted { end: part.end, started: Some(*at), ..piece };
                        pieces.insert(part.start, begun);
                    }
                }
            }
            Change::Released { stage, range } => {
                if let Some(pieces) = self.granted.get_mut(stage) {
                    ranges::carve(pieces, *range);
                    if pieces.is_empty() {
                        self.granted.remove(stage);
                    }
                }
            }
            Change::Backoff { stage, backoff } => match backoff {
                Some(backoff) => {
                    self.backoff.insert(*stage, *backoff);
                }
                None => {
                    self.backoff.remove(stage);
                }
            },
            Change::Window { until } => self.window_until = *until,
            Change::Barred { stage, barred } => match barred {
                Some(barred) => {
                    self.barred.insert(*stage, *barred);
                }
                None => {
                    self.barred.remove(stage);
                }
            },
        }
    }

    /// Returns who holds a task.
    pub fn granted_at(&self, stage: StageId, index: u64) -> Option<&Granted> {
        ranges::at(self.granted.get(&stage)?, index)
    }

    /// Counts the tasks of a stage that workers hold, begun or not.
    pub fn granted_tasks(&self, stage: StageId) -> u64 {
        let pieces = self.granted.get(&stage);
        pieces.map_or(0, |pieces| pieces.iter().map(|(start, piece)| piece.end - start).sum())
    }

    /// Counts the tasks that run on a worker, as far as the coordinator can know.
    pub fn running_on(&self, worker: WorkerId) -> u64 {
        let of_stage = |(stage, pieces): (&StageId, &BTreeMap<u64, Granted>)| -> u64 {
            if !pieces.values().any(|piece| piece.worker == worker) {
                return 0;
            }
            let running = self.running(*stage).ranges.into_iter();
            running
                .flat_map(|range| ranges::overlapping(pieces, range))
                .filter(|(_, piece)| piece.worker == worker)
                .map(|(part, _)| part.len())
                .sum()
        };
        self.granted.iter().map(of_stage).sum()
    }

    /// Tells which tasks of a stage run: those said to have begun, and of the others as many as their
    /// worker has lanes left for, first granted first. (Short tasks are not announced when they begin.)
    pub fn running(&self, stage: StageId) -> Running {
        let mut by_worker: BTreeMap<WorkerId, Vec<(TaskRange, Granted)>> = BTreeMap::new();
        for (start, piece) in self.granted.get(&stage).into_iter().flatten() {
            let range = TaskRange::new(*start, piece.end);
            by_worker.entry(piece.worker).or_default().push((range, *piece));
        }
        let mut ranges = Vec::new();
        for mut held in by_worker.into_values() {
            let running = may_run(&mut held).into_iter().zip(&held);
            let running = running.filter(|(tasks, _)| *tasks > 0);
            ranges.extend(
                running.map(|(tasks, (range, _))| TaskRange::new(range.start, range.start + tasks)),
            );
        }
        ranges.sort_unstable();
        Running { tasks: ranges.iter().map(|range| range.len()).sum(), ranges }
    }
}

/// Tells how many tasks of what a worker holds of one stage may be running, the first of each range: those said
/// to have begun, then as many as there are lanes left, first granted first. Puts `held` into that order.
pub(crate) fn may_run(held: &mut [(TaskRange, Granted)]) -> Vec<u64> {
    held.sort_by_key(|(range, piece)| (piece.started.is_none(), piece.token, range.start));
    let newest = held.iter().max_by_key(|(_, piece)| piece.token);
    let mut left = newest.map_or(0, |(_, piece)| u64::from(piece.lanes));
    let take = |(range, piece): &(TaskRange, Granted)| {
        let tasks = if piece.started.is_some() { range.len() } else { range.len().min(left) };
        left = left.saturating_sub(tasks);
        tasks
    };
    held.iter().map(take).collect()
}

impl Running {
    /// Says whether a task is among them.
    pub fn contains(&self, index: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.start <= index);
        after.checked_sub(1).is_some_and(|before| self.ranges[before].contains(index))
    }

    /// Returns the first of them at or above `from`.
    pub fn next_in(&self, from: u64) -> Option<u64> {
        let next = self.ranges.partition_point(|range| range.end <= from);
        self.ranges.get(next).map(|range| range.start.max(from))
    }
}

impl Piece for Granted {
    fn end(&self) -> u64 {
        self.end
    }
    fn until(&self, end: u64) -> Self {
        Self { end, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use gridctl_jobs::id::{Epoch, JobId, StageIndex};

    use super::*;

    fn grant(activity: &mut Activity, worker: u64, counter: u64, range: TaskRange, lanes: u32) {
        let token = Token { epoch: Epoch(1), counter };
        let worker = WorkerId(worker);
        let granted = Granted { end: range.end, worker, token, attempt: 1, lanes, started: None };
        activity.apply(&Change::Granted { stage: stage(), range, granted });
    }

    fn stage() -> StageId {
        StageId { job: JobId(uuid::Uuid::from_u128(1)), stage: StageIndex(0) }
    }

    #[test]
    fn no_more_tasks_run_than_there_are_lanes() {
        let mut activity = Activity::default();
        grant(&mut activity, 1, 1, TaskRange::new(0, 3), 2);
        grant(&mut activity, 1, 2, TaskRange::new(3, 100), 2);
        grant(&mut activity, 2, 3, TaskRange::new(100, 101), 4);
        let running = activity.running(stage());
        assert_eq!(running.ranges, [TaskRange::new(0, 2), TaskRange::one(100)]);
        assert_eq!((running.tasks, activity.granted_tasks(stage())), (3, 101));
        assert!(running.contains(1) && !running.contains(2) && running.contains(100));
        assert_eq!((running.next_in(2), running.next_in(101)), (Some(100), None));
    }

    #[test]
    fn what_has_begun_takes_the_lanes_first() {
        let mut activity = Activity::default();
        grant(&mut activity, 1, 1, TaskRange::new(0, 9), 2);
        activity.apply(&Change::Started {
            stage: stage(),
            range: TaskRange::one(4),
            at: WallMs(7),
        });
        assert_eq!(activity.running(stage()).ranges, [TaskRange::one(0), TaskRange::one(4)]);
        assert_eq!(activity.granted_at(stage(), 4).unwrap().started, Some(WallMs(7)));
        assert_eq!(activity.granted_at(stage(), 5).unwrap().started, None);
    }

    #[test]
    fn a_stage_without_grants_leaves_nothing_behind() {
        let mut activity = Activity::default();
        grant(&mut activity, 1, 1, TaskRange::new(0, 9), 2);
        activity.apply(&Change::Released { stage: stage(), range: TaskRange::new(0, 9) });
        assert_eq!(activity, Activity::default());
    }
}
