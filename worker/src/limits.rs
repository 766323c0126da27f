//! Every maximum and delay of a worker in one place, each with why that value.

/// Run time that a slice of short tasks is made for, in microseconds: long against the 20 to 100 µs that
/// handing a slice over costs, short against what a person notices.
pub(crate) const SLICE_TARGET_US: u64 = 2_000;
/// Tasks of one slice: at 100 ns a task it lasts as long as a slice is made for.
pub(crate) const SLICE_TASKS_MAX: u64 = 16_384;
/// How many times longer than the last slice a slice may be: a first quick task does not vouch for
/// thousands of others.
pub(crate) const SLICE_GROWTH: u64 = 8;
/// After so long without an end a slice has turned out long: what has not begun of it is shared with idle
/// lanes. Five times what a slice is made for, so that a busy machine does not trigger it.
pub(crate) const SLICE_LONG_MS: u64 = 10;
/// Slices that run at once: each is a thread or more. Only tasks that ask for fractions of a cpu get there.
pub(crate) const LANES_MAX: usize = 1_024;

/// A task that has run so long is announced as begun; shorter ones would only be noise.
pub(crate) const STARTED_AFTER_MS: u64 = 50;
/// A function that keeps its cpus so long after its task was over is worth a line in the log.
pub(crate) const OVERRUN_NOTICE_MS: u64 = 1_000;

/// Ends are gathered so long before a report is made of them, unless a lane idles: thousands of short
/// tasks share a message, and nobody waits for it.
pub(crate) const REPORT_DELAY_MS: u64 = 2;
/// Bytes of a report before no more is added: with one more inline output it still fits a frame easily.
pub(crate) const REPORT_BYTES_MAX: usize = 256 << 10;
/// Items of a report before the next one is begun.
pub(crate) const REPORT_ITEMS_MAX: usize = 4_096;
/// Bytes of results that the coordinator has not acknowledged before nothing new begins: what a second of
/// a fast network carries. What runs then may add its own.
pub(crate) const UNSETTLED_BYTES_MAX: usize = 64 << 20;
/// Bytes of large outputs in memory before more of them go to a file: a part of what may be unacknowledged, so
/// that small ones have room beside them.
pub(crate) const SPILL_FROM_BYTES: usize = UNSETTLED_BYTES_MAX / 2;
/// So many bytes in the file weigh as much as one in memory: 4 GiB before nothing new begins.
pub(crate) const SPILLED_BYTES_PER_BYTE: usize = 64;
/// Large outputs that are sent at once: each is read back whole.
pub(crate) const UPLOADS_AT_ONCE: usize = 4;
/// How often an attempt to come back is made at least, as a part of the lease: several within one.
pub(crate) const RECONNECTS_PER_LEASE: u64 = 4;
/// Items that the coordinator has not acknowledged before nothing new begins: with the grants and the
/// slices they must fit a Hello.
pub(crate) const UNSETTLED_ITEMS_MAX: usize = 8_192;
/// What an item without output takes, in bytes.
pub(crate) const REPORT_ITEM_BYTES: usize = 96;
/// How many of the last items are looked at for one that an end continues: more than lanes usually are.
pub(crate) const COALESCE_LOOK_BACK: usize = 16;

/// Pieces of grants that wait in queues: thousands of times what a coordinator of ours gives.
pub(crate) const PIECES_MAX: usize = 4_096;
/// Stages whose orders are kept: each may be 2 MiB, few are more than a few hundred bytes.
pub(crate) const STAGES_MAX: usize = 4_096;

/// How long a Hello waits for its answer: the coordinator may be recovering, but not for ever.
pub(crate) const WELCOME_WAIT_MS: u64 = 10_000;
/// The shortest time between heartbeats that a coordinator may ask for.
pub(crate) const HEARTBEAT_MS_MIN: u64 = 20;

/// How long a task has after SIGTERM before SIGKILL.
pub(crate) const KILL_GRACE_MS: u64 = 5_000;
/// How long ending in order may take once the grace of a drain is over: killing takes [`KILL_GRACE_MS`],
/// the rest is for the last results to be acknowledged.
pub(crate) const LEAVE_WAIT_MS: u64 = KILL_GRACE_MS + 5_000;

/// Threads of function pools that are kept while nobody uses them: a sleeping thread takes some 20 KiB.
pub(crate) const IDLE_POOL_THREADS_MAX: usize = 256;
/// Lanes for processes that are kept while nobody uses them: each is a sleeping thread and a directory.
pub(crate) const IDLE_LANES_MAX: usize = 256;
/// Bytes read of a stream after its process has ended: what was printed before fits its pipe, which has
/// a mebibyte at most unless root made it larger.
pub(crate) const DRAIN_BYTES_MAX: usize = 1 << 20;
