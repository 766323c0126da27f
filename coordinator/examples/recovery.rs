//! How long a start takes, and how much memory, over a history of many finished tasks with results: from the journal
//! alone, and from a snapshot and what came after it.
//!
//! ```sh
//! cargo run --release -p gridctl-coordinator --example recovery -- [TASKS]
//! ```
#![expect(clippy::unwrap_used, reason = "a measurement ends at the first thing that is wrong")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use gridctl_coordinator::disk::RealDisk;
use gridctl_coordinator::journal::{FactGroup, Opened, Store, StoreConfig};
use gridctl_core::effect::FactIndex;
use gridctl_core::fact::{Fact, JobSubmitted, Span, TaskDone};
use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, StageIndex, Token, UserId, WorkerId};
use gridctl_jobs::job::Job;
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::stage::Stage;
use gridctl_jobs::surroundings::{LookError, Surroundings};
use gridctl_jobs::units::WallMs;
use uuid::Uuid;

/// Tasks of one job.
const JOB_TASKS: u64 = 100_000;
/// Facts of one commit.
const GROUP: u64 = 1_000;
/// Of the tasks, how many come after the snapshot.
const TAIL_SHARE: u64 = 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--open") => measure(&PathBuf::from(arguments.next().unwrap())),
        tasks => compare(tasks.map_or(1_000_000, |tasks| tasks.parse().unwrap())),
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").unwrap();
}

fn compare(tasks: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (journal, snapshot) = (dir.path().join("journal"), dir.path().join("snapshot"));
    write(&journal, tasks, false);
    write(&snapshot, tasks, true);
    for (what, root) in [("journal alone", journal), ("snapshot and tail", snapshot)] {
        let own = std::env::current_exe().unwrap();
        let output = Command::new(own).arg("--open").arg(&root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).unwrap();
        say(&format!("{tasks} finished tasks, {what}: {}", told.trim()));
    }
}

/// Opens a data directory, in a process of its own so that its memory is that of this alone.
fn measure(root: &Path) {
    let begun = Instant::now();
    let opened = open(root);
    let seconds = begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    let done: u64 = opened.state.jobs().map(|job| job.counts().done).sum();
    say(&format!("{done} done, {seconds:.2} s, {} MiB at most", kib >> 10));
}

fn open(root: &Path) -> Opened {
    let disk = Arc::new(RealDisk::open(root).unwrap());
    // Only when it is asked for.
    let config = StoreConfig { snapshot_every_bytes: 1, ..StoreConfig::default() };
    Store::open(disk, config, &mut |_, _| {}).unwrap()
}

fn write(root: &Path, tasks: u64, with_snapshot: bool) {
    let mut store = open(root).store;
    let mut last = 0;
    for first in (0..tasks).step_by(usize::try_from(GROUP).unwrap()) {
        let mut facts = Vec::new();
        let mut add = |fact| {
            last += 1;
            facts.push((FactIndex(last), fact));
        };
        if first % JOB_TASKS == 0 {
            add(submitted(first / JOB_TASKS + 1));
        }
        for task in first..(first + GROUP).min(tasks) {
            add(done(&store, task));
        }
        store.stage(&FactGroup::new(facts).unwrap());
        store.commit().unwrap();
        if with_snapshot && first == (tasks - tasks / TAIL_SHARE) / GROUP * GROUP {
            store.sweep().unwrap()().unwrap();
        }
    }
}

fn stage_of(job: u64) -> StageId {
    StageId { job: JobId(Uuid::from_u128(job.into())), stage: StageIndex(0) }
}

fn submitted(job: u64) -> Fact {
    Fact::JobSubmitted(JobSubmitted {
        number: JobNumber(job),
        id: stage_of(job).job,
        owner: UserId(0),
        digest: [0; 32],
        spec: Arc::new(spec()),
        at: WallMs(1_767_225_600_000),
    })
}

fn spec() -> JobSpec {
    let tasks = i64::try_from(JOB_TASKS).unwrap();
    let stage = Stage::command("main", ["true"]).for_each_range(0..tasks);
    Job::new("history").stage(stage).resolve(&Nowhere).unwrap().spec
}

fn done(store: &Store, task: u64) -> Fact {
    let stdout = format!("the result of task {task} is {}\n", task.wrapping_mul(0x9e37_79b9));
    let at = 1_767_225_600_000 + task;
    Fact::TaskDone(TaskDone {
        stage: stage_of(task / JOB_TASKS + 1),
        index: u32::try_from(task % JOB_TASKS).unwrap(),
        token: Token { epoch: Epoch(1_767_225_600_000), counter: task + 1 },
        attempt: 1,
        worker: WorkerId(task % 16 + 1),
        span: Span { started: WallMs(at), ended: WallMs(at + 20) },
        kept: store.results().append(stdout.as_bytes(), b"", b"").unwrap(),
    })
}

/// A machine without anything.
struct Nowhere;

impl Surroundings for Nowhere {
    fn base(&self) -> &str {
        "/"
    }

    fn glob(&self, _: &str, _: usize) -> Result<Vec<PathBuf>, LookError> {
        Ok(Vec::new())
    }

    fn read(&self, _: &str, _: usize) -> Result<Vec<u8>, LookError> {
        Err(LookError::NotFound)
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn home(&self) -> Option<String> {
        None
    }
}
