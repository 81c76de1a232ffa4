//! The exchange types beyond the protocol's four.

use std::collections::BTreeMap;

use leveret_tests::codec::{Properties, Value, exchange, queue};
use leveret_tests::{
    Broker, Channel, bind, bind_exchange, consume, declare, declare_exchange, delete,
    delete_exchange, passive, publish, table, unbind,
};

use crate::{bodies, check};

/// What RabbitMQ 4.3.6 answered to bad declarations and bindings.
#[test]
fn bad_arguments_and_keys_are_refused() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&declare_exchange("x", "fanout"));
    let both = [("hash-header", Value::text("a")), ("hash-property", Value::text("message_id"))];
    let unknown = [("hash-property", Value::text("foo"))];
    for (kind, arguments, text) in [
        ("x-consistent-hash", table(both), "hash-header and hash-property are mutually exclusive"),
        ("x-consistent-hash", table(unknown), "Unsupported property: foo"),
        (
            "x-recent-history",
            table([("x-recent-history-length", Value::text("a"))]),
            "Invalid argument <<\"a\">>, 'x-recent-history-length' must be a positive integer",
        ),
        (
            "x-recent-history",
            table([("x-recent-history-length", Value::I32(-1))]),
            "Invalid argument -1, 'x-recent-history-length' must be a positive integer",
        ),
        (
            "x-recent-history",
            table([("x-recent-history-length", Value::I32(10_001))]),
            "Invalid argument, 'x-recent-history-length' must be an integer not greater than 10000",
        ),
        (
            "x-delayed-message",
            table([]),
            "Invalid argument, 'x-delayed-type' must be an existing exchange type",
        ),
        (
            "x-delayed-message",
            table([("x-delayed-type", Value::text("x-delayed-message"))]),
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
        ),
        (
            "x-delayed-message",
            table([("x-delayed-type", Value::text("foo"))]),
            "invalid exchange type 'foo'",
        ),
        (
            "x-message-deduplication",
            table([]),
            "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0",
        ),
        (
            "x-message-deduplication",
            table([("x-cache-size", Value::I32(1)), ("x-cache-ttl", Value::I32(0))]),
            "Invalid argument, 'x-cache-ttl' must be an integer greater than 0",
        ),
        (
            "x-message-deduplication",
            table([("x-cache-size", Value::I32(1_000_001))]),
            "Invalid argument, 'x-cache-size' must be an integer not greater than 1000000",
        ),
        (
            "fanout",
            table([
                ("x-message-deduplication", Value::Bool(true)),
                ("x-cache-size", Value::I64(1 << 60)),
            ]),
            "Invalid argument, 'x-cache-size' must be an integer not greater than 1000000",
        ),
    ] {
        let arguments = arguments.as_table();
        let declare = exchange::Declare { arguments, ..declare_exchange("bad", kind) };
        let expected = format!("channel.close 406 exchange.declare PRECONDITION_FAILED - {text}");
        check(&channel, &[(&declare, &expected)]);
    }
    for (kind, key, text) in [
        ("x-consistent-hash", "abc", "The binding key must be an integer: <<\"abc\">>"),
        ("x-consistent-hash", "", "The binding key must be an integer: <<>>"),
        ("x-consistent-hash", "1.5", "The binding key must be an integer: <<\"1.5\">>"),
        ("x-consistent-hash", "0", "The binding key must be greater than 0"),
        ("x-consistent-hash", "-3", "The binding key must be greater than 0"),
        ("x-local-random", "k", "Non empty binding 'k' key not permitted"),
    ] {
        channel.call(&declare_exchange(kind, kind));
        let expected = format!("channel.close 406 queue.bind PRECONDITION_FAILED - {text}");
        check(&channel, &[(&bind("q", kind, key), &expected)]);
    }
    let expected = "channel.close 406 exchange.bind PRECONDITION_FAILED - Destination not found";
    check(&channel, &[(&bind_exchange("x", "x-local-random", ""), expected)]);
}

