//! Each method of clients with each kind of user, none left out.

use std::collections::BTreeSet;

use leveret_tests::codec::{
    Method, Properties, Value, access, basic, channel, exchange, queue, tx,
};
use leveret_tests::{
    Account, Answer, Broker, Channel, Connection, Login, ack, bind, bind_exchange, cancel,
    confirm_select, consume, declare, declare_exchange, delete, delete_exchange, get, nack,
    passive, publish, purge, qos, reject, table, unbind, unbind_exchange,
};

/// Users by what they may, in every way with all names or with none, and with all keys of a topic
/// exchange or with none; the last may not even enter.
const USERS: [Account<'_>; 10] = [
    account("entry", Some([NO, NO, NO])),
    account("configure", Some([ALL, NO, NO])),
    account("write", Some([NO, ALL, NO])),
    account("read", Some([NO, NO, ALL])),
    account("all", Some([ALL, ALL, ALL])),
    // Keys come after the exchange.
    with_keys("entry-with-keys", [NO, NO, NO], [ALL, ALL]),
    with_keys("all-but-keys", [ALL, ALL, ALL], [NO, NO]),
    with_keys("all-but-reading-keys", [ALL, ALL, ALL], [ALL, NO]),
    with_keys("all-but-writing-keys", [ALL, ALL, ALL], [NO, ALL]),
    account("out", None),
];
const ALL: &str = ".*";
const NO: &str = "^$";
const KINDS: [&str; 3] = ["configure", "write", "read"];
const TOPIC: &str = "topic 'k' in exchange 'amq.topic'";

