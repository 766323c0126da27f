//! The thread that keeps the file up to date, behind everything else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gridctl_core::effect::FactIndex;
use gridctl_core::state::{Job, Stage, State};
use gridctl_jobs::id::{Epoch, JobId, StageId, WorkerId};
use gridctl_jobs::range::TaskRange;
use rusqlite::{Transaction, params_from_iter};

use super::catch_up::Missing;
use super::file::{HistoryError, HistoryFile, Mark};
use super::rows::{self, JobRow, StageRow, TaskRow, number};
use super::touched::Touched;
use crate::journal::FactGroup;
use crate::space::Space;
use crate::views::Views;

/// Groups that wait at most. Where there are more, the file is made anew instead.
const QUEUE_GROUPS_MAX: usize = 4096;
/// How often rows are written: what came meanwhile costs one transaction.
const WRITE_EVERY: Duration = Duration::from_millis(250);
/// How long to wait after an error.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// Takes facts that readers see by now. Never waits.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    queue: SyncSender<Message>,
    missed: Arc<AtomicBool>,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct History {
    queue: SyncSender<Message>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Message {
    Shown(FactGroup),
    Stop,
}

impl Feed {
    /// Passes on facts that the views show.
    pub(crate) fn note(&self, group: &FactGroup) {
        match self.queue.try_send(Message::Shown(group.clone())) {
            // Without the thread there is no history, which it said.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.missed.store(true, Ordering::Relaxed),
        }
    }
}

impl History {
    /// Starts to keep the file below `root`, which lacks what is `missing`.
    ///
    /// # Errors
    /// [`std::io::Error`] where the system gives no thread.
    pub(crate) fn start(
        root: PathBuf,
        missing: Missing,
        views: Arc<Views>,
        space: Arc<Space>,
    ) -> std::io::Result<(Feed, Self)> {
        let (queue, groups) = sync_channel(QUEUE_GROUPS_MAX);
        let feed = Feed { queue: queue.clone(), missed: Arc::default() };
        let missed = Arc::clone(&feed.missed);
        let thread = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || Keeper::new(root, missing, views, space, missed).run(&groups))?;
        Ok((feed, Self { queue, thread }))
    }

    /// Writes what is there to write, and ends. Blocks.
    pub(crate) fn stop(self) {
        // It is gone only where it panicked, and then it said so.
        let _ = self.queue.send(Message::Stop);
        let _ = self.thread.join();
    }
}

struct Keeper {
    root: PathBuf,
    views: Arc<Views>,
    space: Arc<Space>,
    file: Option<HistoryFile>,
    touched: Touched,
    /// The file has to be made of the whole state.
    rebuild: bool,
    missed: Arc<AtomicBool>,
    /// Shown by the views, and not yet written.
    reached: FactIndex,
    /// The error that the log told last.
    told: Option<String>,
}

impl Keeper {
    fn new(
        root: PathBuf,
        missing: Missing,
        views: Arc<Views>,
        space: Arc<Space>,
        missed: Arc<AtomicBool>,
    ) -> Self {
        let (touched, rebuild) = match missing {
            Missing::Rows(touched) => (touched, false),
            Missing::Everything => (Touched::default(), true),
        };
        let reached = views.read(|content| content.state.applied());
        Self { root, views, space, file: None, touched, rebuild, missed, reached, told: None }
    }

