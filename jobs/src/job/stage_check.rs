//! What can be known to be wrong with one stage.

use serde_json::Value;

use super::check::Doubt;
use super::placeholder_check::{check_args, check_script, check_text};
use crate::check::{ItemsError, check_env_name, check_item};
use crate::diagnostic::{Report, Spot};
use crate::limits::{
    CPUS_MAX, ITEMS_BYTES_MAX, ITEMS_MAX, JOB_FILE_BYTES_MAX, TIMEOUT_SECONDS_MAX,
};
use crate::numbers::{NumbersError, RangeError};
use crate::spec::OnLostLease;
use crate::stage::{ForEach, Stage, StageRun, StageStdin};
use crate::template::ItemKind;
use crate::units::Cpus;

impl Stage {
    /// Returns what its tasks can ask for.
    pub(crate) fn item_kind(&self) -> ItemKind {
        match self.for_each {
            ForEach::Once => ItemKind::Single,
            ForEach::Range(_) if self.chunk.is_some() => ItemKind::Chunks,
            ForEach::Range(_) => ItemKind::Numbers,
            ForEach::List(_) | ForEach::Lines(_) => ItemKind::Texts,
            ForEach::Files(_) => ItemKind::Files,
        }
    }

    /// Returns its cpus rounded to ten-thousandths, if they are within bounds.
    pub(crate) fn checked_cpus(&self) -> Option<Cpus> {
        let ten_thousandths = (self.cpus * 10_000.0).round();
        if !(1.0..=f64::from(CPUS_MAX) * 10_000.0).contains(&ten_thousandths) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies within the bounds"
        )]
        Some(Cpus::from_ten_thousandths(ten_thousandths as u64))
    }
}

pub(super) fn check_stage(stage: &Stage, at: usize, doubt: Doubt, report: &mut Report<'_>) {
    let mut checker =
        Checker { stage, at, kind: (!doubt.items).then(|| stage.item_kind()), report };
    if !doubt.items {
        checker.items();
    }
    if !doubt.run {
        checker.run();
        checker.directories();
        checker.args();
    }
    checker.env();
    checker.stdin();
    checker.quantities();
    if !doubt.run {
        checker.lost_lease();
    }
    checker.size();
}

struct Checker<'a, 'r> {
    stage: &'a Stage,
    at: usize,
    /// `None` where that could not be read.
    kind: Option<ItemKind>,
    report: &'a mut Report<'r>,
}

impl Checker<'_, '_> {
    fn spot(&self, path: &str) -> Spot {
        Spot::stage(self.at, path)
    }

    fn error(&mut self, spot: &Spot, message: impl Into<String>, hint: &str) {
        self.report.error(spot, message, (!hint.is_empty()).then(|| hint.to_owned()));
    }

    /// Checks a text that may hold placeholders but no NUL character.
    fn text(&mut self, spot: &Spot, text: &str) {
        self.nul(spot, text);
        if let Some(kind) = self.kind {
            check_text(text, kind, spot, self.report);
        }
    }

    fn nul(&mut self, spot: &Spot, text: &str) {
        if text.contains('\0') {
            self.error(spot, "the text holds a NUL character, which no program can be given", "");
        }
    }

    fn items(&mut self) {
        if self.stage.chunk.is_some() && !matches!(self.stage.for_each, ForEach::Range(_)) {
            let spot = self.spot("for_each.chunk");
            self.error(
                &spot,
                "`chunk` goes with `range` only",
                "a chunk is so many numbers of a range",
            );
        }
        match &self.stage.for_each {
            ForEach::Once => {}
            ForEach::Range(range) => {
                if let Err(error) = range.numbers(self.stage.chunk) {
                    self.range_error(error);
                }
            }
            ForEach::List(items) => self.list(items),
            ForEach::Lines(path) => {
                let spot = self.spot("for_each.lines");
                if path.is_empty() {
                    self.error(&spot, "`lines` names no file", "");
                }
                self.nul(&spot, path);
            }
            ForEach::Files(globs) => self.globs(globs),
        }
    }

