//! One `[[stage]]`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::keys::Level;
use super::values::{Entry, Reader, entries, quoted};
use crate::diagnostic::Spot;
use crate::job::{Doubt, did_you_mean};
use crate::spec::{Keep, OnLostLease};
use crate::stage::{Stage, StageRun, StageStdin};

/// A stage's keys as they are read; what it runs is put together at the end.
struct Draft {
    stage: Stage,
    doubt: Doubt,
    /// Those of `command`, `script` and `function` that are there; `None` where one could not be read.
    runs: Vec<(String, Range<usize>, Option<StageRun>)>,
}

impl Reader<'_> {
    /// Reads the stage `at`, whose header stands at `header`.
    pub(super) fn stage(
        &mut self,
        at: usize,
        table: &DeTable<'_>,
        header: Range<usize>,
    ) -> (Stage, Doubt) {
        self.places.insert(Spot::stage(at, ""), header.clone());
        let stage = Stage::new(None, StageRun::Command(Vec::new()));
        let mut draft = Draft { stage, doubt: Doubt::default(), runs: Vec::new() };
        for entry in entries(table) {
            let spot = Spot::stage(at, entry.key);
            self.places.insert(spot.clone(), entry.span());
            self.stage_key(&entry, &spot, &mut draft);
        }
        self.stage_run(draft, header)
    }

    fn stage_key(&mut self, entry: &Entry<'_, '_>, spot: &Spot, draft: &mut Draft) {
        let stage = &mut draft.stage;
        match entry.key {
            "name" => {
                // A stand-in, so that a name that cannot be read is not also a missing one.
                let unreadable = || format!("stage-{}", spot.stage.unwrap_or_default());
                stage.name = Some(self.string(entry).unwrap_or_else(unreadable));
            }
            "command" => {
                let argv = self.strings(entry, spot, command_hint);
                draft.runs.push((
                    "command".to_owned(),
                    entry.key_span.clone(),
                    argv.map(StageRun::Command),
                ));
            }
            "script" => {
                let text = self.string(entry).map(StageRun::Script);
                draft.runs.push(("script".to_owned(), entry.key_span.clone(), text));
            }
            "function" => {
                let name = self.string(entry).map(StageRun::Function);
                draft.runs.push(("function".to_owned(), entry.key_span.clone(), name));
            }
            "args" => stage.args = self.args(entry.value, spot),
            "for_each" => {
                let read = self.for_each(entry, spot);
                draft.doubt.items = read.for_each.is_none();
                stage.chunk = read.chunk;
                if let Some(for_each) = read.for_each {
                    stage.for_each = for_each;
                }
            }
            "needs" => {
                let hint =
                    |value: &DeValue<'_>| Some(format!("write needs = [\"{}\"]", value.as_str()?));
                stage.needs = self.strings(entry, spot, hint).unwrap_or_default();
            }
            "env" => stage.env = self.env(entry, spot),
            "stdin" => stage.stdin = self.stdin(entry, spot),
            "cwd" => {
                // An unreadable one is there all the same, for those who need one.
                stage.cwd = Some(self.string(entry).unwrap_or_else(|| ".".to_owned()));
            }
            "cpus" => stage.cpus = self.number(entry).unwrap_or(stage.cpus),
            "timeout" => stage.timeout = self.duration(entry),
            "retries" | "backoff" | "retry_on" | "worker_losses" | "max_failures" => {
                self.budget_key(entry, spot, &mut stage.budget);
            }
            "stdout" => stage.stdout = self.keep(entry),
            "stderr" => stage.stderr = self.keep(entry),
            "on_lost_lease" => stage.on_lost_lease = self.on_lost_lease(entry),
            _ => {
                let meant = self.unknown_key(entry, Level::Stage);
                // Then it is not missing as well.
                draft.doubt.run |= matches!(meant, Some("command" | "script" | "function"));
            }
        }
    }

    /// Puts what the stage runs in its place: exactly one of three.
    fn stage_run(&mut self, mut draft: Draft, header: Range<usize>) -> (Stage, Doubt) {
        let mut runs = draft.runs.into_iter();
        match runs.next() {
            None => {
                if self.report.is_whole() && !draft.doubt.run {
                    let hint = "add command = [\"program\", \"argument\"], script = '…' or function = \"name\"";
                    self.report.error_at(header, "the stage runs nothing", Some(hint.to_owned()));
                }
                draft.doubt.run = true;
            }
            Some((_, _, None)) => draft.doubt.run = true,
            Some((first, _, Some(run))) => {
                draft.stage.run = run;
                for (key, span, _) in runs {
                    draft.doubt.run = true;
                    let message = format!("a stage runs one thing, here are `{first}` and `{key}`");
                    let hint = "make it two stages, the second with needs = [\"…\"]";
                    self.report.error_at(span, message, Some(hint.to_owned()));
                }
            }
        }
        (draft.stage, draft.doubt)
    }

    fn env(&mut self, entry: &Entry<'_, '_>, spot: &Spot) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let DeValue::Table(table) = entry.value.get_ref() else {
            self.wrong_type(entry, "a table", Some("write env = { NAME = \"value\" }".to_owned()));
            return env;
        };
        for variable in entries(table) {
            let spot = spot.key(variable.key);
            self.places.insert(spot.own_key(), variable.key_span.clone());
            self.places.insert(spot, variable.span());
            if let DeValue::String(text) = variable.value.get_ref() {
                env.insert(variable.key.to_owned(), text.to_string());
            } else {
                let strayed = Level::Stage.keys().contains(&variable.key);
                let hint = if strayed {
                    Some(format!(
                        "`{}` stands under `env` here, move it above the [stage.env] header",
                        variable.key
                    ))
                } else {
                    quoted(variable.value.get_ref())
                };
                self.wrong_type(&variable, "a string", hint);
            }
        }
        env
    }

    fn stdin(&mut self, entry: &Entry<'_, '_>, spot: &Spot) -> StageStdin {
        const FORM: &str = "write stdin = { text = \"…\" } or stdin = { file = \"…\" }";
        let DeValue::Table(table) = entry.value.get_ref() else {
            let hint = entry.value.get_ref().as_str().map(|text| {
                let key = if text.contains('\n') || text.contains(' ') { "text" } else { "file" };
                format!("write stdin.{key} = {text:?}")
            });
            self.wrong_type(entry, "a table", Some(hint.unwrap_or_else(|| FORM.to_owned())));
            return StageStdin::Empty;
        };
        let mut found: Vec<StageStdin> = Vec::new();
        let entries = entries(table);
        for source in &entries {
            self.places.insert(spot.key(source.key), source.span());
            match source.key {
                "text" => found.extend(self.string(source).map(StageStdin::Text)),
                "file" => found.extend(self.string(source).map(StageStdin::File)),
                _ => {
                    self.unknown_key(source, Level::Stdin);
                }
            }
        }
        if entries.is_empty() && self.report.is_whole() {
            self.report.error_at(
                entry.key_span.clone(),
                "`stdin` says nothing",
                Some(FORM.to_owned()),
            );
        }
        if found.len() > 1 {
            let message = "standard input comes from one place, here are `text` and `file`";
            self.report.error_at(entry.key_span.clone(), message, Some(FORM.to_owned()));
        }
        found.into_iter().next().unwrap_or(StageStdin::Empty)
    }

    fn duration(&mut self, entry: &Entry<'_, '_>) -> Option<Duration> {
        const FORM: &str = "write a number with its unit, such as \"90s\", \"10m\" or \"1h 30m\"";
        match entry.value.get_ref() {
            DeValue::String(text) => match humantime::parse_duration(text) {
                Ok(duration) => Some(duration),
                Err(error) => {
                    let message = format!("`{text}` is no duration: {error}");
                    self.report.error_at(entry.value.span(), message, Some(FORM.to_owned()));
                    None
                }
            },
            DeValue::Integer(seconds) => {
                let hint = format!("write it with its unit: {} = \"{seconds}s\"", entry.key);
                self.wrong_type(entry, "a duration", Some(hint));
                None
            }
            _ => {
                self.wrong_type(entry, "a duration", Some(FORM.to_owned()));
                None
            }
        }
    }

    fn on_lost_lease(&mut self, entry: &Entry<'_, '_>) -> OnLostLease {
        const WORDS: [&str; 2] = ["finish", "stop"];
        match entry.value.get_ref().as_str() {
            Some("finish") => {}
            Some("stop") => return OnLostLease::Stop,
            Some(word) => {
                let message = format!("`{}` is \"finish\" or \"stop\", not {word:?}", entry.key);
                self.report.error_at(entry.span(), message, did_you_mean(word, WORDS));
            }
            None => self.wrong_type(entry, "\"finish\" or \"stop\"", None),
        }
        OnLostLease::Finish
    }

    fn keep(&mut self, entry: &Entry<'_, '_>) -> Keep {
        const WORDS: [&str; 2] = ["keep", "discard"];
        match entry.value.get_ref().as_str() {
            Some("keep") => {}
            Some("discard") => return Keep::Discard,
            Some(word) => {
                let message = format!("`{}` is \"keep\" or \"discard\", not {word:?}", entry.key);
                self.report.error_at(entry.span(), message, did_you_mean(word, WORDS));
            }
            None => self.wrong_type(entry, "\"keep\" or \"discard\"", None),
        }
        Keep::Keep
    }
}

/// Suggests the list for a command line that is free of what a shell would read otherwise.
fn command_hint(value: &DeValue<'_>) -> Option<String> {
    const SHELL_SIGNS: &[char] =
        &['"', '\'', '\\', '|', '&', ';', '<', '>', '$', '`', '(', '*', '?', '~', '#'];
    let text = value.as_str()?;
    if text.contains(SHELL_SIGNS) {
        return Some("write each word by itself, command = [\"program\", \"argument\"], or use `script` for a shell".to_owned());
    }
    let words: Vec<_> = text.split_whitespace().map(|word| format!("\"{word}\"")).collect();
    Some(format!("write command = [{}], or use `script` for a shell", words.join(", ")))
}
