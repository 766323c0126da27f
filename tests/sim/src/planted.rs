//! The bugs that can be planted, each a switch in product code, to show that the simulator finds them.

use gridctl_core::effect::{Effect, FactIndex};
use gridctl_core::gate::ReleaseGate;
use gridctl_core::scheduler::Config;

/// A bug to plant. Without the feature `planted-bugs` there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// The release gate lets everything out at once.
    #[cfg(feature = "planted-bugs")]
    LeakingGate,
    /// A mistake of the scheduler.
    #[cfg(feature = "planted-bugs")]
    InScheduler(gridctl_core::bugs::Bug),
    /// A mistake of journal or worker.
    #[cfg(feature = "planted-bugs")]
    Elsewhere(gridctl_jobs::planted::Bug),
}

#[cfg(feature = "planted-bugs")]
impl Planted {
    /// Lists all of them.
    pub fn all() -> Vec<Self> {
        let scheduler = gridctl_core::bugs::Bug::ALL.into_iter().map(Self::InScheduler);
        let elsewhere = gridctl_jobs::planted::Bug::ALL.into_iter().map(Self::Elsewhere);
        std::iter::once(Self::LeakingGate).chain(scheduler).chain(elsewhere).collect()
    }

    pub(crate) fn configure(planted: Option<Self>, mut config: Config) -> Config {
        if let Some(Self::InScheduler(bug)) = planted {
            config.bugs.insert(bug);
        }
        config
    }

    pub(crate) fn gate(
        planted: Option<Self>,
        durable: FactIndex,
    ) -> ReleaseGate<(FactIndex, Effect)> {
        if planted == Some(Self::LeakingGate) {
            ReleaseGate::leaking(durable)
        } else {
            ReleaseGate::new(durable)
        }
    }

    /// Switches on what is switched in this thread, and everything else off.
    pub(crate) fn switch(planted: Option<Self>) {
        gridctl_jobs::planted::plant(match planted {
            Some(Self::Elsewhere(bug)) => Some(bug),
            Some(Self::LeakingGate | Self::InScheduler(_)) | None => None,
        });
    }
}

#[cfg(not(feature = "planted-bugs"))]
impl Planted {
    pub(crate) fn configure(_planted: Option<Self>, config: Config) -> Config {
        config
    }

    pub(crate) fn gate(
        _planted: Option<Self>,
        durable: FactIndex,
    ) -> ReleaseGate<(FactIndex, Effect)> {
        ReleaseGate::new(durable)
    }

    pub(crate) fn switch(_planted: Option<Self>) {}
}
