//! Direct reply-to: requests and replies without a queue for the replies.

use leveret_tests::codec::{ArrayBuilder, Properties, Value, basic, queue};
use leveret_tests::{
    Account, Broker, Channel, Login, bind, cancel, confirm_select, consume, declare, delete,
    eventually, get, passive, publish, qos, table, unbind,
};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn consume_replies(tag: &str) -> basic::Consume<'_> {
    basic::Consume { no_ack: true, ..consume(REPLY_TO, tag) }
}

/// Publishes a request to the queue.
fn request(channel: &Channel, queue: &str, body: &str) {
    let properties = Properties {
        reply_to: Some(REPLY_TO.as_bytes()),
        correlation_id: Some(b"7"),
        ..Properties::default()
    };
    channel.publish_with(&publish("", queue), &properties, body.as_bytes());
}

/// Where the next request in the queue wants its reply.
fn token(channel: &Channel, queue: &str) -> String {
    let mut answer = channel.call(&get(queue));
    while answer == "basic.get-empty" {
        answer = channel.call(&get(queue));
    }
    let properties = answer.properties();
    assert_eq!(properties.correlation_id, Some(&b"7"[..]));
    String::from_utf8(properties.reply_to.unwrap().to_vec()).unwrap()
}

#[test]
fn a_reply_goes_straight_to_the_requester() {
    let broker = Broker::start();
    let client = broker.connect().channel(1);
    let server = broker.connect().channel(5);
    server.call(&declare("rpc"));
    assert_eq!(client.call(&consume_replies("replies")), "basic.consume-ok replies");
    request(&client, "rpc", "first");
    request(&client, "rpc", "second");

    let address = token(&server, "rpc");
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    assert!(address.len() <= 255);
    assert_eq!(token(&server, "rpc"), address);
    for body in ["one", "two"] {
        let properties = Properties { correlation_id: Some(b"7"), ..Properties::default() };
        server.publish_with(&publish("", &address), &properties, body.as_bytes());
    }
    let reply = client.recv();
    assert_eq!(reply, format!("basic.deliver replies 1 '' {address}: one"));
    assert_eq!(reply.properties().correlation_id, Some(&b"7"[..]));
    assert_eq!(client.recv(), format!("basic.deliver replies 2 '' {address}: two"));
}

/// Requester and server may also be one.
#[test]
fn a_channel_replies_to_itself() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("rpc"));
    let tag = channel.call(&consume_replies(""));
    assert!(tag.starts_with("basic.consume-ok amq.ctag-"), "{tag}");
    request(&channel, "rpc", "ping");
    let address = token(&channel, "rpc");
    channel.publish("", &address, "pong");
    let reply = channel.recv();
    assert!(reply.starts_with("basic.deliver amq.ctag-"), "{reply}");
    assert_eq!(reply.body(), b"pong");
}

#[test]
fn consuming_replies_takes_one_consumer_that_cannot_acknowledge() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    assert_eq!(
        channel.call(&consume(REPLY_TO, "t")),
        "channel.close 406 basic.consume PRECONDITION_FAILED - reply consumer cannot acknowledge"
    );
    channel.reopen();
    assert_eq!(channel.call(&consume_replies("t")), "basic.consume-ok t");
    assert_eq!(
        channel.call(&consume_replies("u")),
        "channel.close 406 basic.consume PRECONDITION_FAILED - reply consumer already set"
    );
    channel.reopen();
    // Cancelling makes room for another.
    assert_eq!(channel.call(&consume_replies("t")), "basic.consume-ok t");
    assert_eq!(channel.call(&cancel("t")), "basic.cancel-ok t");
    assert_eq!(channel.call(&consume_replies("u")), "basic.consume-ok u");
    // Each channel has its own.
    let other = channel.connection().channel(2);
    assert_eq!(other.call(&consume_replies("u")), "basic.consume-ok u");
}

#[test]
fn a_request_needs_a_consumer_on_its_channel() {
    let broker = Broker::start();
    let connection = broker.connect();
    let (channel, other) = (connection.channel(1), connection.channel(2));
    channel.call(&declare("rpc"));
    assert_eq!(other.call(&consume_replies("t")), "basic.consume-ok t");
    let refused = "channel.close 406 basic.publish PRECONDITION_FAILED - \
                   fast reply consumer does not exist";
    request(&channel, "rpc", "x");
    assert_eq!(channel.recv(), refused);
    channel.reopen();
    channel.call(&consume_replies("t"));
    channel.call(&cancel("t"));
    request(&channel, "rpc", "x");
    assert_eq!(channel.recv(), refused);
}

