//! A broker, one session, and the time.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leveret_broker::{
    Broker, BrokerOptions, Confirmation, DeclareExchange, DeclareQueue, Fetched, OpenError,
    Outcome, Progress, Publish, Session, SettleGroup, Settlement, Staged, Ticket, Turn,
};
use leveret_codec::{Properties, Table, TableBuf, TableBuilder, TableLimits, Value};
use leveret_engine::{AnyEntry, Body, DestinationName, Entry, Millis, PagedEntry, Return};
use leveret_store::{Batch, Disk, Lsn, MemDisk, StoreOptions, SyncPolicy};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

/// When every test begins.
pub(crate) const START: u64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) broker: Arc<Broker>,
    pub(crate) session: Session,
    pub(crate) now: u64,
    disk: Arc<dyn Disk>,
    message_memory: u64,
    read_patience: Duration,
    turn: Turn,
    sequence: u64,
}

/// A message got from a queue.
pub(crate) struct Got {
    pub(crate) body: String,
    pub(crate) redelivered: bool,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    fetched: Fetched,
    is_paged: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::open(Arc::new(MemDisk::new()), START)
    }

    pub(crate) fn open(disk: Arc<dyn Disk>, now: u64) -> Self {
        Self::open_with(disk, now, BrokerOptions::default().message_memory)
    }

    /// A world whose messages may take so much memory.
    pub(crate) fn open_with(disk: Arc<dyn Disk>, now: u64, message_memory: u64) -> Self {
        let read_patience = StoreOptions::default().read_patience;
        Self::open_patient(disk, now, message_memory, read_patience)
    }

    /// One that waits so long for a disk that cannot be read.
    pub(crate) fn open_patient(
        disk: Arc<dyn Disk>,
        now: u64,
        message_memory: u64,
        read_patience: Duration,
    ) -> Self {
        let broker = Self::open_broker(Arc::clone(&disk), message_memory, read_patience).unwrap();
        let user = broker.access().user("guest").unwrap();
        let mut session = Session::open(&broker, user, "/", "test".into(), None).unwrap();
        session.begin(Millis(now));
        let turn = Turn::new();
        Self { broker, session, now, disk, message_memory, read_patience, turn, sequence: 0 }
    }

    pub(crate) fn open_broker(
        disk: Arc<dyn Disk>,
        message_memory: u64,
        read_patience: Duration,
    ) -> Result<Arc<Broker>, OpenError> {
        let store = StoreOptions {
            sync: SyncPolicy::Always,
            segment_bytes: 256 << 10,
            first_segment_bytes: 64 << 10,
            lazy_sync: Duration::from_millis(1),
            read_patience,
            on_fatal: Arc::new(|_| {}),
            ..StoreOptions::default()
        };
        let options = BrokerOptions {
            store,
            message_memory,
            transient_memory: 4 * message_memory,
            ..BrokerOptions::default()
        };
        Broker::open(disk, Path::new("/data"), &options)
    }

    /// Stops the broker and starts it again on the same disk.
    pub(crate) fn restart(mut self) -> Self {
        self.session.close(usize::MAX);
        self.broker.close(Millis(self.now));
        let Self { disk, now, message_memory, read_patience, .. } = self;
        Self::open_patient(disk, now, message_memory, read_patience)
    }

    /// Waits until all that was published can be read back, and lets messages go that are too much,
    /// and those come that are wanted.
    pub(crate) fn page(&mut self) {
        self.await_readable();
        let _ = self.broker.page_all(Millis(self.now), &mut self.turn);
    }

    /// Waits until all that was published can be read back. A pager that is asked before rests for a
    /// while.
    pub(crate) fn await_readable(&self) {
        let store = self.broker.store();
        // Behind all that is on its way: what is written is readable, or durable, only a moment later.
        let mut behind = Batch::new();
        behind.nothing();
        behind.set_durable();
        let last = store.append(&mut behind).last;
        while store.readable_lsn() < last {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Time passes, and the broker learns of it, and of what is on disk as well.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.session.begin(Millis(self.now));
        loop {
            while self.tick() == Progress::More {}
            if !self.broker.page_all(Millis(self.now), &mut self.turn) {
                return;
            }
        }
    }

    pub(crate) fn tick(&mut self) -> Progress {
        self.broker.tick(Millis(self.now), &mut self.turn)
    }

    pub(crate) fn declare(&mut self, name: &str, arguments: &[(&str, Value<'_>)]) {
        self.declare_as(DeclareQueue {
            name,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: table(arguments).as_table(),
        });
    }

    pub(crate) fn declare_as(&mut self, queue: DeclareQueue<'_>) {
        let commit = self.session.declare_queue(queue).unwrap().commit;
        if let Some(commit) = commit {
            self.wait(commit);
        }
    }

    pub(crate) fn declare_exchange(&mut self, name: &str, kind: &str) {
        self.declare_exchange_with(name, kind, &[]);
    }

    pub(crate) fn declare_exchange_with(
        &mut self,
        name: &str,
        kind: &str,
        arguments: &[(&str, Value<'_>)],
    ) {
        let arguments = table(arguments);
        let arguments = arguments.as_table();
        let exchange = DeclareExchange {
            name,
            kind,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments,
        };
        self.session.declare_exchange(exchange).unwrap();
    }

    pub(crate) fn bind(&mut self, queue: &str, exchange: &str, key: &str) {
        let queue = DestinationName::Queue(queue);
        self.session.bind(exchange, queue, key, Table::EMPTY).unwrap();
    }

    /// Publishes a persistent message. Answers how it went.
    pub(crate) fn publish(&mut self, exchange: &str, key: &str, body: &str) -> Outcome {
        self.publish_with(exchange, key, Properties::default(), body)
    }

    pub(crate) fn publish_with(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: Properties<'_>,
        body: &str,
    ) -> Outcome {
        self.stage(exchange, routing_key, properties, body);
        self.confirmation()
    }

    /// Puts what was published into its queues. Answers how that went.
    pub(crate) fn confirmation(&mut self) -> Outcome {
        let mut confirmations: Vec<Confirmation> = Vec::new();
        self.session.flush(&mut confirmations);
        self.session.finish();
        confirmations[0].outcome
    }

    /// Publishes without putting it into its queues yet.
    pub(crate) fn stage(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: Properties<'_>,
        body: &str,
    ) {
        let staged = self.offer(exchange, routing_key, properties, body);
        assert_eq!(staged, Staged::Routed, "to {exchange} with {routing_key}");
    }

    /// As [`stage`](Self::stage), wherever it goes.
    pub(crate) fn offer(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: Properties<'_>,
        body: &str,
    ) -> Staged {
        self.sequence += 1;
        let ticket = Ticket { channel: 1, sequence: self.sequence };
        let delivery_mode = properties.delivery_mode.or(Some(2));
        let properties = Properties { delivery_mode, ..properties };
        let mut raw_properties = Vec::new();
        properties.encode(&mut raw_properties);
        let body = Body::Copy(body.as_bytes());
        let publish = Publish {
            channel: 1,
            exchange,
            routing_key,
            properties: &properties,
            raw_properties: &raw_properties,
            body,
            replies_to: None,
        };
        self.session.publish(publish, Some(ticket)).unwrap()
    }

    /// Takes the next message, to be settled.
    pub(crate) fn get(&mut self, queue: &str) -> Option<Got> {
        let got = self.get_unfinished(queue);
        self.session.finish();
        got
    }

    /// As [`get`](Self::get), with more to come in the same turn.
    pub(crate) fn get_unfinished(&mut self, queue: &str) -> Option<Got> {
        let fetched = self.session.get(1, queue, false).unwrap()?;
        let message = &fetched.entry.message;
        Some(Got {
            body: String::from_utf8(message.body().to_vec()).unwrap(),
            redelivered: fetched.entry.redelivered,
            exchange: message.exchange().to_owned(),
            routing_key: message.routing_key().to_owned(),
            fetched,
            is_paged: false,
        })
    }

    pub(crate) fn ack(&mut self, got: Got) {
        self.settle(Settlement::Acknowledge, [got]);
    }

    pub(crate) fn reject(&mut self, got: Got) {
        self.settle(Settlement::Discard, [got]);
    }

    pub(crate) fn requeue(&mut self, got: Got) {
        self.settle(Settlement::Requeue(Return::Released), [got]);
    }

    /// Settles messages of one queue together.
    pub(crate) fn settle(&mut self, settlement: Settlement, got: impl IntoIterator<Item = Got>) {
        self.settle_unfinished(settlement, got);
        self.session.finish();
    }

    /// As [`settle`](Self::settle), with more to come in the same turn.
    pub(crate) fn settle_unfinished(
        &mut self,
        settlement: Settlement,
        got: impl IntoIterator<Item = Got>,
    ) {
        if let Some(mut group) = group(got) {
            self.session.settle(settlement, &mut group);
        }
    }

    /// Commits a transaction of settlements and publishes to queues by name.
    pub(crate) fn commit(
        &mut self,
        settlements: impl IntoIterator<Item = (Settlement, Got)>,
        publishes: &[(&str, &str)],
    ) -> Option<Lsn> {
        let mut groups: Vec<_> = settlements
            .into_iter()
            .map(|(settlement, got)| (settlement, group([got]).unwrap()))
            .collect();
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        let mut raw_properties = Vec::new();
        properties.encode(&mut raw_properties);
        let prepared: Vec<_> = publishes
            .iter()
            .map(|(queue, body)| {
                let publish = Publish {
                    channel: 1,
                    exchange: "",
                    routing_key: queue,
                    properties: &properties,
                    raw_properties: &raw_properties,
                    body: Body::Copy(body.as_bytes()),
                    replies_to: None,
                };
                self.session.prepare(publish).unwrap()
            })
            .collect();
        let commit = self.session.commit(prepared, &mut groups).unwrap();
        self.session.finish();
        commit
    }

    /// The bodies of all ready messages, which are taken out.
    pub(crate) fn drain(&mut self, queue: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        while let Some(got) = self.get(queue) {
            bodies.push(got.body.clone());
            self.ack(got);
        }
        bodies
    }

    /// Ready messages.
    pub(crate) fn ready(&self, queue: &str) -> u64 {
        self.session.vhost().queue(queue).unwrap().counts().ready
    }

    pub(crate) fn exists(&self, queue: &str) -> bool {
        self.session.vhost().queue(queue).is_some()
    }

    /// Waits until the journal is on disk up to here.
    pub(crate) fn wait(&self, lsn: Lsn) {
        let mut durable = std::pin::pin!(self.broker.store().durable(lsn));
        let mut context = Context::from_waker(Waker::noop());
        while durable.as_mut().poll(&mut context) == Poll::Pending {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

impl Got {
    pub(crate) fn entry(&self) -> &Entry {
        &self.fetched.entry
    }

    /// Its holder keeps it without its message, which the journal has.
    pub(crate) fn paged_out(mut self) -> Self {
        self.fetched.queue.deliveries_paged_out(1, self.entry().bytes());
        self.is_paged = true;
        self
    }

    /// The headers as Erlang prints them.
    pub(crate) fn headers(&self) -> TableBuf {
        let properties = self.entry().message.properties();
        let properties = Properties::parse(properties, &TableLimits::default()).unwrap();
        TableBuf::from(properties.headers.unwrap_or_default())
    }

    /// The deaths it tells of, as `queue reason count`, latest first.
    pub(crate) fn deaths(&self) -> Vec<String> {
        let headers = self.headers();
        let deaths = headers.as_table().get("x-death").and_then(|deaths| deaths.as_array());
        let one = |death: Value<'_>| {
            let death = death.as_table().unwrap();
            let text = |key| death.get(key).and_then(|value| value.as_str()).unwrap();
            let count = death.get("count").and_then(|count| count.as_integer()).unwrap();
            format!("{} {} {count}", text("queue"), text("reason"))
        };
        deaths.unwrap_or_default().iter().map(one).collect()
    }
}

fn group(got: impl IntoIterator<Item = Got>) -> Option<SettleGroup> {
    let mut queue = None;
    let mut entries = Vec::new();
    for got in got {
        queue = Some(got.fetched.queue);
        let entry = got.fetched.entry;
        entries.push(match got.is_paged {
            true => AnyEntry::Paged(PagedEntry::of(&entry, None)),
            false => entry.into(),
        });
    }
    Some(SettleGroup { queue: queue?, consumer: None, entries })
}

pub(crate) fn table(entries: &[(&str, Value<'_>)]) -> TableBuf {
    entries.iter().fold(TableBuilder::new(), |table, (key, value)| table.put(key, *value)).build()
}

/// Has `check` look at this many random histories. They follow from a seed, which is printed where
/// one fails; `LEVERET_SEED` has them made from that seed again.
pub(crate) fn histories<S: Strategy>(
    count: u32,
    history: S,
    check: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let given = std::env::var("LEVERET_SEED").ok();
    let random = || RandomState::new().build_hasher().finish();
    let seed = given.map_or_else(random, |seed| seed.parse().expect("a seed is a number"));
    println!("LEVERET_SEED={seed}");
    let config = ProptestConfig {
        cases: count,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if let Err(error) = TestRunner::new(config).run(&history, check) {
        panic!("{error}");
    }
}
