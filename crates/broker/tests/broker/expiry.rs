//! What happens because time passes.

use leveret_broker::{DeclareQueue, Outcome, Progress};
use leveret_codec::{Properties, Value};

use crate::world::{World, table};

const EXPIRES: [(&str, Value<'_>); 1] = [("x-expires", Value::I32(100))];

#[test]
fn an_unused_queue_goes() {
    let mut world = World::new();
    world.declare("q", &EXPIRES);
    let _ = world.publish("", "q", "m");
    world.pass(99);
    assert!(world.exists("q"));
    world.pass(1);
    assert!(!world.exists("q"));
    assert!(!world.restart().exists("q"));
}

#[test]
fn uses_give_a_queue_another_term() {
    type Use = fn(&mut World);
    let uses: [(&str, Use, bool); 6] = [
        ("declare", |world| world.declare("q", &EXPIRES), true),
        (
            "passive declare",
            |world| assert_eq!(world.session.find_queue("q").unwrap().messages, 0),
            true,
        ),
        ("get", |world| assert!(world.get("q").is_none()), true),
        ("publish", |world| assert_ne!(world.publish("", "q", "m"), Outcome::Refused), false),
        ("purge", |world| assert_eq!(world.session.purge_queue("q").unwrap(), 0), false),
        ("count", |world| assert_eq!(world.ready("q"), 0), false),
    ];
    for (what, apply, renews) in uses {
        let mut world = World::new();
        world.declare("q", &EXPIRES);
        world.pass(60);
        apply(&mut world);
        world.pass(60);
        assert_eq!(world.exists("q"), renews, "{what}");
        world.pass(40);
        assert!(!world.exists("q"), "{what}");
    }
}

#[test]
fn a_new_term_begins_with_a_restart() {
    let mut world = World::new();
    world.declare("q", &EXPIRES);
    world.pass(60);
    let mut world = world.restart();
    world.pass(0);
    world.pass(99);
    assert!(world.exists("q"));
    world.pass(1);
    assert!(!world.exists("q"));
}

#[test]
fn exclusive_and_transient_queues_expire_too() {
    let mut world = World::new();
    for (name, exclusive) in [("exclusive", true), ("transient", false)] {
        world.declare_as(DeclareQueue {
            name,
            durable: false,
            exclusive,
            auto_delete: false,
            arguments: table(&EXPIRES).as_table(),
        });
    }
    world.pass(100);
    assert!(!world.exists("exclusive") && !world.exists("transient"));
    world.session.close(usize::MAX);
}

#[test]
fn recovered_messages_keep_their_deadline() {
    let mut world = World::new();
    world.declare("ttl", &[("x-message-ttl", Value::I32(100))]);
    world.declare("plain", &[]);
    let expiration = |digits| Properties { expiration: Some(digits), ..Properties::default() };
    let _ = world.publish("", "ttl", "m");
    let _ = world.publish_with("", "ttl", expiration(b"80"), "m");
    let _ = world.publish_with("", "plain", expiration(b"90"), "m");
    world.now += 50;
    let mut world = world.restart();
    world.pass(29);
    assert_eq!((world.ready("ttl"), world.ready("plain")), (2, 1));
    world.pass(1);
    assert_eq!((world.ready("ttl"), world.ready("plain")), (1, 1));
    world.pass(10);
    assert_eq!((world.ready("ttl"), world.ready("plain")), (1, 0));
    world.pass(10);
    assert_eq!((world.ready("ttl"), world.ready("plain")), (0, 0));
}

#[test]
fn a_requeued_message_keeps_its_deadline() {
    let mut world = World::new();
    world.declare("q", &[("x-message-ttl", Value::I32(100))]);
    for body in ["early", "late"] {
        let _ = world.publish("", "q", body);
    }
    let [early, late] = [(); 2].map(|()| world.get("q").unwrap());
    world.pass(60);
    world.requeue(early);
    world.pass(39);
    assert_eq!(world.ready("q"), 1);
    world.pass(1);
    assert_eq!(world.ready("q"), 0);
    // One that is delivered doesn't expire, until it comes back.
    world.pass(1);
    world.requeue(late);
    assert_eq!(world.ready("q"), 0);
}

/// Each queue of a crowd expires when it is due, and nothing before.
#[test]
fn a_crowd_of_queues_expires_when_due() {
    let mut world = World::new();
    for number in 0..2_000 {
        let name = format!("q{number}");
        world.declare_as(DeclareQueue {
            name: &name,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: table(&[("x-message-ttl", Value::I32(3_600_000))]).as_table(),
        });
        world.stage("", &name, Properties::default(), "m");
    }
    world.session.flush(&mut Vec::new());
    world.session.finish();
    world.pass(3_599_999);
    assert_eq!(world.tick(), Progress::Done);
    assert!((0..2_000).all(|number| world.ready(&format!("q{number}")) == 1));
    world.pass(1);
    assert!((0..2_000).all(|number| world.ready(&format!("q{number}")) == 0));
}

/// What is taken as an expiration is one after a restart as well.
#[test]
fn messages_with_any_expiration_that_is_taken_survive_a_restart() {
    let mut world = World::new();
    world.declare("q", &[]);
    for (number, text) in ["-0", "+0", "000", "+60000", "060000"].into_iter().enumerate() {
        let properties = Properties { expiration: Some(text.as_bytes()), ..Properties::default() };
        world.publish_with("", "q", properties, &number.to_string());
    }
    world.publish("", "q", "last");
    let mut world = world.restart();
    assert_eq!(world.drain("q"), ["3", "4", "last"]);
}
