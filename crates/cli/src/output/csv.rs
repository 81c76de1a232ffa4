//! Comma-separated values, all of them in quotes.

use super::{Cell, Rows, table};

pub(super) fn write(rows: &Rows) -> String {
    let mut text = String::new();
    if rows.rows.is_empty() {
        return text;
    }
    text += &line(rows.columns.iter().map(String::as_str));
    for row in &rows.rows {
        let cells: Vec<String> = row.iter().map(|cell: &Cell| table::cell(cell)).collect();
        text += &line(cells.iter().map(String::as_str));
    }
    text
}

fn line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields = fields.map(|field| format!("\"{}\"", field.replace('"', "\"\"")));
    fields.collect::<Vec<_>>().join(",") + "\n"
}
