use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use super::{Synced, answers};
use crate::latency::Recorder;

/// Writes and syncs in a file of its own, which is removed.
pub(super) fn measure(dir: &Path, time: Duration) -> io::Result<Synced> {
    let scratch = Scratch::create(dir)?;
    let mut latencies = Recorder::new();
    let rate = repeat(&scratch, &[b'x'; RECORD], time, |took| latencies.record(took.into()))?;
    let bulk = repeat(&scratch, &vec![b'x'; BULK], time, drop)? * BULK as f64;
    let latency = latencies.percentiles();
    let answers = answers::measure(&scratch, time)?;
    Ok(Synced { dir: dir.to_owned(), size: RECORD, rate, latency, bulk, answers })
}

/// Writes the record at one place of the file after the other, each synced; how many a second.
fn repeat(
    scratch: &Scratch,
    record: &[u8],
    time: Duration,
    mut took: impl FnMut(Duration),
) -> io::Result<f64> {
    let began = Instant::now();
    let mut count = 0_u32;
    for at in places(record.len()) {
        if count > 0 && began.elapsed() >= time {
            break;
        }
        let start = Instant::now();
        write_synced(&scratch.file, record, at)?;
        took(start.elapsed());
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

pub(super) fn write_synced(file: &File, record: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(record, at)?;
    file.sync_data()
}

/// Where in the file records of this size go, for ever.
pub(super) fn places(size: usize) -> impl Iterator<Item = u64> {
    (0..SPACE / size).cycle().map(move |place| (place * size) as u64)
}

/// A file that does not outlive its measurement.
pub(super) struct Scratch {
    pub(super) file: File,
    path: PathBuf,
}

impl Scratch {
    /// With its space filled and synced: what is measured later changes no metadata.
    fn create(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("leveret-perf-{}", process::id()));
        let scratch = Self { file: File::create_new(&path)?, path };
        let zeros = vec![0; BULK];
        for at in (0..SPACE).step_by(BULK) {
            scratch.file.write_all_at(&zeros, at as u64)?;
        }
        scratch.file.sync_all()?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whoever cannot remove it will see it by its name.
        let _ = fs::remove_file(&self.path);
    }
}

/// About what a broker writes for a message of 1 KiB.
pub(super) const RECORD: usize = 1104;
const BULK: usize = 1 << 20;
const SPACE: usize = 64 << 20;
