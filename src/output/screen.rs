//! What may be shown where: colour and moving lines only on a terminal, nothing with `--quiet`.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

/// What standard error of this process can show. Data never goes through here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Screen {
    quiet: bool,
    live: bool,
    interactive: bool,
}

/// A meaning that is shown by colour, where there is colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Good,
    Bad,
    Note,
}

impl Screen {
    /// Looks at the environment and at standard error.
    pub(crate) fn detect(quiet: bool) -> Self {
        let interactive = io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { quiet, live: interactive && !quiet && !plain && !dumb, interactive }
    }

    /// Says whether lines may move and colours be used.
    pub(crate) fn is_live(self) -> bool {
        self.live
    }

    /// Says whether a person is likely to read along: messages that only confirm are for them.
    pub(crate) fn is_interactive(self) -> bool {
        self.interactive && !self.quiet
    }

    /// Says whether messages are not wanted.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Prints a message that a person should see, unless they asked for quiet.
    pub(crate) fn note(self, text: impl Display) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Prints a message that only confirms what was asked for: on a terminal.
    pub(crate) fn confirm(self, text: impl Display) {
        if self.is_interactive() {
            self.line(text);
        }
    }

    /// Prints a message also with `--quiet`: why the command did not succeed.
    pub(crate) fn line(self, text: impl Display) {
        // Nobody can be told that nobody can be told.
        _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Returns `text` in the colour of its meaning, or as it is.
    pub(crate) fn paint(self, tone: Tone, text: impl Display) -> String {
        if !self.live {
            return text.to_string();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Note => "36",
        };
        format!("\x1b[1;{code}m{text}\x1b[0m")
    }
}
