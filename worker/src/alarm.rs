//! Wakes the reactor at moments of the clock that counts suspend: other waits stand still while the machine
//! sleeps, and go on afterwards as if nothing had been.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::agent::MonoMs;
use crate::events::Events;

/// Moments that are nearer than this are waited for otherwise.
const NEAR_MS: u64 = 50;

/// The alarm clock; its thread ends with it.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: Arc<OwnedFd>,
    armed: Option<MonoMs>,
}

impl Alarm {
    /// Starts its thread.
    ///
    /// # Errors
    /// Where neither timer nor thread can be made.
    pub(crate) fn start(events: Events) -> io::Result<Self> {
        let timer = Arc::new(timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?);
        let rings = Arc::clone(&timer);
        thread::Builder::new().name("alarm".to_owned()).stack_size(64 << 10).spawn(move || {
            let mut count = [0; 8];
            while rustix::io::read(&rings, &mut count).is_ok() && events.wake() {}
        })?;
        Ok(Self { timer, armed: None })
    }

    /// Wakes the reactor at `at`, or before.
    pub(crate) fn set(&mut self, now: MonoMs, at: Option<MonoMs>) {
        let Some(at) = at.filter(|at| at.since(now) > NEAR_MS) else { return };
        // One that comes too early is set anew then; so a lease that is renewed costs nothing.
        if self.armed.is_none_or(|armed| at < armed || armed <= now) {
            self.armed = Some(at);
            self.arm(at);
        }
    }

    fn arm(&self, at: MonoMs) {
        let at = Timespec {
            tv_sec: i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(at.0 % 1_000 * 1_000_000).unwrap_or(0),
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: never, it_value: at };
        // The kernel takes any moment; where it did not, the other waits are there.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &timer);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // Long past: it rings at once, and the thread finds nobody who listens.
        self.arm(MonoMs(1));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::mono;
    use crate::events::ToReactor;

    #[test]
    fn it_rings_for_the_nearest_moment_that_was_set() {
        let (events, inbox) = Events::new();
        let mut alarm = Alarm::start(events).unwrap();
        let now = mono();
        alarm.set(now, Some(now.after(3_600_000)));
        alarm.set(now, Some(now.after(NEAR_MS + 10)));
        let heard = inbox.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(heard, ToReactor::Look));
        assert!(mono() >= now.after(NEAR_MS + 10));
    }
}
