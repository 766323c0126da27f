//! From a stage's order to what one attempt of one task runs.
//!
//! Deliberately absent: what only the worker's machine knows (`PATH`, `HOME`, …). The worker puts that
//! beneath [`Rendered::env`], which wins.

mod size;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use size::Size;
use thiserror::Error;

use crate::check::OrderError;
use crate::id::Token;
use crate::limits::FILLED_TASK_BYTES_MAX;
use crate::spec::{ArgValue, Args, ItemSource, Run, StageOrder, Stdin};
use crate::template::{Fill, ItemValue};

/// A stage's order, checked, ready to be turned into attempts.
#[derive(Clone, PartialEq, Debug)]
pub struct Renderer {
    order: StageOrder,
    size: Size,
}

/// One attempt of one task, and what only the worker knows about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt<'a> {
    /// The task's place in its stage, from 0.
    pub index: u64,
    /// The item that came with the grant; `None` where items are computed.
    pub item: Option<&'a str>,
    /// From 1.
    pub attempt: u32,
    /// The fencing token of the grant.
    pub token: Token,
    /// The task's own empty directory, where it has one.
    pub scratch: Option<&'a str>,
}

/// What one attempt runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Rendered<'a> {
    /// The program, script or function.
    pub run: RenderedRun<'a>,
    /// Environment variables: the grid's, and over them the stage's own `env`.
    pub env: BTreeMap<Cow<'a, str>, String>,
    /// What is on standard input.
    pub stdin: RenderedStdin,
    /// The absolute directory to start in; the scratch directory where it is `None`.
    pub cwd: Option<String>,
}

/// The program, script or function of an attempt.
#[derive(Clone, PartialEq, Debug)]
pub enum RenderedRun<'a> {
    /// A program and its arguments; never empty.
    Command {
        /// The program first.
        argv: Vec<String>,
    },
    /// A script, as it stands in the job.
    Script {
        /// Its text.
        text: &'a str,
    },
    /// A function of the worker.
    Function {
        /// Its name.
        name: &'a str,
        /// Its argument.
        args: Value,
    },
}

/// What is on an attempt's standard input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RenderedStdin {
    /// Nothing (`/dev/null`).
    Empty,
    /// This text.
    Text(String),
    /// The file at this absolute path.
    File(String),
}

/// Why an attempt cannot be rendered.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RenderError {
    /// The index is not below the stage's count.
    #[error("task {index} is not one of the {count} tasks of the stage")]
    NoSuchTask {
        /// The index.
        index: u64,
        /// How many tasks there are.
        count: u64,
    },
    /// The grant should have brought the item and did not.
    #[error("the item of task {index} is missing")]
    ItemMissing {
        /// The task's index.
        index: u64,
    },
    /// With its values filled in the task may have more than [`FILLED_TASK_BYTES_MAX`].
    #[error(
        "task {index} may have {bytes} bytes once its item is filled in, at most {FILLED_TASK_BYTES_MAX} are allowed"
    )]
    TooLarge {
        /// The task's index.
        index: u64,
        /// How many bytes it may have.
        bytes: usize,
    },
    /// A directory or file that must be absolute is not, once filled in.
    #[error("{key} of task {index} is `{path}`, which is not an absolute path")]
    NotAbsolute {
        /// `cwd` or `stdin.file`.
        key: &'static str,
        /// The task's index.
        index: u64,
        /// What came out.
        path: String,
    },
}

impl Renderer {
    /// Takes an order that a coordinator sent.
    ///
    /// # Errors
    /// Names the first thing that is wrong with it.
    pub fn new(order: StageOrder) -> Result<Self, OrderError> {
        order.check()?;
        let size = Size::of(&order.task);
        Ok(Self { order, size })
    }

    /// Returns the order.
    pub fn order(&self) -> &StageOrder {
        &self.order
    }

