//! A stage as the facts have it: sets of tasks, and what differs from task to task.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{StageId, StageIndex, Token, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::StageSpec;
use gridctl_jobs::units::WallMs;
use serde::{Deserialize, Serialize};

use super::task::History;
use crate::fact::{Begun, Kept, RangeDone, Span, TaskDone, TaskFailed, TaskLost};
use crate::ranges::{self, Piece};
use crate::set::TaskSet;

mod reopen;

/// Records of done ranges that a stage keeps apart; past it neighbours of one worker are merged, and their
/// times are those of all together. Some 8 MiB a stage.
const EXACT_RECORDS_MAX: usize = 1 << 17;

/// A stage: which of its tasks are done, failed, cancelled or skipped; the others are open.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stage {
    id: StageId,
    done: TaskSet,
    failed: TaskSet,
    cancelled: TaskSet,
    skipped: Option<Skipped>,
    counts: Counts,
    histories: BTreeMap<u32, History>,
    /// Tasks that never began, since too many others have failed.
    left_out: TaskSet,
    ended_early: Option<EndedEarly>,
    /// How many of the failed tasks do not count towards `max_failures` any more.
    failures_forgiven: u64,
    /// Open tasks that some worker could not start.
    unstartable: BTreeSet<u32>,
    /// Open tasks with which so many workers were lost that they run alone from now on.
    suspects: BTreeSet<u32>,
    /// How many losses that takes.
    alone_after_losses: u32,
    /// Done tasks that left something behind.
    kept: BTreeMap<u32, DoneTask>,
    /// Who did what, when.
    records: BTreeMap<u64, DoneRange>,
    fences: BTreeMap<u64, Fence>,
    /// Attempts of tasks that were cancelled or reopened, as far as their histories do not tell them.
    attempted: BTreeMap<u64, Attempted>,
    /// Nothing from here on was ever granted.
    watermark: u64,
}

/// How many tasks are in which state; `total` is the sum of the others and of those still open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// All tasks.
    pub total: u64,
    /// Succeeded.
    pub done: u64,
    /// Failed for good.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Never run, because of another stage.
    pub skipped: u64,
}

/// Why a stage does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Skipped {
    /// The stage that it needs and that did not succeed.
    pub because: StageIndex,
    /// When that was known.
    pub at: WallMs,
}

/// Why what had not begun of a stage never will.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndedEarly {
    /// How many of its tasks had failed for good.
    pub failed: u64,
    /// When that was too many.
    pub at: WallMs,
}

/// A done task that left something behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DoneTask {
    /// Of the grant that it ran under.
    pub token: Token,
    /// What it left behind.
    pub kept: Kept,
}

/// Who did some tasks, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DoneRange {
    /// Exclusive.
    pub end: u64,
    /// Who ran them.
    pub worker: WorkerId,
    /// Which attempt of each it was, from 1.
    pub attempt: u32,
    /// From the first start to the last end, by the worker's clock.
    pub span: Span,
}

/// Nothing granted up to `token` commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Fence {
    end: u64,
    token: Token,
}

/// So many attempts were begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Attempted {
    end: u64,
    attempts: u32,
}

impl Counts {
    /// Counts the tasks of which something may still become.
    pub const fn open(self) -> u64 {
        self.total - self.done - self.failed - self.cancelled - self.skipped
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            done: self.done + other.done,
            failed: self.failed + other.failed,
            cancelled: self.cancelled + other.cancelled,
            skipped: self.skipped + other.skipped,
        }
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self {
            total: self.total - other.total,
            done: self.done - other.done,
            failed: self.failed - other.failed,
            cancelled: self.cancelled - other.cancelled,
            skipped: self.skipped - other.skipped,
        }
    }
}

