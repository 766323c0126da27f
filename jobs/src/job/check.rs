//! What can be known to be wrong with a job without looking outside of it.

use std::collections::BTreeMap;

use super::Job;
use super::stage_check::check_stage;
use crate::diagnostic::{Report, Spot};
use crate::graph::cycles;
use crate::limits::{DIAGNOSTICS_MAX, PRIORITY_ABS_MAX, STAGES_MAX};
use crate::name::{check_job_name, check_stage_name};

/// Letters that a name may be away from another to be suggested for it.
const SUGGESTION_EDITS_MAX: usize = 2;

/// Parts of a stage that could not be read, so that judging them would only repeat that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Doubt {
    /// What it runs.
    pub(crate) run: bool,
    /// What it is split by, and with that which placeholders it has.
    pub(crate) items: bool,
}

/// Checks `job`; `doubts` are those of its first stages, the others have none.
pub(crate) fn check<'j>(job: &'j Job, doubts: &[Doubt]) -> Report<'j> {
    let stages = job.stages.iter().map(|stage| stage.shown_name().to_owned()).collect();
    let mut report = Report::of_job(job.source.as_deref(), stages);
    check_job(job, &mut report);
    let first_of_name = check_names(job, &mut report);
    for (at, stage) in job.stages.iter().enumerate() {
        check_stage(stage, at, doubts.get(at).copied().unwrap_or_default(), &mut report);
    }
    check_needs(job, &first_of_name, &mut report);
    report
}

/// Returns the name of `names` that `word` is most likely a slip of, as a hint.
pub(crate) fn did_you_mean<'n>(
    word: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<String> {
    nearest(word, names).map(|name| format!("did you mean `{name}`?"))
}

/// Returns the name of `names` that `word` is most likely a slip of: at most two letters, and fewer than it
/// has, away.
pub(crate) fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let chars = word.chars().count();
    let most = SUGGESTION_EDITS_MAX.min(chars.saturating_sub(1));
    // Comparing takes time by the product of the lengths; names of another length are no slips.
    let comparable = |name: &&str| name.chars().count().abs_diff(chars) <= most;
    let edits = |name| (strsim::damerau_levenshtein(word, name), name);
    let near = names.into_iter().filter(comparable).map(edits).filter(|(edits, _)| *edits <= most);
    near.min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

fn check_job(job: &Job, report: &mut Report<'_>) {
    match (&job.name, &job.file_stem) {
        (Some(name), _) => {
            if let Err(error) = check_job_name(name) {
                report.error(&Spot::job("name"), error.to_string(), None);
            }
        }
        (None, Some(stem)) => {
            if let Err(error) = check_job_name(stem) {
                let message =
                    format!("the job has no name, and its file's name cannot be one: {error}");
                report.error(
                    &Spot::job("name"),
                    message,
                    Some("add `name = \"…\"` at the top".to_owned()),
                );
            }
        }
        (None, None) => report.error(&Spot::job("name"), "the job has no name", None),
    }
    if job.priority.unsigned_abs() > PRIORITY_ABS_MAX.unsigned_abs() {
        report.error(&Spot::job("priority"), priority_message(job.priority.into()), None);
    }
    match job.stages.len() {
        0 => {
            let hint = "add a [[stage]] with a command, a script or a function";
            report.error(&Spot::job(""), "the job has no stage", Some(hint.to_owned()));
        }
        stages if stages > STAGES_MAX => {
            let message = format!("the job has {stages} stages, at most {STAGES_MAX} are allowed");
            let hint = "let one stage have many tasks, with for_each";
            report.error(&Spot::stage(STAGES_MAX, ""), message, Some(hint.to_owned()));
        }
        _ => {}
    }
}

pub(crate) fn priority_message(priority: i128) -> String {
    format!("priority {priority} is not between -{PRIORITY_ABS_MAX} and {PRIORITY_ABS_MAX}")
}

/// Checks the stages' names and returns the first stage of each name.
fn check_names<'j>(job: &'j Job, report: &mut Report<'_>) -> BTreeMap<&'j str, usize> {
    let mut first_of_name = BTreeMap::new();
    for (at, stage) in job.stages.iter().enumerate() {
        let spot = Spot::stage(at, "name");
        match &stage.name {
            None if job.stages.len() > 1 => {
                let hint = Some("only the one stage of a job may go without a name".to_owned());
                report.error(&Spot::stage(at, ""), "the stage has no name", hint);
                continue;
            }
            None => {}
            Some(name) => {
                if let Err(error) = check_stage_name(name) {
                    report.error(&spot, error.to_string(), None);
                }
            }
        }
        let name = stage.shown_name();
        if let Some(&first) = first_of_name.get(name) {
            let hint = report.line(&Spot::stage(first, "name")).map(|line| {
                format!("the other one is in line {line}; selectors and `needs` go by the name")
            });
            report.error(&spot, format!("two stages are called `{name}`"), hint);
        } else {
            first_of_name.insert(name, at);
        }
    }
    first_of_name
}

fn check_needs(job: &Job, first_of_name: &BTreeMap<&str, usize>, report: &mut Report<'_>) {
    let mut needs = vec![Vec::new(); job.stages.len()];
    for (at, stage) in job.stages.iter().enumerate() {
        for (nth, need) in stage.needs.iter().enumerate() {
            let spot = Spot::stage(at, "needs").at(nth);
            match first_of_name.get(need.as_str()) {
                Some(&needed) if needed == at => {
                    report.error(&spot, format!("stage `{need}` needs itself"), None);
                }
                Some(&needed) => needs[at].push(needed),
                None => {
                    let others = job.stages.iter().enumerate().filter(|(other, _)| *other != at);
                    let others = others.map(|(_, other)| other.shown_name());
                    let hint = did_you_mean(need, others.clone()).or_else(|| known_stages(others));
                    report.error(&spot, format!("there is no stage `{need}` to need"), hint);
                }
            }
        }
    }
    for cycle in cycles(&needs, DIAGNOSTICS_MAX) {
        let names = cycle
            .iter()
            .chain(cycle.first())
            .map(|&at| format!("`{}`", job.stages[at].shown_name()));
        let names: Vec<String> = names.collect();
        let message = format!("stages need each other in a circle: {}", names.join(" needs "));
        let (at, needed) = (cycle[0], cycle[1 % cycle.len()]);
        let nth = job.stages[at]
            .needs
            .iter()
            .position(|need| first_of_name.get(need.as_str()) == Some(&needed));
        report.error(&Spot::stage(at, "needs").at(nth.unwrap_or(0)), message, None);
    }
}

/// Lists the stages that there are, unless that would be a page.
fn known_stages<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    const SHOWN_MAX: usize = 8;
    let names: Vec<String> = names.take(SHOWN_MAX + 1).map(|name| format!("`{name}`")).collect();
    let listed = !names.is_empty() && names.len() <= SHOWN_MAX;
    listed.then(|| format!("the other stages are {}", names.join(", ")))
}
