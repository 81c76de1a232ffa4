//! Headers and arguments as large as a frame lets them be.

use leveret_tests::codec::{Properties, TableBuf, TableBuilder, encode_content_header, queue};
use leveret_tests::{bind, confirm_select, declare, publish};

use crate::scene::Attack;

/// As many entries as a table may have, which nearly fill a frame; the last ones are another binding's.
const ENTRIES: usize = 4000;
const BINDINGS: usize = 5;

fn filling(number: usize) -> TableBuf {
    let value = "v".repeat(20);
    let keys = (0..ENTRIES).map(|key| match ENTRIES - key > BINDINGS {
        true => format!("k{key:04}"),
        false => format!("{number}{key:04}"),
    });
    keys.fold(TableBuilder::new(), |table, key| table.put(&key, value.as_str())).build()
}

/// Messages with such headers stay in a queue, go through an exchange that looks at them, and there
/// are queues and consumers with such arguments.
#[test]
fn huge_tables() {
    let attack = Attack {
        name: "huge headers and arguments",
        config: "[store]\ntransient_memory = \"16MiB\"\n",
        rounds: 200,
        // Those of messages leave memory with them: without that they would take 50 MiB.
        memory_max: 40.0,
        descriptors_max: 50.0,
    };
    let aftermath = attack.run(|target| {
        let table = filling(0);
        let mut encoded = Vec::new();
        Properties { headers: Some(table.as_table()), ..Properties::default() }
            .encode(&mut encoded);
        let connection = target.connect();
        let channel = connection.channel(1);
        channel.call(&confirm_select());
        channel.call(&queue::Declare { exclusive: true, ..declare("kept") });
        for number in 0..BINDINGS {
            let table = filling(number);
            let arguments = table.as_table();
            let bound = queue::Bind { arguments, ..bind("kept", "amq.headers", "") };
            assert_eq!(channel.call(&bound), "queue.bind-ok");
        }
        for round in target.rounds() {
            let name = format!("with-arguments-{}", round % 50);
            if round % 10 == 0 {
                channel.call(&leveret_tests::delete(&name));
                let arguments = table.as_table();
                channel.call(&queue::Declare { exclusive: true, arguments, ..declare(&name) });
            }
            for (exchange, key) in [("", "kept"), ("amq.headers", "")] {
                let mut message = Vec::new();
                publish(exchange, key).encode_frame(1, &mut message);
                encode_content_header(1, &encoded, 0, &mut message);
                connection.send_bytes(&message);
            }
            while channel.recv().delivery_tag() < 2 * (round + 1) {}
        }
        connection
    });
    let Some(aftermath) = aftermath else { return };
    assert!(aftermath.metrics["rabbitmq_queue_messages_ready"] >= 200.0);
}
