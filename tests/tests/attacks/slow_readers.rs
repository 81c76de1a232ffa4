//! Clients that are owed much and fetch nothing.

use std::collections::VecDeque;

use leveret_tests::codec::{basic, queue};
use leveret_tests::{consume, declare, get};

use crate::scene::{Attack, Metrics};

/// So many are there at a time.
const READERS: usize = 40;
static BODY: [u8; 64 << 10] = [b'x'; 64 << 10];
/// What each is owed: far more than fits into the buffers of its socket.
const OWED: usize = 128;

/// A part of it is to come by consuming, the rest by asking; the memory for all of it would be 320 MiB.
#[test]
fn slow_readers() {
    // Each may have a mebibyte of answers waiting, or a quarter of that of deliveries, and queues
    // 24 MiB: whoever publishes more waits for the disk.
    attack("slow readers", "", READERS as f64 * 2.0 + 48.0);
}

/// The same, where all together may have but four mebibytes waiting before they share: eight at most,
/// and a message for each.
#[test]
fn slow_readers_with_a_budget() {
    let config = "[amqp]\nunread_max_per_node = \"4MiB\"\n";
    let metrics = attack("slow readers with a budget", config, 68.0);
    let Some(metrics) = metrics else { return };
    let unread = metrics["leveret_unread_bytes"];
    let most = (8 << 20) + READERS * (BODY.len() + (9 << 10));
    assert!(unread <= most as f64, "{unread}");
}

fn attack(name: &str, config: &str, memory_max: f64) -> Option<Metrics> {
    let attack = Attack {
        name,
        config: &format!("[store]\ntransient_memory = \"16MiB\"\n{config}"),
        rounds: READERS as u64,
        memory_max,
        descriptors_max: 150.0,
    };
    let aftermath = attack.run(|target| {
        let mut held = VecDeque::new();
        for round in target.rounds() {
            let channel = target.connect().channel(1);
            let declared = channel.call(&queue::Declare { exclusive: true, ..declare("") });
            let name = declared.queue();
            if round % 2 == 0 {
                channel.send(&basic::Consume { no_ack: true, ..consume(name, "slow") });
            }
            for _ in 0..OWED {
                channel.publish("", name, BODY);
            }
            for _ in 0..OWED {
                channel.send(&basic::Get { no_ack: true, ..get(name) });
            }
            held.push_back(channel);
            if held.len() > READERS {
                held.pop_front();
            }
        }
        held
    });
    let aftermath = aftermath?;
    // Neither has been sent more than a part of it, nor has anything been thrown away.
    let delivered = aftermath.metrics["rabbitmq_queue_messages_delivered_total"];
    assert!(delivered < READERS as f64 * OWED as f64 / 2.0, "{delivered}");
    Some(aftermath.metrics)
}
