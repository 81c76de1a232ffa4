//! What policies do to queues and exchanges, as they are set, changed and cleared.

use leveret_broker::policy::{ApplyTo, Policy, PolicyKind, PolicyRefused};
use leveret_broker::{Actor, Outcome};
use leveret_codec::Value;
use leveret_engine::Millis;
use serde_json::json;

use crate::world::{World, table};

const QUORUM: (&str, Value<'_>) = ("x-queue-type", Value::LongStr(b"quorum"));

impl World {
    /// Sets a policy for all names, of priority 0.
    fn set(&mut self, name: &str, definition: serde_json::Value) {
        self.set_for(name, "", definition);
    }

    fn set_for(&mut self, name: &str, pattern: &str, definition: serde_json::Value) {
        let policy = Policy::parse(pattern, &definition.to_string()).unwrap();
        self.put(PolicyKind::User, name, policy);
    }

    fn put(&mut self, kind: PolicyKind, name: &str, policy: Policy) {
        let now = Millis(self.now);
        let commit = self
            .broker
            .administration(&Actor::program())
            .put_policy("/", kind, name, policy, now)
            .unwrap();
        self.wait(commit.unwrap());
    }

    fn operator(&mut self, name: &str, definition: serde_json::Value) {
        let policy = Policy::parse("", &definition.to_string()).unwrap();
        self.put(PolicyKind::Operator, name, policy);
    }

    fn clear(&mut self, kind: PolicyKind, name: &str) {
        let now = Millis(self.now);
        let commit = self
            .broker
            .administration(&Actor::program())
            .delete_policy("/", kind, name, now)
            .unwrap();
        self.wait(commit.unwrap());
    }

    /// The names of a queue's policies and what they come to.
    fn policies(&self, queue: &str) -> (Option<String>, Option<String>, serde_json::Value) {
        let policies = self.session.vhost().queue(queue).unwrap().policies();
        let name = |policy: Option<&std::sync::Arc<leveret_broker::policy::NamedPolicy>>| {
            policy.map(|policy| policy.name().to_string())
        };
        let definition = policies.effective_definition().into();
        (name(policies.policy()), name(policies.operator_policy()), definition)
    }

    fn fill(&mut self, queue: &str, bodies: &[&str]) {
        for body in bodies {
            let _ = self.publish("", queue, body);
        }
    }
}

#[test]
fn a_time_to_live_is_for_messages_to_come() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.fill("q", &["before"]);
    world.set("ttl", json!({"message-ttl": 100}));
    world.fill("q", &["after"]);
    world.pass(100);
    assert_eq!(world.drain("q"), ["before"]);
    // What came under it keeps its time when it goes.
    world.fill("q", &["mortal"]);
    world.clear(PolicyKind::User, "ttl");
    world.fill("q", &["free"]);
    world.pass(100);
    assert_eq!(world.drain("q"), ["free"]);
}

#[test]
fn the_lower_of_argument_and_policy_holds() {
    let mut world = World::new();
    world.declare("q", &[("x-message-ttl", Value::I32(50)), ("x-max-length", Value::I32(3))]);
    world.set("p", json!({"message-ttl": 100, "max-length": 2}));
    world.fill("q", &["1", "2", "3"]);
    assert_eq!(world.ready("q"), 2);
    world.pass(50);
    assert_eq!(world.ready("q"), 0);
    world.set("p", json!({"message-ttl": 20, "max-length": 9}));
    world.fill("q", &["1", "2", "3", "4"]);
    assert_eq!(world.ready("q"), 3);
    world.pass(20);
    assert_eq!(world.ready("q"), 0);
    // Without the policy it is as declared.
    world.clear(PolicyKind::User, "p");
    world.fill("q", &["1", "2", "3", "4"]);
    assert_eq!(world.ready("q"), 3);
    world.pass(49);
    assert_eq!(world.ready("q"), 3);
    world.pass(1);
    assert_eq!(world.ready("q"), 0);
}

#[test]
fn a_length_limit_holds_at_once_and_dead_letters() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.declare("dead", &[]);
    world.fill("q", &["1", "2", "3"]);
    let definition =
        json!({"max-length": 1, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"});
    world.set_for("p", "^q$", definition);
    assert_eq!(world.drain("dead"), ["1", "2"]);
    assert_eq!(world.drain("q"), ["3"]);
}

#[test]
fn a_limit_in_bytes_holds_at_once() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.fill("q", &["four", "five!", "sixsix"]);
    world.set("p", json!({"max-length-bytes": 11}));
    assert_eq!(world.drain("q"), ["five!", "sixsix"]);
}

