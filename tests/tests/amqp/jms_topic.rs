//! `x-jms-topic` exchanges: bindings with selectors, as RabbitMQ's JMS client declares them.

use leveret_tests::codec::{Properties, TableBuf, Value, exchange, queue};
use leveret_tests::{
    Answer, Broker, Channel, bind, bind_exchange, confirm_select, declare, declare_exchange,
    delete_exchange, get, passive, publish, table, unbind,
};

use crate::check;

fn selector(text: &str) -> TableBuf {
    table([("rjms_erlang_selector", Value::text(text)), ("rjms_version", Value::text("1.4.7"))])
}

/// Binds a queue of that name to `x` with a selector.
fn select(channel: &Channel, queue: &str, text: &str) -> Answer {
    channel.call(&declare(queue));
    let arguments = selector(text);
    let bind = bind(queue, "x", "any.key");
    channel.call(&queue::Bind { arguments: arguments.as_table(), ..bind })
}

/// Publishes to `x` with these headers.
fn publish_with<const N: usize>(channel: &Channel, body: &str, headers: [(&str, Value<'_>); N]) {
    let headers = table(headers);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("x", "topic.name"), &properties, body.as_bytes());
    assert!(channel.recv().starts_with("basic.ack "));
}

/// A confirming channel and the exchange `x`.
fn stage(broker: &Broker) -> Channel {
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    assert_eq!(channel.call(&declare_exchange("x", "x-jms-topic")), "exchange.declare-ok");
    channel
}

/// What is ready in a queue, taken out.
fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let answer = channel.call(&get(queue));
        if answer == "basic.get-empty" {
            return bodies;
        }
        bodies.push(String::from_utf8_lossy(answer.body()).into_owned());
    }
}

#[test]
fn selectors_choose_by_headers() {
    let broker = Broker::start();
    let channel = stage(&broker);
    for (queue, text) in [
        ("all", "true."),
        ("none", "false."),
        ("blue", "{'=',{ident,<<\"colour\">>},<<\"blue\">>}."),
        (
            "heavy-or-big",
            "{'or',{'>',{ident,<<\"weight\">>},2500},{like,{ident,<<\"size\">>},<<\"b%\">>,no_escape}}.",
        ),
        ("flag", "{ident,<<\"flag\">>}."),
        ("uncoloured", "{is_null,{ident,<<\"colour\">>}}."),
        ("in", "{in,{ident,<<\"colour\">>},[<<\"blue\">>,<<\"green\">>]}."),
        ("between", "{between,{ident,<<\"weight\">>},{range,1,{'*',2,{ident,<<\"half\">>}}}}."),
    ] {
        assert_eq!(select(&channel, queue, text), "queue.bind-ok", "{text}");
    }
    publish_with(&channel, "1", [("colour", Value::text("blue")), ("weight", Value::I32(2501))]);
    publish_with(&channel, "2", [("colour", Value::text("red")), ("flag", Value::Bool(true))]);
    publish_with(&channel, "3", [("size", Value::text("big")), ("flag", Value::Bool(false))]);
    publish_with(&channel, "4", [("weight", Value::F64(7.5)), ("half", Value::I64(4))]);
    publish_with(&channel, "5", []);
    for (queue, expected) in [
        ("all", &["1", "2", "3", "4", "5"][..]),
        ("none", &[]),
        ("blue", &["1"]),
        ("heavy-or-big", &["1", "3"]),
        ("flag", &["2"]),
        ("uncoloured", &["3", "4", "5"]),
        ("in", &["1"]),
        ("between", &["4"]),
    ] {
        assert_eq!(drain(&channel, queue), expected, "{queue}");
    }
}

/// As the JMS client lays it out: a topic exchange that looks at the key, and behind it this one.
#[test]
fn a_topic_exchange_in_front_looks_at_the_key() {
    let broker = Broker::start();
    let channel = stage(&broker);
    channel.call(&bind_exchange("x", "amq.topic", "stocks.#"));
    select(&channel, "q", "{'>',{ident,<<\"price\">>},100}.");
    let headers = table([("price", Value::I32(101))]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    for key in ["stocks.nyse", "bonds.nyse"] {
        channel.publish_with(&publish("amq.topic", key), &properties, key.as_bytes());
        assert!(channel.recv().starts_with("basic.ack "));
    }
    assert_eq!(drain(&channel, "q"), ["stocks.nyse"]);
}

/// Two selectors of one queue are two bindings, and a copy is one copy.
#[test]
fn bindings_are_told_apart_by_their_selectors() {
    let broker = Broker::start();
    let channel = stage(&broker);
    let (low, high) = ("{'<',{ident,<<\"n\">>},6}.", "{'>',{ident,<<\"n\">>},4}.");
    select(&channel, "q", low);
    select(&channel, "q", high);
    for n in [1, 5, 9] {
        publish_with(&channel, &n.to_string(), [("n", Value::I32(n))]);
    }
    assert_eq!(drain(&channel, "q"), ["1", "5", "9"]);
    let arguments = selector(low);
    let unbind = unbind("q", "x", "any.key");
    let unbind = queue::Unbind { arguments: arguments.as_table(), ..unbind };
    assert_eq!(channel.call(&unbind), "queue.unbind-ok");
    for n in [1, 5, 9] {
        publish_with(&channel, &n.to_string(), [("n", Value::I32(n))]);
    }
    assert_eq!(drain(&channel, "q"), ["5", "9"]);
}

#[test]
fn what_is_no_selector_is_refused() {
    let broker = Broker::start();
    let channel = stage(&broker);
    channel.call(&declare("q"));
    let refused = |text: &str| format!("channel.close 406 queue.bind PRECONDITION_FAILED - {text}");
    for (text, reason) in [
        ("{'=',1", "invalid JMS selector: expected_comma_or_closing_brace"),
        ("{apply,1}.", "invalid JMS selector: {unknown_atom,\"apply\"}"),
        (
            "{like,{ident,<<\"a\">>},<<\"b\">>,<<\"\">>}.",
            "invalid JMS selector pattern: {invalid_like_pattern,invalid_escape}",
        ),
    ] {
        assert_eq!(select(&channel, "q", text), refused(reason), "{text}");
        channel.reopen();
    }
    let missing = "cannot parse selector 'error' binding destination 'q' to exchange 'x'";
    let wrong = table([("rjms_erlang_selector", Value::I32(1))]);
    check(
        &channel,
        &[
            (&bind("q", "x", "k"), &refused(missing)),
            (
                &queue::Bind { arguments: wrong.as_table(), ..bind("q", "x", "k") },
                &refused(missing),
            ),
        ],
    );
}

#[test]
fn selectors_outlive_the_process() {
    let Some(mut broker) = Broker::own("kills the broker") else { return };
    let channel = broker.connect().channel(1);
    let x = exchange::Declare { durable: true, ..declare_exchange("x", "x-jms-topic") };
    channel.call(&x);
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    let arguments = selector("{'=',{ident,<<\"colour\">>},<<\"blue\">>}.");
    let bind = bind("q", "x", "");
    channel.call(&queue::Bind { arguments: arguments.as_table(), ..bind });
    broker.kill9();
    broker.restart();
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    publish_with(&channel, "1", [("colour", Value::text("red"))]);
    publish_with(&channel, "2", [("colour", Value::text("blue"))]);
    assert_eq!(drain(&channel, "q"), ["2"]);
    check(
        &channel,
        &[(&delete_exchange("x"), "exchange.delete-ok"), (&passive("q"), "queue.declare-ok q 0 0")],
    );
}
