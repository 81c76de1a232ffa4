//! What the API shows of what clients do.

use leveret_tests::codec::{Value as Field, basic, connection, queue};
use leveret_tests::{
    Login, ack, bind, confirm_select, consume, declare, delete, eventually, get, nack, qos, table,
};
use serde_json::{Value, json};

use crate::managed;

/// In ms: the consumer's own, its queue's or the node's, 0 for none; strict clients need a number.
#[test]
fn consumers_show_how_long_they_may_wait() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    channel.call(&declare("plain"));
    let own = table([("x-consumer-timeout", Field::I32(60_000))]);
    channel.call(&queue::Declare { arguments: own.as_table(), ..declare("strict") });
    let unlimited = table([("x-consumer-timeout", Field::I32(0))]);
    let subscribed =
        basic::Consume { arguments: unlimited.as_table(), ..consume("strict", "free") };
    channel.call(&subscribed);
    for name in ["plain", "strict"] {
        channel.call(&consume(name, name));
    }
    let consumers = api.get("/consumers");
    let timeouts = consumers.as_array().unwrap().iter();
    let timeouts: Vec<_> =
        timeouts.map(|one| (one["consumer_tag"].as_str(), &one["consumer_timeout"])).collect();
    let (node, queue) = (json!(0), json!(60_000));
    assert_eq!(
        timeouts,
        [(Some("plain"), &node), (Some("free"), &json!(0)), (Some("strict"), &queue)]
    );
}

/// As a program leaves them that makes a queue for the answer to each of its requests, and whoever deletes it.
#[test]
fn channels_have_no_consumers_of_queues_that_are_gone() {
    let Some((broker, api)) = managed() else { return };
    let connection = broker.connect();
    let (channel, deleter) = (connection.channel(1), broker.connect().channel(1));
    for no_ack in [false, true] {
        for (number, by) in [&channel, &deleter].into_iter().cycle().enumerate().take(20) {
            let name = format!("answers-{number}");
            channel.call(&declare(&name));
            channel.call(&basic::Consume { no_ack, ..consume(&name, &name) });
            assert_eq!(by.call(&delete(&name)), "queue.delete-ok 0");
            assert_eq!(channel.recv(), format!("basic.cancel {name} nowait"));
        }
    }
    channel.call(&declare("stays"));
    channel.call(&consume("stays", "stays"));
    let address = connection.local_address().to_string();
    let all = api.get("/connections");
    let names = all.as_array().unwrap().iter().filter_map(|one| one["name"].as_str());
    let name = names.into_iter().find(|name| name.starts_with(&address)).unwrap();
    eventually(|| channel_of(&api, name, 1)["consumer_count"] == 1);
}

/// More of them than go in a turn, and their client says nothing more.
#[test]
fn all_queues_go_that_lose_their_last_consumer() {
    let Some((broker, api)) = managed() else { return };
    let connection = broker.connect();
    let channel = connection.channel(1);
    let mut requests = Vec::new();
    for number in 0..4200 {
        let name = number.to_string();
        queue::Declare { auto_delete: true, nowait: true, ..declare(&name) }
            .encode_frame(1, &mut requests);
        basic::Consume { nowait: true, ..consume(&name, &name) }.encode_frame(1, &mut requests);
    }
    connection.send_bytes(&requests);
    let queues = || api.get("/overview")["object_totals"]["queues"].clone();
    channel.call(&qos(1));
    assert_eq!(queues(), 4200);
    channel.close();
    eventually(|| queues() == 0);
}

/// Also of a channel that is closed.
#[test]
fn each_vhost_counts_what_goes_through_its_own_channels() {
    let Some((broker, api)) = managed() else { return };
    api.put("/vhosts/other", &Value::Null);
    api.put("/permissions/other/guest", &json!({ "configure": ".*", "write": ".*", "read": ".*" }));
    let other = Login { vhost: "other", ..Login::default() };
    let (connection, other) = (broker.connect(), broker.connect_as(&other).unwrap());
    for (connection, channels) in [(&connection, 1..=2), (&other, 1..=3)] {
        for number in channels {
            let channel = connection.channel(number);
            channel.call(&declare("q"));
            channel.publish("", "q", "hello");
            channel.call(&declare("q"));
            if number == 1 {
                channel.close();
            }
        }
    }
    let published = |path: &str| api.get(path)["message_stats"]["publish"].clone();
    assert_eq!(published("/vhosts/%2F"), 2);
    assert_eq!(published("/vhosts/other"), 3);
    let listed = api.get("/vhosts");
    let listed = listed.as_array().unwrap().iter().map(|one| &one["message_stats"]["publish"]);
    assert_eq!(listed.collect::<Vec<_>>(), [2, 3]);
    assert_eq!(published("/overview"), 5);
}

