//! The simulator's own account of jobs, tasks and tokens, from what leaves and enters the product's parts; it does
//! not ask them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gridctl_core::effect::{Effect, FactIndex, Grant, Reply, ToWorker, Verdict};
use gridctl_core::event::{Event, Outcome, ReportItem, SessionId};
use gridctl_core::fact::{Fact, TaskFailed};
use gridctl_core::state::State;
use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, Token, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::JobSpec;

use crate::budgets::Budgets;
use crate::invariants::{Rule, Violation, check, name};

/// The simulator's own account.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Every fact of the history that is in force, in order: the first has index 1.
    facts: Vec<Fact>,
    durable: FactIndex,
    tasks: BTreeMap<StageId, Vec<TaskAccount>>,
    budgets: Budgets,
    acknowledged_jobs: BTreeMap<JobId, JobNumber>,
    /// Each with the fact that says so.
    acknowledged_results: BTreeMap<(StageId, u64), FactIndex>,
    /// Jobs that a fact says are gone.
    forgotten: BTreeMap<JobId, JobNumber>,
    numbers: BTreeMap<JobId, JobNumber>,
    /// Workers that are to be given nothing new.
    draining: BTreeSet<WorkerId>,
    begun: BTreeSet<(Token, StageId, u64)>,
    /// What a worker is to end, whether it has heard so or not.
    unwanted: BTreeSet<(StageId, Token, u64)>,
    epoch: Epoch,
    /// The fact that began it.
    epoch_at: FactIndex,
    last_token: Token,
    /// What was submitted, and the fact that says so.
    jobs: BTreeMap<JobId, (FactIndex, Arc<JobSpec>)>,
    /// Stages all tasks of which are done.
    succeeded: BTreeSet<StageId>,
    /// The last session of each worker in this life, while it lasts.
    sessions: BTreeMap<WorkerId, SessionId>,
    /// Whose each session of this life is.
    owners: BTreeMap<SessionId, WorkerId>,
    expired: BTreeSet<SessionId>,
}

/// A task, as far as facts and grants tell.
#[derive(Clone, Copy, Debug, Default)]
struct TaskAccount {
    end: End,
    /// The highest token in a fact.
    recorded: Token,
    /// The fact that reopened it last.
    reopened_at: FactIndex,
    /// The last fact about it.
    recorded_at: FactIndex,
    /// Failures that spent its retries.
    charged: u32,
    /// The highest token under which a worker holds it, as far as this life of the coordinator has granted
    /// it or was told; and which worker.
    known: Option<(Token, WorkerId)>,
    /// The highest token under which it was granted or announced in this life, whoever has it now.
    highest: Token,
}

/// How a task stands when something is said of it under a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Standing {
    /// Held under this token by whoever says it.
    Held,
    /// Open, and held under a higher token.
    Overtaken,
    /// Open, and held by nobody, or under a lower token.
    Free,
    /// Open, and a fact bears this token or a higher one.
    Recorded,
    Done,
    Failed,
    Cancelled,
    Skipped,
    /// Of a job that is not there.
    Unknown,
}

/// What a fact says became of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum End {
    #[default]
    Open,
    Done,
    Failed,
    Cancelled,
    Skipped,
    /// Too many others of its stage have failed.
    LeftOut,
}

impl TaskAccount {
    fn known_token(&self) -> Token {
        self.known.map_or(Token::default(), |(token, _)| token)
    }
}

impl Ledger {
    /// Takes in a fact that a step made.
    pub(crate) fn made(
        &mut self,
        index: FactIndex,
        fact: &Fact,
        in_window: bool,
    ) -> Result<(), Violation> {
        check(index.0 == self.facts.len() as u64 + 1, Rule::ReplayIsState, || {
            format!("fact {} follows fact {}", index.0, self.facts.len())
        })?;
        if let Fact::TaskFailed(failed) = fact {
            let waits = in_window && failed.token.epoch < self.epoch;
            check(!waits, Rule::WindowHolds, || {
                format!("a failure under {} is taken before the window has closed", failed.token)
            })?;
        }
        if let Fact::TaskLost(lost) = fact {
            self.budgets.check_loss(lost)?;
        }
        self.facts.push(fact.clone());
        self.account(index, fact)
    }

