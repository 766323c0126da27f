//! A stage as people write it: what runs, for which items, after what.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::budget::{Backoff, Budget};
use crate::numbers::NumberRange;
use crate::spec::{Keep, OnLostLease};
use crate::state::FailureKind;

/// The name of a job's only stage where it has none.
pub(crate) const ONLY_STAGE_NAME: &str = "main";

/// One stage of a [`Job`](crate::job::Job).
///
/// Made by [`Stage::command`], [`Stage::script`] or [`Stage::function`]; every other key of the job file is a
/// method of the same name. Nothing is checked before the job is.
#[derive(Clone, PartialEq, Debug)]
pub struct Stage {
    pub(crate) name: Option<String>,
    pub(crate) run: StageRun,
    pub(crate) args: Option<Value>,
    pub(crate) for_each: ForEach,
    pub(crate) chunk: Option<u64>,
    pub(crate) needs: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) stdin: StageStdin,
    pub(crate) cwd: Option<String>,
    pub(crate) cpus: f64,
    pub(crate) timeout: Option<Duration>,
    pub(crate) budget: Budget,
    pub(crate) stdout: Keep,
    pub(crate) stderr: Keep,
    pub(crate) on_lost_lease: OnLostLease,
}

/// What a stage runs.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum StageRun {
    Command(Vec<String>),
    Script(String),
    Function(String),
}

/// What a stage is split by.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum ForEach {
    /// Nothing: one task.
    Once,
    Range(NumberRange),
    List(Vec<String>),
    /// The path of a file, as written.
    Lines(String),
    /// Globs, as written.
    Files(Vec<String>),
}

/// What a stage's tasks read on standard input.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum StageStdin {
    Empty,
    Text(String),
    File(String),
}

