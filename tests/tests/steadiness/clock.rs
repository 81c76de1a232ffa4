//! The system's clock is set while the broker runs, by libfaketime; where that can't be had a test says
//! so and passes.

use std::fs;
use std::path::{Path, PathBuf};

use leveret_tests::codec::{Properties, Value, queue};
use leveret_tests::{Broker, Channel, declare, eventually, get, passive, publish, table};
use tempfile::TempDir;

/// Where Debian and others have it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A broker whose system's clock can be set.
struct Warped {
    broker: Broker,
    clock: PathBuf,
    _home: TempDir,
}

impl Warped {
    fn start() -> Option<Self> {
        let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).exists()) else {
            let is_required = std::env::var_os("LEVERET_REQUIRE_FAKETIME").is_some();
            assert!(!is_required, "libfaketime is not here, and LEVERET_REQUIRE_FAKETIME is set");
            println!("skipped: libfaketime is not installed");
            return None;
        };
        let home = tempfile::tempdir().unwrap();
        let clock = home.path().join("clock");
        set(&clock, "+0");
        let (preload, file) = (
            format!("LD_PRELOAD={library}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        );
        let wrapper =
            ["env", &preload, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
        let broker = Broker::behind(&wrapper, "", "sets the broker's clock")?;
        Some(Self { broker, clock, _home: home })
    }

    fn jump(&self, by: &str, said: &str) {
        set(&self.clock, by);
        let line = self.broker.await_line("the system's clock was set");
        assert!(line.contains(said), "{line}");
    }
}

/// At once, or the broker reads half of it.
fn set(clock: &Path, to: &str) {
    let new = clock.with_extension("new");
    fs::write(&new, to).unwrap();
    fs::rename(new, clock).unwrap();
}

fn publish_for(channel: &Channel, queue: &str, milliseconds: &[u8]) {
    let properties = Properties { expiration: Some(milliseconds), ..Properties::default() };
    channel.publish_with(&publish("", queue), &properties, b"x");
}

fn is_empty(channel: &Channel, queue: &str) -> bool {
    channel.call(&passive(queue)) == format!("queue.declare-ok {queue} 0 0")
}

#[test]
fn a_clock_that_is_set_ahead_expires_nothing() {
    let Some(warped) = Warped::start() else { return };
    let channel = warped.broker.connect().channel(1);
    let arguments = table([("x-expires", Value::I32(600_000))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    channel.call(&declare("soon"));
    publish_for(&channel, "q", b"600000");
    warped.jump("+7200", "ahead of the broker's");
    // What comes now expires when it should, and by then all has been looked at.
    publish_for(&channel, "soon", b"100");
    eventually(|| is_empty(&channel, "soon"));
    assert!(channel.call(&get("q")).starts_with("basic.get-ok"));
    // Heartbeats and timeouts of connections do not notice either.
    assert!(warped.broker.connect().channel(1).call(&get("soon")).starts_with("basic.get-empty"));
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_for_longer() {
    let Some(warped) = Warped::start() else { return };
    let channel = warped.broker.connect().channel(1);
    let arguments = table([("x-expires", Value::I32(1000))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("unused") });
    channel.call(&declare("q"));
    publish_for(&channel, "q", b"1000");
    warped.jump("-7200", "behind the broker's");
    publish_for(&channel, "q", b"100");
    eventually(|| is_empty(&channel, "q"));
    eventually(|| {
        let other = warped.broker.connect().channel(1);
        other.call(&passive("unused")).starts_with("channel.close 404")
    });
}
