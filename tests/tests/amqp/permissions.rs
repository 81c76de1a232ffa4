//! Who may do what. Patterns are searched for in the name; refusals name the kind of access.

use leveret_tests::codec::{Properties, Value, exchange, queue};
use leveret_tests::{
    Account, Broker, Channel, Login, bind, bind_exchange, consume, declare, declare_exchange,
    delete, delete_exchange, get, passive, publish, purge, qos, table, unbind, unbind_exchange,
};

use crate::check;

/// May do anything with names that start with `ro-`, and read `amq.topic`.
const RO: Account<'_> = Account {
    name: "ro",
    tag: "",
    permissions: Some(["^ro-.*", "^ro-.*", "^(ro-.*|amq\\.topic)$"]),
    topic: None,
};

#[test]
fn each_operation_needs_its_permission() {
    let Some(broker) = Broker::with_accounts(&[RO]) else { return };
    let admin = broker.connect().channel(1);
    admin.call(&declare("q"));
    let channel = channel_of(&broker, "ro");
    let no = |method: &str, access: &str, what: &str| {
        format!(
            "channel.close 403 {method} ACCESS_REFUSED - {access} access to {what} in vhost '/' \
             refused for user 'ro'"
        )
    };
    let alternate = table([("alternate-exchange", Value::text("x"))]);
    check(
        &channel,
        &[
            // Queues.
            (&declare("zz"), &no("queue.declare", "configure", "queue 'zz'")),
            (&declare("q"), &no("queue.declare", "configure", "queue 'q'")),
            (&passive("q"), &no("queue.declare", "configure", "queue 'q'")),
            (&declare("ro-q"), "queue.declare-ok ro-q 0 0"),
            (&passive("ro-q"), "queue.declare-ok ro-q 0 0"),
            (&get("q"), &no("basic.get", "read", "queue 'q'")),
            (&consume("q", "c"), &no("basic.consume", "read", "queue 'q'")),
            (&purge("q"), &no("queue.purge", "read", "queue 'q'")),
            (&delete("q"), &no("queue.delete", "configure", "queue 'q'")),
            // Whether it exists is not told.
            (&delete("zz"), &no("queue.delete", "configure", "queue 'zz'")),
            (&get("zz"), &no("basic.get", "read", "queue 'zz'")),
            // Bindings: write to the destination, read from the source.
            (&bind("q", "amq.topic", "k"), &no("queue.bind", "write", "queue 'q'")),
            (&bind("ro-q", "amq.fanout", "k"), &no("queue.bind", "read", "exchange 'amq.fanout'")),
            (&bind("ro-q", "amq.topic", "k"), "queue.bind-ok"),
            (
                &unbind("ro-q", "amq.fanout", "k"),
                &no("queue.unbind", "read", "exchange 'amq.fanout'"),
            ),
            (&unbind("ro-q", "amq.topic", "k"), "queue.unbind-ok"),
            (
                &bind_exchange("amq.fanout", "amq.topic", "k"),
                &no("exchange.bind", "write", "exchange 'amq.fanout'"),
            ),
            (
                &unbind_exchange("amq.fanout", "amq.topic", "k"),
                &no("exchange.unbind", "write", "exchange 'amq.fanout'"),
            ),
            // Exchanges.
            (
                &declare_exchange("zz", "direct"),
                &no("exchange.declare", "configure", "exchange 'zz'"),
            ),
            (
                &declare_exchange("amq.direct", "direct"),
                &no("exchange.declare", "configure", "exchange 'amq.direct'"),
            ),
            (
                &exchange::Declare {
                    arguments: alternate.as_table(),
                    ..declare_exchange("ro-x", "fanout")
                },
                &no("exchange.declare", "write", "exchange 'x'"),
            ),
            (&declare_exchange("ro-x", "fanout"), "exchange.declare-ok"),
            (
                &bind_exchange("ro-x", "amq.fanout", "k"),
                &no("exchange.bind", "read", "exchange 'amq.fanout'"),
            ),
            (&delete_exchange("zz"), &no("exchange.delete", "configure", "exchange 'zz'")),
            // What touches neither.
            (&qos(1), "basic.qos-ok"),
        ],
    );

    // Publishing; the default exchange goes by the name amq.default.
    for (name, shown) in [("amq.direct", "amq.direct"), ("", "amq.default")] {
        channel.publish(name, "ro-q", "x");
        let exchange = format!("exchange '{shown}'");
        assert_eq!(channel.recv(), no("basic.publish", "write", &exchange));
        channel.reopen();
    }
    channel.publish("ro-x", "", "x");
    check(
        &channel,
        &[(&delete_exchange("ro-x"), "exchange.delete-ok"), (&get("ro-q"), "basic.get-empty")],
    );
}