#[test]
fn the_name_and_tokens_answer_like_queues_with_a_consumer() {
    let broker = Broker::start();
    let client = broker.connect().channel(1);
    let channel = broker.connect().channel(1);
    channel.call(&declare("rpc"));
    client.call(&consume_replies("t"));
    request(&client, "rpc", "x");
    let live = token(&channel, "rpc");
    let dead = "amq.rabbitmq.reply-to.nobody";
    let volatile = "channel.close 403 queue.bind ACCESS_REFUSED - \
                    cannot bind or unbind to a volatile (direct reply-to) queue";
    super::check(
        &channel,
        &[
            (&passive(REPLY_TO), "queue.declare-ok amq.rabbitmq.reply-to 0 1"),
            (&declare(REPLY_TO), "queue.declare-ok amq.rabbitmq.reply-to 0 1"),
            (&passive(&live), &format!("queue.declare-ok {live} 0 1")),
            (&declare(&live), &format!("queue.declare-ok {live} 0 1")),
            (
                &passive(dead),
                "channel.close 404 queue.declare NOT_FOUND - \
                 no queue 'amq.rabbitmq.reply-to.nobody' in vhost '/'",
            ),
            (
                &declare(dead),
                "channel.close 404 queue.declare NOT_FOUND - \
                 no queue 'amq.rabbitmq.reply-to.nobody' in vhost '/'",
            ),
            (
                &get(REPLY_TO),
                "channel.close 404 basic.get NOT_FOUND - \
                 no queue 'amq.rabbitmq.reply-to' in vhost '/'",
            ),
            (
                &get(&live),
                &format!("channel.close 404 basic.get NOT_FOUND - no queue '{live}' in vhost '/'"),
            ),
            (
                &bind(REPLY_TO, "amq.direct", "k"),
                "channel.close 404 queue.bind NOT_FOUND - \
                 no queue 'amq.rabbitmq.reply-to' in vhost '/'",
            ),
            (&bind(&live, "amq.direct", "k"), volatile),
            (&bind(dead, "amq.direct", "k"), volatile),
            (&unbind(&live, "amq.direct", "k"), &volatile.replace("queue.bind", "queue.unbind")),
            (&delete(REPLY_TO), "queue.delete-ok 0"),
            (&delete(&live), "queue.delete-ok 0"),
            (&queue::Delete { if_unused: true, ..delete(&live) }, "queue.delete-ok 0"),
            (&passive(&live), &format!("queue.declare-ok {live} 0 1")),
        ],
    );
    // None of that took the requester away.
    channel.publish("", &live, "still");
    assert_eq!(client.recv(), format!("basic.deliver t 1 '' {live}: still"));
}

/// At most once: what comes too late is dropped, and said so only to those who ask.
#[test]
fn a_stale_token_leads_nowhere() {
    let broker = Broker::start();
    let server = broker.connect().channel(1);
    server.call(&declare("rpc"));
    let asked = |end: &dyn Fn(&Channel)| {
        let client = broker.connect().channel(1);
        client.call(&consume_replies("t"));
        request(&client, "rpc", "x");
        let address = token(&server, "rpc");
        end(&client);
        (address, client)
    };
    let is_gone = |address: &str| {
        let gone = server.call(&passive(address)).starts_with("channel.close 404 ");
        if gone {
            server.reopen();
        }
        gone
    };
    let ends: [&dyn Fn(&Channel); 4] = [
        &|client| assert_eq!(client.call(&cancel("t")), "basic.cancel-ok t"),
        &Channel::close,
        // The broker closes the channel.
        &|client| {
            assert!(client.call(&passive("missing")).starts_with("channel.close 404 "));
        },
        &|client| client.connection().clone().close(),
    ];
    for end in ends {
        let (address, _client) = asked(end);
        assert!(is_gone(&address));
        server.publish("", &address, "dropped");
        let mandatory = basic::Publish { mandatory: true, ..publish("", &address) };
        server.publish_with(&mandatory, &Properties::default(), b"late");
        assert_eq!(server.recv(), format!("basic.return 312 NO_ROUTE '' {address}: late"));
    }
    let (address, client) = asked(&|_| ());
    drop(client);
    eventually(|| is_gone(&address));
}

/// A channel that is opened again under the same number is another requester.
#[test]
fn a_reopened_channel_gets_no_old_replies() {
    let broker = Broker::start();
    let client = broker.connect().channel(1);
    let server = broker.connect().channel(1);
    server.call(&declare("rpc"));
    client.call(&consume_replies("t"));
    request(&client, "rpc", "x");
    let old = token(&server, "rpc");
    assert!(client.call(&passive("missing")).starts_with("channel.close 404 "));
    client.reopen();
    client.call(&consume_replies("t"));
    request(&client, "rpc", "x");
    let new = token(&server, "rpc");
    assert_ne!(old, new);
    server.publish("", &old, "old");
    server.publish("", &new, "new");
    assert_eq!(client.recv(), format!("basic.deliver t 1 '' {new}: new"));
}

