//! What leaves a stream, and when.

use leveret_broker::Actor;
use leveret_broker::policy::{Policy, PolicyKind};
use leveret_tests::codec::Value;
use leveret_tests::eventually;

use super::*;

/// Messages in `s`.
fn count(channel: &Channel) -> usize {
    let answer = channel.call(&passive("s")).to_string();
    answer.split(' ').nth(2).unwrap().parse().unwrap()
}

const BODY: [u8; 1000] = [b'x'; 1000];

#[test]
fn segments_leave_while_there_are_too_many_bytes() {
    let broker = Broker::start();
    let channel = with_stream(
        &broker,
        &[
            ("x-max-length-bytes", Value::I32(20_000)),
            ("x-stream-max-segment-size-bytes", Value::I32(5000)),
        ],
    );
    fill(&broker, (0..100).map(|_| BODY));
    eventually(|| count(&channel) <= 20);
    from_first(&channel, "c");
    let first = offset(&channel.recv());
    // Whole segments of five messages.
    assert!((80..90).contains(&first) && first % 5 == 0, "{first}");
    let rest = usize::try_from(99 - first).unwrap();
    assert_eq!(offsets(&channel, rest), (first + 1..100).collect::<Vec<_>>());
}

#[test]
fn without_limits_everything_stays() {
    let broker = Broker::start();
    let channel = with_stream(&broker, &[("x-stream-max-segment-size-bytes", Value::I32(1))]);
    fill(&broker, (0..50).map(|_| BODY));
    assert_eq!(count(&channel), 50);
}

#[test]
fn old_segments_leave_and_the_last_one_stays() {
    let broker = Broker::start();
    let channel = with_stream(
        &broker,
        &[("x-max-age", Value::text("1s")), ("x-stream-max-segment-size-bytes", Value::I32(1))],
    );
    fill(&broker, ["0", "1", "2"]);
    // Nobody publishes or reads meanwhile.
    eventually(|| count(&channel) == 1);
    from_first(&channel, "c");
    assert_eq!(channel.recv(), "basic.deliver c 1 '' s: 2");
    fill(&broker, ["3"]);
    assert_eq!(channel.recv(), "basic.deliver c 2 '' s: 3");
}

#[test]
fn a_reader_overtaken_by_retention_goes_on_with_what_is_there() {
    let broker = Broker::start();
    let channel = broker.connect().channel(1);
    let arguments = stream(&[
        ("x-max-length-bytes", Value::I32(3000)),
        ("x-stream-max-segment-size-bytes", Value::I32(1)),
    ]);
    assert_eq!(channel.call(&declare_stream("s", &arguments)), "queue.declare-ok s 0 0");
    fill(&broker, [BODY]);
    channel.call(&qos(1));
    from_first(&channel, "c");
    assert_eq!(offsets(&channel, 1), [0]);
    fill(&broker, (0..20).map(|_| BODY));
    let watcher = reader(&broker);
    eventually(|| count(&watcher) == 2);
    channel.send(&leveret_tests::ack(1));
    assert_eq!(offsets(&channel, 1), [19]);
}

#[test]
fn policies_change_what_is_kept() {
    let because = "sets policies inside the broker";
    let Some(broker) = Broker::embedded(&[], because) else { return };
    let set = |definition| {
        let policy = Policy { apply_to: "streams".parse().unwrap(), ..parse(definition) };
        broker
            .inside()
            .administration(&Actor::program())
            .put_policy("/", PolicyKind::User, "p", policy, leveret_server::now())
            .unwrap();
    };
    fn parse(definition: &str) -> Policy {
        Policy::parse("^s$", definition).unwrap()
    }
    set(r#"{"stream-max-segment-size-bytes": 1, "stream-filter-size-bytes": 16}"#);
    // For streams RabbitMQ's policies stand above arguments.
    let channel = with_stream(&broker, &[("x-max-length-bytes", Value::I32(1))]);
    set(r#"{"stream-max-segment-size-bytes": 1, "max-length-bytes": 1000000}"#);
    fill(&broker, (0..10).map(|_| BODY));
    assert_eq!(count(&channel), 10);
    set(r#"{"stream-max-segment-size-bytes": 1, "max-length-bytes": 4500}"#);
    eventually(|| count(&channel) == 4);
    set(r#"{"stream-max-segment-size-bytes": 1, "max-length-bytes": 4500, "max-age": "1s"}"#);
    eventually(|| count(&channel) == 1);
    from_first(&channel, "c");
    assert_eq!(offsets(&channel, 1), [9]);
    // Settings of other queues are not for streams: such a policy is passed over.
    set(r#"{"max-length": 1, "max-length-bytes": 0}"#);
    fill(&broker, (0..3).map(|_| BODY));
    assert_eq!(offsets(&channel, 3), [10, 11, 12]);
}
