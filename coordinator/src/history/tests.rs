//! The file is a function of the state: however it came to be what it is, it is the same.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::{Fact, JobSubmitted, Kept, Place, RangeDone, Span, TaskDone, TaskFailed};
use gridctl_core::fact::{TokenId, UserRole};
use gridctl_core::state::{LOCAL_ADMIN, State};
use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, StageIndex, Token, UserId, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{Items, JobSpec, Numbers};
use gridctl_jobs::state::{Failure, JobState};
use gridctl_jobs::units::WallMs;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use super::catch_up::{CatchUp, Missing};
use super::file::HistoryFile;
use super::thread::{History, write_all, write_touched};
use super::touched::Touched;
use crate::disk::SimDisk;
use crate::journal::FactGroup;
use crate::leases::Leases;
use crate::reactor::tests::stage;
use crate::space::{Space, SpaceConfig};
use crate::views::Views;

/// Far longer than anything takes; a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(90);
const TASKS: u64 = 40;

/// Makes facts as a scheduler might, one after the other.
struct Facts {
    rng: fastrand::Rng,
    state: State,
    made: Vec<Fact>,
    jobs: u64,
}

impl Facts {
    fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let mut facts = Self { rng, state: State::new(), made: Vec::new(), jobs: 0 };
        facts.push(Fact::EpochStarted { epoch: Epoch(10), at: WallMs(1) });
        facts
    }

    fn push(&mut self, fact: Fact) {
        self.state.apply(&fact);
        self.made.push(fact);
    }

    fn token(&self) -> Token {
        Token { epoch: self.state.epoch(), counter: self.made.len() as u64 }
    }

    fn submit(&mut self) -> Fact {
        self.jobs += 1;
        let numbers = Numbers { first: 0, step: 1, numbers: TASKS, chunk: None };
        let stages = vec![stage("many", Items::Numbers(numbers)), stage("one", Items::Single)];
        let spec = JobSpec { name: format!("job {}", self.jobs), priority: 3, stages };
        Fact::JobSubmitted(JobSubmitted {
            number: JobNumber(self.jobs),
            id: JobId(Uuid::from_u128(self.jobs.into())),
            owner: LOCAL_ADMIN,
            digest: [0; 32],
            spec: Arc::new(spec),
            at: WallMs(1_000 + self.jobs),
        })
    }

    /// Something about one of the tasks that are there.
    fn about(&mut self, job: JobId) -> Fact {
        let stage = StageId { job, stage: StageIndex(self.rng.u32(0..2)) };
        let count = if stage.stage.0 == 0 { TASKS } else { 1 };
        let start = self.rng.u64(0..count);
        let range = TaskRange::new(start, self.rng.u64(start + 1..=count));
        let index = u32::try_from(start).unwrap();
        let (token, worker, by, at) = (self.token(), WorkerId(1), UserId(1), WallMs(7_000));
        let span = Span { started: WallMs(5_000 + start), ended: WallMs(6_000 + start) };
        let place = Place { segment: 1, block: 0, offset: 0, crc: 0 };
        let kept =
            Kept { place, stdout_bytes: 5, stderr_bytes: self.rng.u32(0..9), result_bytes: 0 };
        match self.rng.u8(0..7) {
            0 => Fact::RangeDone(RangeDone { stage, range, token, attempt: 1, worker, span }),
            1 | 2 => {
                Fact::TaskDone(TaskDone { stage, index, token, attempt: 2, worker, span, kept })
            }
            3 => Fact::TasksCancelled { stage, range, fence: token, begun: Vec::new(), by, at },
            4 => {
                let done_too = self.rng.bool();
                Fact::TasksReopened { stage, range, done_too, fence: token, by, at }
            }
            _ => {
                let failure = Failure::Exit { code: 3 };
                let (kept, last) = (self.rng.bool().then_some(kept), self.rng.bool());
                let attempt = 1;
                Fact::TaskFailed(TaskFailed {
                    stage,
                    index,
                    token,
                    attempt,
                    worker,
                    span,
                    failure,
                    kept,
                    last,
                })
            }
        }
    }

    fn step(&mut self) {
        let at = WallMs(9_000);
        let jobs: Vec<(JobId, bool)> =
            self.state.jobs().map(|job| (job.id(), job.ended().is_some())).collect();
        let any = (!jobs.is_empty()).then(|| jobs[self.rng.usize(0..jobs.len())]);
        let draw = self.rng.u8(0..20);
        let (token, by) = (self.token(), LOCAL_ADMIN);
        let fact = match (draw, any) {
            (0, _) => {
                let worker = WorkerId(self.made.len() as u64);
                let (name, key) = (format!("w{}", worker.0), [worker.0.to_le_bytes()[0]; 32]);
                Fact::WorkerEnrolled { worker, name, key, token: TokenId(1), at }
            }
            (1, _) => Fact::UserEnrolled {
                user: UserId(self.made.len() as u64 + 5),
                name: "u".to_owned(),
                role: UserRole::User,
                key: [7; 32],
                token: TokenId(1),
                at,
            },
            (2, _) => {
                let worker =
                    self.state.directory().workers().next().map_or(WorkerId(1), |(id, _)| id);
                Fact::WorkerDraining { worker, by, at }
            }
            (3 | 4, _) | (_, None) => self.submit(),
            (5, _) => Fact::EpochStarted { epoch: Epoch(self.state.epoch().0 + 1), at },
            (6 | 7, Some((job, false))) => Fact::JobEnded { job, state: JobState::Failed, at },
            (6, Some((job, true))) => Fact::JobForgotten { job, by: None, at },
            (_, Some((job, true))) => Fact::JobReopened { job, fence: token, by, at },
            (_, Some((job, false))) => self.about(job),
        };
        self.push(fact);
    }
}

