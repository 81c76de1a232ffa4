//! Transactions: publishes and acknowledgements take effect at commit, or not at all.

use leveret_tests::codec::{Properties, Value, basic, queue, tx};
use leveret_tests::{Broker, ack, bind, declare, get, nack, passive, publish, table, unbind};

use crate::check;

const SELECT: tx::Select = tx::Select {};
const COMMIT: tx::Commit = tx::Commit {};
const ROLLBACK: tx::Rollback = tx::Rollback {};

#[test]
fn select_comes_first_and_may_be_repeated() {
    let broker = Broker::start();
    check(
        &broker.connect().channel(1),
        &[
            (
                &COMMIT,
                "channel.close 406 tx.commit PRECONDITION_FAILED - channel is not transactional",
            ),
            (
                &ROLLBACK,
                "channel.close 406 tx.rollback PRECONDITION_FAILED - channel is not transactional",
            ),
            (&SELECT, "tx.select-ok"),
            (&SELECT, "tx.select-ok"),
            (&COMMIT, "tx.commit-ok"),
            (&ROLLBACK, "tx.rollback-ok"),
        ],
    );
}

#[test]
fn publishes_wait_for_commit() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.call(&SELECT);
    channel.publish("", "q", "1");
    channel.publish("", "q", "2");
    check(
        &channel,
        &[
            (&passive("q"), "queue.declare-ok q 0 0"),
            (&COMMIT, "tx.commit-ok"),
            (&get("q"), "basic.get-ok 1 '' q 1: 1"),
            (&get("q"), "basic.get-ok 2 '' q 0: 2"),
        ],
    );
    channel.publish("", "q", "3");
    check(
        &channel,
        &[(&ROLLBACK, "tx.rollback-ok"), (&COMMIT, "tx.commit-ok"), (&get("q"), "basic.get-empty")],
    );
}

#[test]
fn a_closed_channel_rolls_back() {
    let broker = Broker::start();
    let connection = broker.connect();
    let channel = connection.channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "old");
    channel.call(&SELECT);
    channel.publish("", "q", "new");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: old");
    channel.send(&ack(1));
    channel.close();
    // The publish never was, and the acknowledgement neither.
    check(
        &connection.channel(1),
        &[(&get("q"), "basic.get-ok 1 redelivered '' q 0: old"), (&get("q"), "basic.get-empty")],
    );
}

/// Rolled back acknowledgements leave the deliveries with the channel, to be settled again.
#[test]
fn acknowledgements_wait_for_commit() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "1");
    channel.publish("", "q", "2");
    channel.call(&SELECT);
    channel.call(&get("q"));
    channel.call(&get("q"));
    channel.send(&ack(1));
    channel.send(&nack(2));
    check(
        &channel,
        &[
            (&passive("q"), "queue.declare-ok q 0 0"),
            (&ROLLBACK, "tx.rollback-ok"),
            (&passive("q"), "queue.declare-ok q 0 0"),
        ],
    );
    channel.send(&ack(1));
    channel.send(&nack(2));
    check(
        &channel,
        &[
            (&COMMIT, "tx.commit-ok"),
            (&get("q"), "basic.get-ok 3 redelivered '' q 0: 2"),
            (&get("q"), "basic.get-empty"),
        ],
    );
}

/// Who settles all there is where there is nothing has settled nothing, and that is no error.
#[test]
fn a_transaction_may_settle_nothing() {
    const ALL: basic::Ack = basic::Ack { delivery_tag: 0, multiple: true };
    const ALL_BACK: basic::Nack = basic::Nack { delivery_tag: 0, multiple: true, requeue: true };
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    channel.publish("", "q", "1");
    channel.call(&SELECT);
    channel.send(&ALL);
    channel.send(&ALL_BACK);
    check(
        &channel,
        &[
            (&COMMIT, "tx.commit-ok"),
            (&COMMIT, "tx.commit-ok"),
            (&get("q"), "basic.get-ok 1 '' q 0: 1"),
        ],
    );
    // The first has it, and leaves nothing to the others.
    channel.send(&ALL);
    channel.send(&ALL);
    channel.send(&ALL_BACK);
    check(&channel, &[(&ROLLBACK, "tx.rollback-ok")]);
    channel.send(&ALL);
    channel.send(&ALL_BACK);
    check(&channel, &[(&COMMIT, "tx.commit-ok"), (&get("q"), "basic.get-empty")]);
    // One that is named has to be there.
    let unknown = "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 1";
    check(&channel, &[(&ack(1), unknown)]);
}

