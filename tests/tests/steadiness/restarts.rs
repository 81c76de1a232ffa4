//! Restarted again and again, at bad moments.

use leveret_tests::codec::{Properties, queue};
use leveret_tests::{Broker, Connection, Login, confirm_select, declare, get, passive, publish};

/// How often.
const LIVES: u32 = 8;
/// Each life takes all messages of the one before out, and leaves these.
const MESSAGES: u32 = 50;

/// With load that goes on until the broker is gone, killed and asked to stop in turn.
#[test]
fn what_was_confirmed_is_there_after_each_restart() {
    let Some(mut broker) = Broker::own("restarts the broker") else { return };
    let channel = broker.connect().channel(1);
    channel.call(&queue::Declare { durable: true, ..declare("kept") });
    channel.call(&queue::Declare { durable: true, ..declare("load") });
    drop(channel);
    let mut files = Vec::new();
    for life in 0..LIVES {
        let channel = broker.connect().channel(1);
        if life > 0 {
            for number in 0..MESSAGES {
                let answer = channel.call(&get("kept"));
                assert_eq!(answer.body(), number.to_be_bytes(), "{answer} of life {life}");
                channel.send(&leveret_tests::ack(u64::from(number) + 1));
            }
            assert_eq!(channel.call(&passive("kept")), "queue.declare-ok kept 0 0");
            channel.call(&leveret_tests::purge("load"));
        }
        channel.call(&confirm_select());
        for number in 0..MESSAGES {
            channel.publish_persistent("kept", number.to_be_bytes());
        }
        let mut confirmed = 0;
        while confirmed < u64::from(MESSAGES) {
            let answer = channel.recv();
            confirmed = confirmed_up_to(&answer).unwrap_or_else(|| panic!("{answer}"));
        }
        let address = broker.address();
        let load = std::thread::spawn(move || {
            let connection = Connection::dial(address);
            connection.open(&Login::default()).unwrap();
            let channel = connection.channel(1);
            channel.call(&confirm_select());
            let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
            loop {
                channel.publish_with(&publish("", "load"), &properties, &[0; 1000]);
                if channel.recv().ends_connection() {
                    return;
                }
            }
        });
        // The load is on.
        while !channel.call(&get("load")).starts_with("basic.get-ok") {}
        if life % 2 == 0 {
            broker.terminate();
        } else {
            broker.kill9();
        }
        load.join().unwrap();
        drop(channel);
        broker.restart();
        let count = |directory: &std::path::Path| {
            std::fs::read_dir(directory).map_or(0, |entries| entries.count())
        };
        files.push(count(&broker.data_dir()) + count(&broker.data_dir().join("journal")));
    }
    assert!(files.last() <= files.first().map(|first| first + 2).as_ref(), "{files:?}");
}

fn confirmed_up_to(answer: &leveret_tests::Answer) -> Option<u64> {
    let text = answer.to_string();
    let rest = text.strip_prefix("basic.ack ")?;
    rest.split(' ').next()?.parse().ok()
}