impl Stage {
    pub(super) fn new(id: StageId, spec: &StageSpec) -> Self {
        let count = spec.items.count();
        Self {
            id,
            done: TaskSet::default(),
            failed: TaskSet::default(),
            cancelled: TaskSet::default(),
            skipped: None,
            counts: Counts { total: count, ..Counts::default() },
            histories: BTreeMap::new(),
            left_out: TaskSet::default(),
            ended_early: None,
            failures_forgiven: 0,
            unstartable: BTreeSet::new(),
            suspects: BTreeSet::new(),
            alone_after_losses: spec.budget.alone_after_losses(),
            kept: BTreeMap::new(),
            records: BTreeMap::new(),
            fences: BTreeMap::new(),
            attempted: BTreeMap::new(),
            watermark: 0,
        }
    }

    /// Returns which stage it is.
    pub const fn id(&self) -> StageId {
        self.id
    }

    /// Counts its tasks by state.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns why it does not run.
    pub const fn skipped(&self) -> Option<Skipped> {
        self.skipped
    }

    /// Returns why what had not begun of it was skipped, if it was.
    pub const fn ended_early(&self) -> Option<EndedEarly> {
        self.ended_early
    }

    /// Counts the tasks that have failed for good since somebody last had some of it run again.
    pub(crate) const fn failures(&self) -> u64 {
        self.counts.failed - self.failures_forgiven
    }

    /// Says whether every task is done.
    pub const fn has_succeeded(&self) -> bool {
        self.counts.done == self.counts.total
    }

    /// Says whether some task will never be done, so that what needs the stage cannot run.
    pub const fn cannot_succeed(&self) -> bool {
        self.counts.failed + self.counts.cancelled + self.counts.skipped > 0
            || self.skipped.is_some()
    }

    /// Says whether something may still become of a task.
    pub fn is_open(&self, index: u64) -> bool {
        index < self.counts.total
            && self.skipped.is_none()
            && !self.done.contains(index)
            && !self.failed.contains(index)
            && !self.cancelled.contains(index)
            && !self.left_out.contains(index)
    }

    /// Returns the task from which on nothing was ever granted.
    pub const fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Says whether a task has failed for good.
    pub fn has_failed(&self, index: u64) -> bool {
        self.failed.contains(index)
    }

    /// Returns the failures of a task.
    pub fn history(&self, index: u64) -> Option<&History> {
        self.histories.get(&u32::try_from(index).ok()?)
    }

    /// Returns what a done task left behind.
    pub fn kept(&self, index: u64) -> Option<&DoneTask> {
        self.kept.get(&u32::try_from(index).ok()?)
    }

    /// Lists all output of its tasks that is kept: of done tasks, and of failed attempts.
    pub(super) fn all_kept(&self) -> impl Iterator<Item = &Kept> {
        let failed = self.histories.values().flat_map(|history| history.failed());
        let of_done = self.kept.values().map(|done| &done.kept);
        of_done.chain(failed.filter_map(|attempt| attempt.kept.as_ref()))
    }

    /// Returns the first done task at or above `from` that left something behind.
    pub fn kept_from(&self, from: u64) -> Option<(u64, &DoneTask)> {
        let from = u32::try_from(from).ok()?;
        self.kept.range(from..).next().map(|(index, done)| (u64::from(*index), done))
    }

    /// Returns the record that a done task is in.
    pub fn record(&self, index: u64) -> Option<(TaskRange, &DoneRange)> {
        let (start, record) = self.records.range(..=index).next_back()?;
        (index < record.end).then_some((TaskRange::new(*start, record.end), record))
    }

    /// Lists the tasks with failures that lie in `range`, in order.
    pub fn histories(&self, range: TaskRange) -> impl Iterator<Item = (u64, &History)> {
        let first = u32::try_from(range.start);
        let entries = first.ok().map(|first| self.histories.range(first..));
        entries
            .into_iter()
            .flatten()
            .map(|(index, history)| (u64::from(*index), history))
            .take_while(move |(index, _)| *index < range.end)
    }

    /// Returns the highest token of a task in any fact: nothing granted up to it commits.
    pub(crate) fn last_token(&self, index: u64) -> Token {
        let failed = self.history(index).map_or(Token::default(), History::last);
        ranges::at(&self.fences, index).map_or(failed, |fence| fence.token.max(failed))
    }

