//! What the journal promises, on a disk that loses and tears what was not synced.

mod damage;
mod exhaustive;
mod full;
mod golden;
mod rolling;
mod thread;
mod torn;

use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::{Begun, Fact, Kept, Place, Span, TaskDone, TaskFailed};
use gridctl_jobs::id::{Epoch, JobId, StageId, StageIndex, Token, UserId, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::Failure;
use gridctl_jobs::units::WallMs;
use uuid::Uuid;

use crate::disk::{Disk, SimDisk};
use crate::space::{Space, SpaceConfig};

use super::error::RecoverJournalError;
use super::recovery::{Base, Cut, recover};
use super::writer::Writer;

const STAGE: StageId = StageId { job: JobId(Uuid::from_u128(7)), stage: StageIndex(1) };

/// Small enough that a few frames fill one.
const SEGMENT_BYTES: u64 = 600;

pub(super) fn fact(n: u64) -> Fact {
    let token = Token { epoch: Epoch(3), counter: n };
    match n % 3 {
        0 => Fact::EpochStarted { epoch: Epoch(n), at: WallMs(1_700_000_000_000 + n) },
        1 => {
            let (range, by, at) = (TaskRange::new(n, n + 5), UserId(2), WallMs(9));
            let begun = vec![Begun { range, attempt: 1 }];
            Fact::TasksCancelled { stage: STAGE, range, fence: token, begun, by, at }
        }
        _ => Fact::TaskFailed(TaskFailed {
            stage: STAGE,
            index: 12,
            token,
            attempt: 1,
            worker: WorkerId(4),
            span: Span::default(),
            failure: Failure::Error { message: "x".repeat(usize::try_from(n).unwrap()) },
            kept: None,
            last: true,
        }),
    }
}

pub(super) fn done(n: u64, kept: Kept) -> Fact {
    let token = Token { epoch: Epoch(1), counter: n };
    let worker = WorkerId(1);
    Fact::TaskDone(TaskDone {
        stage: STAGE,
        index: 0,
        token,
        attempt: 1,
        worker,
        span: Span::default(),
        kept,
    })
}

pub(super) fn kept_nowhere() -> Kept {
    let place = Place { segment: 9, block: 9, offset: 0, crc: 0 };
    Kept { place, stdout_bytes: 0, stderr_bytes: 0, result_bytes: 0 }
}

/// A journal, what was read out of it, and how it is gone on with.
struct Opened {
    facts: Vec<Fact>,
    cut: Option<Cut>,
    writer: Writer,
}

fn no_reserve(disk: &Arc<dyn Disk>) -> Arc<Space> {
    let config = SpaceConfig { reserve_bytes: 0, kept_free_bytes: 0 };
    Arc::new(Space::open(Arc::clone(disk), config).unwrap())
}

fn open_knowing(disk: &SimDisk, durable: FactIndex) -> Result<Opened, RecoverJournalError> {
    let mut facts = Vec::new();
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let space = no_reserve(&disk);
    let base = Base::default();
    let found = recover(&disk, &space, SEGMENT_BYTES, base, durable, &mut |index, fact| {
        facts.push(fact);
        assert_eq!(index.0, facts.len() as u64);
    })?;
    assert_eq!(found.last.0, facts.len() as u64);
    Ok(Opened { facts, cut: found.cut, writer: found.writer })
}

fn open(disk: &SimDisk) -> Result<Opened, RecoverJournalError> {
    open_knowing(disk, FactIndex(0))
}

/// Commits `facts(from + 1)` up to `facts(to)` in frames of one, two and three facts.
fn write(writer: &mut Writer, from: u64, to: u64) {
    for n in from + 1..=to {
        writer.stage(FactIndex(n), &fact(n));
        if n % 6 < 3 || n == to {
            assert_eq!(writer.commit().unwrap(), FactIndex(n));
        }
    }
}

fn facts(to: u64) -> Vec<Fact> {
    (1..=to).map(fact).collect()
}

/// The segments, in order, with what they hold.
fn segments(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let names = disk.list("journal").unwrap();
    let paths = names
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .map(|name| format!("journal/{name}"));
    paths.map(|path| (path.clone(), disk.content(&path).unwrap())).collect()
}