/// Who sends messages somewhere else by an argument has to be able to read what is here, and to
/// write there.
#[test]
fn arguments_that_pass_messages_on_need_permission() {
    let account = Account {
        name: "w",
        tag: "",
        permissions: Some([".*", "^(there|blind)$", "^seen"]),
        topic: None,
    };
    let Some(broker) = Broker::with_accounts(&[account]) else { return };
    let channel = channel_of(&broker, "w");
    let no = |method: &str, access: &str, what: &str| {
        format!(
            "channel.close 403 {method} ACCESS_REFUSED - {access} access to {what} in vhost '/' \
             refused for user 'w'"
        )
    };
    let dead = |exchange| table([("x-dead-letter-exchange", Value::text(exchange))]);
    let alternate = |exchange| table([("alternate-exchange", Value::text(exchange))]);
    let (dead, elsewhere) = (dead("there"), dead("elsewhere"));
    let (spare, other) = (alternate("there"), alternate("elsewhere"));
    let q = |name, arguments| queue::Declare { arguments, ..declare(name) };
    let x = |name, arguments| exchange::Declare { arguments, ..declare_exchange(name, "fanout") };
    check(
        &channel,
        &[
            (&q("blind", dead.as_table()), &no("queue.declare", "read", "queue 'blind'")),
            (
                &q("seen", elsewhere.as_table()),
                &no("queue.declare", "write", "exchange 'elsewhere'"),
            ),
            (&q("seen", dead.as_table()), "queue.declare-ok seen 0 0"),
            (&x("blind", spare.as_table()), &no("exchange.declare", "read", "exchange 'blind'")),
            (
                &x("seen", other.as_table()),
                &no("exchange.declare", "write", "exchange 'elsewhere'"),
            ),
            (&x("seen", spare.as_table()), "exchange.declare-ok"),
            (&delete("seen"), "queue.delete-ok 0"),
            (&delete_exchange("seen"), "exchange.delete-ok"),
        ],
    );
}

/// Of several reasons to refuse something the client reads the first, in RabbitMQ's order.
#[test]
fn what_is_checked_first_is_what_is_told() {
    let account = Account {
        name: "w",
        tag: "",
        permissions: Some(["^mine", "^(amq.topic|internal|missing)$", ""]),
        topic: Some(["amq.topic", "^ok", ""]),
    };
    let Some(broker) = Broker::with_accounts(&[account]) else { return };
    let admin = broker.connect().channel(1);
    let internal = exchange::Declare { internal: true, ..declare_exchange("internal", "fanout") };
    assert_eq!(admin.call(&internal), "exchange.declare-ok");
    let channel = channel_of(&broker, "w");
    // A publish that does everything wrong, and then one thing less each time.
    let cc = table([("CC", Value::text("no array"))]);
    let mut properties = Properties {
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        expiration: Some(b"soon"),
        headers: Some(cc.as_table()),
        user_id: Some(b"bob"),
        ..Properties::default()
    };
    let refused = |properties: &Properties<'_>, exchange: &str, key: &str| {
        channel.publish_with(&publish(exchange, key), properties, b"");
        let answer = channel.recv().to_string();
        channel.reopen();
        let text = answer.strip_prefix("channel.close 40").unwrap_or_else(|| panic!("{answer}"));
        text.split_once(" - ").unwrap().1.to_owned()
    };
    let no_access = "write access to exchange 'amq.default' in vhost '/' refused for user 'w'";
    assert_eq!(refused(&properties, "", "k"), no_access);
    assert_eq!(refused(&properties, "missing", "k"), "no exchange 'missing' in vhost '/'");
    let internal = "cannot publish to internal exchange 'internal' in vhost '/'";
    assert_eq!(refused(&properties, "internal", "k"), internal);
    let no_consumer = "fast reply consumer does not exist";
    assert_eq!(refused(&properties, "amq.topic", "k"), no_consumer);
    properties.reply_to = None;
    assert_eq!(refused(&properties, "amq.topic", "k"), "invalid expiration 'soon': no_integer");
    properties.expiration = None;
    let header = "invalid message: {unacceptable_type_in_header,\"CC\",longstr}";
    assert_eq!(refused(&properties, "amq.topic", "k"), header);
    properties.headers = None;
    let topic =
        "write access to topic 'k' in exchange 'amq.topic' in vhost '/' refused for user 'w'";
    assert_eq!(refused(&properties, "amq.topic", "k"), topic);
    let user = "user_id property set to 'bob' but authenticated user was 'w'";
    assert_eq!(refused(&properties, "amq.topic", "ok"), user);

    // Declarations: what makes no sense for anybody comes before what this user may do.
    let bad = table([("x-message-ttl", Value::I32(-1))]);
    check(
        &channel,
        &[
            (
                &declare_exchange("theirs", "foo"),
                "channel.close 406 exchange.declare PRECONDITION_FAILED - invalid exchange type \
                 'foo'",
            ),
            (
                &declare("amq.theirs"),
                "channel.close 403 queue.declare ACCESS_REFUSED - queue name 'amq.theirs' contains \
                 reserved prefix 'amq.*'",
            ),
            (
                &queue::Declare { arguments: bad.as_table(), ..declare("theirs") },
                "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue \
                 'theirs' in vhost '/' refused for user 'w'",
            ),
            (
                &queue::Declare { arguments: bad.as_table(), ..declare("mine") },
                "channel.close 406 queue.declare PRECONDITION_FAILED - invalid arg 'x-message-ttl' \
                 for queue 'mine' in vhost '/': {value_negative,-1}",
            ),
        ],
    );
}

