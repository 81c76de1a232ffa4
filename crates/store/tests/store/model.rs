//! The store against a naive model: any sequence of appends and restarts, no crashes.

use std::{path::Path, sync::Arc, time::Duration};

use leveret_store::{Batch, Definition, Lsn, MemDisk, Store, StoreOptions, Table};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::support::model::{State, Step};

#[derive(Clone, Debug)]
enum Action {
    Message { queues: Vec<u64>, size: usize },
    Ack { queue: u64, which: Vec<Index> },
    Returned { queue: u64, which: Vec<(Index, u32)> },
    Put { table: Index, key: u8, value: Vec<u8> },
    Delete { table: Index, key: u8 },
    Reserve(u64),
    Append,
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let queue = || 1..4_u64;
    let queues = proptest::collection::btree_set(queue(), 1..4);
    prop_oneof![
        8 => (queues, prop_oneof![9 => 0..300_usize, 1 => 3000..40_000_usize])
            .prop_map(|(queues, size)| Action::Message { queues: queues.into_iter().collect(), size }),
        6 => (queue(), vec(any::<Index>(), 1..8))
            .prop_map(|(queue, which)| Action::Ack { queue, which }),
        2 => (queue(), vec(any::<(Index, u32)>(), 1..4))
            .prop_map(|(queue, which)| Action::Returned { queue, which }),
        2 => (any::<Index>(), 0..4_u8, vec(any::<u8>(), 0..40))
            .prop_map(|(table, key, value)| Action::Put { table, key, value }),
        1 => (any::<Index>(), 0..4_u8).prop_map(|(table, key)| Action::Delete { table, key }),
        1 => (1..5_u64).prop_map(Action::Reserve),
        12 => Just(Action::Append),
        1 => Just(Action::Restart),
    ]
}

/// Does the actions to a store and to the model.
struct Pair {
    disk: MemDisk,
    store: Store,
    batch: Batch,
    steps: Vec<Step>,
    state: State,
}

impl Pair {
    fn new() -> Self {
        let disk = MemDisk::new();
        let (store, _) = open(&disk);
        let state = State::default();
        Self { disk, store, batch: Batch::new(), steps: Vec::new(), state }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Message { queues, size } => {
                let payload = vec![u8::try_from(size % 251).unwrap_or_default(); size];
                self.batch.message(&queues, &[&payload]);
                self.steps.push(Step::Message { queues, payload });
            }
            Action::Ack { queue, which } => {
                let lsns = self.pick(queue, which);
                self.batch.ack(queue, &lsns);
                self.step(Step::Ack { queue, lsns });
                // The next choice must not see what is settled.
                self.append();
            }
            Action::Returned { queue, which } => {
                let (which, counts): (Vec<_>, Vec<_>) = which.into_iter().unzip();
                let lsns: Vec<_> = self.pick(queue, which).into_iter().zip(counts).collect();
                self.batch.returned(queue, &lsns);
                if !lsns.is_empty() {
                    self.steps.push(Step::Returned { queue, lsns });
                }
            }
            Action::Put { table, key, value } => {
                let table = *table.get(&Table::ALL);
                self.define(Definition::Put { table, key: vec![key], value });
            }
            Action::Delete { table, key } => {
                let table = *table.get(&Table::ALL);
                self.define(Definition::Delete { table, key: vec![key] });
            }
            Action::Reserve(count) => drop(self.store.reserve(count)),
            Action::Append => self.append(),
            Action::Restart => self.restart(),
        }
    }

    fn step(&mut self, step: Step) {
        match &step {
            Step::Ack { lsns, .. } if lsns.is_empty() => {}
            _ => self.steps.push(step),
        }
    }

    fn define(&mut self, definition: Definition) {
        self.batch.define(std::slice::from_ref(&definition));
        self.steps.push(Step::Define(vec![definition]));
    }

    /// Some messages of a queue, each once.
    fn pick(&self, queue: u64, which: Vec<Index>) -> Vec<Lsn> {
        let waiting = self.state.in_queue(queue);
        if waiting.is_empty() {
            return Vec::new();
        }
        let mut lsns: Vec<Lsn> = Vec::new();
        for index in which {
            let lsn = *index.get(&waiting);
            if !lsns.contains(&lsn) {
                lsns.push(lsn);
            }
        }
        lsns
    }

    fn append(&mut self) {
        let appended = self.store.append(&mut self.batch);
        self.state.apply(&self.steps, appended.first);
        self.steps.clear();
    }

    fn restart(&mut self) {
        self.append();
        self.store.close();
        let counted = self.store.stats().live_places;
        let (store, recovered) = open(&self.disk);
        self.store = store;
        assert_eq!(State::recovered(&self.store, &recovered), Some(self.state.clone()));
        assert!(recovered.report.clean_stop || recovered.report.last_lsn == Lsn::ZERO);
        let places = recovered.backlogs.iter().map(|backlog| backlog.len()).sum();
        assert_eq!((counted, self.store.stats().live_places), (places, places));
    }
}

fn open(disk: &MemDisk) -> (Store, leveret_store::Recovered) {
    let options = StoreOptions {
        segment_bytes: 8 << 10,
        first_segment_bytes: 2 << 10,
        lazy_sync: Duration::from_millis(2),
        apply_definitions: Duration::from_millis(1),
        ..StoreOptions::default()
    };
    Store::open(Arc::new(disk.clone()), Path::new("/data"), options).expect("opens")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn a_store_holds_what_the_model_holds(actions in vec(action(), 1..120)) {
        let mut pair = Pair::new();
        for action in actions {
            pair.act(action);
        }
        pair.restart();
        pair.restart();
    }
}
