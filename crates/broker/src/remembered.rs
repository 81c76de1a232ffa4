//! What telling messages that were seen before takes in memory. All that do so share a bound, within
//! that of messages which the journal does not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use leveret_codec::Properties;
use leveret_engine::{Deduplication, Deduplicator, Millis};

use crate::even_shares::EvenShares;

/// What all deduplicators take.
pub(crate) struct RememberedMemory {
    shares: EvenShares,
    forgotten: AtomicU64,
    /// That there was no room has been said.
    is_said: AtomicBool,
}

impl RememberedMemory {
    pub(crate) fn new(max: u64) -> Self {
        let (forgotten, is_said) = Default::default();
        Self { shares: EvenShares::new(max), forgotten, is_said }
    }

    /// What they take now, about, in bytes.
    pub(crate) fn taken(&self) -> u64 {
        self.shares.taken()
    }

    /// Values that were forgotten though they should still be known: there was no room.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// How many values one may remember that remembers so many.
    fn most(&self, own: usize) -> usize {
        let Some(share) = self.shares.share() else { return usize::MAX };
        let share = usize::try_from(share / Deduplicator::BYTES_OF_VALUE).unwrap_or(usize::MAX);
        let most = if self.shares.is_doubled() { share.min(own) } else { share };
        most.max(Deduplication::SIZE)
    }

    fn forgot(&self, values: u64) {
        self.forgotten.fetch_add(values, Ordering::Relaxed);
        if !self.is_said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "exchanges and queues that drop what was seen before (x-message-deduplication) take \
                 {} bytes: they forget some of it before x-cache-size is reached \
                 (store.transient_memory)",
                self.taken()
            );
        }
    }
}

impl Default for RememberedMemory {
    /// Without a bound.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

/// A deduplicator that takes a part of the memory for all.
pub(crate) struct Rememberer {
    deduplicator: Deduplicator,
    memory: Arc<RememberedMemory>,
    /// What of it is counted.
    counted: u64,
}

impl Rememberer {
    pub(crate) fn new(settings: Deduplication, memory: &Arc<RememberedMemory>) -> Self {
        Self { deduplicator: Deduplicator::new(settings), memory: Arc::clone(memory), counted: 0 }
    }

    /// As [`Deduplicator::admits`].
    pub(crate) fn admits(&mut self, properties: &Properties<'_>, now: Millis) -> bool {
        let Self { deduplicator, memory, counted } = self;
        deduplicator.limit(memory.most(deduplicator.len()));
        let admits = deduplicator.admits(properties, now);
        let takes = deduplicator.memory();
        if takes != *counted {
            memory.shares.changed(*counted, takes);
            *counted = takes;
        }
        let forgotten = deduplicator.take_forgotten();
        if forgotten > 0 {
            memory.forgot(forgotten);
        }
        admits
    }
}

impl Drop for Rememberer {
    fn drop(&mut self) {
        self.memory.shares.changed(self.counted, 0);
    }
}

#[cfg(test)]
mod tests {
    use leveret_codec::TableBuilder;

    use super::*;

    const SIZE: usize = 100_000;

    fn rememberer(memory: &Arc<RememberedMemory>) -> Rememberer {
        let settings = Deduplication { size: SIZE, ttl: None, header: "id".into() };
        Rememberer::new(settings, memory)
    }

    fn admits(rememberer: &mut Rememberer, id: usize) -> bool {
        let headers = TableBuilder::new().put("id", i64::try_from(id).unwrap()).build();
        let headers = Some(headers.as_table());
        rememberer.admits(&Properties { headers, ..Properties::default() }, Millis(0))
    }

    #[test]
    fn what_is_remembered_counts_until_it_goes() {
        let memory = Arc::new(RememberedMemory::default());
        let (mut one, mut other) = (rememberer(&memory), rememberer(&memory));
        for id in 0..SIZE {
            assert!(admits(&mut one, id));
        }
        let of_one = memory.taken();
        // The digests of all values, at the least.
        assert!(of_one >= 16 * SIZE as u64, "{of_one}");
        assert!(admits(&mut other, 0) && !admits(&mut one, 0));
        assert!(memory.taken() > of_one);
        drop(one);
        assert!(memory.taken() < 16 * SIZE as u64);
        drop(other);
        assert_eq!((memory.taken(), memory.forgotten()), (0, 0));
    }

    #[test]
    fn all_that_is_remembered_has_a_bound() {
        let max = SIZE as u64 * Deduplicator::BYTES_OF_VALUE / 4;
        let memory = Arc::new(RememberedMemory::new(max));
        // Those that remember nothing have no share.
        let _empty: Vec<Rememberer> = (0..1000).map(|_| rememberer(&memory)).collect();
        let mut idle = rememberer(&memory);
        for id in 0..SIZE {
            assert!(admits(&mut idle, id));
        }
        assert!(memory.forgotten() > 0);
        assert!(!admits(&mut idle, SIZE - SIZE / 10));
        // What came last is known, and what came first has gone.
        assert!(!admits(&mut idle, SIZE - 1) && admits(&mut idle, 0));
        let mut others: Vec<Rememberer> = (0..8).map(|_| rememberer(&memory)).collect();
        for id in 0..SIZE {
            for one in &mut others {
                assert!(admits(one, id));
            }
        }
        let floors = 9 * Deduplication::SIZE as u64 * Deduplicator::BYTES_OF_VALUE;
        assert!(memory.taken() <= 2 * max + floors, "{} of {max}", memory.taken());
        for one in &mut others {
            assert!(!admits(one, SIZE - Deduplication::SIZE), "each remembers some");
        }
        // One that has more than its share gives it to the others when it is used.
        for id in SIZE..2 * SIZE {
            assert!(admits(&mut idle, id));
        }
        assert!(memory.taken() <= max + max / 4, "{} of {max}", memory.taken());
    }
}
