//! Transactions that are never committed.

use leveret_tests::codec::{encode_content, tx};
use leveret_tests::{Connection, publish};

use crate::scene::Attack;

/// So many are there at a time.
const CONNECTIONS: u64 = 30;
/// What each publishes, unless it is refused.
const MESSAGES: usize = 20;
const SIZE: usize = 1 << 20;

/// Without a limit they would have the broker hold 600 MiB.
#[test]
fn uncommitted_transactions() {
    let attack = Attack {
        name: "uncommitted transactions",
        config: "[amqp]\nuncommitted_max = \"8MiB\"\nuncommitted_max_per_node = \"16MiB\"\n",
        rounds: CONNECTIONS,
        // Twice what all may have, buffers of those who are read from, and what a connection takes.
        memory_max: 64.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| target.hoard(publish_without_end));
    let Some(aftermath) = aftermath else { return };
    assert!(aftermath.metrics["leveret_uncommitted_bytes"] <= f64::from(32 << 20));
}

/// As many as it should, or until it is refused.
fn publish_without_end(connection: &Connection) {
    let channel = connection.channel(1);
    assert_eq!(channel.call(&tx::Select {}), "tx.select-ok");
    let mut wire = Vec::new();
    publish("amq.fanout", "").encode_frame(1, &mut wire);
    encode_content(1, &[0, 0], &vec![b'x'; SIZE], 131_072, &mut wire);
    for _ in 0..MESSAGES {
        if connection.try_send_bytes(&wire).is_err() {
            break;
        }
    }
}
