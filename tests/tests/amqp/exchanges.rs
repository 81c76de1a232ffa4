//! Declaring, checking and deleting exchanges.

use leveret_tests::codec::{Value, exchange, queue};
use leveret_tests::{
    Broker, bind, bind_exchange, declare, declare_exchange, delete, delete_exchange, table, unbind,
    unbind_exchange,
};

use crate::check;

#[test]
fn all_types_can_be_declared_and_declared_again() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for kind in ["direct", "fanout", "topic", "headers"] {
        for durable in [false, true] {
            let declare = exchange::Declare { durable, ..declare_exchange("x", kind) };
            let passive = exchange::Declare { passive: true, ..declare_exchange("x", "") };
            check(
                &channel,
                &[
                    (&declare, "exchange.declare-ok"),
                    (&declare, "exchange.declare-ok"),
                    (&passive, "exchange.declare-ok"),
                    (&delete_exchange("x"), "exchange.delete-ok"),
                ],
            );
        }
    }
}

#[test]
fn the_usual_exchanges_are_there() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for (name, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ] {
        let declare = exchange::Declare { durable: true, ..declare_exchange(name, kind) };
        check(&channel, &[(&declare, "exchange.declare-ok")]);
    }
    let trace = exchange::Declare {
        durable: true,
        internal: true,
        ..declare_exchange("amq.rabbitmq.trace", "topic")
    };
    check(&channel, &[(&trace, "exchange.declare-ok")]);
}

#[test]
fn a_different_redeclare_is_refused() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let alternate = table([("alternate-exchange", Value::text("foo"))]);
    let ignored = table([("x-whatever", Value::I32(1))]);
    let x = exchange::Declare { durable: true, ..declare_exchange("x", "direct") };
    let refused = |what: &str| {
        format!("channel.close 406 exchange.declare PRECONDITION_FAILED - inequivalent arg {what}")
    };
    check(
        &channel,
        &[
            (&x, "exchange.declare-ok"),
            (
                &exchange::Declare { kind: "topic", ..x },
                &refused(
                    "'type' for exchange 'x' in vhost '/': \
                     received 'topic' but current is 'direct'",
                ),
            ),
            (
                &exchange::Declare { durable: false, ..x },
                &refused(
                    "'durable' for exchange 'x' in vhost '/': \
                     received 'false' but current is 'true'",
                ),
            ),
            (
                &exchange::Declare { auto_delete: true, ..x },
                &refused(
                    "'auto_delete' for exchange 'x' in vhost '/': \
                     received 'true' but current is 'false'",
                ),
            ),
            (
                &exchange::Declare { internal: true, ..x },
                &refused(
                    "'internal' for exchange 'x' in vhost '/': \
                     received 'true' but current is 'false'",
                ),
            ),
            (
                &exchange::Declare { arguments: alternate.as_table(), ..x },
                &refused(
                    "'alternate-exchange' for exchange 'x' in vhost '/': \
                     received the value 'foo' of type 'longstr' but current is none",
                ),
            ),
            // The first difference in that order is the one named.
            (
                &exchange::Declare { kind: "topic", durable: false, internal: true, ..x },
                &refused(
                    "'type' for exchange 'x' in vhost '/': \
                     received 'topic' but current is 'direct'",
                ),
            ),
            // Other arguments are not compared.
            (&exchange::Declare { arguments: ignored.as_table(), ..x }, "exchange.declare-ok"),
            (
                &exchange::Declare { durable: true, ..declare_exchange("amq.direct", "topic") },
                &refused(
                    "'type' for exchange 'amq.direct' in vhost '/': \
                     received 'topic' but current is 'direct'",
                ),
            ),
        ],
    );
}

#[test]
fn bad_declares_are_refused() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let number = table([("alternate-exchange", Value::I32(1))]);
    check(
        &channel,
        &[
            (
                &declare_exchange("x", "foo"),
                "channel.close 406 exchange.declare \
                 PRECONDITION_FAILED - invalid exchange type 'foo'",
            ),
            (
                &declare_exchange("", "direct"),
                "channel.close 403 exchange.declare \
                 ACCESS_REFUSED - operation not permitted on the default exchange",
            ),
            (
                &exchange::Declare { passive: true, ..declare_exchange("", "") },
                "channel.close 403 exchange.declare \
                 ACCESS_REFUSED - operation not permitted on the default exchange",
            ),
            (
                &declare_exchange("amq.foo", "direct"),
                "channel.close 403 exchange.declare \
                 ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'",
            ),
            (
                &exchange::Declare { passive: true, ..declare_exchange("x", "") },
                "channel.close 404 exchange.declare \
                 NOT_FOUND - no exchange 'x' in vhost '/'",
            ),
            (
                &exchange::Declare {
                    arguments: number.as_table(),
                    ..declare_exchange("x", "direct")
                },
                "channel.close 406 exchange.declare PRECONDITION_FAILED - invalid type \
                 'signedint' for arg 'alternate-exchange' in exchange 'x' in vhost '/'",
            ),
        ],
    );
}

