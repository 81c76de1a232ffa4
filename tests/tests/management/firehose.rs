//! The firehose: what a traced vhost tells of its messages.

use leveret_tests::codec::{
    ArrayBuf, ArrayBuilder, Properties, TableBuf, TableBuilder, Value, basic, queue, tx,
};
use leveret_tests::{
    Answer, Api, Broker, Channel, Connection, ack, bind, bind_exchange, cancel, consume, declare,
    get, nack, passive, publish, qos, reject, table,
};
use serde_json::json;

use crate::managed;

/// A broker whose default vhost is traced, a connection, and a channel of its that gets what is told
/// under these keys.
struct World {
    broker: Broker,
    api: Api,
    connection: Connection,
    listener: Channel,
}

impl World {
    fn listening_to(keys: &str) -> Option<Self> {
        let (broker, api) = managed()?;
        trace(&api, true);
        let connection = broker.connect();
        let listener = connection.channel(1);
        listener.call(&declare("told"));
        listener.call(&bind("told", "amq.rabbitmq.trace", keys));
        let no_ack = basic::Consume { no_ack: true, ..consume("told", "t") };
        assert_eq!(listener.call(&no_ack), "basic.consume-ok t");
        Some(Self { broker, api, connection, listener })
    }

    /// The next thing that is told: key and body.
    fn next(&self) -> String {
        what(&self.listener.recv())
    }

    /// What every message of the firehose says of one, and of a client's channel.
    fn headers(&self, exchange: &str, keys: &[&str], properties: TableBuf) -> TableBuilder {
        let node = self.api.get("/overview")["node"].as_str().unwrap().to_owned();
        TableBuilder::new()
            .put("exchange_name", exchange)
            .put("routing_keys", texts(keys).as_array())
            .put("properties", properties.as_table())
            .put("node", node.as_str())
    }

    fn client(&self, headers: TableBuilder, channel: i32) -> TableBuilder {
        let name = format!("{} -> {}", self.connection.local_address(), self.broker.address());
        headers
            .put("vhost", "/")
            .put("connection", name.as_str())
            .put("channel", channel)
            .put("user", "guest")
    }
}

fn what(answer: &Answer) -> String {
    let line = answer.to_string();
    line.split_once(" amq.rabbitmq.trace ").unwrap_or_else(|| panic!("{line}")).1.to_owned()
}

/// The headers of a message that has nothing else.
fn headers(answer: &Answer) -> TableBuf {
    let properties = answer.properties();
    let headers = properties.headers.unwrap();
    assert_eq!(properties, Properties { headers: Some(headers), ..Properties::default() });
    headers.into()
}

fn texts(texts: &[&str]) -> ArrayBuf {
    let builder = ArrayBuilder::new();
    texts.iter().fold(builder, |array, text| array.push(*text)).build()
}

fn trace(api: &Api, is_on: bool) {
    api.put("/vhosts/%2F", &json!({ "tracing": is_on }));
    assert_eq!(api.get("/vhosts/%2F")["tracing"], is_on);
}

