//! A grid of one scheduler and imagined peers. After every step the scheduler's invariants are checked, and
//! that folding its facts and changes anew gives the same state and activity.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridctl_core::activity::Activity;
use gridctl_core::effect::{Effect, Effects, Enrolled, Grant, Reply, ToWorker};
use gridctl_core::event::{
    Caller, Event, Held, MonoMs, Now, Outcome, Phase, Report, ReportItem, RequestId, SessionId,
    Target, WorkerHello,
};
use gridctl_core::fact::{
    Digest, Fact, Kept, Place, Span, TokenId, TokenRole, UserRole, WorkerProcess,
};
use gridctl_core::scheduler::{Config, Scheduler};
use gridctl_core::state::{LOCAL_ADMIN, Stage, State};
use gridctl_core::view::{self, TaskCounts, TaskQuery};
use gridctl_jobs::id::{JobId, StageId, StageIndex, Token, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::state::{Failure, JobState, TaskState};
use gridctl_jobs::units::{Cpus, WallMs};
use uuid::Uuid;

use crate::lines;

/// Leases of these worlds, in milliseconds.
pub(crate) const LEASE_MS: u64 = 10_000;
/// The local admin.
pub(crate) const ADMIN: Caller = Caller { user: LOCAL_ADMIN, role: UserRole::Admin };

/// See the module.
pub(crate) struct World {
    pub(crate) core: Scheduler,
    pub(crate) now: Now,
    /// Facts of this step.
    pub(crate) facts: Vec<Fact>,
    /// Effects of this step, but for changes of what readers see.
    pub(crate) effects: Vec<Effect>,
    /// Every grant of this world, by token.
    pub(crate) grants: BTreeMap<Token, (WorkerId, Grant)>,
    state: State,
    activity: Activity,
    sessions: BTreeMap<WorkerId, SessionId>,
    next: u64,
    join: Option<TokenId>,
}

impl World {
    /// A grid where nothing has happened yet, started.
    pub(crate) fn new() -> Self {
        Self::with(Config::new(LEASE_MS, 7))
    }

    pub(crate) fn with(config: Config) -> Self {
        let now = Now { mono: MonoMs(0), wall: WallMs(1_000_000) };
        let mut world = Self {
            core: Scheduler::new(config, State::new()),
            now,
            facts: Vec::new(),
            effects: Vec::new(),
            grants: BTreeMap::new(),
            state: State::new(),
            activity: Activity::default(),
            sessions: BTreeMap::new(),
            next: 0,
            join: None,
        };
        world.step(Event::Start { restored: false });
        world
    }

    /// The coordinator dies and comes back; what was recorded is there, nothing else.
    pub(crate) fn restart(&mut self) {
        self.restart_with(Config::new(LEASE_MS, 7), false);
    }

    /// The same, told otherwise.
    pub(crate) fn restart_with(&mut self, config: Config, restored: bool) {
        self.core = Scheduler::new(config, self.state.clone());
        self.activity = Activity::default();
        self.sessions.clear();
        self.step(Event::Start { restored });
    }

    pub(crate) fn step(&mut self, event: Event) {
        let mut out = Effects::default();
        let before = self.state.applied();
        self.core.step(self.now, event, &mut out);
        self.core.check_invariants();
        let mut last = before;
        for (index, fact) in &out.facts {
            assert_eq!(index.0, last.0 + 1, "facts are numbered in order");
            last = *index;
            self.state.apply(fact);
        }
        for (index, effect) in &out.effects {
            assert!(before <= *index && *index <= last, "an effect waits for a fact that is there");
            if let Effect::Show(change) = effect {
                self.activity.apply(change);
            }
        }
        assert_eq!(&self.state, self.core.state(), "folding the facts anew gives the same state");
        assert_eq!(&self.activity, self.core.activity(), "readers see the same activity");
        self.facts = out.facts.into_iter().map(|(_, fact)| fact).collect();
        self.effects = out.effects.into_iter().map(|(_, effect)| effect).collect();
        self.effects.retain(|effect| !matches!(effect, Effect::Show(_)));
        self.note_grants();
    }

    /// Lets time pass, and the scheduler notice.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.mono.0 += ms;
        self.now.wall.0 += ms;
        self.step(Event::Tick);
    }

    /// What this step said to whom, a line each.
    pub(crate) fn said(&self) -> Vec<String> {
        self.effects.iter().map(|effect| lines::effect(self, effect)).collect()
    }

    /// What this step recorded, a line each, but for what it recorded of leases.
    pub(crate) fn recorded(&self) -> Vec<String> {
        let facts = self.facts.iter().filter(|fact| !is_of_leases(fact));
        facts.map(|fact| lines::fact(self, fact)).collect()
    }

    /// What this step recorded of leases: who holds one, how long they are, what was granted at all.
    pub(crate) fn recorded_of_leases(&self) -> Vec<String> {
        let facts = self.facts.iter().filter(|fact| is_of_leases(fact));
        facts.map(|fact| lines::fact(self, fact)).collect()
    }

    /// What this step granted: worker, tasks, attempt.
    pub(crate) fn granted(&self) -> Vec<(u64, String, u32)> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Send { session, message: ToWorker::Assign { grant } } => {
                    let tasks = lines::tasks(self, grant.stage, grant.range);
                    Some((self.worker_at(*session).0, tasks, grant.attempt))
                }
                _ => None,
            })
            .collect()
    }

    pub(crate) fn reply(&self) -> &Reply {
        let mut replies = self.effects.iter().filter_map(|effect| match effect {
            Effect::Reply { reply, .. } => Some(reply),
            _ => None,
        });
        replies.next().expect("the step replied")
    }

    pub(crate) fn worker_at(&self, session: SessionId) -> WorkerId {
        let mut known = self.sessions.iter();
        known.find(|(_, its)| **its == session).map_or(WorkerId(0), |(worker, _)| *worker)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn note_grants(&mut self) {
        for effect in &self.effects {
            if let Effect::Send { session, message: ToWorker::Assign { grant } } = effect {
                let worker = self.worker_at(*session);
                let before = self.grants.insert(grant.token, (worker, grant.clone()));
                assert!(before.is_none(), "a token is never given out twice");
            }
        }
    }
}

