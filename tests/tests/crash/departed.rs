//! `kill -9` right behind the answer to the deletion of a queue of which a crowd is dying.

use leveret_tests::codec::{Value, basic, queue};
use leveret_tests::{
    Broker, Unconfirmed, confirm_select, consume, declare, delete, eventually, passive, table,
};

/// Some of them are dead-lettered in the turn in which they die, the others wait for the ticker.
const MESSAGES: u32 = 12_000;

#[test]
fn what_was_dying_in_a_deleted_queue_arrives() {
    let Some(mut broker) = Broker::configured("", "kills the broker") else { return };
    for is_one_turn in [true, false] {
        let channel = broker.connect().channel(1);
        channel.call(&queue::Declare { durable: true, ..declare("dead") });
        let arguments = table([
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text("dead")),
        ]);
        let arguments = arguments.as_table();
        channel.call(&queue::Declare { durable: true, arguments, ..declare("q") });
        channel.call(&confirm_select());
        let mut unconfirmed = Unconfirmed::default();
        for number in 0..MESSAGES {
            unconfirmed.add();
            channel.publish_persistent("q", number.to_be_bytes());
        }
        while !unconfirmed.is_empty() {
            unconfirmed.confirm(&channel.recv());
        }
        assert!(channel.call(&consume("q", "c")).starts_with("basic.consume-ok"));
        for _ in 0..MESSAGES {
            assert!(channel.recv().starts_with("basic.deliver"));
        }
        channel.publish_persistent("q", "goes with its queue");
        let all_die = basic::Nack { delivery_tag: MESSAGES.into(), multiple: true, requeue: false };
        channel.send(&all_die);
        if !is_one_turn {
            // Its answer says that they have died.
            let count = passive("q");
            eventually(|| broker.connect().channel(1).call(&count) == "queue.declare-ok q 0 1");
        }
        channel.send(&delete("q"));
        while channel.recv() != "queue.delete-ok 0" {}
        broker.kill9();
        broker.restart();

        let channel = broker.connect().channel(1);
        let all = format!("queue.declare-ok dead {MESSAGES} 0");
        eventually(|| channel.call(&passive("dead")) == all.as_str());
        channel.call(&basic::Consume { no_ack: true, ..consume("dead", "d") });
        let number = |_| u32::from_be_bytes(channel.recv().body().try_into().expect("a number"));
        let numbers: Vec<_> = (0..MESSAGES).map(number).collect();
        assert!(numbers == (0..MESSAGES).collect::<Vec<_>>(), "each once, in their order");
        assert!(channel.call(&passive("q")).starts_with("channel.close 404"));
    }
}