fn facts(seed: u64, count: usize) -> Vec<Fact> {
    let mut facts = Facts::new(seed);
    (0..count).for_each(|_| facts.step());
    facts.made
}

fn views() -> Arc<Views> {
    Arc::new(Views::new(State::new(), Arc::new(Leases::new(1_000, 300))))
}

fn show(views: &Views, fact: &Fact) {
    views.publish(|content| content.state.apply(fact));
}

/// All rows of all tables, and up to which fact they are.
fn try_content(root: &Path) -> rusqlite::Result<Vec<Vec<Value>>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(root.join("history.sqlite"), flags)?;
    let mut all = Vec::new();
    for table in ["applied", "jobs", "stages", "tasks", "workers"] {
        let mut query = connection.prepare(&format!("SELECT * FROM {table}"))?;
        let columns = query.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
        let mut rows: Vec<Vec<Value>> =
            query.query_map([], row)?.collect::<rusqlite::Result<_>>()?;
        rows.sort_by_key(|row| format!("{row:?}"));
        all.extend(rows);
    }
    Ok(all)
}

fn content(root: &Path) -> Vec<Vec<Value>> {
    try_content(root).unwrap()
}

/// What a file would hold that is made now.
fn made_anew(views: &Views) -> Vec<Vec<Value>> {
    let dir = tempfile::tempdir().unwrap();
    let mut file = HistoryFile::open(dir.path()).unwrap();
    file.write(|to| write_all(to, views)).unwrap();
    content(dir.path())
}

fn write(root: &Path, views: &Views, touched: &mut Touched, reached: u64) {
    let mut file = HistoryFile::open(root).unwrap();
    let touched = std::mem::take(touched);
    file.write(|to| write_touched(to, views, &touched, FactIndex(reached))).unwrap();
}

#[test]
fn file_that_is_kept_up_to_date_equals_one_that_is_made_anew() {
    let mut rows = 0;
    for seed in 0..30 {
        let (dir, views) = (tempfile::tempdir().unwrap(), views());
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut touched = Touched::default();
        let made = facts(seed, 150);
        for (n, fact) in (1..).zip(&made) {
            show(&views, fact);
            touched.add(fact);
            if n == made.len() as u64 || rng.u8(0..6) == 0 {
                write(dir.path(), &views, &mut touched, n);
            }
        }
        let kept = content(dir.path());
        assert_eq!(kept, made_anew(&views), "seed {seed}");
        rows += kept.len();
    }
    assert!(rows > 1_000, "{rows} rows are no test");
}

#[test]
fn after_a_restart_only_what_is_missing_is_written_and_what_went_another_way_is_made_anew() {
    let mut caught_up = 0;
    for seed in 0..30 {
        let (dir, before) = (tempfile::tempdir().unwrap(), views());
        let mut rng = fastrand::Rng::with_seed(seed);
        let made = facts(seed, 100);
        let written = rng.usize(1..=made.len());
        let mut touched = Touched::default();
        for fact in &made[..written] {
            show(&before, fact);
            touched.add(fact);
        }
        write(dir.path(), &before, &mut touched, written as u64);

        // A snapshot holds the first facts, recovery reads the others.
        let snapshot = rng.usize(0..made.len());
        let (after, mut state) = (views(), State::new());
        let mut catch_up = CatchUp::read(dir.path());
        for (n, fact) in made.iter().enumerate() {
            if n >= snapshot {
                catch_up.see(FactIndex(n as u64 + 1), fact);
            }
            state.apply(fact);
            show(&after, fact);
        }
        match catch_up.end(FactIndex(made.len() as u64), &state) {
            Missing::Rows(mut touched) => {
                assert!(snapshot <= written, "seed {seed}: what was cut is not known");
                write(dir.path(), &after, &mut touched, made.len() as u64);
                assert_eq!(content(dir.path()), made_anew(&after), "seed {seed}");
                caught_up += 1;
            }
            Missing::Everything => {
                let begins = |facts: &[Fact]| {
                    facts.iter().any(|fact| matches!(fact, Fact::EpochStarted { .. }))
                };
                let is_known = snapshot <= written
                    && (begins(&made[snapshot..written]) || !begins(&made[written..]));
                assert!(!is_known, "seed {seed}");
            }
        }

        // Another journal, as after a restored backup: other epochs.
        let mut catch_up = CatchUp::read(dir.path());
        let mut state = State::new();
        for n in 1..=200 {
            let fact = Fact::EpochStarted { epoch: Epoch(1_000_000 + n), at: WallMs(1) };
            catch_up.see(FactIndex(n), &fact);
            state.apply(&fact);
        }
        assert!(matches!(catch_up.end(FactIndex(200), &state), Missing::Everything));
    }
    assert!(caught_up > 5, "{caught_up} of 30");
}