#[test]
fn channels_and_queues_count_what_goes_through_them() {
    let Some((broker, api)) = managed() else { return };
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    channel.call(&bind("q", "amq.topic", "a.#"));
    channel.call(&confirm_select());
    for key in ["a", "a.b", "c"] {
        channel.publish("amq.topic", key, "hello");
        assert!(channel.recv().starts_with("basic.ack"));
    }
    channel.publish("", "q", "third");
    assert!(channel.recv().starts_with("basic.ack"));
    let consumer = connection.channel(2);
    consumer.call(&qos(1));
    consumer.call(&consume("q", "c"));
    consumer.recv();
    consumer.send(&nack(1));
    consumer.recv();
    consumer.send(&ack(2));
    consumer.recv();
    // The third delivery came after the first message was settled.
    assert!(channel.call(&get("q")).starts_with("basic.get-ok"));
    assert!(channel.call(&get("q")).starts_with("basic.get-empty"));

    let name = api.get("/connections")[0]["name"].as_str().unwrap().to_owned();
    let stats = &channel_of(&api, &name, 1)["message_stats"];
    let expected = json!({
        "publish": 4, "confirm": 4, "drop_unroutable": 1, "return_unroutable": 0, "get": 1,
        "get_no_ack": 0, "get_empty": 1, "deliver": 0, "deliver_no_ack": 0, "deliver_get": 1,
        "ack": 0, "redeliver": 0,
    });
    assert_counts(stats, &expected);

    let found = channel_of(&api, &name, 2);
    let expected =
        json!({ "deliver": 3, "deliver_get": 3, "ack": 1, "redeliver": 1, "publish": 0 });
    assert_counts(&found["message_stats"], &expected);
    assert_eq!(found["messages_unacknowledged"], 1);
    assert_eq!(found["prefetch_count"], 1);
    assert_eq!(found["consumer_count"], 1);
    assert_eq!(found["consumer_details"][0]["queue"], json!({ "name": "q", "vhost": "/" }));

    let queue = api.get("/queues/%2F/q");
    let expected = json!({
        "publish": 3, "deliver": 3, "get": 1, "get_empty": 1, "ack": 1, "redeliver": 1,
        "deliver_get": 4,
    });
    assert_counts(&queue["message_stats"], &expected);
    assert_eq!((&queue["messages"], &queue["messages_unacknowledged"]), (&json!(2), &json!(2)));
    assert_eq!(queue["consumers"], 1);
    assert_eq!(queue["consumer_details"][0]["prefetch_count"], 1);

    let exchange = &api.get("/exchanges/%2F/amq.topic")["message_stats"];
    assert_counts(exchange, &json!({ "publish_in": 3, "publish_out": 2 }));
    let default = &api.get("/exchanges/%2F/amq.default")["message_stats"];
    assert_counts(default, &json!({ "publish_in": 1, "publish_out": 1 }));

    // Of the vhost and the node, also when the channels are gone.
    let expected = json!({ "publish": 4, "confirm": 4, "deliver_get": 4, "ack": 1 });
    assert_counts(&api.get("/vhosts/%2F")["message_stats"], &expected);
    drop((channel, consumer, connection));
    eventually(|| api.get("/overview")["object_totals"]["connections"] == 0);
    let overview = api.get("/overview");
    assert_counts(&overview["message_stats"], &expected);
    assert_eq!(overview["queue_totals"]["messages_ready"], 2);
    let churn = &overview["churn_rates"];
    assert_counts(churn, &json!({ "channel_created": 2, "channel_closed": 2, "queue_created": 1 }));
}

