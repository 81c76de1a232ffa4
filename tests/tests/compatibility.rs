//! That `docs/compatibility.md` says what is so: its tests exist, and no section is left out.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The sections of RabbitMQ's behaviour that the page goes through, by the start of their headings.
const SECTIONS: [&str; 23] = [
    "1 ",
    "2 ",
    "3 ",
    "4 ",
    "5 ",
    "6 ",
    "7 ",
    "8 ",
    "9 ",
    "10 ",
    "11 ",
    "12 ",
    "13 ",
    "14 ",
    "15 ",
    "16 ",
    "17 ",
    "18 ",
    "19 ",
    "20 ",
    "Clients",
    "Libraries",
    "Mistakes",
];
/// What a row may say, in front of the colon if it says more.
const STATES: [&str; 4] = ["same", "beyond", "other", "missing"];
/// Pages with tables whose last column names tests.
const PAGES: [&str; 2] = ["compatibility.md", "policies.md"];

#[test]
fn what_the_pages_name_is_there() {
    for page in PAGES {
        let text = std::fs::read_to_string(root().join("docs").join(page)).expect("the page");
        let faults: Vec<_> = rows(&text).iter().filter_map(|row| row.fault().err()).collect();
        assert!(faults.is_empty(), "{page}:\n{}", faults.join("\n"));
    }
}

#[test]
fn no_section_is_left_out() {
    let text = std::fs::read_to_string(root().join("docs/compatibility.md")).expect("the page");
    let mut counts = BTreeMap::new();
    for row in rows(&text) {
        assert!(row.state.is_some(), "no state: {}", row.line);
        *counts.entry(row.section).or_insert(0) += 1;
    }
    for section in SECTIONS {
        let is_there = counts.keys().any(|heading| heading.starts_with(section));
        assert!(is_there, "section {section} has no rows");
    }
}

#[test]
fn what_is_not_there_is_noticed() {
    let fault = |state: &str, tests: &str| {
        let page = format!(
            "## 1 A\n| behaviour | state | tests |\n| --- | --- | --- |\n| it does | {state} | {tests} |\n"
        );
        rows(&page).first().expect("a row").fault()
    };
    let there = "`compatibility::what_is_not_there_is_noticed`";
    let elsewhere = "`python/pika_blocking::check_rpc`, `go/main::rpc`, \
                     `node/messages::a full queue nacks`, `java/src/Messages::rpc`, \
                     `rust/lapin_client::confirms`";
    assert_eq!(fault("same", there), Ok(()));
    assert_eq!(fault("beyond: more", elsewhere), Ok(()));
    assert_eq!(fault("missing: why", ""), Ok(()));
    for (state, tests) in [
        ("same", "`compatibility::no_such_test`"),
        ("same", "`no_such_file::what_is_not_there_is_noticed`"),
        // A function, but no test.
        ("same", "`compatibility::rows`"),
        ("same", "`python/pika_blocking::connect`"),
        ("same", "`python/pika_blocking::check_nothing`"),
        ("same", "`go/main::connect`"),
        ("same", "`node/messages::no such check`"),
        ("same", "`java/src/Messages::mainloop`"),
        ("same", "`rust/lapin_client::publish`"),
        ("same", ""),
        ("perhaps", there),
    ] {
        assert!(fault(state, tests).is_err(), "{state} {tests}");
    }
}

/// A row of a table that has a column `tests` or `test`.
struct Row<'a> {
    section: &'a str,
    line: &'a str,
    /// Absent where the table has no such column.
    state: Option<&'a str>,
    tests: Vec<&'a str>,
}

impl Row<'_> {
    fn fault(&self) -> Result<(), String> {
        let state = self.state.map(|state| state.split(':').next().unwrap_or_default());
        if let Some(state) = state.filter(|state| !STATES.contains(state)) {
            return Err(format!("{state:?} is no state: {}", self.line));
        }
        if self.tests.is_empty() && state != Some("missing") {
            return Err(format!("no test: {}", self.line));
        }
        self.tests.iter().try_for_each(|test| find(test))
    }
}

/// All rows of a page's tables of tests.
fn rows(page: &str) -> Vec<Row<'_>> {
    let (mut section, mut columns, mut rows) = ("", Vec::new(), Vec::new());
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading;
        }
        if !line.starts_with('|') {
            columns.clear();
            continue;
        }
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if columns.is_empty() {
            columns = cells;
            continue;
        }
        let cell = |name: &[&str]| {
            let place = columns.iter().position(|column| name.contains(column))?;
            cells.get(place).copied()
        };
        if let Some(tests) = cell(&["tests", "test"]).filter(|_| !line.starts_with("| ---")) {
            let tests = tests.split('`').skip(1).step_by(2).collect();
            rows.push(Row { section, line, state: cell(&["state"]), tests });
        }
    }
    rows
}

/// Finds a test by its name, `file::function`.
fn find(test: &str) -> Result<(), String> {
    let (file, function) = test.rsplit_once("::").ok_or_else(|| format!("{test} names no file"))?;
    let path = path_of(file).ok_or_else(|| format!("{test}: there is no such file"))?;
    let source = std::fs::read_to_string(&path).map_err(|error| format!("{test}: {error}"))?;
    let is_there = match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") if file.starts_with("rust/") => {
            source.contains(&format!("check(\"{function}\", {function}())"))
        }
        Some("rs") => is_rust_test(&source, function),
        Some("py") => {
            function.starts_with("check_") && source.contains(&format!("def {function}("))
        }
        Some("go") => source.contains(&format!(", {function}}},")),
        Some("js") => source.contains(&format!("\n  '{function}': ")),
        Some("java") => is_listed(&path, function),
        _ => false,
    };
    if is_there { Ok(()) } else { Err(format!("{test} is no test")) }
}

/// Whether there is a function of this name that the harness runs.
fn is_rust_test(source: &str, function: &str) -> bool {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        let function_line = line.strip_prefix("async ").unwrap_or(line);
        let name = function_line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        if name == Some(function) {
            return is_test;
        }
        is_test = line == "#[test]"
            || line.starts_with("#[tokio::test")
            || (is_test && line.starts_with("#["));
    }
    false
}

/// Whether the program beside the class runs this method of it.
fn is_listed(class: &Path, method: &str) -> bool {
    let main = std::fs::read_to_string(class.with_file_name("Main.java")).unwrap_or_default();
    let class = class.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    main.contains(&format!("{class}::{method})"))
}

fn path_of(file: &str) -> Option<PathBuf> {
    let root = root();
    let in_interop = |extension| root.join(format!("interop/{file}.{extension}"));
    [
        root.join(format!("tests/tests/amqp/{file}.rs")),
        root.join(format!("tests/tests/{file}.rs")),
        root.join(format!("interop/{}.rs", file.replacen('/', "/src/bin/", 1))),
        in_interop("py"),
        in_interop("go"),
        in_interop("js"),
        in_interop("java"),
        root.join(format!("{file}.rs")),
    ]
    .into_iter()
    .find(|path| path.is_file())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}
