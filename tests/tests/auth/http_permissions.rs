//! Permissions that an HTTP service decides: what it is asked, and what clients see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret_tests::codec::{
    ArrayBuilder, FRAME_END, Method, Properties, Value, basic, connection, encode_content,
};
use leveret_tests::{
    Broker, Channel, bind, confirm_select, consume, declare, get, passive, publish, qos, table,
};

use crate::service::{Asked, Reply, Service};
use crate::{WHY, log_in};

/// Allows everything but what has `no` in its name or key.
fn decide(asked: &Asked) -> Reply {
    let about = [asked.field("name"), asked.field("routing_key")].concat();
    Reply::Say(if about.contains("no") { "deny it is not yours" } else { "allow" })
}

fn channel(service: &Service, more: &str) -> Option<(Broker, Channel)> {
    let settings = service.settings();
    let config = format!("{settings}{more}[auth]\nbackends = \"http\"\n");
    let broker = Broker::configured(&config, WHY)?;
    let channel = log_in(&broker, "anna", "anna").unwrap().channel(1);
    service.take();
    Some((broker, channel))
}

#[test]
fn each_operation_is_asked_about_once() {
    let service = Service::start(decide);
    let Some((_broker, channel)) = channel(&service, "") else { return };
    assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 0 0");
    assert_eq!(service.take_lines(), ["resource configure queue q"]);
    assert_eq!(channel.call(&bind("q", "amq.topic", "a.b")), "queue.bind-ok");
    let expected =
        ["resource write queue q", "resource read exchange amq.topic", "topic read amq.topic a.b"];
    assert_eq!(service.take_lines(), expected);
    channel.publish("amq.topic", "a.b", "x");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 amq.topic a.b 0: x");
    let expected =
        ["resource write exchange amq.topic", "topic write amq.topic a.b", "resource read queue q"];
    assert_eq!(service.take_lines(), expected);
    channel.publish("", "q", "x");
    assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 1 0");
    assert_eq!(service.take_lines(), ["resource write exchange amq.default"]);
    // What was allowed is remembered for a while.
    channel.publish("amq.topic", "a.b", "x");
    assert_eq!(channel.call(&declare("q")), "queue.declare-ok q 2 0");
    assert_eq!(service.take_lines(), Vec::<String>::new());
    let asked = {
        channel.call(&bind("q", "amq.topic", "c"));
        service.take()
    };
    let fields: Vec<(&str, &str)> =
        asked[0].fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected = [
        ("name", "amq.topic"),
        ("permission", "read"),
        ("resource", "topic"),
        ("routing_key", "c"),
        ("tags", ""),
        ("username", "anna"),
        ("variable_map.username", "anna"),
        ("variable_map.vhost", "/"),
        ("vhost", "/"),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn what_is_denied_is_refused_in_rabbitmqs_words() {
    let service = Service::start(decide);
    let Some((_broker, channel)) = channel(&service, "") else { return };
    let no = |method: &str, what: &str| {
        format!(
            "channel.close 403 {method} ACCESS_REFUSED - {what} in vhost '/' refused for user 'anna'"
        )
    };
    for _ in 0..2 {
        let expected = no("queue.declare", "configure access to queue 'no'");
        assert_eq!(channel.call(&declare("no")), expected);
        channel.reopen();
        assert_eq!(service.take_lines(), ["resource configure queue no"], "each time");
    }
    assert_eq!(channel.call(&passive("no")), no("queue.declare", "configure access to queue 'no'"));
    let asked = ["read", "write", "configure"].map(|kind| format!("resource {kind} queue no"));
    assert_eq!(service.take_lines(), asked);
    channel.reopen();
    assert_eq!(channel.call(&get("no")), no("basic.get", "read access to queue 'no'"));
    channel.reopen();
    assert_eq!(channel.call(&consume("no", "c")), no("basic.consume", "read access to queue 'no'"));
    channel.reopen();
    channel.publish("no", "k", "x");
    assert_eq!(channel.recv(), no("basic.publish", "write access to exchange 'no'"));
    channel.reopen();
    channel.publish("amq.topic", "no", "x");
    let topic = "write access to topic 'no' in exchange 'amq.topic'";
    assert_eq!(channel.recv(), no("basic.publish", topic));
    channel.reopen();
    assert_eq!(channel.call(&declare("yes")), "queue.declare-ok yes 0 0");
}

#[test]
fn the_reason_is_told_if_that_is_configured() {
    let service = Service::start(decide);
    let more = "authorization_failure_disclosure = true\n";
    let Some((_broker, channel)) = channel(&service, more) else { return };
    assert_eq!(
        channel.call(&declare("no")),
        "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue 'no' in vhost \
         '/' refused for user 'anna' by backend rabbit_auth_backend_http: it is not yours"
    );
}

#[test]
fn a_service_that_fails_refuses() {
    let service = Service::start(|asked| match asked.path.as_str() {
        "resource" => Reply::Status("503 Service Unavailable"),
        _ => Reply::Say("allow"),
    });
    let Some((_broker, channel)) = channel(&service, "") else { return };
    assert_eq!(
        channel.call(&declare("q")),
        "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue 'q' in vhost \
         '/' refused for user 'anna', backend rabbit_auth_backend_http returned an error: \
         {bad_status,503}"
    );
}

#[test]
fn what_follows_a_question_waits_for_its_answer() {
    let service = Service::start(decide);
    let Some((_broker, channel)) = channel(&service, "") else { return };
    channel.call(&confirm_select());
    service.hold("queue slow");
    channel.send(&declare("slow"));
    channel.send(&declare("fast"));
    channel.publish("", "slow", "1");
    channel.publish("", "slow", "2");
    channel.send(&qos(1));
    service.await_line("resource configure queue slow");
    assert_eq!(service.take_lines(), ["resource configure queue slow"], "nothing else goes on");
    service.release();
    let (mut answers, mut acks) = (Vec::new(), 0);
    while answers.len() < 3 || acks == 0 {
        let answer = channel.recv().to_string();
        match answer.starts_with("basic.ack") {
            true => acks += 1,
            false => answers.push(answer),
        }
    }
    let expected = ["queue.declare-ok slow 0 0", "queue.declare-ok fast 0 0", "basic.qos-ok"];
    assert_eq!(answers, expected);
    channel.send(&passive("slow"));
    let mut answer = channel.recv();
    while answer.starts_with("basic.ack") {
        answer = channel.recv();
    }
    assert_eq!(answer, "queue.declare-ok slow 2 0");
}

/// The last frame of a message is not taken twice.
#[test]
fn messages_in_pieces_are_published_once() {
    let service = Service::start(decide);
    let Some((_broker, channel)) = channel(&service, "") else { return };
    channel.call(&declare("q"));
    channel.call(&confirm_select());
    for (exchange, key, body) in
        [("", "q", &b""[..]), ("amq.direct", "x", b"whole"), ("amq.topic", "k", &[b'b'; 200_000])]
    {
        if !exchange.is_empty() {
            channel.call(&bind("q", exchange, key));
        }
        publish_in_pieces(&channel, exchange, key, body);
        assert!(channel.recv().starts_with("basic.ack"));
        let got = channel.call(&basic::Get { queue: "q", no_ack: true });
        let Method::BasicGetOk(ok) = got.method() else { panic!("{got}") };
        assert_eq!((ok.message_count, got.body()), (0, body));
    }
    publish_in_pieces(&channel, "no", "k", b"x");
    assert!(channel.recv().starts_with("channel.close 403 basic.publish"));
}

/// With a heartbeat behind the method, which has the broker take it frame by frame.
fn publish_in_pieces(channel: &Channel, exchange: &str, key: &str, body: &[u8]) {
    let mut content = Vec::new();
    encode_content(1, &[0, 0], body, 131_072, &mut content);
    channel.send(&publish(exchange, key));
    channel.connection().send_bytes(&[8, 0, 0, 0, 0, 0, 0, FRAME_END]);
    channel.connection().send_bytes(&content);
}

#[test]
fn a_new_secret_has_consumers_looked_at_again() {
    let allowed = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&allowed);
    let service = Service::start(move |asked| {
        let is_theirs = asked.field("name") != "theirs" || asked.field("permission") != "read";
        let is_allowed = is_theirs || still.load(Ordering::SeqCst);
        Reply::Say(if is_allowed { "allow" } else { "deny" })
    });
    let Some((_broker, channel)) = channel(&service, "") else { return };
    for queue in ["mine", "theirs"] {
        channel.call(&declare(queue));
        channel.call(&consume(queue, queue));
    }
    allowed.store(false, Ordering::SeqCst);
    let update = connection::UpdateSecret { new_secret: b"new", reason: "why not" };
    assert_eq!(channel.connection().call(&update), "connection.update-secret-ok");
    assert_eq!(channel.recv(), "basic.cancel theirs nowait");
    assert_eq!(channel.call(&passive("mine")), "queue.declare-ok mine 0 1");
}

/// A message may have thousands of them, and a connection as many consumers.
#[test]
fn each_key_and_each_consumer_is_asked_about_once() {
    const MANY: usize = 300;
    let service = Service::start(decide);
    let Some((_broker, channel)) = channel(&service, "") else { return };
    let names: Vec<String> = (0..MANY).map(|number| format!("key-{number}")).collect();
    let keys =
        names.iter().chain(names.last()).fold(ArrayBuilder::new(), |keys, key| keys.push(&**key));
    let keys = keys.build();
    let headers = table([("CC", Value::Array(keys.as_array()))]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    channel.publish_with(&publish("amq.topic", "key-0"), &properties, b"x");
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
    let mut expected = vec!["resource write exchange amq.topic".to_owned()];
    expected.extend(names.iter().map(|key| format!("topic write amq.topic {key}")));
    assert_eq!(service.take_lines(), expected);
    for name in &names {
        channel.call(&declare(name));
        channel.call(&consume(name, name));
    }
    service.take();
    let update = connection::UpdateSecret { new_secret: b"new", reason: "why not" };
    assert_eq!(channel.connection().call(&update), "connection.update-secret-ok");
    let mut asked = service.take_lines();
    asked.sort_unstable();
    let mut expected: Vec<String> =
        names.iter().map(|name| format!("resource read queue {name}")).collect();
    expected.sort_unstable();
    assert_eq!(asked, expected);
}
