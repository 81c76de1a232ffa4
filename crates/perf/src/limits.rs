//! What the machine itself can do, which no broker can exceed: the bytes of messages relayed over the
//! loopback interface, connections opened there, and syncs of a disk.

mod answers;
mod disk;
mod handshakes;
mod paced;
mod relay;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::error::PerfError;
use crate::latency::Percentiles;

/// What was found of a machine.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Limits {
    /// By body size.
    pub relays: Vec<Relayed>,
    /// From when a few bytes were due to be sent until they came out of a relay, in nanoseconds, at
    /// 5,000 a second.
    pub latency: Option<Percentiles>,
    /// Connections.
    pub connections: Opened,
    /// What the disk can do.
    pub disk: Synced,
}

/// Published messages as bytes, read from one connection and written to another by one thread that
/// does not look at them.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Relayed {
    /// Bytes of a body.
    pub size: usize,
    /// Messages a second.
    pub rate: f64,
    /// CPU seconds of that thread for a million messages.
    pub cpu_seconds_per_million: f64,
}

/// Connections opened and closed with the frames of AMQP, by threads that answer them without looking
/// at what is asked.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Opened {
    /// Connections a second.
    pub rate: f64,
    /// CPU seconds of those threads for a million connections.
    pub cpu_seconds_per_million: f64,
}

/// Records written one after the other into a file whose space was there before, each synced before
/// the next.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Synced {
    /// The folder the file was in.
    pub dir: PathBuf,
    /// Bytes of a record.
    pub size: usize,
    /// Records a second.
    pub rate: f64,
    /// From before a write until after its sync, in nanoseconds.
    pub latency: Option<Percentiles>,
    /// Bytes a second if many records are written at once and synced together.
    pub bulk: f64,
    /// Records a second if each comes over the loopback interface, and the next only when the answer,
    /// that it is synced, has arrived.
    pub answers: f64,
}

/// Measures a relay for each of the body `sizes`, connections, and the disk that holds `dir`, each for
/// about `time`.
///
/// # Errors
/// The loopback interface or the folder cannot be used.
pub fn limits(sizes: &[usize], dir: &Path, time: Duration) -> Result<Limits, PerfError> {
    let relays = sizes.iter().map(|size| relay::measure(*size, time));
    let relays = relays.collect::<io::Result<_>>().map_err(PerfError::Loopback)?;
    let latency = paced::measure(LATENCY_RATE, time).map_err(PerfError::Loopback)?;
    let connections = handshakes::measure(time)?;
    let failed = |source| PerfError::Disk { dir: dir.to_owned(), source };
    let disk = disk::measure(dir, time).map_err(failed)?;
    Ok(Limits { relays, latency, connections, disk })
}

/// As many messages a second as in the preset `latency-5000`.
const LATENCY_RATE: u64 = 5000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_can_do_something() {
        let dir = tempfile::tempdir().unwrap();
        let found = limits(&[16, 1024], dir.path(), Duration::from_millis(50)).unwrap();
        let [small, large] = found.relays.as_slice() else { panic!("{found:?}") };
        assert_eq!((small.size, large.size), (16, 1024));
        assert!(small.rate > 0.0 && large.rate > 0.0, "{found:?}");
        assert!(found.connections.rate > 0.0, "{found:?}");
        let disk = &found.disk;
        assert!(disk.rate > 0.0 && disk.bulk > 0.0 && disk.answers > 0.0, "{found:?}");
        let passed = found.latency.unwrap();
        assert!(passed.count > 100 && passed.p50 <= passed.p99, "{found:?}");
        let latency = found.disk.latency.unwrap();
        assert!(latency.count > 0 && latency.p50 <= latency.p99, "{found:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file is removed");
        let text = found.to_string();
        assert!(text.contains("1024 B") && text.contains("sync"), "{text}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let refused = limits(&[], Path::new("/nowhere/at/all"), Duration::ZERO).unwrap_err();
        assert!(refused.to_string().contains("/nowhere/at/all"), "{refused}");
    }
}
