//! Tables for people: aligned columns, two spaces apart, no frame, so that they read well and cut well.

use std::io;

use unicode_width::UnicodeWidthStr;

use super::escape::escape;

/// Where the text of a column stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    Left,
    /// For numbers.
    Right,
}

/// A table whose rows are printed in blocks, each as soon as it is complete; a column only grows wider.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
    has_header: bool,
}

impl Table {
    /// Makes an empty table with these columns.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        let widths = columns.iter().map(|(name, _)| name.len()).collect();
        Self { columns: columns.to_vec(), rows: Vec::new(), widths, has_header: false }
    }

    /// Adds a row; its cells are escaped, a missing one is empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().map(|cell| escape(&cell).into_owned()).collect();
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.width());
        }
        self.rows.push(row);
    }

    /// Prints the rows that were added since the last time, after the header where there was none yet.
    ///
    /// # Errors
    /// What writing gives.
    pub(crate) fn print(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        if !self.has_header {
            let header: Vec<String> =
                self.columns.iter().map(|(name, _)| name.to_uppercase()).collect();
            self.print_row(out, &header)?;
            self.has_header = true;
        }
        for row in std::mem::take(&mut self.rows) {
            self.print_row(out, &row)?;
        }
        Ok(())
    }

    fn print_row(&self, out: &mut impl io::Write, row: &[String]) -> io::Result<()> {
        let mut line = String::new();
        for (column, ((_, align), width)) in self.columns.iter().zip(&self.widths).enumerate() {
            let cell = row.get(column).map_or("", String::as_str);
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            if column > 0 {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.extend([cell, &padding]),
                Align::Right => line.extend([&padding, cell]),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(mut table: Table) -> String {
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen_and_lines_have_no_trailing_blanks() {
        let mut table =
            Table::new(&[("name", Align::Left), ("tasks", Align::Right), ("why", Align::Left)]);
        table.row(["数える".into(), "7".into(), String::new()]);
        table.row(["b".into(), "123456".into(), "exit 1".into()]);
        assert_eq!(
            printed(table),
            "NAME     TASKS  WHY\n\
             数える       7\n\
             b       123456  exit 1\n"
        );
    }

    #[test]
    fn a_cell_never_breaks_its_line() {
        let mut table = Table::new(&[("name", Align::Left)]);
        table.row(["a\n\x1b[1mb".into()]);
        assert_eq!(printed(table), "NAME\na\\n\\x1b[1mb\n");
    }
}