#[test]
fn a_queue_remembers_a_million_messages_at_most() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let asked = ("x-message-deduplication", Value::Bool(true));
    let most = table([asked, ("x-cache-size", Value::I32(1_000_000))]);
    let more = table([asked, ("x-cache-size", Value::I32(1_000_001))]);
    check(
        &channel,
        &[
            (
                &queue::Declare { arguments: most.as_table(), ..declare("most") },
                "queue.declare-ok most 0 0",
            ),
            (
                &queue::Declare { arguments: more.as_table(), ..declare("more") },
                "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-cache-size' \
                 for queue 'more' in vhost '/': {value_too_large,1000001}",
            ),
        ],
    );
}

#[test]
fn consistent_hash_spreads_by_weight_and_sticks() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare_exchange("x", "x-consistent-hash"));
    for (queue, weight) in [("a", "1"), ("b", "3")] {
        channel.call(&declare(queue));
        assert_eq!(channel.call(&bind(queue, "x", weight)), "queue.bind-ok");
    }
    // A second weight of a destination does not count.
    assert_eq!(channel.call(&bind("a", "x", "1000")), "queue.bind-ok");
    let first = spread(&channel, "x", &["a", "b"], &Properties::default());
    assert_eq!(first.len(), KEYS);
    let to_a = first.values().filter(|queue| **queue == "a").count();
    assert!((KEYS / 8..KEYS * 3 / 8).contains(&to_a), "{to_a} of {KEYS}");
    assert_eq!(spread(&channel, "x", &["a", "b"], &Properties::default()), first, "sticks");

    // A new destination takes only what it gets.
    channel.call(&declare("c"));
    channel.call(&bind("c", "x", "2"));
    let second = spread(&channel, "x", &["a", "b", "c"], &Properties::default());
    assert!(second.iter().all(|(key, queue)| *queue == "c" || first[key] == *queue));
    assert!(second.values().any(|queue| *queue == "c"));
    channel.call(&unbind("c", "x", "2"));
    assert_eq!(spread(&channel, "x", &["a", "b"], &Properties::default()), first, "gives back");
}

#[test]
fn consistent_hash_of_a_header_or_a_property() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let hash_header = table([("hash-header", Value::text("customer"))]);
    let hash_property = table([("hash-property", Value::text("message_id"))]);
    for (name, arguments) in [("h", &hash_header), ("p", &hash_property)] {
        let arguments = arguments.as_table();
        let declare =
            exchange::Declare { arguments, ..declare_exchange(name, "x-consistent-hash") };
        assert_eq!(channel.call(&declare), "exchange.declare-ok");
    }
    for queue in ["a", "b"] {
        channel.call(&declare(queue));
        channel.call(&bind(queue, "h", "1"));
        channel.call(&bind(queue, "p", "1"));
    }
    // The routing key makes no difference, what is hashed does.
    let (mut by_header, mut by_property) = (Vec::new(), Vec::new());
    for number in 0..20 {
        let text = format!("customer {number}");
        let headers = table([("customer", Value::text(&text))]);
        let headers = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        let id = Properties { message_id: Some(text.as_bytes()), ..Properties::default() };
        for (exchange, properties, found) in
            [("h", headers, &mut by_header), ("p", id, &mut by_property)]
        {
            let all = spread(&channel, exchange, &["a", "b"], &properties);
            let mut queues: Vec<_> = all.into_values().collect();
            queues.dedup();
            assert_eq!(queues.len(), 1, "{exchange}: all to one queue");
            found.extend(queues);
        }
    }
    for found in [by_header, by_property] {
        assert!(found.contains(&"a".to_owned()) && found.contains(&"b".to_owned()), "{found:?}");
    }
}