/// A limit on a long queue does not stop the broker; ticks bring the queue down.
#[test]
fn a_long_queue_comes_down_to_its_limit() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.declare("dead", &[]);
    for number in 0..3_000 {
        world.stage("", "q", leveret_codec::Properties::default(), &number.to_string());
    }
    world.session.flush(&mut Vec::new());
    world.session.finish();
    let definition =
        json!({"max-length": 10, "dead-letter-exchange": "", "dead-letter-routing-key": "dead"});
    world.set_for("p", "^q$", definition);
    assert_eq!(world.ready("q"), 1976);
    world.pass(0);
    assert_eq!((world.ready("q"), world.ready("dead")), (10, 2_990));
    let dead: Vec<String> = (0..2_990).map(|number| number.to_string()).collect();
    assert_eq!(world.drain("dead"), dead);
}

#[test]
fn overflow_changes_what_gives_way() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.declare("dead", &[]);
    let with = |overflow: &str| {
        json!({
            "max-length": 1, "overflow": overflow, "dead-letter-exchange": "",
            "dead-letter-routing-key": "dead",
        })
    };
    world.set_for("p", "^q$", with("reject-publish"));
    world.fill("q", &["1"]);
    assert_eq!(world.publish("", "q", "2"), Outcome::Refused);
    assert_eq!(world.ready("dead"), 0);
    world.set_for("p", "^q$", with("reject-publish-dlx"));
    assert_eq!(world.publish("", "q", "3"), Outcome::Refused);
    assert_eq!(world.drain("dead"), ["3"]);
    world.set_for("p", "^q$", with("drop-head"));
    assert_ne!(world.publish("", "q", "4"), Outcome::Refused);
    assert_eq!(world.drain("dead"), ["1"]);
    assert_eq!(world.drain("q"), ["4"]);
}

/// RabbitMQ's classic queues prefer their argument, its quorum queues the policy.
#[test]
fn who_wins_over_overflow_depends_on_the_queue_type() {
    let mut world = World::new();
    let overflow = ("x-overflow", Value::LongStr(b"drop-head"));
    world.declare("classic", &[overflow]);
    world.declare("quorum", &[QUORUM, overflow]);
    world.set("p", json!({"max-length": 1, "overflow": "reject-publish"}));
    for (queue, body, outcome) in [("classic", "2", false), ("quorum", "1", true)] {
        world.fill(queue, &["1"]);
        assert_eq!(world.publish("", queue, "2") == Outcome::Refused, outcome, "{queue}");
        assert_eq!(world.drain(queue), [body], "{queue}");
    }
}

#[test]
fn arguments_win_over_words_of_policies() {
    let mut world = World::new();
    for queue in ["own", "policy"] {
        world.declare(queue, &[]);
    }
    let own = [
        ("x-dead-letter-exchange", Value::LongStr(b"")),
        ("x-dead-letter-routing-key", Value::LongStr(b"own")),
    ];
    world.declare("q", &own);
    world.declare("r", &[]);
    let definition = json!({"dead-letter-exchange": "", "dead-letter-routing-key": "policy"});
    world.set_for("p", "^[qr]$", definition);
    for queue in ["q", "r"] {
        world.fill(queue, &[queue]);
        let got = world.get(queue).unwrap();
        world.reject(got);
    }
    assert_eq!(world.drain("own"), ["q"]);
    assert_eq!(world.drain("policy"), ["r"]);
    // A key alone is no dead-lettering.
    world.set_for("p", "^[qr]$", json!({"dead-letter-routing-key": "policy"}));
    world.fill("r", &["lost"]);
    let got = world.get("r").unwrap();
    world.reject(got);
    assert_eq!(world.ready("policy"), 0);
    assert_eq!(world.broker.dead_letter_counts().discarded.rejected, 1);
}

