//! What a seed draws: machines, jobs, how their tasks behave, and what goes wrong when.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use gridctl_jobs::budget::{Backoff, Budget};
use gridctl_jobs::id::{JobId, StageId, StageIndex};
use gridctl_jobs::limits::WORKER_LOSSES_MAX;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{
    ItemList, Items, JobSpec, Keep, Numbers, OnLostLease, Run, StageSpec, Stdin, TaskTemplate,
};
use gridctl_jobs::template::Template;
use gridctl_jobs::units::Cpus;
use uuid::Uuid;

use crate::faults::{Fault, add_double_runs, draw_faults};
use crate::time::{MonoClock, SimMs};

/// Tasks of all jobs together, at least.
pub(crate) const TASKS_MIN: u64 = 100;
/// Workers and jobs of a schedule, at least.
const WORKERS_MIN: usize = 3;
const JOBS_MIN: usize = 2;
/// Faults of a schedule, at least.
pub(crate) const FAULTS_MIN: usize = 3;

/// The priority of a job that nothing else may keep waiting.
const FIRST: i32 = 100;

/// How soon somebody retries what was cancelled, in half of the cases.
const SOON_MS: u64 = 200;
/// Clocks go at most so much too fast or too slow, in thousandths: what the contract assumes.
const RATE_MAX: i64 = 50;
/// Wall clocks are off by as much, in either direction.
pub(crate) const WALL_SKEW_MS: i64 = 90_000;

/// Everything that a seed decides before the first event.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// At least three.
    pub(crate) machines: Vec<Machine>,
    /// At least two, with [`TASKS_MIN`] tasks together, one stage of which needs another.
    pub(crate) jobs: Vec<JobPlan>,
    pub(crate) drain: Option<DrainPlan>,
    /// In order of time; at least [`FAULTS_MIN`].
    pub(crate) faults: Vec<(SimMs, Fault)>,
    /// From when on nothing goes wrong any more.
    pub(crate) calm_at: SimMs,
    pub(crate) lease_ms: u64,
    /// The longest that a message or a sync takes when nothing is wrong.
    pub(crate) latency_ms_max: u64,
    pub(crate) sync_ms_max: u64,
    pub(crate) journal_segment_bytes: u64,
}

/// A worker's machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) cpus: u32,
    pub(crate) clock: MonoClock,
    /// How far its wall clock is ahead.
    pub(crate) wall_ahead_ms: i64,
    /// Whether it can end whole process trees.
    pub(crate) ends_trees: bool,
}

/// A job, when it is submitted, and how its tasks behave.
#[derive(Clone, Debug)]
pub(crate) struct JobPlan {
    pub(crate) id: JobId,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) behaviours: Vec<Behaviour>,
    pub(crate) submit_at: SimMs,
    pub(crate) cancel: Option<CancelPlan>,
    pub(crate) retry: Option<RetryPlan>,
    /// From when on somebody wants it to be gone.
    pub(crate) forget_at: Option<SimMs>,
}

/// When what has ended of a job is run again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPlan {
    pub(crate) at: SimMs,
    pub(crate) stage: Option<StageIndex>,
    pub(crate) range: Option<TaskRange>,
    /// What is done too.
    pub(crate) all: bool,
}

/// When a worker gets nothing new.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainPlan {
    pub(crate) worker: usize,
    pub(crate) at: SimMs,
    pub(crate) resume_at: SimMs,
}

/// When something of a job is cancelled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelPlan {
    pub(crate) at: SimMs,
    pub(crate) stage: Option<StageIndex>,
    pub(crate) range: Option<TaskRange>,
}

/// How the tasks of a stage behave; the same wherever they run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    pub(crate) pace: Pace,
    /// Every so many tasks fail at first...
    pub(crate) flaky_every: Option<u64>,
    /// ...so many times, wherever they run, which is no more than the stage's retries. (Not by the attempt's
    /// number: that may repeat after a crash of the coordinator, and each of the two is charged.)
    pub(crate) flaky_attempts: u32,
    /// Fails always.
    pub(crate) broken: Option<u64>,
    /// The program is not there on this machine.
    pub(crate) missing_on: Option<usize>,
    pub(crate) output: OutputPlan,
    /// It must not outlive the lease.
    pub(crate) stops: bool,
}

/// How long a task runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// Far below a millisecond: whole slices end at once.
    Instant,
    /// This long, in milliseconds, more or less.
    About(u64),
    /// Far below a millisecond, but every so many tasks one takes as long: slices turn out long.
    Uneven { every: u64, ms: u64 },
}