/// Any one of the three is enough to ask whether a queue is there.
#[test]
fn a_passive_declare_needs_any_permission() {
    let accounts = [("c", ["^q$", "", ""]), ("w", ["", "^q$", ""]), ("r", ["", "", "^q$"])];
    let accounts = accounts.map(|(name, permissions)| Account {
        name,
        tag: "",
        permissions: Some(permissions),
        topic: None,
    });
    let Some(broker) = Broker::with_accounts(&accounts) else { return };
    let admin = broker.connect().channel(1);
    admin.call(&declare("q"));
    for account in accounts {
        let channel = channel_of(&broker, account.name);
        assert_eq!(channel.call(&passive("q")), "queue.declare-ok q 0 0", "{account:?}");
    }
}

/// The name the broker makes up is checked like any other.
#[test]
fn server_named_queues_need_permission_too() {
    let Some(broker) = Broker::with_accounts(&[RO]) else { return };
    let answer = channel_of(&broker, "ro").call(&declare(""));
    assert!(
        answer.starts_with(
            "channel.close 403 queue.declare ACCESS_REFUSED - configure access to queue 'amq.gen-"
        ),
        "{answer}"
    );
}

#[test]
fn patterns_are_searched_for_and_empty_ones_match_nothing() {
    let searching =
        Account { name: "s", tag: "", permissions: Some(["mid", ".*", ".*"]), topic: None };
    let Some(broker) = Broker::with_accounts(&[searching]) else { return };
    let channel = channel_of(&broker, "s");
    assert_eq!(channel.call(&declare("a-mid-b")), "queue.declare-ok a-mid-b 0 0");
    assert!(channel.call(&declare("other")).starts_with("channel.close 403 "));
    drop((channel, broker));

    let nothing = Account { permissions: Some(["", "", ""]), ..searching };
    let Some(broker) = Broker::with_accounts(&[nothing]) else { return };
    let channel = channel_of(&broker, "s");
    assert!(channel.call(&declare("mid")).starts_with("channel.close 403 "));
}

/// Empty permissions let in; none at all do not.
#[test]
fn a_vhost_is_entered_by_permission() {
    let accounts = [
        Account { name: "in", tag: "", permissions: Some(["", "", ""]), topic: None },
        Account { name: "out", tag: "administrator", permissions: None, topic: None },
    ];
    let Some(broker) = Broker::with_accounts(&accounts) else { return };
    assert_eq!(channel_of(&broker, "in").call(&qos(1)), "basic.qos-ok");
    let out = Login { response: b"\0out\0out", ..Login::default() };
    assert_eq!(
        broker.connect_as(&out).err().unwrap(),
        "connection.close 530 connection.open \
         NOT_ALLOWED - access to vhost '/' refused for user 'out'"
    );
}

