//! Forgetting jobs that have ended: by hand, or when their time is over.
//!
//! The time of a job is over once it ended longer ago than what is configured. Clocks are not trusted with
//! that: one that jumps ahead by a year would make every job old at once. So there is a line, and only what
//! ended before it is forgotten. It begins at the job that ended first and moves towards where the clock
//! says it belongs, but as far as jobs are kept only in a day of running (or in half of that time, where that
//! is shorter). What a wrong clock made look old thus goes over a day, the oldest first, and the log tells
//! each; a coordinator that was off, or that is asked for the first time to forget what is old, catches up.

use gridctl_jobs::id::JobId;
use gridctl_jobs::units::WallMs;

use super::cancel::check_owner;
use super::limits::{
    FORGET_AGAIN_MS, FORGET_AT_ONCE_MAX, FORGET_CATCH_UP_MS, FORGET_EVERY_MS, FORGET_EVERY_MS_MIN,
};
use super::{Scheduler, Step};
use crate::effect::{Refusal, Reply};
use crate::event::{Caller, MonoMs, Now, RequestId};
use crate::fact::Fact;

/// What has become of jobs that are old.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// How long ended jobs are kept; for ever where `None`.
    keep_ms: Option<u64>,
    /// What ended up to here may be forgotten; `None` before the first look.
    line: Option<Line>,
    /// When to look again.
    pub(super) next: Option<MonoMs>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    at: WallMs,
    moved: MonoMs,
}

impl Scheduler {
    /// Someone wants a job to be gone.
    pub(super) fn on_forget(
        &mut self,
        cx: &mut Step<'_>,
        request: RequestId,
        caller: Caller,
        id: JobId,
    ) {
        let Some(job) = self.state.job(id) else {
            let refusal = match self.state.forgotten(id) {
                Some(gone) => Refusal::Forgotten { id, number: gone.number },
                None => Refusal::NoSuchJob,
            };
            return self.reply(cx, request, Reply::Refused(refusal));
        };
        let number = job.number();
        let allowed = check_owner(job, caller).and_then(|()| match job.ended() {
            Some(_) => Ok(()),
            None => Err(Refusal::NotEnded { number }),
        });
        if let Err(refusal) = allowed {
            return self.reply(cx, request, Reply::Refused(refusal));
        }
        let (by, at) = (Some(caller.user), cx.now.wall);
        self.record(cx, Fact::JobForgotten { job: id, by, at });
        self.reply(cx, request, Reply::Forgotten { number });
    }

    /// Forgets some of the jobs whose time is over, when it is time to look.
    pub(super) fn forget_due(&mut self, cx: &mut Step<'_>) {
        if self.retention.next.is_none_or(|next| next > cx.now.mono) {
            return;
        }
        let oldest = self.state.ended_jobs().next().map(|(at, _)| at);
        let Some(line) = self.retention.look(cx.now, oldest) else { return };
        let due: Vec<JobId> = self
            .state
            .ended_jobs()
            .take_while(|(at, _)| *at <= line)
            .map(|(_, job)| job.id())
            .take(FORGET_AT_ONCE_MAX)
            .collect();
        if due.len() == FORGET_AT_ONCE_MAX {
            self.retention.look_soon(cx.now.mono);
        }
        for job in due {
            self.record(cx, Fact::JobForgotten { job, by: None, at: cx.now.wall });
        }
    }
}

impl Retention {
    pub(super) const fn new(keep_ms: Option<u64>) -> Self {
        Self { keep_ms, line: None, next: None }
    }

    /// Begins to look.
    pub(super) fn start(&mut self, now: MonoMs) {
        self.next = self.keep_ms.map(|_| now);
    }

    /// Moves the line, and returns it. `oldest` is when the job ended that ended first.
    fn look(&mut self, now: Now, oldest: Option<WallMs>) -> Option<WallMs> {
        let keep_ms = self.keep_ms?;
        let goal = now.wall.0.saturating_sub(keep_ms);
        let at = match self.line {
            None => oldest.map_or(goal, |oldest| oldest.0.min(goal)),
            Some(line) => {
                let passed_ms = now.mono.0.saturating_sub(line.moved.0);
                line.at.0.saturating_add(steps(passed_ms, keep_ms)).min(goal)
            }
        };
        self.line = Some(Line { at: WallMs(at), moved: now.mono });
        let every_ms = (keep_ms / 8).clamp(FORGET_EVERY_MS_MIN, FORGET_EVERY_MS);
        self.next = Some(MonoMs(now.mono.0.saturating_add(every_ms)));
        Some(WallMs(at))
    }

    fn look_soon(&mut self, now: MonoMs) {
        self.next = Some(MonoMs(now.0.saturating_add(FORGET_AGAIN_MS)));
    }
}

/// Returns how far the line moves at most in that time.
fn steps(passed_ms: u64, keep_ms: u64) -> u64 {
    let catch_up_ms = (keep_ms / 2).clamp(1, FORGET_CATCH_UP_MS);
    let steps = u128::from(passed_ms) * u128::from(keep_ms) / u128::from(catch_up_ms);
    u64::try_from(steps).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3_600_000;

    fn now(mono: u64, wall: u64) -> Now {
        Now { mono: MonoMs(mono), wall: WallMs(wall) }
    }

    #[test]
    fn the_line_follows_the_clock() {
        let mut retention = Retention::new(Some(10 * DAY_MS));
        let start = 100 * DAY_MS;
        assert_eq!(retention.look(now(0, start), None), Some(WallMs(90 * DAY_MS)));
        let later = now(DAY_MS, start + DAY_MS);
        assert_eq!(retention.look(later, None), Some(WallMs(91 * DAY_MS)));
        let set_back = now(2 * DAY_MS, start - DAY_MS);
        assert_eq!(retention.look(set_back, None), Some(WallMs(89 * DAY_MS)));
    }

    #[test]
    fn a_clock_that_jumps_ahead_moves_the_line_by_the_retention_in_a_day() {
        let mut retention = Retention::new(Some(10 * DAY_MS));
        retention.look(now(0, 100 * DAY_MS), None);
        let jumped = |hours: u64| now(hours * DAY_MS / 24, 500 * DAY_MS);
        let moved = retention.look(jumped(1), None).unwrap();
        assert_eq!(moved, WallMs(90 * DAY_MS + 10 * DAY_MS / 24));
        assert_eq!(retention.look(jumped(24), None), Some(WallMs(100 * DAY_MS)));
    }

    #[test]
    fn after_a_start_the_line_begins_at_the_oldest_job() {
        let mut retention = Retention::new(Some(DAY_MS));
        let oldest = Some(WallMs(7));
        assert_eq!(retention.look(now(5, 100 * DAY_MS), oldest), Some(WallMs(7)));
        let caught_up = retention.look(now(5 + 60 * DAY_MS, 160 * DAY_MS), oldest).unwrap();
        assert_eq!(caught_up, WallMs(7 + 120 * DAY_MS), "twice as fast as time goes");
    }

    #[test]
    fn without_a_retention_nothing_is_looked_at() {
        let mut retention = Retention::new(None);
        retention.start(MonoMs(1));
        assert_eq!(retention.next, None);
    }
}