/// As RabbitMQ 3.10.8 does it, widths and order included.
#[test]
fn a_publish_is_told_of_with_all_there_is_to_it() {
    let Some(world) = World::listening_to("publish.#") else { return };
    let channel = world.connection.channel(7);
    for queue in ["a", "b", "c"] {
        channel.call(&declare(queue));
        channel.call(&bind(queue, "amq.direct", queue));
    }
    let copies = [("CC", texts(&["b", "nobody"])), ("BCC", texts(&["c"]))];
    let [cc, bcc] = &copies;
    let (cc, bcc) =
        ((cc.0, Value::Array(cc.1.as_array())), (bcc.0, Value::Array(bcc.1.as_array())));
    let sent = table([("n", Value::I64(1)), cc, bcc]);
    let properties = Properties {
        content_type: Some(b"text/plain"),
        content_encoding: Some(b"utf-8"),
        headers: Some(sent.as_table()),
        delivery_mode: Some(2),
        priority: Some(3),
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
    channel.publish_with(&publish("amq.direct", "a"), &properties, b"body");
    let told = world.listener.recv();
    assert_eq!(what(&told), "publish.amq.direct: body");
    let kept = table([("n", Value::I64(1)), cc]);
    let of_properties = table([
        ("cluster_id", Value::text("cluster")),
        ("app_id", Value::text("app")),
        ("user_id", Value::text("guest")),
        ("type", Value::text("type")),
        ("timestamp", Value::I32(1_700_000_000)),
        ("message_id", Value::text("id")),
        ("expiration", Value::text("60000")),
        ("reply_to", Value::text("reply")),
        ("correlation_id", Value::text("correlation")),
        ("priority", Value::I32(3)),
        ("delivery_mode", Value::I32(2)),
        ("headers", Value::Table(kept.as_table())),
        ("content_encoding", Value::text("utf-8")),
        ("content_type", Value::text("text/plain")),
    ]);
    let expected = world.headers("amq.direct", &["a", "b", "nobody", "c"], of_properties);
    let expected =
        world.client(expected, 7).put("routed_queues", texts(&["a", "b", "c"]).as_array());
    assert_eq!(headers(&told), expected.build());
}

#[test]
fn a_delivery_is_told_of_with_who_got_it() {
    let Some(world) = World::listening_to("deliver.#") else { return };
    let channel = world.connection.channel(7);
    let quorum = table([("x-queue-type", Value::text("quorum"))]);
    let arguments = quorum.as_table();
    channel.call(&queue::Declare { durable: true, arguments, ..declare("q") });
    channel.publish("amq.fanout", "nowhere", "lost");
    channel.publish("", "q", "body");
    let expected = |redelivered: i32, properties: TableBuf| {
        let headers = world.headers("", &["q"], properties).put("redelivered", redelivered);
        world.client(headers, 7).build()
    };
    // Consumed, given back, fetched: with the headers it is delivered with.
    channel.call(&consume("q", "c"));
    assert_eq!(channel.recv(), "basic.deliver c 1 '' q: body");
    let told = world.listener.recv();
    assert_eq!(what(&told), "deliver.q: body");
    assert_eq!(headers(&told), expected(0, table([])));
    channel.call(&cancel("c"));
    channel.send(&nack(1));
    let got = channel.call(&get("q"));
    assert_eq!(got, "basic.get-ok 2 redelivered '' q 0: body");
    let told = world.listener.recv();
    assert_eq!(what(&told), "deliver.q: body");
    let delivered = got.properties().headers.unwrap();
    assert!(delivered.get("x-delivery-count").is_some());
    assert_eq!(headers(&told), expected(1, table([("headers", Value::Table(delivered))])));
    channel.send(&ack(2));
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
    channel.publish("", "q", "next");
    channel.call(&get("q"));
    assert_eq!(world.next(), "deliver.q: next", "a get of nothing is nothing");
}

/// It would have no end.
#[test]
fn nothing_is_told_of_the_firehose_itself() {
    let Some(world) = World::listening_to("#") else { return };
    let channel = world.connection.channel(2);
    channel.call(&declare("copy"));
    channel.call(&bind("copy", "amq.fanout", ""));
    channel.call(&bind_exchange("amq.fanout", "amq.rabbitmq.trace", "publish.#"));
    channel.call(&declare("q"));
    channel.publish("", "q", "1");
    assert_eq!(world.next(), "publish.: 1");
    let copied = channel.call(&get("copy"));
    assert_eq!(copied, "basic.get-ok 1 amq.rabbitmq.trace publish. 0: 1");
    channel.call(&get("q"));
    // Not of what was copied, nor of what was heard.
    assert_eq!(world.next(), "deliver.q: 1");
    channel.publish("", "q", "2");
    assert_eq!(world.next(), "publish.: 2");
}

#[test]
fn dead_letters_are_told_of_when_they_are_delivered() {
    let Some(world) = World::listening_to("#") else { return };
    let channel = world.connection.channel(2);
    channel.call(&declare("dead"));
    let onward = table([
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
    ]);
    channel.call(&queue::Declare { arguments: onward.as_table(), ..declare("q") });
    channel.publish("", "q", "m");
    channel.call(&get("q"));
    channel.send(&basic::Reject { requeue: false, ..reject(1) });
    channel.call(&consume("dead", "c"));
    let told: Vec<String> = (0..3).map(|_| world.next()).collect();
    assert_eq!(told, ["publish.: m", "deliver.q: m", "deliver.dead: m"]);
}

/// Where it leads at the default exchange is what its keys name, there or not.
#[test]
fn publishes_nobody_takes_are_told_of() {
    let Some(world) = World::listening_to("publish.#") else { return };
    let channel = world.connection.channel(2);
    for (exchange, routed) in [("", &["nowhere"][..]), ("amq.direct", &[])] {
        channel.publish(exchange, "nowhere", "m");
        let told = world.listener.recv();
        assert_eq!(what(&told), format!("publish.{exchange}: m"));
        let expected = world.headers(exchange, &["nowhere"], table([]));
        let expected = world.client(expected, 2).put("routed_queues", texts(routed).as_array());
        assert_eq!(headers(&told), expected.build());
    }
    // What is refused has not been published.
    channel.publish("missing", "k", "refused");
    assert!(channel.recv().starts_with("channel.close 404"));
    channel.reopen();
    channel.publish("", "nowhere", "next");
    assert_eq!(world.next(), "publish.: next");
}

#[test]
fn a_publish_in_a_transaction_is_told_of_at_once() {
    let Some(world) = World::listening_to("#") else { return };
    let channel = world.connection.channel(2);
    channel.call(&declare("q"));
    assert_eq!(channel.call(&tx::Select {}), "tx.select-ok");
    channel.publish("", "q", "rolled back");
    assert_eq!(world.next(), "publish.: rolled back");
    assert_eq!(channel.call(&tx::Rollback {}), "tx.rollback-ok");
    channel.publish("", "q", "committed");
    assert_eq!(channel.call(&tx::Commit {}), "tx.commit-ok");
    assert_eq!(world.next(), "publish.: committed");
    channel.call(&get("q"));
    assert_eq!(world.next(), "deliver.q: committed");
}

/// Though the broker doesn't look at each of them otherwise.
#[test]
fn all_of_a_burst_is_told_of_from_the_moment_it_is_asked_for() {
    let Some(world) = World::listening_to("publish.#") else { return };
    let channel = world.connection.channel(2);
    channel.call(&declare("q"));
    let burst = |range: std::ops::Range<u32>| {
        range.for_each(|n| channel.publish("", "q", n.to_string()));
        // What was published before is in its queue once this is answered.
        channel.call(&passive("q"))
    };
    trace(&world.api, false);
    burst(0..100);
    trace(&world.api, true);
    burst(100..200);
    trace(&world.api, false);
    assert_eq!(burst(200..300), "queue.declare-ok q 300 0");
    trace(&world.api, true);
    burst(300..301);
    let told: Vec<String> = (0..101).map(|_| world.next()).collect();
    let expected: Vec<String> = (100..200).chain([300]).map(|n| format!("publish.: {n}")).collect();
    assert_eq!(told, expected);
}

#[test]
fn messages_of_operators_are_told_of() {
    let Some(world) = World::listening_to("#") else { return };
    world.connection.channel(2).call(&declare("q"));
    let publish = json!({
        "properties": {}, "routing_key": "q", "payload": "m", "payload_encoding": "string"
    });
    world.api.call("POST", "/exchanges/%2F/amq.default/publish", &publish);
    let fetch = json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "auto" });
    world.api.call("POST", "/queues/%2F/q/get", &fetch);
    for key in ["publish.: m", "deliver.q: m"] {
        let told = world.listener.recv();
        assert_eq!(what(&told), key);
        let headers = headers(&told);
        let text = |name| headers.as_table().get(name).unwrap().as_str().unwrap().to_owned();
        assert!(text("connection").starts_with("<rabbit@"), "{}", text("connection"));
        assert_eq!(text("user"), "guest");
    }
}

