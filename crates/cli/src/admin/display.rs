//! How lists are shown.

use std::collections::BTreeMap;

use serde_json::Value;

use super::options::Options;

/// The forms of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Table,
    Long,
    Tsv,
    KeysAndValues,
    /// The names alone.
    Bash,
    RawJson,
    PrettyJson,
}

impl Style {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "table" => Self::Table,
            "long" => Self::Long,
            "tsv" => Self::Tsv,
            "kvp" => Self::KeysAndValues,
            "bash" => Self::Bash,
            "raw_json" | "json" => Self::RawJson,
            "pretty_json" => Self::PrettyJson,
            _ => return None,
        })
    }

    pub(super) fn is_json(self) -> bool {
        matches!(self, Self::RawJson | Self::PrettyJson)
    }
}

/// Columns that stand in front, in this order.
const FIRST: [&str; 7] =
    ["vhost", "name", "type", "source", "destination", "destination_type", "routing_key"];

/// A list as text; nothing for no items.
pub(super) fn shown(
    items: &Value,
    columns: &[String],
    in_json: &[&str],
    options: &Options,
) -> String {
    match options.style {
        Style::RawJson => return format!("{items}\n"),
        Style::PrettyJson => return format!("{items:#}\n"),
        _ => {}
    }
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    let depth = if columns.is_empty() { options.depth } else { usize::MAX };
    let rows: Vec<BTreeMap<String, String>> = items
        .iter()
        .map(|item| {
            let mut row = BTreeMap::new();
            flatten("", 1, depth, item, in_json, &mut row);
            row
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = if columns.is_empty() { found(&rows) } else { columns.to_vec() };
    let cell = |row: &BTreeMap<String, String>, column: &String| {
        row.get(column).cloned().unwrap_or_default()
    };
    let table: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
    match options.style {
        Style::Tsv => tsv(&columns, &table, options.is_quiet),
        Style::Long => long(&columns, &table),
        Style::KeysAndValues => keys_and_values(&columns, &table),
        Style::Bash => names(&columns, &table),
        _ => drawn(&columns, &table),
    }
}

/// The columns there are, sorted.
fn found(rows: &[BTreeMap<String, String>]) -> Vec<String> {
    let mut columns: Vec<String> = rows.iter().flat_map(BTreeMap::keys).cloned().collect();
    let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    columns.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    columns.dedup();
    columns
}

/// Objects become columns with dots in their names, as deep as is wanted.
fn flatten(
    prefix: &str,
    depth: usize,
    most: usize,
    item: &Value,
    in_json: &[&str],
    row: &mut BTreeMap<String, String>,
) {
    for (key, value) in item.as_object().into_iter().flatten() {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(_) if in_json.contains(&key.as_str()) => {
                row.insert(name, value.to_string());
            }
            Value::Object(_) if depth < most => {
                flatten(&name, depth + 1, most, value, in_json, row);
            }
            Value::Object(_) => {}
            Value::Array(values) if values.iter().all(Value::is_string) => {
                let words: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                row.insert(name, words.join(" "));
            }
            Value::String(text) => drop(row.insert(name, text.clone())),
            Value::Null => drop(row.insert(name, String::new())),
            // As Python writes them.
            Value::Bool(true) => drop(row.insert(name, "True".to_owned())),
            Value::Bool(false) => drop(row.insert(name, "False".to_owned())),
            other => drop(row.insert(name, other.to_string())),
        }
    }
}

fn tsv(columns: &[String], table: &[Vec<String>], is_quiet: bool) -> String {
    let mut text = String::new();
    if !is_quiet {
        text += &format!("{}\n", columns.join("\t"));
    }
    for row in table {
        text += &format!("{}\n", row.join("\t"));
    }
    text
}

fn long(columns: &[String], table: &[Vec<String>]) -> String {
    let rule = format!("\n{}\n\n", "-".repeat(80));
    let width = columns.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let mut text = rule.clone();
    for row in table {
        for (column, cell) in columns.iter().zip(row) {
            text += &format!("{column:>width$}: {cell}\n");
        }
        text += &rule;
    }
    text
}

fn keys_and_values(columns: &[String], table: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| {
        let pairs = columns.iter().zip(row).map(|(column, cell)| format!("{column}=\"{cell}\""));
        pairs.collect::<Vec<_>>().join(" ") + "\n"
    };
    table.iter().map(line).collect()
}

fn names(columns: &[String], table: &[Vec<String>]) -> String {
    let place = columns.iter().position(|name| name == "name");
    let names = table.iter().filter_map(|row| row.get(place?)).cloned();
    names.collect::<Vec<_>>().join(" ") + "\n"
}

fn drawn(columns: &[String], table: &[Vec<String>]) -> String {
    let width = |text: &String| text.chars().count();
    let mut widths: Vec<usize> = columns.iter().map(width).collect();
    for row in table {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let spans: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    let bar = format!("+{}+\n", spans.join("+"));
    let mut text = bar.clone();
    let heads = columns.iter().zip(&widths).map(|(name, width)| format!(" {name:^width$} |"));
    text += &format!("|{}\n{bar}", heads.collect::<String>());
    for row in table {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        text += &format!("|{}\n", cells.collect::<String>());
    }
    text + &bar
}
