//! A job as it travels and is kept: resolved, checked, nothing in it depends on the submitter's machine.
//!
//! The file form and the builders are [`Job`](crate::job::Job); resolving one gives a [`JobSpec`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::id::{JobId, JobNumber, StageIndex};
use crate::template::Template;
use crate::units::Cpus;

/// A whole job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JobSpec {
    /// See [`check_job_name`](crate::name::check_job_name).
    pub name: String,
    /// -1000 to 1000; higher first.
    pub priority: i32,
    /// 1 to 1024 stages, in file order; `needs` has no cycle.
    pub stages: Vec<StageSpec>,
}

/// One stage: what runs, for which items, after what.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StageSpec {
    /// Unique in its job; see [`check_stage_name`](crate::name::check_stage_name).
    pub name: String,
    /// One task each.
    pub items: Items,
    /// Stages of which every task must have succeeded first.
    pub needs: Vec<StageIndex>,
    /// How much failure it bears.
    pub budget: Budget,
    /// What each of its tasks runs.
    pub task: Arc<TaskTemplate>,
}

/// What every task of a stage runs, before its item is filled in; this is what a worker is sent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskTemplate {
    /// The program, script or function.
    pub run: Run,
    /// Environment variables by name; none begins with `GRID_`.
    pub env: BTreeMap<String, Template>,
    /// What is on standard input.
    pub stdin: Stdin,
    /// The directory to start in, absolute once filled in; the task's own scratch directory where it is `None`.
    pub cwd: Option<Template>,
    /// How many cpus an attempt occupies.
    pub cpus: Cpus,
    /// Of one attempt.
    pub timeout: Option<Duration>,
    /// What becomes of standard output.
    pub stdout: Keep,
    /// What becomes of standard error.
    pub stderr: Keep,
    /// What a worker does with it once its lease has run out.
    pub on_lost_lease: OnLostLease,
}

/// What a task runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Run {
    /// A program and its arguments, as given, without a shell. Never empty.
    Command {
        /// The program first.
        argv: Vec<Template>,
    },
    /// The text of a script; its `#!` line is honoured, `/bin/sh -eu` without one. Never filled in.
    Script {
        /// The whole script.
        text: String,
    },
    /// A function that the worker has, by name.
    Function {
        /// The name it is registered by.
        name: String,
        /// What it is called with.
        args: Args,
    },
}

/// The argument of a function, before its item is filled in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Args {
    /// The item itself, or the chunk as `{start, end}`, or null without `for_each`.
    Item,
    /// A value in which strings may hold placeholders.
    Value(ArgValue),
}

/// A JSON value with placeholders in its strings. (A type of its own, since `serde_json::Value` cannot
/// be read back from postcard, which does not describe itself.)
///
/// It travels as a flat list of values in order, so that a peer cannot make us recurse over what it nests:
/// reading one that is nested deeper than [`ARGS_DEPTH_MAX`](crate::limits::ARGS_DEPTH_MAX) is an error.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "crate::args::FlatArgs", into = "crate::args::FlatArgs")]
pub enum ArgValue {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number, finite.
    Float(f64),
    /// Text; a value of another type where it is nothing but one placeholder.
    Text(Template),
    /// Values in order.
    Array(Vec<ArgValue>),
    /// In the order of the keys.
    Object(Vec<(String, ArgValue)>),
}

/// What a task reads on standard input.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Stdin {
    /// Nothing (`/dev/null`).
    Empty,
    /// This text.
    Text(Template),
    /// A file on the worker's machine; absolute once filled in.
    File(Template),
}

/// What becomes of an output stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Keep {
    /// It is kept with the job.
    Keep,
    /// It goes to `/dev/null`.
    Discard,
}

/// What a worker does with a running task when it has not heard from the coordinator for a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum OnLostLease {
    /// It finishes the task, and offers the result once the coordinator is back; the task may run twice.
    #[default]
    Finish,
    /// It kills the task in time, so that the task never runs twice at once.
    Stop,
}

/// The items of a stage: one task each.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Items {
    /// No `for_each`: one task without an item.
    Single,
    /// Numbers, or chunks of numbers; computed where needed.
    Numbers(Numbers),
    /// Texts (`list`, `lines`).
    Texts(Arc<ItemList>),
    /// Files: paths as matched, and the directory they are relative to.
    Files {
        /// Absolute.
        base: String,
        /// As matched.
        paths: Arc<ItemList>,
    },
}

