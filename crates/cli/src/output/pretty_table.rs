//! A table with lines around its cells.

use serde_json::Value;

use super::{Cell, Rows, table};

pub(super) fn write(rows: &Rows) -> String {
    if rows.rows.is_empty() {
        return String::new();
    }
    let cells = rows.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    drawn(&rows.columns, cells)
}

/// One value under a heading.
pub(super) fn one(heading: &str, text: &str) -> String {
    drawn(&[heading.to_owned()], vec![vec![text.trim_end().to_owned()]])
}

/// A list's own brackets are left out.
fn cell(cell: &Cell) -> String {
    let text = table::cell(cell);
    match cell {
        Cell::Value(Value::Array(_)) => text.trim_matches(['[', ']']).to_owned(),
        _ => text,
    }
}

fn drawn(columns: &[String], rows: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = columns.iter().map(|name| width(name)).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(self::width(cell));
        }
    }
    let mut text = rule(&widths, ['┌', '┬', '┐']);
    text += &line(&widths, columns);
    for row in &rows {
        text += &rule(&widths, ['├', '┼', '┤']);
        text += &line(&widths, row);
    }
    text + &rule(&widths, ['└', '┴', '┘'])
}

/// Characters of the longest line.
fn width(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or_default()
}

fn rule(widths: &[usize], [left, middle, right]: [char; 3]) -> String {
    let spans: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
    format!("{left}{}{right}\n", spans.join(&middle.to_string()))
}

/// A row, whose cells may have several lines.
fn line(widths: &[usize], cells: &[String]) -> String {
    let height = cells.iter().map(|cell| cell.lines().count()).max().unwrap_or_default().max(1);
    let mut text = String::new();
    for number in 0..height {
        text.push('│');
        for (cell, width) in cells.iter().zip(widths) {
            let part = cell.lines().nth(number).unwrap_or_default();
            text += &format!(" {part}{} │", " ".repeat(width - part.chars().count()));
        }
        text.push('\n');
    }
    text
}
