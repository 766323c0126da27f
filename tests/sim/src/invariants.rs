//! What must hold after every step, in one place, each with the point of the contract that it holds.
//!
//! Most are held by the `ledger.rs`, which keeps an account of its own.

use std::fmt;

use gridctl_jobs::id::StageId;
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
    /// 3: what was asked back, or is in someone's hands, is granted only once it was let go.
    HeldIsNotGranted,
    /// 4: a task of a stage that stops with its lease never runs twice at once.
    StopsRunOnce,
    /// 4: nothing begins on a worker whose lease has run out.
    BeginsUnderLease,
    /// 4: a session whose lease has run out is promised no more time.
    ExpiredGetsNoAnswer,
    /// 4: a coordinator that stood still reads what has arrived before it expires anything.
    StandstillCostsNoLease,
    /// 5: after a restart nothing is granted that a worker may still be running, and failures of older
    /// epochs wait.
    WindowHolds,
    /// 6: sending a submission again gives the same job.
    SubmissionIsIdempotent,
    /// 7: a peer that keeps to the protocol is never turned away.
    HonestPeerIsServed,
    /// 6: a job that was forgotten stays forgotten, and its id is no job anew.
    ForgottenStaysForgotten,
    /// A draining worker gets nothing new.
    DrainingGetsNothing,
    /// A stage is granted only when all that it needs has succeeded.
    NeedsHold,
    /// A failure is charged once, and a task is tried as often as its retries say.
    BudgetIsSpentOnce,
    /// What is done is not granted again.
    DoneIsNotGranted,
    /// More cpus than there are are never in use on a worker (worker: one account).
    CapacityOfMachine,
    /// More cpus than there are are never reserved in the scheduler's account.
    CapacityInAccount,
    /// Nothing new is taken when less is free than is kept free (design, storage).
    FullDiskTakesNothingNew,
    /// The facts in the journal are those that were made, and give the same state.
    ReplayIsState,
    /// What readers see is what the scheduler has, once everything is released.
    ViewsAreState,
    /// A task is set aside only for what it did alone: nothing beside it, and often enough.
    InnocentIsKept,
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
