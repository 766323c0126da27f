//! What has ended is opened again: a retry.
//!
//! A task is reopened only by a fence above all that is known of it, which then is what is known of it: the
//! same fact a second time finds nothing to reopen.

use gridctl_jobs::id::Token;
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::range::TaskRange;

use super::{Attempted, Fence, Stage};
use crate::ranges;
use crate::state::History;

impl Stage {
    /// Returns how many attempts of a task have ended or were cut off, as far as known; the next one has the
    /// number above.
    pub fn attempts(&self, index: u64) -> u32 {
        let told = self.history(index).map_or(0, History::attempts);
        self.attempted_at(index).max(told)
    }

    /// Lists the tasks of a range that a retry reopens: those that failed, were cancelled or never began since too
    /// many others had failed, with `done_too` all that have ended otherwise than by the skipping of the stage.
    pub(crate) fn reopenable(&self, range: TaskRange, done_too: bool) -> Vec<TaskRange> {
        let ended = [
            Some(&self.failed),
            Some(&self.cancelled),
            Some(&self.left_out),
            done_too.then_some(&self.done),
        ];
        let next_ended = |from| ended.iter().flatten().filter_map(|set| set.next_in(from)).min();
        let mut parts = Vec::new();
        let mut from = range.start;
        while let Some(start) = next_ended(from).filter(|start| *start < range.end) {
            let mut end = start;
            loop {
                let next = ended.iter().flatten().fold(end, |end, set| set.next_absent(end));
                if next == end || next >= range.end {
                    end = next.min(range.end);
                    break;
                }
                end = next;
            }
            parts.push(TaskRange::new(start, end));
            from = end;
        }
        parts
    }

    /// Returns how many attempts of the first task of a range are known, and up to where the others of it
    /// have as many.
    pub(crate) fn same_attempts(&self, range: TaskRange) -> (u32, u64) {
        let attempts = self.attempts(range.start);
        let untold = self.attempted_at(range.start);
        let end = range.end.min(self.attempted_until(range.start));
        let mut next = range.start;
        for (index, history) in self.histories(TaskRange::new(range.start, end)) {
            let has_gap = index > next && untold != attempts;
            if has_gap || history.attempts().max(untold) != attempts {
                return (attempts, if untold == attempts { index } else { next });
            }
            next = index + 1;
        }
        (attempts, if untold == attempts { end } else { next })
    }

    pub(in crate::state) fn apply_reopened(
        &mut self,
        range: TaskRange,
        done_too: bool,
        fence: Token,
    ) {
        let range = range.intersect(TaskRange::new(0, self.counts.total));
        if self.skipped.is_some() {
            return;
        }
        let mut parts = Vec::new();
        for part in self.reopenable(range, done_too) {
            self.split_at_tokens(part, fence, &mut parts);
        }
        let any = !parts.is_empty();
        for part in parts {
            self.reopen(part);
            if !is_on(Bug::RetryWithoutFence) {
                ranges::put(&mut self.fences, part.start, Fence { end: part.end, token: fence });
            }
        }
        if any {
            // What has failed and stays so was looked at: a limit counts what fails from now on.
            self.failures_forgiven = self.counts.failed;
        }
        if self.left_out.len() == 0 {
            self.ended_early = None;
        }
    }

    pub(in crate::state) fn apply_unskipped(&mut self) {
        self.counts.skipped = self.left_out.len();
        self.skipped = None;
    }

    /// Notes that the attempts up to this number were begun.
    pub(super) fn note_attempts(&mut self, range: TaskRange, attempts: u32) {
        let mut from = range.start;
        while from < range.end {
            let known = self.attempted_at(from);
            let end = self.attempted_until(from).min(range.end);
            if known < attempts {
                self.put_attempts(TaskRange::new(from, end), attempts);
            }
            from = end;
        }
    }

    /// Joins neighbours with as many attempts, so that they are granted together.
    fn put_attempts(&mut self, range: TaskRange, attempts: u32) {
        let TaskRange { mut start, mut end } = range;
        let before = self.attempted.range(..start).next_back();
        if let Some((first, piece)) = before
            && (piece.end, piece.attempts) == (start, attempts)
        {
            start = *first;
        }
        if let Some(next) = self.attempted.get(&end).filter(|next| next.attempts == attempts) {
            end = next.end;
        }
        ranges::put(&mut self.attempted, start, Attempted { end, attempts });
    }

    fn reopen(&mut self, part: TaskRange) {
        self.counts.done -= self.done.remove(part);
        self.counts.failed -= self.failed.remove(part);
        self.counts.cancelled -= self.cancelled.remove(part);
        self.counts.skipped -= self.left_out.remove(part);
        for (range, record) in ranges::carve(&mut self.records, part) {
            self.note_attempts(range, record.attempt);
        }
        let Ok(first) = u32::try_from(part.start) else { return };
        let is_inside = |index: &u32| part.contains(u64::from(*index));
        while let Some(index) =
            self.kept.range(first..).next().map(|(index, _)| *index).filter(is_inside)
        {
            self.kept.remove(&index);
        }
        self.histories
            .range_mut(first..)
            .take_while(|(index, _)| is_inside(index))
            .for_each(|(_, history)| history.begin_anew());
    }

    fn attempted_at(&self, index: u64) -> u32 {
        ranges::at(&self.attempted, index).map_or(0, |attempted| attempted.attempts)
    }

    /// Returns up to where what is known of one task's attempts holds for those after it.
    fn attempted_until(&self, index: u64) -> u64 {
        match ranges::at(&self.attempted, index) {
            Some(attempted) => attempted.end,
            None => self.attempted.range(index..).next().map_or(u64::MAX, |(start, _)| *start),
        }
    }
}
