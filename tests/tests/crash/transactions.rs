//! `kill -9` while clients commit one transaction after the other.
//!
//! Each has queues of its own. A transaction acknowledges the one message of `todo`, rejects the one
//! of `refused`, which is dead-lettered to `dead`, and publishes the next of both and one to `done`. So
//! after the transaction *n* those two hold the message *n*, and the others what came before it: any other
//! state is that of a transaction in part.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use leveret_tests::codec::{Value, basic, queue, tx};
use leveret_tests::{
    Answer, Broker, Channel, PATIENCE, ack, confirm_select, declare, eventually, get, passive,
    table,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{SETTINGS, connect, from_environment};

const CLIENTS: usize = 3;

#[test]
fn a_transaction_is_there_as_a_whole_or_not_at_all() {
    let Some(mut broker) = Broker::configured(SETTINGS, "kills the broker") else { return };
    let rounds = from_environment("LEVERET_CRASH_ROUNDS", 100) / 5;
    let seed = from_environment("LEVERET_CRASH_SEED", 1);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut committed = [0; CLIENTS];
    let channel = broker.connect().channel(1);
    channel.call(&confirm_select());
    for client in 0..CLIENTS {
        define(&channel, client);
    }
    for _ in 0..rounds {
        let address = broker.address();
        let (ready, readied) = sync_channel(CLIENTS);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (first, goal) = (committed[client], random.random_range(1..40));
                let ready = ready.clone();
                thread::spawn(move || commit_on(address, client, first, goal, &ready))
            })
            .collect();
        readied.recv_timeout(PATIENCE).expect("clients are served");
        broker.kill9();
        let possible: Vec<_> =
            clients.into_iter().map(|client| client.join().expect("no surprise")).collect();
        broker.restart();
        let channel = broker.connect().channel(1);
        for (client, possible) in possible.into_iter().enumerate() {
            committed[client] = look(&channel, client, &possible);
        }
    }
    println!("{committed:?} committed");
    let channel = broker.connect().channel(1);
    for (client, committed) in committed.into_iter().enumerate() {
        for queue in ["done", "dead"] {
            let number = |_| number_of(&channel.call(&get(&name(queue, client))));
            let numbers: BTreeSet<_> = (0..committed).map(number).collect();
            assert!(numbers.into_iter().eq(0..committed), "each once in {queue}");
        }
    }
}

fn name(queue: &str, client: usize) -> String {
    format!("{queue} {client}")
}

fn number_of(answer: &Answer) -> u64 {
    let text = str::from_utf8(answer.body()).expect("a text");
    text.trim_end().parse().unwrap_or_else(|_| panic!("{answer}"))
}

/// Some of them fill a segment.
fn body(number: u64) -> String {
    format!("{number:<1000}")
}

fn define(channel: &Channel, client: usize) {
    let dead = name("dead", client);
    let arguments = table([
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text(&dead)),
    ]);
    let arguments = arguments.as_table();
    let refused = name("refused", client);
    channel.call(&queue::Declare { durable: true, arguments, ..declare(&refused) });
    for queue in ["todo", "done", "dead"] {
        channel.call(&queue::Declare { durable: true, ..declare(&name(queue, client)) });
    }
    for queue in [name("todo", client), refused] {
        channel.publish_persistent(&queue, body(0));
        assert!(channel.recv().starts_with("basic.ack"));
    }
}

/// Commits transactions from this number on until the broker ends. Answers how many there may be then:
/// all that were confirmed, and perhaps one more.
fn commit_on(
    address: SocketAddr,
    client: usize,
    first: u64,
    goal: u64,
    ready: &SyncSender<()>,
) -> RangeInclusive<u64> {
    let mut committed = first;
    let Some(channel) = connect(address) else { return first..=first };
    channel.send(&tx::Select {});
    if channel.recv().ends_connection() {
        return first..=first;
    }
    let [todo, refused, done] = ["todo", "refused", "done"].map(|queue| name(queue, client));
    loop {
        for queue in [&todo, &refused] {
            let answer = channel.call(&get(queue));
            if answer.ends_connection() {
                return committed..=committed;
            }
            assert_eq!(number_of(&answer), committed, "{queue}");
            if *queue == todo {
                channel.send(&ack(answer.delivery_tag()));
            } else {
                let delivery_tag = answer.delivery_tag();
                channel.send(&basic::Reject { delivery_tag, requeue: false });
            }
        }
        for queue in [&todo, &refused] {
            channel.publish_persistent(queue, body(committed + 1));
        }
        channel.publish_persistent(&done, body(committed));
        if channel.call(&tx::Commit {}).ends_connection() {
            return committed..=committed + 1;
        }
        committed += 1;
        if committed == first + goal {
            ready.send(()).expect("the test waits");
        }
    }
}

/// How many of a client's transactions there are. Each is there as a whole, and all that were
/// confirmed.
fn look(channel: &Channel, client: usize, possible: &RangeInclusive<u64>) -> u64 {
    let count = |queue: &str, ready: u64| {
        let name = name(queue, client);
        eventually(|| {
            channel.call(&passive(&name)) == format!("queue.declare-ok {name} {ready} 0").as_str()
        });
    };
    let taken: Vec<_> = ["todo", "refused"]
        .into_iter()
        .map(|queue| {
            count(queue, 1);
            let answer = channel.call(&get(&name(queue, client)));
            channel.send(&basic::Nack {
                delivery_tag: answer.delivery_tag(),
                multiple: false,
                requeue: true,
            });
            number_of(&answer)
        })
        .collect();
    let committed = taken[0];
    assert_eq!(taken, [committed; 2], "in part");
    assert!(possible.contains(&committed), "{committed} of {possible:?}");
    for queue in ["done", "dead"] {
        count(queue, committed);
    }
    committed
}