/// What a task leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OutputPlan {
    Nothing,
    /// Every so many tasks print a few bytes.
    Every(u64),
    /// As above, and the first one so much that it travels on a stream of its own.
    OneLarge(u64),
}

impl Schedule {
    /// Draws the schedule of a seed.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut machines: Vec<Machine> =
            (0..rng.usize(WORKERS_MIN..=5)).map(|_| draw_machine(&mut rng)).collect();
        let widest = machines.iter().map(|machine| machine.cpus).max().unwrap_or(1);
        // What is narrower than others may be unable to run what stops.
        for machine in machines.iter_mut().filter(|machine| machine.cpus < widest) {
            machine.ends_trees = rng.u8(0..4) > 0;
        }
        let lease_ms = rng.u64(4..=20) * 250;
        let mut jobs: Vec<JobPlan> = (0..rng.usize(JOBS_MIN..=3))
            .map(|number| draw_job(&mut rng, seed, number, widest, machines.len()))
            .collect();
        let drawn = if rng.u8(0..4) == 0 { Drawn::DoubleRuns } else { Drawn::Anything };
        if drawn == Drawn::DoubleRuns {
            jobs[0].lengthen(&mut rng, lease_ms, &machines);
        }
        let tasks = |jobs: &[JobPlan]| jobs.iter().flat_map(JobPlan::stage_counts).sum::<u64>();
        while tasks(&jobs) < TASKS_MIN {
            let number = jobs.len();
            jobs.push(draw_job(&mut rng, seed, number, widest, machines.len()));
        }
        let active_ms = estimate_ms(&jobs, &machines).clamp(1_500, 30_000);
        for job in &mut jobs {
            job.submit_at = SimMs(rng.u64(0..active_ms / 3));
            job.cancel = draw_cancel(&mut rng, job, active_ms);
            job.retry = draw_retry(&mut rng, job, active_ms);
            let forgotten = rng.u8(0..6) == 0;
            job.forget_at = forgotten.then(|| job.submit_at.after(rng.u64(0..2 * active_ms)));
        }
        let mut faults = draw_faults(&mut rng, active_ms, lease_ms, machines.len());
        if drawn == Drawn::DoubleRuns {
            add_double_runs(&mut rng, &mut faults, jobs[0].submit_at, lease_ms, machines.len());
        }
        let drain = (rng.u8(0..4) == 0).then(|| {
            let at = SimMs(rng.u64(0..active_ms));
            let resume_at = at.after(rng.u64(0..active_ms));
            DrainPlan { worker: rng.usize(0..machines.len()), at, resume_at }
        });
        let calm_at = faults.last().map_or(SimMs(0), |(at, _)| *at).after(1);
        Self {
            machines,
            jobs,
            drain,
            faults,
            calm_at,
            lease_ms,
            latency_ms_max: rng.u64(1..=30),
            sync_ms_max: rng.u64(1..=12),
            journal_segment_bytes: rng.u64(4..=32) << 10,
        }
    }

    /// Says whether it is large enough to count; whether its faults hit is seen when it runs.
    pub(crate) fn counts(&self) -> bool {
        let tasks: u64 = self.jobs.iter().flat_map(JobPlan::stage_counts).sum();
        let mut stages = self.jobs.iter().flat_map(|job| &job.spec.stages);
        self.machines.len() >= WORKERS_MIN
            && self.jobs.len() >= JOBS_MIN
            && tasks >= TASKS_MIN
            && stages.any(|stage| !stage.needs.is_empty())
            && self.faults.len() >= FAULTS_MIN
    }

    pub(crate) fn behaviour(&self, stage: StageId) -> Option<&Behaviour> {
        let job = self.jobs.iter().find(|job| job.id == stage.job)?;
        job.behaviours.get(stage.stage.0 as usize)
    }
}

impl Pace {
    /// Returns about how long a task runs, in milliseconds.
    pub(crate) const fn task_ms(self, index: u64) -> u64 {
        match self {
            Self::Instant => 0,
            Self::About(ms) => ms,
            Self::Uneven { every, ms } => {
                if index % every == every - 1 {
                    ms
                } else {
                    0
                }
            }
        }
    }
}

/// What a schedule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drawn {
    Anything,
    /// Tasks outlive leases, and a coordinator that forgets who was given what comes in between.
    DoubleRuns,
}

