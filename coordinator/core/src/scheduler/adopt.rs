//! A worker says Hello: its session begins, and everything that it announces is answered.
//!
//! What it announces is adopted where it may still commit: the task is open, and no higher token of it is
//! known. Of two workers that run the same task the higher token stays. What it held by its older session
//! and does not announce, it never got or has lost: that is free at once.

use std::collections::BTreeMap;

use gridctl_jobs::id::{StageId, WorkerId};
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::range::TaskRange;

use super::fleet::Machine;
use super::limits::HELD_TASKS_MAX;
use super::{Scheduler, Step};
use crate::activity::{Change, Granted, WorkerState};
use crate::effect::{CloseReason, HeldAnswer, ToWorker, Verdict, Violation};
use crate::event::{Held, Phase, SessionId, WorkerHello};
use crate::fact::{Fact, WorkerProcess};
use crate::ranges;
use crate::state::Stage;

/// What adopting gathers.
#[derive(Default)]
struct Adoption {
    /// What the worker held by its older session and did not announce so far.
    before: BTreeMap<StageId, BTreeMap<u64, Granted>>,
    adopted: Vec<(StageId, TaskRange, Granted)>,
    /// How many adopted tasks run, and how many have not begun.
    counts: BTreeMap<StageId, (u64, u64)>,
    answers: Vec<HeldAnswer>,
}

impl Scheduler {
    /// A worker introduces itself.
    pub(super) fn on_hello(
        &mut self,
        cx: &mut Step<'_>,
        session: SessionId,
        worker: WorkerId,
        hello: &WorkerHello,
    ) {
        if let Err(why) = self.check_hello(worker, hello) {
            self.close(cx, session, why);
            return;
        }
        self.look_for_setback(cx, &hello.held);
        let is_same = self.process_of(worker).is_some_and(|known| known == hello.process);
        if is_same || hello.predecessor_gone {
            // What of it still runs is announced, and barred again.
            self.unbar_worker(cx, worker);
        }
        let mut adoption = Adoption::default();
        // Another process of it has said all that its predecessor left; the rest is gone with that.
        let is_lost = self.fleet.get(worker).is_some_and(|before| before.process != hello.process);
        for (stage, range, granted) in self.release_all(cx, worker) {
            adoption.before.entry(stage).or_default().insert(range.start, granted);
        }
        if let Some(older) = self.fleet.session_of(worker).filter(|older| *older != session) {
            self.close(cx, older, CloseReason::Superseded);
        }
        self.unclaim(worker);
        self.untell(worker);
        let mut machine = Machine::new(session, hello);
        machine.is_withheld = self.is_withheld(worker);
        self.fleet.begin(worker, machine);
        self.dirty.shown.insert(worker);
        self.dirty.workers.insert(worker);
        if self.state.leases().process_of(worker) != Some(hello.process) {
            self.record(cx, Fact::WorkerAttached { worker, process: hello.process });
        }

        let mut held: Vec<&Held> = hello.held.iter().collect();
        held.sort_by_key(|item| (std::cmp::Reverse(item.token), item.stage, item.range));
        for item in held {
            self.answer(cx, worker, item, &mut adoption);
        }
        let rest = std::mem::take(&mut adoption.before).into_iter().flat_map(|(stage, pieces)| {
            let range = |start, granted: Granted| TaskRange::new(start, granted.end);
            pieces.into_iter().map(move |(start, granted)| (stage, range(start, granted), granted))
        });
        let rest: Vec<(StageId, TaskRange, Granted)> = rest.collect();
        if is_on(Bug::HelloForgets) {
            // Nobody gets it again.
        } else if is_lost {
            self.lose_tasks(cx, worker, rest, None);
        } else {
            self.give_out_again(cx, rest);
        }
        self.reserve_lanes(cx, worker, &adoption);
        self.leave_alone(worker, &adoption);
        let answers = adoption.answers;
        self.send(cx, worker, ToWorker::Welcome { epoch: self.token.epoch, answers });
        for stage in adoption.counts.into_keys() {
            self.tell_order(cx, worker, stage);
            self.sync(cx, stage);
        }
        if self.is_withheld(worker) {
            self.take_all_back(cx, worker);
        }
        // Last, since nothing is said to the worker before its Welcome.
        self.came_back(cx, worker);
    }

