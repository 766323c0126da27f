//! Mistakes that the scheduler makes when told to, so that the simulator can show that it finds them.
//!
//! Only there with the feature `planted-bugs`. Acknowledging before the sync is the release gate's:
//! [`ReleaseGate::leaking`](crate::gate::ReleaseGate::leaking).

/// A mistake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bug {
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
}

impl Bug {
    /// Every mistake.
    pub const ALL: [Self; 5] =
        [Self::NoFence, Self::LostRequeue, Self::DoubleRelease, Self::NoWindow, Self::DoubleCharge];
}