    fn range_error(&mut self, error: RangeError) {
        let hint = match error {
            RangeError::Backwards { range } => format!("write {}..{}", range.end, range.start),
            RangeError::Numbers(NumbersError::TooManyTasks { .. })
            | RangeError::TooManyNumbers { .. } => {
                "let each task take many numbers, with `chunk`".to_owned()
            }
            RangeError::Numbers(NumbersError::ChunkedStep) => {
                "leave the step out, and let each task step through its own chunk".to_owned()
            }
            RangeError::Numbers(
                NumbersError::ChunkZero | NumbersError::StepZero | NumbersError::TooLarge,
            ) => String::new(),
        };
        let of_chunk = matches!(
            error,
            RangeError::Numbers(NumbersError::ChunkZero | NumbersError::ChunkedStep)
        );
        let spot = self.spot(if of_chunk { "for_each.chunk" } else { "for_each.range" });
        self.error(&spot, error.to_string(), &hint);
    }

    fn list(&mut self, items: &[String]) {
        let spot = self.spot("for_each.list");
        let bytes = items.iter().map(String::len).sum();
        if items.len() > ITEMS_MAX {
            self.error(&spot, ItemsError::TooMany { items: items.len() }.to_string(), "");
        }
        if bytes > ITEMS_BYTES_MAX {
            self.error(&spot, ItemsError::TooManyBytes { bytes }.to_string(), "");
        }
        for (nth, item) in items.iter().enumerate() {
            if let Err(error) = check_item(nth, item) {
                self.error(&spot.at(nth), error.to_string(), "");
            }
        }
    }

    fn globs(&mut self, globs: &[String]) {
        let spot = self.spot("for_each.files");
        if globs.is_empty() {
            self.error(&spot, "`files` names no file", "write a glob, such as \"data/*.csv\"");
        }
        for (nth, glob) in globs.iter().enumerate() {
            if glob.is_empty() {
                self.error(&spot.at(nth), "the glob is empty", "");
            }
            self.nul(&spot.at(nth), glob);
        }
        if self.stage.cwd.is_none() {
            let hint = "until files travel, set `cwd` to a directory that every worker has, such as cwd = \".\"";
            self.error(&spot, "a stage over files needs a `cwd`", hint);
        }
    }

    fn run(&mut self) {
        match &self.stage.run {
            StageRun::Command(argv) => {
                let spot = self.spot("command");
                match argv.first() {
                    None => self.error(
                        &spot,
                        "the command is empty",
                        "name a program: [\"program\", \"argument\"]",
                    ),
                    Some(program) if program.is_empty() => {
                        self.error(&spot.at(0), "the program of the command is empty", "");
                    }
                    Some(_) => {}
                }
                for (nth, text) in argv.iter().enumerate() {
                    self.text(&spot.at(nth), text);
                }
            }
            StageRun::Script(text) => {
                let spot = self.spot("script");
                if text.trim().is_empty() {
                    self.error(&spot, "the script is empty", "");
                }
                if let Some(kind) = self.kind {
                    check_script(text, kind, &spot, self.report);
                }
            }
            StageRun::Function(name) => {
                if name.is_empty() {
                    let spot = self.spot("function");
                    self.error(&spot, "the function has no name", "");
                }
            }
        }
    }

    fn args(&mut self) {
        let Some(args) = &self.stage.args else { return };
        let spot = self.spot("args");
        if !matches!(self.stage.run, StageRun::Function(_)) {
            self.error(
                &spot,
                "`args` goes with `function` only",
                "arguments of a program stand in `command`",
            );
        }
        check_args(args, self.kind, 1, &spot, self.report);
    }

    /// A program given by a relative path is looked up in the directory that the task starts in.
    fn directories(&mut self) {
        if let Some(cwd) = &self.stage.cwd {
            let spot = self.spot("cwd");
            if cwd.is_empty() {
                self.error(
                    &spot,
                    "the directory is empty",
                    "write \".\" for the one of the job file",
                );
            }
            self.text(&spot, cwd);
        }
        let StageRun::Command(argv) = &self.stage.run else { return };
        let Some(program) = argv.first() else { return };
        let is_relative = program.contains('/') && !program.starts_with(['/', '{']);
        if is_relative && self.stage.cwd.is_none() {
            let hint = if program.starts_with('~') {
                "`~` is not expanded in a command, write the absolute path"
            } else {
                "until files travel, set `cwd` to a directory that every worker has, or write the absolute path"
            };
            let spot = self.spot("command").at(0);
            self.error(&spot, format!("the relative path `{program}` needs a `cwd`"), hint);
        }
    }

    fn env(&mut self) {
        for (name, value) in &self.stage.env {
            let spot = self.spot("env").key(name);
            if let Err(error) = check_env_name(name) {
                self.error(&spot.own_key(), error.to_string(), "");
            }
            self.text(&spot, value);
        }
    }

