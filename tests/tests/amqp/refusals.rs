//! Every refusal a client can read, in one table: what provokes it, and the close it gets, with
//! scope, code, the method to blame and the text.
//!
//! The lines are RabbitMQ 4.3's. A refusal of `broker/src/refusal.rs` that no row names fails
//! [`no_refusal_is_left_out`].

mod access;
mod basic;
mod connection;
mod exchanges;
mod limits;
mod queues;

use leveret_tests::codec::{Properties, Value, queue};
use leveret_tests::{
    Account, Answer, Broker, Channel, Connection, Login, confirm_select, consume, declare,
    declare_exchange, publish, table,
};

/// The refusal's name in the broker (or a name for what has none there), what provokes it, and the
/// line the client reads.
type Row = (&'static str, fn(&Stage<'_>) -> Answer, &'static str);

/// What a row finds: a broker with a few queues and exchanges, and a channel of its own.
struct Stage<'a> {
    broker: &'a Broker,
    channel: Channel,
}

impl Stage<'_> {
    /// A channel of this user.
    fn channel_of(&self, user: &str) -> Channel {
        self.connection_of(user).unwrap_or_else(|answer| panic!("{answer}")).channel(1)
    }

    /// A connection of this user, or what refuses it.
    fn connection_of(&self, user: &str) -> Result<Connection, Answer> {
        let response = format!("\0{user}\0{user}");
        self.broker.connect_as(&Login { response: response.as_bytes(), ..Login::default() })
    }

    /// Declares the queue `new`, transient, with one argument.
    fn declare_with(&self, argument: &str, value: Value<'_>) -> Answer {
        let arguments = table([(argument, value)]);
        let transient = declare("new");
        self.channel.call(&queue::Declare { arguments: arguments.as_table(), ..transient })
    }

    /// Declares the durable quorum queue `new` with one more argument.
    fn declare_quorum_with(&self, argument: &str, value: Value<'_>) -> Answer {
        let arguments = table([("x-queue-type", Value::text("quorum")), (argument, value)]);
        let durable = queue::Declare { durable: true, ..declare("new") };
        self.channel.call(&queue::Declare { arguments: arguments.as_table(), ..durable })
    }

    /// Declares the durable stream `new` with one more argument.
    fn declare_stream_with(&self, argument: &str, value: Value<'_>) -> Answer {
        let arguments = table([("x-queue-type", Value::text("stream")), (argument, value)]);
        let durable = queue::Declare { durable: true, ..declare("new") };
        self.channel.call(&queue::Declare { arguments: arguments.as_table(), ..durable })
    }

    /// Publishes to the queue `q` with these properties; what comes of it.
    fn publish_with(&self, properties: &Properties<'_>) -> Answer {
        self.channel.publish_with(&publish("", "q"), properties, b"x");
        self.channel.recv()
    }
}

/// May do anything with names that start with `ro-`, and read `amq.topic`.
const RO: Account<'_> = Account {
    name: "ro",
    tag: "",
    permissions: Some(["^ro-.*", "^ro-.*", "^(ro-.*|amq\\.topic)$"]),
    topic: None,
};
/// May do anything, with a few keys of `amq.topic` only.
const KEYS: Account<'_> = Account {
    name: "keys",
    tag: "",
    permissions: Some([".*", ".*", ".*"]),
    topic: Some(["amq.topic", "^w", "^r"]),
};
/// May not enter.
const OUT: Account<'_> = Account { name: "out", tag: "", permissions: None, topic: None };

#[test]
fn refusals_read_as_rabbitmqs() {
    let Some(broker) = Broker::with_accounts(&[RO, KEYS, OUT]) else { return };
    let _set = set_the_stage(&broker);
    for rows in [access::ROWS, basic::ROWS, connection::ROWS, exchanges::ROWS, queues::ROWS] {
        rows.iter().for_each(|row| provoke(&broker, row));
    }
}

/// What only those are told who log in with a token: tests/tests/auth/ provokes it.
const WITH_TOKENS: [&str; 2] = ["credential_expired", "new_secret_refused"];

#[test]
fn no_refusal_is_left_out() {
    let source = include_str!("../../../crates/broker/src/refusal.rs");
    let tables = [
        access::ROWS,
        basic::ROWS,
        connection::ROWS,
        exchanges::ROWS,
        limits::ROWS,
        limits::CONFIGURED,
        queues::ROWS,
    ];
    let functions = source.lines().filter_map(|line| line.strip_prefix("pub fn "));
    for function in functions.filter_map(|rest| rest.split('(').next()) {
        if WITH_TOKENS.contains(&function) {
            continue;
        }
        let is_provoked = tables.iter().copied().flatten().any(|(name, ..)| *name == function);
        assert!(is_provoked, "no row provokes {function}");
    }
}

fn provoke(broker: &Broker, (name, provoke, expected): &Row) {
    let stage = Stage { broker, channel: broker.connect().channel(1) };
    assert_eq!(provoke(&stage), *expected, "{name}");
}

/// Declares what rows refer to. The connection that owns `locked` has to stay.
fn set_the_stage(broker: &Broker) -> Channel {
    let channel = broker.connect().channel(1);
    let ok = |answer: Answer, start: &str| assert!(answer.starts_with(start), "{answer}");
    let quorum = table([("x-queue-type", Value::text("quorum"))]);
    let single = table([
        ("x-queue-type", Value::text("quorum")),
        ("x-single-active-consumer", Value::Bool(true)),
    ]);
    let alone = table([("x-single-active-consumer", Value::Bool(true))]);
    let full =
        table([("x-max-length", Value::I32(0)), ("x-overflow", Value::text("reject-publish"))]);
    let mortal = table([("x-message-ttl", Value::I32(1000))]);
    let stream = table([("x-queue-type", Value::text("stream"))]);
    let durable = |name| queue::Declare { durable: true, ..declare(name) };
    for queue in [
        durable("q"),
        queue::Declare { arguments: quorum.as_table(), ..durable("quorum") },
        queue::Declare { arguments: single.as_table(), ..durable("single") },
        queue::Declare { arguments: stream.as_table(), ..durable("stream") },
        queue::Declare { arguments: alone.as_table(), ..declare("alone") },
        queue::Declare { arguments: full.as_table(), ..declare("full") },
        queue::Declare { arguments: mortal.as_table(), ..declare("mortal") },
        queue::Declare { exclusive: true, ..declare("locked") },
        declare("filled"),
        declare("consumed"),
        declare("taken"),
    ] {
        ok(channel.call(&queue), "queue.declare-ok");
    }
    let direct = declare_exchange("x", "direct");
    let alternate = table([("alternate-exchange", Value::text("amq.fanout"))]);
    for exchange in [
        leveret_tests::codec::exchange::Declare { durable: true, ..direct },
        leveret_tests::codec::exchange::Declare {
            internal: true,
            ..declare_exchange("internal", "topic")
        },
        leveret_tests::codec::exchange::Declare {
            arguments: alternate.as_table(),
            ..declare_exchange("with-alternate", "direct")
        },
    ] {
        ok(channel.call(&exchange), "exchange.declare-ok");
    }
    ok(channel.call(&leveret_tests::bind("q", "x", "k")), "queue.bind-ok");
    ok(channel.call(&consume("consumed", "c")), "basic.consume-ok");
    let exclusive =
        leveret_tests::codec::basic::Consume { exclusive: true, ..consume("taken", "t") };
    ok(channel.call(&exclusive), "basic.consume-ok");
    ok(channel.call(&confirm_select()), "confirm.select-ok");
    channel.publish("", "filled", "x");
    ok(channel.recv(), "basic.ack");
    channel
}