    /// Takes in what a step wants done.
    pub(crate) fn wanted(&mut self, effect: &Effect) -> Result<(), Violation> {
        let Effect::Send { session, message } = effect else { return Ok(()) };
        match message {
            ToWorker::Assign { grant } => return self.granted(*session, grant),
            ToWorker::Stop { token, stage, range } => {
                self.ends(self.worker_of(*session), *stage, *token, *range);
            }
            ToWorker::Welcome { answers, .. } => {
                let worker = self.worker_of(*session);
                for answer in answers.iter().filter(|answer| answer.verdict != Verdict::Adopt) {
                    self.ends(worker, answer.stage, answer.token, answer.range);
                }
            }
            ToWorker::Stage { .. }
            | ToWorker::TakeBack { .. }
            | ToWorker::Settled { .. }
            | ToWorker::Forget { .. } => {}
        }
        Ok(())
    }

    /// Says whether a worker that runs a task under a token was not told to end it.
    pub(crate) fn is_wanted(&self, stage: StageId, token: Token, index: u64) -> bool {
        let recorded = usize::try_from(index)
            .ok()
            .and_then(|index| self.tasks.get(&stage)?.get(index))
            .map_or(Token::default(), |task| task.recorded);
        // Under a fence nothing of it is wanted, whether its worker was told or not.
        token > recorded && !self.unwanted.contains(&(stage, token, index))
    }

    /// A worker is told to end tasks: it holds them no more.
    fn ends(&mut self, worker: Option<WorkerId>, stage: StageId, token: Token, range: TaskRange) {
        self.unwanted.extend((range.start..range.end).map(|index| (stage, token, index)));
        for index in range.start..range.end {
            let task = self.task(stage, index);
            task.known = task.known.filter(|known| Some(*known) != worker.map(|it| (token, it)));
        }
    }

    fn granted(&mut self, session: SessionId, grant: &Grant) -> Result<(), Violation> {
        let Some(worker) = self.worker_of(session) else { return Ok(()) };
        check(
            grant.token > self.last_token && grant.token.epoch == self.epoch,
            Rule::TokensGrow,
            || format!("token {} is granted after {}", grant.token, self.last_token),
        )?;
        self.last_token = grant.token;
        check(!self.draining.contains(&worker), Rule::DrainingGetsNothing, || {
            format!("worker {} is draining, and is granted {:?}", worker.0, grant.range)
        })?;
        self.check_needs(grant.stage)?;
        for index in grant.range.start..grant.range.end {
            let task = self.task(grant.stage, index);
            check(task.end == End::Open, Rule::DoneIsNotGranted, || {
                format!("{} is granted, but is {:?}", name(grant.stage, index), task.end)
            })?;
            check(task.known.is_none(), Rule::HeldIsNotGranted, || {
                format!(
                    "{} is granted while it is held: {:?}",
                    name(grant.stage, index),
                    task.known
                )
            })?;
            task.known = Some((grant.token, worker));
            task.highest = task.highest.max(grant.token);
        }
        Ok(())
    }

    fn check_needs(&mut self, stage: StageId) -> Result<(), Violation> {
        let Some((_, spec)) = self.jobs.get(&stage.job) else { return Ok(()) };
        let spec = Arc::clone(spec);
        for need in &spec.stages[stage.stage.0 as usize].needs {
            let needed = StageId { job: stage.job, stage: *need };
            if self.succeeded.contains(&needed) {
                continue;
            }
            let tasks = self.tasks.entry(needed).or_default();
            let succeeded = tasks.iter().all(|task| task.end == End::Done);
            check(succeeded, Rule::NeedsHold, || {
                format!("{} is granted before {} has succeeded", name(stage, 0), name(needed, 0))
            })?;
            self.succeeded.insert(needed);
        }
        Ok(())
    }

