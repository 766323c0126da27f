//! Tasks that take their time and end as their schedule says.

use std::sync::Arc;

use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::limits::OUTPUT_BYTES_MAX;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::Failure;
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::worker::{INLINE_OUTPUT_BYTES_MAX, Outcome};
use gridctl_worker::agent::{AgentEvent, Slice, SliceId, TaskEnd, TaskOutput};

use crate::coverage::Group;
use crate::invariants::{Rule, Violation, check, name};
use crate::schedule::{Behaviour, OutputPlan, Pace};
use crate::worker::AgentLife;
use crate::world::{Happening, World};

/// Run time of a task that is over at once, in nanoseconds.
const INSTANT_NS: u64 = 20_000;
/// The longest that a killed task takes to be gone.
const KILL_MS_MAX: u64 = 50;

const _: () = assert!(
    INLINE_OUTPUT_BYTES_MAX < OUTPUT_BYTES_MAX,
    "an output can be too large to travel inline"
);

/// A slice on its lane.
#[derive(Debug)]
pub(crate) struct Running {
    slice: Slice,
    /// The task that runs.
    next: u64,
    /// Exclusive.
    end: u64,
    /// Counts what became of it, so that an end that was overtaken by a kill is noticed.
    step: u32,
    /// Nobody wants it any more; it has its cpus until it is gone.
    is_killed: bool,
}

impl Running {
    pub(crate) fn cpus(&self) -> Cpus {
        self.slice.renderer.order().task.cpus
    }

    pub(crate) fn stage(&self) -> StageId {
        let order = self.slice.renderer.order();
        StageId { job: order.job, stage: order.stage }
    }

    pub(crate) const fn token(&self) -> Token {
        self.slice.token
    }

    /// Returns what has not ended, and is not being killed.
    pub(crate) const fn open(&self) -> TaskRange {
        let next = if self.is_killed { self.end } else { self.next };
        TaskRange::new(next, self.end)
    }
}

/// What a task of a stage leaves behind when it ran under a token: bytes that no other attempt leaves.
pub(crate) fn output_of(
    behaviour: &Behaviour,
    stage: StageId,
    index: u64,
    token: Token,
) -> Option<TaskOutput> {
    let every = match behaviour.output {
        OutputPlan::Nothing => return None,
        OutputPlan::Every(every) | OutputPlan::OneLarge(every) => every,
    };
    if !index.is_multiple_of(every) {
        return None;
    }
    let line = format!("{} under {token}\n", name(stage, index));
    let large = matches!(behaviour.output, OutputPlan::OneLarge(_)) && index == 0;
    let stdout = if large { line.repeat(INLINE_OUTPUT_BYTES_MAX / line.len() + 1) } else { line };
    Some(TaskOutput {
        stdout: stdout.into_bytes(),
        stderr: Vec::new(),
        result: index.to_le_bytes().to_vec(),
        place: None,
    })
}