    /// Splits `range` into those parts of which a result granted under `token` may commit, in order.
    pub(crate) fn committable(&self, range: TaskRange, token: Token) -> Vec<TaskRange> {
        let plain = self.skipped.is_none()
            && range.end <= self.counts.total
            && self.done.count_in(range) == 0
            && self.failed.count_in(range) == 0
            && self.cancelled.count_in(range) == 0
            && self.left_out.count_in(range) == 0
            && self.histories(range).next().is_none()
            && ranges::overlapping(&self.fences, range).next().is_none();
        if plain {
            return vec![range];
        }
        let mut parts = Vec::new();
        let mut from = range.start;
        while let Some(start) = self.next_open(from).filter(|start| *start < range.end) {
            let end = self.open_until(start).min(range.end);
            self.split_at_tokens(TaskRange::new(start, end), token, &mut parts);
            from = end;
        }
        parts
    }

    /// Returns the first open task at or above `from`.
    pub fn next_open(&self, from: u64) -> Option<u64> {
        if self.skipped.is_some() {
            return None;
        }
        let index = self.next_unsettled(from);
        (index < self.counts.total).then_some(index)
    }

    /// Returns the first index at or above `from` that is neither done, failed, cancelled nor left out; it may
    /// lie past the end.
    pub(crate) fn next_unsettled(&self, from: u64) -> u64 {
        let mut index = from;
        loop {
            let sets = [&self.done, &self.failed, &self.cancelled, &self.left_out];
            let next = sets.into_iter().fold(index, |index, set| set.next_absent(index));
            if next == index {
                return index;
            }
            index = next;
        }
    }

    /// Lists the open tasks of a range that some worker could not start.
    pub(crate) fn unstartable_in(&self, range: TaskRange) -> impl Iterator<Item = (u64, &History)> {
        self.marked_in(&self.unstartable, range)
    }

    /// Lists the open tasks of a range that run alone on their worker: too many were lost with them.
    pub(crate) fn suspects_in(&self, range: TaskRange) -> impl Iterator<Item = (u64, &History)> {
        self.marked_in(&self.suspects, range)
    }

    /// Says whether an open task runs alone on its worker.
    pub(crate) fn is_suspect(&self, index: u64) -> bool {
        u32::try_from(index).is_ok_and(|index| self.suspects.contains(&index))
    }

    fn marked_in<'a>(
        &'a self,
        marks: &'a BTreeSet<u32>,
        range: TaskRange,
    ) -> impl Iterator<Item = (u64, &'a History)> {
        let first = u32::try_from(range.start).ok();
        first
            .into_iter()
            .flat_map(|first| marks.range(first..))
            .take_while(move |index| u64::from(**index) < range.end)
            .filter_map(|index| Some((u64::from(*index), self.histories.get(index)?)))
    }

    /// Returns the first task above the open one `start` that is not open, or the end.
    pub(crate) fn open_until(&self, start: u64) -> u64 {
        [&self.done, &self.failed, &self.cancelled, &self.left_out]
            .into_iter()
            .filter_map(|set| set.next_in(start))
            .fold(self.counts.total, u64::min)
    }

    /// Returns the tasks that are not open any more.
    pub(crate) fn settled(&self) -> TaskSet {
        let mut settled = self.done.clone();
        settled.insert_all(&self.failed);
        settled.insert_all(&self.cancelled);
        settled.insert_all(&self.left_out);
        settled
    }

    pub(crate) const fn done(&self) -> &TaskSet {
        &self.done
    }

    pub(crate) const fn failed(&self) -> &TaskSet {
        &self.failed
    }

    pub(crate) const fn cancelled(&self) -> &TaskSet {
        &self.cancelled
    }

    pub(crate) const fn left_out(&self) -> &TaskSet {
        &self.left_out
    }

    /// Leaves out of an open run the tasks with a token at or above `token`.
    fn split_at_tokens(&self, run: TaskRange, token: Token, parts: &mut Vec<TaskRange>) {
        let mut from = run.start;
        let told = self.histories(run).map(|(index, _)| TaskRange::one(index));
        let fenced = ranges::overlapping(&self.fences, run)
            .filter(|(_, fence)| fence.token >= token)
            .map(|(part, _)| part);
        let mut refused: Vec<TaskRange> =
            told.filter(|one| self.last_token(one.start) >= token).chain(fenced).collect();
        refused.sort_unstable();
        for part in refused {
            if from < part.start {
                parts.push(TaskRange::new(from, part.start));
            }
            from = from.max(part.end);
        }
        if from < run.end {
            parts.push(TaskRange::new(from, run.end));
        }
    }
}