    /// Takes in what happens to the scheduler: who holds what from now on.
    pub(crate) fn happens(&mut self, event: &Event) {
        match event {
            Event::WorkerHello { session, worker, hello } => {
                // What it does not announce, it does not have; if it is another process, that is lost.
                let mut lost = self.held_by(*worker);
                lost.retain(|(stage, index)| {
                    let mut held = hello.held.iter();
                    !held.any(|item| item.stage == *stage && item.range.contains(*index))
                });
                self.budgets.loses(*worker, lost);
                self.lets_go(*worker);
                self.sessions.insert(*worker, *session);
                self.owners.insert(*session, *worker);
                for item in &hello.held {
                    for index in item.range.start..item.range.end {
                        let task = self.task(item.stage, index);
                        task.known = task.known.max(Some((item.token, *worker)));
                        task.highest = task.highest.max(item.token);
                    }
                }
            }
            Event::GivenBack { session, token, stage, ranges } => {
                let Some(worker) = self.worker_of(*session) else { return };
                for index in ranges.iter().flat_map(|range| range.start..range.end) {
                    let task = self.task(*stage, index);
                    task.known = task.known.filter(|known| *known != (*token, worker));
                }
            }
            Event::Goodbye { session } | Event::LeaseExpired { session } => {
                if matches!(event, Event::LeaseExpired { .. }) {
                    self.expired.insert(*session);
                }
                if let Some(worker) = self.worker_of(*session) {
                    self.budgets.loses(worker, self.held_by(worker));
                    self.lets_go(worker);
                    self.sessions.remove(&worker);
                }
            }
            Event::Start { .. }
            | Event::Silent { .. }
            | Event::Heard { .. }
            | Event::Submit { .. }
            | Event::Cancel { .. }
            | Event::Retry { .. }
            | Event::Forget { .. }
            | Event::DrainWorker { .. }
            | Event::ResumeWorker { .. }
            | Event::CreateToken { .. }
            | Event::RevokeToken { .. }
            | Event::Enrol { .. }
            | Event::Started { .. }
            | Event::Report { .. }
            | Event::Disconnected { .. }
            | Event::Tick => {}
        }
    }

    /// Takes in what the gate lets out.
    pub(crate) fn released(&mut self, index: FactIndex, effect: &Effect) -> Result<(), Violation> {
        check(index <= self.durable, Rule::RecordFirst, || {
            format!(
                "{effect:?} waits for fact {}, but only {} are durable",
                index.0, self.durable.0
            )
        })?;
        if let Effect::Send { message: ToWorker::Assign { .. }, .. } = effect {
            check(self.epoch_at <= self.durable, Rule::RecordFirst, || {
                "work is given out before the epoch is durable".to_owned()
            })?;
        }
        if let Effect::Reply { reply: Reply::Submitted { id, number, .. }, .. } = effect {
            let recorded = self.jobs.get(id).map(|(at, _)| *at);
            check(recorded.is_some_and(|at| at <= self.durable), Rule::RecordFirst, || {
                format!("job {id} is acknowledged, and its record is not durable")
            })?;
            let before = *self.acknowledged_jobs.entry(*id).or_insert(*number);
            check(before == *number, Rule::SubmissionIsIdempotent, || {
                format!("job {id} was acknowledged as {before}, and now as {number}")
            })?;
        }
        Ok(())
    }