impl Stage {
    /// Makes a stage that runs a program with its arguments as given, without a shell.
    pub fn command<T: Into<String>>(
        name: impl Into<String>,
        argv: impl IntoIterator<Item = T>,
    ) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self::new(Some(name.into()), StageRun::Command(argv))
    }

    /// Makes a stage that runs a script: its `#!` line is honoured, `/bin/sh -eu` without one.
    pub fn script(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Some(name.into()), StageRun::Script(text.into()))
    }

    /// Makes a stage that calls a function of the worker with the item, or with [`args`](Self::args).
    pub fn function(name: impl Into<String>, function: impl Into<String>) -> Self {
        Self::new(Some(name.into()), StageRun::Function(function.into()))
    }

    pub(crate) fn new(name: Option<String>, run: StageRun) -> Self {
        Self {
            name,
            run,
            args: None,
            for_each: ForEach::Once,
            chunk: None,
            needs: Vec::new(),
            env: BTreeMap::new(),
            stdin: StageStdin::Empty,
            cwd: None,
            cpus: 1.0,
            timeout: None,
            budget: Budget::default(),
            stdout: Keep::Keep,
            stderr: Keep::Keep,
            on_lost_lease: OnLostLease::Finish,
        }
    }

    /// Sets the argument of a function; strings in it may hold placeholders.
    #[must_use]
    pub fn args(mut self, args: impl Into<Value>) -> Self {
        self.args = Some(args.into());
        self
    }

    /// Makes it one task a number: `0..100`, `1..=9`, or a [`NumberRange`] with a step.
    #[must_use]
    pub fn for_each_range(mut self, range: impl Into<NumberRange>) -> Self {
        self.for_each = ForEach::Range(range.into());
        self
    }

    /// Makes it one task for each `chunk` numbers of its range.
    #[must_use]
    pub fn chunk(mut self, chunk: u64) -> Self {
        self.chunk = Some(chunk);
        self
    }

    /// Makes it one task an element.
    #[must_use]
    pub fn for_each_list<T: Into<String>>(mut self, items: impl IntoIterator<Item = T>) -> Self {
        self.for_each = ForEach::List(items.into_iter().map(Into::into).collect());
        self
    }

    /// Makes it one task a line of the file at `path`, relative to the job file; `~` and `${VAR}` are
    /// expanded.
    #[must_use]
    pub fn for_each_lines(mut self, path: impl Into<String>) -> Self {
        self.for_each = ForEach::Lines(path.into());
        self
    }

    /// Makes it one task a file that matches one of `globs`, in byte order of the path; `~` and `${VAR}` are
    /// expanded.
    #[must_use]
    pub fn for_each_files<T: Into<String>>(mut self, globs: impl IntoIterator<Item = T>) -> Self {
        self.for_each = ForEach::Files(globs.into_iter().map(Into::into).collect());
        self
    }

    /// Lets it begin only once every task of the stage `name` has succeeded; may be called repeatedly.
    #[must_use]
    pub fn needs(mut self, name: impl Into<String>) -> Self {
        self.needs.push(name.into());
        self
    }

    /// Sets an environment variable of its tasks; may be called repeatedly.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the text that its tasks read on standard input.
    #[must_use]
    pub fn stdin_text(mut self, text: impl Into<String>) -> Self {
        self.stdin = StageStdin::Text(text.into());
        self
    }

    /// Sets the file on the worker's machine that its tasks read on standard input, relative to the job file;
    /// `~` and `${VAR}` are expanded by the person who submits.
    #[must_use]
    pub fn stdin_file(mut self, path: impl Into<String>) -> Self {
        self.stdin = StageStdin::File(path.into());
        self
    }

    /// Sets the directory on the worker's machine that its tasks start in, relative to the job file; `~` and
    /// `${VAR}` are expanded by the person who submits.
    #[must_use]
    pub fn cwd(mut self, path: impl Into<String>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// Sets how many cpus a task occupies, from 0.0001, to four decimals; 1 unless set.
    #[must_use]
    pub fn cpus(mut self, cpus: f64) -> Self {
        self.cpus = cpus;
        self
    }

    /// Limits the time of one attempt.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how many attempts more a task gets after failures of its own; 0 unless set.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.budget.retries = retries;
        self
    }

    /// Sets how long a task waits before a retry: doubling from the first to the longest, with jitter; from one
    /// second to a minute unless set.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.budget.backoff = backoff;
        self
    }

    /// Sets which failures are tried again; all of a task's own ([`FailureKind::OWN`]) unless set.
    #[must_use]
    pub fn retry_on(mut self, kinds: impl IntoIterator<Item = FailureKind>) -> Self {
        self.budget.retry_on = kinds.into_iter().collect();
        self
    }

    /// Sets with how many lost workers, the last while it ran alone there, a task is set aside; 3 unless set.
    #[must_use]
    pub fn worker_losses(mut self, losses: u32) -> Self {
        self.budget.worker_losses = losses;
        self
    }

    /// Ends the stage early: once so many of its tasks have failed for good, what has not begun is skipped.
    #[must_use]
    pub fn max_failures(mut self, failures: u64) -> Self {
        self.budget.max_failures = Some(failures);
        self
    }

    /// Sets what becomes of standard output; kept unless set.
    #[must_use]
    pub fn stdout(mut self, keep: Keep) -> Self {
        self.stdout = keep;
        self
    }

    /// Sets what becomes of standard error; kept unless set.
    #[must_use]
    pub fn stderr(mut self, keep: Keep) -> Self {
        self.stderr = keep;
        self
    }

    /// Sets what a worker does with its running tasks once it has not heard from the coordinator for a lease;
    /// it finishes them unless set.
    #[must_use]
    pub fn on_lost_lease(mut self, what: OnLostLease) -> Self {
        self.on_lost_lease = what;
        self
    }

    /// Returns what people call it in messages.
    pub(crate) fn shown_name(&self) -> &str {
        self.name.as_deref().unwrap_or(ONLY_STAGE_NAME)
    }
}
