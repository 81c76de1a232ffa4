//! Which messages reach which queues.

use std::collections::BTreeMap;

use leveret_tests::codec::{ArrayBuilder, Properties, TableBuf, Value, basic, exchange, queue};
use leveret_tests::{
    Broker, Channel, ack, bind, bind_exchange, consume, declare, declare_exchange, delete, get,
    nack, publish, purge, table, unbind,
};

use crate::check;

#[test]
fn the_default_exchange_routes_to_the_queue_of_that_name() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&declare("Q"));
    channel.publish("", "q", "hello");
    channel.publish("", "missing", "dropped");
    check(&channel, &[(&get("Q"), "basic.get-empty"), (&get("q"), "basic.get-ok 1 '' q 0: hello")]);
}

#[test]
fn direct_compares_keys_byte_by_byte() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for key in ["", "k", "K", "k.k", "*", "#"] {
        assert_eq!(matches(&channel, "direct", key, "k"), key == "k", "{key}");
        assert!(matches(&channel, "direct", key, key), "{key}");
    }
}

#[test]
fn fanout_ignores_keys() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for key in ["", "k", "other"] {
        assert!(matches(&channel, "fanout", key, "k"), "{key}");
    }
}

/// RabbitMQ's own answers, a row a pattern, a column a key.
#[test]
fn topic_matches_words() {
    const KEYS: [&str; 12] =
        ["", "a", "a.b", "a.b.c", ".", "a.", ".a", "a..b", "*", "#", "b", "aa"];
    let rows = [
        ("#", "yyyyyyyyyyyy"),
        ("*", ".y......yyyy"),
        ("a.#", ".yyy.y.y...."),
        ("#.b", "..y....y..y."),
        ("a.*", "..y..y......"),
        ("*.b", "..y........."),
        ("a.#.c", "...y........"),
        ("", "y..........."),
        ("#.#", "yyyyyyyyyyyy"),
        ("*.#", ".yyyyyyyyyyy"),
        ("#.*", ".yyyyyyyyyyy"),
        ("a.*.#", "..yy.y.y...."),
        (".", "....y......."),
        ("*.*", "..y.yyy....."),
        ("a..b", ".......y...."),
        ("a.*.b", ".......y...."),
        ("#.a.#", ".yyy.yyy...."),
        ("a#", "............"),
        ("*.", "....yy......"),
    ];
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&declare_exchange("x", "topic"));
    for (pattern, row) in rows {
        channel.call(&bind("q", "x", pattern));
        let found: String = KEYS.iter().map(|key| mark(reaches(&channel, key, None))).collect();
        assert_eq!(found, row, "{pattern:?} of {KEYS:?}");
        channel.call(&unbind("q", "x", pattern));
    }
}

/// RabbitMQ's own answers, a row the arguments of a binding, a column the headers of a message.
#[test]
fn headers_match_arguments() {
    let one = Value::text("1");
    let messages: [Option<TableBuf>; 8] = [
        None,
        Some(table([])),
        Some(table([("a", one)])),
        Some(table([("a", Value::I32(1))])),
        Some(table([("a", Value::Bool(true))])),
        Some(table([("a", one), ("b", Value::I32(2))])),
        Some(table([("x-a", one)])),
        Some(table([("a", Value::Void)])),
    ];
    let all = ("x-match", Value::text("all"));
    let any = ("x-match", Value::text("any"));
    let all_with_x = ("x-match", Value::text("all-with-x"));
    let any_with_x = ("x-match", Value::text("any-with-x"));
    let rows = [
        (table([]), "yyyyyyyy"),
        (table([all]), "yyyyyyyy"),
        (table([any]), "........"),
        (table([all, ("a", one)]), "..y..y.."),
        (table([any, ("a", one), ("b", Value::I32(2))]), "..y..y.."),
        (table([all, ("a", Value::Void)]), "..yyyy.y"),
        (table([all, ("x-a", one)]), "yyyyyyyy"),
        (table([any, ("x-a", one)]), "........"),
        (table([all_with_x, ("x-a", one)]), "......y."),
        (table([any_with_x, ("x-a", one)]), "......y."),
        (table([("a", one)]), "..y..y.."),
        (table([all, ("a", Value::I32(1))]), "...y...."),
        // Integers match by value, whatever their width.
        (table([all, ("a", Value::I64(1))]), "...y...."),
    ];
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&declare_exchange("x", "headers"));
    for (arguments, row) in rows {
        let arguments = arguments.as_table();
        channel.call(&queue::Bind { arguments, ..bind("q", "x", "") });
        let found: String =
            messages.iter().map(|headers| mark(reaches(&channel, "", headers.as_ref()))).collect();
        assert_eq!(found, row, "{arguments:?} of {messages:?}");
        channel.call(&queue::Unbind { arguments, ..unbind("q", "x", "") });
    }
}