/// Workers.
impl World {
    /// A machine joins and says Hello.
    pub(crate) fn worker(&mut self, cpus: Cpus) -> WorkerId {
        let worker = self.enrolled();
        self.hello(worker, cpus, Vec::new());
        worker
    }

    /// A machine joins, and says nothing.
    pub(crate) fn enrolled(&mut self) -> WorkerId {
        let token = self.join_token();
        let key = [u8::try_from(self.number()).unwrap(); 32];
        let request = RequestId(self.number());
        let wanted_name = "machine".to_owned();
        self.step(Event::Enrol { request, token, secret_hash: [9; 32], key, wanted_name });
        match self.reply() {
            Reply::Enrolled(Enrolled::Worker { worker, .. }) => *worker,
            other => panic!("not enrolled: {other:?}"),
        }
    }

    pub(crate) fn hello(&mut self, worker: WorkerId, cpus: Cpus, held: Vec<Held>) -> SessionId {
        self.hello_of(worker, [u8::try_from(worker.0).unwrap(); 16], cpus, held)
    }

    pub(crate) fn hello_of(
        &mut self,
        worker: WorkerId,
        machine: [u8; 16],
        cpus: Cpus,
        held: Vec<Held>,
    ) -> SessionId {
        let process = WorkerProcess { machine, process: machine, life: 1 };
        let connection = self.next + 1;
        let (predecessor_gone, ends_trees) = (false, true);
        let hello = WorkerHello { process, connection, predecessor_gone, ends_trees, cpus, held };
        self.say_hello(worker, hello)
    }

    /// Says Hello as a new process of a one-cpu worker.
    pub(crate) fn hello_of_process(&mut self, worker: WorkerId, life: u64, gone: bool) {
        let hello = self.plain_hello(worker);
        let own = u8::try_from(100 + life).unwrap();
        let process = WorkerProcess { process: [own; 16], life, ..hello.process };
        self.say_hello(worker, WorkerHello { process, predecessor_gone: gone, ..hello });
    }

    /// Says Hello on a certain connection of a one-cpu worker.
    pub(crate) fn hello_on_connection(&mut self, worker: WorkerId, connection: u64) {
        let hello = self.plain_hello(worker);
        self.say_hello(worker, WorkerHello { connection, ..hello });
    }

    /// Says Hello as a worker that cannot end process trees.
    pub(crate) fn hello_without_trees(&mut self, worker: WorkerId, cpus: Cpus) {
        let hello = self.plain_hello(worker);
        self.say_hello(worker, WorkerHello { cpus, ends_trees: false, ..hello });
    }

