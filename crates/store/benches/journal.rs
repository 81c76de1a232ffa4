//! What the journal does beside what its disk does with the same bytes, in one run: appends that wait
//! for durability, one at a time and with a window of them in flight, beside writes with an
//! `fdatasync`; messages read back by the page beside reads; recovery beside reading all segments. On
//! real files: set `LEVERET_BENCH_DIR` to measure another file system than that of the current folder.
//! The system has what is read in its page cache.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark fails by panicking")]

#[path = "../tests/store/support/block_on.rs"]
mod block_on;

use std::{
    collections::VecDeque,
    env,
    fs::{self, File},
    hint::black_box,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use block_on::block_on;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use leveret_store::{Batch, Disk, Lsn, MemDisk, RealDisk, Store, StoreOptions};
use tempfile::TempDir;

fn scratch() -> TempDir {
    let dir = env::var_os("LEVERET_BENCH_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    tempfile::tempdir_in(dir).expect("a folder to write to")
}

fn open(dir: &TempDir) -> Store {
    Store::open(Arc::new(RealDisk::new()), dir.path(), StoreOptions::default()).expect("opens").0
}

fn encode(c: &mut Criterion) {
    let mut batch = Batch::new();
    let mut group = c.benchmark_group("encode");
    for size in [16, 1024] {
        let payload = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                batch.clear();
                black_box(batch.message(&[1], &[&payload]))
            });
        });
    }
    group.finish();
}

/// Each append acknowledges what fell out of the window, as a broker whose consumers keep up.
fn durable(c: &mut Criterion) {
    let payload = [7; 1024];
    let mut group = c.benchmark_group("append 1 KiB and wait until durable");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for window in [1, 16, 256, 4096] {
        let dir = scratch();
        let store = open(&dir);
        let mut batch = Batch::new();
        let mut flying = VecDeque::with_capacity(window);
        group.bench_function(BenchmarkId::from_parameter(window), |bencher| {
            bencher.iter(|| {
                batch.message(&[1], &[&payload]);
                flying.push_back(store.append(&mut batch).last);
                if flying.len() >= window
                    && let Some(oldest) = flying.pop_front()
                {
                    block_on(store.durable(oldest));
                    batch.ack(1, &[oldest]);
                }
            });
        });
    }
    group.finish();
}

/// The bound of all that: each round writes as many messages as a window has to a file allocated
/// before, and syncs them.
fn raw(c: &mut Criterion) {
    const SIZE: u64 = 64 << 20;
    let mut group = c.benchmark_group("raw write of 1 KiB each and fdatasync");
    group.sample_size(20);
    for window in [1_u64, 16, 256, 4096] {
        let dir = scratch();
        let disk = RealDisk::new();
        let file = disk.create(&dir.path().join("raw")).expect("creates");
        file.allocate(SIZE).and_then(|()| file.sync_data()).expect("allocates");
        let bytes = vec![7; usize::try_from(window).expect("small") << 10];
        let mut at = 0;
        group.throughput(Throughput::Elements(window));
        group.bench_function(BenchmarkId::from_parameter(window), |bencher| {
            bencher.iter(|| {
                if at + bytes.len() as u64 > SIZE {
                    at = 0;
                }
                file.write_all_at(&[&bytes], at).and_then(|()| file.sync_data()).expect("writes");
                at += bytes.len() as u64;
            });
        });
    }
    group.finish();
}

fn open_empty(c: &mut Criterion) {
    let mut group = c.benchmark_group("open an empty store");
    group.sample_size(20);
    group.bench_function("real files", |bencher| {
        bencher.iter_custom(|rounds| {
            let dirs: Vec<TempDir> = (0..rounds).map(|_| scratch()).collect();
            let start = Instant::now();
            let stores: Vec<Store> = dirs.iter().map(open).collect();
            let took = start.elapsed();
            drop(stores);
            took
        });
    });
    group.bench_function("in memory", |bencher| {
        bencher.iter(|| {
            let disk = Arc::new(MemDisk::new());
            Store::open(disk, "/data".as_ref(), StoreOptions::default()).expect("opens").0
        });
    });
    group.finish();
}

/// Messages of 1 KiB in ten queues, durable.
fn fill(store: &Store, messages: u64) -> Vec<Lsn> {
    let mut batch = Batch::new();
    let mut lsns = Vec::new();
    for index in 0..messages {
        batch.message(&[index % 10], &[&[7; 1024]]);
        let last = store.append(&mut batch).last;
        lsns.push(last);
        if index % 1000 == 999 {
            block_on(store.durable(last));
        }
    }
    lsns
}

/// As a queue with one consumer reads its pages, one after the other.
fn page_in(c: &mut Criterion) {
    const PAGE: usize = 256;
    let dir = scratch();
    let store = open(&dir);
    let lsns = fill(&store, 100_000);
    let mut group = c.benchmark_group("read back 256 messages of 1 KiB");
    group.throughput(Throughput::Elements(PAGE as u64));
    let mut pages = lsns.chunks_exact(PAGE).cycle();
    group.bench_function("journal", |bencher| {
        bencher.iter(|| {
            let page = pages.next().expect("there are pages");
            let read = store.read(page).expect("reads");
            assert_eq!(read.len(), PAGE, "all are there");
            read
        });
    });
    let files: Vec<_> = segments(&dir);
    let mut buffer = vec![0; PAGE << 10];
    let places = files.iter().flat_map(|(file, length)| {
        let starts = (0..*length).step_by(buffer.len());
        starts.filter(|at| at + (PAGE << 10) as u64 <= *length).map(move |at| (file, at))
    });
    let mut places = places.collect::<Vec<_>>().into_iter().cycle();
    group.bench_function("read of as many bytes", |bencher| {
        bencher.iter(|| {
            let (file, at) = places.next().expect("there are segments");
            file.read_exact_at(&mut buffer, at).expect("reads");
        });
    });
    group.finish();
}

fn recover(c: &mut Criterion) {
    const MESSAGES: u64 = 100_000;
    let dir = scratch();
    let store = open(&dir);
    fill(&store, MESSAGES);
    store.close();
    let mut group = c.benchmark_group("recover 100,000 messages of 1 KiB");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(10);
    group.bench_function("journal", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                let start = Instant::now();
                let store = open(&dir);
                took += start.elapsed();
                drop(store);
            }
            took
        });
    });
    let mut buffer = vec![0; 1 << 20];
    group.bench_function("read of all segments", |bencher| {
        bencher.iter(|| {
            for (file, length) in segments(&dir) {
                for at in (0..length).step_by(buffer.len()) {
                    file.read_at(&mut buffer, at).expect("reads");
                }
            }
        });
    });
    group.finish();
}

/// The journal's files, and how long they are.
fn segments(dir: &TempDir) -> Vec<(File, u64)> {
    let entries = fs::read_dir(dir.path().join("journal")).expect("has a journal");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("is read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    assert!(!paths.is_empty(), "no segments");
    let opened = paths.iter().map(|path| {
        let file = File::open(path).expect("opens");
        let length = file.metadata().expect("has a length").len();
        (file, length)
    });
    opened.collect()
}

criterion_group!(benches, encode, raw, durable, open_empty, page_in, recover);
criterion_main!(benches);
