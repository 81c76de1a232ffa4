//! What a publish is checked for, what comes back, and what arrives.

use leveret_tests::codec::{
    Array, Properties, TableBuilder, Value, basic, encode_content, exchange, queue,
};
use leveret_tests::{
    Broker, bind, consume, declare, declare_exchange, eventually, get, passive, publish, qos,
    table, unbind,
};

#[test]
fn properties_and_body_arrive_bit_for_bit() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    let nested = table([("deep", Value::Void)]);
    let array = leveret_tests::codec::ArrayBuilder::new()
        .push(Value::I8(-1))
        .push(Value::Table(nested.as_table()))
        .build();
    let headers = TableBuilder::new()
        .put("bool", true)
        .put("i8", Value::I8(-8))
        .put("u8", Value::U8(8))
        .put("i16", Value::I16(-16))
        .put("u16", Value::U16(16))
        .put("i32", Value::I32(-32))
        .put("u32", Value::U32(32))
        .put("i64", Value::I64(-64))
        .put("f32", Value::F32(0.5))
        .put("f64", Value::F64(-0.25))
        .put("decimal", Value::Decimal { scale: 2, value: 12_345 })
        .put("text", "text")
        .put("not text", Value::LongStr(b"\xff\xfe"))
        .put("binary", Value::Binary(b"\0\x01"))
        .put("array", Value::Array(array.as_array()))
        .put("table", Value::Table(nested.as_table()))
        .put("timestamp", Value::Timestamp(1_700_000_000))
        .put("void", Value::Void)
        .put("empty", Value::Array(Array::EMPTY))
        .build();
    let properties = Properties {
        content_type: Some(b"application/json"),
        content_encoding: Some(b"gzip"),
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: Some(b"correlation"),
        reply_to: Some(b"reply"),
        expiration: Some(b"60000"),
        message_id: Some(b"id"),
        timestamp: Some(1_700_000_000),
        kind: Some(b"type"),
        user_id: Some(b"guest"),
        app_id: Some(b"app"),
        cluster_id: Some(b"cluster"),
    };
    let every_octet: Vec<u8> = (0..=255).collect();
    channel.publish_with(&publish("", "q"), &properties, &every_octet);
    let answer = channel.call(&get("q"));
    assert_eq!(answer.body(), every_octet);
    let received = answer.properties();
    // The order of header entries is the one thing a broker may change.
    for (key, value) in headers.as_table() {
        let key = str::from_utf8(key).unwrap();
        assert_eq!(received.headers.unwrap().get(key), Some(value), "{key}");
    }
    assert_eq!(received.headers.unwrap().iter().count(), headers.as_table().iter().count());
    let without_headers = |properties| Properties { headers: None, ..properties };
    assert_eq!(without_headers(received), without_headers(properties));
}

#[test]
fn bodies_of_all_sizes_arrive() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for size in [0, 1, 131_063, 131_064, 131_065, 262_128, 1_000_000] {
        let body: Vec<u8> = (0..=250).cycle().take(size).collect();
        channel.publish("", "q", &body);
        let answer = channel.call(&get("q"));
        assert_eq!(answer.body().len(), size);
        assert_eq!(answer.body(), body);
        assert!(answer.body_frames().iter().all(|&frame| (1..=131_064).contains(&frame)));
    }
}

/// Also when several queues share it.
#[test]
fn a_large_body_reaches_every_queue_whole() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for queue in ["a", "b", "c"] {
        channel.call(&declare(queue));
        channel.call(&bind(queue, "amq.fanout", ""));
    }
    let body: Vec<u8> = (0..=250).cycle().take(400_000).collect();
    channel.publish("amq.fanout", "", &body);
    for queue in ["a", "b", "c"] {
        assert_eq!(channel.call(&get(queue)).body(), body, "{queue}");
    }
}

