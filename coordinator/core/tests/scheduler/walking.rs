//! Random walks: imagined workers that run, lose, repeat and forget things, with the checks of [`World`]
//! after every step. (The simulator does the same with the real agent, journal and network; this finds
//! mistakes of the scheduler in seconds.)

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use gridctl_core::effect::{Effect, ToWorker, Verdict};
use gridctl_core::event::{Event, Held, Outcome, Phase, Report, ReportItem, Target};
use gridctl_core::fact::{Fact, Span};
use gridctl_jobs::id::{JobId, StageId, StageIndex, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::units::Cpus;

use crate::specs::{cpus, job, needs, priority, retries, stage};
use crate::world::{ADMIN, LEASE_MS, World, could_not_start, exit};

const SEEDS: u64 = 60;
const STEPS: u64 = 400;

/// A worker as it sees itself: what it holds, task by task, and what it said that may come again.
#[derive(Default)]
struct Imagined {
    held: BTreeMap<(StageId, u64), Held>,
    connected: bool,
}

struct Walk {
    world: World,
    rng: Rng,
    workers: BTreeMap<WorkerId, Imagined>,
    jobs: Vec<JobId>,
    /// Reports that may be repeated, by whom.
    said: Vec<(WorkerId, ReportItem)>,
    committed: BTreeSet<(StageId, u64)>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut walk = Self {
            world: World::new(),
            rng: Rng::with_seed(seed),
            workers: BTreeMap::new(),
            jobs: Vec::new(),
            said: Vec::new(),
            committed: BTreeSet::new(),
        };
        for _ in 0..3 {
            let worker = walk.world.enrolled();
            walk.workers.insert(worker, Imagined::default());
        }
        walk
    }

    /// Takes in what the last step said.
    fn hear(&mut self) {
        // Taken, since not every act is a step.
        for fact in std::mem::take(&mut self.world.facts) {
            if let Fact::TasksReopened { stage, range, done_too: true, .. } = &fact {
                let inside = |(its, index): &(StageId, u64)| its == stage && range.contains(*index);
                let known = self.world.core.state().stage(*stage);
                self.committed.retain(|task| {
                    !inside(task) || known.is_some_and(|stage| !stage.is_open(task.1))
                });
            }
            let (stage, range) = match fact {
                Fact::RangeDone(done) => (done.stage, done.range),
                Fact::TaskDone(done) => (done.stage, TaskRange::one(u64::from(done.index))),
                _ => continue,
            };
            for index in range.start..range.end {
                assert!(self.committed.insert((stage, index)), "{stage:?} {index} committed twice");
            }
        }
        for effect in std::mem::take(&mut self.world.effects) {
            match effect {
                Effect::Send { session, message } => {
                    let worker = self.world.worker_at(session);
                    self.told(worker, message);
                }
                Effect::Close { session, .. } => {
                    let worker = self.world.worker_at(session);
                    if let Some(known) = self.workers.get_mut(&worker) {
                        known.connected = false;
                    }
                }
                _ => {}
            }
        }
    }

    fn told(&mut self, worker: WorkerId, message: ToWorker) {
        let Some(known) = self.workers.get_mut(&worker) else { return };
        match message {
            ToWorker::Assign { grant } => {
                for index in grant.range.start..grant.range.end {
                    let held = Held {
                        token: grant.token,
                        stage: grant.stage,
                        range: TaskRange::one(index),
                        attempt: grant.attempt,
                        phase: Phase::Queued,
                    };
                    known.held.insert((grant.stage, index), held);
                }
            }
            ToWorker::Stop { token, stage, range } => {
                known.held.retain(|(its, index), held| {
                    *its != stage || !range.contains(*index) || held.token != token
                });
            }
            ToWorker::Welcome { answers, .. } => {
                for answer in answers.iter().filter(|answer| answer.verdict != Verdict::Adopt) {
                    known.held.retain(|(its, index), held| {
                        *its != answer.stage
                            || !answer.range.contains(*index)
                            || held.token != answer.token
                    });
                }
            }
            _ => {}
        }
    }

    fn act(&mut self) {
        match self.rng.u32(0..20) {
            0 if self.jobs.len() < 6 => self.submit(),
            0 | 1 if self.rng.bool() => self.cancel(),
            0 => self.retry(),
            1 => self.drain_or_forget(),
            2..=4 => self.hello(),
            5 => self.lose(),
            6 if self.rng.u32(0..6) == 0 => self.restart(),
            6 | 7 => {
                let ms = self.rng.u64(0..3_000);
                self.world.pass(ms);
            }
            8 => self.give_back(),
            9 => self.repeat(),
            10 => self.begin(),
            _ => self.finish(),
        }
        self.hear();
    }

    fn submit(&mut self) {
        let wide = Cpus::from_ten_thousandths(self.rng.u64(1..30_000));
        let (a, b) = (self.rng.u64(0..40), self.rng.u64(0..10));
        let spec = job([
            retries(self.rng.u32(0..3), stage("a", a)),
            needs([0], cpus(wide, stage("b", b))),
            retries(1, stage("c", 5)),
        ]);
        let spec = priority(self.rng.i32(-1..=1), spec);
        let id = self.world.submit(spec);
        self.jobs.push(id);
    }

    fn cancel(&mut self) {
        let Some(job) = self.rng.choice(self.jobs.clone()) else { return };
        let whole = self.rng.u32(0..4) == 0;
        let start = self.rng.u64(0..10);
        let range = TaskRange::new(start, start + self.rng.u64(1..10));
        let stage = (!whole).then(|| self.rng.u32(0..3));
        self.world.cancel(job, stage, (!whole).then_some(range));
    }

    fn retry(&mut self) {
        let Some(job) = self.rng.choice(self.jobs.clone()) else { return };
        let (stage, all) = (self.rng.bool().then(|| self.rng.u32(0..3)), self.rng.bool());
        let start = self.rng.u64(0..10);
        let some = stage.is_some() && self.rng.bool();
        let range = some.then(|| TaskRange::new(start, start + self.rng.u64(1..10)));
        self.world.retry_as(ADMIN, Target { job, stage: stage.map(StageIndex), range }, all);
    }

    fn drain_or_forget(&mut self) {
        let worker = self.rng.choice(self.workers.keys().copied().collect::<Vec<_>>());
        let job = self.rng.choice(self.jobs.clone());
        match (self.rng.u32(0..4), worker, job) {
            (0, Some(worker), _) => self.world.drain(worker),
            (1, Some(worker), _) => self.world.resume(worker),
            (2, _, Some(job)) => {
                self.world.forget_as(ADMIN, job);
                if self.world.core.state().job(job).is_none() {
                    self.jobs.retain(|known| *known != job);
                }
            }
            _ => {}
        }
    }

    fn a_worker(&mut self, connected: bool) -> Option<WorkerId> {
        let known = self.workers.iter().filter(|(_, known)| known.connected == connected);
        let known: Vec<WorkerId> = known.map(|(worker, _)| *worker).collect();
        self.rng.choice(known)
    }

    fn hello(&mut self) {
        let connected = self.rng.u32(0..4) == 0;
        let Some(worker) = self.a_worker(connected) else { return };
        self.hello_of(worker);
    }

    fn hello_of(&mut self, worker: WorkerId) {
        let known = self.workers.get_mut(&worker).unwrap();
        known.connected = true;
        if self.rng.u32(0..10) == 0 {
            known.held.clear();
        }
        let held = known.held.values().copied().collect();
        self.world.hello(worker, Cpus::whole(3), held);
    }

    fn lose(&mut self) {
        let Some(worker) = self.a_worker(true) else { return };
        self.workers.get_mut(&worker).unwrap().connected = false;
        match self.rng.u32(0..4) {
            0 => self.world.expire(worker),
            1 => {
                self.workers.get_mut(&worker).unwrap().held.clear();
                let session = self.world.session(worker);
                self.world.step(Event::Goodbye { session });
            }
            _ => {
                self.world.disconnect(worker);
                self.hear();
                if self.rng.bool() {
                    self.world.expire(worker);
                }
            }
        }
    }

    fn restart(&mut self) {
        for known in self.workers.values_mut() {
            known.connected = false;
        }
        self.world.now.wall.0 -= self.rng.u64(0..1_000);
        self.world.restart();
    }

    fn one_held(&mut self, worker: WorkerId) -> Option<Held> {
        let held: Vec<Held> = self.workers[&worker].held.values().copied().collect();
        self.rng.choice(held)
    }

    fn begin(&mut self) {
        let Some(worker) = self.a_worker(true) else { return };
        let Some(held) = self.one_held(worker) else { return };
        let known = self.workers.get_mut(&worker).unwrap();
        known.held.get_mut(&(held.stage, held.range.start)).unwrap().phase = Phase::Running;
        let session = self.world.session(worker);
        self.world
            .step(Event::Started { session, tasks: vec![(held.token, held.stage, held.range)] });
    }

    fn give_back(&mut self) {
        let Some(worker) = self.a_worker(true) else { return };
        let Some(held) = self.one_held(worker).filter(|held| held.phase == Phase::Queued) else {
            return;
        };
        self.workers.get_mut(&worker).unwrap().held.remove(&(held.stage, held.range.start));
        let (session, token, stage) = (self.world.session(worker), held.token, held.stage);
        self.world.step(Event::GivenBack { session, token, stage, ranges: vec![held.range] });
    }

    fn finish(&mut self) {
        let Some(worker) = self.a_worker(true) else { return };
        let Some(held) = self.one_held(worker) else { return };
        let outcome = match self.rng.u32(0..8) {
            0 => Outcome::Failed { failure: exit(1), kept: None },
            1 => Outcome::Failed { failure: could_not_start(), kept: None },
            _ => Outcome::Done { kept: None },
        };
        self.finish_as(worker, held, outcome);
    }

    fn finish_as(&mut self, worker: WorkerId, held: Held, outcome: Outcome) {
        let item = ReportItem {
            token: held.token,
            stage: held.stage,
            range: held.range,
            attempt: held.attempt,
            span: Span { started: self.world.now.wall, ended: self.world.now.wall },
            busy_us: self.rng.u64(0..200_000),
            outcome,
        };
        self.workers.get_mut(&worker).unwrap().held.remove(&(held.stage, held.range.start));
        self.said.push((worker, item.clone()));
        self.report(worker, item);
    }

    fn repeat(&mut self) {
        let Some((worker, item)) = self.rng.choice(self.said.clone()) else { return };
        if self.workers[&worker].connected {
            self.report(worker, item);
        }
    }

    fn report(&mut self, worker: WorkerId, item: ReportItem) {
        let (sequence, session) = (self.world.number(), self.world.session(worker));
        self.world.step(Event::Report { session, report: Report { sequence, items: vec![item] } });
    }

    /// The faults stop: everyone comes back and finishes what it holds.
    fn settle(&mut self) {
        for worker in self.workers.keys().copied().collect::<Vec<_>>() {
            self.world.resume(worker);
            self.hear();
            self.hello_of(worker);
            self.hear();
        }
        for _ in 0..2_000 {
            if self.world.core.state().open_job_count() == 0 {
                return;
            }
            self.world.pass(LEASE_MS);
            self.hear();
            for worker in self.workers.keys().copied().collect::<Vec<_>>() {
                if let Some(held) = self.one_held(worker) {
                    self.finish_as(worker, held, Outcome::Done { kept: None });
                    self.hear();
                }
            }
        }
        let open: Vec<_> = self.jobs.iter().map(|job| self.world.counts(*job)).collect();
        panic!("jobs did not end: {open:?}");
    }
}

#[test]
fn whatever_happens_all_jobs_end_once_the_faults_stop() {
    for seed in 0..SEEDS {
        let walked = std::panic::catch_unwind(|| {
            let mut walk = Walk::new(seed);
            for _ in 0..STEPS {
                walk.act();
            }
            walk.settle();
        });
        assert!(walked.is_ok(), "seed {seed}: see the panic above");
    }
}
