//! Random histories of queues that dead-letter into each other, compared with a model that keeps
//! plain lists: where every message is, in which order, and what it tells of its deaths.

mod compare;
mod model;

use std::collections::BTreeSet;
use std::sync::Arc;

use leveret_broker::{DeathsByReason, DeleteIf, Outcome, Settlement, Staged};
use leveret_codec::{ArrayBuilder, Properties, Table, TableBuf, TableBuilder, Value};
use leveret_engine::{DestinationName, Return, Routable, RouteSet};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use self::compare::{compare, forged};
use self::model::{Delay, Mail, Model, Overflow, Slot, Spec};
use crate::world::{Got, START, World, histories};

const QUEUES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// A direct exchange and a fanout, which come and go.
const EXCHANGES: [&str; 2] = ["dir", "fan"];
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "k"];

#[derive(Clone, Debug)]
enum Step {
    Publish {
        exchange: &'static str,
        key: &'static str,
        priority: Option<u8>,
        expiration: Option<u64>,
        cc: Option<&'static str>,
        bcc: Option<&'static str>,
        is_forged: bool,
    },
    /// Takes a message from a queue and keeps it.
    Get(&'static str),
    /// Settles one that is kept.
    Settle(Settlement, Index),
    /// Settles all that are kept of the same queue.
    SettleAll(Settlement, Index),
    Pass(u64),
    Purge(&'static str),
    Delete(&'static str),
    /// Declares a queue that isn't there.
    Declare(&'static str, Spec),
    DeclareExchange(&'static str),
    DeleteExchange(&'static str),
    /// Binds a queue to the direct exchange by a key, or to the fanout by none.
    Bind(&'static str, Option<&'static str>),
    Unbind(&'static str, Option<&'static str>),
    Restart,
}

fn settlement() -> impl Strategy<Value = Settlement> {
    select(vec![
        Settlement::Acknowledge,
        Settlement::Discard,
        Settlement::Discard,
        Settlement::Requeue(Return::Released),
        Settlement::Requeue(Return::Failed),
    ])
}

fn queue() -> impl Strategy<Value = &'static str> {
    select(&QUEUES[..])
}

fn key() -> impl Strategy<Value = &'static str> {
    select(&KEYS[..])
}

/// Of messages that expire at the same moment, it is left open which is first. So messages with
/// priorities don't meet a queue's time to live, and others have odd times to live for themselves
/// where queues have even ones.
fn spec(has_priorities: bool) -> impl Strategy<Value = Spec> {
    let exchange = select(vec!["", "", "dir", "fan", "nowhere"]);
    let dead_letters = option::weighted(0.85, (exchange, option::weighted(0.7, key())));
    let overflow = select(vec![
        Overflow::DropHead,
        Overflow::DropHead,
        Overflow::RejectPublish,
        Overflow::RejectPublishDlx,
    ]);
    let only = select(vec![None, Some(Return::Released), Some(Return::Failed)]);
    let delay = (only, 1..15_u64, 1..30_u64);
    let delay = delay.prop_map(|(only, min, max)| Delay { only, min, max });
    (
        any::<bool>(),
        dead_letters,
        option::weighted(0.3, (0..10_u64).prop_map(|ttl| 2 * ttl)),
        (option::weighted(0.3, 0..4_u64), option::weighted(0.1, 0..30_u64), overflow),
        option::weighted(0.3, 1..4_u8),
        (option::weighted(0.6, 0..3_u32), option::weighted(0.3, delay)),
    )
        .prop_map(
            move |(is_quorum, dead_letters, ttl, length, max_priority, (limit, delay))| {
                let (max_length, max_bytes, overflow) = length;
                Spec {
                    is_quorum,
                    dead_letter_exchange: dead_letters.map(|(exchange, _)| exchange),
                    dead_letter_key: dead_letters.and_then(|(_, key)| key),
                    ttl: ttl.filter(|_| !has_priorities),
                    max_length,
                    max_bytes,
                    overflow,
                    max_priority: max_priority.filter(|_| has_priorities && !is_quorum),
                    delivery_limit: limit.filter(|_| is_quorum),
                    delay: delay.filter(|_| is_quorum),
                }
            },
        )
}

fn step(has_priorities: bool) -> impl Strategy<Value = Step> {
    let publish = (
        select(vec!["", "", "dir", "fan"]),
        key(),
        option::weighted(0.7, 0..8_u8),
        option::weighted(0.3, (0..12_u64).prop_map(|time| 2 * time + 1)),
        option::weighted(0.15, key()),
        option::weighted(0.15, key()),
        prop::bool::weighted(0.1),
    );
    let binding = || (queue(), option::of(key()));
    prop_oneof![
        24 => publish.prop_map(move |(exchange, key, priority, expiration, cc, bcc, is_forged)| {
            let priority = priority.filter(|_| has_priorities);
            Step::Publish { exchange, key, priority, expiration, cc, bcc, is_forged }
        }),
        16 => queue().prop_map(Step::Get),
        12 => (settlement(), any::<Index>()).prop_map(|(how, index)| Step::Settle(how, index)),
        4 => (settlement(), any::<Index>()).prop_map(|(how, index)| Step::SettleAll(how, index)),
        12 => (1..6_u64).prop_map(|time| Step::Pass(2 * time)),
        1 => queue().prop_map(Step::Purge),
        1 => queue().prop_map(Step::Delete),
        2 => (queue(), spec(has_priorities)).prop_map(|(queue, spec)| Step::Declare(queue, spec)),
        1 => select(&EXCHANGES[..]).prop_map(Step::DeclareExchange),
        1 => select(&EXCHANGES[..]).prop_map(Step::DeleteExchange),
        4 => binding().prop_map(|(queue, key)| Step::Bind(queue, key)),
        1 => binding().prop_map(|(queue, key)| Step::Unbind(queue, key)),
        1 => Just(Step::Restart),
    ]
}

/// All queues and a history, with or without priorities.
fn history() -> impl Strategy<Value = (Vec<Spec>, Vec<Step>)> {
    any::<bool>().prop_flat_map(|has_priorities| {
        let specs = vec(spec(has_priorities), QUEUES.len());
        (specs, vec(step(has_priorities), 1..90))
    })
}

/// A message that is kept, and the number of the queue it is from.
struct Held {
    number: u64,
    queue: &'static str,
    slot: Slot,
    got: Got,
}

/// The broker, its model, and what consumers keep.
struct Pair {
    world: Option<World>,
    model: Model,
    held: Vec<Held>,
    published: u64,
}

impl Pair {
    fn new(specs: &[Spec]) -> Self {
        let model = Model::new(START);
        let mut pair = Self { world: Some(World::new()), model, held: Vec::new(), published: 0 };
        EXCHANGES.into_iter().for_each(|exchange| pair.declare_exchange(exchange));
        for (queue, spec) in QUEUES.into_iter().zip(specs) {
            pair.declare(queue, spec.clone());
        }
        // What a good part of what dies is routed by.
        for (queue, key) in [("a", Some("b")), ("b", Some("c")), ("c", None), ("d", None)] {
            pair.bind(queue, key);
        }
        pair
    }

    fn world(&mut self) -> &mut World {
        self.world.as_mut().unwrap()
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step.clone() {
            Step::Publish { exchange, key, priority, expiration, cc, bcc, is_forged } => {
                if exchange.is_empty() || self.model.exchanges.contains(exchange) {
                    self.published += 1;
                    let expiration = expiration.map(|expiration| self.unique(expiration));
                    let mail = Mail {
                        body: format!("m{}", self.published),
                        exchange,
                        key,
                        priority,
                        expiration,
                        cc,
                        bcc,
                        is_forged,
                        is_rerouted: false,
                        deaths: Vec::new(),
                        first: None,
                        last: None,
                    };
                    self.publish(mail)?;
                }
            }
            Step::Get(queue) => self.get(queue)?,
            Step::Settle(how, index) if !self.held.is_empty() => {
                let at = index.index(self.held.len());
                let held = self.held.remove(at);
                self.settle(how, vec![held]);
            }
            Step::SettleAll(how, index) if !self.held.is_empty() => {
                let number = self.held[index.index(self.held.len())].number;
                let held = self.held.extract_if(.., |held| held.number == number).collect();
                self.settle(how, held);
            }
            Step::Settle(..) | Step::SettleAll(..) => {}
            Step::Pass(ms) => {
                for _ in 0..ms {
                    self.world().pass(1);
                    let Self { world, model, .. } = self;
                    let order = ordered(world.as_ref().unwrap());
                    model.tick(&order);
                }
            }
            Step::Purge(queue) if self.model.queue(queue).is_some() => {
                let purged = self.world().session.purge_queue(queue).unwrap();
                self.world().session.finish();
                prop_assert_eq!(purged, self.model.purge(queue));
            }
            Step::Purge(_) => {}
            Step::Delete(queue) => {
                self.world().session.delete_queue(queue, DeleteIf::default()).unwrap();
                self.world().session.finish();
                self.model.delete(queue);
            }
            Step::Declare(queue, spec) => {
                if self.model.queue(queue).is_none() {
                    self.declare(queue, spec);
                }
            }
            Step::DeclareExchange(exchange) => self.declare_exchange(exchange),
            Step::DeleteExchange(exchange) => {
                self.world().session.delete_exchange(exchange, false).unwrap();
                self.model.exchanges.remove(exchange);
                self.model.bindings.retain(|(source, ..)| *source != exchange);
            }
            Step::Bind(queue, key) => self.bind(queue, key),
            Step::Unbind(queue, key) => {
                let (exchange, key) = key.map_or(("fan", ""), |key| ("dir", key));
                if self.model.bindings.remove(&(exchange, key, queue)) {
                    let queue = DestinationName::Queue(queue);
                    let world = self.world();
                    world.session.unbind(exchange, queue, key, Table::EMPTY).unwrap();
                }
            }
            Step::Restart => self.restart(),
        }
        self.check()
    }

    /// A time to live from this one on that ends when no other does.
    fn unique(&self, expiration: u64) -> u64 {
        let held = self.held.iter().map(|held| &held.slot);
        let deadlines: BTreeSet<_> =
            self.model.slots().chain(held).filter_map(Slot::deadline).collect();
        let is_free = |expiration: &u64| !deadlines.contains(&(self.model.now + expiration));
        (expiration..).step_by(2).find(is_free).unwrap()
    }

    fn declare(&mut self, name: &'static str, spec: Spec) {
        self.world().declare_as(leveret_broker::DeclareQueue {
            name,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: arguments(&spec).as_table(),
        });
        self.model.declare(name, spec);
    }

    fn declare_exchange(&mut self, exchange: &'static str) {
        if self.model.exchanges.insert(exchange) {
            let kind = if exchange == "fan" { "fanout" } else { "direct" };
            self.world().declare_exchange(exchange, kind);
        }
    }

    fn bind(&mut self, queue: &'static str, key: Option<&'static str>) {
        let (exchange, key) = key.map_or(("fan", ""), |key| ("dir", key));
        if self.model.exchanges.contains(exchange) && self.model.queue(queue).is_some() {
            self.world().bind(queue, exchange, key);
            self.model.bindings.insert((exchange, key, queue));
        }
    }

    fn publish(&mut self, mail: Mail) -> Result<(), TestCaseError> {
        let cc = mail.cc.map(|key| ArrayBuilder::new().push(key).build());
        let bcc = mail.bcc.map(|key| ArrayBuilder::new().push(key).build());
        let mut headers = TableBuilder::new();
        for (name, keys) in [("CC", &cc), ("BCC", &bcc)] {
            if let Some(keys) = keys {
                headers = headers.put(name, keys.as_array());
            }
        }
        if mail.is_forged {
            headers = forged(headers);
        }
        let headers = headers.build();
        let expiration = mail.expiration.map(|expiration| expiration.to_string());
        let properties = Properties {
            headers: (!headers.as_table().is_empty()).then(|| headers.as_table()),
            priority: mail.priority,
            expiration: expiration.as_ref().map(String::as_bytes),
            ..Properties::default()
        };
        let body = mail.body.clone();
        let (exchange, key) = (mail.exchange, mail.key);
        let Self { world, model, .. } = self;
        let world = world.as_mut().unwrap();
        let is_routed = !model.route(exchange, &mail.keys()).is_empty();
        let is_taken = model.publish(mail, &ordered(world));
        let staged = world.offer(exchange, key, properties, &body);
        prop_assert_eq!(staged == Staged::Routed, is_routed);
        let outcome = world.confirmation();
        prop_assert_eq!(outcome != Outcome::Refused, is_taken);
        Ok(())
    }

    fn get(&mut self, queue: &'static str) -> Result<(), TestCaseError> {
        if self.model.queue(queue).is_none() {
            return Ok(());
        }
        let got = self.world().get(queue);
        let slot = self.model.get(queue);
        prop_assert_eq!(got.is_some(), slot.is_some(), "of {}", queue);
        if let (Some(got), Some(slot)) = (got, slot) {
            compare(&got, &slot)?;
            let number = self.model.queue(queue).unwrap().number;
            self.held.push(Held { number, queue, slot, got });
        }
        Ok(())
    }

    /// Settles messages of one queue.
    fn settle(&mut self, how: Settlement, held: Vec<Held>) {
        let Some(&Held { number, queue, .. }) = held.first() else { return };
        let (slots, got): (Vec<_>, Vec<_>) =
            held.into_iter().map(|Held { slot, got, .. }| (slot, got)).unzip();
        self.world().settle(how, got);
        // It may have outlived its queue.
        if self.model.queue(queue).is_none_or(|queue| queue.number != number) {
            return;
        }
        let Self { world, model, .. } = self;
        let order = ordered(world.as_ref().unwrap());
        match how {
            Settlement::Acknowledge => model.acknowledge(queue, &order),
            Settlement::Discard => model.reject(queue, slots, &order),
            Settlement::Requeue(kind) => model.requeue(queue, slots, kind, &order),
        }
    }

    /// Gives back what is kept, as the end of its channels does, and restarts the broker.
    fn restart(&mut self) {
        while let Some(held) = self.held.first() {
            let number = held.number;
            let of_queue = self.held.extract_if(.., |held| held.number == number).collect();
            self.settle(Settlement::Requeue(Return::Failed), of_queue);
        }
        self.world = self.world.take().map(World::restart);
        // What it had counted is forgotten, and delays are ended by the first look.
        self.model.tally = model::Tally::default();
        self.world().pass(0);
    }

    /// Compares what can be seen from outside.
    fn check(&self) -> Result<(), TestCaseError> {
        let world = self.world.as_ref().unwrap();
        for queue in &self.model.queues {
            let counts = world.session.vhost().queue(queue.name).unwrap().counts();
            let held = self.held.iter().filter(|held| held.number == queue.number).count();
            prop_assert_eq!(
                (counts.ready, counts.unacked, counts.delayed),
                (queue.ready.len() as u64, held as u64, queue.delayed.len() as u64),
                "of {}",
                queue.name
            );
        }
        let counts = world.broker.dead_letter_counts();
        let by_reason = |deaths: DeathsByReason| {
            let DeathsByReason { rejected, expired, max_length, delivery_limit } = deaths;
            [rejected, expired, max_length, delivery_limit]
        };
        let tally = &self.model.tally;
        for (found, expected) in
            [(counts.dead_lettered, &tally.dead_lettered), (counts.discarded, &tally.discarded)]
        {
            let expected = ["rejected", "expired", "maxlen", "delivery_limit"]
                .map(|reason| expected.get(reason).copied().unwrap_or_default());
            prop_assert_eq!(by_reason(found), expected);
        }
        prop_assert_eq!((counts.unroutable, counts.kept), (tally.unroutable, 0));
        Ok(())
    }

    /// Takes everything out, in order.
    fn drain(&mut self) -> Result<(), TestCaseError> {
        for queue in QUEUES {
            while self.model.queue(queue).is_some_and(|queue| !queue.ready.is_empty()) {
                self.get(queue)?;
            }
            self.get(queue)?;
        }
        self.check()
    }
}

/// Asks the broker in which order it serves the queues a message goes to. Which they are has to be
/// as in the model.
fn ordered(
    world: &World,
) -> impl Fn(&'static str, &[&'static str], BTreeSet<&'static str>) -> Vec<&'static str> + use<> {
    let vhost = Arc::clone(world.session.vhost());
    move |exchange, keys, expected| {
        let mut routes = RouteSet::new();
        let properties = Properties::default();
        let message = Routable { keys, properties: &properties, drawn: 0 };
        vhost.topology(|topology| topology.route(exchange, message, &mut routes)).unwrap();
        let names = QUEUES.map(|name| (vhost.queue(name).map(|queue| queue.id()), name));
        let name = |id| names.iter().find(|(known, _)| *known == Some(id)).unwrap().1;
        let order: Vec<_> = routes.as_slice().iter().map(|id| name(*id)).collect();
        assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), expected);
        order
    }
}

fn arguments(spec: &Spec) -> TableBuf {
    let mut table = TableBuilder::new();
    let number = |number: u64| Value::I64(number.try_into().unwrap());
    if spec.is_quorum {
        table = table.put("x-queue-type", "quorum");
    }
    if let Some(exchange) = spec.dead_letter_exchange {
        table = table.put("x-dead-letter-exchange", exchange);
    }
    if let Some(key) = spec.dead_letter_key {
        table = table.put("x-dead-letter-routing-key", key);
    }
    let numbers = [
        ("x-message-ttl", spec.ttl),
        ("x-max-length", spec.max_length),
        ("x-max-length-bytes", spec.max_bytes),
        ("x-max-priority", spec.max_priority.map(u64::from)),
        ("x-delivery-limit", spec.delivery_limit.map(u64::from)),
        ("x-delayed-retry-min", spec.delay.map(|delay| delay.min)),
        ("x-delayed-retry-max", spec.delay.map(|delay| delay.max)),
    ];
    for (argument, value) in numbers {
        if let Some(value) = value {
            table = table.put(argument, number(value));
        }
    }
    if let Some(Delay { only, .. }) = spec.delay {
        let kind = match only {
            None => "all",
            Some(Return::Released) => "returned",
            Some(Return::Failed) => "failed",
        };
        table = table.put("x-delayed-retry-type", kind);
    }
    let overflow = match spec.overflow {
        Overflow::DropHead => "drop-head",
        Overflow::RejectPublish => "reject-publish",
        Overflow::RejectPublishDlx => "reject-publish-dlx",
    };
    table.put("x-overflow", overflow).build()
}

#[test]
fn random_histories_of_dead_letters_agree_with_the_model() {
    histories(2_000, history(), |(specs, steps)| {
        let mut pair = Pair::new(&specs);
        for step in &steps {
            pair.step(step)?;
        }
        pair.drain()
    });
}
