//! What runs: slices on lanes, and the one account of cpus over functions and processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::planted::{self, Bug};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::render::Renderer;
use gridctl_jobs::spec::Run;
use gridctl_jobs::units::Cpus;

use super::event::{MonoMs, SliceId};
use super::ranges::without_all;
use super::stages::{GrantHead, Piece};
use crate::limits::{LANES_MAX, SLICE_LONG_MS};

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Slices {
    running: BTreeMap<SliceId, Running>,
    last: u64,
    capacity: Cpus,
    used: Cpus,
}

/// A slice on its lane.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) stage: StageId,
    pub(super) head: Arc<GrantHead>,
    pub(super) renderer: Arc<Renderer>,
    /// The first task that has not ended; it has begun.
    pub(super) next: u64,
    /// Exclusive; moves down when the tail is reclaimed.
    pub(super) end: u64,
    /// When it began, or last had an end.
    pub(super) progressed: MonoMs,
    /// Tasks of which no end is wanted any more.
    void: Vec<TaskRange>,
    /// Whether the executor was asked for the tail: once, since nothing begins after it.
    pub(super) reclaim: Reclaim,
    /// The task that was announced as begun.
    pub(super) told: Option<u64>,
    /// Whether nothing of it is wanted any more, although its lane has not returned.
    pub(super) over: bool,
    /// Whether its overrun was told.
    pub(super) told_overrun: bool,
}

/// How far the tail of a slice was taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reclaim {
    No,
    Asked,
    Done,
}

impl Slices {
    pub(super) const fn new(capacity: Cpus) -> Self {
        Self { running: BTreeMap::new(), last: 0, capacity, used: Cpus::ZERO }
    }

    /// Says whether a task that asks for so much can begin.
    pub(super) fn has_room(&self, cpus: Cpus) -> bool {
        let fits = self.used.saturating_add(cpus) <= self.capacity;
        self.running.len() < LANES_MAX && (fits || planted::is_on(Bug::NoCpuAccount))
    }

    /// Returns what is occupied.
    pub(super) const fn used(&self) -> Cpus {
        self.used
    }

    /// Occupies cpus for a slice; the caller has asked whether there is room.
    pub(super) fn begin(
        &mut self,
        now: MonoMs,
        stage: StageId,
        renderer: Arc<Renderer>,
        piece: Piece,
    ) -> SliceId {
        self.last += 1;
        let id = SliceId(self.last);
        self.used = self.used.saturating_add(renderer.order().task.cpus);
        let Piece { head, range } = piece;
        self.running.insert(
            id,
            Running {
                stage,
                head,
                renderer,
                next: range.start,
                end: range.end,
                progressed: now,
                void: Vec::new(),
                reclaim: Reclaim::No,
                told: None,
                over: false,
                told_overrun: false,
            },
        );
        id
    }

    /// Frees the cpus of a slice that has returned.
    pub(super) fn end(&mut self, id: SliceId) -> Option<Running> {
        let slice = self.running.remove(&id)?;
        self.used = self.used.saturating_sub(slice.cpus());
        Some(slice)
    }

    pub(super) fn get_mut(&mut self, id: SliceId) -> Option<&mut Running> {
        self.running.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SliceId, &Running)> {
        self.running.iter().map(|(id, slice)| (*id, slice))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SliceId, &mut Running)> {
        self.running.iter_mut().map(|(id, slice)| (*id, slice))
    }

    /// Returns those of which something is still wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (SliceId, &Running)> {
        self.iter().filter(|(_, slice)| !slice.over)
    }

    /// Says whether the tail of some slice that came with this token is on its way back.
    pub(super) fn reclaiming(&self, stage: StageId, token: Token) -> bool {
        self.iter().any(|(_, slice)| {
            slice.reclaim == Reclaim::Asked && slice.stage == stage && slice.head.token == token
        })
    }

    /// Checks the account.
    ///
    /// # Panics
    /// Where what is occupied is not what runs, or more than there is.
    pub(super) fn check_invariants(&self) {
        let sum = self.iter().fold(Cpus::ZERO, |sum, (_, slice)| sum.saturating_add(slice.cpus()));
        assert_eq!(sum, self.used, "the account of cpus is what runs");
        assert!(self.used <= self.capacity, "never more cpus in use than there are");
    }
}

impl Running {
    /// Returns what it occupies.
    pub(super) fn cpus(&self) -> Cpus {
        self.renderer.order().task.cpus
    }

    /// Says whether it runs a function, which cannot be made to return.
    pub(super) fn is_function(&self) -> bool {
        match self.renderer.order().task.run {
            Run::Function { .. } => true,
            Run::Command { .. } | Run::Script { .. } => false,
        }
    }

    /// Returns the tasks that have not ended and are still wanted.
    pub(super) fn open(&self) -> Vec<TaskRange> {
        let mut open = without_all(TaskRange::new(self.next, self.end), &self.void);
        open.retain(|range| !range.is_empty());
        open
    }

    /// Returns the part of `range` that is still wanted.
    pub(super) fn wanted_of(&self, range: TaskRange) -> Vec<TaskRange> {
        let mut wanted = without_all(range, &self.void);
        wanted.retain(|range| !range.is_empty());
        wanted
    }

    /// Wants no end of the tasks in `range` any more; says whether that changes anything.
    pub(super) fn void(&mut self, range: TaskRange) -> bool {
        let hit = TaskRange::new(self.next, self.end).intersect(range);
        if self.wanted_of(hit).is_empty() || hit.is_empty() {
            return false;
        }
        self.void.push(hit);
        true
    }

    /// Says whether it may hold tasks that have not begun: all but the first that has not ended.
    pub(super) const fn may_have_tail(&self) -> bool {
        matches!(self.reclaim, Reclaim::No) && self.end.saturating_sub(self.next) > 1
    }

    /// Returns from when on it has turned out long.
    pub(super) const fn long_from(&self) -> MonoMs {
        self.progressed.after(SLICE_LONG_MS)
    }
}
