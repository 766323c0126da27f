//! The live display: a line a job on standard error that moves while the job does.
//!
//! Deliberately absent: where statuses come from. On anything but a terminal nothing is shown.

use std::io::{IsTerminal as _, stdout};
use std::time::{Duration, Instant};

use gridctl_transport::message::client::{JobStatus, TaskCounts, TaskRow};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape::escape;
use super::rate::{self, Rate};
use super::screen::{Screen, Tone};
use super::time::short;

/// Redraws a second: smooth to the eye, and nothing for a slow link.
const DRAWS_PER_SECOND: u8 = 8;
/// Characters of what a failed task said that fit beside its name.
const TAIL_CHARS_MAX: usize = 120;

/// The lines of all jobs that are watched. Clones are of the same display.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    screen: Screen,
    lines: MultiProgress,
    shares_terminal: bool,
}

/// The line of one job, and one below for its last failure, or why it waits.
#[derive(Debug)]
pub(crate) struct JobLine {
    screen: Screen,
    bar: ProgressBar,
    below: ProgressBar,
    since: Instant,
    rate: Rate,
}

impl Progress {
    /// Prepares a display that shows nothing yet.
    pub(crate) fn new(screen: Screen) -> Self {
        let target = match screen.is_live() {
            true => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
            false => ProgressDrawTarget::hidden(),
        };
        let shares_terminal = screen.is_live() && stdout().is_terminal();
        Self { screen, lines: MultiProgress::with_draw_target(target), shares_terminal }
    }

    /// Returns where it is shown.
    pub(crate) fn screen(&self) -> Screen {
        self.screen
    }

    /// Adds the line of a job.
    pub(crate) fn job(&self) -> JobLine {
        let bar = self.lines.add(ProgressBar::no_length());
        let style = ProgressStyle::with_template("{prefix:.bold} [{bar:24.green}] {msg}");
        bar.set_style(style.expect("the template is well-formed").progress_chars("=> "));
        let below = self.lines.add(ProgressBar::no_length());
        let style = ProgressStyle::with_template("{msg}");
        below.set_style(style.expect("the template is well-formed"));
        JobLine { screen: self.screen, bar, below, since: Instant::now(), rate: Rate::default() }
    }

    /// Prints a message above the moving lines.
    pub(crate) fn note(&self, text: &str) {
        self.lines.suspend(|| self.screen.note(text));
    }

    /// Runs `print`, which writes to standard output, while the lines are out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        // In a pipe it is nowhere near them, and drawing them anew each time would only cost.
        if self.shares_terminal { self.lines.suspend(print) } else { print() }
    }

    /// Takes all lines away, so that the terminal is as it was.
    pub(crate) fn clear(&self) {
        // The terminal may be gone; then there is nothing to clean.
        _ = self.lines.clear();
    }
}

impl JobLine {
    /// Shows how the job goes now.
    pub(crate) fn update(&mut self, status: &JobStatus) {
        let job = &status.job;
        let ended = ended(&job.tasks);
        self.rate.sample(self.since.elapsed(), ended);
        self.bar.set_prefix(format!("{} {}", job.number, escape(&job.name)));
        // A job without tasks is done, and its bar full.
        self.bar.set_length(job.tasks.total.max(1));
        self.bar.set_position(if job.tasks.total == 0 { 1 } else { ended });
        self.bar.set_message(self.counts(&job.tasks));
        self.bar.tick();
    }

    /// Says whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        self.screen.is_live()
    }

    /// Shows why nothing runs.
    pub(crate) fn waits(&self, why: &str) {
        self.below(&self.screen.paint(Tone::Note, format!("  waits: {}", escape(why))));
    }

    /// Shows that there is nothing to add to the counts.
    pub(crate) fn nothing_to_tell(&self) {
        self.below("");
    }

    /// Shows the failure that came last, with the end of what the task said, where that is short.
    pub(crate) fn failed(&self, task: &TaskRow, said: &str) {
        let mut line = format!("  last failure: {}", describe(task));
        if let Some(last) = said.lines().rfind(|line| !line.trim().is_empty()) {
            let tail: String = escape(last).chars().take(TAIL_CHARS_MAX).collect();
            line.push_str(&format!(": {tail}"));
        }
        self.below(&self.screen.paint(Tone::Bad, line));
    }

    fn below(&self, text: &str) {
        self.below.set_message(text.to_owned());
        self.below.tick();
    }

    fn counts(&self, tasks: &TaskCounts) -> String {
        let mut shown = format!("{}/{} done", tasks.done, tasks.total);
        for (count, word) in
            [(tasks.running, "running"), (tasks.cancelled, "cancelled"), (tasks.skipped, "skipped")]
        {
            if count > 0 {
                shown.push_str(&format!(", {count} {word}"));
            }
        }
        if tasks.failed > 0 {
            let failed = format!("{} failed", tasks.failed);
            shown.push_str(&format!(", {}", self.screen.paint(Tone::Bad, failed)));
        }
        if let Some(rate) = self.rate.per_second() {
            shown.push_str(&format!(", {}", rate::shown(rate)));
        }
        if let Some(left) =
            self.rate.left(tasks.waiting + tasks.running).filter(|left| *left > Duration::ZERO)
        {
            shown.push_str(&format!(", {} left", short(left)));
        }
        shown
    }
}

/// Counts the tasks of which nothing can change any more.
fn ended(tasks: &TaskCounts) -> u64 {
    tasks.total.saturating_sub(tasks.waiting.saturating_add(tasks.running))
}

/// Names a failed attempt, where it ran and why it failed, in one line.
pub(crate) fn describe(task: &TaskRow) -> String {
    let why = task.failure.as_ref().map_or_else(|| task.state.to_string(), ToString::to_string);
    let place = match (&task.worker, task.attempts) {
        (Some(worker), 0..=1) => format!(" ({worker})"),
        (Some(worker), attempt) => format!(" ({worker}, attempt {attempt})"),
        (None, _) => String::new(),
    };
    escape(&format!("{}/{}{place}: {why}", task.stage, task.index)).into_owned()
}
