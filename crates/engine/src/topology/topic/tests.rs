use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::histories::histories;

/// What RabbitMQ 4.3.6 answered: a mark for each of [`KEYS`].
const ANSWERS: [(&str, &str); 19] = [
    ("#", "# # # # # # # # # # # #"),
    ("*", ". # . . . . . . # # # #"),
    ("a.#", ". # # # . # . # . . . ."),
    ("#.b", ". . # . . . . # . . # ."),
    ("a.*", ". . # . . # . . . . . ."),
    ("*.b", ". . # . . . . . . . . ."),
    ("a.#.c", ". . . # . . . . . . . ."),
    ("", "# . . . . . . . . . . ."),
    ("#.#", "# # # # # # # # # # # #"),
    ("*.#", ". # # # # # # # # # # #"),
    ("#.*", ". # # # # # # # # # # #"),
    ("a.*.#", ". . # # . # . # . . . ."),
    (".", ". . . . # . . . . . . ."),
    ("*.*", ". . # . # # # . . . . ."),
    ("a..b", ". . . . . . . # . . . ."),
    ("a.*.b", ". . . . . . . # . . . ."),
    ("#.a.#", ". # # # . # # # . . . ."),
    ("a#", ". . . . . . . . . . . ."),
    ("*.", ". . . . # # . . . . . ."),
];

const KEYS: [&str; 12] = ["", "a", "a.b", "a.b.c", ".", "a.", ".a", "a..b", "*", "#", "b", "aa"];

#[test]
fn corner_cases_are_answered_as_by_rabbitmq() {
    for (pattern, answer) in ANSWERS {
        let (index, _) = index_of(&[pattern]);
        let got = KEYS.map(|key| if matching(&index, key).is_empty() { "." } else { "#" });
        assert_eq!(got.join(" "), answer, "{pattern:?}");
    }
    let (index, _) = index_of(&["a#"]);
    assert_eq!(matching(&index, "a#").len(), 1, "a literal word");
}

#[test]
fn the_trie_is_empty_again_after_all_bindings_went() {
    let patterns = ANSWERS.map(|(pattern, _)| pattern);
    let (mut index, places) = index_of(&patterns);
    for (pattern, place) in patterns.into_iter().zip(places).rev() {
        assert_eq!(index.remove(pattern, place), None);
    }
    assert_eq!(index.node_count(), 1);
    assert!(index.children.is_empty());
}

/// Nodes get other numbers when those between them go.
#[test]
fn few_bindings_of_many_keep_little_room() {
    let keys: Vec<String> = (0..3000).map(|number| format!("{number}.*.#.b{number}")).collect();
    let (mut index, places) = index_of(&keys);
    let stays = |number: usize| number % 500 == 7;
    for (number, (key, place)) in keys.iter().zip(places).enumerate().rev() {
        if !stays(number) {
            index.remove(key, place);
        }
    }
    assert_eq!(index.node_count(), 1 + 6 * 4);
    assert!(index.nodes.capacity() <= 128, "{}", index.nodes.capacity());
    assert!(index.children.capacity() <= 128, "{}", index.children.capacity());
    for number in 0..keys.len() {
        let found = matching(&index, &format!("{number}.a.c.d.b{number}"));
        assert_eq!(found.len(), usize::from(stays(number)), "{number}");
    }
    index.insert("7.*.#.b8", BindingId::of(9999));
    assert_eq!(matching(&index, "7.x.b8"), [BindingId::of(9999)]);
    assert_eq!(matching(&index, "7.x.b7").len(), 1);
    assert_eq!(index.node_count(), 2 + 6 * 4, "it shares the way of the other");
}

/// If each way to a node were gone, this would take longer than the universe has existed.
#[test]
fn many_hashes_do_not_explode() {
    let pattern = vec!["#.a"; 60].join(".");
    let (index, _) = index_of(&[&pattern, &format!("{pattern}.b")]);
    let key = vec!["a"; 120].join(".");
    assert_eq!(matching(&index, &key).len(), 1);
    let (mut scratch, words, nodes) = (Scratch::default(), 120, 122);
    let mut steps = Steps::up_to(words * nodes);
    index.for_each_match(&key, &mut scratch, &mut steps, |_| {}).unwrap();
    assert!(scratch.many.len() + scratch.reached.len() <= nodes, "{scratch:?}");
    assert!(scratch.repeated.len() <= nodes, "{scratch:?}");
}

