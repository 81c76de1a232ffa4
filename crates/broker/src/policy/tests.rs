use leveret_codec::{TableBuf, TableBuilder, Value as Field};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::keys::KEYS;
use super::merge::effective_arguments;
use super::*;
use crate::arguments;

fn named(kind: PolicyKind, name: &str, policy: Policy) -> Arc<NamedPolicy> {
    Arc::new(NamedPolicy::new(kind, name, policy).unwrap())
}

fn refused(kind: PolicyKind, pattern: &str, definition: Value) -> String {
    let policy = Policy::parse(pattern, &definition.to_string());
    let refused = policy.and_then(|policy| NamedPolicy::new(kind, "p", policy));
    refused.map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn values_are_refused_in_rabbitmqs_words() {
    let cases = [
        (json!({}), "no policy provided"),
        (json!([1]), "definition must be a dictionary: [1]"),
        (json!({"foo": 5}), "[{<<\"foo\">>,5}] are not recognised policy settings"),
        (
            json!({"max-priority": 5}),
            "[{<<\"max-priority\">>,5}] are not recognised policy settings",
        ),
        (
            json!({"foo": "x", "bar": null, "expires": 1}),
            "[{<<\"bar\">>,null},{<<\"foo\">>,<<\"x\">>}] are not recognised policy settings",
        ),
        // What is known and wrong comes first.
        (json!({"a": 1, "max-length": "x"}), "<<\"x\">> is not a valid maximum length"),
        (json!({"alternate-exchange": 1}), "1 is not a valid alternate exchange name"),
        (
            json!({"consumer-disconnected-timeout": -1}),
            "-1 is not a valid consumer disconnected timeout",
        ),
        (json!({"consumer-timeout": "1s"}), "<<\"1s\">> is not a valid consumer timeout"),
        (json!({"dead-letter-exchange": 1}), "1 is not a valid dead letter exchange name"),
        (json!({"dead-letter-routing-key": []}), "[] is not a valid dead letter routing key"),
        (
            json!({"dead-letter-strategy": "twice"}),
            "<<\"twice\">> is not a valid dead letter strategy",
        ),
        (
            json!({"delayed-retry-max": 0, "delayed-retry-min": 1}),
            "0 is not a valid delayed retry maximum delay. Must be a positive integer",
        ),
        (
            json!({"delayed-retry-min": "1s"}),
            "<<\"1s\">> is not a valid delayed retry minimum delay. Must be a positive integer",
        ),
        (
            json!({"delayed-retry-type": "some"}),
            "<<\"some\">> is not a valid delayed retry type. Must be one of: all, failed, returned, \
             disabled",
        ),
        (
            json!({"delayed-retry-type": "all", "delayed-retry-max": 5}),
            "delayed-retry-min is required when delayed-retry-type is all",
        ),
        (
            json!({"delayed-retry-min": 10, "delayed-retry-max": 5, "foo": 1}),
            "delayed-retry-max (5) must not be smaller than delayed-retry-min (10)",
        ),
        (json!({"delayed-retry-type": "disabled"}), "accepted"),
        (json!({"delivery-limit": 1.5}), "1.5 is not a valid delivery limit"),
        (json!({"expires": 0}), "0 is not a valid queue expiry"),
        (json!({"initial-cluster-size": -1}), "-1 is not a valid cluster size"),
        (json!({"max-age": "1W"}), "<<\"1W\">> is not a valid max age"),
        (json!({"max-age": "0D"}), "<<\"0D\">> is not a valid max age"),
        (json!({"max-age": 5}), "5 is not a valid max age"),
        (json!({"max-in-memory-bytes": -1}), "-1 is not a valid maximum memory in bytes"),
        (json!({"max-in-memory-length": -1}), "-1 is not a valid maximum memory in bytes"),
        (json!({"max-length": -1}), "-1 is not a valid maximum length"),
        (json!({"max-length-bytes": true}), "true is not a valid maximum length in bytes"),
        (json!({"message-ttl": -1}), "-1 is not a valid message TTL"),
        (json!({"message-ttl": 5.0}), "5.0 is not a valid message TTL"),
        (json!({"overflow": "drop"}), "<<\"drop\">> is not a valid overflow value"),
        (
            json!({"queue-leader-locator": "here"}),
            "<<\"here\">> is not a valid queue leader locator value",
        ),
        (json!({"queue-master-locator": "here"}), "<<\"here\">> is not a valid master locator"),
        (json!({"queue-mode": "eager"}), "<<\"eager\">> is not a valid queue-mode value"),
        (json!({"queue-version": 3}), "3 is not a valid queue-version value"),
        (
            json!({"stream-filter-size-bytes": 15}),
            "15 is not a valid filter size. Valid range is 16-255",
        ),
        (
            json!({"stream-max-segment-size-bytes": 3_000_000_001_u64}),
            "3000000001 is not a valid segment size",
        ),
        (json!({"target-group-size": 0}), "0 is not a valid qq target count value"),
    ];
    for (definition, text) in cases {
        assert_eq!(refused(PolicyKind::User, "", definition), text);
    }
}

#[test]
fn every_setting_takes_what_it_is_for() {
    let definition = json!({
        "alternate-exchange": "x", "consumer-disconnected-timeout": 0, "consumer-timeout": 0,
        "dead-letter-exchange": "", "dead-letter-routing-key": "",
        "dead-letter-strategy": "at-least-once", "delayed-retry-max": 2, "delayed-retry-min": 1,
        "delayed-retry-type": "failed", "delivery-limit": -1, "expires": 1,
        "ha-mode": "exactly", "ha-params": 2, "ha-promote-on-failure": "always",
        "ha-promote-on-shutdown": "when-synced", "ha-sync-batch-size": 1,
        "ha-sync-mode": "automatic", "initial-cluster-size": 0, "max-age": "10M",
        "max-in-memory-bytes": 0, "max-in-memory-length": 0, "max-length": 0,
        "max-length-bytes": 0, "message-ttl": 0, "overflow": "reject-publish-dlx",
        "queue-leader-locator": "balanced", "queue-master-locator": "min-masters",
        "queue-mode": "lazy", "queue-version": 2, "stream-filter-size-bytes": 16,
        "stream-max-segment-size-bytes": 0, "target-group-size": 1,
    });
    let names: Vec<&String> = definition.as_object().unwrap().keys().collect();
    assert_eq!(names, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
    assert_eq!(refused(PolicyKind::User, "", definition), "accepted");
}

#[test]
fn operators_have_fewer_settings() {
    for key in KEYS {
        let expected = [
            "delayed-retry-max",
            "delayed-retry-min",
            "delayed-retry-type",
            "delivery-limit",
            "expires",
            "max-in-memory-bytes",
            "max-in-memory-length",
            "max-length",
            "max-length-bytes",
            "message-ttl",
            "overflow",
            "queue-version",
            "target-group-size",
        ];
        let allowed = expected.contains(&key.name) || key.name.starts_with("ha-");
        assert_eq!(key.is_for_operators(), allowed, "{}", key.name);
    }
    assert_eq!(
        refused(PolicyKind::Operator, "", json!({"dead-letter-exchange": "x"})),
        "[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings"
    );
}

#[test]
fn patterns_are_checked() {
    let ttl = || json!({"message-ttl": 1});
    assert_eq!(refused(PolicyKind::User, "^(?!amq\\.).*", ttl()), "accepted");
    assert_eq!(
        refused(PolicyKind::User, "(", ttl()),
        "pattern should be regular expression but is invalid: unclosed group"
    );
    assert_eq!(
        refused(PolicyKind::User, &"a".repeat(20_000), ttl()),
        "pattern must not exceed 16384 bytes"
    );
}

#[test]
fn json_comes_and_goes() {
    let json = json!({
        "pattern": "^q", "apply-to": "quorum_queues", "priority": -3,
        "definition": {"max-length": 5},
    });
    let policy = Policy::from_json("p", &json).unwrap();
    assert_eq!(policy.apply_to, ApplyTo::QuorumQueues);
    assert_eq!(policy.to_json(), json);
    let least = json!({"pattern": "", "definition": {}});
    let policy = Policy::from_json("p", &least).unwrap();
    assert_eq!((policy.apply_to, policy.priority), (ApplyTo::All, 0));
    for (json, text) in [
        (json!({"definition": {}}), "Key \"pattern\" not found in p"),
        (json!({"pattern": ""}), "Key \"definition\" not found in p"),
        (json!({"pattern": 1, "definition": {}}), "pattern should be a binary but was 1"),
        (json!({"pattern": "", "definition": 1}), "definition must be a dictionary: 1"),
        (
            json!({"pattern": "", "definition": {}, "priority": "x"}),
            "priority should be a number, actually was <<\"x\">>",
        ),
        (
            json!({"pattern": "", "definition": {}, "apply-to": "topics"}),
            "apply-to 'topics' unrecognised; should be one of: 'queues', 'classic_queues',  \
             'quorum_queues', 'streams', 'exchanges', or 'all'",
        ),
        (
            json!({"pattern": "", "definition": {}, "what": 1}),
            "Unrecognised terms [{<<\"what\">>,1}] in p",
        ),
    ] {
        assert_eq!(Policy::from_json("p", &json).unwrap_err().to_string(), text);
    }
    assert!(Policy::parse("", "{").unwrap_err().to_string().starts_with("Could not parse JSON"));
}

/// Values of settings, sound ones.
fn value(key: &'static str) -> BoxedStrategy<Value> {
    let number = |range: std::ops::Range<i64>| range.prop_map(Value::from).boxed();
    match key {
        "delivery-limit" => number(-3..8),
        "delayed-retry-max" | "delayed-retry-min" | "expires" | "target-group-size" => number(1..8),
        "delayed-retry-type" => {
            select(vec!["all", "failed", "returned", "disabled"]).prop_map(Value::from).boxed()
        }
        "queue-version" => number(1..3),
        "stream-filter-size-bytes" => number(16..20),
        "message-ttl" => prop_oneof![0..8_i64, Just(i64::MAX)].prop_map(Value::from).boxed(),
        "overflow" => select(vec!["drop-head", "reject-publish", "reject-publish-dlx"])
            .prop_map(Value::from)
            .boxed(),
        "dead-letter-strategy" => {
            select(vec!["at-most-once", "at-least-once"]).prop_map(Value::from).boxed()
        }
        "queue-leader-locator" | "queue-master-locator" => Just(json!("client-local")).boxed(),
        "queue-mode" => Just(json!("lazy")).boxed(),
        "max-age" => Just(json!("1D")).boxed(),
        "alternate-exchange" | "dead-letter-exchange" | "dead-letter-routing-key" => {
            select(vec!["a", "b"]).prop_map(Value::from).boxed()
        }
        _ => number(0..8),
    }
}

fn key(kind: PolicyKind) -> impl Strategy<Value = &'static str> {
    let of_kind = move |key: &&keys::Key| kind == PolicyKind::User || key.is_for_operators();
    select(KEYS.iter().filter(of_kind).map(|key| key.name).collect::<Vec<_>>())
}

fn definition(kind: PolicyKind) -> impl Strategy<Value = Map<String, Value>> {
    let entry = key(kind).prop_flat_map(|name| value(name).prop_map(move |value| (name, value)));
    vec(entry, 1..6).prop_map(|entries| {
        let mut definition: Map<String, Value> =
            entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        // Those of delayed retry go together.
        if definition.contains_key("delayed-retry-type") {
            definition.entry("delayed-retry-min").or_insert(json!(1));
        }
        let number = |name| definition.get(name).and_then(Value::as_i64);
        if number("delayed-retry-max") < number("delayed-retry-min") {
            definition.remove("delayed-retry-max");
        }
        definition
    })
}

fn policy(kind: PolicyKind) -> impl Strategy<Value = Policy> {
    let pattern = select(vec!["", ".*", "^a", "b$", "^ab$", "^(?!a)", "x"]);
    (pattern, select(ApplyTo::ALL.to_vec()), 0..4_i64, definition(kind)).prop_map(
        |(pattern, apply_to, priority, definition)| Policy {
            pattern: pattern.to_owned(),
            apply_to,
            priority,
            definition,
        },
    )
}

/// Whether a pattern of [`policy`] is found in a name of [`NAMES`], without a regular expression.
fn is_found(pattern: &str, name: &str) -> bool {
    match pattern {
        "" | ".*" => true,
        "^a" => name.starts_with('a'),
        "b$" => name.ends_with('b'),
        "^ab$" => name == "ab",
        "^(?!a)" => !name.starts_with('a'),
        other => name.contains(other),
    }
}

const NAMES: [&str; 5] = ["", "a", "ab", "b", "cxb"];
const TYPES: [QueueType; 3] = [QueueType::Classic, QueueType::Quorum, QueueType::Stream];

/// Settings RabbitMQ's queue types don't take, as they list them.
fn unsupported(queue_type: QueueType) -> &'static [&'static str] {
    match queue_type {
        QueueType::Classic => &[
            "max-age",
            "stream-max-segment-size-bytes",
            "initial-cluster-size",
            "delivery-limit",
            "dead-letter-strategy",
            "max-in-memory-length",
            "max-in-memory-bytes",
            "target-group-size",
        ],
        QueueType::Quorum => &[
            "queue-mode",
            "ha-mode",
            "ha-params",
            "ha-sync-mode",
            "ha-promote-on-shutdown",
            "ha-promote-on-failure",
            "queue-master-locator",
            "max-age",
            "stream-max-segment-size-bytes",
            "initial-cluster-size",
        ],
        QueueType::Stream => &[
            "dead-letter-exchange",
            "dead-letter-routing-key",
            "dead-letter-strategy",
            "delivery-limit",
            "expires",
            "ha-mode",
            "ha-params",
            "ha-promote-on-failure",
            "ha-promote-on-shutdown",
            "ha-sync-mode",
            "max-in-memory-bytes",
            "max-in-memory-length",
            "max-length",
            "message-ttl",
            "overflow",
            "queue-master-locator",
            "queue-mode",
            "target-group-size",
        ],
    }
}

