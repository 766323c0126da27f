//! A job as the facts have it.

use std::sync::Arc;

use gridctl_jobs::id::{JobId, JobNumber, StageIndex, Token, UserId};
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::state::JobState;
use gridctl_jobs::units::WallMs;
use serde::{Deserialize, Serialize};

use super::stage::{Counts, Stage};
use super::stage_id;
use crate::fact::{Digest, JobSubmitted, TaskFailed, TaskLost};

/// A job: what was asked for, and how far it has come.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Job {
    id: JobId,
    number: JobNumber,
    owner: UserId,
    digest: Digest,
    spec: Arc<JobSpec>,
    submitted_at: WallMs,
    started_at: Option<WallMs>,
    ended: Option<(JobState, WallMs)>,
    /// The fence of the last retry that reopened it after it had ended.
    reopened: Token,
    stages: Vec<Stage>,
    /// Of all stages together.
    counts: Counts,
    last_failure: Option<(StageIndex, u64)>,
}

impl Job {
    pub(super) fn new(submitted: &JobSubmitted) -> Self {
        let stages: Vec<Stage> = submitted
            .spec
            .stages
            .iter()
            .enumerate()
            .map(|(index, spec)| Stage::new(stage_id(submitted.id, index), spec))
            .collect();
        let counts = stages.iter().fold(Counts::default(), |sum, stage| sum.plus(stage.counts()));
        Self {
            id: submitted.id,
            number: submitted.number,
            owner: submitted.owner,
            digest: submitted.digest,
            spec: Arc::clone(&submitted.spec),
            submitted_at: submitted.at,
            started_at: None,
            ended: None,
            reopened: Token::default(),
            stages,
            counts,
            last_failure: None,
        }
    }

    /// Returns the name that its client gave it.
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Returns the number by which people call it.
    pub const fn number(&self) -> JobNumber {
        self.number
    }

    /// Returns who submitted it.
    pub const fn owner(&self) -> UserId {
        self.owner
    }

    /// Returns the hash of its content as submitted.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns what was submitted.
    pub const fn spec(&self) -> &Arc<JobSpec> {
        &self.spec
    }

    /// Returns when it was accepted.
    pub const fn submitted_at(&self) -> WallMs {
        self.submitted_at
    }

    /// Returns when the first of its attempts that have ended began, by the worker's clock.
    pub const fn started_at(&self) -> Option<WallMs> {
        self.started_at
    }

    /// Returns when nothing of it could change any more.
    pub fn finished_at(&self) -> Option<WallMs> {
        self.ended.map(|(_, at)| at)
    }

    /// Returns how it ended.
    pub fn ended(&self) -> Option<JobState> {
        self.ended.map(|(state, _)| state)
    }

    /// Lists its stages in file order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Returns one of its stages.
    pub fn stage(&self, index: StageIndex) -> Option<&Stage> {
        self.stages.get(usize::try_from(index.0).ok()?)
    }

    /// Counts the tasks of all its stages.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the task whose attempt failed last, for good or not.
    pub const fn last_failure(&self) -> Option<(StageIndex, u64)> {
        self.last_failure
    }

    /// Remembers a failure that was just applied, unless it was one that no longer counts.
    pub(super) fn note_failure(&mut self, failed: &TaskFailed) {
        let index = u64::from(failed.index);
        let history = self.stage(failed.stage.stage).and_then(|stage| stage.history(index));
        if history.is_some_and(|history| history.last() == failed.token) {
            self.last_failure = Some((failed.stage.stage, index));
        }
    }

    /// Remembers a loss that was just applied, unless it was one that no longer counts.
    pub(super) fn note_loss(&mut self, lost: &TaskLost) {
        let index = u64::from(lost.index);
        let history = self.stage(lost.stage.stage).and_then(|stage| stage.history(index));
        if history.is_some_and(|history| history.last_lost() == lost.token) {
            self.last_failure = Some((lost.stage.stage, index));
        }
    }

    /// A job with open tasks does not end: that it ended is then a fact of before it was reopened.
    pub(super) fn apply_ended(&mut self, state: JobState, at: WallMs) {
        if self.ended.is_none() && self.counts.open() == 0 {
            self.ended = Some((state, at));
        }
    }

    pub(super) fn apply_reopened(&mut self, fence: Token) {
        if fence > self.reopened {
            self.reopened = fence;
            self.ended = None;
        }
    }

    pub(super) fn apply_skipped(&mut self, stage: StageIndex, because: StageIndex, at: WallMs) {
        if self.stage(because).is_some_and(Stage::cannot_succeed) {
            self.on_stage(stage, |stage| {
                stage.apply_skipped(because, at);
                None
            });
        }
    }

    pub(super) fn apply_stage_reopened(&mut self, stage: StageIndex) {
        let because = self.stage(stage).and_then(Stage::skipped).map(|skipped| skipped.because);
        if because.and_then(|because| self.stage(because)).is_some_and(|s| !s.cannot_succeed()) {
            self.on_stage(stage, |stage| {
                stage.apply_unskipped();
                None
            });
        }
    }

    pub(super) fn on_stage(
        &mut self,
        index: StageIndex,
        change: impl FnOnce(&mut Stage) -> Option<WallMs>,
    ) {
        let Some(stage) =
            usize::try_from(index.0).ok().and_then(|index| self.stages.get_mut(index))
        else {
            return;
        };
        let before = stage.counts();
        let started = change(stage);
        self.counts = self.counts.minus(before).plus(stage.counts());
        if let Some(started) = started {
            self.started_at = Some(self.started_at.map_or(started, |earlier| earlier.min(started)));
        }
    }

    pub(super) fn check_invariants(&self) {
        let sum = self.stages.iter().fold(Counts::default(), |sum, stage| {
            stage.check_invariants();
            sum.plus(stage.counts())
        });
        assert_eq!(sum, self.counts, "job {}: its counts are the sum of its stages'", self.number);
        if self.ended.is_some() {
            assert_eq!(self.counts.open(), 0, "job {} has ended with open tasks", self.number);
        }
    }
}
