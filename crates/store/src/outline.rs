//! Messages in outline: what a queue has to know of a message that stays on disk.

use crate::encoding::{Reader, put_difference, put_varint};

/// What is known of a message without its payload, which is its owner's to read: see
/// [`StoreOptions::outline`](crate::StoreOptions::outline).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Bytes of its body.
    pub bytes: u64,
    /// When it was published.
    pub time: u64,
    /// How long it lives, if it says so.
    pub life: Option<u64>,
    /// How long it is kept back before it goes on, if it says so.
    pub delay: Option<u64>,
    /// Its priority, if it has one.
    pub priority: Option<u8>,
    /// Bytes of the payload and of what fills it up to a multiple of 8. The store itself says this.
    pub payload: u64,
}

/// Outlines of messages with ascending numbers, in a few bytes each: every one is written as the
/// difference to the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlines {
    code: Vec<u8>,
    last: Last,
    count: u64,
    bytes: u64,
}

/// What a message is written as the difference to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Last {
    lsn: u64,
    time: u64,
    /// What the payload has more than the body, in steps.
    more: u64,
}

const HAS_PRIORITY: u64 = 1;
/// It has a life, a delay, or both.
const HAS_SPANS: u64 = 2;
/// What the payload has more than the body is not what it was of the message before.
const HAS_MORE: u64 = 4;
const FLAGS: u32 = 3;
/// Which spans it has: few messages have any, so this stands with them and not with the flags.
const HAS_LIFE: u8 = 1;
const HAS_DELAY: u8 = 2;
/// Payloads are multiples of this.
const STEP: u64 = 8;

impl Outlines {
    /// Adds a message. Answers false if its number is not above the last one's.
    pub(crate) fn push(&mut self, lsn: u64, outline: &Outline) -> bool {
        let last = self.last;
        if lsn <= last.lsn && !self.code.is_empty() {
            return false;
        }
        let Outline { bytes, time, life, delay, priority, payload } = *outline;
        let more = (payload / STEP).wrapping_sub(bytes / STEP);
        let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
        let flags = flag(priority.is_some(), HAS_PRIORITY)
            | flag(life.is_some() || delay.is_some(), HAS_SPANS)
            | flag(more != last.more, HAS_MORE);
        put_varint(&mut self.code, (lsn - last.lsn) << FLAGS | flags);
        put_varint(&mut self.code, bytes);
        put_difference(&mut self.code, last.time, time);
        if more != last.more {
            put_difference(&mut self.code, last.more, more);
        }
        self.code.extend(priority);
        if life.is_some() || delay.is_some() {
            let has = |span: Option<u64>, which: u8| if span.is_some() { which } else { 0 };
            self.code.push(has(life, HAS_LIFE) | has(delay, HAS_DELAY));
            life.into_iter().chain(delay).for_each(|span| put_varint(&mut self.code, span));
        }
        self.last = Last { lsn, time, more };
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> u64 {
        self.count
    }

    /// Bytes of their bodies.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The messages, ascending.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter { reader: Reader(&self.code), last: Last::default() }
    }
}

pub(crate) struct Iter<'a> {
    reader: Reader<'a>,
    last: Last,
}

impl Iterator for Iter<'_> {
    type Item = (u64, Outline);

    fn next(&mut self) -> Option<Self::Item> {
        let Self { reader, last: Last { lsn, time, more } } = self;
        let number = reader.varint()?;
        let bytes = reader.varint()?;
        *time = reader.difference(*time)?;
        if number & HAS_MORE != 0 {
            *more = reader.difference(*more)?;
        }
        let priority = if number & HAS_PRIORITY != 0 { Some(reader.u8()?) } else { None };
        let spans = if number & HAS_SPANS != 0 { reader.u8()? } else { 0 };
        let life = if spans & HAS_LIFE != 0 { Some(reader.varint()?) } else { None };
        let delay = if spans & HAS_DELAY != 0 { Some(reader.varint()?) } else { None };
        *lsn = lsn.wrapping_add(number >> FLAGS);
        let payload = (bytes / STEP).wrapping_add(*more).wrapping_mul(STEP);
        Some((*lsn, Outline { bytes, time: *time, life, delay, priority, payload }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn outline() -> impl Strategy<Value = Outline> {
        let number = || prop_oneof![4 => 0..300_u64, 1 => any::<u64>()];
        let payload = number().prop_map(|number| number / STEP * STEP);
        let span = || option::of(number());
        (number(), number(), span(), span(), option::of(any::<u8>()), payload).prop_map(
            |(bytes, time, life, delay, priority, payload)| Outline {
                bytes,
                time,
                life,
                delay,
                priority,
                payload,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_there(messages in btree_map(0..1_u64 << 60, outline(), 0..50)) {
            let mut outlines = Outlines::default();
            for (lsn, outline) in &messages {
                prop_assert!(outlines.push(*lsn, outline));
                prop_assert!(!outlines.push(*lsn, outline), "it is there already");
            }
            prop_assert!(outlines.iter().eq(messages));
        }
    }
}