impl World<'_> {
    pub(crate) fn begin_slice(&mut self, life: AgentLife, slice: Slice) -> Result<(), Violation> {
        let id = slice.id;
        let TaskRange { start, end } = slice.range;
        let running = Running { next: start, end, step: 0, is_killed: false, slice };
        let worker = &self.workers[life.worker];
        check(worker.has_lease(self.now), Rule::BeginsUnderLease, || {
            format!(
                "worker {} begins {} after its lease",
                life.worker,
                name(running.stage(), start)
            )
        })?;
        self.ledger.begins(running.stage(), running.slice.token, running.slice.range)?;
        self.trace.note((life.worker, id, start, end), || {
            format!(
                "worker {} runs {} to {end} under {}",
                life.worker,
                name(running.stage(), start),
                running.slice.token
            )
        });
        self.check_runs_once(running.stage(), start)?;
        let wait_ms = self.run_ms(running.stage(), start);
        self.workers[life.worker].running.insert(id, running);
        self.agenda.put(self.now.after(wait_ms), Happening::TaskEnds(life, id, 0));
        Ok(())
    }

    /// The running task of a slice has ended, and with it maybe others that take no time.
    pub(crate) fn task_ends(
        &mut self,
        life: AgentLife,
        id: SliceId,
        step: u32,
    ) -> Result<(), Violation> {
        let worker = &self.workers[life.worker];
        let running =
            worker.running.get(&id).filter(|running| worker.life() == life && running.step == step);
        let Some(running) = running else { return Ok(()) };
        let stage = running.stage();
        // Up to the next task that takes its time, everything ends now.
        let is_quick = |index: &u64| self.pace(stage).task_ms(*index) == 0;
        let upto =
            (running.next + 1..running.end).find(|index| !is_quick(index)).unwrap_or(running.end);
        let slice_end = running.end;
        let (token, open) = (running.slice.token, running.next..upto);
        let mut ends: Vec<TaskEnd> = Vec::new();
        for index in open {
            let end = self.end_of(life.worker, stage, token, index);
            match ends.last_mut() {
                Some(last) if joins(last, &end) => {
                    last.range.end = end.range.end;
                    last.busy_ns += end.busy_ns;
                }
                Some(_) | None => ends.push(end),
            }
        }
        let stops = self.schedule.behaviour(stage).is_some_and(|behaviour| behaviour.stops);
        if !stops || !self.workers[life.worker].is_past_stop(self.now) {
            self.workers[life.worker].kept.ended(stage, token, &ends);
        }
        if upto < slice_end {
            self.check_runs_once(stage, upto)?;
        }
        let wait_ms = self.run_ms(stage, upto);
        let running = self.workers[life.worker].running.get_mut(&id).expect("looked up above");
        running.next = upto;
        running.step += 1;
        let (is_over, step) = (running.next >= running.end, running.step);
        if is_over {
            self.workers[life.worker].running.remove(&id);
        } else {
            self.agenda.put(self.now.after(wait_ms), Happening::TaskEnds(life, id, step));
        }
        self.tell_agent(life, AgentEvent::Ended { slice: id, ends })?;
        if is_over { self.tell_agent(life, AgentEvent::Returned { slice: id }) } else { Ok(()) }
    }

    /// A task of a stage that stops with its lease begins: it runs nowhere else.
    fn check_runs_once(&self, stage: StageId, index: u64) -> Result<(), Violation> {
        if !self.schedule.behaviour(stage).is_some_and(|behaviour| behaviour.stops) {
            return Ok(());
        }
        for (place, worker) in self.workers.iter().enumerate() {
            let runs = |other: &Running| other.stage() == stage && other.next == index;
            let twice = worker.running.values().any(runs);
            check(!twice, Rule::StopsRunOnce, || {
                format!("{} begins while it runs on worker {place}", name(stage, index))
            })?;
        }
        Ok(())
    }

    /// Gives back what has not begun of a slice.
    pub(crate) fn reclaim(&mut self, life: AgentLife, id: SliceId) {
        let mut tail = TaskRange::new(0, 0);
        if let Some(running) = self.workers[life.worker].running.get_mut(&id) {
            tail = TaskRange::new((running.next + 1).min(running.end), running.end);
            running.end = tail.start;
            let (stage, token) = (running.stage(), running.slice.token);
            self.ledger.reclaimed(stage, token, tail);
        }
        if !tail.is_empty() {
            self.coverage.hit(Group::Elsewhere, "reclaimed tail");
        }
        self.reclaimed.push_back((life, AgentEvent::Reclaimed { slice: id, tail }));
    }

    /// Kills the running task of a slice, if it lies in `range`.
    pub(crate) fn cancel_running(&mut self, life: AgentLife, id: SliceId, range: TaskRange) {
        let gone_ms = self.rng.u64(0..=KILL_MS_MAX);
        let running = self.workers[life.worker].running.get_mut(&id);
        let Some(running) = running.filter(|running| range.contains(running.next)) else { return };
        running.step += 1;
        running.is_killed = true;
        let at = self.now.after(gone_ms);
        self.agenda
            .put(at, Happening::FromExecutor(life, Box::new(AgentEvent::Returned { slice: id })));
    }

    /// A killed task is gone: its cpus are free.
    pub(crate) fn note_returned(&mut self, life: AgentLife, event: &AgentEvent) {
        let worker = &mut self.workers[life.worker];
        if let AgentEvent::Returned { slice } = event
            && worker.life() == life
        {
            worker.running.remove(slice);
        }
    }

    fn pace(&self, stage: StageId) -> Pace {
        self.schedule.behaviour(stage).map_or(Pace::Instant, |behaviour| behaviour.pace)
    }

    fn run_ms(&mut self, stage: StageId, index: u64) -> u64 {
        match self.pace(stage).task_ms(index) {
            0 => self.rng.u64(0..=1),
            ms => self.rng.u64(ms / 2..=ms + ms / 2),
        }
    }

    fn end_of(&mut self, worker: usize, stage: StageId, token: Token, index: u64) -> TaskEnd {
        let behaviour = self.schedule.behaviour(stage).expect("a stage of the schedule");
        let failed_before = self.failed_runs.entry((stage, index)).or_default();
        let outcome = outcome_of(behaviour, worker, index, *failed_before);
        let could_start = !matches!(outcome, Outcome::Failed(Failure::CouldNotStart { .. }));
        *failed_before += u32::from(could_start && outcome != Outcome::Done);
        let output = output_of(behaviour, stage, index, token).filter(|_| could_start);
        let busy_ns = match behaviour.pace.task_ms(index) {
            0 => INSTANT_NS,
            ms => ms * 1_000_000,
        };
        let (started, ended) = (self.wall_of(worker), self.wall_of(worker));
        TaskEnd {
            range: TaskRange::one(index),
            started,
            ended,
            busy_ns,
            outcome,
            output: output.map(Arc::new),
        }
    }
}

fn outcome_of(behaviour: &Behaviour, worker: usize, index: u64, failed_before: u32) -> Outcome {
    if behaviour.missing_on == Some(worker) {
        return Outcome::Failed(Failure::CouldNotStart { message: "no such program".to_owned() });
    }
    let flaky = behaviour.flaky_every.is_some_and(|every| index % every == every / 2);
    let fails =
        behaviour.broken == Some(index) || (flaky && failed_before < behaviour.flaky_attempts);
    if !fails {
        return Outcome::Done;
    }
    Outcome::Failed(match index % 4 {
        0 => Failure::Exit { code: 3 },
        1 => Failure::Error { message: "it did not work".to_owned() },
        2 => Failure::Signal { signal: 11 },
        _ => Failure::Timeout,
    })
}

fn joins(last: &TaskEnd, next: &TaskEnd) -> bool {
    let plain = |end: &TaskEnd| end.outcome == Outcome::Done && end.output.is_none();
    plain(last) && plain(next)
}