/// The longest that fit in their fields: routed, returned, delivered and dead-lettered.
#[test]
fn names_of_255_bytes_go_all_ways() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let [x, q, key, tag] = ["x", "q", "k", "t"].map(|letter| letter.repeat(255));
    let arguments =
        table([("x-dead-letter-exchange", Value::text(&x)), ("x-max-length", Value::I32(1))]);
    assert_eq!(channel.call(&declare_exchange(&x, "topic")), "exchange.declare-ok");
    let declare_q = queue::Declare { arguments: arguments.as_table(), ..declare(&q) };
    assert_eq!(channel.call(&declare_q), format!("queue.declare-ok {q} 0 0"));
    let mandatory = basic::Publish { mandatory: true, ..publish(&x, &key) };
    let properties = Properties {
        content_type: Some(key.as_bytes()),
        correlation_id: Some(key.as_bytes()),
        message_id: Some(key.as_bytes()),
        ..Properties::default()
    };
    channel.publish_with(&mandatory, &properties, b"1");
    let returned = channel.recv();
    assert_eq!(returned, format!("basic.return 312 NO_ROUTE {x} {key}: 1"));
    assert_eq!(returned.properties(), properties);

    assert_eq!(channel.call(&bind(&q, &x, &key)), "queue.bind-ok");
    channel.publish_with(&mandatory, &properties, b"2");
    assert_eq!(channel.call(&consume(&q, &tag)), format!("basic.consume-ok {tag}"));
    let delivered = channel.recv();
    assert_eq!(delivered, format!("basic.deliver {tag} 1 {x} {key}: 2"));
    assert_eq!(delivered.properties(), properties);

    channel.call(&declare("dead"));
    assert_eq!(channel.call(&unbind(&q, &x, &key)), "queue.unbind-ok");
    assert_eq!(channel.call(&bind("dead", &x, &key)), "queue.bind-ok");
    channel.send(&basic::Reject { delivery_tag: 1, requeue: false });
    eventually(|| channel.call(&passive("dead")) == "queue.declare-ok dead 1 0");
    let dead = channel.call(&get("dead"));
    assert_eq!(dead, format!("basic.get-ok 2 redelivered {x} {key} 0: 2"));
    let headers = dead.properties().headers.unwrap();
    assert_eq!(headers.get("x-first-death-queue"), Some(Value::text(&q)));
    assert_eq!(headers.get("x-first-death-exchange"), Some(Value::text(&x)));
}

#[test]
fn bad_publishes_close_the_channel() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let internal = exchange::Declare { internal: true, ..declare_exchange("internal", "fanout") };
    assert_eq!(channel.call(&internal), "exchange.declare-ok");
    let cc = table([("CC", Value::text("k"))]);
    let bcc = table([("BCC", Value::I32(1))]);
    let with_expiration = |text| Properties { expiration: Some(text), ..Properties::default() };
    let none = Properties::default();
    for (exchange, properties, error) in [
        ("missing", none, "404 basic.publish NOT_FOUND - no exchange 'missing' in vhost '/'"),
        (
            "internal",
            none,
            "403 basic.publish ACCESS_REFUSED - \
             cannot publish to internal exchange 'internal' in vhost '/'",
        ),
        ("", with_expiration(b"abc"), "406 invalid expiration 'abc': no_integer"),
        ("", with_expiration(b""), "406 invalid expiration '': no_integer"),
        ("", with_expiration(b" 10"), "406 invalid expiration ' 10': no_integer"),
        ("", with_expiration(b"-1"), "406 invalid expiration '-1': {value_negative,-1}"),
        (
            "",
            with_expiration(b"10abc"),
            "406 invalid expiration '10abc': {leftover_string,\"abc\"}",
        ),
        ("", with_expiration(b"1.5"), "406 invalid expiration '1.5': {leftover_string,\".5\"}"),
        (
            "",
            with_expiration(b"400000000000"),
            "406 invalid expiration '400000000000': {value_too_large,400000000000}",
        ),
        (
            "",
            Properties { user_id: Some(b"bob"), ..none },
            "406 user_id property set to 'bob' but authenticated user was 'guest'",
        ),
        (
            "",
            Properties { headers: Some(cc.as_table()), ..none },
            "406 invalid message: {unacceptable_type_in_header,\"CC\",longstr}",
        ),
        (
            "",
            Properties { headers: Some(bcc.as_table()), ..none },
            "406 invalid message: {unacceptable_type_in_header,\"BCC\",signedint}",
        ),
    ] {
        channel.publish_with(&publish(exchange, "k"), &properties, b"x");
        let error = error.replace("406 ", "406 basic.publish PRECONDITION_FAILED - ");
        assert_eq!(channel.recv(), format!("channel.close {error}"));
        channel.reopen();
    }
}