    fn stdin(&mut self) {
        match &self.stage.stdin {
            StageStdin::Empty => {}
            StageStdin::Text(text) => {
                let spot = self.spot("stdin.text");
                if let Some(kind) = self.kind {
                    check_text(text, kind, &spot, self.report);
                }
            }
            StageStdin::File(path) => {
                let spot = self.spot("stdin.file");
                if path.is_empty() {
                    self.error(&spot, "`stdin.file` names no file", "");
                }
                self.text(&spot, path);
            }
        }
    }

    fn quantities(&mut self) {
        if self.stage.checked_cpus().is_none() {
            let message =
                format!("a task takes from 0.0001 to {CPUS_MAX} cpus, not {}", self.stage.cpus);
            self.error(&self.spot("cpus"), message, "");
        }
        if let Some(timeout) = self.stage.timeout {
            let spot = self.spot("timeout");
            if timeout.is_zero() {
                self.error(
                    &spot,
                    "a timeout of zero would end every attempt at once",
                    "leave it out for no limit",
                );
            } else if timeout.as_secs() > TIMEOUT_SECONDS_MAX {
                self.error(&spot, "a timeout is at most ten years", "leave it out for no limit");
            }
        }
        for (key, error) in self.stage.budget.errors() {
            self.error(&self.spot(key), error.to_string(), "");
        }
    }

    fn lost_lease(&mut self) {
        if self.stage.on_lost_lease == OnLostLease::Stop
            && matches!(self.stage.run, StageRun::Function(_))
        {
            self.error(
                &self.spot("on_lost_lease"),
                "a function cannot be killed, so that `on_lost_lease = \"stop\"` cannot hold for it",
                "leave it out, or run a command or a script",
            );
        }
    }

    /// A file's own limit holds this for files; a builder may be given more.
    fn size(&mut self) {
        let run = match &self.stage.run {
            StageRun::Command(argv) => argv.iter().map(|text| text.len() + 2).sum(),
            StageRun::Script(text) => text.len(),
            StageRun::Function(name) => name.len(),
        };
        let env: usize =
            self.stage.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let stdin = match &self.stage.stdin {
            StageStdin::Empty => 0,
            StageStdin::Text(text) | StageStdin::File(text) => text.len(),
        };
        let args = self.stage.args.as_ref().map_or(0, json_bytes);
        let bytes = run + env + stdin + args + self.stage.cwd.as_ref().map_or(0, String::len);
        if bytes > JOB_FILE_BYTES_MAX {
            let message = format!(
                "what the stage runs is {bytes} bytes of text, at most {JOB_FILE_BYTES_MAX} are allowed"
            );
            self.error(
                &self.spot(""),
                message,
                "keep large texts in files that the worker's machine has",
            );
        }
    }
}

fn json_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => 1 + values.iter().map(json_bytes).sum::<usize>(),
        Value::Object(entries) => {
            1 + entries.iter().map(|(key, value)| key.len() + json_bytes(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;
    use crate::limits::TASKS_PER_STAGE_MAX;

    #[test]
    fn a_stage_of_too_many_tasks_is_refused_without_counting_them() {
        let stage = Stage::command("a", ["true"]).for_each_range(0..1_000_000_000_000);
        let found = Job::new("j").stage(stage).check().expect_err("it is over the limit");
        let message = format!(
            "the range gives 1000000000000 tasks, a stage has at most {TASKS_PER_STAGE_MAX}"
        );
        assert_eq!(found.list[0].message, message);
        assert_eq!(found.list[0].context, "stage `a`, `for_each.range`");
    }

    #[test]
    fn cpus_are_kept_to_ten_thousandths() {
        let cpus = |cpus: f64| Stage::command("a", ["true"]).cpus(cpus).checked_cpus();
        assert_eq!(cpus(0.5), Some(Cpus::from_ten_thousandths(5000)));
        assert_eq!(cpus(0.0001), Some(Cpus::from_ten_thousandths(1)));
        assert_eq!(cpus(f64::from(CPUS_MAX)), Some(Cpus::whole(CPUS_MAX)));
        for refused in [0.0, -1.0, 0.00001, f64::NAN, f64::INFINITY, f64::from(CPUS_MAX) + 1.0] {
            assert_eq!(cpus(refused), None, "{refused}");
        }
    }
}
