//! Names of jobs and stages: one alphabet, checked where a name comes in from a file, a builder or a peer.

use thiserror::Error;

use crate::limits::NAME_CHARS_MAX;

/// What is wrong with a name of a job or a stage.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum NameError {
    /// It has no character.
    #[error("a name has 1 to {NAME_CHARS_MAX} characters, this one is empty")]
    Empty,
    /// It has more than [`NAME_CHARS_MAX`] characters.
    #[error("a name has at most {NAME_CHARS_MAX} characters, this one has {chars}")]
    TooLong {
        /// How many it has.
        chars: usize,
    },
    /// It has a character outside the alphabet.
    #[error("a stage's name is made of letters, digits, `-`, `_` and `.`, not of {character:?}")]
    StageCharacter {
        /// The first such character.
        character: char,
    },
    /// It has a character outside the alphabet.
    #[error(
        "a job's name is made of letters, digits, `-`, `_`, `.` and spaces, not of {character:?}"
    )]
    JobCharacter {
        /// The first such character.
        character: char,
    },
}

/// Checks the name of a job: 1 to 128 Unicode letters and digits, `-`, `_`, `.` and spaces.
///
/// # Errors
/// Says which rule `name` breaks.
pub fn check_job_name(name: &str) -> Result<(), NameError> {
    check_length(name)?;
    match name.chars().find(|&c| c != ' ' && !is_name_character(c)) {
        Some(character) => Err(NameError::JobCharacter { character }),
        None => Ok(()),
    }
}

/// Checks the name of a stage: 1 to 128 Unicode letters and digits, `-`, `_` and `.`.
///
/// # Errors
/// Says which rule `name` breaks.
pub fn check_stage_name(name: &str) -> Result<(), NameError> {
    check_length(name)?;
    match name.chars().find(|&c| !is_name_character(c)) {
        Some(character) => Err(NameError::StageCharacter { character }),
        None => Ok(()),
    }
}

fn check_length(name: &str) -> Result<(), NameError> {
    // Counting stops early: a peer's name may be as long as a frame.
    match name.chars().take(NAME_CHARS_MAX + 1).count() {
        0 => Err(NameError::Empty),
        chars if chars > NAME_CHARS_MAX => Err(NameError::TooLong { chars: name.chars().count() }),
        _ => Ok(()),
    }
}

fn is_name_character(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_every_script_and_the_named_signs_are_allowed() {
        for name in ["a", "ngram-count", "v1.2_b", "Größe", "数える", &"x".repeat(NAME_CHARS_MAX)]
        {
            assert_eq!(check_stage_name(name), Ok(()), "{name}");
            assert_eq!(check_job_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_job_name("night run 3"), Ok(()));
    }

    #[test]
    fn what_selectors_shells_and_terminals_read_otherwise_is_refused() {
        assert_eq!(check_job_name(""), Err(NameError::Empty));
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        assert_eq!(check_stage_name(&long), Err(NameError::TooLong { chars: 129 }));
        for (name, character) in
            [("a/b", '/'), ("a\nb", '\n'), ("\u{1b}[2J", '\u{1b}'), ("a\u{a0}b", '\u{a0}')]
        {
            assert_eq!(check_job_name(name), Err(NameError::JobCharacter { character }));
        }
        assert_eq!(
            check_stage_name("two words"),
            Err(NameError::StageCharacter { character: ' ' })
        );
    }
}