#[test]
fn immediate_is_not_implemented() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let immediate = basic::Publish { immediate: true, ..publish("", "q") };
    channel.publish_with(&immediate, &Properties::default(), b"x");
    assert_eq!(
        channel.recv(),
        "connection.close 540 basic.publish NOT_IMPLEMENTED - immediate=true"
    );
}

#[test]
fn a_valid_expiration_is_kept() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for text in ["60000", "315360000000", "+60000"] {
        let properties = Properties { expiration: Some(text.as_bytes()), ..Properties::default() };
        channel.publish_with(&publish("", "q"), &properties, b"x");
        let answer = channel.call(&get("q"));
        assert_eq!(answer.properties().expiration, Some(text.as_bytes()), "{answer}");
    }
}

/// Whole, with all its properties, so that the sender can match or mend it.
#[test]
fn mandatory_messages_come_back() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let mandatory = basic::Publish { mandatory: true, ..publish("amq.direct", "nowhere") };
    let headers = table([("number", Value::I64(7))]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        message_id: Some(b"id"),
        ..Properties::default()
    };
    let body = vec![b'x'; 200_000];
    channel.publish_with(&mandatory, &properties, &body);
    let answer = channel.recv();
    assert!(answer.starts_with("basic.return 312 NO_ROUTE amq.direct nowhere: x"), "{answer}");
    assert_eq!(answer.properties(), properties);
    assert_eq!(answer.body(), body);

    // Those that reach a queue, and those nobody asked about, do not.
    channel.call(&declare("q"));
    let routed = basic::Publish { mandatory: true, ..publish("", "q") };
    channel.publish_with(&routed, &Properties::default(), b"");
    channel.publish("amq.direct", "nowhere", "");
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
}

#[test]
fn messages_of_a_channel_keep_their_order() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for number in 0..1000 {
        channel.publish("", "q", number.to_string());
    }
    for number in 0..1000 {
        let answer = channel.call(&get("q"));
        assert_eq!(answer.body(), number.to_string().as_bytes());
    }
}

#[test]
fn a_message_over_the_limit_is_refused() {
    let config = "[amqp]\nmax_message_size = \"1KiB\"\n";
    let Some(broker) = Broker::configured(config, "needs a small message limit") else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", [b'x'; 1024]);
    assert_eq!(channel.call(&get("q")).body().len(), 1024);
    channel.publish("", "q", [b'x'; 1025]);
    assert_eq!(
        channel.recv(),
        "channel.close 406 basic.publish PRECONDITION_FAILED - \
         message size 1025 is larger than configured max size 1024"
    );
}

/// However TCP cuts them: whole publishes are taken in one piece, others frame by frame.
#[test]
fn publishes_arrive_the_same_wherever_they_are_cut() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    let bodies = [&b"first"[..], b"", b"third"];
    let mut wire = Vec::new();
    for body in bodies {
        publish("", "q").encode_frame(1, &mut wire);
        encode_content(1, &[0x10, 0, 1], body, 0, &mut wire);
    }
    for cut in 1..wire.len() {
        let (before, behind) = wire.split_at(cut);
        connection.send_bytes(before);
        connection.send_bytes(behind);
        for body in bodies {
            let answer = channel.call(&get("q"));
            assert_eq!(answer.body(), body, "cut at {cut}");
            assert_eq!(answer.properties().delivery_mode, Some(1), "cut at {cut}");
        }
        assert_eq!(channel.call(&get("q")), "basic.get-empty");
    }
}