    /// Returns the item of the task at `index`; `item` is what came with the grant. Allocates nothing.
    ///
    /// # Errors
    /// [`RenderError::NoSuchTask`], [`RenderError::ItemMissing`].
    pub fn item<'a>(
        &'a self,
        index: u64,
        item: Option<&'a str>,
    ) -> Result<ItemValue<'a>, RenderError> {
        let no_such_task = RenderError::NoSuchTask { index, count: self.order.count };
        if index >= self.order.count {
            return Err(no_such_task);
        }
        let given = item.ok_or(RenderError::ItemMissing { index });
        match &self.order.source {
            ItemSource::Single => Ok(ItemValue::None),
            ItemSource::Numbers(numbers) => match numbers.chunk_bounds(index) {
                Some(chunk) => Ok(ItemValue::Chunk { start: chunk.start, end: chunk.end }),
                None => numbers.number(index).map(ItemValue::Number).ok_or(no_such_task),
            },
            ItemSource::Texts => given.map(ItemValue::Text),
            ItemSource::Files { base } => given.map(|path| ItemValue::File { base, path }),
        }
    }

    /// Returns the argument of a function's attempt; null where the stage runs no function.
    ///
    /// The short way for functions, which need no environment: over numbers without `args` it allocates
    /// nothing, so that a worker can start 100,000 of them a second.
    ///
    /// # Errors
    /// [`RenderError::NoSuchTask`], [`RenderError::ItemMissing`], [`RenderError::TooLarge`].
    pub fn function_args(
        &self,
        index: u64,
        item: Option<&str>,
        attempt: u32,
    ) -> Result<Value, RenderError> {
        match &self.order.task.run {
            Run::Function { args: Args::Item, .. } => Ok(self.item(index, item)?.to_json()),
            Run::Function { args: Args::Value(value), .. } => {
                Ok(arg_to_json(value, &self.values(index, item, attempt)?))
            }
            Run::Command { .. } | Run::Script { .. } => Ok(Value::Null),
        }
    }

    /// Returns everything that an attempt needs.
    ///
    /// # Errors
    /// See [`RenderError`].
    pub fn render<'a>(&'a self, attempt: &Attempt<'a>) -> Result<Rendered<'a>, RenderError> {
        let task = &self.order.task;
        let fill = self.values(attempt.index, attempt.item, attempt.attempt)?;
        let run = match &task.run {
            Run::Command { argv } => {
                RenderedRun::Command { argv: argv.iter().map(|text| text.fill(&fill)).collect() }
            }
            Run::Script { text } => RenderedRun::Script { text },
            Run::Function { name, args } => RenderedRun::Function {
                name,
                args: match args {
                    Args::Item => fill.item.to_json(),
                    Args::Value(value) => arg_to_json(value, &fill),
                },
            },
        };
        let absolute = |key, path: String| match path.starts_with('/') {
            true => Ok(path),
            false => Err(RenderError::NotAbsolute { key, index: attempt.index, path }),
        };
        let stdin = match &task.stdin {
            Stdin::Empty => RenderedStdin::Empty,
            Stdin::Text(text) => RenderedStdin::Text(text.fill(&fill)),
            Stdin::File(path) => RenderedStdin::File(absolute("stdin.file", path.fill(&fill))?),
        };
        let cwd = task.cwd.as_ref().map(|cwd| absolute("cwd", cwd.fill(&fill))).transpose()?;
        Ok(Rendered { run, env: self.env(attempt, &fill), stdin, cwd })
    }

    fn values<'a>(
        &'a self,
        index: u64,
        item: Option<&'a str>,
        attempt: u32,
    ) -> Result<Fill<'a>, RenderError> {
        let item = self.item(index, item)?;
        let bytes = self.size.filled_bytes_max(&item);
        if bytes > FILLED_TASK_BYTES_MAX {
            return Err(RenderError::TooLarge { index, bytes });
        }
        Ok(Fill {
            job: self.order.number.0,
            stage: &self.order.stage_name,
            index,
            count: self.order.count,
            attempt,
            item,
        })
    }

    fn env<'a>(&'a self, attempt: &Attempt<'a>, fill: &Fill<'a>) -> BTreeMap<Cow<'a, str>, String> {
        let threads = self.order.task.cpus.threads().to_string();
        let mut env: BTreeMap<Cow<'a, str>, String> = BTreeMap::new();
        let mut set = |name: &'static str, value: String| {
            env.insert(Cow::Borrowed(name), value);
        };
        set("GRID_JOB", fill.job.to_string());
        set("GRID_JOB_NAME", self.order.job_name.clone());
        set("GRID_STAGE", self.order.stage_name.clone());
        set("GRID_INDEX", fill.index.to_string());
        set("GRID_COUNT", fill.count.to_string());
        set("GRID_ATTEMPT", fill.attempt.to_string());
        set("GRID_TOKEN", attempt.token.to_string());
        set("GRID_CPUS", threads.clone());
        set("OMP_NUM_THREADS", threads.clone());
        set("RAYON_NUM_THREADS", threads);
        if let Some(scratch) = attempt.scratch {
            set("GRID_SCRATCH", scratch.to_owned());
            set("TMPDIR", scratch.to_owned());
        }
        match fill.item {
            ItemValue::None => {}
            ItemValue::Number(number) => set("GRID_ITEM", number.to_string()),
            ItemValue::Chunk { start, end } => {
                set("GRID_START", start.to_string());
                set("GRID_END", end.to_string());
            }
            ItemValue::Text(text) => set("GRID_ITEM", text.to_owned()),
            ItemValue::File { path, .. } => {
                set("GRID_ITEM", path.to_owned());
                set("GRID_ITEM_PATH", fill.item.path().unwrap_or_default());
                set("GRID_ITEM_NAME", fill.item.name().unwrap_or_default().to_owned());
                set("GRID_ITEM_STEM", fill.item.stem().unwrap_or_default().to_owned());
            }
        }
        for (name, value) in &self.order.task.env {
            env.insert(Cow::Borrowed(name), value.fill(fill));
        }
        env
    }
}

fn arg_to_json(value: &ArgValue, fill: &Fill<'_>) -> Value {
    match value {
        ArgValue::Null => Value::Null,
        ArgValue::Bool(yes) => (*yes).into(),
        ArgValue::Integer(number) => (*number).into(),
        ArgValue::Float(number) => (*number).into(),
        ArgValue::Text(text) => text.fill_value(fill),
        ArgValue::Array(values) => values.iter().map(|value| arg_to_json(value, fill)).collect(),
        ArgValue::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), arg_to_json(value, fill))).collect()
        }
    }
}
