//! More messages than fit into memory: what is on disk only is as good as what is not.

use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use leveret_tests::codec::{Method, Properties, TableBuf, TableBuilder, Value, basic, queue};
use leveret_tests::{
    Answer, Api, Broker, Channel, Unconfirmed, ack, cancel, confirm_select, consume, declare,
    delete, eventually, get, nack, publish, purge, qos,
};

use crate::check;

/// The least there can be: a few hundred of the messages here.
const SETTINGS: &str = "management = \"127.0.0.1:0\"\n\
                        store.message_memory = \"1MiB\"\n\
                        store.transient_memory = \"4MiB\"\n\
                        store.segment_size = \"1MiB\"\n";
const BUDGET: u64 = 1 << 20;
const BODY: usize = 4096;

fn start() -> Option<Broker> {
    Broker::configured(SETTINGS, "needs little memory for messages")
}

fn body(number: usize) -> Vec<u8> {
    let mut body = format!("{number} ").into_bytes();
    body.resize(BODY, b'x');
    body
}

/// The number a message was published with; all of it is as it was published.
fn number(answer: &Answer) -> usize {
    let text = String::from_utf8_lossy(answer.body());
    let number = text.split(' ').next().unwrap().parse().unwrap();
    assert!(answer.body() == body(number), "{text}");
    number
}

fn is_redelivered(delivery: &Answer) -> bool {
    let Method::BasicDeliver(deliver) = delivery.method() else { panic!("{delivery}") };
    deliver.redelivered
}

/// A channel in confirm mode.
fn publisher(broker: &Broker) -> Channel {
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&confirm_select()), "confirm.select-ok");
    channel
}

