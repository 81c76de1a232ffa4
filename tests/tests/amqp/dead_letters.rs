//! What dies in a queue goes to its dead-letter exchange.

use leveret_tests::codec::{Properties, TableBuilder, Value, basic, exchange, queue, tx};
use leveret_tests::{
    Account, Answer, Broker, Channel, Login, bind, confirm_select, consume, declare,
    declare_exchange, eventually, get, nack, passive, publish, qos, reject, table,
};

use crate::check;

const DLX: &str = "x-dead-letter-exchange";
const DLRK: &str = "x-dead-letter-routing-key";

/// A queue `dead`, consumed from, and a queue `q` that dead-letters to it.
fn dying(channel: &Channel, more: &[(&str, Value<'_>)]) {
    let mut arguments = table([(DLX, Value::text("")), (DLRK, Value::text("dead"))]);
    for (key, value) in more {
        let builder = TableBuilder::from_table(arguments.as_table());
        arguments = builder.put(key, *value).build();
    }
    channel.call(&declare("dead"));
    let q = queue::Declare { arguments: arguments.as_table(), ..declare("q") };
    assert_eq!(channel.call(&q), "queue.declare-ok q 0 0");
    let consume = basic::Consume { no_ack: true, ..consume("dead", "c") };
    assert_eq!(channel.call(&consume), "basic.consume-ok c");
}

/// What a dead letter says of its last death.
fn last_death(delivery: &Answer) -> String {
    let headers = delivery.properties().headers.unwrap();
    let deaths = headers.get("x-death").and_then(|deaths| deaths.as_array()).unwrap();
    let last = deaths.iter().next().and_then(|death| death.as_table()).unwrap();
    let text = |key| last.get(key).and_then(|value| value.as_str()).unwrap();
    let count = last.get("count").and_then(|count| count.as_integer()).unwrap();
    format!("{} {} {count}", text("queue"), text("reason"))
}

#[test]
fn the_expired_are_delivered_when_their_time_is_over() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    dying(&channel, &[("x-message-ttl", Value::I32(50))]);
    let given = Properties { message_id: Some(b"m"), ..Properties::default() };
    channel.publish_with(&publish("", "q"), &given, b"body");
    let delivery = channel.recv();
    assert_eq!(delivery, "basic.deliver c 1 '' dead: body");
    assert_eq!(last_death(&delivery), "q expired 1");
    assert_eq!(delivery.properties().message_id, given.message_id);
}

/// Its time there begins when it gets there, and the time it had before is gone.
#[test]
fn a_dead_letter_has_the_time_of_its_new_queue() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let onward = table([
        (DLX, Value::text("")),
        (DLRK, Value::text("dead")),
        ("x-message-ttl", Value::I32(200)),
    ]);
    channel.call(&queue::Declare { arguments: onward.as_table(), ..declare("between") });
    let start = table([(DLX, Value::text("")), (DLRK, Value::text("between"))]);
    channel.call(&queue::Declare { arguments: start.as_table(), ..declare("q") });
    channel.call(&declare("dead"));
    channel.call(&basic::Consume { no_ack: true, ..consume("dead", "c") });
    let begin = std::time::Instant::now();
    let given = Properties { expiration: Some(b"150"), ..Properties::default() };
    channel.publish_with(&publish("", "q"), &given, b"body");
    let delivery = channel.recv();
    // The broker counts in whole milliseconds.
    assert!(begin.elapsed().as_millis() >= 348, "{:?}", begin.elapsed());
    assert_eq!(last_death(&delivery), "between expired 1");
}

/// Nobody saw its time end.
#[test]
fn what_expires_while_the_broker_is_down_is_delivered() {
    let Some(mut broker) = Broker::own("stops the broker") else { return };
    let channel = broker.connect().channel(1);
    let arguments = table([(DLX, Value::text("")), (DLRK, Value::text("dead"))]);
    channel.call(&queue::Declare { durable: true, ..declare("dead") });
    let arguments = arguments.as_table();
    channel.call(&queue::Declare { durable: true, arguments, ..declare("q") });
    channel.call(&confirm_select());
    for (expiration, body) in [(&b"200"[..], "short"), (b"3600000", "long")] {
        let given = Properties {
            expiration: Some(expiration),
            delivery_mode: Some(2),
            ..Properties::default()
        };
        channel.publish_with(&publish("", "q"), &given, body.as_bytes());
        assert!(channel.recv().starts_with("basic.ack "));
    }
    broker.terminate();
    std::thread::sleep(std::time::Duration::from_millis(250));
    broker.restart();
    let channel = broker.connect().channel(1);
    channel.call(&consume("dead", "c"));
    let delivery = channel.recv();
    assert_eq!(delivery.body(), b"short");
    assert_eq!(last_death(&delivery), "q expired 1");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 2 '' q 0: long");
}

