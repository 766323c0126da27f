//! What happened in which state: tables whose every cell must be hit, unless it is listed as impossible.

use std::fmt;

use gridctl_core::activity::WorkerState;
use gridctl_core::event::{Event, Outcome, Phase, SessionId};
use gridctl_core::state::State;
use gridctl_jobs::id::{JobId, StageId, Token, WorkerId};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::JobState;

use crate::coverage::{EVENTS, event_kind};
use crate::ledger::Standing;
use crate::world::World;

/// Which table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Of {
    /// Events of a worker's session, by how the scheduler has the worker.
    Sessions,
    /// What is said of tasks, by how they stand.
    Tasks,
    /// What clients ask, by the state of the job.
    Jobs,
    /// Crashes of the coordinator, by what happened last.
    Crashes,
}

/// A table of counts.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    title: &'static str,
    rows: &'static [&'static str],
    columns: &'static [&'static str],
    impossible: fn(&str, &str) -> Option<&'static str>,
    counts: Vec<u64>,
}

const SESSION_ROWS: [&str; 9] = [
    "hello",
    "hello with held items",
    "started",
    "report of done tasks",
    "report of a failure",
    "given back",
    "goodbye",
    "disconnected",
    "lease expired",
];
const SESSION_COLUMNS: [&str; 12] = [
    "new",
    "ready",
    "suspect",
    "draining",
    "lost",
    "older session",
    "new, window",
    "ready, window",
    "suspect, window",
    "draining, window",
    "lost, window",
    "older session, window",
];
const TASK_ROWS: [&str; 7] = [
    "announced queued",
    "announced running",
    "announced finished",
    "started",
    "done",
    "failed",
    "given back",
];
const TASK_COLUMNS: [&str; 9] = [
    "held",
    "overtaken",
    "free",
    "recorded",
    "done already",
    "failed already",
    "cancelled",
    "skipped",
    "unknown",
];
const JOB_ROWS: [&str; 7] =
    ["submit", "cancel job", "cancel stage", "cancel tasks", "retry", "retry all", "forget"];
const JOB_COLUMNS: [&str; 8] = [
    "unknown",
    "open",
    "done",
    "failed",
    "cancelled",
    "unknown, window",
    "open, window",
    "ended, window",
];

impl Table {
    pub(crate) fn all() -> [Self; 4] {
        [
            Self::new(
                "events of a worker's session, by how the scheduler has the worker",
                &SESSION_ROWS,
                &SESSION_COLUMNS,
                session_impossible,
            ),
            Self::new(
                "what is said of tasks, by how they stand",
                &TASK_ROWS,
                &TASK_COLUMNS,
                task_impossible,
            ),
            Self::new(
                "what clients ask, by the state of the job",
                &JOB_ROWS,
                &JOB_COLUMNS,
                job_impossible,
            ),
            Self::new(
                "crashes of the coordinator, by what happened last",
                &EVENTS,
                &["crash"],
                |row, _| {
                    let why = "goodbyes are so few that a crash right after one is chance";
                    (row == "goodbye").then_some(why)
                },
            ),
        ]
    }

