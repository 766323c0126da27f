//! The one place where the coordinator reads clocks.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gridctl_core::event::{MonoMs, Now};
use gridctl_jobs::units::WallMs;

/// Returns the time of a step.
pub(crate) fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

/// Returns milliseconds since the process first asked.
pub(crate) fn mono() -> MonoMs {
    let elapsed = origin().elapsed().as_millis();
    MonoMs(u64::try_from(elapsed).expect("a process does not run for 500 million years"))
}

/// Returns when a moment of [`mono`] is.
pub(crate) fn instant_of(moment: MonoMs) -> Instant {
    // A deadline that does not fit is never: a year is long enough for "never" and always fits.
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    origin() + Duration::from_millis(moment.0).min(origin().elapsed() + FAR)
}

/// Returns the wall clock, for people.
pub(crate) fn wall() -> WallMs {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}
