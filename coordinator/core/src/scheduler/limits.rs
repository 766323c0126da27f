//! Every maximum and pace of the scheduler in one place, each with why that value.

use gridctl_jobs::units::Cpus;

/// Jobs that have not ended: each costs some kilobytes of memory, and a person cannot oversee more.
pub const OPEN_JOBS_MAX: usize = 10_000;
/// Tasks of one announcement: what a worker holds of sixteen stages that are full to [`OUTSTANDING_MAX`],
/// so that the answers, a piece a task at worst, stay below 100 MB.
pub const HELD_TASKS_MAX: usize = 1 << 20;
/// Failures of one worker that wait for the window after a restart to close: with messages of 8 KiB they
/// are 128 MiB at worst. One that has more is sent away, and comes back with them.
pub const HELD_BACK_MAX: usize = 1 << 14;
/// The cpus of one worker: a hundred times today's largest machines, so that sums over workers never
/// overflow whatever one of them says.
pub const WORKER_CPUS_MAX: Cpus = Cpus::whole(1 << 16);
/// Unfinished tasks of one stage on one worker: 65 ms of work at a million tasks a second, and a worker's
/// queue of them fits in some megabytes.
pub const OUTSTANDING_MAX: u64 = 1 << 16;
/// Bytes of items that go with one grant: a fraction of the largest frame, so that grants never fill a
/// stream for long. One item (64 KiB) always fits.
pub const GRANT_ITEM_BYTES_MAX: usize = 256 << 10;
/// Run time, in microseconds, that a worker's unstarted tasks of a stage keep one lane busy: many round
/// trips on any network, and short enough that little is stuck behind a worker that turns slow.
pub const BACKLOG_US: u64 = 100_000;
/// A stage's backlogs grow at most so many times with each round of reports, so that a few untypical first
/// tasks do not decide.
pub const BACKLOG_GROWTH: u64 = 8;
/// How many tasks the estimate of a stage's run time remembers (the weight of what is known against new
/// samples).
pub const PACE_MEMORY_TASKS: u64 = 8;
/// Unstarted work below this run time, in microseconds, is not taken back: it would be over before the
/// answer came and the tasks had travelled.
pub const TAKE_BACK_WORTH_US: u64 = 5_000;
/// How many stages with unstarted work are looked at for one idle worker, the largest first.
pub const TAKE_BACK_LOOKS: usize = 16;
/// Workers on which a task that could not start is tried.
pub const START_TRIES: usize = 3;
/// How often a coordinator looks for jobs to forget, in milliseconds, unless they are kept for minutes only.
pub const FORGET_EVERY_MS: u64 = 60_000;
/// How often at most, where they are kept for moments.
pub const FORGET_EVERY_MS_MIN: u64 = 100;
/// Jobs that are forgotten in one step: what each has in memory is given back, which takes milliseconds for
/// the largest.
pub const FORGET_AT_ONCE_MAX: usize = 16;
/// When there are more, after so long come the next, in milliseconds: others get their turn in between.
pub const FORGET_AGAIN_MS: u64 = 20;
/// How long it takes to forget what a clock that jumped ahead made look old, in milliseconds: a day, in which
/// somebody notices. Where jobs are kept for less than two, half of that.
pub const FORGET_CATCH_UP_MS: u64 = 24 * 3_600_000;
/// Tasks by which a stage's watermark is written ahead, at least: one record for most stages.
pub const WATERMARK_STEP_MIN: u64 = 64;
/// And at most: so many tasks wait for the window after a restart although nobody runs them, and a stage of
/// 10^8 tasks costs some thousand records.
pub const WATERMARK_STEP_MAX: u64 = 1 << 16;
/// The longest lease, in milliseconds: for so long a coordinator that was set back grants nothing, and so long
/// the work of a lost machine waits at most.
pub const LEASE_MS_MAX: u64 = 600_000;
/// What killing a process tree takes at most, in milliseconds, together with the time until somebody gets to
/// it: on a busy machine a few scheduling rounds.
const KILL_MS: u64 = 250;

/// Returns how long after the end of a lease of `lease_ms` what had to stop with it is surely dead.
///
/// Its worker kills at nine tenths of the lease, counted from before the coordinator's: with clocks that go
/// wrong by 5 % each, in opposite directions, that is just before the coordinator counts a whole lease. A
/// tenth of it more is what the worker has to be late by.
pub(super) const fn stop_margin_ms(lease_ms: u64) -> u64 {
    lease_ms / 10 + KILL_MS
}
/// Stages, and tasks of each, that are looked at for one that may run alone on a worker: those behind them wait
/// until the first have run.
pub const SUSPECT_LOOKS: usize = 64;