/// Those who ask for the same at a time share an answer, and nobody gets one of another's. So many queues take
/// long enough to look at that they do ask at a time.
#[test]
fn an_overview_says_what_its_user_may_see_whoever_asks_meanwhile() {
    const QUEUES: usize = 3000;
    let Some((broker, api)) = managed() else { return };
    api.put("/vhosts/other", &Value::Null);
    for (user, vhost) in [("anna", "other"), ("bert", "%2F")] {
        api.put(&format!("/users/{user}"), &json!({ "password": user, "tags": "management" }));
        let rights = json!({ "configure": "", "write": "", "read": "" });
        api.put(&format!("/permissions/{vhost}/{user}"), &rights);
    }
    api.put("/queues/other/a", &json!({}));
    let connection = broker.connect();
    let channel = connection.channel(1);
    for queue in 0..QUEUES {
        channel.send(&queue::Declare { nowait: true, ..declare(&queue.to_string()) });
    }
    channel.call(&qos(1));
    // Queues, connections, and whether the listeners are told.
    let sights = [
        ("guest:guest", json!([QUEUES + 1, 1]), true),
        ("anna:anna", json!([1, 0]), false),
        ("bert:bert", json!([QUEUES, 0]), false),
    ];
    std::thread::scope(|scope| {
        for (login, expected, has_listeners) in sights.iter().cycle().take(12) {
            let own = api.with_login(Some(login));
            scope.spawn(move || {
                for _ in 0..20 {
                    let overview = own.get("/overview");
                    let totals = &overview["object_totals"];
                    assert_eq!(json!([totals["queues"], totals["connections"]]), *expected);
                    assert_eq!(overview["listeners"].is_array(), *has_listeners, "{login}");
                }
            });
        }
    });
}

#[test]
fn a_queue_has_its_type_among_its_arguments() {
    let Some((broker, api)) = managed() else { return };
    broker.connect().channel(1).call(&queue::Declare { durable: true, ..declare("q") });
    let arguments = json!({ "x-queue-type": "classic" });
    assert_eq!(api.get("/queues/%2F/q")["arguments"], arguments);
    assert_eq!(api.get("/queues?disable_stats=true")[0]["arguments"], arguments);
    assert_eq!(api.get("/definitions")["queues"][0]["arguments"], arguments);
}

#[test]
fn delayed_messages_are_neither_ready_nor_unacknowledged() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    let arguments = table([
        ("x-queue-type", Field::text("quorum")),
        ("x-delayed-retry-type", Field::text("all")),
        ("x-delayed-retry-min", Field::I32(3_600_000)),
    ]);
    let arguments = arguments.as_table();
    channel.call(&queue::Declare { durable: true, arguments, ..declare("q") });
    channel.publish("", "q", "hello");
    channel.call(&get("q"));
    let queue = || api.get("/queues/%2F/q");
    assert_eq!(queue()["messages_delayed"], 0);
    assert_eq!(queue()["next_delayed_at"], Value::Null);
    channel.send(&nack(1));
    assert_eq!(channel.call(&get("q")), "basic.get-empty");
    let expected = json!({
        "messages": 1, "messages_ready": 0, "messages_unacknowledged": 0, "messages_delayed": 1,
        "messages_dlx": 0, "message_bytes": 5, "message_bytes_ready": 5,
        "message_bytes_unacknowledged": 0,
    });
    let queue = queue();
    for (name, count) in expected.as_object().unwrap() {
        assert_eq!(&queue[name], count, "{name} in {queue}");
    }
    assert_eq!(queue["delayed_retry"], "all (min: 3600000ms, max: 3600000ms)");
    assert!(queue["next_delayed_at"].is_u64());
    assert_eq!(queue["next_delayed_at"], queue["last_delayed_at"]);
    assert_eq!(api.get("/vhosts/%2F")["messages"], 1);
    let totals = &api.get("/overview")["queue_totals"];
    assert_counts(totals, &json!({ "messages": 1, "messages_ready": 0 }));
}

#[test]
fn connections_show_who_is_there() {
    let Some((broker, api)) = managed() else { return };
    let connection = broker.connect();
    let _channel = connection.channel(7);
    let found = &api.get("/connections")[0];
    let peer = format!("127.0.0.1:{}", found["peer_port"]);
    assert_eq!(found["name"], format!("{peer} -> {}", broker.address()));
    let expected = json!({
        "user": "guest", "vhost": "/", "protocol": "AMQP 0-9-1", "state": "running", "channels": 1,
        "auth_mechanism": "PLAIN", "type": "network", "ssl": false, "frame_max": 131_072,
        "channel_max": 2047, "timeout": 0, "host": "127.0.0.1", "peer_host": "127.0.0.1",
        "port": broker.address().port(), "node": api.get("/overview")["node"],
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key}");
    }
    assert!(found["recv_oct"].as_u64() > Some(0) && found["send_oct"].as_u64() > Some(0));
    assert!(found["connected_at"].as_u64() > Some(1_700_000_000_000));
    let channels = api.get("/channels");
    assert_eq!(channels[0]["name"], format!("{} (7)", found["name"].as_str().unwrap()));
}

