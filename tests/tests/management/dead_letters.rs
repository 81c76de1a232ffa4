//! Dead letters over HTTP, and their way back.

use leveret_tests::codec::{
    ArrayBuilder, Method, Properties, TableBuilder, Value as Field, basic, queue,
};
use leveret_tests::{
    Answer, Api, Broker, Channel, ack, bind, confirm_select, declare, declare_exchange,
    delete_exchange, eventually, get, passive, publish, purge, reject, table, unbind,
};
use serde_json::{Value, json};

use crate::managed;

const ORDERS: &str = "orders";
const DEAD: &str = "dead";

/// A durable queue `orders`, bound to `shop` by `order.*`, whose dead letters go to `dead`.
fn set_up(broker: &Broker) -> Channel {
    let channel = broker.connect().channel(1);
    assert_eq!(channel.call(&confirm_select()), "confirm.select-ok");
    let arguments = table([
        ("x-dead-letter-exchange", Field::text("")),
        ("x-dead-letter-routing-key", Field::text(DEAD)),
    ]);
    let orders = declare(ORDERS);
    channel.call(&queue::Declare { durable: true, arguments: arguments.as_table(), ..orders });
    channel.call(&queue::Declare { durable: true, ..declare(DEAD) });
    assert_eq!(channel.call(&declare_exchange("shop", "topic")), "exchange.declare-ok");
    assert_eq!(channel.call(&bind(ORDERS, "shop", "order.*")), "queue.bind-ok");
    channel
}

/// Publishes messages through `shop` and has them die in `orders`.
fn kill(channel: &Channel, bodies: impl IntoIterator<Item = String>) {
    let headers = TableBuilder::new().put("tenant", "acme").build();
    let properties = Properties {
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        message_id: Some(b"m"),
        ..Properties::default()
    };
    for body in bodies {
        let way = publish("shop", "order.new");
        channel.publish_with(&way, &properties, body.as_bytes());
        assert!(channel.recv().starts_with("basic.ack"));
        let got = channel.call(&get(ORDERS));
        channel.send(&basic::Reject { requeue: false, ..reject(got.delivery_tag()) });
    }
    channel.call(&passive(DEAD));
}

fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| format!("order {number}."))
}

/// Takes everything.
fn all(channel: &Channel, queue: &str) -> Vec<Answer> {
    let mut all = Vec::new();
    loop {
        let answer = channel.call(&get(queue));
        let Method::BasicGetOk(got) = answer.method() else { return all };
        channel.send(&ack(got.delivery_tag));
        all.push(answer);
    }
}

fn bodies(answers: &[Answer]) -> Vec<String> {
    answers.iter().map(|one| String::from_utf8_lossy(one.body()).into_owned()).collect()
}

/// Asks for a replay and waits for its end.
fn replay(api: &Api, order: &Value) -> Value {
    let reply = api.call("POST", &format!("/leveret/replays/%2F/{DEAD}"), order);
    assert_eq!(reply.status, 201, "{}", reply.text);
    let path = reply.header("location").trim_start_matches("/api").to_owned();
    eventually(|| api.get(&path)["state"] != "running");
    api.get(&path)
}

/// The counts of a replay that is done.
fn counts(replay: &Value) -> [u64; 4] {
    assert_eq!(replay["state"], "done", "{replay}");
    ["replayed", "unroutable", "no_room", "refused"].map(|key| replay[key].as_u64().unwrap())
}