/// Numbers `first, first + step, …`, `numbers` of them, `chunk` to a task.
///
/// Invariants (kept by [`Numbers::new`], checked where a peer sends one): `step >= 1`, the last number
/// fits an `i64`, and there are at most 2^32 tasks. With a chunk, the step is 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Numbers {
    /// The first number.
    pub first: i64,
    /// How far each number is from the one before.
    pub step: u64,
    /// How many numbers there are.
    pub numbers: u64,
    /// How many numbers make a task; each is one of its own where it is `None`.
    pub chunk: Option<u64>,
}

/// Many short texts, packed: 4 bytes an item beside its own.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ItemList {
    text: String,
    ends: Vec<u32>,
}

/// What a worker needs once to run any task of a stage.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StageOrder {
    /// The job.
    pub job: JobId,
    /// The job as people type it; what `{job}` and `GRID_JOB` give.
    pub number: JobNumber,
    /// The job's name.
    pub job_name: String,
    /// The stage's place in the job.
    pub stage: StageIndex,
    /// The stage's name.
    pub stage_name: String,
    /// How many tasks the stage has.
    pub count: u64,
    /// What each task runs.
    pub task: Arc<TaskTemplate>,
    /// Where its items come from.
    pub source: ItemSource,
}

/// Where a worker gets the items of a stage from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ItemSource {
    /// There is one task without an item.
    Single,
    /// They are computed.
    Numbers(Numbers),
    /// They come with each grant.
    Texts,
    /// Paths come with each grant; they are relative to `base`.
    Files {
        /// Absolute.
        base: String,
    },
}

impl ItemList {
    /// Adds an item at the end.
    ///
    /// # Panics
    /// Where all items together pass 4 GiB; callers hold [`ITEMS_BYTES_MAX`](crate::limits::ITEMS_BYTES_MAX).
    pub fn push(&mut self, item: &str) {
        self.text.push_str(item);
        self.ends.push(u32::try_from(self.text.len()).expect("callers hold the limit of 256 MiB"));
    }

    /// Counts the items.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the bytes of all items together.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Returns the item at `index`, or `None` past the end or where a peer sent offsets that do not fit.
    pub fn item(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        self.text.get(start..end)
    }

    /// Copies the items `start..end` into a list of their own, as far as there are any.
    pub fn slice(&self, start: usize, end: usize) -> Self {
        (start..end).map_while(|index| self.item(index)).fold(Self::default(), |mut list, item| {
            list.push(item);
            list
        })
    }
}

impl<'a> FromIterator<&'a str> for ItemList {
    fn from_iter<T: IntoIterator<Item = &'a str>>(items: T) -> Self {
        items.into_iter().fold(Self::default(), |mut list, item| {
            list.push(item);
            list
        })
    }
}

impl Numbers {
    /// Counts the tasks.
    pub const fn tasks(&self) -> u64 {
        match self.chunk {
            // Only a peer can have sent it; `check` refuses it, and counting must not panic before.
            Some(0) => 0,
            Some(chunk) => self.numbers.div_ceil(chunk),
            None => self.numbers,
        }
    }
}

impl Items {
    /// Counts the tasks of the stage.
    pub fn count(&self) -> u64 {
        match self {
            Self::Single => 1,
            Self::Numbers(numbers) => numbers.tasks(),
            Self::Texts(list) | Self::Files { paths: list, .. } => list.len() as u64,
        }
    }

    /// Returns what a worker is sent once for the stage.
    pub fn source(&self) -> ItemSource {
        match self {
            Self::Single => ItemSource::Single,
            Self::Numbers(numbers) => ItemSource::Numbers(*numbers),
            Self::Texts(_) => ItemSource::Texts,
            Self::Files { base, .. } => ItemSource::Files { base: base.clone() },
        }
    }

    /// Returns the items that go with a grant of the tasks `start..end`, where they cannot be computed.
    pub fn sent_with(&self, start: u64, end: u64) -> Option<ItemList> {
        match self {
            Self::Single | Self::Numbers(_) => None,
            Self::Texts(list) | Self::Files { paths: list, .. } => {
                let bound = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
                Some(list.slice(bound(start), bound(end)))
            }
        }
    }
}
