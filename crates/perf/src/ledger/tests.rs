use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const PAGE: u64 = 1 << Page::BITS_LOG2;

fn all() -> Ledger {
    Ledger::new(Share::ALL, Senders::ALL, 1)
}

/// Hands the numbers to one consumer; says how many came out of order.
fn deliver(ledger: &Ledger, sequences: impl IntoIterator<Item = u64>) -> u64 {
    let mut tracks = ledger.tracks();
    let track = tracks.of(0).unwrap();
    sequences.into_iter().for_each(|sequence| track.record(sequence));
    tracks.close()
}

#[test]
fn everything_in_order_is_clean() {
    let ledger = all();
    assert_eq!(deliver(&ledger, 0..3 * PAGE + 7), 0);
    assert_eq!(ledger.findings(&[3 * PAGE + 7]), Findings::default());
}

#[test]
fn complete_pages_take_no_memory() {
    let ledger = all();
    deliver(&ledger, 0..5 * PAGE);
    let account = ledger.accounts[0].lock();
    assert!(account.open.is_empty() && account.complete.is_empty());
    assert_eq!(account.complete_below, 5);
}

#[test]
fn a_gap_is_a_loss() {
    let ledger = all();
    deliver(&ledger, (0..PAGE * 2).filter(|sequence| sequence % PAGE != 5));
    assert_eq!(ledger.findings(&[PAGE * 2]), Findings { lost: 2, ..Findings::default() });
}

#[test]
fn a_missing_end_is_a_loss() {
    let ledger = all();
    deliver(&ledger, 0..90);
    assert_eq!(ledger.findings(&[100]).lost, 10);
}

#[test]
fn a_second_delivery_is_found_on_the_same_page_and_on_an_old_one() {
    let ledger = all();
    let reordered = deliver(&ledger, [0, 1, 1].into_iter().chain(2..PAGE).chain([PAGE, 3]));
    // The one on the old page cannot be told from a late message at once.
    assert_eq!(reordered, 1);
    let expected = Findings { duplicated: 2, ..Findings::default() };
    assert_eq!(ledger.findings(&[PAGE + 1]), expected);
}

#[test]
fn two_consumers_with_the_same_message_have_a_duplicate() {
    let ledger = all();
    deliver(&ledger, [0, 2]);
    deliver(&ledger, [1, 2]);
    assert_eq!(ledger.findings(&[3]), Findings { duplicated: 1, ..Findings::default() });
}

#[test]
fn consumers_share_a_queue() {
    let ledger = all();
    assert_eq!(deliver(&ledger, (0..PAGE * 2).step_by(2)), 0);
    assert_eq!(deliver(&ledger, (1..PAGE * 2).step_by(2)), 0);
    assert_eq!(ledger.findings(&[PAGE * 2]), Findings::default());
}

#[test]
fn a_late_message_is_reordered_and_not_lost() {
    let ledger = all();
    assert_eq!(deliver(&ledger, [0, 2, 1, 3]), 1);
    assert_eq!(ledger.findings(&[4]), Findings::default());
}

#[test]
fn messages_of_another_queue_are_misrouted() {
    let ledger = Ledger::new(Share::new(3, 1), Senders::ALL, 1);
    deliver(&ledger, [1, 4, 5, 7]);
    assert_eq!(ledger.findings(&[9]), Findings { misrouted: 1, ..Findings::default() });
}

#[test]
fn a_queue_has_an_account_of_its_senders_only() {
    let ledger = Ledger::new(Share::ALL, Senders::new(1, 3), 6);
    assert_eq!(ledger.accounts.len(), 2);
    let mut tracks = ledger.tracks();
    tracks.of(4).unwrap().record(0);
    assert!([0, 2, 3, 5, 7].into_iter().all(|stranger| tracks.of(stranger).is_none()));
    tracks.close();
    assert_eq!(ledger.findings(&[9, 1, 9, 9, 1, 9]), Findings { lost: 1, ..Findings::default() });
}

proptest! {
    #[test]
    fn a_share_counts_as_a_filter_does(every in 1..20_u64, offset in 0..20_u64, end in 0..200_u64) {
        prop_assume!(offset < every);
        let share = Share::new(every, offset);
        let counted = (0..end).filter(|sequence| sequence % every == offset).count();
        prop_assert_eq!(share.count_below(end), counted as u64);
        let first = share.first_from(end);
        prop_assert!(first >= end && first < end + every && first % every == offset);
    }

    #[test]
    fn findings_are_those_of_a_naive_count(
        every in 1..4_u64,
        deliveries in prop::collection::vec((0..3_usize, 0..40_u64), 0..80),
        published in 40..50_u64,
    ) {
        // Numbers lie around a border between pages.
        let base = PAGE - 20;
        let share = Share::new(every, 0);
        let ledger = Ledger::new(share, Senders::ALL, 1);
        let mut tracks: Vec<_> = (0..3).map(|_| ledger.tracks()).collect();
        let mut counts: HashMap<u64, u64> = HashMap::new();
        for &(consumer, offset) in &deliveries {
            tracks[consumer].of(0).unwrap().record(base + offset);
            *counts.entry(base + offset).or_default() += 1;
        }
        tracks.into_iter().for_each(|track| {
            track.close();
        });

        let end = base + published;
        let due = (0..end).filter(|sequence| sequence % every == 0);
        let lost = due.filter(|sequence| !counts.contains_key(sequence)).count() as u64;
        let duplicated: u64 = counts
            .iter()
            .filter(|(sequence, _)| *sequence % every == 0)
            .map(|(_, count)| count - 1)
            .sum();
        let findings = ledger.findings(&[end]);
        prop_assert_eq!(findings.lost, lost);
        // A misplaced message counts each time it shows up on a page, so only its presence is exact.
        let misrouted = counts.keys().any(|sequence| sequence % every != 0);
        prop_assert_eq!(findings.misrouted > 0, misrouted);
        if !misrouted {
            prop_assert_eq!(findings.duplicated, duplicated);
        }
    }
}
