//! What must hold after every step, in one place, each with the point of the contract that it holds.
//!
//! The ledger keeps its own account of jobs, tasks and tokens, from what leaves and enters the product's
//! parts; it does not ask them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gridctl_core::effect::{Effect, FactIndex, Grant, Reply, ToWorker, Verdict};
use gridctl_core::event::{Event, Outcome, ReportItem, SessionId};
use gridctl_core::fact::Fact;
use gridctl_core::state::State;
use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, Token, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::units::Cpus;

/// What can be violated. The numbers are those of the contract in the design.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// 1: an effect is released only when every fact before it is durable.
    RecordFirst,
    /// 1: what was acknowledged to a client is there after every crash.
    AcknowledgedJobSurvives,
    /// 1: what was acknowledged to a worker is done after every crash.
    AcknowledgedResultSurvives,
    /// 1: a result that is acknowledged is committed, or something took it away.
    AcknowledgedResultCommits,
    /// 1: the journal that a crash leaves is accepted.
    JournalRecovers,
    /// 2: exactly one result of a task is committed.
    OneCommit,
    /// 2: the result that is kept is that of the attempt that committed, whole.
    RightResult,
    /// 3: nothing commits or is charged below a token that is known of the task.
    NoFencedCommit,
    /// 3: epochs and tokens only grow.
    TokensGrow,
    /// 3: what a grant gives begins at most once.
    BeginsOnce,
    /// 4: a worker keeps what ended in its hands until the coordinator has it or does not want it.
    ResultsAreKept,
    /// 5: after a restart nothing is granted that a worker may still be running.
    WindowHolds,
    /// 6: sending a submission again gives the same job.
    SubmissionIsIdempotent,
    /// 7: a peer that keeps to the protocol is never turned away.
    HonestPeerIsServed,
    /// 6: a job that was forgotten stays forgotten, and its id is no job anew.
    ForgottenStaysForgotten,
    /// A draining worker gets nothing new.
    DrainingGetsNothing,
    /// What is done is not granted again.
    DoneIsNotGranted,
    /// More cpus than there are are never in use on a worker (worker: one account).
    CapacityOfMachine,
    /// More cpus than there are are never reserved in the scheduler's account.
    CapacityInAccount,
    /// The facts in the journal are those that were made, and give the same state.
    ReplayIsState,
    /// What readers see is what the scheduler has, once everything is released.
    ViewsAreState,
    /// Every job ends as it must, once the faults stop.
    EverythingEnds,
    /// A product part panicked: one of its own invariants is broken.
    NoPanic,
}

/// A rule that does not hold, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which one.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Fails with a violation unless `holds`.
pub(crate) fn check(
    holds: bool,
    rule: Rule,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { rule, what: what() }) }
}

/// The simulator's own account.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Every fact of the history that is in force, in order: the first has index 1.
    facts: Vec<Fact>,
    durable: FactIndex,
    tasks: BTreeMap<StageId, Vec<TaskAccount>>,
    acknowledged_jobs: BTreeMap<JobId, JobNumber>,
    /// Each with how many facts there were at that time.
    acknowledged_results: BTreeMap<(StageId, u64), usize>,
    /// Jobs that a fact says are gone.
    forgotten: BTreeMap<JobId, JobNumber>,
    numbers: BTreeMap<JobId, JobNumber>,
    /// Workers that are to be given nothing new.
    draining: BTreeSet<WorkerId>,
    begun: BTreeSet<(Token, StageId, u64)>,
    /// What a worker is to end, whether it has heard so or not.
    unwanted: BTreeSet<(StageId, Token, u64)>,
    epoch: Epoch,
    last_token: Token,
    /// The last session of each worker in this life.
    sessions: BTreeMap<WorkerId, SessionId>,
}

/// A task, as far as facts and grants tell.
#[derive(Clone, Copy, Debug, Default)]
struct TaskAccount {
    end: End,
    /// The highest token in a fact.
    recorded: Token,
    /// Which fact reopened it last; 0 where none did.
    reopened: usize,
    /// The highest token under which a worker holds it, as far as this life of the coordinator has granted
    /// it or was told; and which worker.
    known: Option<(Token, WorkerId)>,
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
}

impl TaskAccount {
    fn known_token(&self) -> Token {
        self.known.map_or(Token::default(), |(token, _)| token)
    }
}

impl Ledger {
    /// Takes in a fact that a step made.
    pub(crate) fn made(&mut self, index: FactIndex, fact: &Fact) -> Result<(), Violation> {
        check(index.0 == self.facts.len() as u64 + 1, Rule::ReplayIsState, || {
            format!("fact {} follows fact {}", index.0, self.facts.len())
        })?;
        self.facts.push(fact.clone());
        self.account(index.0 as usize, fact)
    }