impl JobPlan {
    /// Lets the tasks of the first stage outlive some leases, and leaves cpus for running them twice.
    fn lengthen(&mut self, rng: &mut Rng, lease_ms: u64, machines: &[Machine]) {
        self.behaviours[0].pace = Pace::About(lease_ms * rng.u64(20..30) / 10);
        self.behaviours[0].missing_on = None;
        let cpus: u64 = machines.iter().map(|machine| u64::from(machine.cpus)).sum();
        let mut spec = JobSpec::clone(&self.spec);
        spec.priority = FIRST;
        spec.stages[0].items =
            Items::Numbers(Numbers { first: 0, step: 1, numbers: cpus / 2 + 1, chunk: None });
        spec.stages[0].task = Arc::new(template(Cpus::ONE, self.behaviours[0].stops));
        self.spec = Arc::new(spec);
    }

    pub(crate) fn stage_counts(&self) -> impl Iterator<Item = u64> {
        self.spec.stages.iter().map(|stage| stage.items.count())
    }
}

fn draw_machine(rng: &mut Rng) -> Machine {
    Machine {
        cpus: rng.u32(1..=4),
        clock: draw_clock(rng),
        wall_ahead_ms: rng.i64(-WALL_SKEW_MS..WALL_SKEW_MS),
        ends_trees: true,
    }
}

/// Draws a clock: half of them go at the right rate, a fifth at the worst.
pub(crate) fn draw_clock(rng: &mut Rng) -> MonoClock {
    let rate = match rng.u8(0..10) {
        0..5 => 0,
        5 => -RATE_MAX,
        6 => RATE_MAX,
        _ => rng.i64(-RATE_MAX..=RATE_MAX),
    };
    MonoClock { start_ms: rng.u64(1_000..10_000_000), rate }
}

fn draw_job(rng: &mut Rng, seed: u64, number: usize, widest: u32, machines: usize) -> JobPlan {
    let mut stages = Vec::new();
    let mut behaviours = Vec::new();
    // The first job always has a dependency.
    let count = if number == 0 { rng.usize(2..=4) } else { rng.usize(1..=3) };
    for index in 0..count {
        let mut behaviour = draw_behaviour(rng, machines);
        if behaviour.stops {
            // It has few machines anyway.
            behaviour.missing_on = None;
        }
        let mut needs: Vec<StageIndex> = Vec::new();
        for before in 0..index {
            if rng.u8(0..3) == 0 || (number == 0 && before + 1 == index) {
                needs.push(StageIndex(u32::try_from(before).expect("a handful of stages")));
            }
        }
        stages.push(StageSpec {
            name: format!("stage{index}"),
            items: draw_items(rng, behaviour.pace),
            needs,
            budget: draw_budget(rng, behaviour.flaky_attempts),
            task: Arc::new(template(draw_cpus(rng, widest), behaviour.stops)),
        });
        behaviours.push(behaviour);
    }
    // Version and variant of a UUIDv7, the rest from the seed.
    let id = JobId(Uuid::from_u64_pair(
        seed << 16 | 0x7000 | number as u64,
        (2 << 62) | rng.u64(..) >> 2,
    ));
    let spec = JobSpec { name: format!("job{number}"), priority: rng.i32(-1..=1), stages };
    JobPlan {
        id,
        spec: Arc::new(spec),
        behaviours,
        submit_at: SimMs(0),
        cancel: None,
        retry: None,
        forget_at: None,
    }
}

/// Draws what the tasks of a stage may cost; enough for those that fail so many times at first.
fn draw_budget(rng: &mut Rng, flaky_attempts: u32) -> Budget {
    let usual = Budget::default();
    let first_ms = rng.u64(1..1_500);
    let backoff = Backoff { first_ms, longest_ms: first_ms + rng.u64(0..3_000) };
    Budget {
        retries: flaky_attempts + rng.u32(0..2),
        backoff: if rng.bool() { usual.backoff } else { backoff },
        retry_on: usual.retry_on,
        worker_losses: if rng.bool() { WORKER_LOSSES_MAX } else { rng.u32(1..=3) },
        max_failures: (rng.u8(0..5) == 0).then(|| rng.u64(1..=3)),
    }
}

