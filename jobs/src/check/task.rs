//! What every task of a stage runs, as a peer sent it.

use std::time::Duration;

use thiserror::Error;

use crate::limits::{ARGS_DEPTH_MAX, CPUS_MAX, TASK_TEXT_BYTES_MAX, TIMEOUT_SECONDS_MAX};
use crate::spec::{ArgValue, Args, OnLostLease, Run, Stdin, TaskTemplate};
use crate::template::{ItemKind, Part, Placeholder, Template};
use crate::units::Cpus;

/// What is wrong with what a stage runs.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TaskError {
    /// A command without a program.
    #[error("the command is empty")]
    EmptyCommand,
    /// A function without a name.
    #[error("the function has no name")]
    EmptyFunction,
    /// A placeholder that tasks over such items do not have.
    #[error("`{placeholder}` does not exist in {kind}")]
    ForeignPlaceholder {
        /// Which one.
        placeholder: Placeholder,
        /// What the stage is over.
        kind: ItemKind,
    },
    /// A NUL character where the operating system takes none.
    #[error("{place} holds a NUL character")]
    Nul {
        /// Where: `command`, `env`, `cwd`, …
        place: &'static str,
    },
    /// A variable that cannot be set.
    #[error(transparent)]
    EnvName(#[from] EnvNameError),
    /// Too few or too many cpus.
    #[error(transparent)]
    Cpus(#[from] CpusError),
    /// A timeout of zero, or of more than ten years.
    #[error("a timeout is longer than zero and at most {TIMEOUT_SECONDS_MAX} s, not {timeout:?}")]
    Timeout {
        /// What it is.
        timeout: Duration,
    },
    /// More text than [`TASK_TEXT_BYTES_MAX`].
    #[error(
        "what the stage runs is {bytes} bytes of text, at most {TASK_TEXT_BYTES_MAX} are allowed"
    )]
    TooMuchText {
        /// How much it is.
        bytes: usize,
    },
    /// `args` nested deeper than [`ARGS_DEPTH_MAX`].
    #[error("args is nested more than {ARGS_DEPTH_MAX} levels deep")]
    ArgsTooDeep,
    /// A function that is to be killed.
    #[error("a function cannot be killed, so that on_lost_lease = \"stop\" cannot hold for it")]
    FunctionToStop,
    /// A number in `args` that JSON does not have.
    #[error("args holds a number that JSON does not have: {number}")]
    ArgsNumber {
        /// The number: `NaN`, `inf` or `-inf`.
        number: String,
    },
}

/// A number of cpus that no task can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a task takes from 0.0001 to {CPUS_MAX} cpus, not {cpus}")]
pub struct CpusError {
    /// What it asks for.
    pub cpus: Cpus,
}

/// An environment variable that a stage cannot set.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum EnvNameError {
    /// Its name is empty, or holds `=` or a NUL character.
    #[error("{name:?} is not a name that an environment variable can have")]
    Form {
        /// The name.
        name: String,
    },
    /// Its name begins with `GRID_`.
    #[error("`{name}` cannot be set, variables that begin with GRID_ are the grid's own")]
    Reserved {
        /// The name.
        name: String,
    },
}

/// Checks a number of cpus.
pub(crate) fn check_cpus(cpus: Cpus) -> Result<(), CpusError> {
    if cpus == Cpus::ZERO || cpus > Cpus::whole(CPUS_MAX) {
        Err(CpusError { cpus })
    } else {
        Ok(())
    }
}

/// Checks the name of an environment variable.
pub(crate) fn check_env_name(name: &str) -> Result<(), EnvNameError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(EnvNameError::Form { name: name.to_owned() });
    }
    if name.starts_with("GRID_") {
        Err(EnvNameError::Reserved { name: name.to_owned() })
    } else {
        Ok(())
    }
}

impl TaskTemplate {
    /// Checks what a peer sent as the task of a stage over items of `kind`.
    ///
    /// # Errors
    /// Names the first thing that is wrong.
    pub fn check(&self, kind: ItemKind) -> Result<(), TaskError> {
        check_cpus(self.cpus)?;
        if let Some(timeout) = self.timeout
            && (timeout.is_zero() || timeout > Duration::from_secs(TIMEOUT_SECONDS_MAX))
        {
            return Err(TaskError::Timeout { timeout });
        }
        let mut bytes = self.check_run(kind)?;
        for (name, value) in &self.env {
            check_env_name(name)?;
            bytes += name.len() + check_text(value, kind, Some("env"))?;
        }
        bytes += match &self.stdin {
            Stdin::Empty => 0,
            Stdin::Text(text) => check_text(text, kind, None)?,
            Stdin::File(path) => check_text(path, kind, Some("stdin.file"))?,
        };
        bytes += self.cwd.as_ref().map_or(Ok(0), |cwd| check_text(cwd, kind, Some("cwd")))?;
        if bytes > TASK_TEXT_BYTES_MAX { Err(TaskError::TooMuchText { bytes }) } else { Ok(()) }
    }

    fn check_run(&self, kind: ItemKind) -> Result<usize, TaskError> {
        match &self.run {
            Run::Command { argv }
                if argv.first().is_none_or(|program| program.parts.is_empty()) =>
            {
                Err(TaskError::EmptyCommand)
            }
            Run::Command { argv } => {
                // An argument costs at least its place in the list, so that many empty ones are bounded too.
                argv.iter().try_fold(0, |bytes, text| {
                    Ok(bytes + 1 + check_text(text, kind, Some("command"))?)
                })
            }
            Run::Script { text } => Ok(text.len()),
            Run::Function { name, .. } if name.is_empty() => Err(TaskError::EmptyFunction),
            Run::Function { .. } if self.on_lost_lease == OnLostLease::Stop => {
                Err(TaskError::FunctionToStop)
            }
            Run::Function { name, args: Args::Item } => Ok(name.len()),
            Run::Function { name, args: Args::Value(value) } => {
                Ok(name.len() + check_arg(value, kind, 1)?)
            }
        }
    }
}

/// Checks a template and returns its bytes; `place` is named where a NUL character is not allowed.
fn check_text(
    text: &Template,
    kind: ItemKind,
    place: Option<&'static str>,
) -> Result<usize, TaskError> {
    if let Some(placeholder) = text.foreign_to(kind) {
        return Err(TaskError::ForeignPlaceholder { placeholder, kind });
    }
    let holds_nul = |part: &Part| matches!(part, Part::Literal(text) if text.contains('\0'));
    match place {
        Some(place) if text.parts.iter().any(holds_nul) => Err(TaskError::Nul { place }),
        _ => Ok(text.literal_bytes() + text.parts.len()),
    }
}

fn check_arg(value: &ArgValue, kind: ItemKind, depth: usize) -> Result<usize, TaskError> {
    if depth > ARGS_DEPTH_MAX {
        return Err(TaskError::ArgsTooDeep);
    }
    match value {
        ArgValue::Null | ArgValue::Bool(_) | ArgValue::Integer(_) => Ok(1),
        ArgValue::Float(number) if number.is_finite() => Ok(1),
        ArgValue::Float(number) => Err(TaskError::ArgsNumber { number: number.to_string() }),
        ArgValue::Text(text) => check_text(text, kind, None),
        ArgValue::Array(values) => {
            values.iter().try_fold(1, |bytes, value| Ok(bytes + check_arg(value, kind, depth + 1)?))
        }
        ArgValue::Object(entries) => entries.iter().try_fold(1, |bytes, (key, value)| {
            Ok(bytes + key.len() + check_arg(value, kind, depth + 1)?)
        }),
    }
}