#[test]
fn modulus_hash_spreads_over_destinations_and_sticks() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare_exchange("x", "x-modulus-hash"));
    for queue in ["a", "b", "c"] {
        channel.call(&declare(queue));
        for key in ["", "other"] {
            assert_eq!(channel.call(&bind(queue, "x", key)), "queue.bind-ok");
        }
    }
    let first = spread(&channel, "x", &["a", "b", "c"], &Properties::default());
    for queue in ["a", "b", "c"] {
        let count = first.values().filter(|other| **other == queue).count();
        assert!((KEYS / 5..KEYS / 2).contains(&count), "{count} of {KEYS}");
    }
    assert_eq!(spread(&channel, "x", &["a", "b", "c"], &Properties::default()), first);
}

#[test]
fn random_exchanges_choose_one_queue_for_each_message() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for queue in ["a", "b", "c"] {
        channel.call(&declare(queue));
    }
    for (kind, key) in [("x-random", "ignored"), ("x-local-random", "")] {
        channel.call(&declare_exchange(kind, kind));
        for queue in ["a", "b", "c"] {
            assert_eq!(channel.call(&bind(queue, kind, key)), "queue.bind-ok");
        }
        // One key, so that no memory of where it went decides.
        for _ in 0..300 {
            channel.publish(kind, "k", "");
        }
        let counts = ["a", "b", "c"].map(|queue| {
            let answer = channel.call(&passive(queue)).to_string();
            channel.call(&leveret_tests::purge(queue));
            answer.split(' ').nth(2).unwrap().parse::<usize>().unwrap()
        });
        assert_eq!(counts.iter().sum::<usize>(), 300, "{kind}");
        assert!(counts.iter().all(|count| (60..150).contains(count)), "{kind}: {counts:?}");
    }
}

#[test]
fn hashes_stay_where_they_are_across_a_restart() {
    let Some(mut broker) = Broker::own("it is restarted") else { return };
    let before = {
        let channel = broker.connect().channel(1);
        let x = exchange::Declare { durable: true, ..declare_exchange("x", "x-consistent-hash") };
        channel.call(&x);
        // Not in the order they come back in.
        for queue in ["ccc", "a", "bb"] {
            channel.call(&queue::Declare { durable: true, ..declare(queue) });
            channel.call(&bind(queue, "x", "1"));
        }
        spread(&channel, "x", &["a", "bb", "ccc"], &Properties::default())
    };
    broker.terminate();
    broker.restart();
    let channel = broker.connect().channel(1);
    assert_eq!(spread(&channel, "x", &["a", "bb", "ccc"], &Properties::default()), before);
}

#[test]
fn a_new_binding_gets_recent_history() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let length = table([("x-recent-history-length", Value::I32(3))]);
    let x = exchange::Declare {
        arguments: length.as_table(),
        ..declare_exchange("x", "x-recent-history")
    };
    assert_eq!(channel.call(&x), "exchange.declare-ok");
    channel.call(&declare("early"));
    channel.call(&bind("early", "x", ""));
    let no_store = table([("x-recent-history-no-store", Value::Bool(true))]);
    for number in 0..5 {
        channel.publish("x", "k", format!("{number}"));
        let properties = Properties { headers: Some(no_store.as_table()), ..Properties::default() };
        channel.publish_with(&publish("x", "k"), &properties, b"not stored");
    }
    assert_eq!(channel.call(&passive("early")), "queue.declare-ok early 10 0");

    channel.call(&declare("late"));
    channel.call(&bind("late", "x", ""));
    for number in 2..5 {
        let left = 4 - number;
        let get = leveret_tests::codec::basic::Get { queue: "late", no_ack: true };
        let expected = format!("basic.get-ok {} x k {left}: {number}", number - 1);
        assert_eq!(channel.call(&get), expected);
    }
    // The same binding again is none, and gets nothing; an exchange passes it on.
    channel.call(&bind("late", "x", ""));
    assert_eq!(channel.call(&passive("late")), "queue.declare-ok late 0 0");
    channel.call(&declare_exchange("behind", "fanout"));
    channel.call(&bind("late", "behind", ""));
    channel.call(&bind_exchange("behind", "x", ""));
    assert_eq!(channel.call(&passive("late")), "queue.declare-ok late 3 0");
    // What only history keeps has reached nobody.
    channel.call(&delete_exchange("x"));
    channel.call(&x);
    let mandatory = leveret_tests::codec::basic::Publish { mandatory: true, ..publish("x", "k") };
    channel.publish_with(&mandatory, &Properties::default(), b"alone");
    assert_eq!(channel.recv(), "basic.return 312 NO_ROUTE x k: alone");
    channel.call(&declare("last"));
    channel.call(&bind("last", "x", ""));
    assert_eq!(channel.call(&passive("last")), "queue.declare-ok last 1 0");
}