/// A running history over some facts.
struct Live {
    dir: tempfile::TempDir,
    views: Arc<Views>,
    shown: u64,
    history: History,
}

impl Live {
    /// Starts one over what may be there in `dir`.
    fn start(dir: tempfile::TempDir) -> Self {
        let (views, disk) = (views(), Arc::new(SimDisk::new()));
        let space = Space::open(disk, SpaceConfig { reserve_bytes: 0, kept_free_bytes: 0 });
        let mut catch_up = CatchUp::read(dir.path());
        let first = Fact::EpochStarted { epoch: Epoch(1), at: WallMs(1) };
        catch_up.see(FactIndex(1), &first);
        let missing = catch_up.end(FactIndex(0), &State::new());
        let root = dir.path().to_owned();
        let started = History::start(root, missing, Arc::clone(&views), Arc::new(space.unwrap()));
        let (feed, history) = started.unwrap();
        views.feed(feed);
        Self { dir, views, shown: 0, history }
    }

    fn show(&mut self, facts: &[Fact]) {
        for fact in facts {
            self.shown += 1;
            show(&self.views, fact);
            let group = FactGroup::new(vec![(FactIndex(self.shown), fact.clone())]).unwrap();
            self.views.note_shown(&group);
        }
    }

    /// Waits until the file holds what is shown.
    fn until_equal(&self, what: &str) {
        let (started, expected) = (Instant::now(), made_anew(&self.views));
        loop {
            let found = try_content(self.dir.path());
            if found.as_ref().is_ok_and(|found| *found == expected) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{what}: {found:?} is not {expected:?}");
            sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn thread_keeps_the_file_up_to_date_and_stops_with_everything_written() {
    let mut live = Live::start(tempfile::tempdir().unwrap());
    let made = facts(3, 300);
    live.show(&made[..100]);
    live.until_equal("the first facts");
    live.show(&made[100..]);
    live.history.stop();
    assert_eq!(content(live.dir.path()), made_anew(&live.views));
}

#[test]
fn damaged_file_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("history.sqlite"), vec![0x5a; 10_000]).unwrap();
    let mut live = Live::start(dir);
    live.show(&facts(4, 100));
    live.until_equal("a file of garbage");
    live.history.stop();
}

#[test]
fn file_of_another_version_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let other = Connection::open(dir.path().join("history.sqlite")).unwrap();
    other.execute_batch("PRAGMA user_version = 99; CREATE TABLE jobs (x);").unwrap();
    drop(other);
    let mut live = Live::start(dir);
    live.show(&facts(5, 50));
    live.until_equal("a newer file");
    live.history.stop();
}

#[test]
fn file_that_is_removed_is_made_anew_from_the_state() {
    let mut live = Live::start(tempfile::tempdir().unwrap());
    let made = facts(6, 200);
    live.show(&made[..100]);
    live.until_equal("the first facts");
    for name in ["history.sqlite", "history.sqlite-wal", "history.sqlite-shm"] {
        std::fs::remove_file(live.dir.path().join(name)).unwrap();
    }
    live.show(&made[100..]);
    live.until_equal("after it was removed");
    live.history.stop();
}

#[test]
fn file_that_somebody_locks_holds_nobody_up_and_is_mended_later() {
    let mut live = Live::start(tempfile::tempdir().unwrap());
    let made = facts(7, 200);
    live.show(&made[..50]);
    live.until_equal("the first facts");
    let other = Connection::open(live.dir.path().join("history.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Nobody waits here.
    live.show(&made[50..]);
    other.execute_batch("COMMIT").unwrap();
    live.until_equal("after the lock");
    live.history.stop();
}
