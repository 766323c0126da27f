//! The scheduler: decides what runs where, and what becomes of what ran.
//!
//! [`Scheduler::step`] is the only door: an event in, facts and effects out. What is durable is changed only
//! by [`State::apply`] of a fact; what readers see besides, only by [`Activity::apply`] of a change. The
//! rest of the fields are queues and indexes that a restart forgets.
//!
//! Deliberately absent: clocks, input and output, and knowledge of when a fact is durable: every effect names
//! the fact that it waits for.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{Epoch, StageId, Token, WorkerId};
use gridctl_jobs::planted::{Bug, is_on};

use self::bars::Bars;
use self::dirty::Dirty;
use self::fleet::Fleet;
use self::forget::Retention;
use self::queue::{Queue, Rank};
use self::runnable::Runnable;
use self::window::Window;
use crate::activity::{Activity, Change};
use crate::effect::{CloseReason, Effect, Effects, FactIndex, Reply, ToWorker};
use crate::event::{Event, MonoMs, Now, RequestId, SessionId};
use crate::fact::Fact;
use crate::state::State;

mod admission;
mod adopt;
mod alone;
mod bars;
mod cancel;
mod dirty;
mod drain;
mod early;
mod enrol;
mod fleet;
mod forget;
mod grant;
mod invariants;
pub mod limits;
mod losses;
mod needs;
mod placement;
mod presence;
mod queue;
mod reopen;
mod report;
mod retry;
mod runnable;
mod split;
mod take_back;
mod window;

/// What a scheduler is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a worker's lease lasts, in milliseconds; also the window after a restart.
    pub lease_ms: u64,
    /// Of the jitter of retries.
    pub seed: u64,
    /// Jobs that may be open at once.
    pub open_jobs_max: usize,
    /// How long jobs are kept after their end, in milliseconds; for ever where `None`.
    pub keep_ended_ms: Option<u64>,
}

/// The pure state machine behind a coordinator.
#[derive(Debug)]
pub struct Scheduler {
    config: Config,
    state: State,
    activity: Activity,
    /// The last token given out.
    token: Token,
    stages: BTreeMap<StageId, Runnable>,
    queue: Queue,
    /// Stages with tasks that wait to run alone on a worker.
    suspects: BTreeSet<Rank>,
    /// The worker that is kept for them.
    kept_for_suspects: Option<WorkerId>,
    fleet: Fleet,
    bars: Bars,
    window: Window,
    /// When the first failed task of a stage is due.
    timers: BTreeSet<(MonoMs, StageId)>,
    dirty: Dirty,
    retention: Retention,
}

/// What one step works with.
struct Step<'a> {
    now: Now,
    out: &'a mut Effects,
}

impl Config {
    /// Makes a configuration with the usual limits.
    pub const fn new(lease_ms: u64, seed: u64) -> Self {
        Self { lease_ms, seed, open_jobs_max: limits::OPEN_JOBS_MAX, keep_ended_ms: None }
    }
}

impl Scheduler {
    /// Makes a scheduler over a recovered state. Its first event is [`Event::Start`].
    pub fn new(config: Config, state: State) -> Self {
        Self {
            retention: Retention::new(config.keep_ended_ms),
            config,
            state,
            activity: Activity::default(),
            token: Token::default(),
            stages: BTreeMap::new(),
            queue: Queue::default(),
            suspects: BTreeSet::new(),
            kept_for_suspects: None,
            fleet: Fleet::default(),
            bars: Bars::default(),
            window: Window::default(),
            timers: BTreeSet::new(),
            dirty: Dirty::default(),
        }
    }

