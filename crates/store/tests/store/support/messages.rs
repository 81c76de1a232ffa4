//! The messages that an opened store has found.

use std::collections::BTreeMap;

use leveret_store::{Lsn, Recovered, RecoveredMessage, Store};

/// A message that still waits in at least one queue.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) lsn: Lsn,
    /// By queue.
    pub(crate) places: BTreeMap<u64, RecoveredMessage>,
    pub(crate) payload: Vec<u8>,
}

/// All messages, ascending by LSN; `None` if one of them can't be read.
pub(crate) fn messages(store: &Store, recovered: &Recovered) -> Option<Vec<Message>> {
    let mut found: BTreeMap<Lsn, BTreeMap<u64, RecoveredMessage>> = BTreeMap::new();
    for backlog in &recovered.backlogs {
        assert_eq!(backlog.messages().count() as u64, backlog.len());
        for message in backlog.messages() {
            let other = found.entry(message.lsn).or_default().insert(backlog.queue(), message);
            assert!(other.is_none(), "{} is twice in {}", message.lsn, backlog.queue());
        }
    }
    let lsns: Vec<Lsn> = found.keys().copied().collect();
    let payloads = store.read(&lsns).ok()?;
    let read: Vec<Lsn> = payloads.iter().map(|(lsn, _)| *lsn).collect();
    if read.len() < lsns.len() {
        return None;
    }
    assert_eq!(read, lsns, "others were read than were asked for");
    let whole = found.into_iter().zip(payloads).map(|((lsn, places), (_, payload))| {
        let bytes = payload.len() as u64;
        assert!(places.values().all(|place| place.outline.bytes == bytes), "of another size");
        Message { lsn, places, payload: payload.to_vec() }
    });
    Some(whole.collect())
}
