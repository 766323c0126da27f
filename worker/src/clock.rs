//! The clocks of this machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gridctl_jobs::units::WallMs;
use rustix::time::{ClockId, clock_gettime};

use crate::agent::{MonoMs, Now};

/// Turns moments of this process into times for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
    base_wall: WallMs,
}

impl Clock {
    /// Reads the wall clock once; what follows is measured from there, so that times of one life of a
    /// worker never run backwards.
    pub(crate) fn start() -> Self {
        Self { base: Instant::now(), base_wall: wall() }
    }

    pub(crate) fn wall_at(&self, at: Instant) -> WallMs {
        let since = at.saturating_duration_since(self.base).as_millis();
        WallMs(self.base_wall.0.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
    }
}

/// Returns the time by the wall clock.
pub(crate) fn wall() -> WallMs {
    // A clock before 1970 is shown as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the time by the clock that decides: it only goes forward, and counts suspend.
pub(crate) fn mono() -> MonoMs {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).expect("the time since boot is positive");
    let millis = u64::try_from(time.tv_nsec / 1_000_000).expect("nanoseconds are positive");
    MonoMs(seconds * 1_000 + millis)
}

/// Returns both.
pub(crate) fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}
