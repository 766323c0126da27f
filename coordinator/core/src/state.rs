//! The durable state: the fold of all facts.
//!
//! [`State::apply`] is its only mutator; recovery, readers' copies and the live coordinator all run it.
//! Applying a fact that repeats what is known changes nothing but the count of facts.
//!
//! As it stands it is also what a snapshot holds: a field that is added, taken away or moved changes the format
//! of snapshots, which their golden bytes show.
//!
//! Deliberately absent: decisions, time, and whatever a restart may forget (sessions, grants, queues:
//! [`Activity`](crate::activity::Activity)).

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, StageIndex, Token};
use gridctl_jobs::state::JobState;
use gridctl_jobs::units::WallMs;
use serde::{Deserialize, Serialize};

use self::forgotten::ForgottenJobs;
use crate::effect::FactIndex;
use crate::fact::{Fact, JobSubmitted, Kept, TaskFailed, TaskLost};

pub use self::directory::{
    Directory, EnrolledUser, EnrolledWorker, Identity, JoinToken, LOCAL_ADMIN,
};
pub use self::forgotten::{FORGOTTEN_KEPT_MS, Forgotten};
pub use self::job::Job;
pub use self::leases::Leases;
pub use self::stage::{Counts, DoneRange, DoneTask, EndedEarly, Skipped, Stage};
pub use self::task::{FAILED_ATTEMPTS_KEPT, FailedAttempt, History};

mod directory;
mod forgotten;
mod job;
mod leases;
mod stage;
mod task;

/// Everything that must survive.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    applied: FactIndex,
    epoch: Epoch,
    jobs: BTreeMap<JobId, Job>,
    numbers: BTreeMap<JobNumber, JobId>,
    /// Jobs that have not ended, in order of submission.
    open: BTreeMap<JobNumber, JobId>,
    /// The others, in the order in which they ended.
    ended: BTreeSet<(WallMs, JobNumber)>,
    /// The number of the job that was submitted last; it may be forgotten by now.
    last_number: JobNumber,
    forgotten: ForgottenJobs,
    directory: Directory,
    leases: Leases,
}

impl Default for State {
    fn default() -> Self {
        Self {
            applied: FactIndex::default(),
            epoch: Epoch::default(),
            jobs: BTreeMap::new(),
            numbers: BTreeMap::new(),
            open: BTreeMap::new(),
            ended: BTreeSet::new(),
            last_number: JobNumber(0),
            forgotten: ForgottenJobs::default(),
            directory: Directory::default(),
            leases: Leases::default(),
        }
    }
}