    fn run(mut self, groups: &Receiver<Message>) {
        let mut next_write = Instant::now();
        let mut stopping = false;
        while !stopping {
            let wait = if self.has_work() {
                groups.recv_timeout(next_write.saturating_duration_since(Instant::now()))
            } else {
                groups.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match wait {
                Ok(Message::Shown(group)) => self.take(&group),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => stopping = true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.missed.swap(false, Ordering::Relaxed) {
                self.rebuild = true;
            }
            let is_due = stopping || Instant::now() >= next_write;
            if is_due && self.has_work() {
                let pause = if self.write() { WRITE_EVERY } else { TRY_AGAIN_EVERY };
                next_write = Instant::now() + pause;
            }
        }
    }

    fn has_work(&self) -> bool {
        self.rebuild || !self.touched.is_empty()
    }

    fn take(&mut self, group: &FactGroup) {
        group.facts().iter().for_each(|(_, fact)| self.touched.add(fact));
        self.reached = group.last();
    }

    /// Writes what was touched; says whether that worked.
    fn write(&mut self) -> bool {
        // What the disk still has is for what cannot be made again.
        if self.space.shortage().is_some() {
            return false;
        }
        let mut written = self.try_write();
        if written.as_ref().is_err_and(HistoryError::is_damage) {
            self.tell(written, "the history file is made anew");
            self.file = None;
            self.rebuild = true;
            written = HistoryFile::remove(&self.root).and_then(|()| self.try_write());
        }
        let worked = written.is_ok();
        if worked {
            self.touched = Touched::default();
            self.rebuild = false;
        }
        self.tell(written, "the history file is not up to date; it is tried again");
        worked
    }

    fn try_write(&mut self) -> Result<(), HistoryError> {
        if self.file.is_none() {
            let file = HistoryFile::open(&self.root)?;
            // One that was made just now has nothing in it.
            self.rebuild |= file.mark()?.is_none();
            self.file = Some(file);
        }
        let file = self.file.as_mut().expect("set just above where it was not");
        let (views, reached) = (&*self.views, self.reached);
        if self.rebuild {
            file.write(|transaction| write_all(transaction, views))
        } else {
            let touched = &self.touched;
            file.write(|transaction| write_touched(transaction, views, touched, reached))
        }
    }

    /// Tells an error once, until another one or success follows.
    fn tell(&mut self, outcome: Result<(), HistoryError>, what: &str) {
        let text = outcome.err().map(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        });
        if let Some(why) = text.as_ref().filter(|_| text != self.told) {
            tracing::warn!(file = %self.root.join("history.sqlite").display(), why, "{what}");
        }
        self.told = text;
    }
}

/// Writes everything that the views show.
pub(super) fn write_all(to: &Transaction<'_>, views: &Views) -> rusqlite::Result<Mark> {
    to.execute_batch(
        "DELETE FROM jobs; DELETE FROM stages; DELETE FROM tasks; DELETE FROM workers;",
    )?;
    let (mark, jobs, workers) = views.read(|content| {
        let state = &content.state;
        let mark = Mark { fact: state.applied(), epoch: state.epoch() };
        let jobs: Vec<JobId> = state.jobs().map(Job::id).collect();
        let workers: Vec<WorkerId> = state.directory().workers().map(|(id, _)| id).collect();
        (mark, jobs, workers)
    });
    jobs.into_iter().try_for_each(|job| write_whole_job(to, views, job))?;
    workers.into_iter().try_for_each(|worker| write_worker(to, views, worker))?;
    Ok(mark)
}

/// Writes the rows that were touched, as the views show them, which is `reached` or later.
pub(super) fn write_touched(
    to: &Transaction<'_>,
    views: &Views,
    touched: &Touched,
    reached: FactIndex,
) -> rusqlite::Result<Mark> {
    let epoch: Epoch = views.read(|content| content.state.epoch());
    for job in &touched.whole_jobs {
        write_whole_job(to, views, *job)?;
    }
    for job in touched.jobs.difference(&touched.whole_jobs) {
        write_job(to, views, *job)?;
    }
    for (stage, ranges) in &touched.tasks {
        if !touched.whole_jobs.contains(&stage.job) {
            ranges.iter().try_for_each(|range| write_tasks(to, views, *stage, *range))?;
        }
    }
    touched.workers.iter().try_for_each(|worker| write_worker(to, views, *worker))?;
    Ok(Mark { fact: reached, epoch })
}

/// Writes a job with its stages and tasks; where it is gone, they go too.
fn write_whole_job(to: &Transaction<'_>, views: &Views, job: JobId) -> rusqlite::Result<()> {
    // Under its id: it may have been forgotten and submitted again, with another number.
    for delete in [
        "DELETE FROM tasks WHERE job = (SELECT number FROM jobs WHERE id = ?1)",
        "DELETE FROM stages WHERE job = (SELECT number FROM jobs WHERE id = ?1)",
        "DELETE FROM jobs WHERE id = ?1",
    ] {
        to.execute(delete, [job.to_string()])?;
    }
    let stages = |state: &State| -> Option<Vec<StageId>> {
        Some(state.job(job)?.stages().iter().map(Stage::id).collect())
    };
    let Some(stages) = views.read(|content| stages(&content.state)) else { return Ok(()) };
    write_job(to, views, job)?;
    let all = TaskRange::new(0, u64::from(u32::MAX) + 1);
    stages.into_iter().try_for_each(|stage| write_tasks(to, views, stage, all))
}

fn write_job(to: &Transaction<'_>, views: &Views, id: JobId) -> rusqlite::Result<()> {
    let found: Option<(JobRow, Vec<StageRow>)> = views.read(|content| {
        let job = content.state.job(id)?;
        let stages = job.stages().iter().map(|stage| rows::stage(job, stage)).collect();
        Some((rows::job(&content.state, job), stages))
    });
    // One that is gone is written as a whole, once the fact about that has come.
    let Some((job, stages)) = found else { return Ok(()) };
    to.execute(
        "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params_from_iter(job),
    )?;
    let mut insert = to.prepare("INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
    for stage in stages {
        insert.execute(params_from_iter(stage))?;
    }
    Ok(())
}

/// Writes the tasks of `range` that have something to tell; those that have nothing to tell any more go.
fn write_tasks(
    to: &Transaction<'_>,
    views: &Views,
    id: StageId,
    range: TaskRange,
) -> rusqlite::Result<()> {
    let job = views.read(|content| Some(content.state.job(id.job)?.number()));
    let Some(job) = job else { return Ok(()) };
    to.execute(
        "DELETE FROM tasks WHERE job = ? AND stage = ? AND task >= ? AND task < ?",
        [number(job.0), number(id.stage.0.into()), number(range.start), number(range.end)],
    )?;
    let mut insert = to.prepare(
        "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let mut from = Some(range.start);
    while let Some(start) = from {
        let page = |state: &State| -> Option<(Vec<TaskRow>, Option<u64>)> {
            let job = state.job(id.job)?;
            let stage = job.stage(id.stage)?;
            Some(rows::tasks(state, job, stage, TaskRange::new(start, range.end)))
        };
        let (tasks, next) =
            views.read(|content| page(&content.state)).unwrap_or((Vec::new(), None));
        for task in tasks {
            insert.execute(params_from_iter(task))?;
        }
        from = next;
    }
    Ok(())
}

fn write_worker(to: &Transaction<'_>, views: &Views, id: WorkerId) -> rusqlite::Result<()> {
    match views.read(|content| rows::worker(&content.state, id)) {
        Some(row) => {
            to.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?)", params_from_iter(row))?
        }
        None => to.execute("DELETE FROM workers WHERE id = ?", [number(id.0)])?,
    };
    Ok(())
}