/// As much as there may be, which takes several turns.
#[test]
fn a_long_history_comes_whole_and_before_what_is_published_behind_the_binding() {
    const LENGTH: i32 = 10_000;
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let length = table([("x-recent-history-length", Value::I32(LENGTH))]);
    channel.call(&exchange::Declare {
        arguments: length.as_table(),
        ..declare_exchange("x", "x-recent-history")
    });
    channel.call(&declare_exchange("all", "fanout"));
    for queue in ["a", "b", "c"] {
        channel.call(&declare(queue));
        channel.call(&bind(queue, "all", ""));
    }
    for number in 0..LENGTH {
        channel.publish("x", "k", number.to_string());
    }
    channel.send(&bind_exchange("all", "x", ""));
    channel.publish("x", "k", LENGTH.to_string());
    assert_eq!(channel.recv(), "exchange.bind-ok");
    for queue in ["a", "b", "c"] {
        channel.call(&consume(queue, queue));
        for number in 0..=LENGTH {
            assert_eq!(channel.recv().body(), number.to_string().as_bytes(), "{queue}");
        }
    }
}

/// Above the bound an exchange keeps its newest messages, of an even share.
#[test]
fn histories_together_have_a_bound() {
    const BODY: usize = 100 << 10;
    let config = "[amqp]\nhistory_max_per_node = \"1MiB\"\n";
    let Some(broker) = Broker::configured(config, "keeps a megabyte of history") else { return };
    let channel = broker.connect().channel(1);
    for exchange in ["x", "y"] {
        channel.call(&declare_exchange(exchange, "x-recent-history"));
    }
    let publish = |exchange: &str, numbers: std::ops::Range<u8>| {
        numbers.for_each(|number| channel.publish(exchange, "k", vec![number; BODY]));
    };
    let kept = |exchange: &str| {
        channel.call(&declare("q"));
        channel.call(&bind("q", exchange, ""));
        let get = leveret_tests::codec::basic::Get { queue: "q", no_ack: true };
        let bodies = std::iter::from_fn(|| {
            let answer = channel.call(&get);
            (answer != "basic.get-empty").then(|| answer.body()[0])
        });
        let bodies: Vec<u8> = bodies.collect();
        channel.call(&delete("q"));
        bodies
    };
    publish("x", 0..20);
    assert_eq!(kept("x"), (10..20).collect::<Vec<u8>>());
    publish("y", 0..3);
    assert_eq!(kept("y"), [0, 1, 2]);
    publish("y", 3..8);
    assert_eq!(kept("y"), [3, 4, 5, 6, 7]);
    assert_eq!(kept("x").len(), 10, "nothing came that could have taken its place");
    publish("x", 20..21);
    assert_eq!(kept("x"), [16, 17, 18, 19, 20]);
    channel.call(&delete_exchange("x"));
    publish("y", 8..20);
    assert_eq!(kept("y"), (10..20).collect::<Vec<u8>>(), "it has all to itself");
}

#[test]
fn history_is_of_twenty_unless_told_otherwise() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare_exchange("x", "x-recent-history"));
    for number in 0..25 {
        channel.publish("x", "k", number.to_string());
    }
    channel.call(&declare("q"));
    channel.call(&bind("q", "x", ""));
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 20 0");
    let get = leveret_tests::codec::basic::Get { queue: "q", no_ack: true };
    assert_eq!(channel.call(&get).body(), b"5");
}