    /// Takes in what a step wants done.
    pub(crate) fn wanted(&mut self, effect: &Effect) -> Result<(), Violation> {
        let Effect::Send { session, message } = effect else { return Ok(()) };
        match message {
            ToWorker::Assign { grant } => return self.granted(*session, grant),
            ToWorker::Stop { token, stage, range } => self.ends(*stage, *token, *range),
            ToWorker::Welcome { answers, .. } => {
                for answer in answers.iter().filter(|answer| answer.verdict != Verdict::Adopt) {
                    self.ends(answer.stage, answer.token, answer.range);
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

    fn ends(&mut self, stage: StageId, token: Token, range: TaskRange) {
        self.unwanted.extend((range.start..range.end).map(|index| (stage, token, index)));
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
        for index in grant.range.start..grant.range.end {
            let task = self.task(grant.stage, index);
            check(task.end == End::Open, Rule::DoneIsNotGranted, || {
                format!("{} is granted, but is {:?}", name(grant.stage, index), task.end)
            })?;
            task.known = task.known.max(Some((grant.token, worker)));
        }
        Ok(())
    }

    /// Takes in what happens to the scheduler: who holds what from now on.
    pub(crate) fn happens(&mut self, event: &Event) {
        match event {
            Event::WorkerHello { session, worker, hello } => {
                // What it does not announce, it does not have.
                self.lets_go(*worker);
                self.sessions.insert(*worker, *session);
                for item in &hello.held {
                    for index in item.range.start..item.range.end {
                        let task = self.task(item.stage, index);
                        task.known = task.known.max(Some((item.token, *worker)));
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
                if let Some(worker) = self.worker_of(*session) {
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
        if let Effect::Reply { reply: Reply::Submitted { id, number, .. }, .. } = effect {
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
            for index in item.range.start..item.range.end {
                let task = *self.task(item.stage, index);
                if task.end == End::Done {
                    self.acknowledged_results.insert((item.stage, index), self.facts.len());
                    continue;
                }
                let taken_away = task.end != End::Open
                    || task.known_token() > item.token
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
        self.forgotten.clear();
        self.numbers.clear();
        self.draining.clear();
        self.epoch = Epoch(0);
        self.last_token = Token::default();
        self.sessions.clear();
        for (place, fact) in (1..).zip(facts) {
            self.account(place, fact)?;
        }
        self.check_jobs_survive(state)?;
        for ((stage, index), at) in &self.acknowledged_results {
            let reopened = self
                .tasks
                .get(stage)
                .and_then(|tasks| Some(tasks.get(usize::try_from(*index).ok()?)?.reopened > *at));
            let done = state.stage(*stage).is_some_and(|stage| !stage.is_open(*index))
                || reopened == Some(true)
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

    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    pub(crate) fn is_forgotten(&self, job: JobId) -> bool {
        self.forgotten.contains_key(&job)
    }

    /// Follows what a fact says; fails where it may not say so.
    fn account(&mut self, place: usize, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::EpochStarted { epoch, .. } => {
                check(*epoch > self.epoch, Rule::TokensGrow, || {
                    format!("epoch {} follows {}", epoch.0, self.epoch.0)
                })?;
                self.epoch = *epoch;
            }
            Fact::JobSubmitted(submitted) => {
                let (id, number) = (submitted.id, submitted.number);
                check(!self.forgotten.contains_key(&id), Rule::ForgottenStaysForgotten, || {
                    format!("job {id} was forgotten, and is a job anew")
                })?;
                let used = self.numbers.insert(id, number);
                let is_new = used.is_none()
                    && self.numbers.values().filter(|other| **other == number).count() == 1;
                check(is_new, Rule::SubmissionIsIdempotent, || {
                    format!("job {id} gets number {number}, which is not new")
                })?;
                for (stage, spec) in (0..).zip(&submitted.spec.stages) {
                    let id =
                        StageId { job: submitted.id, stage: gridctl_jobs::id::StageIndex(stage) };
                    let count = usize::try_from(spec.items.count()).expect("a few hundred");
                    let new = self.tasks.insert(id, vec![TaskAccount::default(); count]).is_none();
                    check(new, Rule::SubmissionIsIdempotent, || {
                        format!("job {} is recorded twice", submitted.id)
                    })?;
                }
            }
            Fact::RangeDone(done) => {
                for index in done.range.start..done.range.end {
                    self.commit(done.stage, index, done.token, End::Done)?;
                }
            }
            Fact::TaskDone(done) => {
                self.commit(done.stage, u64::from(done.index), done.token, End::Done)?;
            }
            Fact::TaskFailed(failed) => {
                let end = if failed.last { End::Failed } else { End::Open };
                self.commit(failed.stage, u64::from(failed.index), failed.token, end)?;
            }
            Fact::TasksCancelled { stage, range, fence, .. } => {
                for index in range.start..range.end {
                    let task = self.task(*stage, index);
                    if task.end == End::Open {
                        task.end = End::Cancelled;
                    }
                    task.recorded = task.recorded.max(*fence);
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
                for index in range.start..range.end {
                    let task = self.task(*stage, index);
                    let opens = matches!(task.end, End::Failed | End::Cancelled)
                        || (*done_too && task.end == End::Done);
                    if opens {
                        task.end = End::Open;
                        task.recorded = task.recorded.max(*fence);
                        task.reopened = place;
                    }
                }
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
            }
            Fact::WorkerDraining { worker, .. } => {
                self.draining.insert(*worker);
            }
            Fact::WorkerResumed { worker, .. } => {
                self.draining.remove(worker);
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

    /// A result or failure of a task is recorded.
    fn commit(
        &mut self,
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
        Ok(())
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

/// Checks that what runs on a machine fits it.
pub(crate) fn check_machine(
    running: impl Iterator<Item = Cpus>,
    capacity: Cpus,
) -> Result<(), Violation> {
    let used = running.fold(Cpus::ZERO, Cpus::saturating_add);
    check(used <= capacity, Rule::CapacityOfMachine, || {
        format!("{used} cpus run on a machine of {capacity}")
    })
}

/// Names a task in a message.
pub(crate) fn name(stage: StageId, index: u64) -> String {
    format!("{}/{}/{index}", stage.job, stage.stage.0)
}
