//! Damaged tables of definitions: the database that has them trusts what it reads, the store must not.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use leveret_store::{
    Batch, Definition, Disk, MemDisk, OpenError, Recovered, Store, StoreOptions, Table,
    offline::{self, Lost, OfflineError},
};
use proptest::prelude::*;

use crate::support::block_on::block_on;

fn dir() -> &'static Path {
    Path::new("/data")
}

fn open(disk: &MemDisk) -> Result<(Store, Recovered), OpenError> {
    let options = StoreOptions {
        segment_bytes: 64 << 10,
        apply_definitions: Duration::from_millis(1),
        ..StoreOptions::default()
    };
    Store::open(Arc::new(disk.clone()), dir(), options)
}

type Definitions = Vec<(Table, Vec<u8>, Vec<u8>)>;
type Files = Vec<(PathBuf, Vec<u8>)>;

/// The files of a store with definitions in several tables, some of which take more than a page.
fn sound() -> &'static (Files, Definitions) {
    static SOUND: OnceLock<(Files, Definitions)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = MemDisk::new();
        let (store, _) = open(&disk).expect("opens");
        let mut batch = Batch::new();
        for number in 0..200_u8 {
            let table = [Table::Queues, Table::Bindings, Table::Users][usize::from(number % 3)];
            let (key, value) = (vec![number], vec![7; 100]);
            batch.define(&[Definition::Put { table, key, value }]);
            if number % 20 == 0 {
                block_on(store.durable(store.append(&mut batch).last));
            }
        }
        store.append(&mut batch);
        store.close();
        drop(store);
        let (_, recovered) = open(&disk).expect("opens");
        let content = |path: PathBuf| {
            let file = disk.open(&path).expect("is there");
            let length = usize::try_from(file.len().expect("has one")).expect("small");
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, 0).expect("reads");
            (path, bytes)
        };
        let folders = [dir().to_owned(), dir().join("journal")];
        let paths = folders.iter().flat_map(|folder| {
            let names = disk.list(folder).expect("lists").into_iter();
            names.filter(|name| name != "lock").map(move |name| folder.join(name))
        });
        (paths.map(content).collect(), recovered.definitions)
    })
}

/// What a block is written over with.
#[derive(Clone, Debug)]
enum Block {
    Zeros,
    Byte(usize, u8),
    Garbage(Vec<u8>),
    /// Another block of the file.
    Other(prop::sample::Index),
}

fn any_block() -> impl Strategy<Value = Block> {
    prop_oneof![
        Just(Block::Zeros),
        (0..512_usize, any::<u8>()).prop_map(|(at, byte)| Block::Byte(at, byte)),
        proptest::collection::vec(any::<u8>(), 512).prop_map(Block::Garbage),
        any::<prop::sample::Index>().prop_map(Block::Other),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 30, ..ProptestConfig::default() })]

    /// None of the tools panics; what they do not call damaged is as it was; and without the damaged ones the
    /// store opens.
    #[test]
    fn whatever_is_in_the_tables_is_as_it_was_or_called_damaged(
        // Most of the file are pages nobody uses.
        blocks in proptest::collection::vec((0..64_usize, any_block()), 1..5),
        cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let (files, definitions) = sound();
        let disk = MemDisk::new();
        for (path, bytes) in files {
            let mut bytes = bytes.clone();
            if path.ends_with("definitions.redb") {
                for (at, block) in &blocks {
                    let all = bytes.clone();
                    let Some(target) = bytes.chunks_exact_mut(512).nth(*at) else { continue };
                    match block {
                        Block::Zeros => target.fill(0),
                        Block::Byte(at, byte) => target[*at] = *byte,
                        Block::Garbage(garbage) => target.copy_from_slice(garbage),
                        Block::Other(other) => {
                            let at = other.index(64) * 512;
                            target.copy_from_slice(&all[at..at + 512]);
                        }
                    }
                }
                if let Some(cut) = cut {
                    bytes.truncate(cut.index(bytes.len()));
                }
            }
            disk.create(path).and_then(|file| file.write_all_at(&[&bytes], 0)).expect("writes");
        }
        let damages = offline::check(&disk, dir()).expect("can be checked").damages;
        let is_damaged = damages.iter().any(|one| matches!(one.lost, Lost::Definitions { .. }));
        let usage = offline::usage(&disk, dir()).expect("can be read");
        prop_assert_eq!(usage.damages.is_empty(), damages.is_empty());
        offline::dump(&disk, dir(), |_, _, _, _| Ok(())).expect("can be read");
        match offline::repair(&disk, dir(), offline::Definitions::Optional) {
            Ok(_) => {
                prop_assert!(!is_damaged);
                prop_assert!(usage.definitions == *definitions);
                let (_, recovered) = open(&disk).expect("opens");
                prop_assert!(recovered.definitions == *definitions);
            }
            Err(error) => {
                let is_told = matches!(error, OfflineError::Definitions { .. });
                prop_assert!(is_told && is_damaged);
                offline::repair(&disk, dir(), offline::Definitions::Dropped).expect("can be repaired");
                open(&disk).expect("opens");
            }
        }
    }
}
