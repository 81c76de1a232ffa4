//! What client libraries and frameworks do with a broker, frame by frame as they do it. Those that
//! run here themselves are in `interop/`.

use std::time::{Duration, Instant};

use leveret_tests::codec::{Method, Properties, TableBuf, Value, basic, exchange, queue};
use leveret_tests::{
    Broker, ack, bind, bind_exchange, confirm_select, consume, declare, declare_exchange, delete,
    eventually, get, nack, passive, publish, qos, reject, table,
};

use crate::check;

fn durable<'a>(name: &'a str, arguments: &'a TableBuf) -> queue::Declare<'a> {
    queue::Declare { durable: true, arguments: arguments.as_table(), ..declare(name) }
}

fn durable_exchange<'a>(name: &'a str, kind: &'a str) -> exchange::Declare<'a> {
    exchange::Declare { durable: true, ..declare_exchange(name, kind) }
}

/// NServiceBus, kombu and others branch on the product and parse the version: whoever needs another
/// one configures it.
#[test]
fn product_and_version_are_what_the_configuration_says() {
    let config = "[server_properties]\nproduct = \"RabbitMQ\"\nversion = \"3.13.7\"\n\
                  cluster_name = \"rabbit@somewhere\"\n";
    let Some(broker) = Broker::configured(config, "sets what it is") else { return };
    let answer = broker.dial().greet();
    let Method::ConnectionStart(start) = answer.method() else { panic!("{answer}") };
    for (key, value) in
        [("product", "RabbitMQ"), ("version", "3.13.7"), ("cluster_name", "rabbit@somewhere")]
    {
        assert_eq!(start.server_properties.get(key), Some(Value::text(value)));
    }
}

/// The same number comes as another type from every language, and from amqplib as the smallest
/// that fits: all declare the same queue.
#[test]
fn integers_of_any_width_are_equal() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let widths = [
        Value::I8(100),
        Value::U8(100),
        Value::I16(100),
        Value::U16(100),
        Value::I32(100),
        Value::U32(100),
        Value::I64(100),
    ];
    let arguments = widths.map(|value| table([("x-max-length", value), ("x-expires", value)]));
    for arguments in arguments.iter().chain(arguments.iter().rev()) {
        let q = queue::Declare { arguments: arguments.as_table(), ..declare("q") };
        assert_eq!(channel.call(&q), "queue.declare-ok q 0 0", "{q:?}");
    }
}

/// NestJS and Celery declare queues that are neither durable nor anybody's own.
#[test]
fn transient_queues_are_for_everybody() {
    let broker = Broker::start();
    let (one, other) = (broker.connect(), broker.connect().channel(1));
    assert_eq!(one.channel(1).call(&declare("q")), "queue.declare-ok q 0 0");
    one.close();
    other.publish("", "q", "x");
    assert_eq!(other.call(&get("q")), "basic.get-ok 1 '' q 0: x");
}

/// Spring's `RabbitAdmin` declares all it knows on one channel at each connect: one refusal would
/// leave out what comes after it.
#[test]
fn spring_declares_everything_anew_at_each_connect() {
    let broker = Broker::start();
    let work = table([
        ("x-dead-letter-exchange", Value::text("DLX")),
        ("x-dead-letter-routing-key", Value::text("work.group")),
        ("x-message-ttl", Value::I32(60_000)),
        ("x-max-priority", Value::I32(10)),
        ("x-queue-mode", Value::text("lazy")),
    ]);
    let partition =
        table([("x-expires", Value::I64(60_000)), ("x-queue-type", Value::text("classic"))]);
    let quorum =
        table([("x-queue-type", Value::text("quorum")), ("x-delivery-limit", Value::I32(3))]);
    let delayed = table([("x-delayed-type", Value::text("topic"))]);
    let delayed = exchange::Declare {
        arguments: delayed.as_table(),
        ..durable_exchange("delayed", "x-delayed-message")
    };
    for connect in 0..3 {
        let channel = broker.connect().channel(1);
        check(
            &channel,
            &[
                (&durable_exchange("work", "topic"), "exchange.declare-ok"),
                (&durable_exchange("DLX", "direct"), "exchange.declare-ok"),
                (&delayed, "exchange.declare-ok"),
                (&durable("work.group", &work), "queue.declare-ok work.group 0 0"),
                (&durable("work.group-0", &partition), "queue.declare-ok work.group-0 0 0"),
                (&durable("work.quorum", &quorum), "queue.declare-ok work.quorum 0 0"),
                (&bind("work.group", "work", "#"), "queue.bind-ok"),
                (&bind("work.group-0", "work", "work-0"), "queue.bind-ok"),
            ],
        );
        // Its anonymous queues; the argument's name was another one before.
        for locator in ["x-queue-leader-locator", "x-queue-master-locator"] {
            let name = format!("spring.gen-{connect}-{locator}");
            let arguments = table([(locator, Value::text("client-local"))]);
            let anonymous = queue::Declare {
                exclusive: true,
                auto_delete: true,
                arguments: arguments.as_table(),
                ..declare(&name)
            };
            assert_eq!(channel.call(&anonymous), format!("queue.declare-ok {name} 0 0"));
        }
    }
}