#[test]
fn a_delivery_limit_holds_from_the_next_return_on() {
    let mut world = World::new();
    world.declare("q", &[QUORUM]);
    world.declare("strict", &[QUORUM, ("x-delivery-limit", Value::I32(0))]);
    world.set("p", json!({"delivery-limit": 1}));
    let returns = |world: &mut World, queue: &str| {
        world.fill(queue, &["m"]);
        let mut returns = 0;
        while let Some(got) = world.get(queue) {
            world.requeue(got);
            returns += 1;
            if returns == 50 {
                break;
            }
        }
        world.drain(queue);
        returns
    };
    assert_eq!(returns(&mut world, "q"), 2);
    assert_eq!(returns(&mut world, "strict"), 1);
    world.set("p", json!({"delivery-limit": -1}));
    assert_eq!(returns(&mut world, "q"), 50);
    assert_eq!(returns(&mut world, "strict"), 1);
    world.clear(PolicyKind::User, "p");
    assert_eq!(returns(&mut world, "q"), 21);
}

#[test]
fn unused_queues_begin_a_term_with_the_policy() {
    let mut world = World::new();
    for queue in ["q", "kept"] {
        world.declare(queue, &[]);
    }
    world.pass(1_000);
    world.set_for("p", "^q", json!({"expires": 100}));
    world.pass(99);
    assert!(world.exists("q"));
    // Another term, another beginning.
    world.set_for("p", "^q", json!({"expires": 50}));
    world.pass(49);
    assert!(world.exists("q"));
    // A change of something else is no use.
    world.set_for("p", "^q", json!({"expires": 50, "max-length": 9}));
    world.pass(1);
    assert!(!world.exists("q"));
    world.set_for("p", "^kept", json!({"expires": 50}));
    world.clear(PolicyKind::User, "p");
    world.pass(1_000);
    assert!(world.exists("kept"));
}