/// By which operators tell one service from another.
#[test]
fn a_connection_shows_the_name_it_gave_itself() {
    let Some((broker, api)) = managed() else { return };
    let connection = broker.dial();
    connection.greet();
    let properties =
        table([("connection_name", Field::text("billing")), ("product", Field::text("client"))]);
    connection.call(&connection::StartOk {
        client_properties: properties.as_table(),
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    });
    connection.send(&connection::TuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 });
    assert_eq!(connection.call(&connection::Open { virtual_host: "/" }), "connection.open-ok");
    let found = &api.get("/connections")[0];
    assert_eq!(found["user_provided_name"], "billing");
    assert_eq!(
        found["client_properties"],
        json!({ "connection_name": "billing", "product": "client" })
    );
}

#[test]
fn a_connection_is_closed_with_the_reason_given() {
    let Some((broker, api)) = managed() else { return };
    for (headers, reason) in
        [(&[("X-Reason", "because")][..], "because"), (&[], "Closed via management plugin")]
    {
        let connection = broker.connect();
        let name = api.get("/connections")[0]["name"].as_str().unwrap().to_owned();
        let path = format!("/api/connections/{}", name.replace(' ', "%20").replace('>', "%3E"));
        assert_eq!(api.send("DELETE", &path, headers, "").status, 204);
        let expected = format!("connection.close 320 0.0 CONNECTION_FORCED - {reason}");
        assert_eq!(connection.recv(), expected);
        drop(connection);
        eventually(|| api.get("/connections") == json!([]));
        assert_eq!(api.send("DELETE", &path, headers, "").status, 404);
    }
}

#[test]
fn users_see_their_own_connections() {
    let Some((broker, api)) = managed() else { return };
    let _connection = broker.connect();
    api.put("/users/anna", &json!({ "password": "p", "tags": "management" }));
    let anna = api.with_login(Some("anna:p"));
    assert_eq!(anna.get("/connections"), json!([]));
    assert_eq!(anna.get("/channels"), json!([]));
    let name = api.get("/connections")[0]["name"].as_str().unwrap().replace(' ', "%20");
    let path = format!("/connections/{}", name.replace('>', "%3E"));
    assert_eq!(anna.call("GET", &path, &Value::Null).status, 401);
    assert_eq!(anna.call("DELETE", &path, &Value::Null).status, 401);
    api.put("/users/anna", &json!({ "password": "p", "tags": "monitoring" }));
    assert_eq!(anna.call("GET", &path, &Value::Null).status, 200);
    assert_eq!(anna.call("DELETE", &path, &Value::Null).status, 401);
}

#[test]
fn what_is_taken_away_is_gone_at_once() {
    let Some((broker, api)) = managed() else { return };
    let connection = broker.connect();
    let channel = connection.channel(1);
    assert!(channel.call(&declare("q")).starts_with("queue.declare-ok"));
    api.put("/permissions/%2F/guest", &json!({ "configure": "^x", "write": "", "read": "" }));
    let refused = "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue 'other' \
                   in vhost '/' refused for user 'guest'";
    assert_eq!(channel.call(&declare("other")), refused);

    api.put("/users/boss", &json!({ "password": "p", "tags": "administrator" }));
    let boss = api.with_login(Some("boss:p"));
    assert_eq!(boss.call("DELETE", "/users/guest", &Value::Null).status, 204);
    assert_eq!(
        connection.recv(),
        "connection.close 320 0.0 CONNECTION_FORCED - user 'guest' is deleted"
    );
    assert_eq!(api.call("GET", "/whoami", &Value::Null).status, 401);
    assert!(broker.connect_as(&Login::default()).is_err());
}

#[test]
fn a_vhost_goes_with_its_connections() {
    let Some((broker, api)) = managed() else { return };
    api.put("/vhosts/v", &Value::Null);
    let login = Login { vhost: "v", ..Login::default() };
    let connection = broker.connect_as(&login).unwrap();
    assert_eq!(api.call("DELETE", "/vhosts/v", &Value::Null).status, 204);
    assert_eq!(
        connection.recv(),
        "connection.close 320 0.0 CONNECTION_FORCED - vhost 'v' is deleted"
    );
    assert_eq!(api.call("GET", "/vhosts/v", &Value::Null).status, 404);
}

fn channel_of(api: &leveret_tests::Api, connection: &str, number: u16) -> Value {
    let name = format!("{connection} ({number})").replace(' ', "%20").replace('>', "%3E");
    api.get(&format!("/channels/{name}"))
}

fn assert_counts(found: &Value, expected: &Value) {
    for (name, count) in expected.as_object().unwrap() {
        assert_eq!(&found[name], count, "{name} in {found}");
        assert!(found[format!("{name}_details")]["rate"].is_f64(), "{name} in {found}");
    }
}
