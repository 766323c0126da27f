//! Every maximum of a job in one place, each with why that value.

/// A job file, in bytes: a thousand times what people write by hand, and parsed in milliseconds.
pub const JOB_FILE_BYTES_MAX: usize = 1 << 20;
/// Stages of one job: a graph that a person can still read in a table.
pub const STAGES_MAX: usize = 1024;
/// Tasks of one stage: what a 32-bit set of task indexes can hold.
pub const TASKS_PER_STAGE_MAX: u64 = 1 << 32;
/// Characters of the name of a job or stage: fits one line of a table.
pub const NAME_CHARS_MAX: usize = 128;
/// Items of a list, of lines, of files: they are kept in memory by the coordinator.
pub const ITEMS_MAX: usize = 10_000_000;
/// Bytes of all items of one stage together.
pub const ITEMS_BYTES_MAX: usize = 256 << 20;
/// Bytes of one item: the kernel refuses arguments over 128 KiB, two of it must fit.
pub const ITEM_BYTES_MAX: usize = 64 << 10;
/// Bytes of a kept standard output or error of one attempt; beyond it the middle is left out.
pub const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// Bytes of a function's result value.
pub const RESULT_BYTES_MAX: usize = 16 << 20;
/// Bytes of the message of a failure (an error's text, a panic's): enough to see what happened.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 8 << 10;
/// Retries of one task: more would hide a task that cannot succeed.
pub const RETRIES_MAX: u32 = 1_000_000;
/// Milliseconds before a retry: a week, beyond which a person has looked anyway.
pub const BACKOFF_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// Workers that may be lost with one task before it is set aside, unless a stage says so.
pub const WORKER_LOSSES_USUAL: u32 = 3;
/// ...and whatever a stage says: a task that has taken down a thousand machines has been tried.
pub const WORKER_LOSSES_MAX: u32 = 1000;
/// Priorities lie in `-PRIORITY_ABS_MAX..=PRIORITY_ABS_MAX`.
pub const PRIORITY_ABS_MAX: i32 = 1000;
/// Cpus of one task: more than any machine has, so that a slip of a digit is seen at once.
pub const CPUS_MAX: u32 = 65_536;
/// Seconds of a timeout: ten years, so that adding one to a clock never overflows.
pub const TIMEOUT_SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;
/// Bytes of all text of one stage's task (command, script, environment, arguments, standard input): twice
/// a job file, whatever one can say with directories filled in.
pub const TASK_TEXT_BYTES_MAX: usize = 2 * JOB_FILE_BYTES_MAX;
/// Bytes of one task with its values filled in: a small text may name a long item many times over, and the
/// machine that fills it in must not run out of memory. More than any system takes as arguments.
pub const FILLED_TASK_BYTES_MAX: usize = 16 << 20;
/// Levels of arrays and tables in `args`: deeper than people write, and recursion over it stays shallow.
pub const ARGS_DEPTH_MAX: usize = 64;
/// Values in the `args` of one stage: a job file cannot hold more.
pub const ARGS_VALUES_MAX: usize = JOB_FILE_BYTES_MAX;
/// Diagnostics shown for one job file; the rest is counted. More would scroll the first ones away.
pub const DIAGNOSTICS_MAX: usize = 100;
/// Characters of a source line shown in a diagnostic: a longer one is cut around the place.
pub const SOURCE_LINE_CHARS_MAX: usize = 160;
