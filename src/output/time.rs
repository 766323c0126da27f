//! Times and durations as people and scripts read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gridctl_jobs::units::WallMs;

/// The last instant that RFC 3339 can write, in milliseconds since 1970: the end of the year 9999.
const RFC3339_MS_MAX: u64 = 253_402_300_799_999;

/// Returns `at` in RFC 3339, UTC, with milliseconds.
pub(crate) fn rfc3339(at: WallMs) -> String {
    humantime::format_rfc3339_millis(system_time(at)).to_string()
}

/// Returns `at` in RFC 3339, UTC, to the second.
pub(crate) fn rfc3339_seconds(at: WallMs) -> String {
    humantime::format_rfc3339_seconds(system_time(at)).to_string()
}

fn system_time(at: WallMs) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.0.min(RFC3339_MS_MAX))
}

/// Returns this machine's time.
pub(crate) fn now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns how long it was from `start` to `end`; nothing where clocks disagree on the order.
pub(crate) fn between(start: WallMs, end: WallMs) -> Duration {
    Duration::from_millis(end.0.saturating_sub(start.0))
}

/// Returns a duration in its two largest units: `0.3s`, `12s`, `3m 20s`, `10m`, `2h 5m`, `4d 3h`.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        small => format!("{large}{large_unit} {small}{small_unit}"),
    };
    match seconds {
        0..10 => format!("{}.{}s", seconds, duration.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(WallMs(1_767_225_600_123)), "2026-01-01T00:00:00.123Z");
        assert_eq!(rfc3339_seconds(WallMs(0)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_time_that_a_peer_made_up_is_written_without_a_panic() {
        assert_eq!(rfc3339(WallMs(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn durations_show_two_units_at_most() {
        let shown = |ms| short(Duration::from_millis(ms));
        assert_eq!(shown(340), "0.3s");
        assert_eq!(shown(12_900), "12s");
        assert_eq!(shown(200_000), "3m 20s");
        assert_eq!(shown(600_000), "10m");
        assert_eq!(shown(7_500_000), "2h 5m");
        assert_eq!(shown(356_400_000), "4d 3h");
    }
}
