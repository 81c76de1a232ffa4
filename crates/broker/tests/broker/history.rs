//! What recent history exchanges repeat to new bindings.

use leveret_broker::{Resource, Staged};
use leveret_codec::{Properties, Table};
use leveret_engine::{DestinationName, Millis};

use crate::world::World;

const KEPT: usize = 20;

/// With a full history of the exchange `x`.
fn kept() -> World {
    let mut world = World::new();
    world.declare_exchange("x", "x-recent-history");
    for number in 0..KEPT {
        assert_eq!(
            world.offer("x", "k", Properties::default(), &number.to_string()),
            Staged::Unroutable
        );
        world.confirmation();
    }
    world.session.begin(Millis(world.now));
    world
}

#[test]
fn what_a_binding_is_given_counts_for_the_turn() {
    let mut world = kept();
    world.declare("q", &[]);
    assert_eq!(world.session.placed(), 0);
    world.bind("q", "x", "");
    assert_eq!(world.session.placed(), KEPT);

    // Also where it goes to several queues, or to none.
    world.declare_exchange("two", "fanout");
    world.declare_exchange("none", "fanout");
    world.bind("q", "two", "");
    world.declare("r", &[]);
    world.bind("r", "two", "");
    for (exchange, places) in [("two", 2), ("none", 1)] {
        world.session.begin(Millis(world.now));
        let exchange = DestinationName::Exchange(exchange);
        world.session.bind("x", exchange, "", Table::EMPTY).unwrap();
        assert_eq!(world.session.placed(), places * KEPT, "{exchange:?}");
    }
}

#[test]
fn an_alarm_keeps_history_from_being_repeated() {
    let mut world = kept();
    for (resource, queue, bytes) in
        [(Resource::Memory, "memory", u64::MAX), (Resource::Disk, "disk", 0)]
    {
        world.broker.alarms().set_limit(resource, Some(1));
        world.broker.alarms().pretend(resource, Some(bytes));
        world.declare(queue, &[]);
        world.bind(queue, "x", "");
        world.session.flush(&mut Vec::new());
        assert_eq!(world.ready(queue), 0, "{resource:?}");
        world.broker.alarms().pretend(resource, None);
    }
    world.declare("late", &[]);
    world.bind("late", "x", "");
    world.session.flush(&mut Vec::new());
    assert_eq!(world.ready("late"), KEPT as u64);
}