    fn check_hello(&self, worker: WorkerId, hello: &WorkerHello) -> Result<(), CloseReason> {
        let enrolled = self.state.directory().worker(worker).ok_or(CloseReason::UnknownWorker)?;
        self.check_process(worker, hello, &enrolled.name)?;
        let mut tasks = 0_u64;
        for item in &hello.held {
            self.check_token(item.token).map_err(CloseReason::Violation)?;
            let valid = match self.state.job(item.stage.job) {
                Some(job) => {
                    tasks = tasks.saturating_add(item.range.len());
                    let stage = job.stage(item.stage.stage);
                    stage.is_some_and(|stage| item.range.is_valid(stage.counts().total))
                }
                None => {
                    tasks = tasks.saturating_add(1);
                    !item.range.is_empty()
                }
            };
            if !valid {
                return Err(CloseReason::Violation(Violation::BadRange));
            }
        }
        if tasks > HELD_TASKS_MAX as u64 {
            return Err(CloseReason::Violation(Violation::TooManyItems { max: HELD_TASKS_MAX }));
        }
        Ok(())
    }

    /// Refuses a process that may not take the place of the one that is known.
    fn check_process(
        &self,
        worker: WorkerId,
        hello: &WorkerHello,
        name: &str,
    ) -> Result<(), CloseReason> {
        let there = self.fleet.get(worker);
        let (known, may_run) = match there {
            Some(there) if there.state == WorkerState::Lost => return Ok(()),
            Some(there) => {
                let may_run = !there.loads.is_empty() || self.bars.are_dying_on(worker);
                (there.process, may_run)
            }
            None => match self.state.leases().process_of(worker) {
                Some(process) if self.window.missing.contains(&worker) => {
                    (process, !self.bars.none_in_window())
                }
                Some(_) | None => return Ok(()),
            },
        };
        let comes = hello.process;
        if known.machine != comes.machine {
            return if there.is_some_and(|there| there.connected) {
                Err(CloseReason::IdentityInUse { name: name.to_owned() })
            } else if may_run {
                // What it says of its predecessors is about its own machine.
                Err(CloseReason::LeaseRuns)
            } else {
                Ok(())
            };
        }
        if known.process == comes.process {
            // A connection that the process has given up since.
            let is_over = there.is_some_and(|there| hello.connection < there.connection);
            return if is_over { Err(CloseReason::Superseded) } else { Ok(()) };
        }
        if comes.life < known.life {
            return Err(CloseReason::Superseded);
        }
        if hello.predecessor_gone || !may_run { Ok(()) } else { Err(CloseReason::LeaseRuns) }
    }

    /// Returns the last process of a worker that is known.
    fn process_of(&self, worker: WorkerId) -> Option<WorkerProcess> {
        let there = self.fleet.get(worker).map(|machine| machine.process);
        there.or_else(|| self.state.leases().process_of(worker))
    }

    /// Answers one announced item.
    fn answer(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        item: &Held,
        adoption: &mut Adoption,
    ) {
        if self.state.job(item.stage.job).is_none() {
            adoption.say(item, item.range, Verdict::UnknownJob);
            return;
        }
        let mut from = item.range.start;
        for part in self.adoptable(item, adoption) {
            self.refuse(cx, worker, item, TaskRange::new(from, part.start), adoption);
            self.adopt(cx, worker, item, part, adoption);
            from = part.end;
        }
        self.refuse(cx, worker, item, TaskRange::new(from, item.range.end), adoption);
    }

    /// Splits an item into the parts that may go on.
    fn adoptable(&self, item: &Held, adoption: &Adoption) -> Vec<TaskRange> {
        let (Some(known), Some(_)) = (self.state.stage(item.stage), self.stages.get(&item.stage))
        else {
            return Vec::new();
        };
        let granted = self.activity.granted.get(&item.stage);
        let before = adoption.before.get(&item.stage);
        let overtaken: Vec<TaskRange> = [(granted, true), (before, false)]
            .into_iter()
            .filter_map(|(pieces, equal_too)| Some((pieces?, equal_too)))
            .flat_map(|(pieces, equal_too)| {
                ranges::overlapping(pieces, item.range).filter(move |(_, other)| {
                    other.token > item.token || (equal_too && other.token == item.token)
                })
            })
            .map(|(part, _)| part)
            .collect();
        let mut open = known.committable(item.range, item.token);
        if is_on(Bug::LowerTokenAdopted) {
            return open;
        }
        for part in overtaken {
            open = open.into_iter().flat_map(|range| range.without(part)).collect();
        }
        open
    }

