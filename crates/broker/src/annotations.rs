//! What the broker keeps with a message beside what its publisher wrote.

use leveret_codec::{Table, Value};
use leveret_engine::Message;
use smallvec::SmallVec;

use crate::queue::properties;

/// Further routing keys of a message: a few at most.
pub(crate) type Keys<'a> = SmallVec<[&'a str; 4]>;

/// Kept in [`Message::annotations`](leveret_engine::Message::annotations): a byte of flags, then
/// the trace if a flag says so, then the `BCC` keys, each behind its length. A message with nothing
/// to note has none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Annotations<'a> {
    /// It has been dead-lettered: its `x-death` header is the broker's, not a publisher's.
    pub(crate) died: bool,
    /// It was dead-lettered with a key of the queue's: its `CC` header no longer routes it.
    pub(crate) rerouted: bool,
    /// The trace it is followed by, if it is.
    pub(crate) traced: Option<Traced>,
    /// The keys that were in its `BCC` header, which no consumer sees.
    pub(crate) bcc: Keys<'a>,
}

/// The trace of a message that is followed: three numbers, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traced {
    /// The trace's identity.
    pub(crate) trace: u128,
    /// The span of what brought the message into its queues.
    pub(crate) span: u64,
    /// When that was, in nanoseconds since the Unix epoch.
    pub(crate) since: u64,
}

const DIED: u8 = 1;
const REROUTED: u8 = 2;
const TRACED: u8 = 4;

impl Traced {
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (trace, rest) = bytes.split_first_chunk()?;
        let (span, rest) = rest.split_first_chunk()?;
        let (since, rest) = rest.split_first_chunk()?;
        let trace = u128::from_le_bytes(*trace);
        let (span, since) = (u64::from_le_bytes(*span), u64::from_le_bytes(*since));
        Some((Self { trace, span, since }, rest))
    }
}

/// Whether a message has been dead-lettered, by this broker or by the one it was taken over from. If
/// not, an `x-death` header it has is its publisher's word.
#[must_use]
pub fn has_died(message: &Message) -> bool {
    message.annotations().first().is_some_and(|flags| flags & DIED != 0)
}

/// The trace a message is followed by, if it is.
pub(crate) fn traced(message: &Message) -> Option<Traced> {
    let (flags, rest) = message.annotations().split_first()?;
    if flags & TRACED == 0 {
        return None;
    }
    Traced::split(rest).map(|(traced, _)| traced)
}

impl<'a> Annotations<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Self {
        let Some((flags, mut rest)) = bytes.split_first() else {
            return Self::default();
        };
        let mut traced = None;
        if flags & TRACED != 0
            && let Some((read, tail)) = Traced::split(rest)
        {
            (traced, rest) = (Some(read), tail);
        }
        let mut bcc = Keys::new();
        while let Some((length, tail)) = rest.split_first_chunk() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let Some((key, tail)) = tail.split_at_checked(length) else { break };
            bcc.extend(str::from_utf8(key));
            rest = tail;
        }
        Self { died: flags & DIED != 0, rerouted: flags & REROUTED != 0, traced, bcc }
    }

    pub(crate) fn to_bytes(&self) -> SmallVec<[u8; 32]> {
        let mut bytes = SmallVec::new();
        if *self == Self::default() {
            return bytes;
        }
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let (died, rerouted) = (flag(self.died, DIED), flag(self.rerouted, REROUTED));
        bytes.push(died | rerouted | flag(self.traced.is_some(), TRACED));
        if let Some(Traced { trace, span, since }) = self.traced {
            bytes.extend_from_slice(&trace.to_le_bytes());
            bytes.extend_from_slice(&span.to_le_bytes());
            bytes.extend_from_slice(&since.to_le_bytes());
        }
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
    use leveret_codec::Properties;
    use leveret_engine::{Body, MessageArena, Millis, NewMessage};

    use super::*;

    fn message(annotations: &[u8]) -> Message {
        MessageArena::new().make(NewMessage {
            now: Millis(0),
            exchange: "",
            routing_key: "q",
            properties: &Properties::default(),
            raw_properties: &[0, 0],
            annotations,
            body: Body::Copy(b""),
        })
    }

    #[test]
    fn annotations_come_back() {
        let long = "k".repeat(300);
        for died in [false, true] {
            for rerouted in [false, true] {
                for keys in [&[][..], &["a"], &["", &long, "ä"]] {
                    for traced in [None, Some(Traced { trace: u128::MAX - 1, span: 2, since: 3 })] {
                        let all = || Annotations { died, rerouted, traced, bcc: keys.into() };
                        let bytes = all().to_bytes();
                        let read = Annotations::read(&bytes);
                        assert_eq!(read, all());
                        assert_eq!(bytes.is_empty(), read == Annotations::default());
                        assert_eq!(has_died(&message(&bytes)), died);
                    }
                }
            }
        }
    }
}
