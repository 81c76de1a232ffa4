//! What counts for a turn besides the places that messages take.

use leveret_broker::Staged;
use leveret_codec::{Properties, Table};
use leveret_engine::{DestinationName, Millis};

use crate::world::World;

/// So many are looked at in the time of a hundred places.
const LOOKS: usize = 800;

/// What a message costs.
fn placed(world: &mut World, exchange: &str, key: &str, goes: Staged) -> usize {
    world.session.begin(Millis(world.now));
    assert_eq!(world.offer(exchange, key, Properties::default(), ""), goes);
    world.confirmation();
    world.session.placed()
}

#[test]
fn exchanges_that_one_leads_to_count_though_no_key_does() {
    let mut world = World::new();
    world.declare_exchange("wide", "direct");
    for number in 0..LOOKS {
        let leaf = format!("leaf-{number}");
        world.declare_exchange(&leaf, "direct");
        let leaf = DestinationName::Exchange(&leaf);
        world.session.bind("wide", leaf, "never", Table::EMPTY).unwrap();
    }
    // The second time it is known, and also where other keys lead.
    let costs = ["a", "a", "b"].map(|key| placed(&mut world, "wide", key, Staged::Unroutable));
    assert_eq!(costs, [100, 0, 0]);
    // Until something changes.
    world.declare_exchange("another", "direct");
    assert_eq!(placed(&mut world, "wide", "c", Staged::Unroutable), 100);
}

#[test]
fn bindings_count_though_all_lead_to_one_queue() {
    let mut world = World::new();
    world.declare("q", &[]);
    for number in 0..LOOKS {
        world.bind("q", "amq.fanout", &number.to_string());
    }
    assert_eq!(placed(&mut world, "amq.fanout", "a", Staged::Routed), 101);
}