    fn plain_hello(&self, worker: WorkerId) -> WorkerHello {
        let own = [u8::try_from(worker.0).unwrap(); 16];
        WorkerHello {
            process: WorkerProcess { machine: own, process: own, life: 1 },
            connection: self.next + 1,
            predecessor_gone: false,
            ends_trees: true,
            cpus: Cpus::ONE,
            held: Vec::new(),
        }
    }

    fn say_hello(&mut self, worker: WorkerId, hello: WorkerHello) -> SessionId {
        let session = SessionId(self.number());
        let before = self.sessions.insert(worker, session);
        self.step(Event::WorkerHello { session, worker, hello });
        let refused = |effect: &Effect| matches!(effect, Effect::Close { session: its, .. } if *its == session);
        if self.effects.iter().any(refused)
            && let Some(before) = before
        {
            self.sessions.insert(worker, before);
        }
        session
    }

    pub(crate) fn session(&self, worker: WorkerId) -> SessionId {
        self.sessions[&worker]
    }

    pub(crate) fn disconnect(&mut self, worker: WorkerId) {
        self.step(Event::Disconnected { session: self.session(worker) });
    }

    pub(crate) fn expire(&mut self, worker: WorkerId) {
        self.step(Event::LeaseExpired { session: self.session(worker) });
    }

    /// The last grant that a task was in.
    pub(crate) fn grant_of(&self, stage: StageId, index: u64) -> (WorkerId, Grant) {
        let mut known = self.grants.values().rev();
        known
            .find(|(_, grant)| grant.stage == stage && grant.range.contains(index))
            .unwrap()
            .clone()
    }

    /// What a worker announces of a grant.
    pub(crate) fn held(&self, stage: StageId, range: TaskRange, phase: Phase) -> Held {
        let (_, grant) = self.grant_of(stage, range.start);
        Held { token: grant.token, stage, range, attempt: grant.attempt, phase }
    }

    /// Tasks of one grant are done, in `each_us` microseconds each.
    pub(crate) fn done(&mut self, stage: StageId, range: TaskRange, each_us: u64) {
        let item = self.item(stage, range, Outcome::Done { kept: None });
        self.report(ReportItem { busy_us: each_us * range.len(), ..item });
    }

    pub(crate) fn failed(&mut self, stage: StageId, index: u64, failure: Failure) {
        let outcome = Outcome::Failed { failure, kept: None };
        let item = self.item(stage, TaskRange::one(index), outcome);
        self.report(item);
    }

    /// What the last holder of tasks would report.
    pub(crate) fn item(&self, stage: StageId, range: TaskRange, outcome: Outcome) -> ReportItem {
        let (_, grant) = self.grant_of(stage, range.start);
        let (started, ended) = (WallMs(self.now.wall.0 - 10), self.now.wall);
        ReportItem {
            token: grant.token,
            stage,
            range,
            attempt: grant.attempt,
            span: Span { started, ended },
            busy_us: 10_000 * range.len(),
            outcome,
        }
    }

    /// The worker that was granted it reports it.
    pub(crate) fn report(&mut self, item: ReportItem) {
        let (worker, _) = self.grants[&item.token];
        self.report_by(worker, item);
    }

    pub(crate) fn report_by(&mut self, worker: WorkerId, item: ReportItem) {
        let sequence = self.number();
        let session = self.session(worker);
        self.step(Event::Report { session, report: Report { sequence, items: vec![item] } });
    }

    fn join_token(&mut self) -> TokenId {
        if let Some(token) = self.join {
            return token;
        }
        let token = self.new_token(TokenRole::Worker, None);
        self.join = Some(token);
        token
    }

    /// A join token with the secret whose hash is nines, valid for a day.
    pub(crate) fn new_token(&mut self, role: TokenRole, uses: Option<u32>) -> TokenId {
        let request = RequestId(self.number());
        let secret_hash = [9; 32];
        let valid_ms = 86_400_000;
        self.step(Event::CreateToken { request, caller: ADMIN, secret_hash, role, uses, valid_ms });
        match self.reply() {
            Reply::TokenCreated { token } => *token,
            other => panic!("no token: {other:?}"),
        }
    }
}

/// Jobs.
impl World {
    pub(crate) fn submit(&mut self, spec: JobSpec) -> JobId {
        let id = JobId(Uuid::from_u128(u128::from(self.number())));
        self.submit_as(ADMIN, id, [1; 32], spec);
        assert!(matches!(self.reply(), Reply::Submitted { new: true, .. }), "{:?}", self.reply());
        id
    }