    fn new(
        title: &'static str,
        rows: &'static [&'static str],
        columns: &'static [&'static str],
        impossible: fn(&str, &str) -> Option<&'static str>,
    ) -> Self {
        Self { title, rows, columns, impossible, counts: vec![0; rows.len() * columns.len()] }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    pub(crate) fn hit(&mut self, row: &str, column: &str) {
        let place = |names: &[&str], name: &str| names.iter().position(|known| *known == name);
        let row = place(self.rows, row).expect("every row is listed");
        let column = place(self.columns, column).expect("every column is listed");
        self.counts[row * self.columns.len() + column] += 1;
    }

    /// Lists the cells that were never hit and are not listed as impossible.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.cells()
            .filter_map(|(row, column, count)| {
                let is_missing = count == 0 && (self.impossible)(row, column).is_none();
                is_missing.then(|| format!("{row} × {column} ({})", self.title))
            })
            .collect()
    }

    fn cells(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.rows.iter().zip(self.counts.chunks(self.columns.len())).flat_map(|(row, counts)| {
            self.columns.iter().zip(counts).map(|(column, count)| (*row, *column, *count))
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Cells: {}", self.title)?;
        for (row, column, count) in self.cells() {
            match (self.impossible)(row, column) {
                Some(why) if count == 0 => writeln!(f, "          -  {row} × {column}: {why}")?,
                Some(_) | None => writeln!(f, "  {count:>9}  {row} × {column}")?,
            }
        }
        Ok(())
    }
}

fn session_impossible(row: &str, column: &str) -> Option<&'static str> {
    let is_hello = row.starts_with("hello");
    let in_window = column.ends_with(", window");
    match (row, column.trim_end_matches(", window")) {
        (_, "older session") if is_hello => Some("a Hello begins the newest session"),
        ("disconnected" | "lease expired", "older session") => {
            Some("it is closed when it is superseded or over")
        }
        (_, "older session") if in_window => {
            Some("windows are too short for two Hellos with something late between them")
        }
        ("goodbye", "older session") => Some("who says goodbye says no Hello after it"),
        (_, "new" | "lost") if !is_hello => {
            Some("a session lasts from its Hello to the worker's loss")
        }
        (_, "lost") if in_window => Some("no lease ends before the window does"),
        ("lease expired", _) if in_window => {
            Some("a lease that began after a start outlasts the window")
        }
        (
            "started"
            | "report of done tasks"
            | "report of a failure"
            | "given back"
            | "goodbye"
            | "disconnected",
            "suspect",
        ) => Some("nothing arrives after the end of its connection"),
        (_, "draining") if in_window => Some("windows are short, and drained workers few"),
        _ => None,
    }
}

fn task_impossible(row: &str, column: &str) -> Option<&'static str> {
    match (row, column) {
        (_, "unknown") => Some("only of jobs that were forgotten meanwhile, which is chance"),
        (_, "skipped") => Some("nothing of a stage that is skipped was ever given out"),
        ("started" | "done" | "failed", "free") => {
            Some("what is said in a session is held there, unless it was taken away")
        }
        (
            "started" | "given back",
            "overtaken" | "recorded" | "done already" | "failed already",
        )
        | ("failed", "overtaken" | "done already")
        | ("done", "failed already") => {
            Some("its worker is told to end it, and the message would have to cross this one")
        }
        ("announced queued", "overtaken" | "recorded" | "cancelled") => {
            Some("what waits behind what runs is begun or taken back before, but for chance")
        }
        ("announced queued" | "announced running", "failed already") => {
            Some("another would have to fail it for good within the silence of this one")
        }
        _ => None,
    }
}

fn job_impossible(row: &str, column: &str) -> Option<&'static str> {
    match (row, column) {
        ("submit", _) => None,
        (_, "unknown" | "unknown, window") => {
            Some("nobody asks so of what was not acknowledged; of what is forgotten it is chance")
        }
        _ => None,
    }
}

