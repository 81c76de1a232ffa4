//! What clients see of policies, as they are set, changed and cleared under them.

use leveret_broker::Actor;
use leveret_broker::policy::{Policy, PolicyKind};
use leveret_tests::codec::{Properties, Value, basic, exchange, queue};
use leveret_tests::{
    Broker, Channel, Connection, bind, confirm_select, consume, declare, declare_exchange,
    eventually, get, nack, passive, publish, reject, table, unbind,
};

const BECAUSE: &str = "sets policies inside the broker";

/// Sets a policy, as `rabbitmqctl set_policy` does.
fn set(broker: &Broker, name: &str, pattern: &str, definition: &str) {
    put(broker, PolicyKind::User, name, Policy::parse(pattern, definition).unwrap());
}

fn put(broker: &Broker, kind: PolicyKind, name: &str, policy: Policy) {
    broker
        .inside()
        .administration(&Actor::program())
        .put_policy("/", kind, name, policy, leveret_server::now())
        .unwrap();
}

fn clear(broker: &Broker, kind: PolicyKind, name: &str) {
    broker
        .inside()
        .administration(&Actor::program())
        .delete_policy("/", kind, name, leveret_server::now())
        .unwrap();
}

fn declare_quorum(channel: &Channel, queue: &str) {
    let quorum = table([("x-queue-type", Value::text("quorum"))]);
    let quorum = queue::Declare { durable: true, arguments: quorum.as_table(), ..declare(queue) };
    assert_eq!(channel.call(&quorum), format!("queue.declare-ok {queue} 0 0"));
}

fn publish_confirmed(channel: &Channel, queue: &str, bodies: &[&str]) {
    let publisher = channel.connection().channel(100);
    publisher.call(&confirm_select());
    for (number, body) in (1..).zip(bodies) {
        publisher.publish("", queue, body);
        assert_eq!(publisher.recv(), format!("basic.ack {number}"));
    }
    publisher.close();
}

#[test]
fn message_ttl_is_for_messages_that_come_under_it() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    for queue in ["classic", "forever"] {
        channel.call(&declare(queue));
    }
    declare_quorum(&channel, "quorum");
    for queue in ["classic", "quorum"] {
        publish_confirmed(&channel, queue, &["before"]);
    }
    set(&broker, "ttl", "^(classic|quorum)$", r#"{"message-ttl": 50}"#);
    for queue in ["classic", "quorum"] {
        publish_confirmed(&channel, queue, &["after"]);
    }
    publish_confirmed(&channel, "forever", &["stays"]);
    for queue in ["classic", "quorum"] {
        eventually(|| channel.call(&passive(queue)) == format!("queue.declare-ok {queue} 1 0"));
        let answer = channel.call(&basic::Get { no_ack: true, ..get(queue) });
        assert!(answer.to_string().ends_with(": before"), "{answer}");
    }
    assert_eq!(channel.call(&passive("forever")), "queue.declare-ok forever 1 0");
}

#[test]
fn max_length_shortens_a_queue_at_once() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("classic"));
    declare_quorum(&channel, "quorum");
    for queue in ["classic", "quorum"] {
        publish_confirmed(&channel, queue, &["1", "2", "3"]);
    }
    set(&broker, "limit", "", r#"{"max-length": 2}"#);
    for queue in ["classic", "quorum"] {
        let answer = channel.call(&passive(queue));
        assert_eq!(answer, format!("queue.declare-ok {queue} 2 0"));
        publish_confirmed(&channel, queue, &["4"]);
    }
    clear(&broker, PolicyKind::User, "limit");
    for (queue, tag) in [("classic", 1), ("quorum", 4)] {
        publish_confirmed(&channel, queue, &["5"]);
        for (number, body, left) in [(0, "3", 2), (1, "4", 1), (2, "5", 0)] {
            let expected = format!("basic.get-ok {} '' {queue} {left}: {body}", tag + number);
            assert_eq!(channel.call(&get(queue)), expected);
        }
    }
}

#[test]
fn max_length_bytes_shortens_a_queue_at_once() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("classic"));
    declare_quorum(&channel, "quorum");
    for queue in ["classic", "quorum"] {
        publish_confirmed(&channel, queue, &["1234", "12345", "123456"]);
    }
    set(&broker, "limit", "", r#"{"max-length-bytes": 11}"#);
    for queue in ["classic", "quorum"] {
        let answer = channel.call(&passive(queue));
        assert_eq!(answer, format!("queue.declare-ok {queue} 2 0"));
    }
}

