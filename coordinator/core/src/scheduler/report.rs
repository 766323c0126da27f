//! Reports: what commits, what is charged, what is void.
//!
//! A result commits if its task is open and no higher token of that task is known. Everything else is void:
//! a repeat, or the work of a grant that something has overtaken. Either way the worker is told that the
//! report is settled, once everything that it led to is durable.

use gridctl_jobs::id::{StageId, Token, WorkerId};
use gridctl_jobs::limits::FAILURE_MESSAGE_BYTES_MAX;
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::OnLostLease;
use gridctl_jobs::state::{Failure, FailureKind};

use super::limits::{HELD_BACK_MAX, START_TRIES};
use super::retry::delay_ms;
use super::split::Manner;
use super::{Scheduler, Step};
use crate::activity::{Change, WorkerState};
use crate::effect::{CloseReason, ToWorker, Violation};
use crate::event::{MonoMs, Outcome, Report, ReportItem, SessionId};
use crate::fact::{Fact, Kept, RangeDone, TaskDone, TaskFailed};
use crate::ranges;

impl Scheduler {
    /// A worker says what became of tasks.
    pub(super) fn on_report(&mut self, cx: &mut Step<'_>, session: SessionId, report: Report) {
        let Some(worker) = self.fleet.worker_of(session) else { return };
        if let Err(violation) = report.items.iter().try_for_each(|item| self.check_item(item)) {
            self.violate(cx, worker, CloseReason::Violation(violation));
            return;
        }
        for item in report.items {
            if !self.waits_for_window(&item) {
                self.take_item(cx, worker, &item);
            } else if !self.hold_back(worker, item) {
                let why = Violation::TooManyItems { max: HELD_BACK_MAX };
                self.violate(cx, worker, CloseReason::Violation(why));
                return;
            }
        }
        self.fleet.note(worker, |machine| {
            machine.last_sequence = machine.last_sequence.max(report.sequence);
        });
        self.settle_reports(cx, worker);
    }

    /// A worker says that tasks have begun.
    pub(super) fn on_started(
        &mut self,
        cx: &mut Step<'_>,
        session: SessionId,
        tasks: &[(Token, StageId, TaskRange)],
    ) {
        let Some(worker) = self.fleet.worker_of(session) else { return };
        for (token, stage, range) in tasks {
            let Some(known) = self.state.stage(*stage) else { continue };
            if !range.is_valid(known.counts().total) {
                self.violate(cx, worker, CloseReason::Violation(Violation::BadRange));
                return;
            }
            for (part, granted) in self.pieces_of(worker, *stage, *range, *token) {
                if granted.token == *token && granted.started.is_none() {
                    let at = cx.now.wall;
                    self.show(cx, Change::Started { stage: *stage, range: part, at });
                }
            }
        }
    }

    /// Tells a worker that its reports are settled, unless some wait for the window to close.
    pub(super) fn settle_reports(&self, cx: &mut Step<'_>, worker: WorkerId) {
        if let Some(machine) = self.fleet.get(worker).filter(|machine| machine.held_back.is_empty())
        {
            let up_to = machine.last_sequence;
            self.send(cx, worker, ToWorker::Settled { up_to });
        }
    }

    /// Takes in what became of tasks of one grant.
    pub(super) fn take_item(&mut self, cx: &mut Step<'_>, worker: WorkerId, item: &ReportItem) {
        if !self.stages.contains_key(&item.stage) {
            return;
        }
        match &item.outcome {
            Outcome::Done { kept } => self.take_done(cx, worker, item, *kept),
            Outcome::Failed { failure, kept } => self.take_failed(cx, worker, item, failure, *kept),
        }
    }

    fn take_done(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        item: &ReportItem,
        kept: Option<Kept>,
    ) {
        let parts = self.committable(worker, item);
        let committed: u64 = parts.iter().map(|part| part.len()).sum();
        for range in parts {
            self.let_go(cx, worker, item.stage, range);
            let &ReportItem { stage, token, attempt, span, .. } = item;
            let fact = match kept {
                Some(kept) => {
                    let index = task_index(range.start);
                    Fact::TaskDone(TaskDone { stage, index, token, attempt, worker, span, kept })
                }
                None => Fact::RangeDone(RangeDone { stage, range, token, attempt, worker, span }),
            };
            self.record(cx, fact);
        }
        if committed == 0 {
            return;
        }
        if let Some(runnable) = self.stages.get_mut(&item.stage) {
            // Of what was void the time is as good as any.
            runnable.pace.measure(item.range.len(), item.busy_us);
        }
        self.sync(cx, item.stage);
        self.on_stage_changed(item.stage);
    }

    fn take_failed(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        item: &ReportItem,
        failure: &Failure,
        kept: Option<Kept>,
    ) {
        let index = task_index(item.range.start);
        let token = if !self.committable(worker, item).is_empty() {
            item.token
        } else if is_on(Bug::DoubleCharge) && self.is_open(item) {
            self.next_token()
        } else {
            return;
        };
        self.let_go(cx, worker, item.stage, item.range);
        let last = self.is_last_attempt(worker, item.stage, index, failure);
        self.record(
            cx,
            Fact::TaskFailed(TaskFailed {
                stage: item.stage,
                index,
                token,
                attempt: item.attempt,
                worker,
                span: item.span,
                failure: bounded(failure),
                kept,
                last,
            }),
        );
        if last {
            self.end_early(cx, item.stage);
        } else {
            self.try_again(cx, item.stage, index, failure);
        }
        self.sync(cx, item.stage);
        self.on_stage_changed(item.stage);
    }