#[test]
fn delete_takes_only_what_may_go() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let if_unused = exchange::Delete { if_unused: true, ..delete_exchange("x") };
    check(
        &channel,
        &[
            (&delete_exchange("missing"), "exchange.delete-ok"),
            (
                &delete_exchange(""),
                "channel.close 403 exchange.delete \
                 ACCESS_REFUSED - operation not permitted on the default exchange",
            ),
            (
                &delete_exchange("amq.direct"),
                "channel.close 403 exchange.delete ACCESS_REFUSED - \
                 deletion of system exchange 'amq.direct' in vhost '/' not allowed",
            ),
            (
                &delete_exchange("amq.missing"),
                "channel.close 403 exchange.delete ACCESS_REFUSED - \
                 deletion of system exchange 'amq.missing' in vhost '/' not allowed",
            ),
            (&declare_exchange("x", "fanout"), "exchange.declare-ok"),
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&bind("q", "x", ""), "queue.bind-ok"),
            (
                &if_unused,
                "channel.close 406 exchange.delete \
                 PRECONDITION_FAILED - exchange 'x' in vhost '/' in use",
            ),
            (&unbind("q", "x", ""), "queue.unbind-ok"),
            // A binding to it is no use of it.
            (&bind_exchange("x", "amq.fanout", ""), "exchange.bind-ok"),
            (&if_unused, "exchange.delete-ok"),
        ],
    );
}

/// Never before it has been bound, and at once with the last thing bound to it.
#[test]
fn auto_delete_follows_the_last_binding() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let auto = exchange::Declare { auto_delete: true, ..declare_exchange("auto", "fanout") };
    let there = exchange::Declare { passive: true, ..declare_exchange("auto", "") };
    let gone = "channel.close 404 exchange.declare NOT_FOUND - no exchange 'auto' in vhost '/'";
    check(
        &channel,
        &[
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&declare_exchange("x", "fanout"), "exchange.declare-ok"),
            // By unbind, and only by the last.
            (&auto, "exchange.declare-ok"),
            (&bind("q", "auto", "1"), "queue.bind-ok"),
            (&bind("q", "auto", "2"), "queue.bind-ok"),
            (&unbind("q", "auto", "1"), "queue.unbind-ok"),
            (&there, "exchange.declare-ok"),
            (&unbind("q", "auto", "2"), "queue.unbind-ok"),
            (&there, gone),
            // By the end of an exchange bound to it.
            (&auto, "exchange.declare-ok"),
            (&bind_exchange("x", "auto", ""), "exchange.bind-ok"),
            (&delete_exchange("x"), "exchange.delete-ok"),
            (&there, gone),
            // By unbinding such an exchange.
            (&auto, "exchange.declare-ok"),
            (&bind_exchange("amq.fanout", "auto", ""), "exchange.bind-ok"),
            (&unbind_exchange("amq.fanout", "auto", ""), "exchange.unbind-ok"),
            (&there, gone),
            // By the end of the queue; what is bound to something else does not keep it.
            (&auto, "exchange.declare-ok"),
            (&bind_exchange("auto", "amq.fanout", ""), "exchange.bind-ok"),
            (&bind("q", "auto", ""), "queue.bind-ok"),
            (&delete("q"), "queue.delete-ok 0"),
            (&there, gone),
        ],
    );
}

/// An exchange that goes takes along those that only it kept.
#[test]
fn auto_delete_cascades() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let auto = |name| exchange::Declare { auto_delete: true, ..declare_exchange(name, "fanout") };
    let there = |name| exchange::Declare { passive: true, ..declare_exchange(name, "") };
    let gone = "channel.close 404 exchange.declare NOT_FOUND - no exchange";
    check(
        &channel,
        &[
            (&auto("a"), "exchange.declare-ok"),
            (&auto("b"), "exchange.declare-ok"),
            (&queue::Declare { exclusive: true, ..declare("q") }, "queue.declare-ok q 0 0"),
            (&bind_exchange("b", "a", ""), "exchange.bind-ok"),
            (&bind("q", "b", ""), "queue.bind-ok"),
            (&delete("q"), "queue.delete-ok 0"),
            (&there("b"), &format!("{gone} 'b' in vhost '/'")),
            (&there("a"), &format!("{gone} 'a' in vhost '/'")),
        ],
    );
}

#[test]
fn line_breaks_are_dropped_from_names() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    check(
        &channel,
        &[
            (&declare_exchange("l\r\nx", "direct"), "exchange.declare-ok"),
            (
                &exchange::Declare { passive: true, ..declare_exchange("lx", "") },
                "exchange.declare-ok",
            ),
            (&delete_exchange("lx"), "exchange.delete-ok"),
        ],
    );
}