#[test]
fn steps_have_a_bound() {
    let (index, _) = index_of(&["a.b", "a.*", "#"]);
    let walk = |steps_max| {
        let mut steps = Steps::up_to(steps_max);
        index.for_each_match("a.b", &mut Scratch::default(), &mut steps, |_| {})
    };
    // The root with `a`, its child with `b`.
    assert_eq!(walk(2), Ok(()));
    assert_eq!(walk(1), Err(TooManySteps(1)));
}

/// It is gone through with each look.
#[test]
fn a_long_word_takes_more_steps() {
    let (index, _) = index_of(&["#.a", "#.b.a"]);
    let walk = |steps_max| {
        let (word, mut steps) = ("w".repeat(1000), Steps::up_to(steps_max));
        index.for_each_match(&word, &mut Scratch::default(), &mut steps, |_| {})
    };
    // The root and its `#`.
    assert_eq!(walk(8), Ok(()));
    assert_eq!(walk(7), Err(TooManySteps(7)));
}

proptest! {
    #![proptest_config(histories(2_000))]

    #[test]
    fn the_trie_agrees_with_a_recursive_matcher(
        patterns in vec(pattern(), 0..24),
        keys in vec(key(), 1..12),
        removed in vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let (mut index, _) = index_of(&patterns);
        let mut live = by_key(&patterns);
        for at in removed {
            compare(&index, &live, &keys)?;
            let Some(key) = live.keys().nth(at.index(live.len().max(1))).cloned() else { break };
            // Taking out the first of a list moves its last one there, as in a BindingList.
            let list = live.get_mut(&key).unwrap();
            list.swap_remove(0);
            prop_assert_eq!(index.remove(&key, 0), list.first().copied());
            live.retain(|_, list| !list.is_empty());
        }
        compare(&index, &live, &keys)?;
        for (key, list) in live {
            list.iter().for_each(|_| { index.remove(&key, 0); });
        }
        prop_assert_eq!(index.node_count(), 1);
    }
}

type ByKey = std::collections::BTreeMap<String, Vec<BindingId>>;

fn compare(index: &TopicIndex, live: &ByKey, keys: &[String]) -> Result<(), TestCaseError> {
    for key in keys {
        let mut expected: Vec<_> = live
            .iter()
            .filter(|(pattern, _)| naive_match(pattern, key))
            .flat_map(|(_, list)| list.iter().copied())
            .collect();
        expected.sort_unstable();
        let got = matching(index, key);
        prop_assert_eq!(got, expected, "key {:?}, patterns {:?}", key, live.keys());
    }
    Ok(())
}

fn by_key(patterns: &[String]) -> ByKey {
    let mut live = ByKey::new();
    for (number, pattern) in (0..).zip(patterns) {
        let mut pattern = pattern.clone();
        while pattern.contains("#.#") {
            pattern = pattern.replace("#.#", "#");
        }
        live.entry(pattern).or_default().push(BindingId::of(number));
    }
    live
}

fn index_of(patterns: &[impl AsRef<str>]) -> (TopicIndex, Vec<u32>) {
    let mut index = TopicIndex::default();
    let insert = |(number, pattern): (u32, &_)| {
        index.insert(AsRef::<str>::as_ref(pattern), BindingId::of(number))
    };
    let places = (0..).zip(patterns).map(insert).collect();
    (index, places)
}

/// The matching bindings; each may be reported once only.
fn matching(index: &TopicIndex, key: &str) -> Vec<BindingId> {
    let mut found = Vec::new();
    let (mut scratch, mut steps) = (Scratch::default(), Steps::up_to(usize::MAX));
    let collect = |ids: &[BindingId]| found.extend_from_slice(ids);
    index.for_each_match(key, &mut scratch, &mut steps, collect).unwrap();
    found.sort_unstable();
    found
}

pub(in crate::topology) fn naive_match(pattern: &str, key: &str) -> bool {
    fn matches(pattern: &[&str], key: &[&str]) -> bool {
        match pattern {
            [] => key.is_empty(),
            ["#", rest @ ..] => (0..=key.len()).any(|skipped| matches(rest, &key[skipped..])),
            ["*", rest @ ..] => !key.is_empty() && matches(rest, &key[1..]),
            [word, rest @ ..] => key.first() == Some(word) && matches(rest, &key[1..]),
        }
    }
    let split = |text| words(text).collect::<Vec<_>>();
    matches(&split(pattern), &split(key))
}

fn pattern() -> impl Strategy<Value = String> {
    let word = prop_oneof![3 => "[ab]?", 2 => Just("*".to_owned()), 3 => Just("#".to_owned())];
    vec(word, 0..6).prop_map(|words| words.join("."))
}

fn key() -> impl Strategy<Value = String> {
    vec("[ab]?", 0..7).prop_map(|words| words.join("."))
}
