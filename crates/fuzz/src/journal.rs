//! A data directory that is damaged.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use leveret_store::offline::{self, Definitions};
use leveret_store::{
    Batch, Definition, Disk, Lsn, MemDisk, OpenError, Recovered, Store, StoreOptions, Table,
};

/// Pieces of seven bytes and what follows them: a file, a place in it, how many bytes, and these, which
/// are put there. With none the file is cut there. What can be read of what is left must be found or
/// refused, and after a repair the broker starts.
pub fn journal(input: &[u8]) {
    let disk = MemDisk::new();
    for (path, content) in files() {
        let file = disk.create(path).expect("a file");
        file.write_all_at(&[content], 0).expect("written");
    }
    // The definitions are in a database, which panics when it is damaged. The store catches that; a
    // fuzzer takes it for a crash.
    let damaged = files().iter().filter(|(path, _)| !path.ends_with("definitions.redb"));
    let damaged: Vec<_> = damaged.collect();
    let mut rest = input;
    while let [file, a, b, c, length, tail @ ..] = rest {
        let (path, content) = damaged[usize::from(*file) % damaged.len()];
        let at = u64::from(u32::from_be_bytes([0, *a, *b, *c])) % (content.len() as u64 + 1);
        let (bytes, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        let file = disk.open(path).expect("there");
        match bytes {
            [] => file.set_len(at).expect("cut"),
            bytes => file.write_all_at(&[bytes], at).expect("written"),
        }
        rest = tail;
    }
    let sound = offline::check(&disk, dir()).map(|report| report.damages.is_empty());
    match open(&disk) {
        Ok((store, recovered)) => read(&store, &recovered),
        Err(error) => {
            assert!(!matches!(sound, Ok(true)), "the check found nothing: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
            if offline::repair(&disk, dir(), Definitions::Dropped).is_ok() {
                let (store, recovered) = open(&disk).expect("a repaired store opens");
                read(&store, &recovered);
            }
        }
    }
}

/// Reads everything that is said to be there.
fn read(store: &Store, recovered: &Recovered) {
    for backlog in &recovered.backlogs {
        let lsns: Vec<Lsn> = backlog.messages().map(|message| message.lsn).collect();
        assert_eq!(lsns.len() as u64, backlog.len());
        assert!(lsns.is_sorted());
        if let Ok(read) = store.read(&lsns) {
            assert!(read.len() <= lsns.len());
        }
    }
    store.close();
}

fn dir() -> &'static Path {
    Path::new("/data")
}

fn open(disk: &MemDisk) -> Result<(Store, Recovered), OpenError> {
    let options = StoreOptions {
        segment_bytes: 4 << 10,
        first_segment_bytes: 4 << 10,
        ..StoreOptions::default()
    };
    Store::open(Arc::new(disk.clone()), dir(), options)
}

/// A sound data directory: some segments with every kind of record, stopped cleanly.
fn files() -> &'static [(PathBuf, Vec<u8>)] {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let disk = MemDisk::new();
        let (store, _) = open(&disk).expect("opens");
        let mut batch = Batch::new();
        let mut last = Lsn::ZERO;
        for round in 0..40_u8 {
            if round % 10 == 0 {
                let (key, value) = (vec![round; 4], vec![1; 20]);
                batch.define(&[Definition::Put { table: Table::Queues, key, value }]);
            }
            batch.message(&[1, 2], &[&[round; 200]]);
            batch.message(&[3], &[&[round; 20]]);
            if round % 7 == 6 {
                batch.ack(1, &[last]);
                batch.returned(2, &[(last, 3)]);
                batch.delayed(2, &[(last, 1 << 40)]);
            }
            if round == 30 {
                batch.drop_queue(3);
            }
            last = store.append(&mut batch).last;
        }
        store.close();
        let folders = [dir().to_owned(), dir().join("journal")];
        let paths = folders.iter().flat_map(|folder| {
            let names = disk.list(folder).expect("a folder");
            names.into_iter().map(move |name| folder.join(name))
        });
        let mut paths: Vec<PathBuf> = paths.collect();
        paths.sort_unstable();
        let content = |path: PathBuf| {
            let file = disk.open(&path).expect("a file");
            let mut content =
                vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
            file.read_exact_at(&mut content, 0).expect("read");
            (path, content)
        };
        paths.into_iter().map(content).collect()
    })
}