/// Facts.
impl Stage {
    pub(super) fn apply_range_done(&mut self, fact: &RangeDone) {
        for part in self.committable(fact.range, fact.token) {
            self.counts.done += self.done.insert(part);
            self.forget_marks(part);
            self.add_record(part, fact.worker, fact.attempt, fact.span);
        }
    }

    pub(super) fn apply_task_done(&mut self, fact: &TaskDone) {
        let index = u64::from(fact.index);
        if !self.is_open(index) || self.last_token(index) >= fact.token {
            return;
        }
        self.counts.done += self.done.insert(TaskRange::one(index));
        self.forget_marks(TaskRange::one(index));
        self.kept.insert(fact.index, DoneTask { token: fact.token, kept: fact.kept });
        self.add_record(TaskRange::one(index), fact.worker, fact.attempt, fact.span);
    }

    pub(super) fn apply_task_failed(&mut self, fact: &TaskFailed) {
        let index = u64::from(fact.index);
        if !self.is_open(index) || self.last_token(index) >= fact.token {
            return;
        }
        let history = self.histories.entry(fact.index).or_default();
        history.add(fact);
        if fact.last {
            self.counts.failed += self.failed.insert(TaskRange::one(index));
            self.forget_marks(TaskRange::one(index));
        } else if !history.could_not_start().is_empty() {
            self.unstartable.insert(fact.index);
        }
    }

    pub(super) fn apply_watermark(&mut self, below: u64) {
        self.watermark = self.watermark.max(below.min(self.counts.total));
    }

    pub(super) fn apply_task_lost(&mut self, fact: &TaskLost) {
        let index = u64::from(fact.index);
        let known = self.history(index).map_or(Token::default(), History::last_lost);
        if !self.is_open(index) || self.last_token(index).max(known) >= fact.token {
            return;
        }
        let history = self.histories.entry(fact.index).or_default();
        history.lose(fact);
        if fact.last {
            self.counts.failed += self.failed.insert(TaskRange::one(index));
            self.forget_marks(TaskRange::one(index));
        } else if history.losses() >= self.alone_after_losses {
            self.suspects.insert(fact.index);
        }
    }

    pub(super) fn apply_skipped(&mut self, because: StageIndex, at: WallMs) {
        if self.skipped.is_none() {
            self.counts.skipped += self.counts.open();
            self.unstartable.clear();
            self.suspects.clear();
            self.skipped = Some(Skipped { because, at });
        }
    }

    pub(super) fn apply_left_out(
        &mut self,
        range: TaskRange,
        fence: Token,
        failed: u64,
        at: WallMs,
    ) {
        let range = range.intersect(TaskRange::new(0, self.counts.total));
        for part in self.committable(range, fence) {
            self.counts.skipped += self.left_out.insert(part);
            self.forget_marks(part);
            ranges::put(&mut self.fences, part.start, Fence { end: part.end, token: fence });
            self.ended_early.get_or_insert(EndedEarly { failed, at });
        }
    }