#[test]
fn errors_do_not_wait() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&SELECT);
    channel.publish("nox", "", "x");
    assert_eq!(
        channel.recv(),
        "channel.close 404 basic.publish NOT_FOUND - no exchange 'nox' in vhost '/'"
    );
    channel.reopen();
    check(
        &channel,
        &[
            (&SELECT, "tx.select-ok"),
            (&ack(1), "channel.close 406 basic.ack PRECONDITION_FAILED - unknown delivery tag 1"),
        ],
    );
}

#[test]
fn unroutable_messages_come_back_at_commit() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&SELECT);
    let mandatory = basic::Publish { mandatory: true, ..publish("", "nowhere") };
    channel.publish_with(&mandatory, &Properties::default(), b"x");
    assert_eq!(channel.call(&passive_exchange()), "exchange.declare-ok");
    assert_eq!(channel.call(&COMMIT), "basic.return 312 NO_ROUTE '' nowhere: x");
    assert_eq!(channel.recv(), "tx.commit-ok");
}

/// Where a message goes is settled when it is published, not when it is committed.
#[test]
fn routes_are_those_of_the_publish() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    for queue in ["then", "now"] {
        channel.call(&declare(queue));
    }
    channel.call(&bind("then", "amq.direct", "k"));
    channel.call(&SELECT);
    channel.publish("amq.direct", "k", "x");
    check(
        &channel,
        &[
            (&unbind("then", "amq.direct", "k"), "queue.unbind-ok"),
            (&bind("now", "amq.direct", "k"), "queue.bind-ok"),
            (&COMMIT, "tx.commit-ok"),
            (&get("now"), "basic.get-empty"),
            (&get("then"), "basic.get-ok 1 amq.direct k 0: x"),
        ],
    );
}

/// The queue that refuses one message keeps no other from taking theirs.
#[test]
fn a_refused_message_spoils_the_commit_but_not_the_others() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let full =
        table([("x-max-length", Value::I32(0)), ("x-overflow", Value::text("reject-publish"))]);
    channel.call(&queue::Declare { arguments: full.as_table(), ..declare("full") });
    channel.call(&declare("q"));
    channel.publish("", "q", "old");
    assert_eq!(channel.call(&get("q")), "basic.get-ok 1 '' q 0: old");
    channel.call(&SELECT);
    channel.publish("", "full", "x");
    channel.publish("", "q", "new");
    channel.send(&ack(1));
    check(
        &channel,
        &[
            (&COMMIT, "channel.close 406 tx.commit PRECONDITION_FAILED - partial tx completion"),
            (&get("q"), "basic.get-ok 1 '' q 0: new"),
            (&get("q"), "basic.get-empty"),
        ],
    );
}

/// It puts all back at once, also what was settled within the transaction stays with it.
#[test]
fn recover_does_not_wait_for_commit() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&declare("q"));
    for body in ["1", "2"] {
        channel.publish("", "q", body);
    }
    channel.call(&SELECT);
    channel.call(&get("q"));
    channel.call(&get("q"));
    channel.send(&ack(1));
    check(
        &channel,
        &[
            (&basic::Recover { requeue: true }, "basic.recover-ok"),
            (&get("q"), "basic.get-ok 3 redelivered '' q 0: 2"),
            (&COMMIT, "tx.commit-ok"),
            (&get("q"), "basic.get-empty"),
        ],
    );
}

/// Without waiting for its answer. RabbitMQ has no word for that but 504.
#[test]
fn what_follows_a_commit_waits_for_it() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    channel.call(&queue::Declare { durable: true, ..declare("q") });
    channel.call(&SELECT);
    for number in 1..=50 {
        channel.publish_persistent("q", "x");
        channel.send(&COMMIT);
        channel.send(&passive("q"));
        assert_eq!(channel.recv(), "tx.commit-ok");
        assert_eq!(channel.recv(), format!("queue.declare-ok q {number} 0"));
    }
}

/// Something that is answered, to see that nothing comes before.
fn passive_exchange() -> leveret_tests::codec::exchange::Declare<'static> {
    leveret_tests::codec::exchange::Declare {
        passive: true,
        ..leveret_tests::declare_exchange("amq.direct", "")
    }
}
