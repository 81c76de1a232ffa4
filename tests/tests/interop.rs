//! Stock clients against the broker, in the languages people use, and the examples: the programs of
//! `interop/`, run by `interop/run`, whose verdict is the test's.
//!
//! Where a language, or a way to its registry for the first run, is missing, the programs in it are
//! skipped with a word about it, unless `LEVERET_REQUIRE_CLIENTS` names it
//! (names with commas between, such as `python,go`).
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[test]
fn python_clients_work() {
    run("python/");
}

#[test]
fn go_clients_work() {
    run("go/");
}

#[test]
fn node_clients_work() {
    run("node/");
}

#[test]
fn java_clients_work() {
    run("java/");
}

#[test]
fn rust_clients_work() {
    run("rust/");
}

#[test]
fn examples_work() {
    run("examples/");
}

fn run(programs: &str) {
    if !has_python() {
        let is_required = std::env::var("LEVERET_REQUIRE_CLIENTS")
            .is_ok_and(|required| required.split(',').any(|language| language == "python"));
        assert!(!is_required, "python3 is not installed, and LEVERET_REQUIRE_CLIENTS names it");
        println!("skipped: python3 is not installed");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    // A given broker is used as it is, any other started by `interop/run`, as clients may ask it to
    // restart the broker.
    let output = Command::new("python3")
        .arg(root.join("interop/run"))
        .arg(programs)
        .env("LEVERET_BIN", leveret_tests::binary())
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "interop/run {programs}: {}",
        text.lines().last().unwrap_or("no verdict")
    );
}

fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}
