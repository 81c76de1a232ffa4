//! Records on their way to the journal.

use crate::{
    Definition, Lsn, RecoveredPlace,
    definitions::put_definitions,
    record::{self, Kind, put_moved, put_numbered, put_ranges},
    unit,
};

/// Records to append together: after a crash either all of them are there or none.
///
/// Records are encoded with their checksums as they are added, outside any lock.
/// [`Store::append`](crate::Store::append) empties the batch and keeps its memory for the next.
#[derive(Debug, Default)]
pub struct Batch {
    /// Room for the unit's header, then the records; empty without records.
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) digest: crc32fast::Hasher,
    pub(crate) durable: bool,
    lsns: Vec<u64>,
    numbered: Vec<(u64, u64)>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it holds no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a record asks for durability.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        self.durable
    }

    /// Drops the records added so far, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.digest.reset();
        self.durable = false;
    }

    /// Adds a message for `queues`; `payload` slices are joined. Asks for durability. Returns its
    /// index in the batch: its LSN will be [`Appended::first`](crate::Appended::first) plus this.
    pub fn message(&mut self, queues: &[u64], payload: &[&[u8]]) -> usize {
        let index = self.count as usize;
        self.durable = true;
        self.record(Kind::Message, |into| {
            let count = u32::try_from(queues.len()).unwrap_or(u32::MAX);
            into.extend_from_slice(&count.to_le_bytes());
            into.extend_from_slice(&[0; 4]);
            for queue in queues.iter().take(count as usize) {
                into.extend_from_slice(&queue.to_le_bytes());
            }
            for slice in payload {
                into.extend_from_slice(slice);
            }
        });
        index
    }

    /// Settles messages in `queue`: acknowledged, expired, dropped, purged. Synced lazily. Any
    /// order.
    ///
    /// Each place of a message is settled once, by this or by [`Batch::drop_queue`], and only
    /// messages which came from [`Batch::message`] are: never an LSN from
    /// [`Store::reserve`](crate::Store::reserve).
    pub fn ack(&mut self, queue: u64, lsns: &[Lsn]) {
        self.lsn_record(Kind::Ack, queue, lsns);
    }

    /// Notes messages given back to the queue with their delivery counts. Synced lazily. Any order.
    pub fn returned(&mut self, queue: u64, lsns: &[(Lsn, u32)]) {
        let returns = lsns.iter().map(|&(lsn, deliveries)| (lsn.0, deliveries.into()));
        self.numbered_record(Kind::Returned, queue, returns);
    }

    /// Notes until when messages wait that were given back to the queue, in a unit of the caller's.
    /// Their next return revokes it. Synced lazily. Any order.
    pub fn delayed(&mut self, queue: u64, lsns: &[(Lsn, u64)]) {
        let delays = lsns.iter().map(|&(lsn, until)| (lsn.0, until));
        self.numbered_record(Kind::Delayed, queue, delays);
    }

    /// Settles every message appended before in `queue`. Synced lazily, or with the definition
    /// change in the same batch. Queue ids are not used again.
    pub fn drop_queue(&mut self, queue: u64) {
        self.record(Kind::DropQueue, |into| into.extend_from_slice(&queue.to_le_bytes()));
    }

    /// Changes definitions. Asks for durability.
    pub fn define(&mut self, definitions: &[Definition]) {
        if definitions.is_empty() {
            return;
        }
        self.durable = true;
        self.record(Kind::Define, |into| put_definitions(into, definitions));
    }

    /// The same, as they are encoded.
    pub(crate) fn define_encoded(&mut self, payload: &[u8]) {
        self.durable = true;
        self.record(Kind::Define, |into| into.extend_from_slice(payload));
    }

    /// Adds a message that was appended before, with its number and the places it is not settled in;
    /// no other unsettled message has a number between `from` and its own. Synced lazily: the one that
    /// was appended before stays until this is durable.
    pub(crate) fn moved(&mut self, from: u64, lsn: u64, places: &[RecoveredPlace], payload: &[u8]) {
        self.record(Kind::Moved, |into| {
            put_moved(into, from, lsn, places);
            into.extend_from_slice(payload);
        });
    }

    /// Adds a record that says nothing: it settles no message. Its LSN is taken by what is not
    /// recorded and has its place among what is. Synced lazily. Returns its index in the batch.
    pub fn nothing(&mut self) -> usize {
        let index = self.count as usize;
        self.record(Kind::Ack, |into| {
            into.extend_from_slice(&[0; 8]);
            put_ranges(into, &[]);
        });
        index
    }

    /// Asks for durability although the records would wait.
    pub const fn set_durable(&mut self) {
        self.durable = true;
    }

    fn lsn_record(&mut self, kind: Kind, queue: u64, lsns: &[Lsn]) {
        if lsns.is_empty() {
            return;
        }
        let mut sorted = std::mem::take(&mut self.lsns);
        sorted.clear();
        sorted.extend(lsns.iter().map(|lsn| lsn.0));
        sorted.sort_unstable();
        sorted.dedup();
        self.record(kind, |into| {
            into.extend_from_slice(&queue.to_le_bytes());
            put_ranges(into, &sorted);
        });
        self.lsns = sorted;
    }

    fn numbered_record(
        &mut self,
        kind: Kind,
        queue: u64,
        lsns: impl ExactSizeIterator<Item = (u64, u64)>,
    ) {
        if lsns.len() == 0 {
            return;
        }
        let mut sorted = std::mem::take(&mut self.numbered);
        sorted.clear();
        sorted.extend(lsns);
        sorted.sort_unstable();
        sorted.dedup_by_key(|&mut (lsn, _)| lsn);
        self.record(kind, |into| {
            into.extend_from_slice(&queue.to_le_bytes());
            put_numbered(into, &sorted);
        });
        self.numbered = sorted;
    }

    fn record(&mut self, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.is_empty() {
            self.bytes.resize(unit::HEADER, 0);
        }
        let start = self.bytes.len();
        self.bytes.resize(start + record::HEADER, 0);
        payload(&mut self.bytes);
        let crc = record::seal(&mut self.bytes, start, kind);
        self.digest.update(&crc.to_le_bytes());
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        MemDisk, OpenError, Store, StoreOptions, Table,
        definitions::DefinitionsIter,
        encoding::Reader,
        offline::{self, Definitions},
        record::{Entry, Record},
        unit::UnitHeader,
    };

    fn entries(batch: &Batch) -> Vec<Entry<'_>> {
        let body = &batch.bytes[unit::HEADER..];
        let header = UnitHeader {
            count: batch.count,
            digest: batch.digest.clone().finalize(),
            length: body.len() as u64,
            ..UnitHeader::default()
        };
        assert!(header.vouches_for(body));
        assert_eq!(body.len() % 8, 0);
        let mut reader = Reader(body);
        (0..batch.count)
            .map(|_| Record::read(&mut reader).expect("whole").entry().expect("known"))
            .collect()
    }

    #[test]
    fn a_message_keeps_its_queues_and_joins_its_payload() {
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        assert_eq!(batch.message(&[7, 9], &[b"head", b"", b"body"]), 0);
        assert_eq!(batch.message(&[], &[]), 1);
        let entries = entries(&batch);
        let [Entry::Message { queues, payload }, Entry::Message { queues: none, payload: empty }] =
            entries.as_slice()
        else {
            panic!("{entries:?}")
        };
        assert_eq!(queues.clone().collect::<Vec<_>>(), [7, 9]);
        assert_eq!(*payload, b"headbody");
        assert_eq!(none.clone().count(), 0);
        assert!(empty.is_empty());
    }

    /// Of a newer release: a definition of another table or another operation, a record of another kind, with flags, with
    /// something in reserved bytes.
    #[test]
    fn what_only_newer_releases_know_is_refused_and_stays() {
        let of_table = |table: u8| {
            let mut payload = Vec::new();
            let key = b"k".to_vec();
            put_definitions(&mut payload, &[Definition::Delete { table: Table::Users, key }]);
            payload[2] = table;
            payload
        };
        let mut of_operation = of_table(Table::Users as u8);
        of_operation[1] = 9;
        let unknown = [
            ([Kind::Define as u8, 0, 0, 0], of_table(200)),
            ([Kind::Define as u8, 0, 0, 0], of_operation),
            ([17, 0, 0, 0], vec![1, 2, 3]),
            ([Kind::Define as u8, 1, 0, 0], of_table(Table::Users as u8)),
            ([Kind::Define as u8, 0, 0, 1], of_table(Table::Users as u8)),
        ];
        for (kind, payload) in unknown {
            let disk: Arc<dyn crate::Disk> = Arc::new(MemDisk::new());
            let (dir, options) = (Path::new("/data"), StoreOptions::default());
            let (store, _) = Store::open(Arc::clone(&disk), dir, options.clone()).unwrap();
            let mut batch = Batch::new();
            batch.message(&[1], &[b"body"]);
            store.append(&mut batch);
            batch.record(Kind::Define, |into| into.extend_from_slice(&payload));
            let start = unit::HEADER;
            batch.bytes[start + 4..start + 8].copy_from_slice(&kind);
            let crc =
                crc32fast::hash(&batch.bytes[start + 4..start + record::HEADER + payload.len()]);
            batch.bytes[start..start + 4].copy_from_slice(&crc.to_le_bytes());
            batch.digest.reset();
            batch.digest.update(&crc.to_le_bytes());
            store.append(&mut batch);
            store.close();
            drop(store);
            for _ in 0..2 {
                let refused = Store::open(Arc::clone(&disk), dir, options.clone()).err().unwrap();
                assert!(matches!(refused, OpenError::NewerContent { .. }), "{refused}");
                let text = refused.to_string();
                assert!(text.contains("holds a record that only newer releases know"), "{text}");
                let refused =
                    offline::repair(&*disk, dir, Definitions::Dropped).unwrap_err().to_string();
                assert_eq!(refused, text);
            }
        }
    }

    #[test]
    fn definitions_come_back() {
        let changes = [
            Definition::Put { table: Table::Queues, key: b"k".to_vec(), value: vec![1; 300] },
            Definition::Delete { table: Table::Policies, key: Vec::new() },
        ];
        let mut batch = Batch::new();
        batch.define(&changes);
        let entries = entries(&batch);
        let [Entry::Define { payload }] = entries.as_slice() else { panic!() };
        let read = DefinitionsIter::new(Reader(payload)).expect("counted");
        assert_eq!(read.collect::<Vec<_>>(), changes);
    }

    #[test]
    fn clearing_keeps_the_memory_and_forgets_the_records() {
        let mut batch = Batch::new();
        batch.message(&[1], &[&[0; 1000]]);
        let capacity = batch.bytes.capacity();
        batch.clear();
        assert!(batch.is_empty() && !batch.durable);
        assert_eq!(batch.bytes.capacity(), capacity);
        batch.drop_queue(3);
        assert!(matches!(entries(&batch).as_slice(), [Entry::DropQueue { queue: 3 }]));
    }

    #[test]
    fn a_moved_message_keeps_its_number_and_what_its_places_have_seen() {
        let place = |queue, deliveries, redelivered, delayed_until| RecoveredPlace {
            queue,
            deliveries,
            redelivered,
            delayed_until,
        };
        let places = [place(7, 3, true, 99), place(u64::MAX, u32::MAX, false, 0)];
        let mut batch = Batch::new();
        batch.moved(3, 5, &places, b"body");
        assert!(!batch.durable);
        let entries = entries(&batch);
        let [Entry::Moved { from: 3, lsn: 5, places: read, payload: b"body" }] = entries.as_slice()
        else {
            panic!("{entries:?}")
        };
        assert_eq!(read.clone().collect::<Vec<_>>(), places);
    }

    proptest! {
        #[test]
        fn acknowledged_numbers_come_back_sorted(
            lsns in vec(prop_oneof![0..50_u64, any::<u64>()], 1..100), queue: u64
        ) {
            let mut batch = Batch::new();
            batch.ack(queue, &lsns.iter().copied().map(Lsn).collect::<Vec<_>>());
            let mut sorted = lsns;
            sorted.sort_unstable();
            sorted.dedup();
            // The last number cannot end a run; it is never given out.
            sorted.retain(|&lsn| lsn != u64::MAX);
            let entries = entries(&batch);
            let [Entry::Ack { queue: read, ranges }] = entries.as_slice() else { panic!() };
            prop_assert_eq!(*read, queue);
            let read: Vec<u64> =
                ranges.clone().flat_map(|(first, count)| first..first + count).collect();
            prop_assert_eq!(read, sorted);
        }

        #[test]
        fn returned_numbers_come_back_sorted(returns in vec((any::<u64>(), any::<u32>()), 1..50)) {
            let mut batch = Batch::new();
            let given: Vec<_> = returns.iter().map(|&(lsn, count)| (Lsn(lsn), count)).collect();
            batch.returned(1, &given);
            let mut sorted = returns;
            sorted.sort_unstable();
            sorted.dedup_by_key(|entry| entry.0);
            let entries = entries(&batch);
            let [Entry::Returned { queue: 1, returns }] = entries.as_slice() else { panic!() };
            prop_assert_eq!(returns.clone().collect::<Vec<_>>(), sorted);
        }

        #[test]
        fn delayed_numbers_come_back_sorted(delays in vec((any::<u64>(), any::<u64>()), 1..50)) {
            let mut batch = Batch::new();
            let given: Vec<_> = delays.iter().map(|&(lsn, until)| (Lsn(lsn), until)).collect();
            batch.delayed(1, &given);
            let mut sorted = delays;
            sorted.sort_unstable();
            sorted.dedup_by_key(|entry| entry.0);
            let entries = entries(&batch);
            let [Entry::Delayed { queue: 1, delays }] = entries.as_slice() else { panic!() };
            prop_assert_eq!(delays.clone().collect::<Vec<_>>(), sorted);
        }
    }
}
