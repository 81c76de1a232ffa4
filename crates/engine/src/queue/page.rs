//! A page: neighbouring entries whose messages are on disk, in a byte or two each.
//!
//! What a queue has to know of them without their messages is written one behind the other:
//!
//! | bytes | field |
//! | --- | --- |
//! | varint | distance of the LSN from the one before, zigzag, times 2; plus 1 if flags follow |
//! | 1 | flags, where they differ from those of the entry before |
//! | varint | how often it came back, if the flags say that it did |
//! | varint | distance of the deadline from the one before, zigzag, if the flags say there is one |

use super::entry::{Entry, PagedEntry};
use super::spill::Spilled;
use crate::ids::{Lsn, Millis};

/// Most places on a page.
pub(super) const PAGE_SLOTS: u32 = 256;
/// Body bytes on a page, unless a single message has more.
pub(super) const PAGE_BYTES: u64 = 256 * 1024;

const STORED: u8 = 1;
const REDELIVERED: u8 = 2;
const RETURNED: u8 = 4;
const MORTAL: u8 = 8;
/// The entry is in the due index when it is in memory.
const WATCHED: u8 = 16;
/// There is no entry in this place any more.
const HOLE: u8 = 32;

/// Entries in consecutive places of a ring.
#[derive(Debug)]
pub(super) struct Page {
    /// The first place.
    pub(super) start: u64,
    /// Places, holes included.
    pub(super) slots: u32,
    /// Entries.
    pub(super) len: u32,
    /// Their body bytes.
    pub(super) bytes: u64,
    /// The earliest of their deadlines.
    pub(super) deadline: Option<Millis>,
    /// Number of the request it is being read for; 0 if it isn't.
    pub(super) request: u32,
    /// Where the messages are, if not in the journal.
    pub(super) spilled: Option<Spilled>,
    last: Last,
    code: Vec<u8>,
}

/// What an entry is written as the difference to.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    lsn: u64,
    deadline: u64,
    flags: u8,
}

/// A place on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PagedSlot {
    pub(super) lsn: Lsn,
    pub(super) deadline: Option<Millis>,
    pub(super) deliveries: u32,
    pub(super) redelivered: bool,
    pub(super) stored: bool,
    pub(super) is_watched: bool,
}

impl PagedSlot {
    pub(super) fn of(entry: &Entry, is_watched: bool) -> Self {
        let Entry { lsn, deadline, deliveries, redelivered, stored, .. } = *entry;
        Self { lsn, deadline, deliveries, redelivered, stored, is_watched }
    }

    pub(super) fn restored(entry: &PagedEntry, is_watched: bool) -> Self {
        let PagedEntry { lsn, deadline, deliveries, redelivered, .. } = *entry;
        Self { lsn, deadline, deliveries, redelivered, stored: true, is_watched }
    }
}

impl Page {
    pub(super) const fn new(start: u64) -> Self {
        Self {
            start,
            slots: 0,
            len: 0,
            bytes: 0,
            deadline: None,
            request: 0,
            spilled: None,
            last: Last { lsn: 0, deadline: 0, flags: 0 },
            code: Vec::new(),
        }
    }

    /// Whether an entry in `place` with so many body bytes can be added.
    pub(super) const fn takes(&self, place: u64, bytes: u64) -> bool {
        self.request == 0
            && self.spilled.is_none()
            && self.start + self.slots as u64 == place
            && self.slots < PAGE_SLOTS
            && (self.len == 0 || self.bytes + bytes <= PAGE_BYTES)
    }

    pub(super) fn push(&mut self, slot: Option<(PagedSlot, u64)>) {
        self.slots += 1;
        let Some((slot, bytes)) = slot else {
            self.put(self.last.lsn, HOLE);
            return;
        };
        self.len += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(slot.stored, STORED)
            | flag(slot.redelivered, REDELIVERED)
            | flag(slot.deliveries > 0, RETURNED)
            | flag(slot.deadline.is_some(), MORTAL)
            | flag(slot.is_watched, WATCHED);
        self.put(slot.lsn.0, flags);
        if slot.deliveries > 0 {
            put_varint(&mut self.code, slot.deliveries.into());
        }
        if let Some(deadline) = slot.deadline {
            put_varint(&mut self.code, zigzag(deadline.0, self.last.deadline));
            self.last.deadline = deadline.0;
            self.deadline = Some(self.deadline.map_or(deadline, |other| other.min(deadline)));
        }
    }

