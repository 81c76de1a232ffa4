//! Clients that are owed much and fetch nothing.

use std::collections::VecDeque;

use leveret_tests::codec::{basic, queue};
use leveret_tests::{consume, declare, get};

use crate::scene::Attack;

/// So many are there at a time.
const READERS: usize = 40;
static BODY: [u8; 64 << 10] = [b'x'; 64 << 10];
/// What each is owed: far more than fits into the buffers of its socket.
const OWED: usize = 128;

/// A part of it is to come by consuming, the rest by asking; the memory for all of it would be 320 MiB.
#[test]
fn slow_readers() {
    let attack = Attack {
        name: "slow readers",
        config: "[store]\ntransient_memory = \"16MiB\"\n",
        rounds: READERS as u64,
        // Each may have a mebibyte of answers waiting, or a quarter of that of deliveries, and queues
        // 24 MiB: whoever publishes more waits for the disk.
        memory_max: READERS as f64 * 2.0 + 48.0,
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
    let Some(aftermath) = aftermath else { return };
    // Neither has been sent more than a part of it, nor has anything been thrown away.
    let delivered = aftermath.metrics["rabbitmq_queue_messages_delivered_total"];
    assert!(delivered < READERS as f64 * OWED as f64 / 2.0, "{delivered}");
}