impl State {
    /// Makes the state of a grid where nothing has happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a fact in. Repeats, and facts about what is unknown or over, change nothing.
    pub fn apply(&mut self, fact: &Fact) {
        self.applied = FactIndex(self.applied.0 + 1);
        match fact {
            Fact::EpochStarted { epoch, at: _ } => {
                self.epoch = self.epoch.max(*epoch);
                self.leases.apply_epoch(*epoch);
            }
            Fact::JobSubmitted(submitted) => self.apply_submitted(submitted),
            Fact::RangeDone(done) => self.on_stage(done.stage, |stage| {
                stage.apply_range_done(done);
                Some(done.span.started)
            }),
            Fact::TaskDone(done) => self.on_stage(done.stage, |stage| {
                stage.apply_task_done(done);
                Some(done.span.started)
            }),
            Fact::TaskFailed(failed) => self.apply_failed(failed),
            Fact::StageSkipped { stage, because, at } => {
                self.on_job(stage.job, |job| job.apply_skipped(stage.stage, *because, *at));
            }
            Fact::TasksCancelled { stage, range, fence, begun, by: _, at: _ } => {
                self.on_tasks(*stage, |stage| stage.apply_cancelled(*range, *fence, begun));
            }
            Fact::TaskLost(lost) => self.apply_lost(lost),
            Fact::TasksSkipped { stage, range, fence, failed, at } => {
                self.on_stage(*stage, |stage| {
                    stage.apply_left_out(*range, *fence, *failed, *at);
                    None
                });
            }
            Fact::JobEnded { job, state, at } => self.apply_ended(*job, *state, *at),
            Fact::TokenCreated(created) => self.directory.apply_token_created(created),
            Fact::TokenRevoked { token, by: _, at: _ } => {
                self.directory.apply_token_revoked(*token)
            }
            Fact::WorkerEnrolled { worker, name, key, token, at } => {
                self.directory.apply_worker_enrolled(*worker, name, *key, *token, *at);
            }
            Fact::UserEnrolled { user, name, role, key, token, at } => {
                self.directory.apply_user_enrolled(*user, name, *role, *key, *token, *at);
            }
            Fact::JobReopened { job, fence, by: _, at: _ } => self.apply_reopened(*job, *fence),
            Fact::StageReopened { stage, at: _ } => {
                self.on_job(stage.job, |job| job.apply_stage_reopened(stage.stage));
            }
            Fact::TasksReopened { stage, range, done_too, fence, by: _, at: _ } => {
                self.on_tasks(*stage, |stage| stage.apply_reopened(*range, *done_too, *fence));
            }
            Fact::WorkerDraining { worker, by: _, at: _ } => {
                self.directory.apply_worker_draining(*worker, true);
            }
            Fact::WorkerResumed { worker, by: _, at: _ } => {
                self.directory.apply_worker_draining(*worker, false);
            }
            Fact::JobForgotten { job, by: _, at } => self.apply_forgotten(*job, *at),
            Fact::WorkerAttached { worker, process } => {
                self.leases.apply_attached(*worker, *process);
            }
            Fact::WorkerDetached { worker } => self.leases.apply_detached(*worker),
            Fact::LeaseLength { longest_ms } => self.leases.apply_length(*longest_ms),
            Fact::Watermark { stage, below } => {
                self.on_tasks(*stage, |stage| stage.apply_watermark(*below));
            }
            Fact::SetBack { is_over } => self.leases.apply_set_back(*is_over),
        }
    }

    /// Counts the facts applied: the index of the last.
    pub const fn applied(&self) -> FactIndex {
        self.applied
    }

    /// Returns the epoch of the last coordinator's life that began.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns a job by its id.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Returns a job by its number.
    pub fn job_by_number(&self, number: JobNumber) -> Option<&Job> {
        self.jobs.get(self.numbers.get(&number)?)
    }