    /// As [`takes`](Self::takes), of a page that is being made of what was spilled.
    pub(super) const fn goes_on_at(&self, place: u64) -> bool {
        self.start + self.slots as u64 == place && self.slots < PAGE_SLOTS
    }

    /// Lets go of room for more entries.
    pub(super) fn seal(&mut self) {
        self.code.shrink_to_fit();
    }

    /// What is in its places.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<PagedSlot>> + '_ {
        let (mut rest, mut last) = (self.code.as_slice(), Last::default());
        (0..self.slots).map(move |_| {
            let number = varint(&mut rest);
            if number & 1 == 1 {
                last.flags = rest.split_off_first().copied().unwrap_or(HOLE);
            }
            if last.flags & HOLE != 0 {
                return None;
            }
            last.lsn = unzigzag(number >> 1, last.lsn);
            let deliveries = if last.flags & RETURNED != 0 { varint(&mut rest) } else { 0 };
            let deadline = (last.flags & MORTAL != 0).then(|| {
                last.deadline = unzigzag(varint(&mut rest), last.deadline);
                Millis(last.deadline)
            });
            Some(PagedSlot {
                lsn: Lsn(last.lsn),
                deadline,
                deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
                redelivered: last.flags & REDELIVERED != 0,
                stored: last.flags & STORED != 0,
                is_watched: last.flags & WATCHED != 0,
            })
        })
    }

    fn put(&mut self, lsn: u64, flags: u8) {
        let is_changed = self.last.flags != flags;
        let number = (zigzag(lsn, self.last.lsn) << 1) | u64::from(is_changed);
        put_varint(&mut self.code, number);
        if is_changed {
            self.code.push(flags);
        }
        self.last.lsn = lsn;
        self.last.flags = flags;
    }
}

/// The distance from `from` to `to`, small for small distances either way. Numbers of the journal
/// and times are far below 2^62, so that it can be doubled.
const fn zigzag(to: u64, from: u64) -> u64 {
    let distance = to.wrapping_sub(from).cast_signed();
    ((distance << 1) ^ (distance >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64, from: u64) -> u64 {
    from.wrapping_add((number >> 1) ^ (number & 1).wrapping_neg())
}

fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        into.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    into.push(low);
}

/// The code is this process's own; what it doesn't have reads as 0.
fn varint(from: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let Some(&byte) = from.split_off_first() else { return value };
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn slot() -> impl Strategy<Value = PagedSlot> {
        let number = || prop_oneof![4 => 0..300_u64, 1 => 0..1_u64 << 60];
        (number(), option::of(number()), 0..3_u32, any::<[bool; 3]>()).prop_map(
            |(lsn, deadline, deliveries, [redelivered, stored, is_watched])| PagedSlot {
                lsn: Lsn(lsn),
                deadline: deadline.map(Millis),
                deliveries,
                redelivered,
                stored,
                is_watched,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_put_on_a_page_is_read_from_it(slots in vec(option::of(slot()), 0..60)) {
            let mut page = Page::new(7);
            slots.iter().for_each(|slot| page.push(slot.map(|slot| (slot, 3))));
            prop_assert!(page.iter().eq(slots.iter().copied()));
            let entries = || slots.iter().flatten();
            prop_assert_eq!(u64::from(page.len), entries().count() as u64);
            prop_assert_eq!(page.bytes, 3 * entries().count() as u64);
            prop_assert_eq!(page.deadline, entries().filter_map(|slot| slot.deadline).min());
        }
    }

    #[test]
    fn entries_like_those_before_take_a_byte() {
        let mut page = Page::new(0);
        for lsn in 0..200 {
            let (deadline, redelivered) = (None, true);
            let slot = PagedSlot {
                lsn: Lsn(1_000_000 + lsn),
                deadline,
                deliveries: 0,
                redelivered,
                stored: true,
                is_watched: false,
            };
            page.push(Some((slot, 10)));
        }
        assert!(page.code.len() < 210, "{}", page.code.len());
    }
}
