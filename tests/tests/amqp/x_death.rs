//! What dead letters tell of their deaths, and which of them go on.

use leveret_tests::codec::{Array, ArrayBuilder, Properties, Table, Value, basic, queue};
use leveret_tests::{
    Answer, Broker, Channel, bind, confirm_select, declare, declare_exchange, delete, eventually,
    get, nack, passive, publish, reject, table,
};

use crate::check;

/// Declares a queue whose dead letters go to the queue `to` by the default exchange.
fn dying(channel: &Channel, name: &str, to: &str, ttl: Option<i32>) {
    let mut arguments = vec![
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text(to)),
    ];
    arguments.extend(ttl.map(|ttl| ("x-message-ttl", Value::I32(ttl))));
    declare_with(channel, name, &arguments);
}

fn declare_with(channel: &Channel, name: &str, arguments: &[(&str, Value<'_>)]) {
    let builder = leveret_tests::codec::TableBuilder::new();
    let arguments = arguments.iter().fold(builder, |table, (key, value)| table.put(key, *value));
    let arguments = arguments.build();
    let queue = queue::Declare { arguments: arguments.as_table(), ..declare(name) };
    assert_eq!(channel.call(&queue), format!("queue.declare-ok {name} 0 0"));
}

/// Gets the next message as soon as there is one.
fn await_message(channel: &Channel, queue: &str) -> Answer {
    let mut answer = channel.call(&get(queue));
    eventually(|| {
        if answer == "basic.get-empty" {
            answer = channel.call(&get(queue));
        }
        answer != "basic.get-empty"
    });
    answer
}

fn discard(channel: &Channel, delivery: &Answer) {
    let delivery_tag = delivery.delivery_tag();
    channel.send(&basic::Nack { requeue: false, ..nack(delivery_tag) });
}

fn deaths(delivery: &Answer) -> Vec<String> {
    let properties = delivery.properties();
    let deaths = properties.headers.and_then(|headers| headers.get("x-death")?.as_array());
    deaths.unwrap_or_default().iter().map(|death| told(death.as_table().unwrap())).collect()
}

/// A death in one line: `queue reason count exchange keys`, and the expiration it died of.
fn told(death: Table<'_>) -> String {
    let text = |key| death.get(key).and_then(|value| value.as_str()).unwrap();
    let count = death.get("count").unwrap();
    assert!(matches!(count, Value::I64(_)), "{count:?}");
    assert!(
        matches!(death.get("time"), Some(Value::Timestamp(seconds)) if seconds > 1_600_000_000)
    );
    let keys = death.get("routing-keys").and_then(|keys| keys.as_array()).unwrap();
    let keys: Vec<_> = keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect();
    let expiration = match death.get("original-expiration") {
        Some(expiration) => format!(" after {}", expiration.as_str().unwrap()),
        None => String::new(),
    };
    let known = ["queue", "reason", "count", "time", "exchange", "routing-keys"];
    let named = death.iter().filter(|(key, _)| *key != b"original-expiration");
    assert_eq!(named.count(), known.len(), "{death:?}");
    let (queue, reason, exchange) = (text("queue"), text("reason"), text("exchange"));
    format!("{queue} {reason} {count} '{exchange}' {}{expiration}", keys.join(","))
}

/// `x-first-death-*` or `x-last-death-*`: the exchange, the queue, the reason.
fn milestone(delivery: &Answer, which: &str) -> [String; 3] {
    let headers = delivery.properties().headers.unwrap();
    ["exchange", "queue", "reason"].map(|what| {
        let value = headers.get(&format!("x-{which}-death-{what}")).unwrap();
        value.as_str().unwrap().to_owned()
    })
}

fn keys(keys: &[&str]) -> leveret_tests::codec::ArrayBuf {
    keys.iter().fold(ArrayBuilder::new(), |array, key| array.push(*key)).build()
}

/// One entry for each queue and reason, the latest in front; the first death stays the first.
#[test]
fn deaths_are_counted_by_queue_and_reason() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    dying(&channel, "a", "b", Some(20));
    dying(&channel, "b", "a", None);
    channel.publish("", "a", "x");
    let first = await_message(&channel, "b");
    assert_eq!(deaths(&first), ["a expired 1 '' a"]);
    assert_eq!(milestone(&first, "first"), ["", "a", "expired"]);
    assert_eq!(milestone(&first, "last"), ["", "a", "expired"]);
    discard(&channel, &first);
    let second = await_message(&channel, "b");
    assert_eq!(deaths(&second), ["a expired 2 '' a", "b rejected 1 '' b"]);
    discard(&channel, &second);
    let third = await_message(&channel, "b");
    assert_eq!(deaths(&third), ["a expired 3 '' a", "b rejected 2 '' b"]);
    assert_eq!(milestone(&third, "first"), ["", "a", "expired"]);
    assert_eq!(milestone(&third, "last"), ["", "a", "expired"]);
}

/// The copies it had are named, the hidden ones are not; what it died of is told.
#[test]
fn all_that_is_known_of_a_death_is_told() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare_exchange("dlx", "fanout"));
    channel.call(&declare("dead"));
    channel.call(&bind("dead", "dlx", ""));
    declare_with(&channel, "q", &[("x-dead-letter-exchange", Value::text("dlx"))]);
    let (cc, bcc) = (keys(&["c1", "c2"]), keys(&["hidden"]));
    let headers = table([
        ("a", Value::I32(1)),
        ("CC", Value::Array(cc.as_array())),
        ("BCC", Value::Array(bcc.as_array())),
    ]);
    let properties = Properties {
        headers: Some(headers.as_table()),
        expiration: Some(b"30"),
        priority: Some(3),
        correlation_id: Some(b"id"),
        ..Properties::default()
    };
    channel.publish_with(&publish("", "q"), &properties, b"body");
    let delivery = await_message(&channel, "dead");
    assert_eq!(delivery, "basic.get-ok 1 dlx q 0: body");
    assert_eq!(deaths(&delivery), ["q expired 1 '' q,c1,c2 after 30"]);
    let told = delivery.properties();
    assert_eq!(told.expiration, None);
    assert_eq!((told.priority, told.correlation_id), (Some(3), Some(&b"id"[..])));
    let headers = told.headers.unwrap();
    assert_eq!(headers.get("a"), Some(Value::I32(1)));
    assert_eq!(headers.get("CC"), Some(Value::Array(cc.as_array())));
    assert_eq!(headers.get("BCC"), None);
    // Sorted by name, as RabbitMQ writes headers it has touched.
    let names: Vec<_> = headers.iter().map(|(name, _)| name.to_vec()).collect();
    assert!(names.is_sorted(), "{names:?}");
}

