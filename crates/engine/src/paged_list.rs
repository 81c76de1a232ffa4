//! Entries whose messages are on disk, in a byte or two each.
//!
//! What has to be known of them without their messages is written one behind the other:
//!
//! | bytes | field |
//! | --- | --- |
//! | varint | distance of the LSN from the one before, zigzag, times 2; plus 1 if flags follow |
//! | 1 | flags, where they differ from those of the entry before |
//! | varint | distance of the bytes from those of the entry before, zigzag, if the flags say they differ |
//! | varint | how often it came back, if the flags say that it did |
//! | varint | distance of the deadline from the one before, zigzag, if the flags say there is one |

use crate::ids::{Lsn, Millis};

const STORED: u8 = 1;
const REDELIVERED: u8 = 2;
const RETURNED: u8 = 4;
const MORTAL: u8 = 8;
/// The entry is in the due index when it is in memory.
const WATCHED: u8 = 16;
/// There is no entry in this place any more.
const HOLE: u8 = 32;
/// It has more bytes than the entry before, or fewer.
const RESIZED: u8 = 64;

/// A list that is added to at its end.
#[derive(Debug, Default)]
pub(crate) struct PagedList {
    /// Places, holes included.
    slots: u32,
    last: Last,
    code: Vec<u8>,
}

/// What an entry is written as the difference to.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    lsn: u64,
    bytes: u64,
    deadline: u64,
    flags: u8,
}

/// An entry of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PagedSlot {
    pub(crate) lsn: Lsn,
    /// Its size, whatever of it counts.
    pub(crate) bytes: u64,
    pub(crate) deadline: Option<Millis>,
    pub(crate) deliveries: u32,
    pub(crate) redelivered: bool,
    pub(crate) stored: bool,
    pub(crate) is_watched: bool,
}

impl PagedList {
    /// Places, holes included.
    pub(crate) const fn slots(&self) -> u32 {
        self.slots
    }

    /// The LSN of the last entry.
    pub(crate) const fn last_lsn(&self) -> Lsn {
        Lsn(self.last.lsn)
    }

    pub(crate) fn push(&mut self, slot: Option<PagedSlot>) {
        self.slots += 1;
        let Some(slot) = slot else {
            self.put(self.last.lsn, HOLE);
            return;
        };
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(slot.stored, STORED)
            | flag(slot.redelivered, REDELIVERED)
            | flag(slot.deliveries > 0, RETURNED)
            | flag(slot.deadline.is_some(), MORTAL)
            | flag(slot.is_watched, WATCHED)
            | flag(slot.bytes != self.last.bytes, RESIZED);
        self.put(slot.lsn.0, flags);
        if slot.bytes != self.last.bytes {
            put_varint(&mut self.code, zigzag(slot.bytes, self.last.bytes));
            self.last.bytes = slot.bytes;
        }
        if slot.deliveries > 0 {
            put_varint(&mut self.code, slot.deliveries.into());
        }
        if let Some(deadline) = slot.deadline {
            put_varint(&mut self.code, zigzag(deadline.0, self.last.deadline));
            self.last.deadline = deadline.0;
        }
    }

    /// Lets go of room for more entries.
    pub(crate) fn seal(&mut self) {
        self.code.shrink_to_fit();
    }

    /// What is in its places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<PagedSlot>> + '_ {
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
            if last.flags & RESIZED != 0 {
                last.bytes = unzigzag(varint(&mut rest), last.bytes);
            }
            let deliveries = if last.flags & RETURNED != 0 { varint(&mut rest) } else { 0 };
            let deadline = (last.flags & MORTAL != 0).then(|| {
                last.deadline = unzigzag(varint(&mut rest), last.deadline);
                Millis(last.deadline)
            });
            Some(PagedSlot {
                lsn: Lsn(last.lsn),
                bytes: last.bytes,
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

/// The distance from `from` to `to`, small for small distances either way. LSNs and times
/// are far below 2^62, so that it can be doubled.
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
        let bytes = prop_oneof![2 => Just(7_u64), 1 => number()];
        (number(), bytes, option::of(number()), 0..3_u32, any::<[bool; 3]>()).prop_map(
            |(lsn, bytes, deadline, deliveries, [redelivered, stored, is_watched])| PagedSlot {
                lsn: Lsn(lsn),
                bytes,
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
        fn what_is_put_on_a_list_is_read_from_it(slots in vec(option::of(slot()), 0..60)) {
            let mut list = PagedList::default();
            slots.iter().for_each(|slot| list.push(*slot));
            prop_assert!(list.iter().eq(slots.iter().copied()));
            prop_assert_eq!(list.slots() as usize, slots.len());
        }
    }

    #[test]
    fn entries_like_those_before_take_a_byte() {
        let mut list = PagedList::default();
        for lsn in 0..200 {
            list.push(Some(PagedSlot {
                lsn: Lsn(1_000_000 + lsn),
                bytes: 10,
                deadline: None,
                deliveries: 0,
                redelivered: true,
                stored: true,
                is_watched: false,
            }));
        }
        assert!(list.code.len() < 215, "{}", list.code.len());
    }
}