#[test]
fn dead_letters_are_found_and_go_back_as_they_were() {
    let Some((mut broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    channel.publish_persistent("dead", "not dead");
    assert!(channel.recv().starts_with("basic.ack"));
    kill(&channel, numbers(0..300));

    let found = api.get("/leveret/dead-letters");
    let [queue] = found.as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&queue["queue"], &queue["messages"]), (&json!(DEAD), &json!(301)));
    let death = &queue["first_death"];
    assert_eq!((&death["queue"], &death["reason"]), (&json!(ORDERS), &json!("rejected")));
    assert_eq!(api.get("/leveret/dead-letters/%2F"), found);

    let plan = json!({ "dry_run": true });
    let plan = api.call("POST", &format!("/leveret/replays/%2F/{DEAD}"), &plan);
    let way = json!({
        "exchange": "shop", "routing_key": "order.new", "queues": [ORDERS],
        "exchange_is_missing": false, "messages": 300,
    });
    let expected = json!({
        "messages": 300, "looked_at": 301, "is_whole": true, "ways": [way], "ways_total": 1,
    });
    assert_eq!(plan.json(), expected);
    assert_eq!(channel.call(&passive(DEAD)), "queue.declare-ok dead 301 0");

    assert_eq!(counts(&replay(&api, &json!({ "rate": 100_000 }))), [300, 0, 0, 0]);
    // What was counted is on disk, once.
    broker.kill9();
    broker.restart();
    let channel = broker.connect().channel(1);
    assert_eq!(bodies(&all(&channel, DEAD)), ["not dead"]);
    let back = all(&channel, ORDERS);
    assert_eq!(bodies(&back), numbers(0..300).collect::<Vec<_>>());
    for answer in &back {
        let Method::BasicGetOk(got) = answer.method() else { unreachable!() };
        assert_eq!((got.exchange, got.routing_key), ("shop", "order.new"));
        let properties = answer.properties();
        let expected = TableBuilder::new().put("tenant", "acme").build();
        assert_eq!(properties.headers, Some(expected.as_table()));
        assert_eq!(properties.message_id, Some(&b"m"[..]));
    }
}

/// What was looked through in vain is looked through again once something has happened there.
#[test]
fn dead_letters_are_found_that_come_to_the_front_later() {
    let Some((broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    for number in 0..10 {
        channel.publish_persistent(DEAD, number.to_string());
        assert!(channel.recv().starts_with("basic.ack"));
    }
    kill(&channel, numbers(0..2));
    let shown = || {
        let found = api.get("/leveret/dead-letters");
        found.as_array().unwrap().iter().map(|one| one["messages"].clone()).collect::<Vec<_>>()
    };
    // They are the eleventh and the twelfth.
    assert_eq!((shown(), shown()), (vec![], vec![]));
    let first = channel.call(&get(DEAD));
    assert_eq!(shown(), [11]);
    channel.send(&reject(first.delivery_tag()));
    channel.call(&passive(DEAD));
    assert_eq!((shown(), shown()), (vec![], vec![]));
    for _ in 0..11 {
        let got = channel.call(&get(DEAD));
        channel.send(&ack(got.delivery_tag()));
    }
    assert_eq!((shown(), shown()), (vec![json!(1)], vec![json!(1)]));
    channel.call(&purge(DEAD));
    assert_eq!(shown(), Vec::<Value>::new());
}

/// However many answers it takes, in the end all are found, and each answer has those found before.
#[test]
fn dead_letters_are_found_in_as_many_answers_as_it_takes() {
    let Some((broker, api)) = managed() else { return };
    let channel = broker.connect().channel(1);
    let arguments = table([("x-dead-letter-exchange", Field::text("amq.fanout"))]);
    channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare(ORDERS) });
    let queues: Vec<String> = (0..600).map(|number| format!("dead-{number:03}")).collect();
    for queue in &queues {
        channel.call(&declare(queue));
        channel.call(&bind(queue, "amq.fanout", ""));
    }
    channel.publish("", ORDERS, b"");
    let got = channel.call(&get(ORDERS));
    channel.send(&basic::Reject { requeue: false, ..reject(got.delivery_tag()) });
    eventually(|| channel.call(&passive("dead-599")) == "queue.declare-ok dead-599 1 0");
    let mut before = 0;
    loop {
        let reply = api.call("GET", "/leveret/dead-letters", &Value::Null);
        let found = reply.json();
        let names = found.as_array().unwrap().iter().map(|one| one["queue"].as_str().unwrap());
        let names: Vec<&str> = names.collect();
        let left = reply.headers.get("leveret-queues-left");
        let left = left.map_or(0, |left| left.to_str().unwrap().parse().unwrap());
        assert_eq!(names.len() + left, 600);
        assert!(names.len() >= (before + 256).min(600) && names.is_sorted());
        before = names.len();
        if left == 0 {
            return assert_eq!(names, queues);
        }
    }
}

