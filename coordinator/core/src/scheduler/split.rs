//! Splitting a stage into grants, lazily: a cursor for what was never given out, and ranges for what is
//! given out again. A stage of 2^32 tasks costs a few numbers.
//!
//! After a restart everything that is not settled counts as never given out; what workers then announce is
//! taken out wherever it lies.

use std::collections::BTreeMap;

use gridctl_jobs::id::WorkerId;
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::range::TaskRange;

use crate::ranges::{self, Piece};
use crate::set::TaskSet;
use crate::state::Stage;

/// The tasks of a stage that can be given out now.
#[derive(Debug)]
pub(super) struct Pending {
    /// Of the stage.
    count: u64,
    /// Everything from here on was never given out in this life, but for what is in `taken`.
    cursor: u64,
    taken: TaskSet,
    fresh: u64,
    /// What is given out again, by who may take it and how.
    again: BTreeMap<Terms, BTreeMap<u64, Again>>,
    again_tasks: u64,
    /// How many of those are to be given out [`Manner::Singly`].
    singly_tasks: u64,
}

/// How tasks are given out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Manner {
    /// Those that were lost with a worker: none ahead of when it can begin, so that if the next worker is lost as
    /// well it is known which of them ran.
    Singly,
    /// As many as keep a worker busy for a while.
    Ahead,
}

/// Who may take tasks that are given out again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Terms {
    manner: Manner,
    /// Those that could not start them.
    not_on: Vec<WorkerId>,
    /// The one on which they failed last: only where no other is free.
    rather_not_on: Option<WorkerId>,
}

/// Whether tasks may go where they have just failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    /// Others may be free.
    Picky,
    /// No other was.
    Any,
}

/// Tasks to give out with the same attempt number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Again {
    end: u64,
    attempt: u32,
}

/// Tasks to grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    pub(super) range: TaskRange,
    pub(super) attempt: u32,
}

impl Pending {
    /// Begins with all open tasks of a stage.
    pub(super) fn new(stage: &Stage) -> Self {
        let counts = stage.counts();
        let (taken, fresh) = if is_on(Bug::DoneGrantedAgain) {
            (TaskSet::default(), counts.total)
        } else {
            (stage.settled(), counts.open())
        };
        Self {
            count: counts.total,
            cursor: 0,
            taken,
            fresh,
            again: BTreeMap::new(),
            again_tasks: 0,
            singly_tasks: 0,
        }
    }

    /// Says whether some of it is to be given out [`Manner::Singly`].
    pub(super) const fn has_singles(&self) -> bool {
        self.singly_tasks > 0
    }

    /// Counts the tasks that can be given out.
    pub(super) const fn len(&self) -> u64 {
        self.fresh + self.again_tasks
    }

    /// Says whether some of it may go to a worker.
    pub(super) fn has_for(&self, worker: WorkerId) -> bool {
        self.fresh > 0 || self.again.keys().any(|terms| !terms.not_on.contains(&worker))
    }

    /// Takes up to `max` tasks in a row for a worker, those given out again first; `fitting` bounds a
    /// range further (to at least one task).
    pub(super) fn take(
        &mut self,
        stage: &Stage,
        worker: WorkerId,
        choice: Choice,
        max: u64,
        fitting: impl Fn(TaskRange) -> u64,
    ) -> Option<Cut> {
        self.take_again(worker, choice, max, &fitting)
            .or_else(|| self.take_fresh(stage, worker, max, &fitting))
    }

    /// Puts tasks in, to be given out before the fresh ones.
    pub(super) fn put_back(
        &mut self,
        stage: &Stage,
        range: TaskRange,
        attempt: u32,
        manner: Manner,
    ) {
        let anywhere = Terms { manner, not_on: Vec::new(), rather_not_on: None };
        let mut from = range.start;
        for (index, history) in stage.histories(range) {
            self.add_again(anywhere.clone(), TaskRange::new(from, index), attempt);
            let terms = Terms {
                manner,
                not_on: history.could_not_start().to_vec(),
                rather_not_on: history.last_attempt().map(|attempt| attempt.worker),
            };
            self.add_again(terms, TaskRange::one(index), attempt);
            from = index + 1;
        }
        self.add_again(anywhere, TaskRange::new(from, range.end), attempt);
    }

    /// Takes tasks out wherever they are: they have ended, or somebody turned out to hold them.
    pub(super) fn remove(&mut self, range: TaskRange) {
        let above = range.intersect(TaskRange::new(self.cursor, self.count));
        self.fresh -= self.taken.insert(above);
        let mut removed = 0;
        for (terms, pieces) in &mut self.again {
            let gone: u64 = ranges::carve(pieces, range).iter().map(|(part, _)| part.len()).sum();
            removed += gone;
            if terms.manner == Manner::Singly {
                self.singly_tasks -= gone;
            }
        }
        if removed > 0 {
            self.again_tasks -= removed;
            self.again.retain(|_, pieces| !pieces.is_empty());
        }
    }

