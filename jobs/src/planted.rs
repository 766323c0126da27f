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
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 13] = [
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