#[test]
fn one_or_some_dead_letters_are_replayed_from_where_they_stand() {
    let Some((broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    kill(&channel, numbers(0..30));
    let letters = api.get(&format!("/leveret/messages/%2F/{DEAD}?dead=true&count=30"));
    let id = &letters["messages"][17]["id"];
    assert_eq!(counts(&replay(&api, &json!({ "ids": [id] }))), [1, 0, 0, 0]);
    let back = channel.call(&get(ORDERS));
    assert_eq!(back, "basic.get-ok 31 'shop' order.new 0: order 17.".replace('\'', "").as_str());
    channel.send(&ack(back.delivery_tag()));
    assert_eq!(counts(&replay(&api, &json!({ "ids": [id] }))), [0, 0, 0, 0], "it is gone");

    let none = json!({ "reason": "expired" });
    assert_eq!(counts(&replay(&api, &none)), [0, 0, 0, 0]);
    let none = json!({ "died_in": "elsewhere" });
    assert_eq!(counts(&replay(&api, &none)), [0, 0, 0, 0]);
    let some = json!({ "contains": "ORDER 2", "reason": "rejected", "died_in": ORDERS });
    assert_eq!(counts(&replay(&api, &some)), [11, 0, 0, 0]);
    let expected: Vec<String> = numbers(2..3).chain(numbers(20..30)).collect();
    assert_eq!(bodies(&all(&channel, ORDERS)), expected);
    let left = all(&channel, DEAD);
    let expected: Vec<String> = numbers(0..20)
        .filter(|body| ![2, 17].map(|n| format!("order {n}.")).contains(body))
        .collect();
    assert_eq!(bodies(&left), expected);
}

#[test]
fn what_cannot_go_back_stays_in_its_place() {
    let Some((broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    kill(&channel, numbers(0..3));
    assert_eq!(channel.call(&unbind(ORDERS, "shop", "order.*")), "queue.unbind-ok");
    assert_eq!(counts(&replay(&api, &json!({}))), [0, 3, 0, 0]);
    assert_eq!(channel.call(&delete_exchange("shop")), "exchange.delete-ok");
    let refused = replay(&api, &json!({}));
    assert_eq!(counts(&refused), [0, 0, 0, 3]);
    assert_eq!(refused["last_refusal"], "NOT_FOUND - no exchange 'shop' in vhost '/'");
    let plan = json!({ "dry_run": true });
    let plan = api.call("POST", &format!("/leveret/replays/%2F/{DEAD}"), &plan).json();
    assert_eq!(plan["ways"][0]["exchange_is_missing"], true);

    let policy = json!({
        "pattern": "^orders$", "definition": { "max-length": 1, "overflow": "reject-publish" },
    });
    api.put("/policies/%2F/short", &policy);
    let to_queue = json!({ "to": "queue" });
    assert_eq!(counts(&replay(&api, &to_queue)), [1, 0, 2, 0]);
    assert_eq!(bodies(&all(&channel, ORDERS)), ["order 0."]);
    let left = all(&channel, DEAD);
    assert_eq!(bodies(&left), ["order 1.", "order 2."]);
}

/// What was accepted goes back, with all of its headers, though no client may send so many any more.
#[test]
fn dead_letters_with_more_headers_than_may_be_sent_go_back() {
    const HEADERS: usize = 5000;
    let config = format!("management = \"127.0.0.1:0\"\namqp.table_field_max = {}\n", HEADERS + 1);
    let Some(broker) = Broker::configured(&config, "limits the size of tables") else { return };
    let api = Api::new(broker.management_address());
    let channel = set_up(&broker);
    let headers = (0..HEADERS).map(|number| format!("x-{number}"));
    let headers = headers.fold(TableBuilder::new(), |table, name| table.put(&name, true)).build();
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("shop", "order.new"), &properties, b"with many headers");
    assert_eq!(channel.recv(), "basic.ack 1");
    let got = channel.call(&get(ORDERS));
    channel.send(&basic::Reject { requeue: false, ..reject(got.delivery_tag()) });
    eventually(|| channel.call(&passive(DEAD)) == format!("queue.declare-ok {DEAD} 1 0"));
    let file = std::fs::read_to_string(broker.config_file()).unwrap();
    std::fs::write(broker.config_file(), file.replace("5001", "4096")).unwrap();
    broker.hang_up();
    broker.await_line("read again: amqp.table_field_max");
    let plan = json!({ "dry_run": true });
    let plan = api.call("POST", &format!("/leveret/replays/%2F/{DEAD}"), &plan).json();
    assert_eq!(plan["messages"], 1, "{plan}");
    assert_eq!(counts(&replay(&api, &json!({}))), [1, 0, 0, 0]);
    let back = all(&channel, ORDERS);
    assert_eq!(bodies(&back), ["with many headers"]);
    let kept = back[0].properties().headers.unwrap();
    assert_eq!(kept.get("x-4999").and_then(|value| value.as_bool()), Some(true));
    assert!(kept.iter().count() >= HEADERS);
}

#[test]
fn a_replay_is_cancelled_and_loses_nothing() {
    let Some((broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    kill(&channel, numbers(0..50));
    let order = json!({ "rate": 1 });
    let reply = api.call("POST", &format!("/leveret/replays/%2F/{DEAD}"), &order);
    let path = format!("/leveret/replays/{}", reply.json()["id"]);
    eventually(|| api.get(&path)["replayed"].as_u64().unwrap() > 0);
    assert_eq!(api.get("/leveret/replays")[0]["state"], "running");
    assert_eq!(api.call("DELETE", &path, &Value::Null).status, 204);
    eventually(|| api.get(&path)["state"] == "cancelled");
    let back = bodies(&all(&channel, ORDERS));
    assert_eq!(back.len(), usize::try_from(api.get(&path)["replayed"].as_u64().unwrap()).unwrap());
    assert!(back.len() < 50);
    let all: Vec<String> = back.into_iter().chain(bodies(&all(&channel, DEAD))).collect();
    assert_eq!(all, numbers(0..50).collect::<Vec<_>>());
}

/// As publishers do: it publishes. So does who publishes over HTTP, who is told.
#[test]
fn a_replay_waits_while_publishers_have_to() {
    let config = |free: &str| {
        format!(
            "management = \"127.0.0.1:0\"\n[alarms]\nvm_memory_high_watermark = \"none\"\ndisk_free_limit = \"{free}\"\n"
        )
    };
    let Some(broker) = Broker::configured(&config("none"), "sets an alarm") else { return };
    let api = Api::new(broker.management_address());
    let reload = |free: &str, status: u16| {
        std::fs::write(broker.config_file(), config(free)).unwrap();
        broker.hang_up();
        eventually(|| api.send("GET", "/health/alarms", &[], "").status == status);
    };
    let channel = set_up(&broker);
    kill(&channel, numbers(0..5));
    reload("9000000GiB", 503);
    let reply = api.call("POST", &format!("/leveret/replays/%2F/{DEAD}"), &json!({}));
    let path = format!("/leveret/replays/{}", reply.json()["id"]);
    eventually(|| api.get(&path)["held"] == "low on disk");
    assert_eq!(api.get(&path)["replayed"], 0);
    let message = json!({
        "routing_key": DEAD, "properties": {}, "payload": "p", "payload_encoding": "string",
    });
    let publish = || api.call("POST", "/exchanges/%2F/amq.default/publish", &message);
    let refused = publish();
    assert_eq!((refused.status, refused.json()), (503, json!({ "reason": "low on disk" })));
    assert_eq!(channel.call(&passive(DEAD)), "queue.declare-ok dead 5 0");
    reload("none", 200);
    eventually(|| api.get(&path)["state"] == "done");
    assert_eq!(counts(&api.get(&path)), [5, 0, 0, 0]);
    assert_eq!(api.get(&path)["held"], Value::Null);
    assert_eq!(publish().json(), json!({ "routed": true }));
}

#[test]
fn dead_letters_on_disk_go_back_in_order() {
    let settings = "management = \"127.0.0.1:0\"\nstore.message_memory = \"1MiB\"\nstore.transient_memory = \"4MiB\"\n";
    let because = "needs little memory for messages";
    let Some(broker) = Broker::configured(settings, because) else { return };
    let api = Api::new(broker.management_address());
    let channel = set_up(&broker);
    let body = |number: usize| format!("{number:4}{}", ".".repeat(4092));
    kill(&channel, (0..600).map(body));
    eventually(|| api.get("/queues/%2F/dead")["messages_ram"].as_u64().unwrap() < 300);
    assert_eq!(counts(&replay(&api, &json!({ "rate": 100_000 }))), [600, 0, 0, 0]);
    assert!(bodies(&all(&channel, ORDERS)) == (0..600).map(body).collect::<Vec<_>>());
    assert_eq!(channel.call(&passive(DEAD)), "queue.declare-ok dead 0 0");
}

#[test]
fn a_replay_may_what_its_user_may() {
    let Some((broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    kill(&channel, numbers(0..1));
    for (name, read, write) in [("reader", "dead", "x"), ("nobody", "x", ".*")] {
        api.put(&format!("/users/{name}"), &json!({ "password": "p", "tags": "management" }));
        let permission = json!({ "configure": "", "write": write, "read": read });
        api.put(&format!("/permissions/%2F/{name}"), &permission);
    }
    let reader = api.with_login(Some("reader:p"));
    let refused = replay(&reader, &json!({}));
    assert_eq!(counts(&refused), [0, 0, 0, 1]);
    let id = &refused["id"];
    assert_eq!(reader.get("/leveret/replays").as_array().unwrap().len(), 1);
    let nobody = api.with_login(Some("nobody:p"));
    assert_eq!(nobody.get("/leveret/replays"), json!([]));
    assert_eq!(nobody.get("/leveret/dead-letters"), json!([]));
    let status = |method: &str, path: &str, body: &Value| nobody.call(method, path, body).status;
    assert_eq!(status("GET", &format!("/leveret/replays/{id}"), &Value::Null), 404);
    assert_eq!(status("POST", "/leveret/replays/%2F/dead", &json!({})), 401);
    assert_eq!(status("POST", "/leveret/replays/%2F/dead", &json!({ "dry_run": true })), 401);
    for wrong in [json!({ "rate": 0 }), json!({ "ids": ["x"] }), json!({ "to": "there" })] {
        assert_eq!(api.call("POST", "/leveret/replays/%2F/dead", &wrong).status, 400, "{wrong}");
    }
    assert_eq!(api.call("POST", "/leveret/replays/%2F/nope", &json!({})).status, 404);
    assert_eq!(channel.call(&passive(DEAD)), "queue.declare-ok dead 1 0");
}

/// Whoever may only publish to a queue with dead letters would have whoever replays them publish anywhere.
#[test]
fn what_a_publisher_says_of_deaths_is_no_dead_letter() {
    let Some((mut broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    let keys = ArrayBuilder::new().push("order.new").build();
    let death = TableBuilder::new().put("queue", ORDERS).put("reason", "rejected");
    let death = death.put("exchange", "shop").put("routing-keys", keys.as_array()).build();
    let deaths = ArrayBuilder::new().push(death.as_table()).build();
    let headers = TableBuilder::new().put("x-death", deaths.as_array());
    let headers = headers.put("x-first-death-queue", ORDERS);
    let headers = headers.put("x-first-death-reason", "rejected").build();
    let headers = Some(headers.as_table());
    let properties = Properties { headers, delivery_mode: Some(2), ..Properties::default() };
    let lie = || {
        channel.publish_with(&publish("", DEAD), &properties, b"of a liar");
        assert!(channel.recv().starts_with("basic.ack"));
    };
    lie();
    let dead = format!("/leveret/messages/%2F/{DEAD}?dead=true");
    let plan = || {
        let plan = json!({ "dry_run": true });
        api.call("POST", &format!("/leveret/replays/%2F/{DEAD}"), &plan).json()["messages"].clone()
    };
    assert_eq!(api.get("/leveret/dead-letters"), json!([]));
    assert_eq!((&api.get(&dead)["messages"], plan()), (&json!([]), json!(0)));
    for order in [json!({}), json!({ "to": "queue" })] {
        assert_eq!(counts(&replay(&api, &order)), [0, 0, 0, 0]);
    }
    kill(&channel, numbers(0..1));
    // What is confirmed is on disk, and so is what came before.
    lie();
    broker.kill9();
    broker.restart();
    let api = Api::new(broker.management_address());
    let channel = broker.connect().channel(1);
    assert_eq!(api.get("/leveret/dead-letters")[0]["first_death"]["queue"], ORDERS);
    assert_eq!(api.get(&dead)["messages"][0]["payload"], "order 0.");
    assert_eq!(counts(&replay(&api, &json!({ "to": "queue" }))), [1, 0, 0, 0]);
    assert_eq!(bodies(&all(&channel, ORDERS)), ["order 0."]);
    assert_eq!(bodies(&all(&channel, DEAD)), ["of a liar", "of a liar"]);
}

/// Its publisher may have been allowed to publish to that one's exchange only.
#[test]
fn a_dead_letter_goes_back_to_its_queue_alone() {
    let Some((broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    assert_eq!(channel.call(&declare("other")), "queue.declare-ok other 0 0");
    let copies = ArrayBuilder::new().push("other").build();
    let headers = TableBuilder::new().put("CC", copies.as_array()).build();
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("shop", "order.new"), &properties, b"with a copy");
    assert!(channel.recv().starts_with("basic.ack"));
    let got = channel.call(&get(ORDERS));
    channel.send(&basic::Reject { requeue: false, ..reject(got.delivery_tag()) });
    eventually(|| channel.call(&passive(DEAD)) == format!("queue.declare-ok {DEAD} 1 0"));
    assert_eq!(counts(&replay(&api, &json!({ "to": "queue" }))), [1, 0, 0, 0]);
    assert_eq!(bodies(&all(&channel, ORDERS)), ["with a copy"]);
    assert_eq!(channel.call(&passive("other")), "queue.declare-ok other 0 0");
}

/// A dry run says so before.
#[test]
fn a_dead_letter_goes_back_by_its_copies_as_well() {
    let Some((broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    channel.call(&declare("copies"));
    channel.call(&bind("copies", "shop", "copy"));
    let copies = ArrayBuilder::new().push("copy").build();
    let headers = TableBuilder::new().put("CC", copies.as_array()).build();
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("shop", "order.new"), &properties, b"with a copy");
    assert!(channel.recv().starts_with("basic.ack"));
    let got = channel.call(&get(ORDERS));
    channel.send(&basic::Reject { requeue: false, ..reject(got.delivery_tag()) });
    eventually(|| channel.call(&passive(DEAD)) == format!("queue.declare-ok {DEAD} 1 0"));
    assert_eq!(bodies(&all(&channel, "copies")), ["with a copy"]);
    let queues = |to: &str| {
        let plan = json!({ "dry_run": true, "to": to });
        let plan = api.call("POST", &format!("/leveret/replays/%2F/{DEAD}"), &plan).json();
        plan["ways"][0]["queues"].clone()
    };
    assert_eq!(queues("exchange"), json!([ORDERS, "copies"]));
    assert_eq!(queues("queue"), json!([ORDERS]));
    assert_eq!(counts(&replay(&api, &json!({}))), [1, 0, 0, 0]);
    for queue in [ORDERS, "copies"] {
        assert_eq!(bodies(&all(&channel, queue)), ["with a copy"], "{queue}");
    }
}

/// They are kept for as long as a replay runs, beside what requests may take.
#[test]
fn a_replay_that_looks_for_too_much_is_refused() {
    let Some((broker, api)) = managed() else { return };
    let channel = set_up(&broker);
    kill(&channel, numbers(0..1));
    let texts =
        |length: usize| ["contains", "reason", "died_in"].map(|key| (key, "x".repeat(length)));
    let ids = |count: u64| json!({ "ids": (1 << 40..(1 << 40) + count).collect::<Vec<_>>() });
    let answer = |order: &Value| {
        let reply = api.call("POST", &format!("/leveret/replays/%2F/{DEAD}"), order);
        (reply.status, reply.json()["reason"].as_str().unwrap_or_default().to_owned())
    };
    for (key, text) in texts(1025) {
        let reason = format!("{key} should have at most 1024 bytes");
        assert_eq!(answer(&json!({ key: text })), (400, reason.clone()));
        let path = format!("/leveret/messages/%2F/{DEAD}?{key}={text}");
        let found = api.call("GET", &path, &Value::Null);
        assert_eq!((found.status, &found.json()["reason"]), (400, &json!(reason)));
    }
    assert_eq!(answer(&ids(10_001)), (400, "ids should be 10000 at most".to_owned()));
    assert_eq!(api.get("/leveret/replays"), json!([]));
    for (key, text) in texts(1024) {
        assert_eq!(counts(&replay(&api, &json!({ key: text }))), [0, 0, 0, 0]);
        let found = api.get(&format!("/leveret/messages/%2F/{DEAD}?{key}={text}"));
        assert_eq!((&found["looked_at"], &found["messages"]), (&json!(1), &json!([])));
    }
    assert_eq!(counts(&replay(&api, &ids(10_000))), [0, 0, 0, 0]);
}