#[test]
fn overflow_has_publishes_refused() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("classic"));
    declare_quorum(&channel, "quorum");
    for queue in ["classic", "quorum"] {
        publish_confirmed(&channel, queue, &["1"]);
    }
    set(&broker, "limit", "", r#"{"max-length": 1, "overflow": "reject-publish"}"#);
    channel.call(&confirm_select());
    for (queue, number) in [("classic", 1), ("quorum", 2)] {
        channel.publish("", queue, "2");
        assert_eq!(channel.recv(), format!("basic.nack {number}"));
    }
    clear(&broker, PolicyKind::User, "limit");
    channel.publish("", "classic", "3");
    assert_eq!(channel.recv(), "basic.ack 3");
}

#[test]
fn dead_letters_go_where_the_policy_says() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    for queue in ["classic", "one", "other"] {
        channel.call(&declare(queue));
    }
    declare_quorum(&channel, "quorum");
    let consume = |queue| basic::Consume { no_ack: true, ..consume(queue, queue) };
    for queue in ["one", "other"] {
        assert_eq!(channel.call(&consume(queue)), format!("basic.consume-ok {queue}"));
    }
    let own = channel.connection().channel(2);
    let mut tag = 0;
    for (received, to) in (1..).zip(["one", "other"]) {
        let definition =
            format!(r#"{{"dead-letter-exchange": "", "dead-letter-routing-key": "{to}"}}"#);
        set(&broker, "dlx", "^(classic|quorum)$", &definition);
        for (number, queue) in ["classic", "quorum"].into_iter().enumerate() {
            own.publish("", queue, "m");
            own.call(&get(queue));
            tag += 1;
            own.send(&basic::Reject { requeue: false, ..reject(tag) });
            let delivered = 2 * received - 1 + number;
            let expected = format!("basic.deliver {to} {delivered} redelivered '' {to}: m");
            let delivery = channel.recv();
            assert_eq!(delivery, expected);
            let headers = delivery.properties().headers.unwrap();
            assert_eq!(headers.get("x-first-death-queue"), Some(Value::text(queue)));
        }
    }
}

/// With it, what has no route waits; without it, it is gone.
#[test]
fn a_strategy_for_dead_letters_comes_and_goes() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    let arguments = table([
        ("x-queue-type", Value::text("quorum")),
        ("x-dead-letter-exchange", Value::text("dlx")),
        ("x-overflow", Value::text("reject-publish")),
    ]);
    let arguments = arguments.as_table();
    channel.call(&queue::Declare { durable: true, arguments, ..declare("q") });
    let kill = |body: &str| {
        publish_confirmed(&channel, "q", &[body]);
        let delivery_tag = channel.call(&get("q")).delivery_tag();
        channel.send(&basic::Reject { requeue: false, ..reject(delivery_tag) });
        // Answered when that is done.
        assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0");
    };
    kill("1");
    set(&broker, "careful", "", r#"{"dead-letter-strategy": "at-least-once"}"#);
    kill("2");
    kill("3");
    channel.call(&declare("dead"));
    channel.call(&declare_exchange("dlx", "fanout"));
    channel.call(&bind("dead", "dlx", ""));
    eventually(|| channel.call(&passive("dead")) == "queue.declare-ok dead 2 0");
    for body in ["2", "3"] {
        assert_eq!(channel.call(&get("dead")).body(), body.as_bytes());
    }
    channel.call(&unbind("dead", "dlx", ""));
    clear(&broker, PolicyKind::User, "careful");
    kill("4");
    channel.call(&bind("dead", "dlx", ""));
    kill("5");
    eventually(|| channel.call(&passive("dead")) == "queue.declare-ok dead 1 0");
    assert_eq!(channel.call(&get("dead")).body(), b"5");
}

#[test]
fn a_delivery_limit_comes_and_goes() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    declare_quorum(&channel, "q");
    set(&broker, "limit", "", r#"{"delivery-limit": 1}"#);
    channel.publish("", "q", "m");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: m");
    channel.send(&nack(1));
    assert_eq!(channel.call(&get("q")), "basic.get-ok 2 redelivered '' q 0: m");
    channel.send(&nack(2));
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
    // The limit may be raised while the message is out.
    channel.publish("", "q", "n");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 3 '' q 0: n");
    channel.send(&nack(3));
    assert_eq!(channel.call(&get("q")), "basic.get-ok 4 redelivered '' q 0: n");
    clear(&broker, PolicyKind::User, "limit");
    channel.send(&nack(4));
    assert_eq!(channel.call(&get("q")), "basic.get-ok 5 redelivered '' q 0: n");
}

