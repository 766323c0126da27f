//! People: they enrol workers, submit jobs, cancel, and ask again when they get no answer.

use std::sync::Arc;

use gridctl_core::effect::{Enrolled, Refusal, Reply};
use gridctl_core::event::{Caller, Event, RequestId, Target};
use gridctl_core::fact::{Digest, TokenId, TokenRole, UserRole};
use gridctl_core::state::LOCAL_ADMIN;
use gridctl_jobs::spec::JobSpec;

use crate::coverage::Group;
use crate::invariants::{Rule, Violation, check};
use crate::room::Room;
use crate::schedule::{JobPlan, Schedule};
use crate::time::SimMs;
use crate::world::{Happening, Life, World};

/// How long a client waits for an answer before it asks again, in leases.
const PATIENCE_LEASES: u64 = 1;
/// How long after a submission it is sent once more, although it was answered.
const AGAIN_AFTER_MS: u64 = 700;
const SECRET: Digest = [7; 32];
const TOKEN_VALID_MS: u64 = 3_600_000;
const ADMIN: Caller = Caller { user: LOCAL_ADMIN, role: UserRole::Admin };

/// Something that a person wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Operation {
    CreateToken,
    /// Of a worker.
    Enrol(usize),
    /// Of a job.
    Submit(usize),
    /// The same again, after it was answered.
    SubmitAgain(usize),
    /// Another content under the same id.
    SubmitOther(usize),
    Cancel(usize),
    Retry(usize),
    Forget(usize),
    /// Of a worker.
    Drain(usize),
    /// After it was drained.
    Resume(usize),
}

/// A request that reaches the coordinator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestArrives {
    pub(crate) operation: Operation,
    pub(crate) life: Life,
}

/// How far people have come.
#[derive(Debug)]
pub(crate) struct Clients {
    token: Option<TokenId>,
    open: Vec<Operation>,
    asked: Vec<Operation>,
}

impl Clients {
    pub(crate) fn new(schedule: &Schedule) -> Self {
        let mut open = vec![Operation::CreateToken];
        open.extend((0..schedule.machines.len()).map(Operation::Enrol));
        for (number, job) in schedule.jobs.iter().enumerate() {
            open.extend([
                Operation::Submit(number),
                Operation::SubmitAgain(number),
                Operation::SubmitOther(number),
            ]);
            if job.cancel.is_some() {
                open.push(Operation::Cancel(number));
            }
            if job.retry.is_some() {
                open.push(Operation::Retry(number));
            }
            if job.forget_at.is_some() {
                open.push(Operation::Forget(number));
            }
        }
        if let Some(drain) = schedule.drain {
            open.extend([Operation::Drain(drain.worker), Operation::Resume(drain.worker)]);
        }
        Self { token: None, open, asked: Vec::new() }
    }

    /// Says whether everyone has an answer.
    pub(crate) fn are_content(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn open(&self) -> &[Operation] {
        &self.open
    }

    /// Somebody wants again what was answered.
    pub(crate) fn reopen(&mut self, operation: Operation) {
        if !self.is_open(operation) {
            self.open.push(operation);
        }
    }

    fn is_open(&self, operation: Operation) -> bool {
        self.open.contains(&operation)
    }
}

impl World<'_> {
    pub(crate) fn begin_asking(&mut self) {
        self.agenda.put(SimMs(0), Happening::Ask(Operation::CreateToken));
        for (number, job) in self.schedule.jobs.iter().enumerate() {
            self.agenda.put(job.submit_at, Happening::Ask(Operation::Submit(number)));
            if let Some(cancel) = job.cancel {
                self.agenda.put(cancel.at, Happening::Ask(Operation::Cancel(number)));
            }
            if let Some(retry) = job.retry {
                self.agenda.put(retry.at, Happening::Ask(Operation::Retry(number)));
            }
            if let Some(at) = job.forget_at {
                self.agenda.put(at, Happening::Ask(Operation::Forget(number)));
            }
        }
        if let Some(drain) = self.schedule.drain {
            self.agenda.put(drain.at, Happening::Ask(Operation::Drain(drain.worker)));
            self.agenda.put(drain.resume_at, Happening::Ask(Operation::Resume(drain.worker)));
        }
    }

