//! Which output comes next: stages in file order, tasks in theirs, each as soon as those before it are out.

use gridctl_core::fact::Kept;
use gridctl_core::state::{FailedAttempt, Job, Stage};
use gridctl_jobs::id::StageIndex;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::Run;
use gridctl_transport::message::client::{OutputStages, OutputStream};

use super::tasks::place;
use super::{Resolved, Views};
use crate::results::Part;

/// Tasks that are looked at while the lock is held once.
const TASKS_PER_LOOK: usize = 4096;
/// Pieces of one look: what is read and sent together.
const PIECES_PER_LOOK: usize = 256;
/// Bytes of the pieces of one look; one piece is always allowed.
const BYTES_PER_LOOK: usize = 1 << 20;

/// What is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OutputOf {
    pub(crate) target: Resolved,
    pub(crate) stream: OutputStream,
    pub(crate) stages: OutputStages,
    /// Waits for tasks of which something may still become.
    pub(crate) follow: bool,
    /// Of this attempt only; else the committed one, or the last one of a task that failed.
    pub(crate) attempt: Option<u32>,
}

/// How far it was given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct OutputCursor {
    stage: u32,
    index: u64,
}

/// Where to read one task's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OutputPiece {
    pub(crate) stage: StageIndex,
    pub(crate) index: u64,
    pub(crate) attempt: u32,
    pub(crate) kept: Kept,
    pub(crate) part: Part,
}

/// What comes after some pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NextOutput {
    /// Ask again.
    More,
    /// Ask again when the views have changed.
    Wait,
    End,
}

impl Views {
    /// Returns the pieces that come next and moves `cursor` past them.
    pub(crate) fn output(
        &self,
        of: &OutputOf,
        cursor: &mut OutputCursor,
    ) -> (Vec<OutputPiece>, NextOutput) {
        self.read(|content| match content.state.job(of.target.job) {
            Some(job) => {
                Look { of, job, cursor, pieces: Vec::new(), bytes: 0, looked_at: 0 }.look()
            }
            None => (Vec::new(), NextOutput::End),
        })
    }
}

/// Names the stages that no other stage needs.
fn is_last(job: &Job, stage: u32) -> bool {
    !job.spec().stages.iter().any(|other| other.needs.contains(&StageIndex(stage)))
}

/// One look at a job, under the lock.
struct Look<'a> {
    of: &'a OutputOf,
    job: &'a Job,
    cursor: &'a mut OutputCursor,
    pieces: Vec<OutputPiece>,
    bytes: usize,
    looked_at: usize,
}

impl Look<'_> {
    fn look(mut self) -> (Vec<OutputPiece>, NextOutput) {
        let stages = self.of.target.stages(self.job);
        if self.cursor.stage < stages.start {
            *self.cursor = OutputCursor { stage: stages.start, index: 0 };
        }
        while self.cursor.stage < stages.end {
            if self.is_wanted(self.cursor.stage)
                && let Some(next) = self.look_at_stage(self.cursor.stage)
            {
                return (self.pieces, next);
            }
            *self.cursor = OutputCursor { stage: self.cursor.stage + 1, index: 0 };
        }
        (self.pieces, NextOutput::End)
    }

    fn is_wanted(&self, stage: u32) -> bool {
        self.of.target.stage.is_some()
            || match self.of.stages {
                OutputStages::All => true,
                OutputStages::Last => is_last(self.job, stage),
            }
    }

    /// Goes through one stage; returns `None` when it is through.
    fn look_at_stage(&mut self, index: u32) -> Option<NextOutput> {
        let stage = &self.job.stages()[place(index)];
        let range = self.of.target.range_of(stage.counts().total);
        self.cursor.index = self.cursor.index.max(range.start);
        while let Some(task) = self.next_task(stage, TaskRange::new(self.cursor.index, range.end)) {
            if self.is_full() {
                return Some(NextOutput::More);
            }
            match self.piece(stage, task) {
                Ok(piece) => {
                    self.bytes += piece.map_or(0, |piece| part_bytes(&piece));
                    self.pieces.extend(piece);
                }
                Err(StillOpen) if self.of.follow => return Some(NextOutput::Wait),
                Err(StillOpen) => {}
            }
            self.looked_at += 1;
            self.cursor.index = task + 1;
        }
        None
    }

    fn is_full(&self) -> bool {
        self.pieces.len() >= PIECES_PER_LOOK
            || self.bytes >= BYTES_PER_LOOK
            || self.looked_at >= TASKS_PER_LOOK
    }

    /// Finds the next task that has something to give out or to wait for; all others are passed over at once.
    fn next_task(&self, stage: &Stage, rest: TaskRange) -> Option<u64> {
        let kept = stage.kept_from(rest.start).map(|(index, _)| index);
        let failed = stage.histories(rest).next().map(|(index, _)| index);
        let open = if self.of.follow { stage.next_open(rest.start) } else { None };
        [kept, failed, open].into_iter().flatten().min().filter(|index| *index < rest.end)
    }

    /// Returns what a task gives out, `Ok(None)` where it gives nothing and never will.
    fn piece(&self, stage: &Stage, index: u64) -> Result<Option<OutputPiece>, StillOpen> {
        let failed = stage.history(index).map_or(&[][..], |history| history.failed());
        let of_attempt =
            |wanted: u32| failed.iter().rev().find(|attempt| attempt.attempt == wanted);
        let done = stage.record(index).map(|(_, record)| record.attempt);
        let (attempt, kept) = match (self.of.attempt, done) {
            (None, Some(attempt)) => (attempt, stage.kept(index).map(|done| done.kept)),
            (Some(wanted), Some(attempt)) if wanted == attempt => {
                (attempt, stage.kept(index).map(|done| done.kept))
            }
            (Some(wanted), _) => match of_attempt(wanted) {
                Some(attempt) => (wanted, attempt.kept),
                None if stage.is_open(index) => return Err(StillOpen),
                None => return Ok(None),
            },
            (None, None) if stage.is_open(index) => return Err(StillOpen),
            (None, None) => match self.last_failed(stage, index, failed) {
                Some(attempt) => (attempt.attempt, attempt.kept),
                None => return Ok(None),
            },
        };
        let part = self.part(stage);
        let piece =
            kept.map(|kept| OutputPiece { stage: stage.id().stage, index, attempt, kept, part });
        Ok(piece.filter(|piece| part_bytes(piece) > 0))
    }

    /// A task that failed gives its last attempt; with `follow` so does one that was cancelled between two
    /// attempts: that is all there will ever be.
    fn last_failed<'f>(
        &self,
        stage: &Stage,
        index: u64,
        failed: &'f [FailedAttempt],
    ) -> Option<&'f FailedAttempt> {
        if self.of.follow || stage.has_failed(index) { failed.last() } else { None }
    }

    fn part(&self, stage: &Stage) -> Part {
        match self.of.stream {
            OutputStream::Stderr => Part::Stderr,
            OutputStream::Stdout => {
                match &self.job.spec().stages[place(stage.id().stage.0)].task.run {
                    Run::Function { .. } => Part::Result,
                    Run::Command { .. } | Run::Script { .. } => Part::Stdout,
                }
            }
        }
    }
}

/// Something may still become of the task.
struct StillOpen;

fn part_bytes(piece: &OutputPiece) -> usize {
    let bytes = match piece.part {
        Part::Stdout => piece.kept.stdout_bytes,
        Part::Stderr => piece.kept.stderr_bytes,
        Part::Result => piece.kept.result_bytes,
    };
    bytes as usize
}