/// The dead letter goes where copies of the message went, unless its queue gives it a key.
#[test]
fn copies_route_the_dead_unless_there_is_a_key() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for (queue, key) in [("by-cc", "cc"), ("by-bcc", "bcc"), ("by-key", "key")] {
        channel.call(&declare(queue));
        channel.call(&bind(queue, "amq.direct", key));
    }
    let dlx = ("x-dead-letter-exchange", Value::text("amq.direct"));
    let full = ("x-max-length", Value::I32(0));
    declare_with(&channel, "plain", &[dlx, full]);
    declare_with(
        &channel,
        "keyed",
        &[dlx, full, ("x-dead-letter-routing-key", Value::text("key"))],
    );
    let (cc, bcc) = (keys(&["cc"]), keys(&["bcc"]));
    let headers =
        table([("CC", Value::Array(cc.as_array())), ("BCC", Value::Array(bcc.as_array()))]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };

    channel.publish_with(&publish("", "plain"), &properties, b"x");
    let delivery = await_message(&channel, "by-cc");
    assert_eq!(delivery, "basic.get-ok 1 amq.direct plain 0: x");
    assert_eq!(deaths(&delivery), ["plain maxlen 1 '' plain,cc"]);
    let delivery = await_message(&channel, "by-bcc");
    assert_eq!(deaths(&delivery), ["plain maxlen 1 '' plain,cc"]);
    assert_eq!(channel.call(&get("by-key")), "basic.get-empty");

    channel.publish_with(&publish("", "keyed"), &properties, b"x");
    let delivery = await_message(&channel, "by-key");
    assert_eq!(delivery, "basic.get-ok 3 amq.direct key 0: x");
    assert_eq!(deaths(&delivery), ["keyed maxlen 1 '' keyed,cc"]);
    // The header stays, and routes no more.
    let headers = delivery.properties().headers.unwrap();
    assert_eq!(headers.get("CC"), Some(Value::Array(cc.as_array())));
    assert_eq!(channel.call(&get("by-cc")), "basic.get-empty");
}