    /// Sends a request, and comes back to it in case that no answer comes.
    pub(crate) fn ask(&mut self, operation: Operation) {
        if !self.clients.is_open(operation) {
            return;
        }
        let patience_ms = PATIENCE_LEASES * self.schedule.lease_ms;
        self.agenda.put(self.now.after(patience_ms), Happening::Ask(operation));
        let waits_for = match operation {
            Operation::Cancel(number) | Operation::Retry(number) | Operation::Forget(number) => {
                Some(Operation::Submit(number))
            }
            Operation::Drain(worker) => Some(Operation::Enrol(worker)),
            Operation::Resume(worker) => Some(Operation::Drain(worker)),
            Operation::CreateToken
            | Operation::Enrol(_)
            | Operation::Submit(_)
            | Operation::SubmitAgain(_)
            | Operation::SubmitOther(_) => None,
        };
        if waits_for.is_some_and(|first| self.clients.is_open(first)) {
            return;
        }
        if self.clients.asked.contains(&operation) {
            self.coverage.hit(Group::Elsewhere, "request repeated");
        }
        self.clients.asked.push(operation);
        let times = self.times_sent();
        for _ in 0..times {
            let latency = self.latency();
            let request = RequestArrives { operation, life: self.life };
            self.agenda.put(self.now.after(latency), Happening::RequestArrives(request));
        }
    }

    /// Says how often the next request arrives: some are lost, some come twice.
    fn times_sent(&mut self) -> u32 {
        if self.requests_to_lose > 0 {
            self.requests_to_lose -= 1;
            return 0;
        }
        if self.requests_to_duplicate > 0 {
            self.requests_to_duplicate -= 1;
            return 2;
        }
        1
    }

    pub(crate) fn request_arrives(&mut self, request: RequestArrives) -> Result<(), Violation> {
        if self.coordinator.is_none() || self.life != request.life {
            return Ok(());
        }
        // Whoever is refused asks again.
        let Room::For(room) = self.room_for(request.operation)? else { return Ok(()) };
        let number = self.register_request(request.operation, room);
        match self.event_of(request.operation, number) {
            Some(event) => self.tell_scheduler(event),
            None => Ok(()),
        }
    }

    /// Sends an answer on its way; some are lost.
    pub(crate) fn send_reply(&mut self, operation: Operation, reply: Reply) {
        if self.replies_to_lose > 0 {
            self.replies_to_lose -= 1;
            return;
        }
        let latency = self.latency();
        self.agenda
            .put(self.now.after(latency), Happening::ReplyArrives(operation, Box::new(reply)));
    }

