use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use super::Synced;
use crate::latency::Recorder;

/// Writes and syncs in a file of its own, which is removed.
pub(super) fn measure(dir: &Path, time: Duration) -> io::Result<Synced> {
    let scratch = Scratch::create(dir)?;
    let file = &scratch.file;
    let record = [b'x'; RECORD];
    let mut latencies = Recorder::new();
    let began = Instant::now();
    let records = repeat(RECORD, time, |at| {
        let due = Instant::now();
        file.write_all_at(&record, at)?;
        file.sync_data()?;
        latencies.record(due.elapsed().into());
        Ok(())
    })?;
    let rate = records as f64 / began.elapsed().as_secs_f64();
    let many = vec![b'x'; BULK];
    let began = Instant::now();
    let writes = repeat(BULK, time, |at| {
        file.write_all_at(&many, at)?;
        file.sync_data()
    })?;
    let bulk = (writes * BULK as u64) as f64 / began.elapsed().as_secs_f64();
    let latency = latencies.percentiles();
    Ok(Synced { dir: dir.to_owned(), size: RECORD, rate, latency, bulk })
}

/// Does something at one place of the file after the other, at least once; how often it was.
fn repeat(
    size: usize,
    time: Duration,
    mut work: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<u64> {
    let places = (SPACE / size) as u64;
    let began = Instant::now();
    let mut count = 0;
    while count == 0 || began.elapsed() < time {
        work(count % places * size as u64)?;
        count += 1;
    }
    Ok(count)
}

/// A file that does not outlive its measurement.
struct Scratch {
    file: File,
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
const RECORD: usize = 1104;
const BULK: usize = 1 << 20;
const SPACE: usize = 64 << 20;