#[test]
fn expires_takes_unused_queues_away() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    for queue in ["unused", "used", "other"] {
        channel.call(&declare(queue));
    }
    declare_quorum(&channel, "unused-quorum");
    channel.call(&consume("used", "c"));
    set(&broker, "expires", "used", r#"{"expires": 50}"#);
    let vhost = broker.inside().vhost("/").unwrap();
    for queue in ["unused", "unused-quorum"] {
        eventually(|| vhost.queue(queue).is_none());
        let answer = channel.call(&passive(queue));
        assert!(answer.starts_with("channel.close 404 "), "{answer}");
        channel.reopen();
        channel.call(&consume("used", "c"));
    }
    assert_eq!(channel.call(&passive("used")), "queue.declare-ok used 0 1");
    assert_eq!(channel.call(&passive("other")), "queue.declare-ok other 0 0");
}

#[test]
fn a_consumer_timeout_reaches_consumers_that_are_there() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let connection = broker.connect();
    let (subscribed, getting) = (connection.channel(1), connection.channel(2));
    let (patient, other) = (connection.channel(3), connection.channel(4));
    for queue in ["q", "r", "s", "free"] {
        patient.call(&declare(queue));
        patient.publish("", queue, "m");
    }
    subscribed.call(&consume("q", "c"));
    assert_eq!(subscribed.recv(), "basic.deliver c 1 '' q: m");
    assert_eq!(getting.call(&get("r")), "basic.get-ok 1 '' r 0: m");
    let never = table([("x-consumer-timeout", Value::I32(0))]);
    patient.call(&basic::Consume { arguments: never.as_table(), ..consume("s", "p") });
    assert_eq!(patient.recv(), "basic.deliver p 1 '' s: m");
    other.call(&consume("free", "f"));
    assert_eq!(other.recv(), "basic.deliver f 1 '' free: m");
    set(&broker, "timeout", "^[qrs]$", r#"{"consumer-timeout": 100}"#);
    // An idle connection would notice within half a minute.
    send_heartbeat(&connection);
    for channel in [&subscribed, &getting] {
        let answer = channel.recv();
        assert!(answer.starts_with("channel.close 406 0.0 PRECONDITION_FAILED - "), "{answer}");
        assert!(answer.to_string().contains("Timeout value used: 100 ms"), "{answer}");
    }
    // A consumer's own word stands above the policy, and other queues have nothing to do with it.
    for (channel, queue) in [(&patient, "s"), (&other, "free")] {
        assert_eq!(channel.call(&passive(queue)), format!("queue.declare-ok {queue} 0 1"));
    }
    assert_eq!(patient.call(&passive("q")), "queue.declare-ok q 1 0");
}

/// A policy may only shorten what a queue's own argument says, and going leaves that.
#[test]
fn a_consumer_timeout_is_the_shorter_of_argument_and_policy() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let connection = broker.connect();
    let channel = connection.channel(1);
    set(&broker, "timeout", "", r#"{"consumer-timeout": 50000}"#);
    let arguments = table([("x-consumer-timeout", Value::I32(100))]);
    let q = queue::Declare { arguments: arguments.as_table(), ..declare("q") };
    for way in ["both", "alone"] {
        assert_eq!(channel.call(&q), "queue.declare-ok q 0 0");
        channel.publish("", "q", "m");
        channel.call(&consume("q", "c"));
        assert!(channel.recv().starts_with("basic.deliver c "), "{way}");
        let answer = channel.recv();
        assert!(answer.to_string().contains("Timeout value used: 100 ms"), "{way}: {answer}");
        channel.reopen();
        channel.call(&leveret_tests::purge("q"));
        if way == "both" {
            clear(&broker, PolicyKind::User, "timeout");
        }
    }
}

fn send_heartbeat(connection: &Connection) {
    connection.send_frame(8, 0, &[]);
}