#[test]
fn a_message_loses_the_expiration_it_died_of() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    dying(&channel, &[]);
    let given = Properties { expiration: Some(b"50"), ..Properties::default() };
    channel.publish_with(&publish("", "q"), &given, b"body");
    let delivery = channel.recv();
    assert_eq!(delivery.properties().expiration, None);
    let headers = delivery.properties().headers.unwrap();
    let deaths = headers.get("x-death").and_then(|deaths| deaths.as_array()).unwrap();
    let death = deaths.iter().next().and_then(|death| death.as_table()).unwrap();
    assert_eq!(death.get("original-expiration"), Some(Value::text("50")));
}

#[test]
fn the_rejected_are_delivered() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    dying(&channel, &[]);
    let own = channel.connection().channel(2);
    for body in ["1", "2", "3"] {
        own.publish("", "q", body);
        own.call(&get("q"));
    }
    own.send(&basic::Reject { requeue: false, ..reject(1) });
    own.send(&basic::Nack { requeue: false, multiple: true, ..nack(3) });
    for (number, body) in (1..).zip(["1", "2", "3"]) {
        let delivery = channel.recv();
        assert_eq!(delivery, format!("basic.deliver c {number} redelivered '' dead: {body}"));
        assert_eq!(last_death(&delivery), "q rejected 1");
    }
}

/// Each looks at so many bindings that few of them make a turn. Whoever rejects them is not listened to until
/// they have gone, or could have ever more wait.
#[test]
fn who_rejects_waits_for_dead_letters_that_take_long() {
    const BINDINGS: usize = 20_000;
    const LETTERS: usize = 50;
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&exchange::Declare { auto_delete: true, ..declare_exchange("wide", "fanout") });
    channel.call(&declare("dead"));
    let mut requests = Vec::new();
    for number in 0..BINDINGS {
        queue::Bind { nowait: true, ..bind("dead", "wide", &number.to_string()) }
            .encode_frame(1, &mut requests);
    }
    connection.send_bytes(&requests);
    let arguments = table([(DLX, Value::text("wide"))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    let own = connection.channel(2);
    own.call(&consume("q", "rejects"));
    let mut rejected = 0;
    let mut reject_some = |each: &dyn Fn(u64)| {
        (0..LETTERS).for_each(|_| channel.publish("", "q", ""));
        own.recv_many(LETTERS);
        let first = rejected + 1;
        rejected += LETTERS as u64;
        (first..=rejected).for_each(each);
        // In the turn of the last of them, or behind it.
        own.call(&qos(0));
        let all = format!("queue.declare-ok dead {rejected} 0");
        assert_eq!(channel.call(&passive("dead")), all);
    };
    reject_some(&|tag| own.send(&basic::Reject { requeue: false, ..reject(tag) }));
    reject_some(&|tag| own.send(&basic::Nack { requeue: false, ..nack(tag) }));
    reject_some(&|tag| {
        if tag % LETTERS as u64 == 0 {
            own.send(&basic::Nack { requeue: false, multiple: true, ..nack(tag) });
        }
    });
}

#[test]
fn what_has_no_room_is_delivered() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    dying(&channel, &[("x-max-length", Value::I32(1))]);
    for body in ["1", "2"] {
        channel.publish("", "q", body);
    }
    let delivery = channel.recv();
    assert_eq!(delivery, "basic.deliver c 1 '' dead: 1");
    assert_eq!(last_death(&delivery), "q maxlen 1");
}

#[test]
fn a_refused_publish_is_nacked_and_delivered() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let overflow = ("x-overflow", Value::text("reject-publish-dlx"));
    dying(&channel, &[("x-max-length", Value::I32(1)), overflow]);
    let publisher = channel.connection().channel(2);
    publisher.call(&confirm_select());
    publisher.publish("", "q", "1");
    assert_eq!(publisher.recv(), "basic.ack 1");
    publisher.publish("", "q", "2");
    assert!(publisher.recv().starts_with("basic.nack 2"));
    let delivery = channel.recv();
    assert_eq!(delivery, "basic.deliver c 1 '' dead: 2");
    assert_eq!(last_death(&delivery), "q maxlen 1");
}

#[test]
fn a_transaction_rejects_at_commit() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    dying(&channel, &[]);
    let own = channel.connection().channel(2);
    own.publish("", "q", "body");
    own.call(&get("q"));
    own.call(&tx::Select {});
    own.send(&basic::Reject { requeue: false, ..reject(1) });
    own.call(&tx::Rollback {});
    assert_eq!(own.call(&passive("dead")), "queue.declare-ok dead 0 1");
    own.send(&basic::Reject { requeue: false, ..reject(1) });
    assert_eq!(own.call(&tx::Commit {}), "tx.commit-ok");
    assert_eq!(channel.recv(), "basic.deliver c 1 redelivered '' dead: body");
}