fn draw_behaviour(rng: &mut Rng, machines: usize) -> Behaviour {
    let pace = match rng.u8(0..8) {
        0 => Pace::Instant,
        1 => Pace::Uneven { every: rng.u64(30..120), ms: rng.u64(50..1_500) },
        2 | 3 => Pace::About(rng.u64(1..5)),
        4..7 => Pace::About(rng.u64(20..400)),
        _ => Pace::About(rng.u64(800..4_000)),
    };
    let one_in = |rng: &mut Rng, n: u8| rng.u8(0..n) == 0;
    Behaviour {
        pace,
        flaky_every: if one_in(rng, 2) { Some(rng.u64(3..20)) } else { None },
        flaky_attempts: rng.u32(1..=2),
        broken: if one_in(rng, 8) { Some(rng.u64(0..30)) } else { None },
        stops: one_in(rng, 4),
        missing_on: if one_in(rng, 8) { Some(rng.usize(0..machines)) } else { None },
        output: match rng.u8(0..8) {
            0..4 => OutputPlan::Nothing,
            4..7 => OutputPlan::Every(rng.u64(1..6)),
            _ => OutputPlan::OneLarge(rng.u64(1..6)),
        },
    }
}

fn draw_items(rng: &mut Rng, pace: Pace) -> Items {
    let count = match pace {
        Pace::Instant | Pace::Uneven { .. } => rng.u64(20..180),
        Pace::About(ms) if ms < 10 => rng.u64(20..90),
        Pace::About(ms) if ms < 500 => rng.u64(5..35),
        Pace::About(_) => rng.u64(1..12),
    };
    if rng.u8(0..4) == 0 {
        let texts: Vec<String> = (0..count).map(|n| format!("item {n}")).collect();
        return Items::Texts(Arc::new(texts.iter().map(String::as_str).collect::<ItemList>()));
    }
    Items::Numbers(Numbers { first: 0, step: 1, numbers: count, chunk: None })
}

fn draw_cpus(rng: &mut Rng, widest: u32) -> Cpus {
    match rng.u8(0..6) {
        0 => Cpus::from_ten_thousandths(5_000),
        1 => Cpus::whole(rng.u32(1..=widest)),
        _ => Cpus::ONE,
    }
}

fn template(cpus: Cpus, stops: bool) -> TaskTemplate {
    TaskTemplate {
        run: Run::Command { argv: vec![Template::literal("simulated")] },
        env: BTreeMap::new(),
        stdin: Stdin::Empty,
        cwd: None,
        cpus,
        timeout: None,
        stdout: Keep::Keep,
        stderr: Keep::Keep,
        on_lost_lease: if stops { OnLostLease::Stop } else { OnLostLease::Finish },
    }
}

fn draw_cancel(rng: &mut Rng, job: &JobPlan, active_ms: u64) -> Option<CancelPlan> {
    if rng.u8(0..5) != 0 {
        return None;
    }
    let at = job.submit_at.after(rng.u64(0..active_ms));
    let (stage, range) = draw_part(rng, job);
    Some(CancelPlan { at, stage, range })
}

fn draw_retry(rng: &mut Rng, job: &JobPlan, active_ms: u64) -> Option<RetryPlan> {
    // Who cancels thinks better of it more often.
    if rng.u8(0..if job.cancel.is_some() { 2 } else { 5 }) != 0 {
        return None;
    }
    let at = match job.cancel {
        // What runs has hardly heard of it.
        Some(cancel) if rng.bool() => cancel.at.after(rng.u64(0..SOON_MS)),
        Some(_) | None => job.submit_at.after(rng.u64(0..2 * active_ms)),
    };
    let (stage, range) = match job.cancel {
        Some(cancel) if rng.bool() => (cancel.stage, cancel.range),
        Some(_) | None => draw_part(rng, job),
    };
    Some(RetryPlan { at, stage, range, all: rng.u8(0..3) == 0 })
}

/// Draws a job, a stage of it, or tasks of a stage.
fn draw_part(rng: &mut Rng, job: &JobPlan) -> (Option<StageIndex>, Option<TaskRange>) {
    let stage = rng.usize(0..job.spec.stages.len());
    let count = job.spec.stages[stage].items.count();
    let start = rng.u64(0..count);
    let range = TaskRange::new(start, rng.u64(start + 1..=count));
    let index = StageIndex(u32::try_from(stage).expect("a handful of stages"));
    match rng.u8(0..3) {
        0 => (None, None),
        1 => (Some(index), None),
        _ => (Some(index), Some(range)),
    }
}

/// Returns about how long the jobs run on these machines when nothing goes wrong.
fn estimate_ms(jobs: &[JobPlan], machines: &[Machine]) -> u64 {
    let cpus: u64 = machines.iter().map(|machine| u64::from(machine.cpus)).sum();
    let stages = jobs.iter().flat_map(|job| job.stage_counts().zip(&job.behaviours));
    let work_ms: u64 = stages
        .flat_map(|(count, behaviour)| (0..count).map(|index| behaviour.pace.task_ms(index)))
        .sum();
    work_ms / cpus.max(1) + 500
}
