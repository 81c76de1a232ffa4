//! What spreads messages by their hash: how evenly, and how little moves when bindings change.

use std::collections::{BTreeMap, BTreeSet};

use leveret_codec::TableBuilder;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ids::QueueId;

fn consistent(weights: &[u32]) -> ConsistentIndex {
    let mut index = ConsistentIndex::new(HashOn::RoutingKeys);
    for (number, &weight) in (0..).zip(weights) {
        index.insert(share(number, weight), BindingId::of(number));
    }
    index
}

fn share(queue: u32, weight: u32) -> Share {
    let name = format!("queue {queue}");
    let destination = Destination::Queue(QueueId(u64::from(queue)));
    Share::new(destination, DestinationName::Queue(&name), weight)
}

fn chosen(index: &ConsistentIndex, key: &str) -> Option<BindingId> {
    index.choose(&[key], &Properties::default(), &mut Steps::default())
}

fn keys() -> impl Iterator<Item = String> {
    (0..20_000).map(|number| format!("key.{number}"))
}

#[test]
fn messages_are_spread_by_weight() {
    for weights in [&[1, 1, 1, 1][..], &[1, 2, 3], &[100, 300], &[1, 9]] {
        let index = consistent(weights);
        let mut counts = vec![0.0; weights.len()];
        for key in keys() {
            let id = chosen(&index, &key).unwrap();
            let place = index.bindings.as_slice().iter().position(|&other| other == id);
            counts[place.unwrap()] += 1.0;
        }
        let (all, weight) = (counts.iter().sum::<f64>(), f64::from(weights.iter().sum::<u32>()));
        for (count, &share) in counts.iter().zip(weights) {
            let (expected, found) = (f64::from(share) / weight, count / all);
            assert!((expected - found).abs() < 0.02, "{weights:?} {counts:?}");
        }
    }
}

#[test]
fn a_second_weight_waits_until_the_first_is_gone() {
    let mut index = ConsistentIndex::new(HashOn::RoutingKeys);
    index.insert(share(0, 1), BindingId::of(0));
    index.insert(share(1, 1), BindingId::of(1));
    index.insert(share(0, 1000), BindingId::of(2));
    let to = |index: &ConsistentIndex, id| {
        keys().filter(|key| chosen(index, key) == Some(BindingId::of(id))).count()
    };
    assert!((9_500..10_500).contains(&to(&index, 0)));
    assert_eq!(to(&index, 2), 0);
    index.remove(0);
    assert!(to(&index, 2) > 19_900);
}

#[test]
fn what_is_hashed_is_what_was_asked_for() {
    let headers = |value: Value<'static>| TableBuilder::new().put("h", value).build();
    let (one, same, other) = (headers(1.into()), headers(Value::I64(1)), headers("1".into()));
    let of = |on: &HashOn, properties: Properties<'_>| on.of(&["k"], &properties);
    let with = |headers| Properties { headers: Some(headers), ..Properties::default() };

    let on = HashOn::Header("h".into());
    let none = of(&on, Properties::default());
    assert_eq!(of(&on, with(one.as_table())), of(&on, with(same.as_table())));
    assert_ne!(of(&on, with(one.as_table())), of(&on, with(other.as_table())));
    assert_ne!(of(&on, with(one.as_table())), none);

    let (a, b) = (Some(&b"a"[..]), Some(&b"b"[..]));
    let id = |message_id| Properties { message_id, ..Properties::default() };
    let on = HashOn::Property(HashProperty::MessageId);
    assert_ne!(of(&on, id(a)), of(&on, id(b)));
    assert_eq!(of(&on, id(a)), of(&on, Properties { correlation_id: b, ..id(a) }));
    let on = HashOn::Property(HashProperty::CorrelationId);
    assert_ne!(of(&on, Properties { correlation_id: b, ..id(a) }), of(&on, id(a)));
    let on = HashOn::Property(HashProperty::Timestamp);
    let at = |timestamp| Properties { timestamp, ..Properties::default() };
    assert_ne!(of(&on, at(Some(1))), of(&on, at(Some(2))));
    assert_ne!(of(&on, at(Some(0))), of(&on, at(None)));
}

/// What is spread by it stays where it was: a change of the hash must not go unnoticed.
#[test]
fn the_hash_stays_the_same() {
    // FNV-1a's published test vectors.
    assert_eq!(StableHash::default().bytes(b"a").0, 0xaf63_dc4c_8601_ec8c);
    assert_eq!(StableHash::default().bytes(b"foobar").0, 0x8594_4171_f739_67e8);
    assert_ne!(hash_of_keys(&["a", "b"]), hash_of_keys(&["ab"]));
}