#[test]
fn queue_types_skip_what_they_skip_in_rabbitmq() {
    for key in KEYS {
        for queue_type in TYPES {
            let skipped = unsupported(queue_type).contains(&key.name);
            assert_eq!(key.meaning(queue_type) == keys::Meaning::Skipped, skipped, "{}", key.name);
        }
    }
}

fn name_of(policy: Option<&Arc<NamedPolicy>>) -> Option<&str> {
    policy.map(|policy| &**policy.name())
}

/// The policy RabbitMQ's rules choose, found the long way.
fn chosen<'a>(
    policies: &'a [(String, Policy)],
    name: &str,
    queue_type: Option<QueueType>,
) -> Option<&'a str> {
    let applies = |policy: &Policy| {
        let covered = match (policy.apply_to, queue_type) {
            (ApplyTo::All, _) => true,
            (ApplyTo::Exchanges, queue_type) => queue_type.is_none(),
            (ApplyTo::Queues, queue_type) => queue_type.is_some(),
            (ApplyTo::ClassicQueues, queue_type) => queue_type == Some(QueueType::Classic),
            (ApplyTo::QuorumQueues, queue_type) => queue_type == Some(QueueType::Quorum),
            (ApplyTo::Streams, queue_type) => queue_type == Some(QueueType::Stream),
        };
        let taken = queue_type.is_none_or(|queue_type| {
            policy.definition.keys().all(|key| !unsupported(queue_type).contains(&key.as_str()))
        });
        covered && taken && is_found(&policy.pattern, name)
    };
    let mut matching: Vec<_> = policies.iter().filter(|(_, policy)| applies(policy)).collect();
    matching.sort_by_key(|(name, policy)| (-policy.priority, name));
    matching.first().map(|(name, _)| name.as_str())
}

