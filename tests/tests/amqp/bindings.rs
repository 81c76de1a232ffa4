//! Binding queues and exchanges to exchanges, and unbinding them.

use leveret_tests::codec::{Value, exchange, queue};
use leveret_tests::{
    Broker, bind, bind_exchange, declare, declare_exchange, delete, delete_exchange, get, table,
    unbind, unbind_exchange,
};

use crate::check;

const DEFAULT: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";

#[test]
fn both_ends_must_be_there() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&declare_exchange("x", "direct"));
    check(
        &channel,
        &[
            (
                &bind("q", "nox", "k"),
                "channel.close 404 queue.bind NOT_FOUND - no exchange 'nox' in vhost '/'",
            ),
            (
                &bind("noq", "x", "k"),
                "channel.close 404 queue.bind NOT_FOUND - no queue 'noq' in vhost '/'",
            ),
            // The source is looked at first.
            (
                &bind("noq", "nox", "k"),
                "channel.close 404 queue.bind NOT_FOUND - no exchange 'nox' in vhost '/'",
            ),
            (
                &bind_exchange("x", "nox", "k"),
                "channel.close 404 exchange.bind NOT_FOUND - no exchange 'nox' in vhost '/'",
            ),
            (
                &bind_exchange("nox", "x", "k"),
                "channel.close 404 exchange.bind NOT_FOUND - no exchange 'nox' in vhost '/'",
            ),
            (&bind("q", "", "k"), &format!("channel.close 403 queue.bind {DEFAULT}")),
            (&bind_exchange("x", "", "k"), &format!("channel.close 403 exchange.bind {DEFAULT}")),
            (&bind_exchange("", "x", "k"), &format!("channel.close 403 exchange.bind {DEFAULT}")),
        ],
    );
}

/// What is not bound needs no unbinding, whatever the reason.
#[test]
fn unbinding_what_is_not_bound_is_fine() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    check(
        &channel,
        &[
            (&unbind("q", "amq.direct", "k"), "queue.unbind-ok"),
            (&unbind("q", "nox", "k"), "queue.unbind-ok"),
            (&unbind("noq", "amq.direct", "k"), "queue.unbind-ok"),
            (&unbind_exchange("amq.fanout", "amq.direct", "k"), "exchange.unbind-ok"),
            (&unbind_exchange("nox", "amq.direct", "k"), "exchange.unbind-ok"),
            (&unbind_exchange("amq.fanout", "nox", "k"), "exchange.unbind-ok"),
            (&unbind("q", "", "k"), &format!("channel.close 403 queue.unbind {DEFAULT}")),
        ],
    );
}

/// Source, destination, key and arguments make a binding; the same once more is the same.
#[test]
fn a_binding_is_its_key_and_arguments() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = table([("a", Value::I32(1))]);
    let with = queue::Bind { arguments: arguments.as_table(), ..bind("q", "x", "k") };
    let without = queue::Unbind { arguments: arguments.as_table(), ..unbind("q", "x", "k") };
    check(
        &channel,
        &[
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&declare_exchange("x", "direct"), "exchange.declare-ok"),
            (&bind("q", "x", "k"), "queue.bind-ok"),
            (&bind("q", "x", "k"), "queue.bind-ok"),
            (&with, "queue.bind-ok"),
        ],
    );
    // One copy, however many bindings match.
    channel.publish("x", "k", "1");
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 1 x k 0: 1"),
            // Of two bindings of the same key one is left.
            (&unbind("q", "x", "k"), "queue.unbind-ok"),
        ],
    );
    channel.publish("x", "k", "2");
    check(&channel, &[(&get("q"), "basic.get-ok 2 x k 0: 2"), (&without, "queue.unbind-ok")]);
    channel.publish("x", "k", "3");
    check(&channel, &[(&get("q"), "basic.get-empty")]);
}

#[test]
fn bindings_go_with_either_end() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let if_unused = exchange::Delete { if_unused: true, ..delete_exchange("x") };
    check(
        &channel,
        &[
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&declare_exchange("x", "fanout"), "exchange.declare-ok"),
            (&bind("q", "x", ""), "queue.bind-ok"),
            // The exchange goes and comes back: it knows nothing of the queue.
            (&delete_exchange("x"), "exchange.delete-ok"),
            (&declare_exchange("x", "fanout"), "exchange.declare-ok"),
            (&if_unused, "exchange.delete-ok"),
            // The queue goes: the exchange is unused.
            (&declare_exchange("x", "fanout"), "exchange.declare-ok"),
            (&bind("q", "x", ""), "queue.bind-ok"),
            (&delete("q"), "queue.delete-ok 0"),
            (&if_unused, "exchange.delete-ok"),
        ],
    );
}

#[test]
fn exchanges_pass_on_to_exchanges() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    check(
        &channel,
        &[
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&declare_exchange("a", "direct"), "exchange.declare-ok"),
            (&declare_exchange("b", "topic"), "exchange.declare-ok"),
            (&declare_exchange("c", "fanout"), "exchange.declare-ok"),
            (&bind_exchange("b", "a", "k.1"), "exchange.bind-ok"),
            (&bind_exchange("c", "b", "k.*"), "exchange.bind-ok"),
            // A circle, and a second way to the same queue: still one copy.
            (&bind_exchange("a", "c", ""), "exchange.bind-ok"),
            (&bind("q", "c", ""), "queue.bind-ok"),
            (&bind("q", "a", "k.1"), "queue.bind-ok"),
        ],
    );
    channel.publish("a", "k.1", "in");
    channel.publish("a", "k.2", "out");
    check(
        &channel,
        &[
            (&get("q"), "basic.get-ok 1 a k.1 0: in"),
            (&get("q"), "basic.get-empty"),
            (&unbind("q", "a", "k.1"), "queue.unbind-ok"),
            (&unbind_exchange("c", "b", "k.*"), "exchange.unbind-ok"),
        ],
    );
    channel.publish("a", "k.1", "nowhere");
    check(&channel, &[(&get("q"), "basic.get-empty")]);
}

/// Clients may not publish to it, and may bind it on either side.
#[test]
fn an_internal_exchange_takes_what_others_pass_on() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let internal = exchange::Declare { internal: true, ..declare_exchange("inner", "fanout") };
    check(
        &channel,
        &[
            (&internal, "exchange.declare-ok"),
            (&declare("q"), "queue.declare-ok q 0 0"),
            (&bind_exchange("inner", "amq.topic", "a.#"), "exchange.bind-ok"),
            (&bind("q", "inner", ""), "queue.bind-ok"),
        ],
    );
    channel.publish("amq.topic", "a.b", "passed on");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 amq.topic a.b 0: passed on");
}

#[test]
fn headers_bindings_are_checked() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for (value, answer) in [
        (
            Value::text("foo"),
            "channel.close 406 queue.bind PRECONDITION_FAILED - Invalid x-match field value \
             <<\"foo\">>; expected all, any, all-with-x, or any-with-x",
        ),
        (
            Value::I32(1),
            "channel.close 406 queue.bind PRECONDITION_FAILED - \
             Invalid x-match field type signedint (value 1); expected longstr",
        ),
        (Value::text("any-with-x"), "queue.bind-ok"),
    ] {
        let arguments = table([("x-match", value)]);
        let bind = queue::Bind { arguments: arguments.as_table(), ..bind("q", "amq.headers", "") };
        check(&channel, &[(&bind, answer)]);
    }
}