/// Its containers look for the queue, and say nothing about those two errors by what the close
/// names: class 50, method 10, and "in exclusive use" of class 60, method 20.
#[test]
fn spring_knows_errors_by_the_method_and_the_text() {
    let broker = Broker::start();
    let connection = broker.connect();
    let (channel, other) = (connection.channel(1), connection.channel(2));
    let answer = channel.call(&passive("missing"));
    let Method::ChannelClose(close) = answer.method() else { panic!("{answer}") };
    assert_eq!((close.reply_code, close.class_id, close.method_id), (404, 50, 10));
    channel.reopen();
    channel.call(&declare("q"));
    channel.call(&qos(250));
    let exclusive = basic::Consume { exclusive: true, ..consume("q", "") };
    assert!(channel.call(&exclusive).starts_with("basic.consume-ok amq.ctag-"));
    let answer = other.call(&exclusive);
    let Method::ChannelClose(close) = answer.method() else { panic!("{answer}") };
    assert_eq!((close.reply_code, close.class_id, close.method_id), (403, 60, 20));
    assert!(close.reply_text.contains("in exclusive use"), "{answer}");
}

/// Spring and .NET find out which publish came back by a header they put into it.
#[test]
fn returns_carry_what_clients_match_them_by() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    let mandatory = basic::Publish { mandatory: true, ..publish("amq.direct", "nowhere") };
    for number in 1..=3 {
        let id = format!("correlation {number}");
        let headers = table([
            ("spring_returned_message_correlation", Value::text(&id)),
            ("x-dotnet-pub-seq-no", Value::I64(number)),
        ]);
        let given = Properties {
            headers: Some(headers.as_table()),
            delivery_mode: Some(2),
            ..Properties::default()
        };
        channel.publish_with(&mandatory, &given, b"");
        let returned = channel.recv();
        assert!(returned.starts_with("basic.return 312 NO_ROUTE amq.direct nowhere"));
        assert_eq!(returned.properties(), given);
        assert_eq!(channel.recv(), format!("basic.ack {number}"));
    }
}