    /// Takes an event in; appends to `effects` what follows from it.
    ///
    /// # Panics
    /// Where one of our own invariants is broken, or the first event is not [`Event::Start`]; never because
    /// of what a peer sent.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Effects) {
        let cx = &mut Step { now, out: effects };
        self.on_due(cx);
        match event {
            Event::Start { restored } => self.on_start(cx, restored),
            Event::Submit { request, caller, id, digest, spec } => {
                self.on_submit(cx, request, caller, id, digest, spec);
            }
            Event::Cancel { request, caller, target } => {
                self.on_cancel(cx, request, caller, target)
            }
            Event::Retry { request, caller, target, all } => {
                self.on_retry(cx, request, caller, target, all);
            }
            Event::Forget { request, caller, job } => self.on_forget(cx, request, caller, job),
            Event::DrainWorker { request, caller, worker } => {
                self.on_drain_worker(cx, request, caller, worker);
            }
            Event::ResumeWorker { request, caller, worker } => {
                self.on_resume_worker(cx, request, caller, worker);
            }
            Event::CreateToken { request, caller, secret_hash, role, uses, valid_ms } => {
                self.on_create_token(
                    cx,
                    request,
                    caller,
                    enrol::NewToken { secret_hash, role, uses, valid_ms },
                );
            }
            Event::RevokeToken { request, caller, token } => {
                self.on_revoke_token(cx, request, caller, token);
            }
            Event::Enrol { request, token, secret_hash, key, wanted_name } => {
                self.on_enrol(
                    cx,
                    request,
                    enrol::Applicant { token, secret_hash, key, wanted_name },
                );
            }
            Event::WorkerHello { session, worker, hello } => {
                self.on_hello(cx, session, worker, &hello)
            }
            Event::Started { session, tasks } => self.on_started(cx, session, &tasks),
            Event::Report { session, report } => self.on_report(cx, session, report),
            Event::GivenBack { session, token, stage, ranges } => {
                self.on_given_back(cx, session, token, stage, &ranges);
            }
            Event::Goodbye { session } => self.on_goodbye(cx, session),
            Event::Disconnected { session } => self.on_disconnected(session),
            Event::LeaseExpired { session } => self.on_lease_expired(cx, session),
            Event::Tick => {}
            Event::Silent { session } => self.on_silent(session),
            Event::Heard { session } => self.on_heard(session),
        }
        self.settle_jobs(cx);
        self.dispatch(cx);
        self.show_workers(cx);
    }

    /// Returns when the next [`Event::Tick`] is wanted.
    pub fn next_deadline(&self) -> Option<MonoMs> {
        let retry = self.timers.first().map(|(at, _)| *at);
        [
            self.activity.window_until,
            retry,
            self.retention.next,
            self.bars.next(),
            self.lease_shortens(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Returns the durable state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Returns the volatile state that readers see.
    pub const fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Returns the epoch of this life.
    pub const fn epoch(&self) -> Epoch {
        self.token.epoch
    }
}

/// The ways out.
impl Scheduler {
    fn record(&mut self, cx: &mut Step<'_>, fact: Fact) {
        self.state.apply(&fact);
        cx.out.facts.push((self.state.applied(), fact));
    }

    fn effect(&self, cx: &mut Step<'_>, effect: Effect) {
        let applied = self.state.applied();
        let after = if is_on(Bug::WaitsForFactBefore) {
            FactIndex(applied.0.saturating_sub(1))
        } else {
            applied
        };
        cx.out.effects.push((after, effect));
    }

    fn reply(&self, cx: &mut Step<'_>, request: RequestId, reply: Reply) {
        self.effect(cx, Effect::Reply { request, reply });
    }

    fn close(&self, cx: &mut Step<'_>, session: SessionId, why: CloseReason) {
        self.effect(cx, Effect::Close { session, why });
    }

    /// Sends to a worker that is connected; one that is not gets its answers with its next Hello.
    fn send(&self, cx: &mut Step<'_>, worker: WorkerId, message: ToWorker) {
        if let Some(machine) = self.fleet.connected(worker) {
            self.effect(cx, Effect::Send { session: machine.session, message });
        }
    }

    fn show(&mut self, cx: &mut Step<'_>, change: Change) {
        self.activity.apply(&change);
        self.effect(cx, Effect::Show(change));
    }

    /// Gives out a token above all before it.
    fn next_token(&mut self) -> Token {
        assert!(self.token.epoch > Epoch(0), "the first event of a scheduler is Start");
        self.token.counter += 1;
        self.token
    }
}
