//! What comes back to a quorum queue and waits before it is delivered again.

use leveret_broker::policy::{Policy, PolicyKind};
use leveret_broker::{Actor, Outcome, QueueStatus, Settlement};
use leveret_codec::{Properties, Value};
use leveret_engine::{Millis, Return};

use crate::world::{START, World};

const NACK: Settlement = Settlement::Requeue(Return::Released);
const REJECT: Settlement = Settlement::Requeue(Return::Failed);

/// A world with a queue `q` that delays what comes back as `kind` from 100 ms up to 250 ms.
fn world(kind: &str, more: &[(&str, Value<'_>)]) -> World {
    let mut world = World::new();
    let mut arguments = vec![
        ("x-queue-type", Value::text("quorum")),
        ("x-delayed-retry-type", Value::text(kind)),
        ("x-delayed-retry-min", Value::I32(100)),
        ("x-delayed-retry-max", Value::I64(250)),
    ];
    arguments.extend(more);
    world.declare("q", &arguments);
    world
}

fn status(world: &World) -> QueueStatus {
    world.session.vhost().queue("q").unwrap().status()
}

/// Ready, delayed.
fn numbers(world: &World) -> (u64, u64) {
    let status = status(world);
    (status.ready, status.delayed)
}

/// Gets the next message and gives it back.
fn give_back(world: &mut World, settlement: Settlement) -> String {
    let got = world.get("q").unwrap();
    let body = got.body.clone();
    world.settle(settlement, [got]);
    body
}

#[test]
fn the_delay_grows_with_each_return_up_to_the_longest() {
    let mut world = world("all", &[]);
    let _ = world.publish("", "q", "m");
    for (number, delay) in (1..).zip([100, 200, 250, 250]) {
        give_back(&mut world, REJECT);
        let seen = status(&world);
        assert_eq!((seen.ready, seen.unacked, seen.delayed, seen.messages()), (0, 0, 1, 1));
        assert_eq!(seen.next_delayed_at, Some(Millis(world.now + delay)));
        assert_eq!(seen.last_delayed_at, seen.next_delayed_at);
        assert_eq!((seen.ready_bytes, seen.delayed_bytes, seen.bytes()), (0, 1, 1));
        assert_eq!(seen.delayed_retry(), "all (min: 100ms, max: 250ms)");
        world.pass(delay - 1);
        assert!(world.get("q").is_none());
        world.pass(1);
        assert_eq!(numbers(&world), (1, 0));
        let got = world.get("q").unwrap();
        assert_eq!((got.entry().deliveries, got.redelivered), (number, true));
        world.settle(NACK, [got]);
        world.pass(1000);
        // That was one return more.
        let got = world.get("q").unwrap();
        world.ack(got);
        let _ = world.publish("", "q", "m");
        for _ in 0..number {
            give_back(&mut world, NACK);
            world.pass(250);
        }
    }
}

#[test]
fn only_the_kind_of_return_that_is_meant_waits() {
    for (kind, nacked, rejected) in
        [("all", 1, 1), ("returned", 1, 0), ("failed", 0, 1), ("disabled", 0, 0), ("none", 0, 0)]
    {
        for (settlement, delayed) in [(NACK, nacked), (REJECT, rejected)] {
            let mut world = world(kind, &[]);
            let _ = world.publish("", "q", "m");
            give_back(&mut world, settlement);
            assert_eq!(numbers(&world), (1 - delayed, delayed), "{kind} {settlement:?}");
        }
    }
}

#[test]
fn a_message_that_has_waited_comes_before_newer_ones_of_its_priority() {
    let mut world = world("all", &[]);
    let urgent = || Properties { priority: Some(9), ..Properties::default() };
    let _ = world.publish("", "q", "1");
    let _ = world.publish("", "q", "2");
    let _ = world.publish_with("", "q", urgent(), "3");
    assert_eq!(give_back(&mut world, NACK), "3");
    assert_eq!(give_back(&mut world, NACK), "1");
    assert_eq!(world.get("q").unwrap().body, "2");
    let _ = world.publish("", "q", "4");
    let _ = world.publish_with("", "q", urgent(), "5");
    world.pass(100);
    assert_eq!(world.drain("q"), ["3", "5", "1", "4"]);
}

#[test]
fn the_delivery_limit_comes_before_the_delay() {
    let mut world = world(
        "all",
        &[
            ("x-delivery-limit", Value::I32(1)),
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text("dead")),
        ],
    );
    world.declare("dead", &[]);
    let _ = world.publish("", "q", "m");
    give_back(&mut world, REJECT);
    world.pass(100);
    give_back(&mut world, REJECT);
    assert_eq!(numbers(&world), (0, 0));
    assert_eq!(world.get("dead").unwrap().deaths(), ["q delivery_limit 1"]);
}

#[test]
fn a_message_expires_while_it_waits() {
    let mut world = world(
        "all",
        &[
            ("x-message-ttl", Value::I32(120)),
            ("x-dead-letter-exchange", Value::text("")),
            ("x-dead-letter-routing-key", Value::text("dead")),
        ],
    );
    world.declare("dead", &[]);
    let _ = world.publish("", "q", "m");
    world.pass(50);
    give_back(&mut world, NACK);
    world.pass(70);
    assert_eq!((numbers(&world), world.ready("dead")), ((0, 1), 0));
    world.pass(1);
    assert_eq!((numbers(&world), world.ready("dead")), ((0, 0), 1));
    assert_eq!(world.get("dead").unwrap().deaths(), ["q expired 1"]);
}

#[test]
fn delayed_messages_take_room() {
    let overflow = ("x-overflow", Value::text("reject-publish"));
    let mut world = world("all", &[("x-max-length", Value::I32(2)), overflow]);
    for body in ["1", "2"] {
        let _ = world.publish("", "q", body);
    }
    give_back(&mut world, NACK);
    assert_eq!(numbers(&world), (1, 1));
    assert_eq!(world.publish("", "q", "3"), Outcome::Refused);
    world.pass(100);
    assert_eq!(world.drain("q"), ["1", "2"]);
    assert!(matches!(world.publish("", "q", "3"), Outcome::DurableAt(_)));
}

#[test]
fn purging_takes_the_delayed_as_well() {
    let mut world = world("all", &[]);
    for body in ["1", "2"] {
        let _ = world.publish("", "q", body);
    }
    give_back(&mut world, NACK);
    assert_eq!(world.session.purge_queue("q").unwrap(), 2);
    assert_eq!(numbers(&world), (0, 0));
    world.pass(1000);
    let mut world = world.restart();
    assert!(world.get("q").is_none());
}

#[test]
fn a_delay_goes_on_over_a_restart() {
    let mut world = world("all", &[]);
    let _ = world.publish("", "q", "late");
    let _ = world.publish("", "q", "early");
    give_back(&mut world, NACK);
    world.pass(60);
    give_back(&mut world, NACK);
    assert_eq!(numbers(&world), (0, 2));
    world.pass(39);
    let mut world = world.restart();
    world.pass(0);
    assert_eq!(numbers(&world), (0, 2));
    assert_eq!(status(&world).last_delayed_at, Some(Millis(START + 160)));
    world.pass(1);
    assert_eq!(world.drain("q"), ["late"]);
    // Nor does the time stand still while the broker is away.
    world.now += 1000;
    let mut world = world.restart();
    world.pass(0);
    assert_eq!(numbers(&world), (1, 0));
    let got = world.get("q").unwrap();
    assert_eq!((&*got.body, got.entry().deliveries, got.redelivered), ("early", 1, true));
}

#[test]
fn a_delayed_message_does_not_overtake_over_a_restart() {
    let mut world = world("returned", &[]);
    for body in ["1", "2", "3"] {
        let _ = world.publish("", "q", body);
    }
    let first = world.get("q").unwrap();
    give_back(&mut world, NACK);
    world.settle(REJECT, [first]);
    assert_eq!(numbers(&world), (2, 1));
    let mut world = world.restart();
    world.pass(100);
    assert_eq!(world.drain("q"), ["1", "2", "3"]);
}

#[test]
fn policies_delay_and_let_go() {
    let mut world = World::new();
    world.declare("q", &[("x-queue-type", Value::text("quorum"))]);
    let set = |world: &World, kind, definition: &str| {
        let policy = Policy::parse("q", definition).unwrap();
        world
            .broker
            .administration(&Actor::program())
            .put_policy("/", kind, "p", policy, Millis(world.now))
            .unwrap();
    };
    let user = r#"{"delayed-retry-type": "all", "delayed-retry-min": 50, "delayed-retry-max": 90}"#;
    set(&world, PolicyKind::User, user);
    assert_eq!(status(&world).delayed_retry(), "all (min: 50ms, max: 90ms)");
    // Of two, the later beginning, the earlier end and the operator's type.
    let operator = r#"{
        "delayed-retry-type": "failed", "delayed-retry-min": 60, "delayed-retry-max": 80
    }"#;
    set(&world, PolicyKind::Operator, operator);
    assert_eq!(status(&world).delayed_retry(), "failed (min: 60ms, max: 80ms)");
    let _ = world.publish("", "q", "m");
    give_back(&mut world, REJECT);
    assert_eq!(numbers(&world), (0, 1));
    // What waits goes on waiting.
    for kind in [PolicyKind::User, PolicyKind::Operator] {
        world
            .broker
            .administration(&Actor::program())
            .delete_policy("/", kind, "p", Millis(world.now))
            .unwrap();
    }
    assert_eq!(status(&world).delayed_retry(), "disabled");
    assert_eq!(numbers(&world), (0, 1));
    world.pass(60);
    give_back(&mut world, REJECT);
    assert_eq!(numbers(&world), (1, 0));
}

#[test]
fn a_policy_and_arguments_together() {
    let mut world = world("returned", &[]);
    let definition = r#"{"delayed-retry-type": "all", "delayed-retry-min": 70}"#;
    let policy = Policy::parse("q", definition).unwrap();
    world
        .broker
        .administration(&Actor::program())
        .put_policy("/", PolicyKind::User, "p", policy, Millis(world.now))
        .unwrap();
    // The policy's type, and the lower of two times.
    assert_eq!(status(&world).delayed_retry(), "all (min: 70ms, max: 250ms)");
    world.declare("classic", &[]);
    let definition = r#"{"delayed-retry-type": "all", "delayed-retry-min": 70, "message-ttl": 5}"#;
    let policy = Policy::parse("classic", definition).unwrap();
    world
        .broker
        .administration(&Actor::program())
        .put_policy("/", PolicyKind::User, "c", policy, Millis(world.now))
        .unwrap();
    // A classic queue takes from it what it knows.
    let _ = world.publish("", "classic", "m");
    world.pass(6);
    assert_eq!(world.ready("classic"), 0);
}