/// A value may also be a table or an array; all in it has to agree.
#[test]
fn headers_match_tables_and_arrays() {
    let nested = |number| table([("b", Value::I32(number))]);
    let (one, two) = (nested(1), nested(2));
    let list = |word: &str| ArrayBuilder::new().push(word).push(1).build();
    let (long, other) = (list("a"), list("b"));
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&declare_exchange("x", "headers"));
    for (bound, row) in [
        (Value::Table(one.as_table()), "y..."),
        (Value::Array(long.as_array()), "..y."),
        (Value::Void, "yyyy"),
        (Value::text("a"), "...."),
    ] {
        let arguments = table([("a", bound)]);
        channel.call(&queue::Bind { arguments: arguments.as_table(), ..bind("q", "x", "") });
        let found: String = [
            Value::Table(one.as_table()),
            Value::Table(two.as_table()),
            Value::Array(long.as_array()),
            Value::Array(other.as_array()),
        ]
        .into_iter()
        .map(|value| mark(reaches(&channel, "", Some(&table([("a", value)])))))
        .collect();
        assert_eq!(found, row, "{bound:?}");
        channel.call(&queue::Unbind { arguments: arguments.as_table(), ..unbind("q", "x", "") });
    }
}

#[test]
fn a_queue_bound_twice_gets_one_copy() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for pattern in ["#", "k", "*"] {
        channel.call(&bind("q", "amq.topic", pattern));
    }
    channel.publish("amq.topic", "k", "once");
    check(&channel, &[(&get("q"), "basic.get-ok 1 amq.topic k 0: once")]);
    channel.call(&delete("q"));
}

/// Extra keys travel in headers; the one of `BCC` is not shown to anybody.
#[test]
fn carbon_copies_are_routed() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for queue in ["to", "cc", "bcc"] {
        channel.call(&declare(queue));
    }
    // Elements that are no strings are skipped.
    let cc = ArrayBuilder::new().push("cc").push(1).push("to").build();
    let bcc = ArrayBuilder::new().push("bcc").build();
    let headers = table([
        ("CC", Value::Array(cc.as_array())),
        ("BCC", Value::Array(bcc.as_array())),
        ("other", Value::text("stays")),
    ]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("", "to"), &properties, b"copies");
    for (number, queue) in (1..).zip(["to", "cc", "bcc"]) {
        let answer = channel.call(&get(queue));
        // The routing key is the original one wherever the message lands.
        assert_eq!(answer, format!("basic.get-ok {number} '' to 0: copies"));
        let headers = answer.properties().headers.unwrap();
        assert!(headers.get("CC").unwrap().as_array().is_some(), "{headers:?}");
        assert_eq!(headers.get("BCC"), None);
        assert_eq!(headers.get("other"), Some(Value::text("stays")));
    }
    assert_eq!(channel.call(&get("to")), "basic.get-empty");
}

#[test]
fn an_alternate_exchange_takes_what_reaches_nobody() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("alternate-exchange", Value::text("spare"))]);
    let x =
        exchange::Declare { arguments: arguments.as_table(), ..declare_exchange("x", "direct") };
    let mandatory = |key| basic::Publish { mandatory: true, ..publish("x", key) };
    check(
        &channel,
        &[
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&declare("rest"), "queue.declare-ok rest 0 0"),
            // It need not be there when it is named.
            (&x, "exchange.declare-ok"),
            (&bind("q", "x", "k"), "queue.bind-ok"),
        ],
    );
    channel.publish_with(&mandatory("other"), &Properties::default(), b"0");
    assert_eq!(channel.recv(), "basic.return 312 NO_ROUTE x other: 0");

    check(
        &channel,
        &[
            (&declare_exchange("spare", "fanout"), "exchange.declare-ok"),
            (&bind("rest", "spare", ""), "queue.bind-ok"),
        ],
    );
    channel.publish_with(&mandatory("k"), &Properties::default(), b"1");
    channel.publish_with(&mandatory("other"), &Properties::default(), b"2");
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 1 x k 0: 1"),
            (&get("q"), "basic.get-empty"),
            // With the exchange it was published to.
            (&get("rest"), "basic.get-ok 2 x other 0: 2"),
            (&get("rest"), "basic.get-empty"),
            // Nor is anybody behind the alternate exchange now.
            (&unbind("rest", "spare", ""), "queue.unbind-ok"),
        ],
    );
    channel.publish_with(&mandatory("other"), &Properties::default(), b"3");
    assert_eq!(channel.recv(), "basic.return 312 NO_ROUTE x other: 3");
}