impl World<'_> {
    /// Counts what happens to the scheduler by the state in which it finds it.
    pub(crate) fn note_cells(&mut self, event: &Event) {
        let Some(coordinator) = &self.coordinator else { return };
        let in_window = coordinator.scheduler.activity().window_until.is_some();
        match event {
            Event::WorkerHello { session, worker, hello } => {
                self.note_session(event, *session, Some(*worker), in_window);
                for held in &hello.held {
                    let row = match held.phase {
                        Phase::Queued => "announced queued",
                        Phase::Running => "announced running",
                        Phase::Finished => "announced finished",
                    };
                    self.note_tasks(row, Some(*worker), held.stage, held.token, held.range);
                }
            }
            Event::Started { session, tasks } => {
                self.note_session(event, *session, None, in_window);
                let worker = self.last_owner_of(*session);
                for (token, stage, range) in tasks {
                    self.note_tasks("started", worker, *stage, *token, *range);
                }
            }
            Event::Report { session, report } => {
                self.note_session(event, *session, None, in_window);
                let worker = self.last_owner_of(*session);
                for item in &report.items {
                    let row = match item.outcome {
                        Outcome::Done { .. } => "done",
                        Outcome::Failed { .. } => "failed",
                    };
                    self.note_tasks(row, worker, item.stage, item.token, item.range);
                }
            }
            Event::GivenBack { session, token, stage, ranges } => {
                self.note_session(event, *session, None, in_window);
                let worker = self.last_owner_of(*session);
                for range in ranges {
                    self.note_tasks("given back", worker, *stage, *token, *range);
                }
            }
            Event::Goodbye { session }
            | Event::Disconnected { session }
            | Event::LeaseExpired { session } => {
                self.note_session(event, *session, None, in_window);
            }
            Event::Submit { id, .. } => self.note_job("submit", *id, in_window),
            Event::Cancel { target, .. } => {
                let row = match (target.stage, target.range) {
                    (None, _) => "cancel job",
                    (Some(_), None) => "cancel stage",
                    (Some(_), Some(_)) => "cancel tasks",
                };
                self.note_job(row, target.job, in_window);
            }
            Event::Retry { target, all, .. } => {
                self.note_job(if *all { "retry all" } else { "retry" }, target.job, in_window);
            }
            Event::Forget { job, .. } => self.note_job("forget", *job, in_window),
            Event::Start { .. }
            | Event::Silent { .. }
            | Event::Heard { .. }
            | Event::DrainWorker { .. }
            | Event::ResumeWorker { .. }
            | Event::CreateToken { .. }
            | Event::RevokeToken { .. }
            | Event::Enrol { .. }
            | Event::Tick => {}
        }
    }

    fn note_session(
        &mut self,
        event: &Event,
        session: SessionId,
        said: Option<WorkerId>,
        in_window: bool,
    ) {
        let Some(coordinator) = &self.coordinator else { return };
        let owner = said.map(|worker| (worker, true)).or_else(|| self.ledger.owner_of(session));
        let there = owner.map(|(worker, is_last)| {
            let known = coordinator.scheduler.activity().workers.get(&worker);
            (known.map(|known| known.state), is_last)
        });
        let column = match (there, in_window) {
            (None | Some((_, false)), false) => "older session",
            (None | Some((_, false)), true) => "older session, window",
            (Some((None, _)), false) => "new",
            (Some((None, _)), true) => "new, window",
            (Some((Some(state), _)), _) => worker_column(state, in_window),
        };
        self.coverage.cell(Of::Sessions, event_kind(event), column);
    }

    fn last_owner_of(&self, session: SessionId) -> Option<WorkerId> {
        self.ledger.owner_of(session).filter(|(_, is_last)| *is_last).map(|(worker, _)| worker)
    }

    fn note_tasks(
        &mut self,
        row: &str,
        worker: Option<WorkerId>,
        stage: StageId,
        token: Token,
        range: TaskRange,
    ) {
        // Of an older session nothing is heard.
        if worker.is_none() {
            return;
        }
        for index in range.start..range.end {
            let column = match self.ledger.standing(worker, stage, token, index) {
                Standing::Held => "held",
                Standing::Overtaken => "overtaken",
                Standing::Free => "free",
                Standing::Recorded => "recorded",
                Standing::Done => "done already",
                Standing::Failed => "failed already",
                Standing::Cancelled => "cancelled",
                Standing::Skipped => "skipped",
                Standing::Unknown => "unknown",
            };
            self.coverage.cell(Of::Tasks, row, column);
        }
    }

    fn note_job(&mut self, row: &str, id: JobId, in_window: bool) {
        let Some(coordinator) = &self.coordinator else { return };
        let column = job_column(coordinator.scheduler.state(), id, in_window);
        self.coverage.cell(Of::Jobs, row, column);
    }
}

const fn worker_column(state: WorkerState, in_window: bool) -> &'static str {
    match (state, in_window) {
        (WorkerState::Ready, false) => "ready",
        (WorkerState::Ready, true) => "ready, window",
        (WorkerState::Suspect, false) => "suspect",
        (WorkerState::Suspect, true) => "suspect, window",
        (WorkerState::Draining, false) => "draining",
        (WorkerState::Draining, true) => "draining, window",
        (WorkerState::Lost, false) => "lost",
        (WorkerState::Lost, true) => "lost, window",
    }
}

fn job_column(state: &State, id: JobId, in_window: bool) -> &'static str {
    let ended = state.job(id).map(|job| job.ended());
    match (ended, in_window) {
        (None, false) => "unknown",
        (None, true) => "unknown, window",
        (Some(None), false) => "open",
        (Some(None), true) => "open, window",
        (Some(Some(_)), true) => "ended, window",
        (Some(Some(JobState::Done)), false) => "done",
        (Some(Some(JobState::Cancelled)), false) => "cancelled",
        (Some(Some(JobState::Failed | JobState::Waiting | JobState::Running)), false) => "failed",
    }
}
