//! Dead letters that wait and whose messages leave memory when it is short.
//!
//! Who had them die may have gone, so nobody else bounds what they take.

use std::io;
use std::sync::{Arc, Weak};

use leveret_engine::{PagedEntry, Spilled};
use leveret_store::{Lsn, Store};
use parking_lot::Mutex;

use super::Postponed;
use super::line::PAGE;
use crate::held_memory::{HeldMemory, HeldShare, Holder};
use crate::queue::QueueAgenda;

impl Postponed {
    /// None yet. What they take will count with all messages.
    pub(crate) fn shared(agenda: &Arc<QueueAgenda>) -> Arc<Mutex<Self>> {
        Arc::new_cyclic(|this: &Weak<Mutex<Self>>| {
            let holder: Weak<dyn Holder> = Weak::<Mutex<Self>>::clone(this);
            Mutex::new(Self::held(HeldShare::new(Arc::new(HeldMemory::of(agenda, holder)))))
        })
    }
}

impl Holder for Mutex<Postponed> {
    fn page_out(&self, readable: Lsn, most: usize) -> bool {
        let mut postponed = self.lock();
        let queues: Vec<_> = postponed.lines().map(|(queue, _)| queue).take(most).collect();
        let mut gone = 0;
        for queue in queues {
            gone += postponed.page_out(queue, most, |entry| {
                let is_readable = entry.stored && entry.lsn.0 <= readable.0;
                is_readable.then(|| PagedEntry::of(entry, None))
            });
        }
        gone > 0
    }

    fn spill(&self, store: &Store, most: u64) -> io::Result<bool> {
        let (mut blocks, mut left) = (Vec::new(), most);
        for (queue, line) in self.lock().lines() {
            if left == 0 {
                break;
            }
            let messages = line.unstored(&mut left);
            blocks.extend(messages.chunks(PAGE).map(|block| (queue, block.to_vec())));
        }
        let mut gone = 0;
        for (queue, mut block) in blocks {
            block.sort_unstable_by_key(|(lsn, _)| *lsn);
            let payloads = block.iter().map(|(lsn, message)| (Lsn(lsn.0), message.stored_parts()));
            let spilled: Spilled = Arc::new(store.spill(payloads)?);
            gone += self.lock().page_out(queue, block.len(), |entry| {
                let is_in = block.binary_search_by_key(&entry.lsn, |(lsn, _)| *lsn).is_ok();
                (!entry.stored && is_in).then(|| PagedEntry::of(entry, Some(Arc::clone(&spilled))))
            });
        }
        Ok(gone > 0)
    }

    fn hold_on(&self) {
        let postponed = self.lock();
        if let Some(held) = postponed.held_memory() {
            held.hold_on(postponed.has_messages());
        }
    }
}
