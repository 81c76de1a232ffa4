use std::fmt;

/// A table for people, in the form of Markdown.
#[derive(Clone, Default, Debug)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Appends a row; cells that are missing are empty, cells too many are dropped.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize, name: &String| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(name.chars().count())
        };
        self.columns.iter().enumerate().map(|(column, name)| width(column, name)).collect()
    }
}

/// The first column on the left, all others on the right.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "| {cell:<width$} ")?,
                    _ => write!(f, "| {cell:>width$} ")?,
                }
            }
            writeln!(f, "|")
        };
        line(f, &self.columns)?;
        for (column, width) in widths.iter().enumerate() {
            match column {
                0 => write!(f, "| {:-<width$} ", "")?,
                _ => write!(f, "| {:->1$}: ", "", width.saturating_sub(1))?,
            }
        }
        writeln!(f, "|")?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["name", "k/s"]);
        table.row(["a long name", "1"]);
        table.row(["µ", "12345"]);
        table.row(["short"]);
        let expected = "\
            | name        |   k/s |\n\
            | ----------- | ----: |\n\
            | a long name |     1 |\n\
            | µ           | 12345 |\n\
            | short       |       |\n";
        assert_eq!(table.to_string(), expected);
    }
}
