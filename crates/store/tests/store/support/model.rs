//! What a store should hold, kept naively, and random work for it.

use std::collections::BTreeMap;

use leveret_store::{Batch, Definition, Lsn, Recovered, RecoveredMessage, Store, Table};
use rand::{RngExt, rngs::SmallRng};

use super::messages::messages;

/// What survives: messages by LSN with their places by queue, and definitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    messages: BTreeMap<Lsn, Message>,
    definitions: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Message {
    /// By queue.
    places: BTreeMap<u64, Place>,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    deliveries: u32,
    redelivered: bool,
    delayed_until: u64,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {} bytes", self.places, self.payload.len())
    }
}

/// One record.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Message { queues: Vec<u64>, payload: Vec<u8> },
    Ack { queue: u64, lsns: Vec<Lsn> },
    Returned { queue: u64, lsns: Vec<(Lsn, u32)> },
    Delayed { queue: u64, lsns: Vec<(Lsn, u64)> },
    DropQueue { queue: u64 },
    Define(Vec<Definition>),
}

impl Step {
    /// Adds the record to a batch, in which it is the `index`-th.
    pub(crate) fn add_to(&self, batch: &mut Batch, index: usize) {
        match self {
            Self::Message { queues, payload } => {
                let cut = payload.len() / 3;
                let added = batch.message(queues, &[&payload[..cut], &payload[cut..]]);
                assert_eq!(added, index);
            }
            Self::Ack { queue, lsns } => batch.ack(*queue, lsns),
            Self::Returned { queue, lsns } => batch.returned(*queue, lsns),
            Self::Delayed { queue, lsns } => batch.delayed(*queue, lsns),
            Self::DropQueue { queue } => batch.drop_queue(*queue),
            Self::Define(definitions) => batch.define(definitions),
        }
    }
}

impl State {
    /// What an opened store has found; `None` if the disk can't be read.
    pub(crate) fn recovered(store: &Store, recovered: &Recovered) -> Option<Self> {
        let messages = messages(store, recovered)?.into_iter().map(|message| {
            let places = message.places.into_iter().map(|(queue, place)| {
                let RecoveredMessage { deliveries, redelivered, delayed_until, .. } = place;
                (queue, Place { deliveries, redelivered, delayed_until })
            });
            let places = places.collect();
            (message.lsn, Message { places, payload: message.payload })
        });
        let definitions = recovered.definitions.iter().cloned();
        let definitions = definitions.map(|(table, key, value)| ((table, key), value));
        Some(Self { messages: messages.collect(), definitions: definitions.collect() })
    }

    /// The state after `steps`, whose first record has number `first`.
    pub(crate) fn apply(&mut self, steps: &[Step], first: Lsn) {
        for (index, step) in steps.iter().enumerate() {
            match step {
                Step::Message { queues, payload } => {
                    let places = queues.iter().map(|queue| (*queue, Place::default())).collect();
                    let message = Message { places, payload: payload.clone() };
                    self.messages.insert(first.plus(index as u64), message);
                }
                Step::Ack { queue, lsns } => {
                    for lsn in lsns {
                        if let Some(message) = self.messages.get_mut(lsn) {
                            message.places.remove(queue);
                        }
                    }
                }
                Step::Returned { queue, lsns } => {
                    for (lsn, deliveries) in lsns {
                        if let Some(place) = self.place(*lsn, *queue) {
                            *place = Place {
                                deliveries: *deliveries,
                                redelivered: true,
                                delayed_until: 0,
                            };
                        }
                    }
                }
                Step::Delayed { queue, lsns } => {
                    for (lsn, until) in lsns {
                        if let Some(place) = self.place(*lsn, *queue) {
                            place.delayed_until = *until;
                        }
                    }
                }
                Step::DropQueue { queue } => {
                    for message in self.messages.values_mut() {
                        message.places.remove(queue);
                    }
                }
                Step::Define(definitions) => {
                    for definition in definitions {
                        match definition.clone() {
                            Definition::Put { table, key, value } => {
                                self.definitions.insert((table, key), value);
                            }
                            Definition::Delete { table, key } => {
                                self.definitions.remove(&(table, key));
                            }
                        }
                    }
                }
            }
        }
        self.messages.retain(|_, message| !message.places.is_empty());
    }

    /// The process ended without closing the store: everything may have been delivered.
    pub(crate) fn crash(&mut self) {
        for message in self.messages.values_mut() {
            message.places.values_mut().for_each(|place| place.redelivered = true);
        }
    }

    fn place(&mut self, lsn: Lsn, queue: u64) -> Option<&mut Place> {
        self.messages.get_mut(&lsn)?.places.get_mut(&queue)
    }

    /// Numbers of the messages in `queue`.
    pub(crate) fn in_queue(&self, queue: u64) -> Vec<Lsn> {
        let here = self.messages.iter().filter(|(_, message)| message.places.contains_key(&queue));
        here.map(|(lsn, _)| *lsn).collect()
    }

    /// The messages, ascending.
    pub(crate) fn payloads(&self) -> Vec<(Lsn, Vec<u8>)> {
        self.messages.iter().map(|(lsn, message)| (*lsn, message.payload.clone())).collect()
    }

    fn highest_queue(&self) -> u64 {
        let queues = self.messages.values().flat_map(|message| message.places.keys());
        queues.copied().max().unwrap_or_default()
    }
}

/// Makes random batches. Queue ids are not used again once dropped.
#[derive(Debug)]
pub(crate) struct Workload {
    queues: Vec<u64>,
    next_queue: u64,
    /// Every batch is one message of the same size, or acknowledges one: what a crash leaves behind
    /// then lies just where later batches begin.
    uniform: Option<Uniform>,
}

