//! Bindings that are made and unmade as fast as the broker can.

use leveret_tests::codec::{ArrayBuilder, Properties, Value, exchange, queue};
use leveret_tests::{
    bind, confirm_select, declare, declare_exchange, delete, eventually, publish, table, unbind,
};
use serde_json::json;

use crate::scene::{Attack, metrics};

/// Of a round: as many on each of the exchanges.
const BINDINGS: usize = 500;
const EXCHANGES: [&str; 3] = ["amq.direct", "amq.topic", "amq.headers"];
/// Of an exchange that spreads messages.
const SPREAD: usize = 300_000;
/// With one key.
const ALIKE: i32 = 20_000;
/// As often as a header may say it, about.
const KEYS: usize = 4000;

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
                channel.call(&delete(&name));
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

/// Each of them goes as quickly as one that is alone, while nobody else gets at the vhost's bindings.
#[test]
fn a_mass_of_bindings_that_spread() {
    let attack = Attack {
        name: "bindings by the hundred thousand that go with their queue",
        config: "",
        rounds: 2,
        memory_max: 160.0,
        descriptors_max: 50.0,
    };
    attack.run(|target| {
        let connection = target.connect();
        let channel = connection.channel(1);
        let kinds = ["x-consistent-hash", "x-modulus-hash"];
        for (_, kind) in target.rounds().zip(kinds.into_iter().cycle()) {
            let spread = exchange::Declare { auto_delete: true, ..declare_exchange(kind, kind) };
            channel.call(&spread);
            let mut requests = Vec::new();
            for (number, name) in ["stays", "goes"].into_iter().enumerate() {
                channel.call(&queue::Declare { exclusive: true, ..declare(name) });
                for key in 0..SPREAD / 2 {
                    let key = (1 + number * SPREAD + key).to_string();
                    queue::Bind { nowait: true, ..bind(name, kind, &key) }
                        .encode_frame(1, &mut requests);
                }
            }
            connection.send_bytes(&requests);
            for name in ["goes", "stays"] {
                assert_eq!(channel.call(&delete(name)), "queue.delete-ok 0");
            }
        }
        connection
    });
}

/// Each of them is looked at once for a message, however often that says their key.
#[test]
fn bindings_that_thousands_of_keys_lead_to() {
    let attack = Attack {
        name: "thousands of keys to the same bindings",
        config: "",
        rounds: 5,
        memory_max: 48.0,
        descriptors_max: 50.0,
    };
    attack.run(|target| {
        let connection = target.connect();
        let channel = connection.channel(1);
        channel.call(&queue::Declare { exclusive: true, ..declare("q") });
        let mut requests = Vec::new();
        for number in 0..ALIKE {
            let different = table([("number", Value::I32(number))]);
            let arguments = different.as_table();
            queue::Bind { nowait: true, arguments, ..bind("q", "amq.direct", "k") }
                .encode_frame(1, &mut requests);
        }
        connection.send_bytes(&requests);
        channel.call(&confirm_select());
        let keys = (0..KEYS).fold(ArrayBuilder::new(), |keys, _| keys.push("k")).build();
        let headers = table([("CC", Value::Array(keys.as_array()))]);
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        let asked = json!({
            "routing_key": "k",
            "properties": { "headers": { "CC": vec!["k"; KEYS] } },
        });
        let api = target.api();
        for round in target.rounds() {
            channel.publish_with(&publish("amq.direct", "k"), &properties, b"");
            assert_eq!(channel.recv().delivery_tag(), round + 1);
            // What its keys take while it waits is not what this is about.
            let purged = channel.call(&queue::Purge { queue: "q", nowait: false });
            assert_eq!(purged, "queue.purge-ok 1");
            let told = api.call("POST", "/leveret/route/%2F/amq.direct", &asked);
            assert_eq!(told.status, 200, "{}", told.text);
            assert_eq!(told.json()["exchanges"][0]["bindings_total"], ALIKE);
        }
        connection
    });
}
