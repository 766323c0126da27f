//! Reading placeholders out of text.
//!
//! `{name}` is a placeholder where the name exists for the stage, and `{{name}}` of such a name is the
//! literal `{name}`. `${…}` and every other brace stay byte for byte, so that awk, JSON, Jinja and `{}`
//! pass through untouched.

use super::{ItemKind, Part, Placeholder, Template};

/// Letters that a name may be away from a placeholder's to count as a slip of the fingers.
const NEAR_MISS_EDITS_MAX: usize = 2;

/// A template, and what is doubtful about its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParsedTemplate {
    /// The text with its placeholders.
    pub template: Template,
    /// In the order of the text.
    pub issues: Vec<Issue>,
}

/// A name in braces that is no placeholder of the stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issue {
    /// The name, without its braces.
    pub name: String,
    /// What is the matter with it.
    pub kind: IssueKind,
}

/// Why a name in braces is no placeholder of the stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssueKind {
    /// Other stages have it: an error.
    NotInThisStage,
    /// It looks like this one, misspelt: an error.
    NearMiss(Placeholder),
    /// Nothing is known by that name; the text stays as it is: a warning.
    Unknown,
}

impl Template {
    /// Makes a template that is `text`, braces and all.
    pub fn literal(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { parts: if text.is_empty() { Vec::new() } else { vec![Part::Literal(text)] } }
    }

    /// Reads `text`, whose placeholders are those of a stage over items of `kind`.
    pub fn parse(text: &str, kind: ItemKind) -> ParsedTemplate {
        let mut reader =
            Reader { kind, parts: Vec::new(), literal: String::new(), issues: Vec::new() };
        let mut rest = text;
        while !rest.is_empty() {
            rest = reader.step(rest);
        }
        reader.end_literal();
        ParsedTemplate { template: Self { parts: reader.parts }, issues: reader.issues }
    }

    /// Returns the text where nothing is to be filled in.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Counts the bytes of its literal text.
    pub fn literal_bytes(&self) -> usize {
        self.parts.iter().fold(0, |bytes, part| match part {
            Part::Literal(text) => bytes.saturating_add(text.len()),
            Part::Fill(_) => bytes,
        })
    }
}

struct Reader {
    kind: ItemKind,
    parts: Vec<Part>,
    literal: String,
    issues: Vec<Issue>,
}

impl Reader {
    /// Takes the next piece off `rest` and returns what is left of it.
    fn step<'t>(&mut self, rest: &'t str) -> &'t str {
        if rest.starts_with("${") {
            let end = rest.find('}').map_or(2, |at| at + 1);
            return self.keep(rest, end);
        }
        if let Some(name) = rest.strip_prefix("{{").and_then(name_before_brace) {
            let length = name.len() + 3;
            if rest[length..].starts_with('}') {
                // The literal of a placeholder loses one pair of braces; of anything else, none.
                let Some(_) = self.placeholder(name) else { return self.keep(rest, length + 1) };
                self.literal.push_str(&rest[1..length]);
                return &rest[length + 1..];
            }
        }
        if let Some(name) = rest.strip_prefix('{').and_then(name_before_brace) {
            let length = name.len() + 2;
            if let Some(placeholder) = self.placeholder(name) {
                self.end_literal();
                self.parts.push(Part::Fill(placeholder));
                return &rest[length..];
            }
            self.issues.push(Issue { name: name.to_owned(), kind: diagnose(name, self.kind) });
            return self.keep(rest, length);
        }
        // At least one character, then all up to the next that may begin something.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest[first..].find(['{', '$']).map_or(rest.len(), |at| first + at);
        self.keep(rest, end)
    }

    fn keep<'t>(&mut self, rest: &'t str, length: usize) -> &'t str {
        self.literal.push_str(&rest[..length]);
        &rest[length..]
    }

    fn placeholder(&self, name: &str) -> Option<Placeholder> {
        Placeholder::named(name).filter(|placeholder| placeholder.exists_for(self.kind))
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(Part::Literal(std::mem::take(&mut self.literal)));
        }
    }
}

/// Returns the name at the start of `text` if a closing brace follows it.
fn name_before_brace(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-')))?;
    let name = &text[..end];
    let begins_well = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    (begins_well && text[end..].starts_with('}')).then_some(name)
}

