//! What can go wrong, and how often.

use fastrand::Rng;

use crate::schedule::FAULTS_MIN;
use crate::time::SimMs;

/// Faults of a schedule, at most: more would only hide each other.
const FAULTS_MAX: usize = 9;

/// How far a heartbeat misses the end of its lease, at most.
const RACE_MS: u64 = 200;
/// What a full disk still takes, at most: a reserve, and a little more.
const LEFT_BYTES: u64 = 64 << 10;
/// Wall clocks jump to anywhere within so much of the right time: join tokens are good for longer.
const WALL_JUMP_MS: i64 = 20 * 60_000;

/// One schedule in so many goes on from a backup: it waits for the longest lease that there can be.
const RESTORED_ONE_IN: u8 = 40;

/// Something that goes wrong at a certain time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A worker's connection breaks; what is under way is lost, and both ends notice in their own time.
    Break { worker: usize },
    /// Nothing goes through in one direction for a while; what was sent arrives late, or not at all.
    OneWay { worker: usize, up: bool, for_ms: u64 },
    /// A worker's connection breaks, and what was under way to the coordinator arrives after the worker is
    /// back.
    Late { worker: usize },
    /// A worker's next reports are delivered twice.
    Duplicate { worker: usize, reports: u32 },
    /// A worker's machine loses power: tasks, results and connection are gone.
    WorkerCrash { worker: usize, down_ms: u64 },
    /// A worker is told to stop in order, and started again later.
    WorkerDrain { worker: usize, down_ms: u64 },
    /// A worker's process stands still; its tasks run on.
    WorkerPause { worker: usize, for_ms: u64 },
    /// The coordinator's machine loses power: unsynced writes are lost or torn.
    CoordinatorCrash { down_ms: u64 },
    /// The coordinator's process is killed; its machine keeps what it wrote, synced or not.
    CoordinatorKill { down_ms: u64 },
    /// As a crash, in the middle of a commit.
    CrashInCommit { changes: u64, down_ms: u64 },
    /// The coordinator's next sync fails, so that it stops; it is started again.
    FailedSync { down_ms: u64 },
    /// Syncs take very long for a while.
    SlowDisk { for_ms: u64, sync_ms: u64 },
    /// The coordinator's disk takes only so much more for a while.
    FullDisk { for_ms: u64, left_bytes: u64 },
    /// The coordinator's disk takes nothing for a while.
    ReadOnly { for_ms: u64 },
    /// The coordinator's directory is copied.
    Backup,
    /// The coordinator's disk is lost, and another one goes on from the copy.
    Restore { down_ms: u64 },
    /// The coordinator stands still.
    CoordinatorPause { for_ms: u64 },
    /// The next replies to clients are lost, so that clients ask again.
    LostReplies { replies: u32 },
    /// The next requests of clients are lost.
    LostRequests { requests: u32 },
    /// The next requests of clients arrive twice, the second while the first may still be handled.
    DuplicateRequests { requests: u32 },
    /// Messages take much longer for a while, so that those on different streams overtake each other.
    Reorder { for_ms: u64 },
    /// The coordinator has more to do than there is time for.
    Overload { for_ms: u64, cost_ms: u64 },
    /// What a worker says, or what it is told, comes so late that a heartbeat or its answer and the end of
    /// the lease come together.
    Race { worker: usize, up: bool, early_ms: u64, late_ms: u64 },
    /// The wall clock of the coordinator, or of a worker, jumps.
    WallJump { worker: Option<usize>, to_ms: i64 },
    /// The coordinator crashes after so many events.
    CrashAtEvent { events: u64, down_ms: u64 },
    /// A worker's machine loses power after so many steps of its agent.
    WorkerCrashAtStep { worker: usize, steps: u64, down_ms: u64 },
}

/// A clock that goes too fast or too slow does so all the time.
pub(crate) const CLOCK_RATE: &str = "clock rate";

/// The kinds of fault, for counting.
pub(crate) const FAULT_KINDS: [&str; 27] = [
    "break",
    "one way",
    "late",
    "duplicate",
    "worker crash",
    "worker drain",
    "worker pause",
    "coordinator crash",
    "crash in commit",
    "failed sync",
    "coordinator pause",
    "lost replies",
    "lost requests",
    "duplicate requests",
    "reorder",
    "overload",
    "race with expiry",
    "wall clock jump",
    "crash at event",
    "worker crash at step",
    "coordinator kill",
    "slow disk",
    "full disk",
    "read only",
    "backup",
    "restore",
    CLOCK_RATE,
];

impl Fault {
    pub(crate) const fn kind(self) -> &'static str {
        FAULT_KINDS[match self {
            Self::Break { .. } => 0,
            Self::OneWay { .. } => 1,
            Self::Late { .. } => 2,
            Self::Duplicate { .. } => 3,
            Self::WorkerCrash { .. } => 4,
            Self::WorkerDrain { .. } => 5,
            Self::WorkerPause { .. } => 6,
            Self::CoordinatorCrash { .. } => 7,
            Self::Backup => 24,
            Self::Restore { .. } => 25,
            Self::SlowDisk { .. } => 21,
            Self::FullDisk { .. } => 22,
            Self::ReadOnly { .. } => 23,
            Self::CoordinatorKill { .. } => 20,
            Self::CrashInCommit { .. } => 8,
            Self::FailedSync { .. } => 9,
            Self::CoordinatorPause { .. } => 10,
            Self::LostReplies { .. } => 11,
            Self::LostRequests { .. } => 12,
            Self::DuplicateRequests { .. } => 13,
            Self::Reorder { .. } => 14,
            Self::Overload { .. } => 15,
            Self::Race { .. } => 16,
            Self::WallJump { .. } => 17,
            Self::CrashAtEvent { .. } => 18,
            Self::WorkerCrashAtStep { .. } => 19,
        }]
    }
}