    pub(crate) fn reply_arrives(
        &mut self,
        operation: Operation,
        reply: &Reply,
    ) -> Result<(), Violation> {
        if !self.clients.is_open(operation) {
            return Ok(());
        }
        self.trace.note(("reply", operation), || format!("{operation:?} is answered {reply:?}"));
        self.check_reply(operation, reply)?;
        if matches!(reply, Reply::Refused(Refusal::NotEnded { .. })) {
            // Asked again until it has.
            return Ok(());
        }
        self.clients.open.retain(|open| *open != operation);
        match (operation, reply) {
            (Operation::CreateToken, Reply::TokenCreated { token }) => {
                self.clients.token = Some(*token);
                for worker in 0..self.workers.len() {
                    self.agenda.put(self.now, Happening::Ask(Operation::Enrol(worker)));
                }
            }
            (Operation::Enrol(index), Reply::Enrolled(Enrolled::Worker { worker, .. })) => {
                self.workers[index].identity = Some(*worker);
                self.agenda.put(self.now, Happening::StartWorker(index));
            }
            (Operation::Submit(number), _) => {
                let at = self.now.after(AGAIN_AFTER_MS);
                self.agenda.put(at, Happening::Ask(Operation::SubmitAgain(number)));
                self.agenda.put(at, Happening::Ask(Operation::SubmitOther(number)));
            }
            (
                Operation::CreateToken
                | Operation::Enrol(_)
                | Operation::SubmitAgain(_)
                | Operation::SubmitOther(_)
                | Operation::Cancel(_)
                | Operation::Retry(_)
                | Operation::Forget(_)
                | Operation::Drain(_)
                | Operation::Resume(_),
                _,
            ) => {}
        }
        Ok(())
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each kind of question")]
    fn check_reply(&self, operation: Operation, reply: &Reply) -> Result<(), Violation> {
        let job = match operation {
            Operation::SubmitAgain(number)
            | Operation::SubmitOther(number)
            | Operation::Cancel(number)
            | Operation::Retry(number)
            | Operation::Forget(number) => Some(&self.schedule.jobs[number]),
            Operation::CreateToken
            | Operation::Enrol(_)
            | Operation::Submit(_)
            | Operation::Drain(_)
            | Operation::Resume(_) => None,
        };
        if self.was_restored {
            // What was answered before may be forgotten.
            return Ok(());
        }
        let is_gone =
            matches!(reply, Reply::Refused(Refusal::Forgotten { .. } | Refusal::NoSuchJob));
        if is_gone && job.is_some_and(|job| job.forget_at.is_some()) {
            return Ok(());
        }
        let plan = |number: usize| self.schedule.jobs[number].id;
        let (fits, rule) = match operation {
            Operation::CreateToken => {
                (matches!(reply, Reply::TokenCreated { .. }), Rule::HonestPeerIsServed)
            }
            Operation::Enrol(_) => (
                matches!(reply, Reply::Enrolled(Enrolled::Worker { .. })),
                Rule::HonestPeerIsServed,
            ),
            Operation::Submit(number) => {
                let fits = matches!(reply, Reply::Submitted { id, .. } if *id == plan(number));
                (fits, Rule::HonestPeerIsServed)
            }
            Operation::SubmitAgain(number) => {
                let fits =
                    matches!(reply, Reply::Submitted { id, new: false, .. } if *id == plan(number));
                (fits, Rule::SubmissionIsIdempotent)
            }
            Operation::SubmitOther(number) => {
                let fits = matches!(reply, Reply::Refused(Refusal::OtherContent { id, .. }) if *id == plan(number));
                (fits, Rule::SubmissionIsIdempotent)
            }
            Operation::Cancel(_) => {
                let fits = matches!(
                    reply,
                    Reply::Cancelled { .. } | Reply::Refused(Refusal::AlreadyEnded { .. })
                );
                (fits, Rule::HonestPeerIsServed)
            }
            Operation::Retry(_) => {
                let fits = matches!(
                    reply,
                    Reply::Retried { .. }
                        | Reply::Refused(
                            Refusal::NothingToRetry { .. }
                                | Refusal::NothingEnded { .. }
                                | Refusal::InUse { .. }
                                | Refusal::StillSkipped { .. }
                        )
                );
                (fits, Rule::HonestPeerIsServed)
            }
            Operation::Forget(_) => {
                let fits = matches!(
                    reply,
                    Reply::Forgotten { .. } | Reply::Refused(Refusal::NotEnded { .. })
                );
                (fits, Rule::HonestPeerIsServed)
            }
            Operation::Drain(_) => {
                (matches!(reply, Reply::WorkerDraining { .. }), Rule::HonestPeerIsServed)
            }
            Operation::Resume(_) => {
                (matches!(reply, Reply::WorkerResumed { .. }), Rule::HonestPeerIsServed)
            }
        };
        check(fits, rule, || format!("{operation:?} is answered {reply:?}"))
    }

    fn event_of(&self, operation: Operation, request: RequestId) -> Option<Event> {
        let submit = |job: &JobPlan, spec: &Arc<JobSpec>, content: u8| Event::Submit {
            request,
            caller: ADMIN,
            id: job.id,
            digest: [content; 32],
            spec: Arc::clone(spec),
        };
        let jobs = &self.schedule.jobs;
        Some(match operation {
            Operation::CreateToken => Event::CreateToken {
                request,
                caller: ADMIN,
                secret_hash: SECRET,
                role: TokenRole::Worker,
                uses: None,
                valid_ms: TOKEN_VALID_MS,
            },
            Operation::Enrol(worker) => Event::Enrol {
                request,
                token: self.clients.token?,
                secret_hash: SECRET,
                key: [u8::try_from(worker).expect("a handful of workers"); 32],
                wanted_name: "worker".to_owned(),
            },
            Operation::Submit(number) | Operation::SubmitAgain(number) => {
                submit(&jobs[number], &jobs[number].spec, 1)
            }
            Operation::SubmitOther(number) => {
                let mut spec = JobSpec::clone(&jobs[number].spec);
                spec.name.push_str("-other");
                submit(&jobs[number], &Arc::new(spec), 2)
            }
            Operation::Cancel(number) => {
                let job = &jobs[number];
                let cancel = job.cancel?;
                let target = Target { job: job.id, stage: cancel.stage, range: cancel.range };
                Event::Cancel { request, caller: ADMIN, target }
            }
            Operation::Retry(number) => {
                let job = &jobs[number];
                let retry = job.retry?;
                let target = Target { job: job.id, stage: retry.stage, range: retry.range };
                Event::Retry { request, caller: ADMIN, target, all: retry.all }
            }
            Operation::Forget(number) => {
                Event::Forget { request, caller: ADMIN, job: jobs[number].id }
            }
            Operation::Drain(worker) => {
                let worker = self.workers[worker].identity?;
                Event::DrainWorker { request, caller: ADMIN, worker }
            }
            Operation::Resume(worker) => {
                let worker = self.workers[worker].identity?;
                Event::ResumeWorker { request, caller: ADMIN, worker }
            }
        })
    }
}