fn diagnose(name: &str, kind: ItemKind) -> IssueKind {
    let anywhere = Placeholder::named(name).is_some();
    if anywhere || name.starts_with("item.") || name.starts_with("results.") {
        return IssueKind::NotInThisStage;
    }
    // Comparing takes time by the product of the lengths; a name this much longer is no slip.
    let longest =
        Placeholder::ALL.iter().map(|placeholder| placeholder.name().len()).max().unwrap_or(0);
    if name.chars().count() > longest + NEAR_MISS_EDITS_MAX {
        return IssueKind::Unknown;
    }
    kind.placeholders()
        .map(|placeholder| (strsim::levenshtein(name, placeholder.name()), placeholder))
        .filter(|(edits, _)| *edits <= NEAR_MISS_EDITS_MAX)
        .min_by_key(|(edits, _)| *edits)
        .map_or(IssueKind::Unknown, |(_, placeholder)| IssueKind::NearMiss(placeholder))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a template the way the table below reads it: `<item>` for a placeholder.
    fn shown(text: &str, kind: ItemKind) -> String {
        let parsed = Template::parse(text, kind);
        assert_eq!(parsed.issues, [], "{text}");
        parsed.template.parts.iter().fold(String::new(), |out, part| match part {
            Part::Literal(text) => out + text,
            Part::Fill(placeholder) => out + "<" + placeholder.name() + ">",
        })
    }

    fn issues(text: &str, kind: ItemKind) -> Vec<(String, IssueKind)> {
        Template::parse(text, kind)
            .issues
            .into_iter()
            .map(|issue| (issue.name, issue.kind))
            .collect()
    }

    #[test]
    fn names_of_the_stage_are_filled_and_doubled_ones_are_literal() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{item}", "<item>"),
            ("a{item}b{index}c", "a<item>b<index>c"),
            ("{item}{item}", "<item><item>"),
            ("{job}-{stage}-{index}-{count}-{attempt}", "<job>-<stage>-<index>-<count>-<attempt>"),
            ("{item.path} {item.name} {item.stem}", "<item.path> <item.name> <item.stem>"),
            ("{{item}}", "{item}"),
            ("{{item.stem}}", "{item.stem}"),
            ("{{item}", "{<item>"),
            ("{item}}", "<item>}"),
            ("{{{item}}}", "{{item}}"),
            ("{\"name\": \"{item}\"}", "{\"name\": \"<item>\"}"),
        ] {
            assert_eq!(shown(text, ItemKind::Files), expected, "{text}");
        }
    }

    #[test]
    fn every_other_brace_stays_byte_for_byte() {
        for text in [
            "{}",
            "{{}}",
            "}{",
            "{",
            "}",
            "{{",
            "${HOME}",
            "${item}",
            "${{item}}",
            "$${item}",
            "${x:-{item}}",
            "$",
            "${",
            "{ item }",
            "{{ item }}",
            "{print $1}",
            "{n++}",
            "{1}",
            "{item",
            "{a: 1}",
            "[{\"a\":{}}]",
            "{%item%}",
            "é{é",
            "\u{0}",
        ] {
            assert_eq!(shown(text, ItemKind::Files), text);
        }
        // Doubled braces around what is no placeholder here are Jinja's business.
        assert_eq!(shown("{{title}} {{item}}", ItemKind::Single), "{{title}} {{item}}");
    }

    #[test]
    fn names_of_other_stages_are_told_apart_from_slips_and_from_strangers() {
        use IssueKind::{NearMiss, NotInThisStage, Unknown};
        for (text, kind, name, issue) in [
            ("{item}", ItemKind::Single, "item", NotInThisStage),
            ("{item}", ItemKind::Chunks, "item", NotInThisStage),
            ("{start}", ItemKind::Numbers, "start", NotInThisStage),
            ("{item.stem}", ItemKind::Texts, "item.stem", NotInThisStage),
            ("{item.size}", ItemKind::Files, "item.size", NotInThisStage),
            ("{results.count}", ItemKind::Files, "results.count", NotInThisStage),
            ("{itme}", ItemKind::Numbers, "itme", NearMiss(Placeholder::Item)),
            ("{Item}", ItemKind::Numbers, "Item", NearMiss(Placeholder::Item)),
            ("{id}", ItemKind::Single, "id", Unknown),
            ("{indx}", ItemKind::Single, "indx", NearMiss(Placeholder::Index)),
            ("{stat}", ItemKind::Chunks, "stat", NearMiss(Placeholder::Start)),
            ("{title}", ItemKind::Files, "title", Unknown),
        ] {
            assert_eq!(issues(text, kind), [(name.to_owned(), issue)], "{text} in {kind}");
            let kept = Template::parse(text, kind).template;
            assert_eq!(kept.as_literal(), Some(text));
        }
    }
}
