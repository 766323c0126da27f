//! Makes text that a job produced safe to show in a table: nothing in it moves the cursor or hides.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns `text` with control characters (C0, DEL, C1) and those that reorder or hide text written out
/// as escapes, so that it stays on one line.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_hostile(c) => {
                let code = u32::from(c);
                let written = if code < 0x100 {
                    write!(shown, "\\x{code:02x}")
                } else {
                    write!(shown, "\\u{{{code:x}}}")
                };
                written.expect("writing to a string does not fail");
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Says whether `c` could change how text around it is seen.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_of_every_script_is_left_alone() {
        for text in ["", "exit 1", "Größe 数", "{\"a\": 1}"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn nothing_that_moves_the_cursor_or_hides_text_gets_through() {
        assert_eq!(escape("a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(escape("one\r\ntwo\t3"), "one\\r\\ntwo\\t3");
        assert_eq!(escape("\u{9b}31m\u{7f}"), "\\x9b31m\\x7f");
        assert_eq!(escape("abc\u{202e}cba"), "abc\\u{202e}cba");
    }
}
