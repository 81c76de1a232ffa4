//! What a session keeps of wide exchanges.

use std::sync::Arc;

use leveret_codec::Table;
use leveret_store::{Disk, MemDisk};

use super::Session;
use crate::broker::Broker;
use crate::stage::{bind, declare, open, publish, with_message};

const QUEUES: usize = 50;

/// All of them get what is published.
fn wide() -> (Arc<Broker>, Session) {
    let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
    let (broker, mut session) = open(&disk);
    for number in 0..QUEUES {
        let name = number.to_string();
        declare(&mut session, &name, Table::EMPTY);
        bind(&mut session, &name);
    }
    (broker, session)
}

#[test]
fn of_many_keys_that_lead_to_many_queues_few_are_remembered() {
    let (_broker, mut session) = wide();
    let remembered = (0..500).map(|key| {
        publish(&mut session, &key.to_string(), b"");
        session.routes.queues()
    });
    let most = remembered.max().unwrap();
    assert!((16_000..=16_384).contains(&most), "{most}");
    // The same key again counts once.
    let before = session.routes.queues();
    publish(&mut session, "499", b"");
    assert_eq!(session.routes.queues(), before);
}

/// When it is committed it goes to each of its queues.
#[test]
fn what_waits_in_a_transaction_counts_with_its_places_in_queues() {
    let (_broker, mut session) = wide();
    for key in ["a", "a", "b"] {
        let prepared = with_message(key, b"", |one| session.prepare(one)).unwrap();
        let narrow = size_of_val(&prepared) + prepared.message().stored_len();
        assert!(prepared.memory() >= (narrow + QUEUES * 80) as u64, "{}", prepared.memory());
    }
}

#[test]
fn a_turn_to_many_queues_leaves_little_room_behind() {
    let (_broker, mut session) = wide();
    for _ in 0..2000 {
        let _ = with_message("", b"", |one| session.publish(one, None)).unwrap();
    }
    assert!(session.staging.buckets.room() >= 2000 * QUEUES);
    session.flush(&mut Vec::new());
    assert!(session.staging.buckets.room() <= 8192, "{}", session.staging.buckets.room());
}