#[derive(Clone, Copy, Debug)]
struct Uniform {
    payload: usize,
    acks: bool,
}

impl Workload {
    pub(crate) fn new(rng: &mut SmallRng) -> Self {
        // With these payloads a unit has 128, 216 and 512 bytes.
        let payload = [32, 120, 416][rng.random_range(0..3)];
        let acks = rng.random_range(0..2) == 0;
        let uniform = (rng.random_range(0..3) == 0).then_some(Uniform { payload, acks });
        Self { queues: vec![1, 2, 3], next_queue: 4, uniform }
    }

    /// Goes on after a crash: dropped queues may be back, so all ids are new.
    pub(crate) fn continue_from(&mut self, state: &State) {
        let next = self.next_queue.max(state.highest_queue() + 1);
        let mut queues: Vec<u64> =
            state.messages.values().flat_map(|message| message.places.keys().copied()).collect();
        queues.sort_unstable();
        queues.dedup();
        queues.push(next);
        self.queues = queues;
        self.next_queue = next + 1;
    }

    /// Fills `batch` and returns the same as steps.
    pub(crate) fn batch(
        &mut self,
        rng: &mut SmallRng,
        state: &State,
        batch: &mut Batch,
    ) -> Vec<Step> {
        if let Some(uniform) = self.uniform {
            return vec![self.uniform_step(rng, uniform, state, batch)];
        }
        let mut steps = Vec::new();
        // Within a batch each place is settled once.
        let mut left = state.clone();
        for _ in 0..rng.random_range(1..6) {
            let step = self.step(rng, &left);
            match &step {
                Step::Ack { lsns, .. } if lsns.is_empty() => continue,
                Step::Returned { lsns, .. } if lsns.is_empty() => continue,
                Step::Delayed { lsns, .. } if lsns.is_empty() => continue,
                _ => step.add_to(batch, steps.len()),
            }
            if !matches!(step, Step::Message { .. }) {
                left.apply(std::slice::from_ref(&step), Lsn::ZERO);
            }
            steps.push(step);
        }
        if rng.random_range(0..10) == 0 {
            batch.set_durable();
        }
        steps
    }

    fn uniform_step(
        &self,
        rng: &mut SmallRng,
        uniform: Uniform,
        state: &State,
        batch: &mut Batch,
    ) -> Step {
        let queue = self.queues[0];
        if uniform.acks
            && rng.random_range(0..5) < 2
            && let Some(&lsn) = state.in_queue(queue).first()
        {
            batch.ack(queue, &[lsn]);
            return Step::Ack { queue, lsns: vec![lsn] };
        }
        let payload = vec![rng.random(); uniform.payload];
        batch.message(&[queue], &[&payload]);
        Step::Message { queues: vec![queue], payload }
    }

    fn step(&mut self, rng: &mut SmallRng, state: &State) -> Step {
        let at = rng.random_range(0..self.queues.len());
        let queue = self.queues[at];
        let waiting = state.in_queue(queue);
        let some = |rng: &mut SmallRng, share: u32| -> Vec<Lsn> {
            let mut some: Vec<Lsn> = waiting.clone();
            some.retain(|_| rng.random_range(0..100) < share);
            if rng.random_range(0..2) == 0 {
                some.reverse();
            }
            some
        };
        match rng.random_range(0..100) {
            0..40 => Step::Message { queues: self.some_queues(rng), payload: payload(rng) },
            40..74 => Step::Ack { queue, lsns: some(rng, 70) },
            74..80 => {
                let lsns = some(rng, 50);
                let lsns = lsns.into_iter().map(|lsn| (lsn, rng.random_range(1..300)));
                Step::Returned { queue, lsns: lsns.collect() }
            }
            80..84 => {
                let lsns = some(rng, 50);
                let lsns = lsns.into_iter().map(|lsn| (lsn, rng.random_range(1..1 << 42)));
                Step::Delayed { queue, lsns: lsns.collect() }
            }
            84..88 => {
                self.queues[at] = self.next_queue;
                self.next_queue += 1;
                Step::DropQueue { queue }
            }
            _ => Step::Define((0..rng.random_range(1..4)).map(|_| definition(rng)).collect()),
        }
    }

    fn some_queues(&self, rng: &mut SmallRng) -> Vec<u64> {
        let first = self.queues[rng.random_range(0..self.queues.len())];
        let mut queues = vec![first];
        if rng.random_range(0..4) == 0 {
            queues.extend(self.queues.iter().filter(|queue| **queue != first));
        }
        queues
    }
}

fn payload(rng: &mut SmallRng) -> Vec<u8> {
    let len = match rng.random_range(0..20) {
        0 => 0,
        1 => rng.random_range(4000..9000),
        2 => rng.random_range(33_000..40_000),
        3..6 => rng.random_range(500..1500),
        _ => rng.random_range(1..200),
    };
    // Zeros often, as a torn block may be zeros too.
    let fill = if rng.random_range(0..2) == 0 { 0 } else { rng.random() };
    vec![fill; len]
}

fn definition(rng: &mut SmallRng) -> Definition {
    let table = Table::ALL[rng.random_range(0..Table::ALL.len())];
    let key = vec![b'k', rng.random_range(0..5)];
    if rng.random_range(0..3) == 0 {
        return Definition::Delete { table, key };
    }
    Definition::Put { table, key, value: vec![rng.random(); rng.random_range(0..60)] }
}