    pub(crate) fn submit_as(&mut self, caller: Caller, id: JobId, digest: Digest, spec: JobSpec) {
        let request = RequestId(self.number());
        self.step(Event::Submit { request, caller, id, digest, spec: Arc::new(spec) });
    }

    pub(crate) fn cancel(&mut self, job: JobId, stage: Option<u32>, range: Option<TaskRange>) {
        self.cancel_as(ADMIN, job, stage, range);
    }

    pub(crate) fn cancel_as(
        &mut self,
        caller: Caller,
        job: JobId,
        stage: Option<u32>,
        range: Option<TaskRange>,
    ) {
        let request = RequestId(self.number());
        let target = Target { job, stage: stage.map(StageIndex), range };
        self.step(Event::Cancel { request, caller, target });
    }

    /// Retries what did not succeed of a job.
    pub(crate) fn retry(&mut self, job: JobId) {
        self.retry_as(ADMIN, Target { job, stage: None, range: None }, false);
    }

    /// Retries everything of a job.
    pub(crate) fn retry_all(&mut self, job: JobId) {
        self.retry_as(ADMIN, Target { job, stage: None, range: None }, true);
    }

    pub(crate) fn retry_as(&mut self, caller: Caller, target: Target, all: bool) {
        let request = RequestId(self.number());
        self.step(Event::Retry { request, caller, target, all });
    }

    pub(crate) fn forget_as(&mut self, caller: Caller, job: JobId) {
        let request = RequestId(self.number());
        self.step(Event::Forget { request, caller, job });
    }

    pub(crate) fn drain(&mut self, worker: WorkerId) {
        let request = RequestId(self.number());
        self.step(Event::DrainWorker { request, caller: ADMIN, worker });
    }

    pub(crate) fn resume(&mut self, worker: WorkerId) {
        let request = RequestId(self.number());
        self.step(Event::ResumeWorker { request, caller: ADMIN, worker });
    }

    pub(crate) fn stage(&self, stage: StageId) -> &Stage {
        self.core.state().stage(stage).unwrap()
    }

    pub(crate) fn counts(&self, job: JobId) -> TaskCounts {
        view::job_counts(self.core.state().job(job).unwrap(), self.core.activity())
    }

    pub(crate) fn job_state(&self, job: JobId) -> JobState {
        view::job_state(self.core.state().job(job).unwrap(), self.core.activity())
    }

    pub(crate) fn task_state(&self, stage: StageId, index: u64) -> TaskState {
        self.task(stage, index).state
    }

    pub(crate) fn task(&self, stage: StageId, index: u64) -> view::TaskView<'_> {
        let job = self.core.state().job(stage.job).unwrap();
        view::task(job, self.stage(stage), self.core.activity(), index).unwrap()
    }

    /// The indexes of the tasks in a state.
    pub(crate) fn tasks_in(&self, stage: StageId, state: TaskState) -> Vec<u64> {
        let job = self.core.state().job(stage.job).unwrap();
        let range = TaskRange::new(0, u64::MAX);
        let query = TaskQuery { range, state: Some(state), limit: 100 };
        let tasks = view::tasks(job, self.stage(stage), self.core.activity(), query);
        tasks.into_iter().map(|task| task.index).collect()
    }
}

fn is_of_leases(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::WorkerAttached { .. }
            | Fact::WorkerDetached { .. }
            | Fact::LeaseLength { .. }
            | Fact::Watermark { .. }
            | Fact::SetBack { .. }
    )
}

/// The stage of a job at a place.
pub(crate) fn nth(job: JobId, stage: u32) -> StageId {
    StageId { job, stage: StageIndex(stage) }
}

pub(crate) fn range(start: u64, end: u64) -> TaskRange {
    TaskRange::new(start, end)
}

pub(crate) fn exit(code: i32) -> Failure {
    Failure::Exit { code }
}

pub(crate) fn could_not_start() -> Failure {
    Failure::CouldNotStart { message: "not found".to_owned() }
}

/// Something that an attempt left behind.
pub(crate) fn kept(block: u32) -> Kept {
    let place = Place { segment: 1, block, offset: 0, crc: 0 };
    Kept { place, stdout_bytes: 5, stderr_bytes: 0, result_bytes: 0 }
}