#[test]
fn headers_route_the_dead() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare_exchange("dlx", "headers"));
    let arguments = table([(DLX, Value::text("dlx")), ("x-max-length", Value::I32(0))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare("q") });
    channel.call(&declare("dead"));
    let matching = table([("x-match", Value::text("all")), ("kind", Value::text("order"))]);
    channel.call(&queue::Bind { arguments: matching.as_table(), ..bind("dead", "dlx", "") });
    for (kind, body) in [("offer", "1"), ("order", "2")] {
        let headers = table([("kind", Value::text(kind))]);
        let given = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        channel.publish_with(&publish("", "q"), &given, body.as_bytes());
    }
    eventually(|| channel.call(&passive("dead")) == "queue.declare-ok dead 1 0");
    assert_eq!(channel.call(&get("dead")), "basic.get-ok 1 dlx q 0: 2");
}

#[test]
fn arguments_are_checked() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let bad = [
        table([(DLX, Value::I32(1))]),
        table([(DLRK, Value::text("k"))]),
        table([(DLX, Value::text("")), (DLRK, Value::I32(1))]),
    ];
    let good = table([(DLX, Value::text("nowhere")), (DLRK, Value::text("k"))]);
    let declare = |arguments| queue::Declare { arguments, ..declare("q") };
    let refused =
        |what: &str| format!("channel.close 406 queue.declare PRECONDITION_FAILED - {what}");
    let invalid = |reason: &str| {
        refused(&format!("invalid arg '{DLRK}' for queue 'q' in vhost '/': {reason}"))
    };
    check(
        &channel,
        &[
            (
                &declare(bad[0].as_table()),
                &refused(&format!(
                    "invalid type 'signedint' for arg '{DLX}' in queue 'q' in vhost '/'"
                )),
            ),
            (&declare(bad[1].as_table()), &invalid("routing_key_but_no_dlx_defined")),
            (&declare(bad[2].as_table()), &invalid("{unacceptable_type,signedint}")),
            (&declare(good.as_table()), "queue.declare-ok q 0 0"),
            (&declare(good.as_table()), "queue.declare-ok q 0 0"),
        ],
    );
}

#[test]
fn the_exchange_needs_permission() {
    const USER: Account<'_> =
        Account { name: "ro", tag: "", permissions: Some(["^ro-", "^ro-", "^ro-"]), topic: None };
    let Some(broker) = Broker::with_accounts(&[USER]) else { return };
    let login = Login { response: b"\0ro\0ro", ..Login::default() };
    let channel = broker.connect_as(&login).unwrap().channel(1);
    let foreign = table([(DLX, Value::text("x"))]);
    let own = table([(DLX, Value::text("ro-x"))]);
    let declare = |arguments| queue::Declare { arguments, ..declare("ro-q") };
    check(
        &channel,
        &[
            (
                &declare(foreign.as_table()),
                "channel.close 403 queue.declare ACCESS_REFUSED - write access to exchange 'x' in \
                 vhost '/' refused for user 'ro'",
            ),
            (&declare(own.as_table()), "queue.declare-ok ro-q 0 0"),
        ],
    );
}

#[test]
fn the_dead_outlive_the_process() {
    let Some(mut broker) = Broker::own("kills the broker") else { return };
    let channel = broker.connect().channel(1);
    let arguments = table([(DLX, Value::text("")), (DLRK, Value::text("dead"))]);
    channel.call(&queue::Declare { durable: true, ..declare("dead") });
    let arguments = arguments.as_table();
    channel.call(&queue::Declare { durable: true, arguments, ..declare("q") });
    channel.call(&confirm_select());
    channel.publish_persistent("q", "body");
    assert_eq!(channel.recv(), "basic.ack 1");
    channel.call(&get("q"));
    channel.send(&basic::Reject { requeue: false, ..reject(1) });
    // What is confirmed after this turn was written after what it wrote.
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
    channel.publish_persistent("q", "later");
    assert_eq!(channel.recv(), "basic.ack 2");
    broker.kill9();
    broker.restart();
    let channel = broker.connect().channel(1);
    check(
        &channel,
        &[
            // After a crash, whatever may have been delivered is marked.
            (&get("q"), "basic.get-ok 1 redelivered '' q 0: later"),
            (&get("dead"), "basic.get-ok 2 redelivered '' dead 0: body"),
        ],
    );
}