#[test]
fn random_choices_are_even_and_differ_between_exchanges() {
    let bindings: Vec<_> = (0..4).map(BindingId::of).collect();
    let mut counts = BTreeMap::new();
    let mut agree = 0;
    for drawn in 0..8_000 {
        let id = choose_random(&bindings, drawn, 7).unwrap();
        *counts.entry(id).or_insert(0) += 1;
        agree += u32::from(choose_random(&bindings, drawn, 8) == Some(id));
    }
    assert!(counts.values().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
    assert!((1_800..2_200).contains(&agree), "{agree}");
    assert_eq!(choose_random(&[], 1, 1), None);
}

#[derive(Clone, Debug)]
enum Step {
    Bind { queue: u32, weight: u32 },
    Unbind(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_u32, 1..5_u32).prop_map(|(queue, weight)| Step::Bind { queue, weight }),
        2 => any::<usize>().prop_map(Step::Unbind),
    ]
}

proptest! {
    /// Whatever the history, only what a destination wins or loses moves, and what is left counts
    /// as if it had been bound like that from the start.
    #[test]
    fn only_what_has_to_move_moves(steps in vec(step(), 1..40)) {
        let mut index = ConsistentIndex::new(HashOn::RoutingKeys);
        // In order of age: queue, weight, binding.
        let mut model: Vec<(u32, u32, BindingId)> = Vec::new();
        let mut next = 0;
        let some_keys: Vec<_> = keys().take(50).collect();
        let routes = |index: &ConsistentIndex, model: &[(u32, u32, BindingId)]| -> Vec<_> {
            let queue = |id| model.iter().find(|row| row.2 == id).map(|row| row.0);
            some_keys.iter().map(|key| chosen(index, key).and_then(queue)).collect()
        };
        for step in steps {
            let before = routes(&index, &model);
            let changed = match step {
                Step::Bind { queue, weight } => {
                    let id = BindingId::of(next);
                    next += 1;
                    index.insert(share(queue, weight), id);
                    model.push((queue, weight, id));
                    queue
                }
                Step::Unbind(place) if !model.is_empty() => {
                    let ids = index.bindings.as_slice();
                    let place = place % ids.len();
                    let id = ids[place];
                    index.remove(u32::try_from(place).unwrap());
                    let row = model.iter().position(|row| row.2 == id).unwrap();
                    model.remove(row).0
                }
                Step::Unbind(_) => continue,
            };
            prop_assert_eq!(index.places.len(), index.shares.len());
            for (place, share) in (0..).zip(&index.shares) {
                prop_assert_eq!(index.places.get(&share.identity()), Some(&place));
            }
            let after = routes(&index, &model);
            for (before, after) in before.iter().zip(&after) {
                let moved = before != after;
                prop_assert!(!moved || *before == Some(changed) || *after == Some(changed));
            }
            let mut afresh = ConsistentIndex::new(HashOn::RoutingKeys);
            model.iter().for_each(|&(queue, weight, id)| {
                afresh.insert(share(queue, weight), id);
            });
            prop_assert_eq!(after, routes(&afresh, &model));
        }
    }

    #[test]
    fn modulus_counts_distinct_destinations_by_name(steps in vec((0..5_u32, any::<bool>()), 1..40)) {
        let mut index = ModulusIndex::default();
        let mut model: Vec<(u32, BindingId)> = Vec::new();
        for (number, (queue, bind)) in (0..).zip(steps) {
            let name = queue.to_string();
            if bind {
                let id = BindingId::of(number);
                index.insert(Target::new(DestinationName::Queue(&name)), id);
                model.push((queue, id));
            } else if let Some(row) = model.iter().position(|row| row.0 == queue) {
                let (_, id) = model.remove(row);
                let place = index.bindings.as_slice().iter().position(|&other| other == id);
                index.remove(u32::try_from(place.unwrap()).unwrap());
            }
            let queues: BTreeSet<_> = model.iter().map(|row| row.0).collect();
            for key in keys().take(20) {
                let number = hash_of_keys(&[&key]).finish();
                let place = number.checked_rem(queues.len() as u64);
                let expected = place.and_then(|at| queues.iter().nth(usize::try_from(at).unwrap()));
                let found = index.choose(&[&key], &mut Steps::default());
                let found = found.map(|id| model.iter().find(|row| row.1 == id).unwrap().0);
                prop_assert_eq!(found, expected.copied());
            }
        }
    }
}
