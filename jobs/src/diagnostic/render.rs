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

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    fn diagnostics(severity: Severity) -> Diagnostics {
        let source_line = "cpus = 0".to_owned();
        let place = Place { line: 9, column: 8, length: 1, source_line, source_offset: 7 };
        let diagnostic = Diagnostic {
            severity,
            message: "too few".to_owned(),
            place: Some(place),
            context: String::new(),
            hint: Some("take one".to_owned()),
        };
        Diagnostics { file: Some("j.toml".to_owned()), list: vec![diagnostic], omitted: 0 }
    }

    #[test]
    fn plain_text_has_message_place_line_and_hint() {
        assert_eq!(
            diagnostics(Severity::Error).to_string(),
            "error: too few\n --> j.toml:9:8\n  |\n9 | cpus = 0\n  |        ^\n  = hint: take one"
        );
    }

    #[test]
    fn colours_are_all_that_the_styles_differ_in() {
        for severity in [Severity::Error, Severity::Warning] {
            let found = diagnostics(severity);
            let coloured = found.render(Style::Colour);
            assert!(coloured.contains("\u{1b}[1;3"));
            let stripped: Vec<&str> = coloured
                .split('\u{1b}')
                .map(|piece| piece.split_once('m').map_or(piece, |(_, text)| text))
                .collect();
            // The first piece stands before the first escape and is empty here.
            assert_eq!(stripped.concat(), found.render(Style::Plain));
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let found = Diagnostics { omitted: 7, ..diagnostics(Severity::Error) };
        assert!(found.to_string().ends_with("\n\n… and 7 more"));
    }
}
