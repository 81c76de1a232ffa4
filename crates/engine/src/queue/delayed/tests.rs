use std::collections::BTreeMap;

use leveret_codec::Properties;
use proptest::prelude::*;

use super::*;
use crate::message::{Body, MessageArena};

/// A message of 100 bytes that expires so much later than it leaves, if it does.
fn entry(lsn: u64, deadline: Option<Millis>) -> Entry {
    let (mut arena, properties) = (MessageArena::new(), Properties::default());
    let body = Body::Copy(&[b'x'; 100]);
    let message = arena.message(Millis(0), "", "q", &properties, &[0, 0], body);
    let mut entry = Entry::new(Lsn(lsn), message);
    entry.deadline = deadline;
    entry.stored = !lsn.is_multiple_of(5);
    entry.deliveries = u32::try_from(lsn % 3).unwrap();
    entry
}

#[derive(Clone, Debug)]
enum Step {
    /// So many come back and wait, each as much longer than the one before as the last says.
    Insert {
        count: u64,
        is_paged: bool,
        delay: u64,
        apart: u64,
    },
    /// Time passes.
    Wait(u64),
    PageOut(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let delay = prop_oneof![3 => 0..500_u64, 1 => 0..1_u64 << 40];
    let insert = (1..900_u64, any::<bool>(), delay, 0..9_u64)
        .prop_map(|(count, is_paged, delay, apart)| Step::Insert { count, is_paged, delay, apart });
    let step = prop_oneof![
        3 => insert,
        2 => prop_oneof![4 => 0..900_u64, 1 => 0..1_u64 << 40].prop_map(Step::Wait),
        2 => (0..1500_usize).prop_map(Step::PageOut),
    ];
    proptest::collection::vec(step, 0..16)
}

proptest! {
    /// Against a map of all that waits.
    #[test]
    fn what_waits_leaves_in_order_as_it_came(steps in steps()) {
        let mut delayed = Delayed::default();
        let mut model: BTreeMap<Place, Entry> = BTreeMap::new();
        let (mut now, mut last_lsn) = (0_u64, 0_u64);
        for step in steps {
            match step {
                Step::Insert { count, is_paged, delay, apart } => {
                    for nth in 0..count {
                        last_lsn += 1;
                        // In another order than that of their numbers.
                        let ready_at = now + delay + apart * (nth % 7) * (nth / 5);
                        let deadline = last_lsn.is_multiple_of(11).then_some(Millis(ready_at / 2));
                        let entry = entry(last_lsn, deadline);
                        let leaves_at = deadline.map_or(ready_at, |it| ready_at.min(it.0 + 1));
                        model.insert((Millis(leaves_at), entry.lsn), entry.clone());
                        let waits = if is_paged {
                            PagedEntry::of(&entry, None).into()
                        } else {
                            AnyEntry::Hot(entry)
                        };
                        delayed.insert(Millis(ready_at), waits);
                    }
                }
                Step::Wait(span) => now += span,
                Step::PageOut(most) => {
                    let before = delayed.paged_len();
                    let gone = delayed.page_out(&|entry| entry.stored, most);
                    prop_assert!(gone <= most as u64);
                    prop_assert_eq!(delayed.paged_len(), before + gone);
                    prop_assert!(delayed.loose.len() < LOOSE_SHORT);
                    let hot = delayed.hot.values().filter(|entry| entry.stored).count();
                    prop_assert!(gone == most as u64 || hot == 0);
                }
            }
            while let Some(left) = delayed.pop_due(Millis(now)) {
                let (place, expected) = model.pop_first().unwrap();
                prop_assert!(place.0.0 <= now);
                let left = match left {
                    AnyEntry::Hot(entry) => entry,
                    AnyEntry::Paged(entry) => entry.with(expected.message.clone()),
                };
                prop_assert_eq!(format!("{left:?}"), format!("{expected:?}"));
            }
            prop_assert!(model.keys().next().is_none_or(|(leaves_at, _)| leaves_at.0 > now));
            prop_assert_eq!(delayed.len(), model.len() as u64);
            prop_assert_eq!(delayed.bytes(), 100 * model.len() as u64);
            prop_assert_eq!(delayed.first_at(), model.keys().next().map(|place| place.0));
            prop_assert_eq!(delayed.last_at(), model.keys().next_back().map(|place| place.0));
            prop_assert_eq!(delayed.paged_bytes(), 100 * delayed.paged_len());
            prop_assert!(delayed.loose.len() < LOOSE);
            let hot = delayed.len() - delayed.paged_len();
            let memory = hot * (100 + ENTRY_MEMORY);
            let loose = delayed.loose.len() as u64 * PAGED_ENTRY_MEMORY;
            prop_assert_eq!(delayed.memory(), memory + loose);
        }
        let left = delayed.take_all().map(|entry| entry.lsn());
        prop_assert!(left.eq(model.keys().map(|place| place.1)));
    }
}

/// They take a few bytes each on their pages, though they leave one after the other.
#[test]
fn what_waits_on_disk_takes_few_bytes() {
    let mut delayed = Delayed::default();
    for lsn in 0..100_000 {
        delayed.insert(Millis(3 * lsn), PagedEntry::of(&entry(lsn, None), None).into());
    }
    assert!(delayed.memory() < LOOSE as u64 * PAGED_ENTRY_MEMORY);
    assert!(delayed.pages.len() <= 100_000 / PAGE);
}
