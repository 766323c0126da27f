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
/// The wait before the first retry, in milliseconds; it doubles with each.
pub const BACKOFF_FIRST_MS: u64 = 1_000;
/// The longest wait before a retry, in milliseconds.
pub const BACKOFF_LONGEST_MS: u64 = 60_000;