/// MassTransit: an exchange for each kind of message, bound to the exchange of each endpoint, which
/// has a queue behind it; a queue that goes for the process.
#[test]
fn masstransit_passes_messages_from_exchange_to_exchange() {
    let broker = Broker::start();
    let quorum = table([("x-queue-type", Value::text("quorum"))]);
    let single = table([("x-single-active-consumer", Value::Bool(true))]);
    let passing = table([("x-expires", Value::I32(60_000))]);
    for _ in 0..2 {
        let channel = broker.connect().channel(1);
        let bus = queue::Declare {
            auto_delete: true,
            arguments: passing.as_table(),
            ..declare("host_app_bus_abc")
        };
        let bus_exchange = exchange::Declare {
            auto_delete: true,
            ..declare_exchange("host_app_bus_abc", "fanout")
        };
        check(
            &channel,
            &[
                (&durable_exchange("Contracts:OrderPlaced", "fanout"), "exchange.declare-ok"),
                (&durable_exchange("Contracts:Order", "fanout"), "exchange.declare-ok"),
                (&durable_exchange("orders", "fanout"), "exchange.declare-ok"),
                (&durable_exchange("orders_error", "fanout"), "exchange.declare-ok"),
                (&durable("orders", &quorum), "queue.declare-ok orders 0 0"),
                (&durable("orders_error", &single), "queue.declare-ok orders_error 0 0"),
                (&bus, "queue.declare-ok host_app_bus_abc 0 0"),
                (&bus_exchange, "exchange.declare-ok"),
                (&bind("host_app_bus_abc", "host_app_bus_abc", ""), "queue.bind-ok"),
                (
                    &bind_exchange("Contracts:Order", "Contracts:OrderPlaced", ""),
                    "exchange.bind-ok",
                ),
                (&bind_exchange("orders", "Contracts:Order", ""), "exchange.bind-ok"),
                (&bind("orders", "orders", ""), "queue.bind-ok"),
                (&bind("orders_error", "orders_error", ""), "queue.bind-ok"),
            ],
        );
    }
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    channel.publish("Contracts:OrderPlaced", "", "order");
    assert_eq!(channel.recv(), "basic.ack 1");
    assert_eq!(channel.call(&get("orders")), "basic.get-ok 1 Contracts:OrderPlaced '' 0: order");
    channel.publish("orders_error", "", "failed");
    assert_eq!(channel.recv(), "basic.ack 2");
    assert_eq!(channel.call(&get("orders_error")), "basic.get-ok 2 orders_error '' 0: failed");
}

/// NServiceBus, and Celery from 5.5 on, delay by the bits of a number: 28 queues, each twice as slow
/// as the one before, and topic exchanges that send a message through those whose bit is set.
#[test]
fn delays_are_made_of_levels() {
    const LEVELS: u32 = 28;
    let unit = Duration::from_millis(20);
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let level_name = |level: u32| format!("nsb.v2.delay-level-{level:02}");
    channel.call(&durable_exchange("nsb.v2.delay-delivery", "topic"));
    for level in (0..LEVELS).rev() {
        assert_eq!(
            channel.call(&durable_exchange(&level_name(level), "topic")),
            "exchange.declare-ok"
        );
    }
    for level in 0..LEVELS {
        let name = level_name(level);
        let next =
            level.checked_sub(1).map_or_else(|| "nsb.v2.delay-delivery".to_owned(), level_name);
        let ttl = i64::from(1_u32 << level) * i64::try_from(unit.as_millis()).unwrap();
        let arguments = table([
            ("x-queue-type", Value::text("quorum")),
            ("x-dead-letter-strategy", Value::text("at-least-once")),
            ("x-overflow", Value::text("reject-publish")),
            ("x-message-ttl", Value::I64(ttl)),
            ("x-dead-letter-exchange", Value::text(&next)),
        ]);
        let before = "*.".repeat(usize::try_from(LEVELS - 1 - level).unwrap());
        check(
            &channel,
            &[
                (&durable(&name, &arguments), &format!("queue.declare-ok {name} 0 0")),
                (&bind(&name, &name, &format!("{before}1.#")), "queue.bind-ok"),
                (&bind_exchange(&next, &name, &format!("{before}0.#")), "exchange.bind-ok"),
            ],
        );
    }
    channel.call(&durable("endpoint", &table([("x-queue-type", Value::text("quorum"))])));
    channel.call(&bind("endpoint", "nsb.v2.delay-delivery", "#.endpoint"));
    channel.call(&basic::Consume { no_ack: true, ..consume("endpoint", "c") });
    let start = Instant::now();
    for delay in [5_u32, 2, 0] {
        let bits: String =
            (0..LEVELS).rev().map(|level| format!("{}.", (delay >> level) & 1)).collect();
        let key = format!("{bits}endpoint");
        channel.publish(&level_name(LEVELS - 1), &key, delay.to_string());
    }
    for (delay, levels) in [(0_u32, vec![]), (2, vec![1]), (5, vec![0, 2])] {
        let delivery = channel.recv();
        assert_eq!(delivery.body(), delay.to_string().as_bytes());
        // The broker counts in whole milliseconds.
        let least = (unit * delay).saturating_sub(Duration::from_millis(2));
        assert!(start.elapsed() >= least, "{delivery} after {:?}", start.elapsed());
        let headers = delivery.properties().headers.unwrap_or_default();
        let deaths = headers.get("x-death").and_then(|deaths| deaths.as_array());
        let queues: Vec<_> = deaths
            .unwrap_or_default()
            .iter()
            .map(|death| death.as_table().unwrap().get("queue").unwrap().to_string())
            .collect();
        // The last queue comes first.
        assert_eq!(queues, levels.into_iter().map(level_name).collect::<Vec<_>>());
    }
}

