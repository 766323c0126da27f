//! A job as the text of a job file.

use serde_json::Value;
use thiserror::Error;
use toml::{Table, Value as Toml};

use super::Job;
use crate::budget::Budget;
use crate::spec::{Keep, OnLostLease};
use crate::stage::{ForEach, Stage, StageRun, StageStdin};

/// Why a job cannot be written as a job file.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ToTomlError {
    /// `args` holds null, which TOML does not have.
    #[error("stage `{stage}`: args holds null, which a job file cannot say")]
    Null {
        /// The stage's name.
        stage: String,
    },
    /// `args` holds a number over `i64::MAX`.
    #[error("stage `{stage}`: args holds {number}, which a job file cannot say")]
    Number {
        /// The stage's name.
        stage: String,
        /// The number.
        number: String,
    },
    /// A number of the range, chunk or step is over `i64::MAX`.
    #[error("stage `{stage}`: the chunk {chunk} is more than a job file can say")]
    Chunk {
        /// The stage's name.
        stage: String,
        /// The chunk.
        chunk: u64,
    },
    /// The TOML library refused.
    #[error("the job cannot be written: {0}")]
    Write(#[from] toml::ser::Error),
}

impl Job {
    /// Returns the text of a job file that says the same; reading it gives an equal job.
    ///
    /// # Errors
    /// Where the job says something that TOML cannot.
    pub fn to_toml(&self) -> Result<String, ToTomlError> {
        let mut table = Table::new();
        let name = self.effective_name();
        if !name.is_empty() {
            table.insert("name".to_owned(), name.into());
        }
        if self.priority != 0 {
            table.insert("priority".to_owned(), i64::from(self.priority).into());
        }
        let stages: Vec<Toml> = self.stages.iter().map(stage_table).collect::<Result<_, _>>()?;
        table.insert("stage".to_owned(), Toml::Array(stages));
        Ok(toml::to_string_pretty(&table)?)
    }
}

fn stage_table(stage: &Stage) -> Result<Toml, ToTomlError> {
    let defaults = Stage::new(None, StageRun::Command(Vec::new()));
    let mut table = Table::new();
    let mut set = |key: &str, value: Toml| {
        table.insert(key.to_owned(), value);
    };
    if let Some(name) = &stage.name {
        set("name", name.as_str().into());
    }
    match &stage.run {
        StageRun::Command(argv) => set("command", strings(argv)),
        StageRun::Script(text) => set("script", text.as_str().into()),
        StageRun::Function(name) => set("function", name.as_str().into()),
    }
    if let Some(args) = &stage.args {
        set("args", args_to_toml(args, stage)?);
    }
    if let Some(for_each) = for_each_table(stage)? {
        set("for_each", for_each);
    }
    if !stage.needs.is_empty() {
        set("needs", strings(&stage.needs));
    }
    if !stage.env.is_empty() {
        let env: Table =
            stage.env.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        set("env", env.into());
    }
    match &stage.stdin {
        StageStdin::Empty => {}
        StageStdin::Text(text) => set("stdin", one("text", text.as_str().into())),
        StageStdin::File(path) => set("stdin", one("file", path.as_str().into())),
    }
    if let Some(cwd) = &stage.cwd {
        set("cwd", cwd.as_str().into());
    }
    if stage.cpus.to_bits() != defaults.cpus.to_bits() {
        set("cpus", stage.cpus.into());
    }
    if let Some(timeout) = stage.timeout {
        set("timeout", humantime::format_duration(timeout).to_string().into());
    }
    set_budget(&stage.budget, &mut set);
    for (key, keep) in [("stdout", stage.stdout), ("stderr", stage.stderr)] {
        match keep {
            Keep::Keep => {}
            Keep::Discard => set(key, "discard".into()),
        }
    }
    match stage.on_lost_lease {
        OnLostLease::Finish => {}
        OnLostLease::Stop => set("on_lost_lease", "stop".into()),
    }
    Ok(table.into())
}

fn set_budget(budget: &Budget, set: &mut impl FnMut(&str, Toml)) {
    let usual = Budget::default();
    if budget.retries != usual.retries {
        set("retries", i64::from(budget.retries).into());
    }
    if budget.backoff != usual.backoff {
        set("backoff", budget.backoff.to_string().into());
    }
    if budget.retry_on != usual.retry_on {
        let words = budget.retry_on.iter().map(|kind| kind.as_str().into());
        set("retry_on", Toml::Array(words.collect()));
    }
    if budget.worker_losses != usual.worker_losses {
        set("worker_losses", i64::from(budget.worker_losses).into());
    }
    if let Some(failures) = budget.max_failures {
        // More than a file can say is more than any job may.
        set("max_failures", i64::try_from(failures).unwrap_or(i64::MAX).into());
    }
}

fn for_each_table(stage: &Stage) -> Result<Option<Toml>, ToTomlError> {
    let mut table = Table::new();
    match &stage.for_each {
        ForEach::Once => {}
        ForEach::Range(range) => {
            table.insert("range".to_owned(), range.to_string().into());
        }
        ForEach::List(items) => {
            table.insert("list".to_owned(), strings(items));
        }
        ForEach::Lines(path) => {
            table.insert("lines".to_owned(), path.as_str().into());
        }
        ForEach::Files(globs) => {
            table.insert("files".to_owned(), strings(globs));
        }
    }
    if let Some(chunk) = stage.chunk {
        let error = || ToTomlError::Chunk { stage: stage.shown_name().to_owned(), chunk };
        table.insert("chunk".to_owned(), i64::try_from(chunk).map_err(|_| error())?.into());
    }
    Ok((!table.is_empty()).then(|| table.into()))
}

fn args_to_toml(value: &Value, stage: &Stage) -> Result<Toml, ToTomlError> {
    let name = || stage.shown_name().to_owned();
    Ok(match value {
        Value::Null => return Err(ToTomlError::Null { stage: name() }),
        Value::Bool(yes) => (*yes).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(float)) if number.is_f64() => float.into(),
            (None, _) => {
                return Err(ToTomlError::Number { stage: name(), number: number.to_string() });
            }
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => Toml::Array(
            values.iter().map(|value| args_to_toml(value, stage)).collect::<Result<_, _>>()?,
        ),
        Value::Object(entries) => {
            let mut table = Table::new();
            for (key, value) in entries {
                table.insert(key.clone(), args_to_toml(value, stage)?);
            }
            table.into()
        }
    })
}

fn strings(texts: &[String]) -> Toml {
    Toml::Array(texts.iter().map(|text| text.as_str().into()).collect())
}

fn one(key: &str, value: Toml) -> Toml {
    let mut table = Table::new();
    table.insert(key.to_owned(), value);
    table.into()
}