    /// Takes in that a worker is told that it may forget these results.
    pub(crate) fn settled(&mut self, items: &[ReportItem]) -> Result<(), Violation> {
        for item in items.iter().filter(|item| matches!(item.outcome, Outcome::Done { .. })) {
            if self.forgotten.contains_key(&item.stage.job) {
                continue;
            }
            for index in item.range.start..item.range.end {
                let task = *self.task(item.stage, index);
                if task.end == End::Done && task.recorded == item.token {
                    check(task.recorded_at <= self.durable, Rule::RecordFirst, || {
                        format!(
                            "the result of {} is acknowledged, and is not durable",
                            name(item.stage, index)
                        )
                    })?;
                    self.acknowledged_results.insert((item.stage, index), task.recorded_at);
                    continue;
                }
                let taken_away = task.end != End::Open
                    || task.highest > item.token
                    || task.recorded >= item.token;
                check(taken_away, Rule::AcknowledgedResultCommits, || {
                    format!(
                        "the result of {} under {} is acknowledged, and not committed",
                        name(item.stage, index),
                        item.token
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Takes in what the journal calls durable.
    pub(crate) fn durable(&mut self, durable: FactIndex) {
        self.durable = self.durable.max(durable);
    }

    /// Returns up to where facts are durable.
    pub(crate) const fn durable_index(&self) -> FactIndex {
        self.durable
    }

    /// Takes in that a coordinator goes on from a copy: what was acknowledged after it is gone.
    pub(crate) fn set_back(&mut self, durable: FactIndex) {
        self.durable = durable;
        let jobs = &self.jobs;
        self.acknowledged_jobs.retain(|id, _| jobs.get(id).is_some_and(|(at, _)| *at <= durable));
        self.acknowledged_results.retain(|_, at| *at <= durable);
    }

    /// Takes in what was read back after a crash: some facts that were not acknowledged may be gone.
    pub(crate) fn recovered(&mut self, facts: &[Fact], state: &State) -> Result<(), Violation> {
        check(facts.len() as u64 >= self.durable.0, Rule::AcknowledgedResultSurvives, || {
            format!("{} facts were durable, {} are recovered", self.durable.0, facts.len())
        })?;
        let same = self.facts.get(..facts.len()).is_some_and(|made| made == facts);
        check(same, Rule::ReplayIsState, || {
            "the journal gives other facts than were made".to_owned()
        })?;
        self.facts.truncate(facts.len());
        self.durable = FactIndex(facts.len() as u64);
        self.tasks.clear();
        self.budgets.clear();
        self.forgotten.clear();
        self.numbers.clear();
        self.draining.clear();
        self.jobs.clear();
        self.succeeded.clear();
        self.epoch = Epoch(0);
        self.last_token = Token::default();
        self.sessions.clear();
        self.owners.clear();
        self.expired.clear();
        for (index, fact) in (1..).map(FactIndex).zip(facts) {
            self.account(index, fact)?;
        }
        self.check_jobs_survive(state)?;
        for ((stage, index), at) in &self.acknowledged_results {
            let place = usize::try_from(*index).expect("a few hundred");
            let reopened = self
                .tasks
                .get(stage)
                .and_then(|tasks| tasks.get(place))
                .is_some_and(|task| task.reopened_at > *at);
            let done = state.stage(*stage).is_some_and(|stage| !stage.is_open(*index))
                || reopened
                || self.forgotten.contains_key(&stage.job);
            check(done, Rule::AcknowledgedResultSurvives, || {
                format!(
                    "the result of {} was acknowledged, and is open after recovery",
                    name(*stage, *index)
                )
            })?;
        }
        Ok(())
    }

    /// Checks that what was acknowledged as a job is that job, or was forgotten later.
    pub(crate) fn check_jobs_survive(&self, state: &State) -> Result<(), Violation> {
        for (id, number) in &self.acknowledged_jobs {
            let found = state.job(*id).map(gridctl_core::state::Job::number);
            let gone = self.forgotten.get(id).copied();
            check(found.or(gone) == Some(*number), Rule::AcknowledgedJobSurvives, || {
                format!("job {id} was acknowledged as {number}, and is {found:?}, gone {gone:?}")
            })?;
            check(found.is_none() || gone.is_none(), Rule::ForgottenStaysForgotten, || {
                format!("job {id} was forgotten, and is there as {found:?}")
            })?;
        }
        Ok(())
    }

    /// Takes in that a worker begins tasks.
    pub(crate) fn begins(
        &mut self,
        stage: StageId,
        token: Token,
        range: TaskRange,
    ) -> Result<(), Violation> {
        for index in range.start..range.end {
            check(self.begun.insert((token, stage, index)), Rule::BeginsOnce, || {
                format!("{} begins a second time under {token}", name(stage, index))
            })?;
        }
        Ok(())
    }

    /// Takes in that tasks which had not begun went back into a worker's queue.
    pub(crate) fn reclaimed(&mut self, stage: StageId, token: Token, range: TaskRange) {
        for index in range.start..range.end {
            self.begun.remove(&(token, stage, index));
        }
    }

    /// Says how a task stands of which a worker says something under a token.
    pub(crate) fn standing(
        &self,
        worker: Option<WorkerId>,
        stage: StageId,
        token: Token,
        index: u64,
    ) -> Standing {
        let place = usize::try_from(index).expect("a few hundred");
        let Some(task) = self.tasks.get(&stage).and_then(|tasks| tasks.get(place)) else {
            return Standing::Unknown;
        };
        match task.end {
            End::Done => Standing::Done,
            End::Failed => Standing::Failed,
            // Either was taken away from whoever may still have run it.
            End::Cancelled | End::LeftOut => Standing::Cancelled,
            End::Skipped => Standing::Skipped,
            End::Open if task.recorded >= token => Standing::Recorded,
            End::Open => match task.known {
                Some((known, _)) if known > token => Standing::Overtaken,
                Some((known, holder)) if known == token && worker == Some(holder) => Standing::Held,
                Some(_) | None => Standing::Free,
            },
        }
    }

    /// Returns whose a session is, and whether it is the last one and lasts.
    pub(crate) fn owner_of(&self, session: SessionId) -> Option<(WorkerId, bool)> {
        let worker = *self.owners.get(&session)?;
        Some((worker, self.sessions.get(&worker) == Some(&session)))
    }

    /// Takes in that a heartbeat is answered.
    pub(crate) fn answers_heartbeat(&self, session: SessionId) -> Result<(), Violation> {
        check(!self.expired.contains(&session), Rule::ExpiredGetsNoAnswer, || {
            format!("session {} has expired, and its heartbeat is answered", session.0)
        })
    }

    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    pub(crate) fn is_forgotten(&self, job: JobId) -> bool {
        self.forgotten.contains_key(&job)
    }

    /// Follows what a fact says; fails where it may not say so.
    #[expect(clippy::too_many_lines, reason = "an arm for each kind of fact")]
    fn account(&mut self, at: FactIndex, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::EpochStarted { epoch, .. } => {
                check(*epoch > self.epoch, Rule::TokensGrow, || {
                    format!("epoch {} follows {}", epoch.0, self.epoch.0)
                })?;
                self.epoch = *epoch;
                self.epoch_at = at;
            }
            Fact::JobSubmitted(submitted) => {
                self.number(submitted.id, submitted.number)?;
                self.jobs.insert(submitted.id, (at, Arc::clone(&submitted.spec)));
                for (stage, spec) in (0..).zip(&submitted.spec.stages) {
                    let id =
                        StageId { job: submitted.id, stage: gridctl_jobs::id::StageIndex(stage) };
                    self.budgets.submitted(id, &spec.budget);
                    let count = usize::try_from(spec.items.count()).expect("a few hundred");
                    // A worker may have announced tasks of it that a coordinator forgot when it was set back.
                    self.tasks.insert(id, vec![TaskAccount::default(); count]);
                }
            }
            Fact::RangeDone(done) => {
                for index in done.range.start..done.range.end {
                    self.commit(at, done.stage, index, done.token, End::Done)?;
                }
            }
            Fact::TaskDone(done) => {
                self.commit(at, done.stage, u64::from(done.index), done.token, End::Done)?;
            }
            Fact::TaskFailed(failed) => {
                let end = if failed.last { End::Failed } else { End::Open };
                self.commit(at, failed.stage, u64::from(failed.index), failed.token, end)?;
                self.charge(failed)?;
                self.budgets.failed(failed);
            }
            Fact::TasksCancelled { stage, range, fence, .. } => {
                for index in range.start..range.end {
                    let task = self.task(*stage, index);
                    if task.end == End::Open {
                        task.end = End::Cancelled;
                    }
                    task.recorded = task.recorded.max(*fence);
                    task.known = None;
                }
            }
            Fact::StageSkipped { stage, .. } => {
                let tasks = self.tasks.entry(*stage).or_default();
                tasks
                    .iter_mut()
                    .filter(|task| task.end == End::Open)
                    .for_each(|task| task.end = End::Skipped);
            }
            Fact::TasksReopened { stage, range, done_too, fence, .. } => {
                self.reopen(at, *stage, *range, *done_too, *fence);
            }
            Fact::StageReopened { stage, .. } => {
                let tasks = self.tasks.entry(*stage).or_default();
                tasks
                    .iter_mut()
                    .filter(|task| task.end == End::Skipped)
                    .for_each(|task| task.end = End::Open);
            }
            Fact::JobForgotten { job, .. } => {
                let number = self.numbers.get(job).copied().unwrap_or(JobNumber(0));
                self.forgotten.insert(*job, number);
                self.tasks.retain(|stage, _| stage.job != *job);
                self.budgets.forgotten(*job);
            }
            Fact::WorkerDraining { worker, .. } => {
                self.draining.insert(*worker);
            }
            Fact::WorkerResumed { worker, .. } => {
                self.draining.remove(worker);
            }
            Fact::TaskLost(lost) => {
                self.budgets.lost(lost);
                let task = self.task(lost.stage, u64::from(lost.index));
                if task.end == End::Open && lost.last {
                    task.end = End::Failed;
                    task.recorded_at = at;
                }
            }
            Fact::TasksSkipped { stage, range, fence, .. } => {
                self.budgets.check_skipped(*stage)?;
                for index in range.start..range.end {
                    let task = self.task(*stage, index);
                    if task.end == End::Open {
                        task.end = End::LeftOut;
                        task.recorded = task.recorded.max(*fence);
                    }
                }
            }
            Fact::JobEnded { .. }
            | Fact::JobReopened { .. }
            | Fact::TokenCreated(_)
            | Fact::TokenRevoked { .. }
            | Fact::WorkerEnrolled { .. }
            | Fact::UserEnrolled { .. }
            | Fact::WorkerAttached { .. }
            | Fact::WorkerDetached { .. }
            | Fact::LeaseLength { .. }
            | Fact::Watermark { .. }
            | Fact::SetBack { .. } => {}
        }
        Ok(())
    }

    /// A job gets its number.
    fn number(&mut self, id: JobId, number: JobNumber) -> Result<(), Violation> {
        check(!self.forgotten.contains_key(&id), Rule::ForgottenStaysForgotten, || {
            format!("job {id} was forgotten, and is a job anew")
        })?;
        let used = self.numbers.insert(id, number);
        let is_new =
            used.is_none() && self.numbers.values().filter(|other| **other == number).count() == 1;
        check(is_new, Rule::SubmissionIsIdempotent, || {
            format!("job {id} gets number {number}, which is not new")
        })
    }

    /// Tasks that have ended are to be done again.
    fn reopen(
        &mut self,
        at: FactIndex,
        stage: StageId,
        range: TaskRange,
        done_too: bool,
        fence: Token,
    ) {
        self.succeeded.remove(&stage);
        for index in range.start..range.end {
            let task = self.task(stage, index);
            let opens = matches!(task.end, End::Failed | End::Cancelled | End::LeftOut)
                || (done_too && task.end == End::Done);
            if opens {
                task.end = End::Open;
                task.recorded = task.recorded.max(fence);
                task.reopened_at = at;
                task.charged = 0;
                task.known = None;
                self.budgets.reopened(stage, index);
            }
        }
    }

    /// A result or failure of a task is recorded.
    fn commit(
        &mut self,
        at: FactIndex,
        stage: StageId,
        index: u64,
        token: Token,
        end: End,
    ) -> Result<(), Violation> {
        let task = self.task(stage, index);
        check(task.end == End::Open, Rule::OneCommit, || {
            format!(
                "{} is recorded as {end:?} under {token}, but is {:?}",
                name(stage, index),
                task.end
            )
        })?;
        check(token > task.recorded && token >= task.known_token(), Rule::NoFencedCommit, || {
            format!(
                "{} is recorded as {end:?} under {token}, but {} is recorded and {} held",
                name(stage, index),
                task.recorded,
                task.known_token()
            )
        })?;
        task.end = end;
        task.recorded = token;
        task.recorded_at = at;
        // What has ended is held no more.
        task.known = None;
        Ok(())
    }

    /// A failure is charged to a task: it has failed for good once its retries are spent, and not before.
    fn charge(&mut self, failed: &TaskFailed) -> Result<(), Violation> {
        let retries = self
            .jobs
            .get(&failed.stage.job)
            .map_or(0, |(_, spec)| spec.stages[failed.stage.stage.0 as usize].budget.retries);
        if !failed.failure.kind().is_own() {
            return Ok(());
        }
        let task = self.task(failed.stage, u64::from(failed.index));
        task.charged += 1;
        let charged = task.charged;
        check(failed.last == (charged > retries), Rule::BudgetIsSpentOnce, || {
            format!(
                "{} has failed {charged} times, may be retried {retries} times, and is {}",
                name(failed.stage, u64::from(failed.index)),
                if failed.last { "not tried again" } else { "tried again" }
            )
        })
    }

    /// Lists what a worker holds, as far as is known.
    fn held_by(&self, worker: WorkerId) -> BTreeSet<(StageId, u64)> {
        let held = |task: &TaskAccount| {
            task.end == End::Open && task.known.is_some_and(|(_, holder)| holder == worker)
        };
        let mut found = BTreeSet::new();
        for (stage, tasks) in &self.tasks {
            let of_stage = (0..).zip(tasks).filter(|(_, task)| held(task));
            found.extend(of_stage.map(|(index, _)| (*stage, index)));
        }
        found
    }

    /// Lists the tasks of a stage that were set aside.
    pub(crate) fn set_aside(&self, stage: StageId) -> BTreeSet<u64> {
        self.budgets.set_aside(stage)
    }

    fn worker_of(&self, session: SessionId) -> Option<WorkerId> {
        self.sessions.iter().find(|(_, last)| **last == session).map(|(worker, _)| *worker)
    }

    fn lets_go(&mut self, worker: WorkerId) {
        for task in self.tasks.values_mut().flatten() {
            task.known = task.known.filter(|(_, holder)| *holder != worker);
        }
    }

    fn task(&mut self, stage: StageId, index: u64) -> &mut TaskAccount {
        let tasks = self.tasks.entry(stage).or_default();
        let index = usize::try_from(index).expect("a few hundred");
        if tasks.len() <= index {
            tasks.resize(index + 1, TaskAccount::default());
        }
        &mut tasks[index]
    }
}
