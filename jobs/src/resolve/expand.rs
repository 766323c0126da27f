//! `~` and `${VAR}` of the person who submits, in paths.

use thiserror::Error;

use crate::surroundings::Surroundings;
use crate::template::{Part, Template};

/// Why a path cannot be expanded.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum ExpandError {
    #[error("the variable {name} is not set here")]
    Unset { name: String },
    #[error("`${{{name}}}` names no variable, a name is made of letters, digits and `_`")]
    Name { name: String },
    #[error("`~` stands for the home directory, and there is none here")]
    NoHome,
}

/// What an expanded value is put into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// A path: the value as it is.
    Path,
    /// A glob: the value's special characters stand for themselves.
    Glob,
}

/// Expands a path in which nothing is to be filled in.
pub(crate) fn expand(
    text: &str,
    into: Into,
    surroundings: &dyn Surroundings,
) -> Result<String, ExpandError> {
    let (mut out, rest) = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = surroundings.home().ok_or(ExpandError::NoHome)?;
            (escaped(home.trim_end_matches('/'), into), rest)
        }
        _ => (String::new(), text),
    };
    expand_variables(rest, into, surroundings, &mut out)?;
    Ok(out)
}

/// Expands a path's literal parts; what is filled in later is never expanded.
pub(crate) fn expand_template(
    template: Template,
    surroundings: &dyn Surroundings,
) -> Result<Template, ExpandError> {
    let expand_part = |(at, part)| match part {
        Part::Literal(text) if at == 0 => {
            Ok(Part::Literal(expand(&text, Into::Path, surroundings)?))
        }
        Part::Literal(text) => {
            let mut out = String::new();
            expand_variables(&text, Into::Path, surroundings, &mut out)?;
            Ok(Part::Literal(out))
        }
        Part::Fill(placeholder) => Ok(Part::Fill(placeholder)),
    };
    let parts =
        template.parts.into_iter().enumerate().map(expand_part).collect::<Result<_, _>>()?;
    Ok(Template { parts })
}

fn expand_variables(
    text: &str,
    into: Into,
    surroundings: &dyn Surroundings,
    out: &mut String,
) -> Result<(), ExpandError> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else { break };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err(ExpandError::Name { name: name.to_owned() });
        }
        let value = surroundings.variable(name);
        let value = value.ok_or_else(|| ExpandError::Unset { name: name.to_owned() })?;
        out.push_str(before);
        out.push_str(&escaped(&value, into));
        rest = behind;
    }
    out.push_str(rest);
    Ok(())
}

fn escaped(value: &str, into: Into) -> String {
    match into {
        Into::Path => value.to_owned(),
        Into::Glob => value.chars().fold(String::new(), |mut out, c| {
            if matches!(c, '*' | '?' | '[') {
                out.extend(['[', c, ']']);
            } else {
                out.push(c);
            }
            out
        }),
    }
}