    fn adopt(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        item: &Held,
        part: TaskRange,
        adoption: &mut Adoption,
    ) {
        self.let_go(cx, worker, item.stage, part);
        let mut started = (item.phase == Phase::Running).then_some(cx.now.wall);
        if let Some(before) = adoption.before.get_mut(&item.stage) {
            let same = ranges::carve(before, part);
            let known = same.iter().find(|(_, granted)| granted.token == item.token);
            started = known.and_then(|(_, granted)| granted.started).or(started);
        }
        let granted = Granted {
            end: part.end,
            worker,
            token: item.token,
            attempt: item.attempt.max(1),
            lanes: 0,
            started,
        };
        self.hold(cx, item.stage, part, granted);
        let counts = adoption.counts.entry(item.stage).or_default();
        match item.phase {
            Phase::Running => counts.0 += part.len(),
            Phase::Queued => counts.1 += part.len(),
            // Its report is on the way; it needs no cpu.
            Phase::Finished => {}
        }
        adoption.adopted.push((item.stage, part, granted));
        adoption.say(item, part, Verdict::Adopt);
    }

    /// Answers the tasks of an item that may not go on.
    fn refuse(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        item: &Held,
        part: TaskRange,
        adoption: &mut Adoption,
    ) {
        if item.phase != Phase::Finished && !part.is_empty() {
            let Held { token, stage, attempt, .. } = *item;
            self.bar_stopped(cx, worker, stage, part, token, attempt);
        }
        let Some(stage) = self.state.stage(item.stage) else { return };
        let mut from = part.start;
        while from < part.end {
            let done = stage.done().next_absent(from).min(part.end);
            adoption.say(item, TaskRange::new(from, done), Verdict::Done);
            let next = stage.done().next_in(done).unwrap_or(part.end).min(part.end);
            refuse_undone(stage, item, TaskRange::new(done, next), adoption);
            from = next;
        }
    }

    /// Reserves cpus for what was adopted: for what runs first, then for what may begin.
    fn reserve_lanes(&mut self, cx: &mut Step<'_>, worker: WorkerId, adoption: &Adoption) {
        for begun in [true, false] {
            for (stage, (running, queued)) in &adoption.counts {
                let Some(machine) = self.fleet.get(worker) else { return };
                let fit = machine.free().fits(machine.load(*stage).cpus);
                let more = if begun { *running } else { *queued };
                self.fleet.change_load(worker, *stage, |load| load.lanes += more.min(fit));
            }
        }
        for (stage, range, granted) in &adoption.adopted {
            let lanes = self.fleet.get(worker).map_or(0, |machine| machine.load(*stage).lanes);
            let lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
            let granted = Granted { lanes, ..*granted };
            self.show(cx, Change::Granted { stage: *stage, range: *range, granted });
        }
    }
}

impl Scheduler {
    /// A task that runs alone goes on doing so.
    fn leave_alone(&mut self, worker: WorkerId, adoption: &Adoption) {
        if let [(stage, range, _)] = adoption.adopted.as_slice()
            && range.len() == 1
            && self.state.stage(*stage).is_some_and(|stage| stage.is_suspect(range.start))
        {
            self.fleet.change(worker, |machine| machine.alone = true);
        }
    }
}

impl Adoption {
    fn say(&mut self, item: &Held, range: TaskRange, verdict: Verdict) {
        if range.is_empty() {
            return;
        }
        if let Some(last) = self.answers.last_mut()
            && (last.token, last.stage, last.verdict) == (item.token, item.stage, verdict)
            && last.range.end == range.start
        {
            last.range.end = range.end;
            return;
        }
        self.answers.push(HeldAnswer { token: item.token, stage: item.stage, range, verdict });
    }
}

/// Answers tasks that are not done: void, but for those whose failure under this very token is known.
fn refuse_undone(stage: &Stage, item: &Held, part: TaskRange, adoption: &mut Adoption) {
    let mut from = part.start;
    for (index, _) in stage.histories(part).filter(|(_, history)| history.last() == item.token) {
        adoption.say(item, TaskRange::new(from, index), Verdict::Void);
        adoption.say(item, TaskRange::one(index), Verdict::Done);
        from = index + 1;
    }
    adoption.say(item, TaskRange::new(from, part.end), Verdict::Void);
}
