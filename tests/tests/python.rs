//! Python programs against the broker: the examples, and what applications do with pika and
//! aio-pika. `interop/run` runs them; here it gets the broker, and its verdict is the test's.
//!
//! Without Python 3, or without a way to its package index for the first run, the test says so and
//! passes, unless `LEVERET_REQUIRE_PYTHON=1`.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use leveret_tests::Broker;

/// What `interop/run` ends with when it cannot make the virtual environment.
const CANNOT_RUN: i32 = 77;

#[test]
fn python_programs_work() {
    if !has_python() {
        return skip("python3 is not installed");
    }
    let broker = Broker::start();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let output = Command::new("python3")
        .arg(root.join("interop/run"))
        .env("LEVERET_TEST_URL", broker.address().to_string())
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => {}
        Some(CANNOT_RUN) => skip("the virtual environment cannot be made"),
        _ => panic!("interop/run: {}", text.lines().last().unwrap_or("no verdict")),
    }
}

fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn skip(because: &str) {
    let is_required = std::env::var("LEVERET_REQUIRE_PYTHON").is_ok_and(|value| value == "1");
    assert!(!is_required, "{because}, and LEVERET_REQUIRE_PYTHON=1");
    println!("skipped: {because}");
}