proptest! {
    #[test]
    fn the_highest_priority_wins(
        users in btree_map("[a-e]", policy(PolicyKind::User), 0..6),
        operators in btree_map("[a-e]", policy(PolicyKind::Operator), 0..4),
        removed in option::of("[a-e]"),
    ) {
        let mut set = PolicySet::default();
        let mut models = [Vec::new(), Vec::new()];
        for (kind, policies, model) in [
            (PolicyKind::User, users, 0),
            (PolicyKind::Operator, operators, 1),
        ] {
            for (name, policy) in policies {
                // One of its name is replaced.
                let other = Policy::parse("x", r#"{"expires": 1}"#).unwrap();
                set.insert(kind, named(kind, &name, Policy { priority: 9, ..other }));
                set.insert(kind, named(kind, &name, policy.clone()));
                models[model].push((name, policy));
            }
        }
        if let Some(removed) = removed {
            let was_there = models[0].iter().any(|(name, _)| *name == removed);
            prop_assert_eq!(set.remove(PolicyKind::User, &removed), was_there);
            models[0].retain(|(name, _)| *name != removed);
        }
        for name in NAMES {
            for queue_type in TYPES {
                let applied = set.of_queue(name, queue_type);
                let [user, operator] =
                    [0, 1].map(|model| chosen(&models[model], name, Some(queue_type)));
                prop_assert_eq!(name_of(applied.policy()), user);
                prop_assert_eq!(name_of(applied.operator_policy()), operator);
            }
            let applied = set.of_exchange(name);
            prop_assert_eq!(name_of(applied.policy()), chosen(&models[0], name, None));
            prop_assert!(applied.operator_policy().is_none());
        }
    }

    #[test]
    fn operators_bound_users(
        user in definition(PolicyKind::User),
        operator in definition(PolicyKind::Operator),
    ) {
        let merged = merge::definitions(&user, &operator);
        let names = |definition: &Map<String, Value>| {
            definition.keys().cloned().collect::<std::collections::BTreeSet<_>>()
        };
        prop_assert_eq!(names(&merged), &names(&user) | &names(&operator));
        for (name, value) in &merged {
            let (own, theirs) = (user.get(name), operator.get(name));
            let expected = match (own, theirs) {
                (Some(own), None) => own.clone(),
                (None, Some(theirs)) => theirs.clone(),
                (Some(own), Some(theirs)) => {
                    let numbers = own.as_i64().zip(theirs.as_i64());
                    match (name.as_str(), numbers) {
                        ("delivery-limit", Some((own, theirs))) => json!(limit(own, theirs)),
                        ("delayed-retry-min" | "target-group-size", Some((own, theirs))) => {
                            json!(own.max(theirs))
                        }
                        ("queue-version", _) => theirs.clone(),
                        (name, Some((own, theirs))) if !name.starts_with("ha-") => {
                            json!(own.min(theirs))
                        }
                        _ => theirs.clone(),
                    }
                }
                (None, None) => unreachable!("it comes from one of them"),
            };
            prop_assert_eq!(value, &expected, "{}", name);
        }
    }

    /// Whatever is accepted alone is accepted together, and each setting is what the rules say.
    #[test]
    fn arguments_and_policies_merge(
        definition in definition(PolicyKind::User),
        arguments in btree_map(key(PolicyKind::User), 0..8_i64, 0..5),
        queue_type in select(TYPES.as_slice()),
    ) {
        let takes = |name: &str| !unsupported(queue_type).contains(&name);
        prop_assume!(definition.keys().all(|name| takes(name)));
        let arguments = declared(&arguments, queue_type);
        prop_assume!(arguments::settings(arguments.as_table(), "q", "/").is_ok());
        let merged = effective_arguments(arguments.as_table(), queue_type, &definition);
        let settings = arguments::settings(merged.as_table(), "q", "/");
        prop_assert!(settings.is_ok(), "{:?}", settings.err());

        let of = |table: &TableBuf, name: &str| {
            table.as_table().get(&format!("x-{name}")).map(|field| match field.as_integer() {
                Some(number) => Value::from(i64::try_from(number).unwrap()),
                None => Value::from(field.as_str().unwrap()),
            })
        };
        for name in settings_of(queue_type) {
            if !takes(name) {
                continue;
            }
            let own = of(&arguments, name);
            let policy = definition.get(*name).cloned().map(|value| match (*name, value.as_i64()) {
                ("message-ttl" | "expires", Some(span)) => json!(span.min(315_360_000_000)),
                _ => value,
            });
            let expected = match (own, policy) {
                (Some(_), Some(policy)) if queue_type == QueueType::Stream => Some(policy),
                (Some(own), Some(policy)) => Some(match (*name, own.as_i64(), policy.as_i64()) {
                    ("delivery-limit", Some(own), Some(policy)) => json!(limit(own, policy)),
                    (_, Some(own), Some(policy)) => json!(own.min(policy)),
                    ("delayed-retry-type" | "overflow", ..) if queue_type == QueueType::Quorum => {
                        policy
                    }
                    _ => own,
                }),
                (own, policy) => own.or(policy),
            };
            let alone = *name == "dead-letter-routing-key" && of(&merged, "dead-letter-exchange").is_none();
            let expected = expected.filter(|_| !alone);
            prop_assert_eq!(of(&merged, name), expected, "{}", name);
        }
    }
}

/// The settings of classic queues a policy can change.
const SETTINGS: [&str; 8] = [
    "consumer-timeout",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "expires",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
];

/// And those of quorum queues only.
const QUORUM_SETTINGS: [&str; 13] = [
    "consumer-timeout",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "delayed-retry-max",
    "delayed-retry-min",
    "delayed-retry-type",
    "delivery-limit",
    "expires",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
];

/// The settings of streams a policy can change.
const STREAM_SETTINGS: [&str; 4] =
    ["max-age", "max-length-bytes", "stream-filter-size-bytes", "stream-max-segment-size-bytes"];

fn settings_of(queue_type: QueueType) -> &'static [&'static str] {
    match queue_type {
        QueueType::Classic => &SETTINGS,
        QueueType::Quorum => &QUORUM_SETTINGS,
        QueueType::Stream => &STREAM_SETTINGS,
    }
}

fn limit(one: i64, other: i64) -> i64 {
    if one < 0 || other < 0 { one.max(other) } else { one.min(other) }
}

/// Arguments of a declaration, with numbers for values or words in their place.
fn declared(
    entries: &std::collections::BTreeMap<&'static str, i64>,
    queue_type: QueueType,
) -> TableBuf {
    let table = TableBuilder::new().put("x-queue-type", queue_type.as_str());
    let settings = settings_of(queue_type);
    let table = entries.iter().filter(|(name, _)| settings.contains(name)).fold(
        table,
        |table, (name, number)| {
            let word = match *name {
                "dead-letter-exchange" | "dead-letter-routing-key" => Some("own"),
                "dead-letter-strategy" => Some("at-most-once"),
                "overflow" => Some("reject-publish"),
                "delayed-retry-type" => Some("failed"),
                "max-age" => Some("3h"),
                _ => None,
            };
            let number = if *name == "delivery-limit" { number - 3 } else { *number };
            let field = word.map_or(Field::I64(number), Field::text);
            table.put(&format!("x-{name}"), field)
        },
    );
    table.build()
}