#[test]
fn a_vhost_is_traced_when_it_is_told_to_be_and_until_the_broker_stops() {
    let Some((mut broker, api)) = managed() else { return };
    let tracing = || api.get("/vhosts/%2F")["tracing"].clone();
    assert_eq!(tracing(), false);
    trace(&api, true);
    api.put("/vhosts/%2F", &json!({ "description": "traced" }));
    assert_eq!(tracing(), true, "who doesn't speak of it leaves it as it is");
    let refused = api.call("PUT", "/vhosts/%2F", &json!({ "tracing": "yes" }));
    assert_eq!(refused.json()["reason"], json!(["not_boolean", "yes"]));
    // Another vhost is another matter.
    api.put("/vhosts/other", &json!({ "tracing": "true" }));
    api.put("/vhosts/other", &json!({ "tracing": "false" }));
    assert_eq!(tracing(), true);
    broker.terminate();
    broker.restart();
    let api = Api::new(broker.management_address());
    assert_eq!(api.get("/vhosts/%2F")["tracing"], false);
    assert_eq!(api.get("/vhosts/%2F")["description"], "traced");
}

#[test]
fn a_stream_may_keep_what_is_told() {
    let Some((broker, api)) = managed() else { return };
    trace(&api, true);
    let channel = broker.connect().channel(1);
    let stream = table([("x-queue-type", Value::text("stream"))]);
    channel.call(&queue::Declare { durable: true, arguments: stream.as_table(), ..declare("log") });
    channel.call(&bind("log", "amq.rabbitmq.trace", "#"));
    channel.call(&declare("q"));
    channel.publish("", "q", "m");
    channel.call(&get("q"));
    channel.call(&qos(10));
    let first = table([("x-stream-offset", Value::text("first"))]);
    let arguments = first.as_table();
    channel.call(&basic::Consume { arguments, ..consume("log", "reader") });
    let told: Vec<String> = channel.recv_many(2).iter().map(what).collect();
    assert_eq!(told, ["publish.: m", "deliver.q: m"]);
}
