//! Diagnostics as text.

use std::fmt::Write as _;

use super::{Diagnostic, Diagnostics, Severity};

/// Whether diagnostics are rendered with colours; the caller knows whether a terminal reads them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Text only.
    Plain,
    /// With ANSI colours.
    Colour,
}

impl Diagnostics {
    /// Returns them as text for people, without a newline at the end.
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        for diagnostic in &self.list {
            if !out.is_empty() {
                out.push_str("\n\n");
            }
            out.push_str(&diagnostic.render(self.file.as_deref(), style));
        }
        if self.omitted > 0 {
            write!(out, "\n\n… and {} more", self.omitted)
                .expect("writing to a string cannot fail");
        }
        out
    }
}

impl Diagnostic {
    /// Returns it as text for people, without a newline at the end.
    pub fn render(&self, file: Option<&str>, style: Style) -> String {
        let paint = Paint { style };
        let (word, colour) = match self.severity {
            Severity::Error => ("error", Paint::RED),
            Severity::Warning => ("warning", Paint::YELLOW),
        };
        let mut out =
            format!("{}: {}", paint.with(colour, word), paint.with(Paint::BOLD, &self.message));
        let width = self.place.as_ref().map_or(1, |place| place.line.to_string().len());
        let margin = " ".repeat(width);
        let mut line = |text: String| {
            out.push('\n');
            out.push_str(text.trim_end());
        };
        let arrow = paint.with(Paint::BLUE, "-->");
        let bar = paint.with(Paint::BLUE, "|");
        match (&self.place, file) {
            (Some(place), file) => {
                let file = file.unwrap_or("job");
                line(format!("{margin}{arrow} {file}:{}:{}", place.line, place.column));
                line(format!("{margin} {bar}"));
                let number = paint.with(Paint::BLUE, &place.line.to_string());
                line(format!("{number} {bar} {}", place.source_line));
                let blank = " ".repeat(place.source_offset);
                let carets = paint.with(colour, &"^".repeat(place.length));
                line(format!("{margin} {bar} {blank}{carets}"));
            }
            (None, Some(file)) => line(format!("{margin}{arrow} {file}")),
            (None, None) if !self.context.is_empty() => {
                line(format!("{margin}{arrow} {}", self.context))
            }
            (None, None) => {}
        }
        if let Some(hint) = &self.hint {
            line(format!(
                "{margin} {} {}: {hint}",
                paint.with(Paint::BLUE, "="),
                paint.with(Paint::BOLD, "hint")
            ));
        }
        out
    }
}

struct Paint {
    style: Style,
}

impl Paint {
    const RED: &'static str = "1;31";
    const YELLOW: &'static str = "1;33";
    const BLUE: &'static str = "1;34";
    const BOLD: &'static str = "1";

    fn with(&self, code: &str, text: &str) -> String {
        match self.style {
            Style::Plain => text.to_owned(),
            Style::Colour => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}