/// By the plugin's exchange type, and by the argument other exchanges and queues take.
#[test]
fn what_was_seen_before_is_dropped() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let size = ("x-cache-size", Value::I32(2));
    let asked = ("x-message-deduplication", Value::Bool(true));
    let of_type = table([size]);
    let by_argument = table([size, asked]);
    let delayed = table([asked, ("x-delayed-type", Value::text("fanout"))]);
    for (name, kind, arguments) in [
        ("type", "x-message-deduplication", &of_type),
        ("argument", "fanout", &by_argument),
        ("delayed", "x-delayed-message", &delayed),
    ] {
        let arguments = arguments.as_table();
        let declare = exchange::Declare { arguments, ..declare_exchange(name, kind) };
        assert_eq!(channel.call(&declare), "exchange.declare-ok");
    }
    channel.call(&queue::Declare { arguments: by_argument.as_table(), ..declare("queue") });
    channel.call(&declare("q"));
    channel.call(&leveret_tests::codec::confirm::Select { nowait: false });
    let send = |exchange: &str, id: &'static str, more: (&str, Value<'_>)| {
        let headers = table([("x-deduplication-header", Value::text(id)), more]);
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        channel.publish_with(&publish(exchange, "queue"), &properties, id.as_bytes());
        let answer = channel.recv();
        assert!(answer.starts_with("basic.ack "), "dropped or not, it is confirmed: {answer}");
    };
    let none = ("other", Value::Void);
    for (exchange, queue) in [("type", "q"), ("argument", "q"), ("", "queue")] {
        if !exchange.is_empty() {
            channel.call(&bind(queue, exchange, ""));
        }
        // `a` is the oldest of three and forgotten.
        for id in ["a", "a", "b", "a", "b", "c", "c", "a"] {
            send(exchange, id, none);
        }
        channel.publish(exchange, "queue", "unnamed");
        channel.recv();
        let consume = leveret_tests::codec::basic::Consume { no_ack: true, ..consume(queue, "t") };
        channel.call(&consume);
        assert_eq!(bodies(&channel, 5), ["a", "b", "c", "a", "unnamed"], "{exchange:?}");
        channel.call(&leveret_tests::cancel("t"));
        assert_eq!(channel.call(&passive(queue)), format!("queue.declare-ok {queue} 0 0"));
    }
    // It was seen when it came, which is no reason not to let it go on.
    channel.call(&bind("q", "delayed", ""));
    for _ in 0..2 {
        send("delayed", "once", ("x-delay", Value::I32(30)));
    }
    channel.call(&consume("q", "t"));
    assert_eq!(bodies(&channel, 1), ["once"]);
    channel.call(&leveret_tests::cancel("t"));
    // A memory that lapses.
    send("type", "brief", ("x-cache-ttl", Value::I32(20)));
    std::thread::sleep(std::time::Duration::from_millis(40));
    send("type", "brief", none);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 2 0");
}

const KEYS: usize = 200;

/// Publishes under many keys and says which queue each reached.
fn spread(
    channel: &Channel,
    exchange: &str,
    queues: &[&str],
    properties: &Properties<'_>,
) -> BTreeMap<String, String> {
    for number in 0..KEYS {
        let key = format!("key {number}");
        channel.publish_with(&publish(exchange, &key), properties, key.as_bytes());
    }
    let mut reached = BTreeMap::new();
    for queue in queues {
        let answer = channel.call(&passive(queue)).to_string();
        let count = answer.split(' ').nth(2).unwrap().parse().unwrap();
        let consume = consume(queue, "spread");
        let consume = leveret_tests::codec::basic::Consume { no_ack: true, ..consume };
        assert_eq!(channel.call(&consume), "basic.consume-ok spread");
        for key in bodies(channel, count) {
            assert!(reached.insert(key, (*queue).to_owned()).is_none(), "one queue a message");
        }
        channel.call(&leveret_tests::cancel("spread"));
    }
    reached
}
