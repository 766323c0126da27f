//! Placeholders in a stage's texts: those that it does not have, and what to write instead.

use serde_json::Value;

use crate::diagnostic::{Report, Spot};
use crate::limits::ARGS_DEPTH_MAX;
use crate::template::{IssueKind, ItemKind, Placeholder, Template};

/// Checks the placeholders of one text.
pub(super) fn check_text(text: &str, kind: ItemKind, spot: &Spot, report: &mut Report<'_>) {
    for issue in Template::parse(text, kind).issues {
        let name = &issue.name;
        match issue.kind {
            IssueKind::NearMiss(meant) => {
                let message = format!("there is no `{{{name}}}`");
                report.error(
                    spot,
                    message,
                    Some(format!("did you mean `{meant}`? {}", known(kind))),
                );
            }
            IssueKind::NotInThisStage => {
                let message = format!("there is no `{{{name}}}` in {kind}");
                let instead =
                    instead_of(name, kind).map(|instead| instead + " ").unwrap_or_default();
                report.error(spot, message, Some(format!("{instead}{}", known(kind))));
            }
            IssueKind::Unknown => {
                let message = format!("`{{{name}}}` is no placeholder and stays as it is");
                report.warning(spot, message, Some(known(kind)));
            }
        }
    }
}

/// Checks the placeholders in the strings of `args`, and how deep it is.
pub(super) fn check_args(
    args: &Value,
    kind: Option<ItemKind>,
    depth: usize,
    spot: &Spot,
    report: &mut Report<'_>,
) {
    if depth > ARGS_DEPTH_MAX {
        report.error(spot, format!("args is nested more than {ARGS_DEPTH_MAX} levels deep"), None);
        return;
    }
    match args {
        Value::String(text) => {
            if let Some(kind) = kind {
                check_text(text, kind, spot, report);
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                check_args(value, kind, depth + 1, &spot.at(at), report);
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                check_args(value, kind, depth + 1, &spot.key(key), report);
            }
        }
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            let message = format!(
                "args holds {number}, which is over the largest whole number, {}",
                i64::MAX
            );
            report.error(spot, message, None);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Warns of placeholders in a script, which is never filled in.
pub(super) fn check_script(text: &str, kind: ItemKind, spot: &Spot, report: &mut Report<'_>) {
    // Only names that no shell or awk program has by chance.
    let names =
        [Placeholder::Item, Placeholder::ItemPath, Placeholder::ItemName, Placeholder::ItemStem];
    let found = Template::parse(text, ItemKind::Files).template.parts.into_iter().find_map(
        |part| match part {
            crate::template::Part::Fill(name) if names.contains(&name) && name.exists_for(kind) => {
                Some(name)
            }
            crate::template::Part::Fill(_) | crate::template::Part::Literal(_) => None,
        },
    );
    if let Some(found) = found {
        let variable = format!("GRID_{}", found.name().to_uppercase().replace('.', "_"));
        let message = format!("a script is never filled in, `{found}` stays as it is");
        report.warning(spot, message, Some(format!("read \"${variable}\" from the environment")));
    }
}

fn known(kind: ItemKind) -> String {
    let names: Vec<String> =
        kind.placeholders().map(|placeholder| format!("`{placeholder}`")).collect();
    format!("here there are {}", names.join(", "))
}

/// Says what to use in place of a name that only other stages have.
fn instead_of(name: &str, kind: ItemKind) -> Option<String> {
    let part_of_item = name.starts_with("item.");
    let use_instead = |meant: Placeholder| Some(format!("use `{meant}`;"));
    match kind {
        ItemKind::Single if name == "item" || part_of_item => Some("add `for_each`;".to_owned()),
        ItemKind::Single if name == "start" || name == "end" => {
            Some("add `for_each = { range = \"…\", chunk = … }`;".to_owned())
        }
        ItemKind::Chunks if name == "item" || part_of_item => {
            Some("use `{start}` and `{end}`;".to_owned())
        }
        ItemKind::Numbers if name == "start" || name == "end" => {
            Some("use `{item}`, or add `chunk`;".to_owned())
        }
        ItemKind::Numbers | ItemKind::Texts if part_of_item => use_instead(Placeholder::Item),
        ItemKind::Texts | ItemKind::Files if name == "start" || name == "end" => {
            use_instead(Placeholder::Item)
        }
        ItemKind::Files if part_of_item => {
            let parts = [Placeholder::ItemPath, Placeholder::ItemName, Placeholder::ItemStem];
            let nearest =
                parts.into_iter().min_by_key(|part| strsim::levenshtein(part.name(), name));
            nearest.and_then(use_instead)
        }
        ItemKind::Single
        | ItemKind::Numbers
        | ItemKind::Chunks
        | ItemKind::Texts
        | ItemKind::Files => None,
    }
}
