//! What recent history exchanges repeat to new bindings.

use leveret_broker::{DeclareQueue, DeleteIf, Resource, Session, Staged};
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
    world.bind("q", "x", "");
    assert_eq!(world.session.placed(), 0);
    assert!(!world.session.repeat_history(usize::MAX));
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
        assert!(!world.session.repeat_history(usize::MAX));
        assert_eq!(world.session.placed(), places * KEPT, "{exchange:?}");
    }
}

/// Nobody waits for the whole of it, and it is in front of what its binder publishes later.
#[test]
fn history_is_repeated_in_steps_between_which_others_do_what_they_like() {
    let mut world = kept();
    world.declare_exchange("two", "fanout");
    for queue in ["q", "r"] {
        world.declare(queue, &[]);
        world.bind(queue, "two", "");
    }
    let two = DestinationName::Exchange("two");
    world.session.bind("x", two, "", Table::EMPTY).unwrap();
    assert!(world.session.repeat_history(7));
    assert_eq!(world.session.placed(), 8, "the last one goes to both");
    world.session.flush(&mut Vec::new());
    assert_eq!(world.ready("q"), 4);

    let user = world.broker.access().user("guest").unwrap();
    let mut other = Session::open(&world.broker, user, "/", "other".into(), None).unwrap();
    other.begin(Millis(world.now));
    let late = DeclareQueue {
        name: "late",
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: Table::EMPTY,
    };
    other.declare_queue(late).unwrap();
    other.bind("two", DestinationName::Queue("late"), "", Table::EMPTY).unwrap();
    other.delete_queue("r", DeleteIf { unused: false, empty: false }).unwrap();
    other.finish();

    world.session.repeat_all_history(|| true);
    world.publish("two", "k", "later");
    let kept = (0..KEPT).map(|number| number.to_string()).chain(["later".to_owned()]);
    let kept: Vec<String> = kept.collect();
    assert_eq!(world.drain("q"), kept);
    assert_eq!(world.drain("late"), kept[4..]);
}

/// A turn of it is one unit of the journal.
#[test]
fn large_messages_count_for_the_turn_as_what_is_published_does() {
    let mut world = World::new();
    world.declare_exchange("x", "x-recent-history");
    for _ in 0..KEPT {
        let body = "m".repeat(100 << 10);
        assert_eq!(world.offer("x", "k", Properties::default(), &body), Staged::Unroutable);
        world.confirmation();
    }
    world.declare("q", &[]);
    world.bind("q", "x", "");
    world.session.begin(Millis(world.now));
    assert!(world.session.repeat_history(4096));
    world.session.flush(&mut Vec::new());
    assert_eq!(world.ready("q"), 3, "of 1600 places each");
}

#[test]
fn who_may_not_go_on_repeats_no_more_history() {
    let mut world = kept();
    world.declare("q", &[]);
    world.bind("q", "x", "");
    world.session.repeat_all_history(|| false);
    assert_eq!(world.ready("q"), 0);
    assert!(world.session.has_history());
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
        assert!(!world.session.has_history());
        assert_eq!(world.ready(queue), 0, "{resource:?}");
        world.broker.alarms().pretend(resource, None);
    }
    world.declare("late", &[]);
    world.bind("late", "x", "");
    world.session.repeat_all_history(|| true);
    assert_eq!(world.ready("late"), KEPT as u64);
}