/// Symfony's messenger delays in a queue of its own for each delay, which outlives the message by a
/// while and then goes.
#[test]
fn delay_queues_give_their_message_before_they_go() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([
        ("x-message-ttl", Value::I32(200)),
        ("x-expires", Value::I32(400)),
        ("x-dead-letter-exchange", Value::text("messages")),
        ("x-dead-letter-routing-key", Value::text("")),
    ]);
    check(
        &channel,
        &[
            (&durable_exchange("messages", "fanout"), "exchange.declare-ok"),
            (&durable_exchange("delays", "direct"), "exchange.declare-ok"),
            (&declare("work"), "queue.declare-ok work 0 0"),
            (&bind("work", "messages", ""), "queue.bind-ok"),
            (
                &durable("delay_messages__200_delay", &arguments),
                "queue.declare-ok delay_messages__200_delay 0 0",
            ),
            (&bind("delay_messages__200_delay", "delays", "delay"), "queue.bind-ok"),
            (&basic::Consume { no_ack: true, ..consume("work", "c") }, "basic.consume-ok c"),
        ],
    );
    channel.publish("delays", "delay", "later");
    assert_eq!(channel.recv(), "basic.deliver c 1 messages '': later");
    let mandatory = basic::Publish { mandatory: true, ..publish("delays", "delay") };
    let prober = broker.connect().channel(1);
    eventually(|| {
        prober.publish_with(&mandatory, &Properties::default(), b"");
        let answer = prober.call(&qos(0));
        answer.starts_with("basic.return ") && prober.recv() == "basic.qos-ok"
    });
}

/// pika's generator gives back what it was sent but has not handed out, and only then cancels.
#[test]
fn what_is_given_back_before_a_cancel_is_there_for_others() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for number in 1..=5 {
        channel.publish("", "q", number.to_string());
    }
    channel.call(&qos(3));
    channel.call(&consume("q", "ctag1.abc"));
    channel.recv_many(3);
    channel.send(&ack(1));
    assert_eq!(channel.recv().body(), b"4");
    channel.send(&basic::Nack { multiple: true, ..nack(0) });
    channel.send(&basic::Cancel { consumer_tag: "ctag1.abc", nowait: false });
    while channel.recv() != "basic.cancel-ok ctag1.abc" {}
    channel.send(&basic::Nack { multiple: true, ..nack(0) });
    for number in 2..=5 {
        let answer = channel.call(&basic::Get { no_ack: true, ..get("q") });
        assert_eq!(answer.body(), number.to_string().as_bytes());
    }
    assert_eq!(channel.call(&delete("q")), "queue.delete-ok 0");
}

/// What a retry by a library looks like: the message is published again with one more in a header,
/// and the delivery acknowledged.
#[test]
fn a_message_published_again_is_a_new_one() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "x");
    for attempt in 1..=3 {
        let delivery = channel.call(&get("q"));
        assert_eq!(delivery, format!("basic.get-ok {attempt} '' q 0: x"));
        let headers = table([("x-retries", Value::I32(attempt))]);
        let properties = Properties { headers: Some(headers.as_table()), ..delivery.properties() };
        channel.publish_with(&publish("", "q"), &properties, delivery.body());
        channel.send(&ack(delivery.delivery_tag()));
    }
    let last = channel.call(&get("q"));
    assert_eq!(last, "basic.get-ok 4 '' q 0: x");
    let headers = last.properties().headers.unwrap();
    assert_eq!(headers.get("x-retries"), Some(Value::I32(3)));
    channel.send(&reject(4));
}