#[test]
fn an_alternate_exchange_comes_and_goes() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare_exchange("x", "direct"));
    let own = table([("alternate-exchange", Value::text("amq.topic"))]);
    let own = exchange::Declare { arguments: own.as_table(), ..declare_exchange("own", "direct") };
    assert_eq!(channel.call(&own), "exchange.declare-ok");
    channel.call(&declare("q"));
    channel.call(&bind("q", "amq.fanout", ""));
    channel.call(&basic::Consume { no_ack: true, ..consume("q", "c") });
    let mandatory = |exchange| basic::Publish { mandatory: true, ..publish(exchange, "k") };
    let send = |exchange| {
        channel.publish_with(&mandatory(exchange), &Properties::default(), b"m");
        channel.recv()
    };
    assert_eq!(send("x"), "basic.return 312 NO_ROUTE x k: m");
    set(&broker, "ae", "^(x|own|amq\\.direct)$", r#"{"alternate-exchange": "amq.fanout"}"#);
    assert_eq!(send("x"), "basic.deliver c 1 x k: m");
    // Predeclared exchanges have policies as well; an argument stands above one.
    assert_eq!(send("amq.direct"), "basic.deliver c 2 amq.direct k: m");
    assert_eq!(send("own"), "basic.return 312 NO_ROUTE own k: m");
    clear(&broker, PolicyKind::User, "ae");
    assert_eq!(send("x"), "basic.return 312 NO_ROUTE x k: m");
}

#[test]
fn an_operator_has_the_last_word() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    set(&broker, "wide", "", r#"{"max-length": 3}"#);
    let cap = Policy::parse("", r#"{"max-length": 1}"#).unwrap();
    put(&broker, PolicyKind::Operator, "cap", cap);
    publish_confirmed(&channel, "q", &["1", "2"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 1 0");
    clear(&broker, PolicyKind::Operator, "cap");
    publish_confirmed(&channel, "q", &["3", "4", "5"]);
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 3 0");
}

/// Redeclarations compare arguments only, which policies leave as they are.
#[test]
fn policies_are_no_arguments() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    set(&broker, "p", "", r#"{"message-ttl": 60000, "queue-mode": "lazy"}"#);
    assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 0 0");
    assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 0 0");
}

/// What older versions and plugins had is taken, so that their definitions can be brought along.
#[test]
fn legacy_settings_are_taken_and_change_nothing() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    let definition = r#"{"ha-mode": "all", "ha-sync-mode": "automatic", "max-length": 1}"#;
    set(&broker, "ha", "^(?!amq\\.).*", definition);
    publish_confirmed(&channel, "q", &["1", "2"]);
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: 2");
    let queue = broker.inside().vhost("/").unwrap().queue("q").unwrap();
    let shown = serde_json::to_string(&queue.policies().effective_definition()).unwrap();
    assert_eq!(shown, r#"{"ha-mode":"all","ha-sync-mode":"automatic","max-length":1}"#);
}

/// What says something only where there are several nodes, or another way to store messages, is
/// taken for queues of every type it is for, and shown; the queues go on as they were.
#[test]
fn settings_of_clusters_change_nothing() {
    let Some(broker) = Broker::embedded(&[], BECAUSE) else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("classic"));
    declare_quorum(&channel, "quorum");
    let stream = table([("x-queue-type", Value::text("stream"))]);
    let stream =
        queue::Declare { durable: true, arguments: stream.as_table(), ..declare("stream") };
    channel.call(&stream);
    for (queue, definition) in [
        (
            "classic",
            r#"{"ha-sync-batch-size":5,"queue-leader-locator":"balanced","queue-master-locator":"min-masters","queue-mode":"lazy","queue-version":2}"#,
        ),
        (
            "quorum",
            r#"{"consumer-disconnected-timeout":60000,"max-in-memory-bytes":1,"max-in-memory-length":1,"queue-leader-locator":"client-local","target-group-size":3}"#,
        ),
        (
            "stream",
            r#"{"initial-cluster-size":3,"queue-leader-locator":"balanced","stream-filter-size-bytes":16}"#,
        ),
    ] {
        set(&broker, queue, &format!("^{queue}$"), definition);
        publish_confirmed(&channel, queue, &["1", "2", "3"]);
        assert_eq!(channel.call(&passive(queue)), format!("queue.declare-ok {queue} 3 0"));
        let there = broker.inside().vhost("/").unwrap().queue(queue).unwrap();
        let shown = serde_json::to_string(&there.policies().effective_definition()).unwrap();
        assert_eq!(shown, definition);
    }
    for queue in ["classic", "quorum"] {
        for body in ["1", "2", "3"] {
            let answer = channel.call(&basic::Get { no_ack: true, ..get(queue) });
            assert_eq!(answer.body(), body.as_bytes());
        }
    }
}
