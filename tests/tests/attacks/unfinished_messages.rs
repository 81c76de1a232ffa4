//! Messages that nearly come: begun on each channel, and left at that.

use leveret_tests::codec::{channel, encode_body_frame, encode_content_header};
use leveret_tests::{Connection, publish};

use crate::scene::Attack;

/// So many are there at a time.
const CONNECTIONS: u64 = 30;
/// Of each.
const CHANNELS: u16 = 20;
/// What each message lacks is its last byte.
const SIZE: usize = 1 << 20;

/// Without a limit they would have the broker hold 600 MiB.
#[test]
fn unfinished_messages() {
    let attack = Attack {
        name: "unfinished messages",
        config: "[amqp]\nunfinished_messages_max = \"8MiB\"\n\
                 unfinished_messages_max_per_node = \"16MiB\"\n",
        rounds: CONNECTIONS,
        // Twice what all may have, buffers of those who are read from, and what a connection takes.
        memory_max: 64.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| target.hoard(begin_on_each_channel));
    let Some(aftermath) = aftermath else { return };
    assert!(aftermath.metrics["leveret_unfinished_message_bytes"] <= f64::from(32 << 20));
}

/// On as many as it should, or until it is refused.
fn begin_on_each_channel(connection: &Connection) {
    let bytes = vec![b'x'; SIZE - 1];
    for number in 1..=CHANNELS {
        let mut wire = Vec::new();
        channel::Open {}.encode_frame(number, &mut wire);
        publish("amq.fanout", "").encode_frame(number, &mut wire);
        encode_content_header(number, &[0, 0], SIZE as u64, &mut wire);
        bytes.chunks(100 << 10).for_each(|part| encode_body_frame(number, part, &mut wire));
        if connection.try_send_bytes(&wire).is_err() {
            break;
        }
    }
}
