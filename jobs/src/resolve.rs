//! From a job as written to a job that depends on nothing of the submitter's machine any more.
//!
//! Files, lines, variables and `~` are looked up through [`Surroundings`]. `cwd` and `stdin.file` are relative
//! to the job file, and made absolute here, also where they begin with a placeholder.

mod anchor;
mod expand;
mod items;

use std::sync::Arc;

use serde_json::Value;

use crate::diagnostic::{Diagnostics, Report, Spot};
use crate::id::StageIndex;
use crate::job::Job;
use crate::spec::{ArgValue, Args, Items, JobSpec, Run, StageSpec, Stdin, TaskTemplate};
use crate::stage::{Stage, StageRun, StageStdin};
use crate::surroundings::Surroundings;
use crate::template::{ItemKind, Template};

/// A job that can be submitted, and what is doubtful about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolved {
    /// The job; it passes [`JobSpec::check`].
    pub spec: JobSpec,
    /// Warnings only.
    pub warnings: Diagnostics,
}

impl Job {
    /// Looks up everything that the job names on this machine, and checks it as [`Job::check`] does.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn resolve(&self, surroundings: &dyn Surroundings) -> Result<Resolved, Diagnostics> {
        let mut report = crate::job::check(self, &[]);
        if report.has_errors() {
            return Err(report.finish());
        }
        let stages: Vec<StageSpec> = self
            .stages
            .iter()
            .enumerate()
            .filter_map(|(at, stage)| {
                Resolver { job: self, stage, at, surroundings, report: &mut report }.stage()
            })
            .collect();
        if report.has_errors() {
            return Err(report.finish());
        }
        let spec =
            JobSpec { name: self.effective_name().to_owned(), priority: self.priority, stages };
        debug_assert_eq!(spec.check(), Ok(()), "what a job passes, its spec passes");
        Ok(Resolved { spec, warnings: report.finish() })
    }
}

struct Resolver<'a, 'r> {
    job: &'a Job,
    stage: &'a Stage,
    at: usize,
    surroundings: &'a dyn Surroundings,
    report: &'a mut Report<'r>,
}

impl Resolver<'_, '_> {
    /// Returns the stage, or `None` where an error was reported.
    fn stage(&mut self) -> Option<StageSpec> {
        // Both are tried, so that the errors of both are reported.
        let items = self.items();
        let kind = self.stage.item_kind();
        let cwd = self.stage.cwd.as_ref().map(|cwd| self.path(cwd, "cwd", kind, items.as_ref()));
        let stdin = match &self.stage.stdin {
            StageStdin::Empty => Some(Stdin::Empty),
            StageStdin::Text(text) => Some(Stdin::Text(Template::parse(text, kind).template)),
            StageStdin::File(path) => {
                self.path(path, "stdin.file", kind, items.as_ref()).map(Stdin::File)
            }
        };
        let task = TaskTemplate {
            run: run(self.stage, kind),
            env: (self.stage.env.iter())
                .map(|(name, value)| (name.clone(), Template::parse(value, kind).template))
                .collect(),
            stdin: stdin?,
            cwd: match cwd {
                Some(cwd) => Some(cwd?),
                None => None,
            },
            cpus: self.stage.checked_cpus()?,
            timeout: self.stage.timeout,
            stdout: self.stage.stdout,
            stderr: self.stage.stderr,
            on_lost_lease: self.stage.on_lost_lease,
        };
        Some(StageSpec {
            name: self.stage.shown_name().to_owned(),
            items: items?,
            needs: self.needs(),
            budget: self.stage.budget.clone(),
            task: Arc::new(task),
        })
    }

    /// Returns the stages that it needs, each once, in file order.
    fn needs(&self) -> Vec<StageIndex> {
        let is_needed =
            |other: &Stage| self.stage.needs.iter().any(|need| need == other.shown_name());
        let indexed = self.job.stages.iter().zip((0..).map(StageIndex));
        indexed.filter(|(other, _)| is_needed(other)).map(|(_, index)| index).collect()
    }

    /// Returns the path `text` of key `key` as a template that is absolute once filled in.
    fn path(
        &mut self,
        text: &str,
        key: &str,
        kind: ItemKind,
        items: Option<&Items>,
    ) -> Option<Template> {
        let spot = Spot::stage(self.at, key);
        let template = Template::parse(text, kind).template;
        let expanded = expand::expand_template(template, self.surroundings);
        let template = self.reported(expanded, &spot)?;
        let anchored = anchor::anchor(template, self.surroundings.base(), items?);
        self.reported(anchored, &spot)
    }

    /// Turns an error into a diagnostic at `spot`.
    fn reported<T, E: std::error::Error>(
        &mut self,
        result: Result<T, E>,
        spot: &Spot,
    ) -> Option<T> {
        result.map_err(|error| self.report.error(spot, error.to_string(), None)).ok()
    }
}

fn run(stage: &Stage, kind: ItemKind) -> Run {
    match &stage.run {
        StageRun::Command(argv) => Run::Command {
            argv: argv.iter().map(|text| Template::parse(text, kind).template).collect(),
        },
        StageRun::Script(text) => Run::Script { text: text.clone() },
        StageRun::Function(name) => Run::Function {
            name: name.clone(),
            args: stage.args.as_ref().map_or(Args::Item, |args| Args::Value(arg_value(args, kind))),
        },
    }
}

fn arg_value(value: &Value, kind: ItemKind) -> ArgValue {
    match value {
        Value::Null => ArgValue::Null,
        Value::Bool(yes) => ArgValue::Bool(*yes),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => ArgValue::Integer(whole),
            None => ArgValue::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => ArgValue::Text(Template::parse(text, kind).template),
        Value::Array(values) => {
            ArgValue::Array(values.iter().map(|value| arg_value(value, kind)).collect())
        }
        Value::Object(entries) => ArgValue::Object(
            entries.iter().map(|(key, value)| (key.clone(), arg_value(value, kind))).collect(),
        ),
    }
}
