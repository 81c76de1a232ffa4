//! The exchange types beyond the protocol's four.

use std::collections::BTreeMap;

use leveret_tests::codec::{Properties, Value, exchange, queue};
use leveret_tests::{
    Broker, Channel, bind, bind_exchange, declare, declare_exchange, passive, publish, table,
    unbind,
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
        let consume = leveret_tests::consume(queue, "spread");
        let consume = leveret_tests::codec::basic::Consume { no_ack: true, ..consume };
        assert_eq!(channel.call(&consume), "basic.consume-ok spread");
        for key in bodies(channel, count) {
            assert!(reached.insert(key, (*queue).to_owned()).is_none(), "one queue a message");
        }
        channel.call(&leveret_tests::cancel("spread"));
    }
    reached
}