const fn account<'a>(name: &'a str, permissions: Option<[&'a str; 3]>) -> Account<'a> {
    Account { name, tag: "", permissions, topic: None }
}

const fn with_keys<'a>(
    name: &'a str,
    permissions: [&'a str; 3],
    [write, read]: [&'a str; 2],
) -> Account<'a> {
    let topic = Some(["amq.topic", write, read]);
    Account { topic, ..account(name, Some(permissions)) }
}

/// What a method needs.
enum Needs {
    /// All of these, looked at in this order.
    All(&'static [(&'static str, &'static str)]),
    /// Any access to this.
    Any(&'static str),
}

use Needs::{All, Any};

/// A method, how it is sent, what comes back to whoever may, and what they need.
type Row = (&'static str, fn(&Channel) -> Answer, &'static str, Needs);

const ROWS: &[Row] = &[
    (
        "channel.open",
        |channel| channel.call(&channel::Open {}),
        "connection.close 504 channel.open CHANNEL_ERROR - second 'channel.open' seen",
        All(&[]),
    ),
    (
        "channel.flow",
        |channel| channel.call(&channel::Flow { active: true }),
        "channel.flow-ok true",
        All(&[]),
    ),
    (
        "channel.flow-ok",
        |channel| channel.call(&Method::ChannelFlowOk(channel::FlowOk { active: true })),
        "connection.close 503 channel.flow-ok COMMAND_INVALID - unimplemented method",
        All(&[]),
    ),
    ("channel.close", |channel| channel.call(&CLOSE), "channel.close-ok", All(&[])),
    (
        "channel.close-ok",
        |channel| channel.call(&Method::ChannelCloseOk(channel::CloseOk {})),
        "connection.close 503 channel.close-ok COMMAND_INVALID - unimplemented method",
        All(&[]),
    ),
    (
        "access.request",
        |channel| {
            channel.call(&access::Request {
                realm: "/",
                exclusive: false,
                passive: false,
                active: true,
                write: true,
                read: true,
            })
        },
        "access.request-ok 1",
        All(&[]),
    ),
    (
        "exchange.declare",
        |channel| channel.call(&declare_exchange("x", "direct")),
        "exchange.declare-ok",
        All(&[("configure", "exchange 'x'")]),
    ),
    (
        "exchange.declare",
        |channel| {
            let arguments = table([("alternate-exchange", Value::text("other"))]);
            let declare = declare_exchange("with-alternate", "direct");
            channel.call(&exchange::Declare { arguments: arguments.as_table(), ..declare })
        },
        "exchange.declare-ok",
        All(&[
            ("configure", "exchange 'with-alternate'"),
            ("read", "exchange 'with-alternate'"),
            ("write", "exchange 'other'"),
        ]),
    ),
    (
        "exchange.declare",
        |channel| {
            channel.call(&exchange::Declare { passive: true, ..declare_exchange("x", "direct") })
        },
        "exchange.declare-ok",
        Any("exchange 'x'"),
    ),
    (
        "exchange.delete",
        |channel| channel.call(&delete_exchange("gone")),
        "exchange.delete-ok",
        All(&[("configure", "exchange 'gone'")]),
    ),
    (
        "exchange.bind",
        |channel| channel.call(&bind_exchange("x", "amq.fanout", "k")),
        "exchange.bind-ok",
        All(&[("write", "exchange 'x'"), ("read", "exchange 'amq.fanout'")]),
    ),
    (
        "exchange.bind",
        |channel| channel.call(&bind_exchange("x", "amq.topic", "k")),
        "exchange.bind-ok",
        All(&[("write", "exchange 'x'"), ("read", "exchange 'amq.topic'"), ("read", TOPIC)]),
    ),
    (
        "exchange.unbind",
        |channel| channel.call(&unbind_exchange("x", "amq.fanout", "k")),
        "exchange.unbind-ok",
        All(&[("write", "exchange 'x'"), ("read", "exchange 'amq.fanout'")]),
    ),
    (
        "exchange.unbind",
        |channel| channel.call(&unbind_exchange("x", "amq.topic", "k")),
        "exchange.unbind-ok",
        All(&[("write", "exchange 'x'"), ("read", "exchange 'amq.topic'"), ("read", TOPIC)]),
    ),
    (
        "queue.declare",
        |channel| channel.call(&declare("q")),
        "queue.declare-ok q 0 0",
        All(&[("configure", "queue 'q'")]),
    ),
    (
        "queue.declare",
        |channel| {
            let arguments = table([("x-dead-letter-exchange", Value::text("dead"))]);
            let declare = declare("with-letters");
            channel.call(&queue::Declare { arguments: arguments.as_table(), ..declare })
        },
        "queue.declare-ok with-letters 0 0",
        All(&[
            ("configure", "queue 'with-letters'"),
            ("read", "queue 'with-letters'"),
            ("write", "exchange 'dead'"),
        ]),
    ),
    (
        "queue.declare",
        |channel| channel.call(&passive("q")),
        "queue.declare-ok q 0 0",
        Any("queue 'q'"),
    ),
    (
        "queue.bind",
        |channel| channel.call(&bind("q", "amq.fanout", "k")),
        "queue.bind-ok",
        All(&[("write", "queue 'q'"), ("read", "exchange 'amq.fanout'")]),
    ),
    (
        "queue.bind",
        |channel| channel.call(&bind("q", "amq.topic", "k")),
        "queue.bind-ok",
        All(&[("write", "queue 'q'"), ("read", "exchange 'amq.topic'"), ("read", TOPIC)]),
    ),
    (
        "queue.unbind",
        |channel| channel.call(&unbind("q", "amq.fanout", "k")),
        "queue.unbind-ok",
        All(&[("write", "queue 'q'"), ("read", "exchange 'amq.fanout'")]),
    ),
    (
        "queue.unbind",
        |channel| channel.call(&unbind("q", "amq.topic", "k")),
        "queue.unbind-ok",
        All(&[("write", "queue 'q'"), ("read", "exchange 'amq.topic'"), ("read", TOPIC)]),
    ),
    (
        "queue.purge",
        |channel| channel.call(&purge("q")),
        "queue.purge-ok 0",
        All(&[("read", "queue 'q'")]),
    ),
    (
        "queue.delete",
        |channel| channel.call(&delete("gone")),
        "queue.delete-ok 0",
        All(&[("configure", "queue 'gone'")]),
    ),
    ("basic.qos", |channel| channel.call(&qos(1)), "basic.qos-ok", All(&[])),
    (
        "basic.consume",
        |channel| channel.call(&consume("q", "c")),
        "basic.consume-ok c",
        All(&[("read", "queue 'q'")]),
    ),
    ("basic.cancel", |channel| channel.call(&cancel("c")), "basic.cancel-ok c", All(&[])),
    (
        "basic.cancel-ok",
        |channel| {
            channel.send(&Method::BasicCancelOk(basic::CancelOk { consumer_tag: "c" }));
            channel.call(&qos(1))
        },
        "basic.qos-ok",
        All(&[]),
    ),
    (
        "basic.publish",
        |channel| {
            channel.publish("x", "k", "body");
            channel.call(&qos(1))
        },
        "basic.qos-ok",
        All(&[("write", "exchange 'x'")]),
    ),
    (
        "basic.publish",
        |channel| {
            channel.publish("", "nobody", "body");
            channel.call(&qos(1))
        },
        "basic.qos-ok",
        All(&[("write", "exchange 'amq.default'")]),
    ),
    (
        "basic.publish",
        |channel| {
            channel.publish("amq.topic", "k", "body");
            channel.call(&qos(1))
        },
        "basic.qos-ok",
        All(&[("write", "exchange 'amq.topic'"), ("write", TOPIC)]),
    ),
    (
        "basic.get",
        |channel| channel.call(&get("q")),
        "basic.get-empty",
        All(&[("read", "queue 'q'")]),
    ),
    (
        "basic.ack",
        |channel| channel.call(&ack(7)),
        "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 7",
        All(&[]),
    ),
    (
        "basic.nack",
        |channel| channel.call(&nack(7)),
        "channel.close 406 basic.nack PRECONDITION_FAILED - unknown delivery tag 7",
        All(&[]),
    ),
    (
        "basic.reject",
        |channel| channel.call(&reject(7)),
        "channel.close 406 basic.reject PRECONDITION_FAILED - unknown delivery tag 7",
        All(&[]),
    ),
    (
        "basic.recover",
        |channel| channel.call(&basic::Recover { requeue: true }),
        "basic.recover-ok",
        All(&[]),
    ),
    (
        "basic.recover-async",
        |channel| {
            channel.send(&Method::BasicRecoverAsync(basic::RecoverAsync { requeue: true }));
            channel.call(&qos(1))
        },
        "basic.qos-ok",
        All(&[]),
    ),
    ("confirm.select", |channel| channel.call(&confirm_select()), "confirm.select-ok", All(&[])),
    ("tx.select", |channel| channel.call(&tx::Select {}), "tx.select-ok", All(&[])),
    (
        "tx.commit",
        |channel| channel.call(&tx::Commit {}),
        "channel.close 406 tx.commit PRECONDITION_FAILED - channel is not transactional",
        All(&[]),
    ),
    (
        "tx.rollback",
        |channel| channel.call(&tx::Rollback {}),
        "channel.close 406 tx.rollback PRECONDITION_FAILED - channel is not transactional",
        All(&[]),
    ),
];

/// What everybody goes through who logs in, and how connections end: `a_user_without_permission_...`
/// says who gets how far.
const OF_CONNECTIONS: [&str; 7] = [
    "connection.start-ok",
    "connection.secure-ok",
    "connection.tune-ok",
    "connection.open",
    "connection.close",
    "connection.close-ok",
    "connection.update-secret",
];

const CLOSE: channel::Close<'_> =
    channel::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };

#[test]
fn each_method_needs_what_it_needs_of_each_kind_of_user() {
    let Some(broker) = Broker::with_accounts(&USERS) else { return };
    let admin = broker.connect().channel(1);
    assert!(admin.call(&declare("q")).starts_with("queue.declare-ok"));
    assert_eq!(admin.call(&declare_exchange("x", "direct")), "exchange.declare-ok");
    for user in USERS.iter().filter(|user| user.permissions.is_some()) {
        for (index, row) in (1..).zip(ROWS) {
            let (method, send, done, _) = row;
            let connection = enter(&broker, user.name).unwrap();
            let answer = send(&connection.channel(index));
            match refusal(row, user) {
                Some(text) => {
                    let text = format!(
                        "channel.close 403 {method} ACCESS_REFUSED - {text} in vhost '/' refused \
                         for user '{}'",
                        user.name
                    );
                    assert_eq!(answer, text);
                }
                None => assert_eq!(answer, *done, "{method} by {}", user.name),
            }
            // Its consumer has left the queue then.
            if !answer.ends_connection() {
                connection.close();
            }
        }
    }
}

#[test]
fn a_user_without_permission_is_stopped_at_the_door() {
    let Some(broker) = Broker::with_accounts(&USERS) else { return };
    for user in &USERS {
        match (enter(&broker, user.name), user.permissions) {
            (Ok(connection), Some(_)) => connection.close(),
            (Err(answer), None) => assert_eq!(
                answer,
                "connection.close 530 connection.open NOT_ALLOWED - access to vhost '/' refused \
                 for user 'out'"
            ),
            (entered, _) => panic!("{}: {:?}", user.name, entered.err()),
        }
    }
}

/// Tags are for the HTTP API, but for one.
#[test]
fn only_impersonators_publish_in_others_names() {
    let tags = ["", "management", "policymaker", "monitoring", "administrator", "impersonator"];
    let names = tags.map(|tag| format!("u{tag}"));
    let all = Some([ALL, ALL, ALL]);
    let users: Vec<Account<'_>> = tags
        .iter()
        .zip(&names)
        .map(|(tag, name)| Account { name, tag, permissions: all, topic: None })
        .collect();
    let Some(broker) = Broker::with_accounts(&users) else { return };
    for user in &users {
        let channel = enter(&broker, user.name).unwrap().channel(1);
        let properties = Properties { user_id: Some(b"other"), ..Properties::default() };
        channel.publish_with(&publish("", "nobody"), &properties, b"x");
        let answer = channel.call(&qos(1));
        match user.tag {
            "impersonator" => assert_eq!(answer, "basic.qos-ok"),
            _ => assert_eq!(
                answer,
                format!(
                    "channel.close 406 basic.publish PRECONDITION_FAILED - user_id property set to \
                     'other' but authenticated user was '{}'",
                    user.name
                )
            ),
        }
    }
}

/// The table has each method that a client may send, and no other.
#[test]
fn no_method_is_left_out() {
    let source = include_str!("../../../crates/codec/src/method/spec.rs");
    let (mut there, mut class, mut about) = (BTreeSet::new(), "", "");
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            about = if about.is_empty() { text } else { about };
            continue;
        }
        if let (Some((name, rest)), true) = (line.split_once(" = "), line.ends_with('{')) {
            assert!(rest.trim_end_matches(" {").parse::<u16>().is_ok(), "{line}");
            class = name;
        }
        if let Some((name, _)) = line.strip_prefix('"').and_then(|rest| rest.split_once('"'))
            && ["Client:", "Either side:"].iter().any(|by| about.starts_with(by))
        {
            there.insert(format!("{class}.{name}"));
        }
        about = "";
    }
    let named = ROWS.iter().map(|(method, ..)| *method).chain(OF_CONNECTIONS);
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert_eq!(named, there);
}

/// The first thing that the user lacks.
fn refusal((.., needs): &Row, user: &Account<'_>) -> Option<String> {
    let names = user.permissions.unwrap_or([NO; 3]);
    // Who has no permission for keys of an exchange may use all.
    let keys = user.topic.map_or([ALL; 3], |[_, write, read]| [NO, write, read]);
    let may = |access: &str, what: &str| {
        let patterns = if what == TOPIC { keys } else { names };
        KINDS.iter().zip(patterns).any(|(kind, pattern)| *kind == access && pattern == ALL)
    };
    match needs {
        All(needs) => {
            let (access, what) = needs.iter().find(|(access, what)| !may(access, what))?;
            Some(format!("{access} access to {what}"))
        }
        Any(what) if !KINDS.iter().any(|kind| may(kind, what)) => {
            Some(format!("configure access to {what}"))
        }
        Any(_) => None,
    }
}

fn enter(broker: &Broker, name: &str) -> Result<Connection, Answer> {
    let response = format!("\0{name}\0{name}");
    broker.connect_as(&Login { response: response.as_bytes(), ..Login::default() })
}