#[test]
fn replies_are_confirmed_and_count_as_routed() {
    let broker = Broker::start();
    let client = broker.connect().channel(1);
    let server = broker.connect().channel(1);
    server.call(&declare("rpc"));
    client.call(&consume_replies("t"));
    request(&client, "rpc", "x");
    let address = token(&server, "rpc");
    server.call(&confirm_select());
    let mandatory = basic::Publish { mandatory: true, ..publish("", &address) };
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    server.publish_with(&mandatory, &persistent, b"live");
    assert_eq!(server.recv(), "basic.ack 1");
    assert_eq!(client.recv(), format!("basic.deliver t 1 '' {address}: live"));
    client.call(&cancel("t"));
    server.publish_with(&mandatory, &persistent, b"late");
    assert_eq!(server.recv(), format!("basic.return 312 NO_ROUTE '' {address}: late"));
    assert_eq!(server.recv(), "basic.ack 2");
}

#[test]
fn a_transaction_replies_when_it_commits() {
    let broker = Broker::start();
    let client = broker.connect().channel(1);
    let server = broker.connect().channel(1);
    server.call(&declare("rpc"));
    client.call(&consume_replies("t"));
    request(&client, "rpc", "x");
    let address = token(&server, "rpc");
    server.call(&leveret_tests::codec::tx::Select {});
    server.publish("", &address, "one");
    // Nothing has come by the time the requester is answered something else.
    server.call(&passive("rpc"));
    assert_eq!(client.call(&qos(0)), "basic.qos-ok");
    assert_eq!(server.call(&leveret_tests::codec::tx::Commit {}), "tx.commit-ok");
    assert_eq!(client.recv(), format!("basic.deliver t 1 '' {address}: one"));
}

/// The token is a routing key of the default exchange, and of no other.
#[test]
fn only_the_default_exchange_knows_tokens() {
    let broker = Broker::start();
    let client = broker.connect().channel(1);
    let server = broker.connect().channel(1);
    server.call(&declare("rpc"));
    client.call(&consume_replies("t"));
    request(&client, "rpc", "x");
    let address = token(&server, "rpc");
    let mandatory = basic::Publish { mandatory: true, ..publish("amq.direct", &address) };
    server.publish_with(&mandatory, &Properties::default(), b"lost");
    assert_eq!(server.recv(), format!("basic.return 312 NO_ROUTE amq.direct {address}: lost"));

    // As a copy it works, once, whatever the key itself does.
    let keys = ArrayBuilder::new()
        .push(Value::text(&address))
        .push(Value::text(&address))
        .push(Value::text("rpc"))
        .build();
    let headers = table([("CC", Value::Array(keys.as_array()))]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    server.publish_with(&publish("", "nowhere"), &properties, b"copy");
    assert_eq!(client.recv(), "basic.deliver t 1 '' nowhere: copy");
    assert_eq!(server.call(&get("rpc")), "basic.get-ok 2 '' nowhere 0: copy");
    assert_eq!(client.call(&qos(0)), "basic.qos-ok");
}

/// Prefetch limits what waits for acknowledgement, which replies don't.
#[test]
fn prefetch_does_not_hold_replies_back() {
    let broker = Broker::start();
    let client = broker.connect().channel(1);
    let server = broker.connect().channel(1);
    server.call(&declare("rpc"));
    client.call(&basic::Qos { global: true, ..qos(1) });
    client.call(&qos(1));
    client.call(&consume_replies("t"));
    request(&client, "rpc", "x");
    let address = token(&server, "rpc");
    for number in 0..100 {
        server.publish("", &address, number.to_string());
    }
    let expected: Vec<_> = (0..100).map(|number: u32| number.to_string()).collect();
    assert_eq!(super::bodies(&client, 100), expected);
}

/// Whoever may publish may ask; only the request itself needs a permission.
#[test]
fn consuming_replies_needs_no_permission() {
    let account = Account {
        name: "asker",
        tag: "",
        permissions: Some(["", "^amq.default$", ""]),
        topic: None,
    };
    let Some(broker) = Broker::with_accounts(&[account]) else { return };
    let server = broker.connect().channel(1);
    server.call(&declare("rpc"));
    let login = Login { response: b"\0asker\0asker", ..Login::default() };
    let client = broker.connect_as(&login).unwrap().channel(1);
    assert_eq!(client.call(&consume_replies("t")), "basic.consume-ok t");
    request(&client, "rpc", "x");
    let address = token(&server, "rpc");
    server.publish("", &address, "answer");
    assert_eq!(client.recv(), format!("basic.deliver t 1 '' {address}: answer"));
}
