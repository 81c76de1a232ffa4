//! Dead letters of which each takes very much.

use leveret_tests::codec::{Value, basic, exchange, queue};
use leveret_tests::{Channel, bind, consume, declare, declare_exchange, passive, table};

use crate::scene::Attack;

/// Where each of so many goes, of a round.
const QUEUES: usize = 1000;
const LETTERS: usize = 500;
/// As many to one queue.
const BINDINGS: usize = 20_000;

/// Declares an exchange to which letters go, and `dying`, where they come from.
fn dying(channel: &Channel, length_max: i32) {
    let wide = declare_exchange("wide", "fanout");
    channel.call(&exchange::Declare { auto_delete: true, ..wide });
    declare_with(channel, "dying", length_max);
}

fn declare_with(channel: &Channel, name: &str, length_max: i32) {
    let length_max = Value::I32(length_max);
    let arguments =
        table([("x-max-length", length_max), ("x-dead-letter-exchange", Value::text("wide"))]);
    let arguments = arguments.as_table();
    channel.call(&queue::Declare { exclusive: true, arguments, ..declare(name) });
}

fn counted(reason: &str) -> String {
    let name = format!("rabbitmq_global_messages_dead_lettered_{reason}_total");
    format!("{name}{{dead_letter_strategy=\"enabled\"}}")
}

/// What one method rejects would be half a million messages on their way at once.
#[test]
fn letters_to_a_thousand_queues() {
    let attack = Attack {
        name: "dead letters to a thousand queues",
        config: "",
        rounds: 2,
        memory_max: 24.0,
        descriptors_max: 50.0,
    };
    attack.run(|target| {
        let connection = target.connect();
        let channel = connection.channel(1);
        dying(&channel, i32::MAX);
        for number in 0..QUEUES {
            let name = format!("takes-{number}");
            let one = table([("x-max-length", Value::I32(1))]);
            let arguments = one.as_table();
            channel.call(&queue::Declare { exclusive: true, arguments, ..declare(&name) });
            channel.call(&bind(&name, "wide", ""));
        }
        channel.call(&consume("dying", "rejects"));
        for round in target.rounds() {
            for _ in 0..LETTERS {
                channel.publish("", "dying", "");
            }
            channel.recv_many(LETTERS);
            channel.send(&basic::Nack { delivery_tag: 0, multiple: true, requeue: false });
            let rejected = (round + 1) * LETTERS as u64;
            target.await_count(&counted("rejected"), rejected as f64);
        }
        connection
    });
}

/// Each message pushes the one before out, and has very many bindings looked at for it. Whoever publishes them
/// has to wait for that.
#[test]
fn letters_whose_queues_take_long_to_find() {
    let attack = Attack {
        name: "dead letters whose queues take long to find",
        config: "",
        rounds: 2,
        memory_max: 24.0,
        descriptors_max: 50.0,
    };
    attack.run(|target| {
        let connections = [target.connect(), target.connect()];
        let channels = connections.each_ref().map(|connection| connection.channel(1));
        let [channel, other] = &channels;
        dying(channel, 1);
        declare_with(other, "dying too", 1);
        let mut requests = Vec::new();
        for number in 0..BINDINGS {
            queue::Bind { nowait: true, ..bind("dying", "wide", &number.to_string()) }
                .encode_frame(1, &mut requests);
        }
        connections[0].send_bytes(&requests);
        for round in target.rounds() {
            for (channel, name) in channels.iter().zip(["dying", "dying too"]) {
                for _ in 0..LETTERS {
                    channel.publish("", name, "");
                }
            }
            for (channel, name) in channels.iter().zip(["dying", "dying too"]) {
                channel.call(&passive(name));
            }
            let pushed_out = 2 * (round + 1) * LETTERS as u64 - 2;
            target.await_count(&counted("maxlen"), pushed_out as f64);
        }
        connections
    });
}