#[test]
fn a_queue_type_that_lacks_a_setting_skips_the_policy() {
    let mut world = World::new();
    world.declare("classic", &[]);
    world.declare("quorum", &[QUORUM]);
    world.set("low", json!({"max-length": 5}));
    let limited = Policy::parse("", r#"{"delivery-limit": 3, "max-length": 1}"#).unwrap();
    world.put(PolicyKind::User, "high", Policy { priority: 1, ..limited });
    assert_eq!(world.policies("classic").0.as_deref(), Some("low"));
    assert_eq!(world.policies("quorum").0.as_deref(), Some("high"));
}

#[test]
fn policies_go_to_what_they_are_for() {
    let mut world = World::new();
    world.declare("classic", &[]);
    world.declare("quorum", &[QUORUM]);
    for (apply_to, classic, quorum, exchange) in [
        (ApplyTo::All, true, true, true),
        (ApplyTo::Queues, true, true, false),
        (ApplyTo::ClassicQueues, true, false, false),
        (ApplyTo::QuorumQueues, false, true, false),
        (ApplyTo::Streams, false, false, false),
        (ApplyTo::Exchanges, false, false, true),
    ] {
        let policy = Policy::parse("", r#"{"max-length": 1}"#).unwrap();
        world.put(PolicyKind::User, "p", Policy { apply_to, ..policy });
        let exchange_policies = world.session.vhost().exchange_policies("amq.topic").unwrap();
        let found = [
            world.policies("classic").0.is_some(),
            world.policies("quorum").0.is_some(),
            exchange_policies.policy().is_some(),
        ];
        assert_eq!(found, [classic, quorum, exchange], "{apply_to}");
    }
    assert!(world.session.vhost().exchange_policies("missing").is_none());
}

#[test]
fn operators_stand_beside_users() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.set("p", json!({"max-length": 5, "overflow": "drop-head"}));
    world.operator("cap", json!({"max-length": 2, "expires": 1_000, "overflow": "reject-publish"}));
    assert_eq!(
        world.policies("q"),
        (
            Some("p".to_owned()),
            Some("cap".to_owned()),
            json!({"max-length": 2, "expires": 1_000, "overflow": "reject-publish"})
        )
    );
    world.fill("q", &["1", "2"]);
    assert_eq!(world.publish("", "q", "3"), Outcome::Refused);
    world.clear(PolicyKind::User, "p");
    assert_eq!(world.policies("q").0, None);
    assert_eq!(world.publish("", "q", "4"), Outcome::Refused);
    world.clear(PolicyKind::Operator, "cap");
    assert_eq!(world.policies("q"), (None, None, json!({})));
    assert_ne!(world.publish("", "q", "5"), Outcome::Refused);
}

#[test]
fn queues_and_exchanges_to_come_have_their_policies() {
    let mut world = World::new();
    world.set("p", json!({"max-length": 1, "alternate-exchange": "amq.fanout"}));
    world.declare("q", &[]);
    world.fill("q", &["1", "2"]);
    assert_eq!(world.drain("q"), ["2"]);
    world.declare("late", &[]);
    world.bind("late", "amq.fanout", "");
    world.declare_exchange("x", "direct");
    let _ = world.publish("x", "nowhere", "m");
    assert_eq!(world.drain("late"), ["m"]);
}

#[test]
fn an_alternate_exchange_comes_and_goes() {
    let mut world = World::new();
    for queue in ["one", "other"] {
        world.declare(queue, &[]);
        world.declare_exchange(queue, "fanout");
        world.bind(queue, queue, "");
    }
    world.declare_exchange("x", "direct");
    let own = table(&[("alternate-exchange", Value::LongStr(b"one"))]);
    let declared = leveret_broker::DeclareExchange {
        name: "own",
        kind: "direct",
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: own.as_table(),
    };
    world.session.declare_exchange(declared).unwrap();
    world.declare("direct", &[]);
    // Both ways a route may have been remembered.
    world.bind("direct", "x", "known");
    let _ = world.publish("x", "known", "m");
    world.set_for("p", "", json!({"alternate-exchange": "other"}));
    for exchange in ["x", "own"] {
        let _ = world.publish(exchange, "nowhere", exchange);
    }
    assert_eq!(world.drain("other"), ["x"]);
    assert_eq!(world.drain("one"), ["own"]);
    world.set_for("p", "", json!({"alternate-exchange": "one"}));
    let _ = world.publish("x", "nowhere", "again");
    assert_eq!(world.drain("one"), ["again"]);
    let alternate = |world: &World| {
        world.session.vhost().exchange_policies("x").unwrap().effective_definition()
    };
    assert_eq!(alternate(&world)["alternate-exchange"], "one");
    world.clear(PolicyKind::User, "p");
    assert!(alternate(&world).is_empty());
    world.unroutable("x", "nowhere");
}

impl World {
    fn unroutable(&mut self, exchange: &str, routing_key: &str) {
        let properties = leveret_codec::Properties::default();
        let mut raw_properties = Vec::new();
        properties.encode(&mut raw_properties);
        let publish = leveret_broker::Publish {
            channel: 1,
            exchange,
            routing_key,
            properties: &properties,
            raw_properties: &raw_properties,
            body: leveret_engine::Body::Copy(b"m"),
            replies_to: None,
        };
        let staged = self.session.publish(publish, None).unwrap();
        assert_eq!(staged, leveret_broker::Staged::Unroutable);
    }
}

#[test]
fn policies_survive_a_restart() {
    let mut world = World::new();
    world.declare("q", &[]);
    let limit = Policy::parse("^q", r#"{"max-length": 2, "alternate-exchange": "amq.fanout"}"#);
    let limit = Policy { priority: -7, ..limit.unwrap() };
    world.put(PolicyKind::User, "limit", limit.clone());
    world.set("gone", json!({"max-length": 1}));
    world.clear(PolicyKind::User, "gone");
    world.operator("ops", json!({"expires": 5_000}));
    let expected = world.policies("q");
    let mut world = world.restart();
    assert_eq!(world.policies("q"), expected);
    let vhost = world.session.vhost();
    let stored = vhost.policies(PolicyKind::User);
    assert_eq!(stored.len(), 1);
    assert_eq!((&**stored[0].name(), stored[0].policy()), ("limit", &limit));
    assert!(vhost.policy(PolicyKind::Operator, "ops").is_some());
    world.fill("q", &["1", "2", "3"]);
    assert_eq!(world.drain("q"), ["2", "3"]);
    world.pass(4_999);
    assert!(world.exists("q"));
    world.pass(5_000);
    assert!(!world.exists("q"));
}

#[test]
fn what_is_not_sound_is_refused_and_changes_nothing() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.set("p", json!({"max-length": 1}));
    let now = Millis(world.now);
    let bad = Policy::parse("", r#"{"max-length": -1}"#).unwrap();
    let refused = world.broker.administration(&Actor::program()).put_policy(
        "/",
        PolicyKind::User,
        "p",
        bad.clone(),
        now,
    );
    assert_eq!(refused.unwrap_err().to_string(), "-1 is not a valid maximum length");
    let nowhere = world.broker.administration(&Actor::program()).put_policy(
        "nowhere",
        PolicyKind::User,
        "p",
        bad,
        now,
    );
    assert!(matches!(nowhere, Err(PolicyRefused::Invalid(_))));
    let sound = Policy::parse("", r#"{"max-length": 1}"#).unwrap();
    let nowhere = world.broker.administration(&Actor::program()).put_policy(
        "nowhere",
        PolicyKind::User,
        "p",
        sound,
        now,
    );
    assert_eq!(nowhere.unwrap_err().to_string(), "vhost 'nowhere' not found");
    let missing = world.broker.administration(&Actor::program()).delete_policy(
        "/",
        PolicyKind::Operator,
        "p",
        now,
    );
    assert!(matches!(missing, Err(PolicyRefused::NoSuchPolicy)));
    assert_eq!(world.policies("q").0.as_deref(), Some("p"));
}

/// A queue's consumers look at it each time.
#[test]
fn a_consumer_timeout_follows_the_policy() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.declare("own", &[("x-consumer-timeout", Value::I32(500))]);
    let timeout = |world: &World, queue: &str| {
        let timeout = world.session.vhost().queue(queue).unwrap().consumer_timeout();
        timeout.map(|timeout| timeout.as_millis())
    };
    assert_eq!((timeout(&world, "q"), timeout(&world, "own")), (None, Some(500)));
    world.set("p", json!({"consumer-timeout": 1_000}));
    assert_eq!((timeout(&world, "q"), timeout(&world, "own")), (Some(1_000), Some(500)));
    world.set("p", json!({"consumer-timeout": 100}));
    assert_eq!((timeout(&world, "q"), timeout(&world, "own")), (Some(100), Some(100)));
    world.clear(PolicyKind::User, "p");
    assert_eq!((timeout(&world, "q"), timeout(&world, "own")), (None, Some(500)));
}

/// Or a client could declare thousands of queues in one turn, each of which takes as long as thousands of messages.
#[test]
fn expressions_that_look_around_count_for_the_turn_of_who_declares() {
    let mut world = World::new();
    world.set_for("plain", "^plain", json!({ "max-length": 1 }));
    world.declare("first", &[]);
    world.declare_exchange("first", "direct");
    assert_eq!(world.session.placed(), 0);
    for name in ["one", "two", "three", "four"] {
        world.set_for(name, "^(?!other)never", json!({ "max-length": 1 }));
    }
    world.declare("second", &[]);
    let of_queue = world.session.placed();
    world.declare_exchange("second", "direct");
    let of_both = world.session.placed();
    assert_eq!((of_queue, of_both), (4096, 8192));
    // What is there already is found without them.
    world.declare("second", &[]);
    assert_eq!(world.session.placed(), of_both);
}

/// A text of a few bytes may take a megabyte, and a vhost may have thousands of policies.
#[test]
fn patterns_of_policies_that_take_too_much_memory_together_are_refused() {
    let world = World::new();
    let set = |kind, name: &str, pattern: &str| {
        let policy = Policy::parse(pattern, r#"{"max-length": 1}"#).unwrap();
        let actor = Actor::program();
        let administration = world.broker.administration(&actor);
        administration.put_policy("/", kind, name, policy, Millis(world.now)).map(drop)
    };
    let large = "a{20000}";
    for number in 0..42 {
        set(PolicyKind::User, &number.to_string(), large).unwrap();
    }
    // Those of operators are in the same memory.
    for (kind, what) in [(PolicyKind::User, "policy"), (PolicyKind::Operator, "operator policy")] {
        assert_eq!(
            set(kind, "more", large).unwrap_err().to_string(),
            format!(
                "cannot set {what} 'more' in vhost '/': compiled, the patterns of its policies would take more \
                 than 134217728 bytes"
            )
        );
    }
    set(PolicyKind::User, "7", large).unwrap();
    set(PolicyKind::User, "usual", "^(?!amq\\.).*").unwrap();
    set(PolicyKind::User, "7", "^usual").unwrap();
    set(PolicyKind::Operator, "more", large).unwrap();
}
