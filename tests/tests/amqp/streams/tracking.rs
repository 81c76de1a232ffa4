//! Positions the broker keeps for readers that have a name.

use leveret_tests::codec::Value;
use leveret_tests::{ack, cancel, nack};

use super::*;

const TRACKED: (&str, Value<'_>) = ("x-stream-automatic-offset-tracking", Value::Bool(true));
const FIRST: (&str, Value<'_>) = ("x-stream-offset", Value::LongStr(b"first"));

/// Consumes as `worker`.
fn work(channel: &Channel) {
    let arguments = table([TRACKED, FIRST]);
    assert_eq!(channel.call(&from("worker", &arguments)), "basic.consume-ok worker");
}

fn ack_through(channel: &Channel, delivery_tag: u64) {
    channel.send(&basic::Ack { delivery_tag, multiple: true });
    // It has been dealt with when this is answered.
    assert_quiet(channel);
}

#[test]
fn a_reader_that_returns_goes_on_behind_what_it_acknowledged() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    fill(&broker, ["0", "1", "2", "3"]);
    work(&channel);
    assert_eq!(offsets(&channel, 4), [0, 1, 2, 3]);
    ack_through(&channel, 2);
    channel.connection().clone().close();
    let channel = reader(&broker);
    work(&channel);
    assert_eq!(offsets(&channel, 2), [2, 3]);
    // Acknowledged when it reads no more.
    channel.call(&cancel("worker"));
    ack_through(&channel, 2);
    work(&channel);
    fill(&broker, ["4"]);
    assert_eq!(offsets(&channel, 1), [4]);
    // Another name, and none.
    for arguments in [table([TRACKED, FIRST]), table([FIRST])] {
        let tag = if arguments == table([FIRST]) { "worker" } else { "other" };
        let channel = reader(&broker);
        channel.call(&from(tag, &arguments));
        assert_eq!(offsets(&channel, 5), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn what_was_given_back_is_delivered_to_the_reader_that_returns() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    fill(&broker, ["0", "1", "2", "3"]);
    work(&channel);
    assert_eq!(offsets(&channel, 4), [0, 1, 2, 3]);
    channel.send(&ack(1));
    channel.send(&nack(2));
    channel.send(&ack(3));
    channel.send(&basic::Nack { requeue: false, ..nack(4) });
    assert_quiet(&channel);
    channel.close();
    let channel = reader(&broker);
    work(&channel);
    assert_eq!(offsets(&channel, 3), [1, 2, 3]);
}

#[test]
fn what_comes_while_a_reader_is_away_it_gets_when_it_returns() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    let from_next = table([TRACKED]);
    channel.call(&from("worker", &from_next));
    channel.call(&cancel("worker"));
    fill(&broker, ["0", "1"]);
    channel.call(&from("worker", &from_next));
    assert_eq!(offsets(&channel, 2), [0, 1]);
}

#[test]
fn a_position_outlives_the_broker() {
    let ends: [fn(&mut Broker); 2] = [
        |broker| {
            broker.terminate();
        },
        |broker| {
            broker.kill9();
        },
    ];
    for (number, end) in ends.iter().enumerate() {
        let Some(mut broker) = Broker::own("restarts the broker") else { return };
        let channel = with_stream(&broker, &[]);
        fill(&broker, ["0", "1", "2", "3"]);
        work(&channel);
        assert_eq!(offsets(&channel, 4), [0, 1, 2, 3]);
        ack_through(&channel, 3);
        end(&mut broker);
        broker.restart();
        let channel = reader(&broker);
        work(&channel);
        if number == 0 {
            assert_eq!(offsets(&channel, 1), [3]);
            assert_quiet(&channel);
        } else {
            // The last tenth of a second may be lost, and is delivered again.
            let first = offset(&channel.recv());
            assert!(first <= 3, "{first}");
        }
    }
}

#[test]
fn a_name_is_needed_and_the_argument_has_to_make_sense() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[]);
    let argument = TRACKED.0;
    let invalid = |reason: &str| {
        let reason = format!("invalid arg '{argument}' for queue 's' in vhost '/': {reason}");
        refused("basic.consume", &reason)
    };
    let (tracked, text) = (table([TRACKED]), table([(argument, Value::text("true"))]));
    let (number, other) = (table([(argument, Value::I32(1))]), table([(argument, "yes".into())]));
    check(
        &channel,
        &[
            (&from("", &tracked), &invalid("\"needs a consumer tag\"")),
            (&from("c", &number), &invalid("{unacceptable_type,signedint}")),
            (&from("c", &other), &invalid("{unacceptable_type,longstr}")),
        ],
    );
    assert_eq!(reader(&broker).call(&from("c", &text)), "basic.consume-ok c");
}
