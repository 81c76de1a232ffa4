//! What the broker keeps with a message beside what its publisher wrote.

use leveret_codec::{Table, Value};
use leveret_engine::Message;
use smallvec::SmallVec;

use crate::queue::properties;

/// Further routing keys of a message: a few at most.
pub(crate) type Keys<'a> = SmallVec<[&'a str; 4]>;

/// Kept in [`Message::annotations`](leveret_engine::Message::annotations): a byte of flags, then
/// the `BCC` keys, each behind its length. A message with nothing to note has none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotations<'a> {
    /// It has been dead-lettered: its `x-death` header is the broker's, not a publisher's.
    pub(crate) died: bool,
    /// It was dead-lettered with a key of the queue's: its `CC` header no longer routes it.
    pub(crate) rerouted: bool,
    /// The keys that were in its `BCC` header, which no consumer sees.
    pub(crate) bcc: Keys<'a>,
}

const DIED: u8 = 1;
const REROUTED: u8 = 2;

impl<'a> Annotations<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Self {
        let Some((flags, mut rest)) = bytes.split_first() else {
            return Self::default();
        };
        let mut bcc = Keys::new();
        while let Some((length, tail)) = rest.split_first_chunk() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let Some((key, tail)) = tail.split_at_checked(length) else { break };
            bcc.extend(str::from_utf8(key));
            rest = tail;
        }
        Self { died: flags & DIED != 0, rerouted: flags & REROUTED != 0, bcc }
    }

    pub(crate) fn to_bytes(&self) -> SmallVec<[u8; 32]> {
        let mut bytes = SmallVec::new();
        if *self == Self::default() {
            return bytes;
        }
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        bytes.push(flag(self.died, DIED) | flag(self.rerouted, REROUTED));
        for key in &self.bcc {
            let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(key.as_bytes());
        }
        bytes
    }
}

/// The keys in the header `CC` or `BCC`; the error is the value that is no array.
pub(crate) fn copies<'a>(headers: Table<'a>, header: &str) -> Result<Keys<'a>, Value<'a>> {
    match headers.get(header) {
        None => Ok(Keys::new()),
        // RabbitMQ passes over what is no string.
        Some(Value::Array(keys)) => Ok(keys.iter().filter_map(|key| key.as_str()).collect()),
        Some(other) => Err(other),
    }
}

/// All keys a message is routed by, those no consumer sees included.
pub(crate) fn routing_keys(message: &Message) -> Keys<'_> {
    let Annotations { rerouted, bcc, .. } = Annotations::read(message.annotations());
    let mut keys = Keys::new();
    keys.push(message.routing_key());
    if !rerouted {
        let headers = properties(message).headers.unwrap_or_default();
        // Publishing has checked that it is an array.
        keys.extend(copies(headers, "CC").unwrap_or_default());
    }
    keys.extend(bcc);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_come_back() {
        let long = "k".repeat(300);
        for died in [false, true] {
            for rerouted in [false, true] {
                for keys in [&[][..], &["a"], &["", &long, "ä"]] {
                    let bytes = Annotations { died, rerouted, bcc: keys.into() }.to_bytes();
                    let read = Annotations::read(&bytes);
                    assert_eq!(read, Annotations { died, rerouted, bcc: keys.into() });
                    assert_eq!(bytes.is_empty(), read == Annotations::default());
                }
            }
        }
    }
}