    /// Lists all jobs in order of their numbers, which is that of submission.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.numbers.values().filter_map(|id| self.jobs.get(id))
    }

    /// Lists the jobs that have not ended, in order of their numbers.
    pub fn open_jobs(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.open.values().filter_map(|id| self.jobs.get(id))
    }

    /// Lists the jobs that have ended, the one that ended first before the others.
    pub fn ended_jobs(&self) -> impl DoubleEndedIterator<Item = (WallMs, &Job)> {
        let job = |number: &JobNumber| self.jobs.get(self.numbers.get(number)?);
        self.ended.iter().filter_map(move |(at, number)| Some((*at, job(number)?)))
    }

    /// Returns what is remembered of a job that was forgotten.
    pub fn forgotten(&self, id: JobId) -> Option<Forgotten> {
        self.forgotten.get(id)
    }

    /// Says whether a number was a job's that is gone.
    pub fn was_number(&self, number: JobNumber) -> bool {
        (JobNumber(1)..=self.last_number).contains(&number) && !self.numbers.contains_key(&number)
    }

    /// Counts the jobs that have not ended.
    pub fn open_job_count(&self) -> usize {
        self.open.len()
    }

    /// Returns a stage of a job.
    pub fn stage(&self, id: StageId) -> Option<&Stage> {
        self.jobs.get(&id.job)?.stage(id.stage)
    }

    /// Returns who is enrolled, and the join tokens.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Lists all output that something here still refers to, in no particular order.
    pub fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.jobs.values().flat_map(Job::stages).flat_map(Stage::all_kept)
    }

    /// Returns which workers hold leases, and for how long.
    pub const fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Returns the number that the next job gets.
    pub(crate) fn next_number(&self) -> JobNumber {
        JobNumber(self.last_number.0 + 1)
    }

    /// Panics with what is broken.
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.jobs.len(), self.numbers.len(), "every job has one number");
        for job in self.jobs.values() {
            job.check_invariants();
            let open = self.open.contains_key(&job.number());
            assert_eq!(
                open,
                job.ended().is_none(),
                "job {}: open and ended disagree",
                job.number()
            );
            let listed = job.finished_at().map(|at| self.ended.contains(&(at, job.number())));
            assert_ne!(listed, Some(false), "job {} has ended and is not listed", job.number());
            assert!(job.number() <= self.last_number, "job {} is yet to come", job.number());
            assert!(
                self.forgotten.get(job.id()).is_none(),
                "job {} is there and forgotten",
                job.number()
            );
        }
    }

    fn apply_submitted(&mut self, submitted: &JobSubmitted) {
        if self.jobs.contains_key(&submitted.id) || submitted.number <= self.last_number {
            return;
        }
        self.last_number = submitted.number;
        self.forgotten.remove(submitted.id);
        self.numbers.insert(submitted.number, submitted.id);
        self.open.insert(submitted.number, submitted.id);
        self.jobs.insert(submitted.id, Job::new(submitted));
    }

    fn apply_lost(&mut self, lost: &TaskLost) {
        self.on_stage(lost.stage, |stage| {
            stage.apply_task_lost(lost);
            Some(lost.span.started)
        });
        if let Some(job) = self.jobs.get_mut(&lost.stage.job) {
            job.note_loss(lost);
        }
    }

    fn apply_ended(&mut self, job: JobId, state: JobState, at: WallMs) {
        let Some(job) = self.jobs.get_mut(&job) else { return };
        job.apply_ended(state, at);
        if let Some(at) = job.finished_at() {
            self.open.remove(&job.number());
            self.ended.insert((at, job.number()));
        }
    }

    fn apply_reopened(&mut self, id: JobId, fence: Token) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let ended = job.finished_at().map(|at| (at, job.number()));
        job.apply_reopened(fence);
        if let Some((at, number)) = ended.filter(|_| job.ended().is_none()) {
            self.ended.remove(&(at, number));
            self.open.insert(number, id);
        }
    }

    fn apply_forgotten(&mut self, id: JobId, at: WallMs) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(ended) = job.finished_at() else { return };
        let number = job.number();
        self.jobs.remove(&id);
        self.numbers.remove(&number);
        self.ended.remove(&(ended, number));
        self.forgotten.add(id, Forgotten { number, at });
    }

    fn apply_failed(&mut self, failed: &TaskFailed) {
        self.on_stage(failed.stage, |stage| {
            stage.apply_task_failed(failed);
            Some(failed.span.started)
        });
        self.on_job(failed.stage.job, |job| job.note_failure(failed));
    }

    fn on_job(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(&id) {
            change(job);
        }
    }

    /// Changes tasks of which nothing begins by that.
    fn on_tasks(&mut self, id: StageId, change: impl FnOnce(&mut Stage)) {
        self.on_stage(id, |stage| {
            change(stage);
            None
        });
    }

    /// Changes a stage and keeps its job's sums; `change` returns when something of it began.
    fn on_stage(&mut self, id: StageId, change: impl FnOnce(&mut Stage) -> Option<WallMs>) {
        if let Some(job) = self.jobs.get_mut(&id.job) {
            job.on_stage(id.stage, change);
        }
    }
}

/// Names the stage of a job at a place.
pub(crate) fn stage_id(job: JobId, index: usize) -> StageId {
    let index = u32::try_from(index).expect("a job has at most 1,024 stages");
    StageId { job, stage: StageIndex(index) }
}