/// The alternate exchange counts where the message gets stuck, not only where it came in.
#[test]
fn alternate_exchanges_work_behind_bindings() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("alternate-exchange", Value::text("spare"))]);
    let inner = exchange::Declare {
        arguments: arguments.as_table(),
        ..declare_exchange("inner", "direct")
    };
    check(
        &channel,
        &[
            (&declare("rest"), "queue.declare-ok rest 0 0"),
            (&declare_exchange("outer", "fanout"), "exchange.declare-ok"),
            (&inner, "exchange.declare-ok"),
            (&declare_exchange("spare", "fanout"), "exchange.declare-ok"),
            (&bind_exchange("inner", "outer", ""), "exchange.bind-ok"),
            (&bind("rest", "spare", ""), "queue.bind-ok"),
        ],
    );
    channel.publish("outer", "k", "stuck");
    check(&channel, &[(&get("rest"), "basic.get-ok 1 outer k 0: stuck")]);
}

/// Changes of the topology count for the very next publish, also of another connection that has
/// published there before.
#[test]
fn routes_follow_the_topology_at_once() {
    let broker = Broker::start();
    let admin = broker.connect().channel(1);
    let publisher = broker.connect().channel(1);
    admin.call(&declare("q"));
    admin.call(&declare_exchange("x", "direct"));
    for round in 0..20 {
        admin.call(&bind("q", "x", "k"));
        publisher.publish("x", "k", "in");
        // Answered when the publish before it has been routed.
        publisher.call(&declare("barrier"));
        assert_eq!(admin.call(&purge("q")), "queue.purge-ok 1", "{round}");
        admin.call(&unbind("q", "x", "k"));
        publisher.publish("x", "k", "out");
        publisher.call(&declare("barrier"));
        assert_eq!(admin.call(&purge("q")), "queue.purge-ok 0", "{round}");
    }
}

/// Whether a message published with `key` to an exchange of type `kind` reaches a queue bound with
/// `pattern`.
fn matches(channel: &Channel, kind: &str, pattern: &str, key: &str) -> bool {
    channel.call(&declare("q"));
    channel.call(&declare_exchange("x", kind));
    channel.call(&bind("q", "x", pattern));
    let reached = reaches(channel, key, None);
    channel.call(&leveret_tests::delete_exchange("x"));
    reached
}

/// Whether a message published to `x` reaches `q`.
fn reaches(channel: &Channel, key: &str, headers: Option<&TableBuf>) -> bool {
    let properties =
        Properties { headers: headers.map(TableBuf::as_table), ..Properties::default() };
    channel.publish_with(&publish("x", key), &properties, b"");
    let answer = channel.call(&basic::Get { queue: "q", no_ack: true });
    assert!(answer.starts_with("basic.get-ok ") || answer == "basic.get-empty", "{answer}");
    answer.starts_with("basic.get-ok ")
}

fn mark(reached: bool) -> char {
    if reached { 'y' } else { '.' }
}

/// Each queue gets what is for it, in order, also when it comes back, however many there are.
#[test]
fn one_batch_goes_to_many_queues() {
    const QUEUES: usize = 40;
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare_exchange("x", "direct"));
    let names: Vec<String> = (0..QUEUES).map(|number| format!("q{number}")).collect();
    for name in &names {
        channel.call(&declare(name));
        channel.call(&bind(name, "x", "all"));
        channel.call(&bind(name, "x", name));
    }
    let keys = ["q39", "all", "q5", "q20", "all", "q39", "q0", "all", "q20"];
    for (number, key) in keys.iter().enumerate() {
        channel.publish("x", key, number.to_string());
    }
    let expected = |name: &str| -> Vec<String> {
        let meant = keys.iter().enumerate().filter(|(_, key)| **key == "all" || **key == name);
        meant.map(|(number, _)| number.to_string()).collect()
    };
    let total = names.iter().map(|name| expected(name).len()).sum();
    // By the consumer's tag, which is the queue's name.
    let received = || {
        let mut received: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for answer in channel.recv_many(total) {
            let answer = answer.to_string();
            let tag = answer.split(' ').nth(1).unwrap().to_owned();
            let body = answer.rsplit(' ').next().unwrap().to_owned();
            received.entry(tag).or_default().push(body);
        }
        received
    };
    for name in &names {
        channel.send(&basic::Consume { nowait: true, ..consume(name, name) });
    }
    let all: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), expected(name))).collect();
    assert_eq!(received(), all);
    channel.send(&basic::Nack { multiple: true, ..nack(0) });
    assert_eq!(received(), all);
    channel.send(&basic::Ack { multiple: true, ..ack(0) });
    for name in &names {
        assert_eq!(channel.call(&delete(name)), "queue.delete-ok 0");
        assert_eq!(channel.recv(), format!("basic.cancel {name} nowait"));
    }
}