#[test]
fn topic_permissions_restrict_keys() {
    let account = Account {
        name: "t",
        tag: "",
        permissions: Some([".*", ".*", ".*"]),
        topic: Some(["amq.topic", "^w", "^r"]),
    };
    let Some(broker) = Broker::with_accounts(&[account]) else { return };
    let channel = channel_of(&broker, "t");
    let no = |method: &str, access: &str| {
        format!(
            "channel.close 403 {method} ACCESS_REFUSED - {access} access to topic 'k' in exchange \
             'amq.topic' in vhost '/' refused for user 't'"
        )
    };
    check(
        &channel,
        &[
            (&declare("t-q"), "queue.declare-ok t-q 0 0"),
            (&bind("t-q", "amq.topic", "k"), &no("queue.bind", "read")),
            (&bind("t-q", "amq.topic", "r.#"), "queue.bind-ok"),
            // Other exchanges are not restricted.
            (&bind("t-q", "amq.direct", "k"), "queue.bind-ok"),
        ],
    );
    channel.publish("amq.topic", "k", "x");
    assert_eq!(channel.recv(), no("basic.publish", "write"));
    channel.reopen();
    channel.publish("amq.topic", "w.k", "nowhere");
    channel.publish("amq.direct", "k", "x");
    assert_eq!(channel.call(&get("t-q")), "basic.get-ok 1 amq.direct k 0: x");
    channel.call(&delete("t-q"));
}

/// The user's name stands for itself, also where a pattern would mean more by it.
#[test]
fn topic_permissions_name_the_user_and_the_vhost() {
    let account = Account {
        name: "a.b",
        tag: "",
        permissions: Some([".*", ".*", ".*"]),
        topic: Some(["amq.topic", "^{username}\\.", "^{vhost}x\\."]),
    };
    let Some(broker) = Broker::with_accounts(&[account]) else { return };
    let channel = channel_of(&broker, "a.b");
    let no = |method: &str, access: &str, key: &str| {
        format!(
            "channel.close 403 {method} ACCESS_REFUSED - {access} access to topic '{key}' in \
             exchange 'amq.topic' in vhost '/' refused for user 'a.b'"
        )
    };
    check(
        &channel,
        &[
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&bind("q", "amq.topic", "/x.#"), "queue.bind-ok"),
            (&bind("q", "amq.topic", "x.#"), &no("queue.bind", "read", "x.#")),
        ],
    );
    channel.publish("amq.topic", "axb.k", "x");
    assert_eq!(channel.recv(), no("basic.publish", "write", "axb.k"));
    channel.reopen();
    channel.publish("amq.topic", "a.b.k", "x");
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
    channel.call(&delete("q"));
}

/// Copies are publishes like any other.
#[test]
fn topic_permissions_hold_for_copies() {
    let account = Account {
        name: "t",
        tag: "",
        permissions: Some([".*", ".*", ".*"]),
        topic: Some(["amq.topic", "^w", "^r"]),
    };
    let Some(broker) = Broker::with_accounts(&[account]) else { return };
    let channel = channel_of(&broker, "t");
    for header in ["CC", "BCC"] {
        let keys = leveret_tests::codec::ArrayBuilder::new().push("k").build();
        let headers = table([(header, Value::Array(keys.as_array()))]);
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        // Also where the key itself is known to be fine.
        channel.publish("amq.topic", "w", "x");
        channel.publish_with(&publish("amq.topic", "w"), &properties, b"x");
        assert_eq!(
            channel.recv(),
            "channel.close 403 basic.publish ACCESS_REFUSED - write access to topic 'k' in \
             exchange 'amq.topic' in vhost '/' refused for user 't'"
        );
        channel.reopen();
    }
}

/// The property is checked unless the user may speak for others.
#[test]
fn impersonators_may_sign_as_others() {
    let accounts = ["plain", "impersonator"].map(|name| Account {
        name,
        tag: if name == "plain" { "" } else { "impersonator" },
        permissions: Some([".*", ".*", ".*"]),
        topic: None,
    });
    let Some(broker) = Broker::with_accounts(&accounts) else { return };
    let properties = Properties { user_id: Some(b"bob"), ..Properties::default() };
    let channel = channel_of(&broker, "plain");
    channel.publish_with(&publish("", "nowhere"), &properties, b"");
    assert_eq!(
        channel.recv(),
        "channel.close 406 basic.publish PRECONDITION_FAILED - \
         user_id property set to 'bob' but authenticated user was 'plain'"
    );
    let channel = channel_of(&broker, "impersonator");
    channel.publish_with(&publish("", "nowhere"), &properties, b"");
    assert_eq!(channel.call(&qos(1)), "basic.qos-ok");
}

fn channel_of(broker: &Broker, name: &str) -> Channel {
    let response = format!("\0{name}\0{name}");
    let login = Login { response: response.as_bytes(), ..Login::default() };
    broker.connect_as(&login).unwrap_or_else(|answer| panic!("{answer}")).channel(1)
}