fn arguments(arguments: &[(&str, Value<'_>)]) -> TableBuf {
    let builder = TableBuilder::new();
    arguments.iter().fold(builder, |table, (key, value)| table.put(key, *value)).build()
}

fn declare_with(channel: &Channel, name: &str, with: &[(&str, Value<'_>)]) {
    let arguments = arguments(with);
    let arguments = arguments.as_table();
    let queue = queue::Declare { durable: true, arguments, ..declare(name) };
    assert_eq!(channel.call(&queue), format!("queue.declare-ok {name} 0 0"));
}

/// Publishes messages with these numbers, persistent unless they say something else, and waits until all are confirmed.
fn fill_with<'a>(
    channel: &Channel,
    queue: &str,
    numbers: Range<usize>,
    properties: impl Fn(usize) -> Properties<'a>,
) {
    let mut unconfirmed = Unconfirmed::default();
    for number in numbers {
        unconfirmed.add();
        let properties = properties(number);
        let properties =
            Properties { delivery_mode: properties.delivery_mode.or(Some(2)), ..properties };
        channel.publish_with(&publish("", queue), &properties, &body(number));
        while unconfirmed.len() > 200 {
            unconfirmed.confirm(&channel.recv());
        }
    }
    while !unconfirmed.is_empty() {
        unconfirmed.confirm(&channel.recv());
    }
}

/// A fresh channel's work: the numbers of confirms start anew with each.
fn fill(broker: &Broker, queue: &str, numbers: Range<usize>) {
    fill_with(&publisher(broker), queue, numbers, |_| Properties::default());
}

/// Waits until no more than the budget is in memory, and of this queue so many messages at least
/// are not.
fn await_paged(broker: &Broker, queue: &str, least: u64) {
    await_paged_to(broker, queue, least, BUDGET);
}

fn await_paged_to(broker: &Broker, queue: &str, least: u64, budget: u64) {
    let api = Api::new(broker.management_address());
    eventually(|| {
        let queue = api.get(&format!("/queues/%2F/{queue}"));
        let count = |name: &str| queue[name].as_u64().unwrap();
        count("messages_ready") - count("messages_ready_ram") >= least
            && count("message_bytes_ram") <= budget
    });
}

/// Takes so many messages from a queue, and tells their numbers.
fn take(channel: &Channel, queue: &str, count: usize) -> Vec<usize> {
    let numbers = (0..count).map(|_| {
        let answer = channel.call(&basic::Get { no_ack: true, ..get(queue) });
        assert!(answer.starts_with("basic.get-ok "), "{answer}");
        number(&answer)
    });
    numbers.collect()
}

fn assert_empty(channel: &Channel, queue: &str) {
    assert_eq!(channel.call(&get(queue)), "basic.get-empty");
}

/// Transient messages, and persistent ones in a queue that is not durable.
#[test]
fn memory_stays_flat_with_messages_that_are_not_kept() {
    const COUNT: usize = 10_000;
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    declare_with(&channel, "mixed", &[("x-max-priority", Value::I32(2))]);
    assert_eq!(channel.call(&declare("own")), "queue.declare-ok own 0 0");
    let modes = |number: usize| Properties {
        delivery_mode: Some(if number.is_multiple_of(5) { 2 } else { 1 }),
        ..Properties::default()
    };
    fill_with(&publisher(&broker), "mixed", 0..2000, modes);
    await_paged_to(&broker, "mixed", 800, 4 * BUDGET);
    let before = broker.resident_memory();
    fill_with(&publisher(&broker), "mixed", 2000..COUNT, modes);
    fill(&broker, "own", 0..COUNT);
    // Four times the budget for both together.
    await_paged_to(&broker, "mixed", (COUNT - 1100) as u64, 4 * BUDGET);
    await_paged_to(&broker, "own", (COUNT - 1100) as u64, 4 * BUDGET);
    // Of 80 MB of bodies. The allocator keeps for a moment what was given back.
    eventually(|| broker.resident_memory().saturating_sub(before) < 24 << 20);
    let files = std::fs::read_dir(broker.data_dir()).unwrap().flatten();
    assert!(files.map(|file| file.file_name()).all(|name| name != "spill"));

    // Got, purged and consumed as from memory.
    assert_eq!(take(&channel, "own", 600), (0..600).collect::<Vec<_>>());
    assert_eq!(channel.call(&purge("own")), format!("queue.purge-ok {}", COUNT - 600));
    channel.call(&qos(100));
    assert_eq!(channel.call(&consume("mixed", "c")), "basic.consume-ok c");
    for expected in 0..COUNT {
        let delivery = channel.recv();
        assert_eq!((number(&delivery), is_redelivered(&delivery)), (expected, false));
        if expected % 50 == 49 {
            channel.send(&basic::Ack { multiple: true, ..ack(delivery.delivery_tag()) });
        }
    }
    channel.call(&cancel("c"));
    assert_empty(&channel, "mixed");
}

/// What files without a name take on the disk.
fn nameless_bytes(broker: &Broker) -> u64 {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap();
    let nameless = descriptors.flatten().map(|entry| entry.path()).filter(|descriptor| {
        std::fs::read_link(descriptor).is_ok_and(|to| to.to_string_lossy().ends_with(" (deleted)"))
    });
    nameless.filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.blocks() * 512).sum()
}

/// Transient ones, which lie between others in the same files.
#[test]
fn a_few_old_messages_do_not_keep_the_space_of_those_that_went() {
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    let transient = |_: usize| Properties { delivery_mode: Some(1), ..Properties::default() };
    for queue in ["fast", "old"] {
        declare_with(&channel, queue, &[]);
    }
    for at in 0..10 {
        fill_with(&publisher(&broker), "old", at..at + 1, transient);
        fill_with(&publisher(&broker), "fast", at * 1000..(at + 1) * 1000, transient);
    }
    await_paged_to(&broker, "fast", 9000, 4 * BUDGET);
    await_paged_to(&broker, "old", 1, 4 * BUDGET);
    assert!(nameless_bytes(&broker) > 9000 * BODY as u64);
    assert_eq!(channel.call(&purge("fast")), "queue.purge-ok 10000");
    eventually(|| nameless_bytes(&broker) < 1 << 20);
    assert_eq!(take(&channel, "old", 10), (0..10).collect::<Vec<_>>());
}

#[test]
fn memory_stays_flat_while_a_deep_backlog_is_built_and_consumed() {
    const COUNT: usize = 16_000;
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    declare_with(&channel, "q", &[]);
    fill(&broker, "q", 0..500);
    await_paged(&broker, "q", 200);
    let before = broker.resident_memory();
    fill(&broker, "q", 500..COUNT);
    await_paged(&broker, "q", (COUNT - 300) as u64);
    let filled = broker.resident_memory();
    channel.call(&qos(100));
    assert_eq!(channel.call(&consume("q", "c")), "basic.consume-ok c");
    let mut most = 0;
    for expected in 0..COUNT {
        let delivery = channel.recv();
        assert!(!is_redelivered(&delivery), "{expected}");
        assert_eq!(number(&delivery), expected);
        if expected % 50 == 49 {
            channel.send(&basic::Ack { multiple: true, ..ack(delivery.delivery_tag()) });
        }
        if expected % 1000 == 0 {
            most = most.max(broker.resident_memory());
        }
    }
    let backlog = COUNT * BODY;
    let grown = (filled.saturating_sub(before), most.saturating_sub(before));
    assert!(grown.0.max(grown.1) < backlog / 2, "{grown:?} of {backlog}");
}

#[test]
fn a_long_stream_is_read_from_its_first_message_with_flat_memory() {
    const COUNT: usize = 12_000;
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    declare_with(&channel, "s", &[("x-queue-type", Value::text("stream"))]);
    fill(&broker, "s", 0..500);
    await_paged(&broker, "s", 200);
    let before = broker.resident_memory();
    fill(&broker, "s", 500..COUNT);
    await_paged(&broker, "s", (COUNT - 300) as u64);
    let first = arguments(&[("x-stream-offset", Value::text("first"))]);
    for tag in ["one", "two"] {
        let channel = broker.connect().channel(1);
        channel.call(&qos(100));
        let from = basic::Consume { arguments: first.as_table(), ..consume("s", tag) };
        assert_eq!(channel.call(&from), format!("basic.consume-ok {tag}"));
        for expected in 0..COUNT {
            let delivery = channel.recv();
            assert_eq!(number(&delivery), expected);
            if expected % 50 == 49 {
                channel.send(&basic::Ack { multiple: true, ..ack(delivery.delivery_tag()) });
            }
        }
        await_paged(&broker, "s", (COUNT - 300) as u64);
    }
    let grown = broker.resident_memory().saturating_sub(before);
    let all = COUNT * BODY;
    assert!(grown < all / 2, "{grown} of {all}");
}

#[test]
fn priorities_hold_for_what_is_on_disk() {
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    declare_with(&channel, "q", &[("x-max-priority", Value::I32(3))]);
    let priority = |number: usize| u8::try_from(number % 4).unwrap();
    fill_with(&publisher(&broker), "q", 0..2000, |number| Properties {
        priority: Some(priority(number)),
        ..Properties::default()
    });
    await_paged(&broker, "q", 1500);
    let mut expected: Vec<usize> = (0..2000).collect();
    expected.sort_by_key(|number| (3 - priority(*number), *number));
    // What comes last is the first to be delivered.
    fill_with(&publisher(&broker), "q", 2000..2001, |_| Properties {
        priority: Some(3),
        ..Properties::default()
    });
    expected.insert(500, 2000);
    assert_eq!(take(&channel, "q", 1200), expected[..1200]);
    channel.call(&consume("q", "c"));
    let rest: Vec<usize> = channel.recv_many(801).iter().map(number).collect();
    assert_eq!(rest, expected[1200..]);
}

#[test]
fn what_expires_on_disk_is_dead_lettered_in_order_with_all_its_deaths() {
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    let to =
        |queue| [("x-dead-letter-exchange", Value::text("")), ("x-dead-letter-routing-key", queue)];
    let [exchange, key] = to(Value::text("second"));
    declare_with(&channel, "first", &[exchange, key, ("x-message-ttl", Value::I32(1500))]);
    let [exchange, key] = to(Value::text("last"));
    declare_with(&channel, "second", &[exchange, key, ("x-message-ttl", Value::I32(1000))]);
    declare_with(&channel, "last", &[]);
    fill(&broker, "first", 0..1500);
    let api = Api::new(broker.management_address());
    eventually(|| api.get("/queues/%2F/last")["messages"] == 1500);
    await_paged(&broker, "last", 1200);
    for expected in 0..1500 {
        let letter = channel.call(&basic::Get { no_ack: true, ..get("last") });
        assert_eq!(number(&letter), expected);
        let headers = letter.properties().headers.unwrap();
        let deaths = headers.get("x-death").and_then(|deaths| deaths.as_array()).unwrap();
        let deaths: Vec<_> = deaths
            .iter()
            .map(|death| {
                let death = death.as_table().unwrap();
                let text = |key| death.get(key).and_then(|value| value.as_str()).unwrap();
                assert!(matches!(death.get("count"), Some(Value::I64(1))));
                (text("queue").to_owned(), text("reason").to_owned())
            })
            .collect();
        let expired = |queue: &str| (queue.to_owned(), "expired".to_owned());
        assert_eq!(deaths, [expired("second"), expired("first")]);
    }
    assert_empty(&channel, "last");
}

/// The queue `q`, and `dead`, to which its dead letters go.
fn declare_with_dead_letters(channel: &Channel) {
    let arguments = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    declare_with(channel, "q", &arguments);
    declare_with(channel, "dead", &[]);
}

#[test]
fn only_what_is_mortal_on_a_page_dies() {
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    declare_with_dead_letters(&channel);
    let is_mortal = |number: &usize| number % 7 == 3;
    fill_with(&publisher(&broker), "q", 0..1400, |number| Properties {
        expiration: is_mortal(&number).then_some(b"500"),
        ..Properties::default()
    });
    let api = Api::new(broker.management_address());
    eventually(|| api.get("/queues/%2F/dead")["messages"] == 200);
    // Those that have expired together may go in any order.
    let mut dead = take(&channel, "dead", 200);
    dead.sort_unstable();
    assert!(dead.into_iter().eq((0..1400).filter(is_mortal)));
    let alive: Vec<usize> = (0..1400).filter(|number| !is_mortal(number)).collect();
    assert_eq!(take(&channel, "q", 1200), alive);
    assert_empty(&channel, "q");
}

#[test]
fn purge_and_delete_count_what_is_on_disk() {
    let Some(mut broker) = start() else { return };
    let channel = broker.connect().channel(1);
    for name in ["purged", "deleted"] {
        declare_with(&channel, name, &[]);
        fill(&broker, name, 0..1000);
        await_paged(&broker, name, 700);
    }
    check(
        &channel,
        &[
            (&purge("purged"), "queue.purge-ok 1000"),
            (&delete("deleted"), "queue.delete-ok 1000"),
            (&purge("purged"), "queue.purge-ok 0"),
        ],
    );
    fill(&broker, "purged", 5..6);
    broker.kill9();
    broker.restart();
    let channel = broker.connect().channel(1);
    declare_with(&channel, "deleted", &[]);
    assert_eq!(take(&channel, "purged", 1), [5]);
    assert_empty(&channel, "purged");
}

#[test]
fn what_is_given_back_stands_before_what_is_on_disk() {
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    declare_with_dead_letters(&channel);
    fill(&broker, "q", 0..2000);
    await_paged(&broker, "q", 1700);
    channel.call(&qos(400));
    channel.call(&consume("q", "c"));
    let held = channel.recv_many(400);
    assert!(held.iter().map(number).eq(0..400));
    assert_eq!(channel.call(&cancel("c")), "basic.cancel-ok c");
    await_paged(&broker, "q", 1200);
    // Of the first hundred every second is rejected for good, the rest comes back.
    for delivery in held.iter().take(100).step_by(2) {
        channel.send(&basic::Nack { requeue: false, ..nack(delivery.delivery_tag()) });
    }
    channel.connection().shut_down_writing();
    let other = broker.connect().channel(1);
    let expected = (1..100).step_by(2).chain(100..2000);
    let api = Api::new(broker.management_address());
    eventually(|| api.get("/queues/%2F/q")["messages_ready"] == 1950);
    other.call(&consume("q", "c"));
    for (delivery, expected) in other.recv_many(1950).iter().zip(expected) {
        assert_eq!(number(delivery), expected);
        assert_eq!(is_redelivered(delivery), expected < 400, "{expected}");
    }
    assert!(take(&other, "dead", 50).into_iter().eq((0..100).step_by(2)));
}

#[test]
fn a_quorum_queue_keeps_its_counts_of_what_is_on_disk() {
    let Some(mut broker) = start() else { return };
    let channel = broker.connect().channel(1);
    declare_with(&channel, "q", &[("x-queue-type", Value::text("quorum"))]);
    fill(&broker, "q", 0..50);
    for _ in 0..3 {
        for expected in 0..50 {
            assert_eq!(number(&channel.call(&get("q"))), expected);
        }
        channel.send(&basic::Nack { delivery_tag: 0, multiple: true, ..nack(0) });
    }
    // The channel's work is done once it answers.
    assert!(channel.call(&qos(0)).starts_with("basic.qos-ok"));
    assert!(broker.terminate().status.success());
    broker.restart();
    fill(&broker, "q", 50..1500);
    await_paged(&broker, "q", 1200);
    let channel = broker.connect().channel(1);
    channel.call(&qos(1000));
    channel.call(&consume("q", "c"));
    for expected in 0..1500 {
        let delivery = channel.recv();
        assert_eq!(number(&delivery), expected);
        let count = delivery.properties().headers.and_then(|headers| {
            let Some(Value::I64(count)) = headers.get("x-delivery-count") else { return None };
            Some(count)
        });
        let is_returned = expected < 50;
        assert_eq!(count, is_returned.then_some(3), "{expected}");
        assert_eq!(is_redelivered(&delivery), is_returned, "{expected}");
        channel.send(&ack(delivery.delivery_tag()));
    }
}

#[test]
fn nothing_confirmed_is_lost_when_the_process_is_killed_while_messages_are_on_disk() {
    let Some(mut broker) = start() else { return };
    let channel = broker.connect().channel(1);
    declare_with(&channel, "q", &[]);
    declare_with(&channel, "other", &[]);
    for round in 0..4 {
        fill(&broker, "q", 1000 * round..1000 * (round + 1));
        await_paged(&broker, "q", 700);
        let channel = broker.connect().channel(1);
        channel.call(&qos(100));
        channel.call(&consume("q", "c"));
        let held = channel.recv_many(100);
        // In all that was there before a round all may have been seen, as far as the broker knows.
        for (delivery, expected) in held.iter().zip(100 * round..) {
            assert_eq!(number(delivery), expected);
            assert_eq!(is_redelivered(delivery), round > 0, "{expected}");
        }
        let last = held.last().unwrap().delivery_tag();
        channel.send(&basic::Ack { multiple: true, ..ack(last) });
        channel.send(&qos(100));
        while channel.recv() != "basic.qos-ok" {}
        // Settlements are written with what comes next.
        fill(&broker, "other", 0..1);
        drop(channel);
        broker.kill9();
        broker.restart();
    }
    let channel = broker.connect().channel(1);
    let mut left = Vec::new();
    loop {
        let answer = channel.call(&basic::Get { no_ack: true, ..get("q") });
        if answer == "basic.get-empty" {
            break;
        }
        left.push(number(&answer));
    }
    assert!(left.into_iter().eq(400..4000));
}

#[test]
fn many_shallow_queues_share_the_memory() {
    const QUEUES: usize = 200;
    const DEPTH: usize = 80;
    /// How many of those in each queue are there before the memory is measured.
    const FIRST: usize = 10;
    let Some(broker) = start() else { return };
    let channel = broker.connect().channel(1);
    let name = |queue: usize| format!("q{queue}");
    for queue in 0..QUEUES {
        declare_with(&channel, &name(queue), &[]);
    }
    let publisher = publisher(&broker);
    let api = Api::new(broker.management_address());
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let mut unconfirmed = Unconfirmed::default();
    let mut publish_to_all = |depths: Range<usize>| {
        for number in depths.start * QUEUES..depths.end * QUEUES {
            unconfirmed.add();
            let queue = name(number % QUEUES);
            publisher.publish_with(&publish("", &queue), &properties, &body(number));
            while unconfirmed.len() > 200 {
                unconfirmed.confirm(&publisher.recv());
            }
        }
        while !unconfirmed.is_empty() {
            unconfirmed.confirm(&publisher.recv());
        }
        eventually(|| {
            let queues = api.get("/queues");
            let bytes = queues.as_array().unwrap().iter().map(|q| q["message_bytes_ram"].as_u64());
            bytes.map(Option::unwrap).sum::<u64>() <= BUDGET
        });
    };
    publish_to_all(0..FIRST);
    let before = broker.resident_memory();
    publish_to_all(FIRST..DEPTH);
    let grown = broker.resident_memory().saturating_sub(before);
    let came = (DEPTH - FIRST) * QUEUES * BODY;
    assert!(grown < came / 2, "{grown} for {came}");
    // Half of them are consumed at once, the others one after the other.
    let (at_once, in_turn) = (0..QUEUES / 2, QUEUES / 2..QUEUES);
    for queue in at_once.clone() {
        let queue = name(queue);
        channel.send(&basic::Consume { nowait: true, ..consume(&queue, &queue) });
    }
    let mut next: Vec<usize> = at_once.clone().collect();
    for delivery in channel.recv_many(at_once.len() * DEPTH) {
        let number = number(&delivery);
        let queue = number % QUEUES;
        let expected = next.get_mut(queue).unwrap();
        assert!(delivery.starts_with(&format!("basic.deliver {} ", name(queue))), "{number}");
        assert_eq!(number, *expected);
        *expected += QUEUES;
    }
    for queue in in_turn {
        let numbers = take(&channel, &name(queue), DEPTH);
        assert!(numbers.into_iter().eq((0..DEPTH).map(|round| round * QUEUES + queue)));
    }
}

/// What the broker has in memory of a queue's messages.
fn in_memory(api: &Api, queue: &str) -> u64 {
    api.get(&format!("/queues/%2F/{queue}"))["message_bytes_ram"].as_u64().unwrap()
}

/// Persistent messages of durable queues come back from the journal, all others from where they were
/// spilled.
#[test]
fn memory_stays_flat_while_a_consumer_acknowledges_nothing() {
    const COUNT: usize = 6000;
    let Some(broker) = start() else { return };
    let api = Api::new(broker.management_address());
    let channel = broker.connect().channel(1);
    let exchange = ("x-dead-letter-exchange", Value::text(""));
    let key = ("x-dead-letter-routing-key", Value::text("dead"));
    for (queue, kind) in [("classic", "classic"), ("quorum", "quorum"), ("mixed", "classic")] {
        declare_with(&channel, queue, &[exchange, key, ("x-queue-type", Value::text(kind))]);
    }
    declare_with(&channel, "dead", &[]);
    for (queue, modes, budget) in
        [("classic", [2, 2], BUDGET), ("quorum", [2, 2], BUDGET), ("mixed", [1, 2], 4 * BUDGET)]
    {
        let consumer = broker.connect().channel(1);
        assert_eq!(consumer.call(&consume(queue, "c")), "basic.consume-ok c");
        let mode = |number: usize| Properties {
            delivery_mode: Some(modes[number % 2]),
            ..Properties::default()
        };
        fill_with(&publisher(&broker), queue, 0..COUNT, mode);
        for expected in 0..COUNT {
            let delivery = consumer.recv();
            assert_eq!((number(&delivery), is_redelivered(&delivery)), (expected, false));
        }
        let status = || api.get(&format!("/queues/%2F/{queue}"));
        eventually(|| in_memory(&api, queue) <= budget);
        assert_eq!(status()["messages_unacknowledged"], COUNT);
        assert_eq!(status()["message_bytes_unacknowledged"], COUNT * BODY);
        assert!(status()["messages_unacknowledged_ram"].as_u64().unwrap() <= budget / BODY as u64);
        // Some in the middle are settled, one of them twice.
        consumer.send(&ack(3000));
        consumer.send(&basic::Nack { requeue: false, ..nack(3001) });
        consumer.send(&basic::Nack { requeue: true, ..nack(4001) });
        let again = consumer.recv();
        assert_eq!((number(&again), is_redelivered(&again)), (4000, true));
        assert_eq!(again.delivery_tag(), COUNT as u64 + 1);
        consumer.connection().shut_down_writing();
        eventually(|| status()["messages_ready"] == COUNT - 2);
        eventually(|| in_memory(&api, queue) <= budget);
        let other = broker.connect().channel(1);
        other.call(&qos(100));
        assert_eq!(other.call(&consume(queue, "c")), "basic.consume-ok c");
        for expected in (0..COUNT).filter(|number| ![2999, 3000].contains(number)) {
            let delivery = other.recv();
            assert_eq!((number(&delivery), is_redelivered(&delivery)), (expected, true));
            if expected % 50 == 49 {
                other.send(&basic::Ack { multiple: true, ..ack(delivery.delivery_tag()) });
            }
        }
        other.send(&basic::Ack { multiple: true, ..ack(0) });
        eventually(|| status()["messages"] == 0 && in_memory(&api, queue) == 0);
        assert_eq!(take(&channel, "dead", 1), [3000]);
        assert_empty(&channel, "dead");
    }
}

/// Some are paged out while they wait, some have been before.
#[test]
fn memory_stays_flat_while_messages_wait_to_be_tried_again() {
    const COUNT: usize = 4000;
    let Some(mut broker) = start() else { return };
    let channel = broker.connect().channel(1);
    for (queue, delay) in [("waits", 3_600_000), ("back", 200)] {
        let arguments = [
            ("x-queue-type", Value::text("quorum")),
            ("x-delayed-retry-type", Value::text("all")),
            ("x-delayed-retry-min", Value::I32(delay)),
        ];
        declare_with(&channel, queue, &arguments);
        fill(&broker, queue, 0..COUNT);
    }
    let api = Api::new(broker.management_address());
    let all = COUNT as u64;
    let counts = |api: &Api, queue: &str| {
        let status = api.get(&format!("/queues/%2F/{queue}"));
        ["messages_ready", "messages_unacknowledged", "messages_delayed", "messages"]
            .map(|count| status[count].as_u64().unwrap())
    };

    // Each goes back as it comes.
    channel.call(&consume("waits", "c"));
    for expected in 0..COUNT {
        let delivery = channel.recv();
        assert_eq!((number(&delivery), is_redelivered(&delivery)), (expected, false));
        channel.send(&nack(delivery.delivery_tag()));
    }
    eventually(|| counts(&api, "waits") == [0, 0, all, all]);
    eventually(|| in_memory(&api, "waits") <= BUDGET);

    // All go back at once.
    let other = broker.connect().channel(1);
    other.call(&consume("back", "c"));
    for expected in 0..COUNT {
        assert_eq!(number(&other.recv()), expected);
    }
    eventually(|| in_memory(&api, "back") <= BUDGET);
    other.send(&basic::Nack { multiple: true, ..nack(0) });
    for expected in 0..COUNT {
        let delivery = other.recv();
        assert_eq!((number(&delivery), is_redelivered(&delivery)), (expected, true));
    }
    other.send(&basic::Ack { multiple: true, ..ack(0) });
    eventually(|| counts(&api, "back") == [0; 4]);

    assert!(broker.terminate().status.success());
    broker.restart();
    let api = Api::new(broker.management_address());
    assert!(in_memory(&api, "waits") <= BUDGET);
    assert_eq!(counts(&api, "waits"), [0, 0, all, all]);
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&purge("waits")), format!("queue.purge-ok {COUNT}"));
    assert_eq!(counts(&api, "waits"), [0; 4]);
}