    /// Puts a failed task where it waits for its next attempt.
    fn try_again(&mut self, cx: &mut Step<'_>, stage: StageId, index: u32, failure: &Failure) {
        let known = self.state.stage(stage).expect("what runs is in the state");
        let history = known.history(u64::from(index)).expect("it has just failed");
        let (attempt, spent) = (history.attempts() + 1, history.spent());
        if !failure.kind().is_own() || self.has_failed_enough(stage) {
            // Another worker may start it at once.
            self.requeue(cx, stage, TaskRange::one(u64::from(index)), attempt, Manner::Ahead);
            return;
        }
        // What waits for another reason is not tried again before, and has waited then.
        let one = TaskRange::one(u64::from(index));
        if self.unbarred(stage, one, attempt).is_empty() {
            return;
        }
        if let Some(runnable) = self.stages.get_mut(&stage) {
            let backoff = runnable.spec().budget.backoff;
            let delay_ms = delay_ms(self.config.seed, backoff, stage, index, spent);
            let at = MonoMs(cx.now.mono.0.saturating_add(delay_ms));
            runnable.later.add(index, at, attempt);
        }
    }

    /// Decides whether a task has failed for good with this failure.
    fn is_last_attempt(
        &self,
        worker: WorkerId,
        stage: StageId,
        index: u32,
        failure: &Failure,
    ) -> bool {
        let known = self.state.job(stage.job).and_then(|job| Some((job, job.stage(stage.stage)?)));
        let Some((job, known)) = known else { return true };
        let spec = super::runnable::stage_spec(job.spec(), known);
        let history = known.history(u64::from(index));
        let kind = failure.kind();
        if kind.is_own() {
            let spent = history.map_or(0, crate::state::History::spent);
            let retries = spec.budget.retries + u32::from(is_on(Bug::RetriesOffByOne));
            return spent >= retries || !spec.budget.is_retried(kind);
        }
        if kind != FailureKind::CouldNotStart {
            return false;
        }
        let refused = history.map_or(&[][..], crate::state::History::could_not_start);
        let again = refused.contains(&worker);
        if refused.len() + usize::from(!again) >= START_TRIES {
            return true;
        }
        let mut others = self.fleet.iter().filter(|(other, machine)| {
            machine.state != WorkerState::Lost
                && !machine.is_withheld
                && machine.cpus >= spec.task.cpus
                && (machine.ends_trees || spec.task.on_lost_lease == OnLostLease::Finish)
                && *other != worker
                && !refused.contains(other)
        });
        others.next().is_none()
    }

    /// Splits what a report is about into the parts that may commit.
    fn committable(&self, worker: WorkerId, item: &ReportItem) -> Vec<TaskRange> {
        let Some(known) = self.state.stage(item.stage) else { return Vec::new() };
        if is_on(Bug::CommitsTwice) {
            return vec![item.range];
        }
        let mut open = known.committable(item.range, item.token);
        if is_on(Bug::NoFence) {
            return open;
        }
        if let Some(pieces) = self.activity.granted.get(&item.stage) {
            let overtaken = |granted: &crate::activity::Granted| {
                granted.token > item.token
                    || (granted.token == item.token && granted.worker != worker)
            };
            for (part, _) in ranges::overlapping(pieces, item.range).filter(|(_, g)| overtaken(g)) {
                open = open.into_iter().flat_map(|range| range.without(part)).collect();
            }
        }
        open
    }

    fn is_open(&self, item: &ReportItem) -> bool {
        self.state.stage(item.stage).is_some_and(|stage| stage.is_open(item.range.start))
    }

    /// Takes tasks that are about to end out of wherever they are. Another worker that holds some of them
    /// under an older grant ends them.
    pub(super) fn let_go(
        &mut self,
        cx: &mut Step<'_>,
        worker: WorkerId,
        stage: StageId,
        range: TaskRange,
    ) {
        let held = self.release(cx, stage, range);
        let mut from_holders = 0;
        for (part, granted) in held {
            from_holders += part.len();
            if granted.worker != worker {
                self.stop(cx, stage, part, &granted);
            }
        }
        if from_holders < range.len()
            && let Some(runnable) = self.stages.get_mut(&stage)
        {
            runnable.forget(range);
        }
    }

    /// Checks what a peer says of tasks; of unknown jobs nothing can be said.
    fn check_item(&self, item: &ReportItem) -> Result<(), Violation> {
        self.check_token(item.token)?;
        let plain = matches!(item.outcome, Outcome::Done { kept: None });
        if let Some(stage) = self.state.stage(item.stage)
            && !item.range.is_valid(stage.counts().total)
        {
            return Err(Violation::BadRange);
        }
        if !plain && item.range.len() != 1 { Err(Violation::OneTaskOnly) } else { Ok(()) }
    }

    /// Refuses a token that was never given out.
    pub(super) fn check_token(&self, token: Token) -> Result<(), Violation> {
        if token > self.token { Err(Violation::FutureToken) } else { Ok(()) }
    }
}

/// Cuts a message that is longer than what is kept.
fn bounded(failure: &Failure) -> Failure {
    let cut = |message: &String| {
        let mut end = message.len().min(FAILURE_MESSAGE_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message[..end].to_owned()
    };
    match failure {
        Failure::Error { message } => Failure::Error { message: cut(message) },
        Failure::CouldNotStart { message } => Failure::CouldNotStart { message: cut(message) },
        Failure::Exit { .. }
        | Failure::Signal { .. }
        | Failure::Timeout
        | Failure::OutOfMemory
        | Failure::WorkerLost { .. }
        | Failure::Preempted
        | Failure::Cancelled => failure.clone(),
    }
}

pub(super) fn task_index(index: u64) -> u32 {
    u32::try_from(index).expect("a stage has at most 2^32 tasks")
}