    /// Panics with what is broken; `owns` says whether a task is this one's to have.
    pub(super) fn check_invariants(&self, owns: impl Fn(TaskRange) -> bool) {
        let span = TaskRange::new(self.cursor, self.count);
        assert_eq!(self.fresh, span.len() - self.taken.count_in(span), "fresh tasks, counted anew");
        let (mut again, mut singly) = (0, 0);
        for (terms, pieces) in &self.again {
            ranges::check(pieces, "given out again");
            assert!(!pieces.is_empty(), "an empty group for {terms:?}");
            for (start, piece) in pieces {
                let range = TaskRange::new(*start, piece.end);
                assert!(owns(range), "{range} is to be given out again and is not free");
                let fresh = range.intersect(span);
                assert_eq!(
                    self.taken.count_in(fresh),
                    fresh.len(),
                    "{range} is fresh and to be given out again"
                );
                again += range.len();
                singly += if terms.manner == Manner::Singly { range.len() } else { 0 };
            }
        }
        assert_eq!(singly, self.singly_tasks, "tasks to be given out singly, counted anew");
        assert_eq!(again, self.again_tasks, "tasks to be given out again, counted anew");
    }

    fn take_again(
        &mut self,
        worker: WorkerId,
        choice: Choice,
        max: u64,
        fitting: &impl Fn(TaskRange) -> u64,
    ) -> Option<Cut> {
        let is_for = |terms: &Terms| {
            let rather_not = terms.rather_not_on == Some(worker) && choice == Choice::Picky;
            !terms.not_on.contains(&worker) && !rather_not
        };
        let (terms, pieces) = self.again.iter_mut().find(|(terms, _)| is_for(terms))?;
        let singly = terms.manner == Manner::Singly;
        let (start, piece) = pieces.pop_first().expect("a group is never empty");
        let end = piece.end.min(start.saturating_add(max));
        let end = start + fitting(TaskRange::new(start, end)).clamp(1, end - start);
        if end < piece.end {
            pieces.insert(end, piece);
        }
        if pieces.is_empty() {
            let terms = terms.clone();
            self.again.remove(&terms);
        }
        self.again_tasks -= end - start;
        self.singly_tasks -= if singly { end - start } else { 0 };
        Some(Cut { range: TaskRange::new(start, end), attempt: piece.attempt })
    }

    fn take_fresh(
        &mut self,
        stage: &Stage,
        worker: WorkerId,
        max: u64,
        fitting: &impl Fn(TaskRange) -> u64,
    ) -> Option<Cut> {
        while self.fresh > 0 {
            let start = self.taken.next_absent(self.cursor);
            let free_until = self.taken.next_in(start).unwrap_or(self.count).min(self.count);
            let mut range = TaskRange::new(start, free_until.min(start.saturating_add(max)));
            // What failed before a restart, or was reopened, has attempt numbers of its own.
            let (attempts, same_until) = stage.same_attempts(range);
            range.end = same_until;
            let attempt = attempts.saturating_add(1);
            if let Some((index, history)) = stage.unstartable_in(range).next() {
                range.end = if index == start { start + 1 } else { index };
                if index == start && history.could_not_start().contains(&worker) {
                    self.advance_to(range.end, 1);
                    self.put_back(stage, range, attempt, Manner::Ahead);
                    continue;
                }
            }
            range.end = start + fitting(range).clamp(1, range.len());
            self.advance_to(range.end, range.len());
            return Some(Cut { range, attempt });
        }
        None
    }

    fn advance_to(&mut self, cursor: u64, given_out: u64) {
        self.cursor = cursor;
        self.fresh -= given_out;
        if self.taken.len() > 0 {
            self.taken.remove_below(cursor);
        }
    }

    fn add_again(&mut self, terms: Terms, range: TaskRange, attempt: u32) {
        if range.is_empty() {
            return;
        }
        self.again_tasks += range.len();
        self.singly_tasks += if terms.manner == Manner::Singly { range.len() } else { 0 };
        let pieces = self.again.entry(terms).or_default();
        let mut start = range.start;
        let mut end = range.end;
        if let Some((before, piece)) = pieces.range(..start).next_back().map(|(s, p)| (*s, *p))
            && (piece.end, piece.attempt) == (start, attempt)
        {
            start = before;
        }
        if let Some(piece) = pieces.get(&end).copied().filter(|piece| piece.attempt == attempt) {
            pieces.remove(&end);
            end = piece.end;
        }
        pieces.insert(start, Again { end, attempt });
    }
}

impl Piece for Again {
    fn end(&self) -> u64 {
        self.end
    }
    fn until(&self, end: u64) -> Self {
        Self { end, ..*self }
    }
}
