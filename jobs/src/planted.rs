//! Bugs that can be switched on, to show that the simulator finds them.
//!
//! Each is a switch at the place in product code where the bug would be. Without the feature
//! `planted-bugs`, which only the simulator's tests ask for, [`is_on`] is a constant `false` and nothing of
//! them is compiled. (They are here since core, coordinator and worker all see this crate.)

#[cfg(feature = "planted-bugs")]
use std::cell::Cell;

/// A bug that somebody could have made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The journal says that a frame is durable before it is synced.
    AcknowledgeBeforeSync,
    /// A frame whose checksum does not fit is taken for whole.
    TornFrameAccepted,
    /// The worker forgets its results when its connection breaks.
    ForgetResultsOnReconnect,
    /// The worker starts a task without asking whether a cpu is free.
    NoCpuAccount,
    /// The release gate lets everything out at once, whether durable or not.
    ReleaseBeforeRecord,
    /// Results commit whatever their token.
    NoFence,
    /// A lost worker's tasks are not given out again.
    LostRequeue,
    /// A finished task's cpus are given back twice.
    DoubleRelease,
    /// Work is granted right after a restart, while workers may still run it.
    NoWindow,
    /// A repeated or superseded failure is charged to the task once more.
    DoubleCharge,
    /// What is retried has no fence: what ran before may still commit.
    RetryWithoutFence,
    /// The id of a forgotten job is a new job at once.
    ForgottenIdAccepted,
    /// A draining worker is given work.
    DrainedIsGranted,
    /// Work that is asked back is granted to others before the answer.
    TakenBackGrantedEarly,
    /// What a worker gives back is not given out again.
    GivenBackForgotten,
    /// What a worker leaves behind that goes in order is not given out again.
    GoodbyeForgotten,
    /// What a worker held and does not announce is not given out again.
    HelloForgets,
    /// An effect waits for the fact before the one that it follows from.
    WaitsForFactBefore,
    /// Work is given out under an epoch that no fact says.
    EpochNotRecorded,
    /// A coordinator that starts again uses the epoch of its last life.
    EpochRepeats,
    /// A worker may go on with what another one holds under a higher token.
    LowerTokenAdopted,
    /// A task is tried once more than its retries say.
    RetriesOffByOne,
    /// The window after a restart closes at half of a lease.
    WindowTooShort,
    /// Failures of older epochs are taken before the window has closed.
    OldFailuresAtOnce,
    /// Results commit although the task has ended.
    CommitsTwice,
    /// A stage begins before what it needs has succeeded.
    NeedsIgnored,
    /// After a restart tasks that are done are given out again.
    DoneGrantedAgain,
    /// A worker is told that one task more may run than there are cpus for.
    LanesTooMany,
    /// The same submission again makes another job.
    DuplicateSubmission,
    /// Another content under the same id is taken for the same submission.
    ContentNotCompared,
    /// What comes on a session that is over is still heard.
    DeadSessionHeard,
    /// A session whose lease has run out still gets answers to its heartbeats.
    ExpiredStillAnswered,
    /// A coordinator that stood still expires leases before it has read what arrived.
    StandstillExpires,
    /// The worker times its lease from the answer to a heartbeat.
    LeaseFromReceipt,
    /// The worker begins tasks although its lease has run out.
    BeginsWithoutLease,
    /// The worker does not remember the epoch that welcomed it.
    EpochForgotten,
    /// The worker runs what it took back from a slice there too.
    TailRunsTwice,
    /// The worker forgets what it took back from a slice.
    TailForgotten,
    /// The worker takes one report too many for settled.
    SettlesTooMuch,
    /// The worker does not send again what was not settled when its connection broke.
    ReportsNotSentAgain,
    /// Facts that name output are durable before the output is.
    ResultsNotSynced,
    /// The name of a new journal segment is not made durable.
    SegmentNameNotSynced,
    /// The end of a full journal segment is not synced.
    SegmentEndNotSynced,
    /// What the journal ends with after a start is taken for durable.
    LastFrameTrusted,
    /// A record of output is said to be where its block begins.
    ResultPlaceWrong,
    /// A frame that found no room is said to be durable.
    FullDiskAcknowledged,
    /// Submissions are taken on a full disk, at the cost of the reserve.
    ReserveForSubmissions,
    /// A snapshot's directory is not synced after the snapshot got its name.
    SnapshotNameNotSynced,
    /// The journal is cut up to the newest snapshot, not only up to the older of the two that are kept.
    SnapshotCutsTooFar,
    /// A result segment is removed although facts since the older snapshot refer to it.
    ResultsClearedEarly,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 50] = [
        Self::AcknowledgeBeforeSync,
        Self::TornFrameAccepted,
        Self::ForgetResultsOnReconnect,
        Self::NoCpuAccount,
        Self::ReleaseBeforeRecord,
        Self::NoFence,
        Self::LostRequeue,
        Self::DoubleRelease,
        Self::NoWindow,
        Self::DoubleCharge,
        Self::RetryWithoutFence,
        Self::ForgottenIdAccepted,
        Self::DrainedIsGranted,
        Self::TakenBackGrantedEarly,
        Self::GivenBackForgotten,
        Self::GoodbyeForgotten,
        Self::HelloForgets,
        Self::WaitsForFactBefore,
        Self::EpochNotRecorded,
        Self::EpochRepeats,
        Self::LowerTokenAdopted,
        Self::RetriesOffByOne,
        Self::WindowTooShort,
        Self::OldFailuresAtOnce,
        Self::CommitsTwice,
        Self::NeedsIgnored,
        Self::DoneGrantedAgain,
        Self::LanesTooMany,
        Self::DuplicateSubmission,
        Self::ContentNotCompared,
        Self::DeadSessionHeard,
        Self::ExpiredStillAnswered,
        Self::StandstillExpires,
        Self::LeaseFromReceipt,
        Self::BeginsWithoutLease,
        Self::EpochForgotten,
        Self::TailRunsTwice,
        Self::TailForgotten,
        Self::SettlesTooMuch,
        Self::ReportsNotSentAgain,
        Self::ResultsNotSynced,
        Self::SegmentNameNotSynced,
        Self::SegmentEndNotSynced,
        Self::LastFrameTrusted,
        Self::ResultPlaceWrong,
        Self::SnapshotNameNotSynced,
        Self::SnapshotCutsTooFar,
        Self::ResultsClearedEarly,
        Self::ReserveForSubmissions,
        Self::FullDiskAcknowledged,
    ];
}

/// Says whether the bug is switched on in this thread.
#[cfg(not(feature = "planted-bugs"))]
#[inline]
pub const fn is_on(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Says whether the bug is switched on in this thread.
#[cfg(feature = "planted-bugs")]
pub fn is_on(bug: Bug) -> bool {
    PLANTED.with(|planted| planted.get() == Some(bug))
}

/// Switches one bug on in this thread, or all off.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.with(|planted| planted.set(bug));
}
