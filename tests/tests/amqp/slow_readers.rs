//! Clients that do not read what they are sent: it costs them, not the broker and not others.

use leveret_tests::codec::{basic, queue};
use leveret_tests::{Broker, bind, confirm_select, consume, declare, get, qos};

const WHY: &str = "measures the broker's memory";
const MIB: usize = 1 << 20;

/// Many consumers that take nothing: publisher and other consumers go on, and what is on its way to
/// each is bounded, so that the memory of the broker stays far below what all of them are to get.
#[test]
fn consumers_that_do_not_read_hold_up_nobody() {
    const CONSUMERS: usize = 50;
    const COUNT: usize = 160;
    const SIZE: usize = 128 << 10;
    let Some(broker) = Broker::own(WHY) else { return };
    let slow: Vec<_> = (0..CONSUMERS)
        .map(|number| {
            let channel = broker.connect().channel(1);
            let name = format!("slow {number}");
            channel.call(&queue::Declare { exclusive: true, ..declare(&name) });
            channel.call(&bind(&name, "amq.fanout", ""));
            channel.call(&basic::Consume { no_ack: true, ..consume(&name, "c") });
            channel
        })
        .collect();
    let busy = broker.connect().channel(1);
    busy.call(&declare("busy"));
    busy.call(&basic::Consume { no_ack: true, ..consume("busy", "c") });

    let publisher = broker.connect().channel(1);
    publisher.call(&confirm_select());
    let mut body = vec![b'x'; SIZE];
    for number in 0..COUNT {
        body[..8].copy_from_slice(&(number as u64).to_be_bytes());
        publisher.publish("amq.fanout", "", &body);
        assert_eq!(publisher.recv(), format!("basic.ack {}", number + 1));
        busy.publish("", "busy", "tick");
        assert_eq!(busy.recv().body(), b"tick");
    }
    let (memory, owed) = (broker.resident_memory(), CONSUMERS * COUNT * SIZE);
    assert!(memory < 150 * MIB, "{} MiB, while {} MiB are owed", memory / MIB, owed / MIB);

    // All of it is there for the asking, in order.
    for channel in [&slow[0], &slow[CONSUMERS - 1]] {
        for number in 0..COUNT {
            let delivery = channel.recv();
            assert_eq!(delivery.body().len(), SIZE);
            assert_eq!(delivery.body()[..8], (number as u64).to_be_bytes(), "{number}");
        }
    }
}

/// Answers pile up for a client that asks and asks but does not read: the broker stops reading it.
#[test]
fn a_client_that_only_asks_is_not_listened_to() {
    const COUNT: usize = 200;
    let Some(broker) = Broker::own(WHY) else { return };
    let greedy = broker.connect().channel(1);
    greedy.call(&declare("q"));
    greedy.publish("", "q", vec![b'x'; MIB]);
    let mut requests = Vec::new();
    for _ in 0..COUNT {
        get("q").encode_frame(1, &mut requests);
        basic::Recover { requeue: true }.encode_frame(1, &mut requests);
    }
    greedy.connection().send_bytes(&requests);
    let other = broker.connect().channel(1);
    for _ in 0..1000 {
        assert_eq!(other.call(&qos(1)), "basic.qos-ok");
    }
    let memory = broker.resident_memory();
    assert!(memory < 100 * MIB, "{} MiB", memory / MIB);
    // Nothing of what was asked for is lost.
    for _ in 0..COUNT {
        assert_eq!(greedy.recv().body().len(), MIB);
        assert_eq!(greedy.recv(), "basic.recover-ok");
    }
}
