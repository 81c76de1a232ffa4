//! A consumer that takes whatever there is and acknowledges nothing.

use leveret_tests::codec::queue;
use leveret_tests::{confirm_select, consume, declare};

use crate::scene::Attack;

const MESSAGES: usize = 500;
const BODY: [u8; 1024] = [b'x'; 1024];

/// What is unsettled leaves memory as what is queued does: 12 MiB are left to both.
#[test]
fn a_consumer_that_never_acknowledges() {
    let attack = Attack {
        name: "unlimited prefetch, nothing acknowledged",
        config: "[store]\ntransient_memory = \"16MiB\"\n",
        rounds: 150,
        memory_max: 64.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| {
        let connection = target.connect();
        let channel = connection.channel(1);
        channel.call(&queue::Declare { exclusive: true, ..declare("hoard") });
        channel.call(&confirm_select());
        channel.call(&consume("hoard", "hoarder"));
        for _ in target.rounds() {
            for _ in 0..MESSAGES {
                channel.publish("", "hoard", BODY);
            }
            let mut delivered = 0;
            while delivered < MESSAGES {
                let answer = channel.recv();
                delivered += usize::from(answer.starts_with("basic.deliver"));
            }
        }
        connection
    });
    let Some(aftermath) = aftermath else { return };
    let unacked = aftermath.metrics["rabbitmq_queue_messages_unacked"];
    assert!(unacked >= 150.0 * MESSAGES as f64, "{unacked}");
}
