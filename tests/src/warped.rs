//! A broker whose system's clock is set while it runs, by libfaketime.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Broker;

/// Where Debian and others have it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A broker whose system's clock can be set.
pub struct Warped {
    /// The broker.
    pub broker: Broker,
    clock: PathBuf,
    _home: TempDir,
}

impl Warped {
    /// Starts one with this configuration file; `None`, and a note, where libfaketime can't be had or the
    /// tests are to use a given broker.
    ///
    /// # Panics
    /// If `LEVERET_REQUIRE_FAKETIME` is set and it can't be had.
    #[must_use]
    pub fn start(toml: &str) -> Option<Self> {
        let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).exists()) else {
            let is_required = std::env::var_os("LEVERET_REQUIRE_FAKETIME").is_some();
            assert!(!is_required, "libfaketime is not here, and LEVERET_REQUIRE_FAKETIME is set");
            println!("skipped: libfaketime is not installed");
            return None;
        };
        let home = tempfile::tempdir().expect("a directory");
        let clock = home.path().join("clock");
        set(&clock, "+0");
        let (preload, file) = (
            format!("LD_PRELOAD={library}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        );
        let wrapper =
            ["env", &preload, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
        let broker = Broker::behind(&wrapper, toml, "sets the broker's clock")?;
        Some(Self { broker, clock, _home: home })
    }

    /// Sets the clock, by so many seconds as libfaketime takes them, and waits until the broker has noticed,
    /// which it says.
    ///
    /// # Panics
    /// If it says something else of it.
    pub fn jump(&self, by: &str, said: &str) {
        set(&self.clock, by);
        let line = self.broker.await_line("the system's clock was set");
        assert!(line.contains(said), "{line}");
    }
}

/// At once, or the broker reads half of it.
fn set(clock: &Path, to: &str) {
    let new = clock.with_extension("new");
    fs::write(&new, to).expect("a file");
    fs::rename(new, clock).expect("the file in its place");
}