    pub(super) fn apply_cancelled(&mut self, range: TaskRange, fence: Token, begun: &[Begun]) {
        let range = range.intersect(TaskRange::new(0, self.counts.total));
        for part in self.committable(range, fence) {
            self.counts.cancelled += self.cancelled.insert(part);
            self.forget_marks(part);
            ranges::put(&mut self.fences, part.start, Fence { end: part.end, token: fence });
            for began in begun {
                self.note_attempts(began.range.intersect(part), began.attempt);
            }
        }
    }

    /// Forgets what was noted of open tasks: they have ended.
    fn forget_marks(&mut self, range: TaskRange) {
        let inside = |index: &u32| range.contains(u64::from(*index));
        for marks in [&mut self.unstartable, &mut self.suspects] {
            while let Ok(first) = u32::try_from(range.start)
                && let Some(index) = marks.range(first..).next().copied().filter(inside)
            {
                marks.remove(&index);
            }
        }
    }

    fn add_record(&mut self, range: TaskRange, worker: WorkerId, attempt: u32, span: Span) {
        let mut record = DoneRange { end: range.end, worker, attempt, span };
        if self.records.len() >= EXACT_RECORDS_MAX
            && let Some((_, before)) = self.records.range_mut(..range.start).next_back()
            && before.end == range.start
            && (before.worker, before.attempt) == (worker, attempt)
        {
            before.end = range.end;
            before.span.started = before.span.started.min(span.started);
            before.span.ended = before.span.ended.max(span.ended);
            return;
        }
        record.end = range.end;
        self.records.insert(range.start, record);
    }

    pub(super) fn check_invariants(&self) {
        let id = self.id;
        assert_eq!(self.done.recount(), self.counts.done, "{id:?}: done, counted anew");
        assert_eq!(self.failed.recount(), self.counts.failed, "{id:?}: failed, counted anew");
        assert_eq!(
            self.cancelled.recount(),
            self.counts.cancelled,
            "{id:?}: cancelled, counted anew"
        );
        assert!(
            self.done.is_disjoint(&self.failed)
                && self.done.is_disjoint(&self.cancelled)
                && self.failed.is_disjoint(&self.cancelled),
            "{id:?}: a task has ended in two ways"
        );
        assert!(
            [&self.done, &self.failed, &self.cancelled]
                .into_iter()
                .all(|ended| ended.is_disjoint(&self.left_out)),
            "{id:?}: a task has ended and was left out"
        );
        assert_eq!(
            self.left_out.len() > 0,
            self.ended_early.is_some(),
            "{id:?}: tasks are left out if and only if it ended early"
        );
        if self.skipped.is_none() {
            assert_eq!(
                self.left_out.recount(),
                self.counts.skipped,
                "{id:?}: skipped, counted anew"
            );
        }
        for index in self.unstartable.iter().chain(&self.suspects) {
            assert!(self.is_open(u64::from(*index)), "{id:?}: task {index} is marked and not open");
        }
        let recorded: u64 = self.records.iter().map(|(start, record)| record.end - start).sum();
        assert_eq!(recorded, self.counts.done, "{id:?}: every done task has a record");
        for index in self.kept.keys() {
            assert!(
                self.done.contains(u64::from(*index)),
                "{id:?}: task {index} is kept but not done"
            );
        }
        if self.skipped.is_some() {
            assert_eq!(self.counts.open(), 0, "{id:?} is skipped with open tasks");
        }
        ranges::check(&self.records, "records");
        ranges::check(&self.fences, "fences");
        ranges::check(&self.attempted, "attempted");
    }
}

impl Piece for DoneRange {
    fn end(&self) -> u64 {
        self.end
    }
    fn until(&self, end: u64) -> Self {
        Self { end, ..*self }
    }
}

impl Piece for Attempted {
    fn end(&self) -> u64 {
        self.end
    }
    fn until(&self, end: u64) -> Self {
        Self { end, ..*self }
    }
}

impl Piece for Fence {
    fn end(&self) -> u64 {
        self.end
    }
    fn until(&self, end: u64) -> Self {
        Self { end, ..*self }
    }
}