/// Draws at least [`FAULTS_MIN`] faults within the first `active_ms`, in order of time.
pub(crate) fn draw_faults(
    rng: &mut Rng,
    active_ms: u64,
    lease_ms: u64,
    workers: usize,
) -> Vec<(SimMs, Fault)> {
    let count = rng.usize(FAULTS_MIN..=FAULTS_MAX);
    // The first few come early, while there is certainly something left to go wrong.
    let latest_ms = |number| if number < FAULTS_MIN { active_ms / 3 } else { active_ms };
    let mut faults: Vec<(SimMs, Fault)> = (0..count)
        .map(|number| {
            let at = if rng.u8(0..20) == 0 { 0 } else { rng.u64(0..latest_ms(number)) };
            (SimMs(at), draw_fault(rng, lease_ms, workers))
        })
        .collect();
    if rng.u8(0..RESTORED_ONE_IN) == 0 {
        let at = rng.u64(0..active_ms / 2);
        faults.push((SimMs(at), Fault::Backup));
        let down_ms = rng.u64(1..lease_ms);
        faults.push((SimMs(at + rng.u64(1..active_ms / 2)), Fault::Restore { down_ms }));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// Adds what makes two workers run the same tasks under a coordinator that has forgotten both, and lets the
/// older of the two grants report last:
///
/// one worker is cut off for longer than its lease, so that its tasks go to others; the coordinator restarts;
/// the worker is back first, and what it runs is adopted; then the others come and announce the higher
/// tokens, while what the coordinator tells the first worker comes late.
pub(crate) fn add_double_runs(
    rng: &mut Rng,
    faults: &mut Vec<(SimMs, Fault)>,
    from: SimMs,
    lease_ms: u64,
    workers: usize,
) {
    let tenths = |tenths: u64| lease_ms * tenths / 10;
    let first = rng.usize(0..workers);
    let cut_at = from.after(rng.u64(50..tenths(4)));
    let crash_at = cut_at.after(tenths(12));
    let one_way = |worker, up, for_ms| Fault::OneWay { worker, up, for_ms };
    faults.push((cut_at, one_way(first, true, tenths(14))));
    faults.push((crash_at, Fault::CoordinatorCrash { down_ms: rng.u64(1..tenths(1)) }));
    for other in (0..workers).filter(|other| *other != first) {
        faults.push((crash_at, one_way(other, true, rng.u64(tenths(4)..tenths(9)))));
    }
    faults.push((cut_at.after(tenths(15)), one_way(first, false, tenths(9))));
    faults.sort_by_key(|(at, _)| *at);
}

fn draw_fault(rng: &mut Rng, lease_ms: u64, workers: usize) -> Fault {
    let worker = rng.usize(0..workers);
    // Half of what lasts is over within the lease, half is not.
    let for_ms = rng.u64(1..2 * lease_ms);
    let down_ms = for_ms;
    match rng.u8(0..39) {
        0 | 1 => Fault::Break { worker },
        2..5 => Fault::OneWay { worker, up: rng.bool(), for_ms },
        5 | 6 => Fault::Late { worker },
        7 | 8 => Fault::Duplicate { worker, reports: rng.u32(1..20) },
        9 | 10 => Fault::WorkerCrash { worker, down_ms },
        11 => Fault::WorkerDrain { worker, down_ms },
        12 => Fault::WorkerPause { worker, for_ms: for_ms * rng.u64(1..=2) },
        13 | 14 => Fault::CoordinatorCrash { down_ms },
        15 | 16 => Fault::CrashInCommit { changes: rng.u64(1..4), down_ms },
        17 => Fault::FailedSync { down_ms },
        18 => Fault::CoordinatorPause { for_ms },
        19 => Fault::LostReplies { replies: rng.u32(1..4) },
        20 => Fault::LostRequests { requests: rng.u32(1..4) },
        21 => Fault::DuplicateRequests { requests: rng.u32(1..4) },
        22 => Fault::Reorder { for_ms },
        23 => Fault::Overload { for_ms, cost_ms: rng.u64(1..40) },
        24..27 => Fault::Race {
            worker,
            up: rng.bool(),
            early_ms: rng.u64(0..RACE_MS),
            late_ms: rng.u64(0..RACE_MS),
        },
        27 => Fault::WallJump {
            worker: rng.bool().then_some(worker),
            to_ms: rng.i64(-WALL_JUMP_MS..WALL_JUMP_MS),
        },
        30..32 => Fault::CoordinatorKill { down_ms },
        32 | 33 => Fault::SlowDisk { for_ms, sync_ms: rng.u64(20..500) },
        34 | 35 => Fault::FullDisk { for_ms: 2 * for_ms, left_bytes: rng.u64(0..LEFT_BYTES) },
        36 => Fault::ReadOnly { for_ms },
        28 | 29 => Fault::CrashAtEvent { events: rng.u64(1..30), down_ms },
        _ => Fault::WorkerCrashAtStep { worker, steps: rng.u64(1..20), down_ms },
    }
}