/// Whoever publishes a dead letter again begins anew.
#[test]
fn deaths_that_a_publisher_claims_count_for_nothing() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    dying(&channel, "q", "dead", None);
    channel.call(&declare("dead"));
    channel.publish("", "q", "x");
    discard(&channel, &await_message(&channel, "q"));
    let dead = await_message(&channel, "dead");
    channel.publish_with(&publish("", "q"), &dead.properties(), b"again");
    discard(&channel, &await_message(&channel, "q"));
    let dead = await_message(&channel, "dead");
    assert_eq!(deaths(&dead), ["q rejected 1 '' q"]);
    let claims = table([
        ("x-death", Value::Array(Array::EMPTY)),
        ("x-first-death-queue", Value::text("lie")),
        ("x-last-death-reason", Value::text("lie")),
    ]);
    let claims = Properties { headers: Some(claims.as_table()), ..Properties::default() };
    channel.publish_with(&publish("", "q"), &claims, b"lies");
    discard(&channel, &await_message(&channel, "q"));
    let dead = await_message(&channel, "dead");
    assert_eq!(milestone(&dead, "first"), ["", "q", "rejected"]);
    assert_eq!(milestone(&dead, "last"), ["", "q", "rejected"]);
}

/// No client did anything: the message would run for ever.
#[test]
fn circles_without_a_rejection_end() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    dying(&channel, "self", "self", Some(20));
    dying(&channel, "one", "two", Some(20));
    dying(&channel, "two", "one", Some(20));
    channel.call(&declare("fence"));
    dying(&channel, "timer", "fence", Some(60));
    channel.publish("", "self", "x");
    channel.publish("", "one", "x");
    channel.publish("", "timer", "x");
    // Three turns of the circle are over by then, had there been any.
    await_message(&channel, "fence");
    eventually(|| {
        ["self", "one", "two"]
            .iter()
            .all(|queue| channel.call(&passive(queue)) == format!("queue.declare-ok {queue} 0 0"))
    });
}

#[test]
fn rejections_keep_a_circle_going() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    dying(&channel, "q", "q", None);
    channel.publish("", "q", "x");
    for count in 1..=5 {
        discard(&channel, &await_message(&channel, "q"));
        let delivery = await_message(&channel, "q");
        assert_eq!(deaths(&delivery), [format!("q rejected {count} '' q")]);
        channel.send(&reject(delivery.delivery_tag()));
    }
}

/// Without the exchange, or without a queue behind it, the dead are gone; confirms are not held up.
#[test]
fn without_a_way_on_the_dead_are_gone() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    let full = ("x-max-length", Value::I32(0));
    declare_with(&channel, "lost", &[("x-dead-letter-exchange", Value::text("none")), full]);
    channel.publish("", "lost", "1");
    assert_eq!(channel.recv(), "basic.ack 1");
    // It is looked for each time.
    channel.call(&declare_exchange("none", "fanout"));
    channel.publish("", "lost", "2");
    assert_eq!(channel.recv(), "basic.ack 2");
    channel.call(&declare("dead"));
    channel.call(&bind("dead", "none", ""));
    channel.publish("", "lost", "3");
    assert_eq!(channel.recv(), "basic.ack 3");
    assert_eq!(await_message(&channel, "dead"), "basic.get-ok 1 none lost 0: 3");
}

/// A queue that goes takes its messages with it, and so does a purge.
#[test]
fn deleting_expiring_and_purging_kill_nothing() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("dead"));
    let to_dead = [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ];
    for queue in ["deleted", "purged"] {
        declare_with(&channel, queue, &to_dead);
        channel.publish("", queue, "x");
    }
    let [exchange, key] = to_dead;
    declare_with(&channel, "expiring", &[exchange, key, ("x-expires", Value::I32(50))]);
    channel.publish("", "expiring", "x");
    check(
        &channel,
        &[
            (&delete("deleted"), "queue.delete-ok 1"),
            (&leveret_tests::purge("purged"), "queue.purge-ok 1"),
        ],
    );
    let other = broker.connect().channel(1);
    eventually(|| {
        let unroutable = basic::Publish { mandatory: true, ..publish("", "expiring") };
        other.publish_with(&unroutable, &Properties::default(), b"");
        other.call(&passive("dead")).starts_with("basic.return ") && {
            other.recv();
            true
        }
    });
    assert_eq!(channel.call(&passive("dead")), "queue.declare-ok dead 0 0");
}
