//! What consumers are asked before messages are handed out.

use std::sync::Arc;

use leveret_broker::{Consume, Subscriber, Wake};
use leveret_codec::{Properties, Table, Value};
use leveret_engine::{Admission, Entry};
use parking_lot::Mutex;

use crate::world::{World, table};

/// A consumer that takes all, and writes down what it is told is on its way to it.
#[derive(Default)]
struct Asked(Mutex<Vec<usize>>);

impl Subscriber for Asked {
    fn admit(&self, pending: usize) -> Admission {
        self.0.lock().push(pending);
        Admission::Ready
    }

    fn deliver(&self, entries: &mut Vec<Entry>) -> Wake {
        entries.clear();
        Wake::NotNeeded
    }

    fn wake(&self) {}

    fn cancelled(&self) {}
}

/// One who gets what is in `q`.
fn consume(world: &mut World, tag: &str) -> Arc<Asked> {
    let asked = Arc::new(Asked::default());
    let request = Consume {
        tag: &Arc::from(tag),
        is_tag_chosen: true,
        channel: 1,
        queue: "q",
        no_ack: true,
        exclusive: false,
        prefetch: 0,
        shared_limit: 0,
        arguments: Table::EMPTY,
    };
    world.session.consume(request, |_| Arc::clone(&asked) as Arc<dyn Subscriber>).unwrap();
    asked
}

#[test]
fn each_consumer_knows_what_is_on_its_way() {
    let mut world = World::new();
    world.declare("q", &[]);
    let consumers = ["a", "b"].map(|tag| consume(&mut world, tag));
    // Nothing is left of what the first turn has handed out.
    for _ in 0..2 {
        for body in ["0", "0", "11", "22", "0", "0"] {
            world.stage("", "q", Properties::default(), body);
        }
        world.session.flush(&mut Vec::new());
        world.session.finish();
        for asked in &consumers {
            let pending = std::mem::take(&mut *asked.0.lock());
            let of_bodies: Vec<usize> = pending.windows(2).map(|two| two[1] - two[0]).collect();
            assert_eq!(pending[0], 0);
            // One byte, and then two, and about the same for each besides.
            assert_eq!(of_bodies.len(), 2);
            assert_eq!(of_bodies[1], of_bodies[0] + 1);
        }
    }
}

/// Bodies may be empty where headers are not.
#[test]
fn large_headers_count_in_what_is_on_its_way() {
    let mut world = World::new();
    world.declare("q", &[]);
    let asked = consume(&mut world, "a");
    let large = "x".repeat(10_000);
    let headers = table(&[("large", Value::text(&large))]);
    let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
    for _ in 0..3 {
        world.stage("", "q", properties, "");
    }
    world.session.flush(&mut Vec::new());
    world.session.finish();
    let pending = std::mem::take(&mut *asked.0.lock());
    assert_eq!(pending.len(), 3, "{pending:?}");
    assert!(pending.iter().zip([0, 10_000, 20_000]).all(|(a, b)| *a >= b), "{pending:?}");
}