#[test]
fn memory_stays_flat_while_nobody_takes_dead_letters() {
    const COUNT: usize = 3000;
    let Some(mut broker) = start() else { return };
    let channel = broker.connect().channel(1);
    let careful = [
        ("x-queue-type", Value::text("quorum")),
        ("x-dead-letter-strategy", Value::text("at-least-once")),
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
        ("x-overflow", Value::text("reject-publish")),
    ];
    declare_with(&channel, "careful", &careful);
    fill(&broker, "careful", 0..COUNT);
    channel.call(&consume("careful", "c"));
    for expected in 0..COUNT {
        let delivery = channel.recv();
        assert_eq!(number(&delivery), expected);
        channel.send(&basic::Nack { requeue: false, ..nack(delivery.delivery_tag()) });
    }
    let api = Api::new(broker.management_address());
    let kept = |api: &Api, name: &str| api.get("/queues/%2F/careful")[name].as_u64().unwrap();
    eventually(|| kept(&api, "messages_dlx") == COUNT as u64);
    eventually(|| in_memory(&api, "careful") <= BUDGET);
    assert_eq!(kept(&api, "message_bytes_dlx"), (COUNT * BODY) as u64);
    assert!(broker.terminate().status.success());
    broker.restart();

    let api = Api::new(broker.management_address());
    assert_eq!(kept(&api, "messages_dlx"), COUNT as u64);
    eventually(|| in_memory(&api, "careful") <= BUDGET);
    let channel = broker.connect().channel(1);
    declare_with(&channel, "dead", &[]);
    eventually(|| kept(&api, "messages") == 0);
    await_paged(&broker, "dead", (COUNT - 300) as u64);
    // Of those being tried right then, some find the queue sooner than others that died before.
    let mut taken = take(&channel, "dead", COUNT);
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..COUNT));
    assert_empty(&channel, "dead");
}
