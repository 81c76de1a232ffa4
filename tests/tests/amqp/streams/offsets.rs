//! Where readers begin.

use std::time::{SystemTime, UNIX_EPOCH};

use leveret_tests::codec::Value;
use leveret_tests::delete;

use super::*;

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn readers_begin_where_they_ask_to() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    fill(&broker, (0..10).map(|number| number.to_string()));
    let text = Value::text;
    let cases = [
        (Some(text("first")), Some(0)),
        (Some(text("last")), Some(9)),
        (Some(text("next")), None),
        (None, None),
        (Some(Value::I64(0)), Some(0)),
        (Some(Value::I8(7)), Some(7)),
        (Some(Value::I32(-5)), Some(0)),
        (Some(Value::U16(10)), None),
        (Some(Value::Timestamp(seconds() - 3600)), Some(0)),
        (Some(Value::Timestamp(seconds() + 3600)), None),
        (Some(text("1h")), Some(0)),
        (Some(text("01D")), Some(0)),
        (Some(text("1Y")), Some(0)),
    ];
    for (number, (value, first)) in (0_usize..).zip(cases) {
        let tag = number.to_string();
        let arguments = value.map_or_else(TableBuf::default, |it| table([("x-stream-offset", it)]));
        let channel = reader(&broker);
        assert_eq!(channel.call(&from(&tag, &arguments)), format!("basic.consume-ok {tag}"));
        let expected: Vec<i64> = (first.unwrap_or(10)..10).collect();
        assert_eq!(offsets(&channel, expected.len()), expected, "{value:?}");
        assert_quiet(&channel);
    }
    assert_eq!(channel.call(&delete("s")), "queue.delete-ok 0");
}

#[test]
fn last_is_the_last_chunk() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    fill(&broker, ["0", "1"]);
    let publisher = broker.connect().channel(1);
    // What comes in one go is a chunk; a transaction always does.
    publisher.call(&leveret_tests::codec::tx::Select {});
    for body in ["2", "3", "4"] {
        publisher.publish("", "s", body);
    }
    assert_eq!(publisher.call(&leveret_tests::codec::tx::Commit {}), "tx.commit-ok");
    let last = table([("x-stream-offset", Value::text("last"))]);
    assert_eq!(channel.call(&from("c", &last)), "basic.consume-ok c");
    assert_eq!(bodies(&channel, 3), ["2", "3", "4"]);
}

#[test]
fn an_empty_stream_is_read_from_its_first_message() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    for start in ["first", "last", "next", "1h"] {
        let arguments = table([("x-stream-offset", Value::text(start))]);
        assert_eq!(channel.call(&from(start, &arguments)), format!("basic.consume-ok {start}"));
    }
    fill(&broker, ["a"]);
    assert_eq!(offsets(&channel, 4), [0; 4]);
}

#[test]
fn an_offset_to_come_is_waited_for() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    fill(&broker, ["0", "1"]);
    let arguments = table([("x-stream-offset", Value::I32(4))]);
    assert_eq!(channel.call(&from("c", &arguments)), "basic.consume-ok c");
    fill(&broker, ["2", "3", "4", "5"]);
    assert_eq!(bodies(&channel, 2), ["4", "5"]);
}

#[test]
fn offsets_without_sense_are_refused() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    let nested = table([("a", Value::I32(1))]);
    let cases = [
        (Value::text("bogus"), "{longstr,<<\"bogus\">>}"),
        (Value::text("First"), "{longstr,<<\"First\">>}"),
        (Value::text(""), "{longstr,<<>>}"),
        (Value::text("0s"), "{longstr,<<\"0s\">>}"),
        (Value::text("10"), "{longstr,<<\"10\">>}"),
        (Value::text("-1h"), "{longstr,<<\"-1h\">>}"),
        (Value::text("1h "), "{longstr,<<\"1h \">>}"),
        // On these RabbitMQ stumbles: 541.
        (Value::Bool(true), "{bool,true}"),
        (Value::F64(1.5), "{double,1.5}"),
        (Value::Void, "{void,undefined}"),
        (Value::Table(nested.as_table()), "{table,[{<<\"a\">>,signedint,1}]}"),
    ];
    for (value, printed) in cases {
        let arguments = table([("x-stream-offset", value), ("x-priority", Value::text("a"))]);
        let reason = format!(
            "invalid arg 'x-stream-offset' for queue 's' in vhost '/': \
             {{invalid_stream_offset_arg,{printed}}}"
        );
        check(&channel, &[(&from("c", &arguments), &refused("basic.consume", &reason))]);
    }
}
