//! Finds the broker's binary.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binary to test: `LEVERET_BIN`, or the one of this workspace in the profile the tests were
/// built with, brought up to date once per test process.
#[must_use]
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| std::env::var_os("LEVERET_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    // <target>/<profile>/deps/<test>-<hash>
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let target = profile.parent().expect("a profile lies in the target directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // As `cargo test` builds it, and as `interop/` does: with the features of one package alone, or without those of
    // what only tests need, much would be built anew.
    cargo.args(["build", "--quiet", "--workspace", "--bin", "leveret", "--test", "cli"]);
    cargo.arg("--target-dir");
    cargo.arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells a test of its package, build scripts would take for a change of their own,
    // and have TLS and the broker built anew each time.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the broker does not build: {status}");
    profile.join(format!("leveret{}", std::env::consts::EXE_SUFFIX))
}
