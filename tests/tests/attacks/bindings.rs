//! Bindings that are made and unmade as fast as the broker can.

use leveret_tests::codec::queue;
use leveret_tests::{bind, declare, eventually, unbind};

use crate::scene::{Attack, metrics};

/// Of a round: as many on each of the exchanges.
const BINDINGS: usize = 500;
const EXCHANGES: [&str; 3] = ["amq.direct", "amq.topic", "amq.headers"];

/// Half of them stay until the end, those of a queue each time.
#[test]
fn a_flood_of_bindings() {
    let attack = Attack {
        name: "binds and unbinds",
        config: "",
        rounds: 20,
        memory_max: 64.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| {
        let connection = target.connect();
        let channel = connection.channel(1);
        for round in target.rounds() {
            let name = format!("of-{}", round % 10);
            if round >= 10 {
                channel.call(&leveret_tests::delete(&name));
            }
            channel.call(&queue::Declare { exclusive: true, ..declare(&name) });
            let mut requests = Vec::new();
            for exchange in EXCHANGES {
                for number in 0..BINDINGS {
                    let key = format!("a.{round}.b.{number}");
                    bind(&name, exchange, &key).encode_frame(1, &mut requests);
                    if number % 2 == 0 {
                        unbind(&name, exchange, &key).encode_frame(1, &mut requests);
                    }
                }
            }
            connection.send_bytes(&requests);
            for answer in channel.recv_many(EXCHANGES.len() * (BINDINGS + BINDINGS / 2)) {
                assert!(answer == "queue.bind-ok" || answer == "queue.unbind-ok", "{answer}");
            }
        }
        connection
    });
    let Some(aftermath) = aftermath else { return };
    eventually(|| metrics(&aftermath.broker)["rabbitmq_queues"] == 0.0);
}
