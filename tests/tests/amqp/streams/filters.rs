//! Readers that want some messages only.

use leveret_tests::codec::{ArrayBuilder, Value};

use super::*;

/// A stream with the values a, b, none, "", 5, a.
fn filled(broker: &Broker) {
    with_stream(broker, &[]);
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    let header = "x-stream-filter-value";
    publish_with_header(&channel, header, Value::text("a"), "0");
    publish_with_header(&channel, header, Value::text("b"), "1");
    channel.publish("", "s", "2");
    publish_with_header(&channel, header, Value::text(""), "3");
    publish_with_header(&channel, header, Value::I32(5), "4");
    publish_with_header(&channel, header, Value::text("a"), "5");
    let mut confirmed = 0;
    while confirmed < 6 {
        confirmed = channel.recv().delivery_tag();
    }
}

#[test]
fn filters_choose_messages_by_their_value() {
    let broker = Broker::start();
    filled(&broker);
    let a = Value::text("a");
    let (empty, one, mixed, two) = (
        ArrayBuilder::new().build(),
        ArrayBuilder::new().push("a").build(),
        ArrayBuilder::new().push(5).push("b").build(),
        ArrayBuilder::new().push("b").push("a").build(),
    );
    let array = |array| Value::Array(array);
    let cases: [(Value<'_>, Option<bool>, &[i64]); 11] = [
        (a, None, &[0, 5]),
        (a, Some(false), &[0, 5]),
        (a, Some(true), &[0, 2, 3, 4, 5]),
        (Value::text("x"), None, &[]),
        (Value::text("x"), Some(true), &[2, 3, 4]),
        (Value::text(""), None, &[2, 3, 4]),
        (array(one.as_array()), None, &[0, 5]),
        (array(two.as_array()), None, &[0, 1, 5]),
        (array(two.as_array()), Some(true), &[0, 1, 2, 3, 4, 5]),
        (array(mixed.as_array()), None, &[1]),
        (array(empty.as_array()), None, &[]),
    ];
    for (filter, match_unfiltered, expected) in cases {
        let arguments = TableBuilder::new()
            .put("x-stream-offset", Value::text("first"))
            .put("x-stream-filter", filter);
        let arguments = match match_unfiltered {
            None => arguments.build(),
            Some(it) => arguments.put("x-stream-match-unfiltered", Value::Bool(it)).build(),
        };
        let channel = reader(&broker);
        assert_eq!(channel.call(&from("c", &arguments)), "basic.consume-ok c");
        assert_eq!(offsets(&channel, expected.len()), expected, "{filter:?} {match_unfiltered:?}");
        assert_quiet(&channel);
    }
}

#[test]
fn without_a_filter_there_is_nothing_to_match() {
    let broker = Broker::start();
    filled(&broker);
    let arguments = table([
        ("x-stream-offset", Value::text("first")),
        ("x-stream-match-unfiltered", Value::Bool(false)),
    ]);
    let channel = reader(&broker);
    assert_eq!(channel.call(&from("c", &arguments)), "basic.consume-ok c");
    assert_eq!(offsets(&channel, 6), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn what_comes_later_is_filtered_too() {
    let broker = Broker::start();
    filled(&broker);
    let channel = reader(&broker);
    let arguments = table([("x-stream-filter", Value::text("b"))]);
    assert_eq!(channel.call(&from("c", &arguments)), "basic.consume-ok c");
    for (value, body) in [("a", "6"), ("b", "7"), ("a", "8"), ("b", "9")] {
        publish_with_header(&channel, "x-stream-filter-value", Value::text(value), body);
    }
    assert_eq!(bodies(&channel, 2), ["7", "9"]);
}

/// RabbitMQ takes the first for no filter, and the second for false.
#[test]
fn filters_of_no_use_are_refused() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    for (argument, value, kind) in [
        ("x-stream-filter", Value::I32(5), "signedint"),
        ("x-stream-match-unfiltered", Value::text("true"), "longstr"),
    ] {
        let arguments = table([(argument, value)]);
        let reason = format!(
            "invalid arg '{argument}' for queue 's' in vhost '/': {{unacceptable_type,{kind}}}"
        );
        check(&channel, &[(&from("c", &arguments), &refused("basic.consume", &reason))]);
    }
}
