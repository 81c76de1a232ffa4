//! A published message, immutable and shared by every queue it is in.

mod arena;
mod stored;
#[cfg(test)]
mod tests;

pub use arena::{Body, LARGE_BODY, MessageArena, NewMessage};
pub use stored::{StoredMessageError, StoredOutline};

use bytes::Bytes;
use leveret_codec::Properties;

use crate::ids::Millis;

/// A message as it was published. A clone costs a reference count, plus one small allocation if
/// the body is large.
///
/// Everything but a large body lies in one stretch of bytes whose layout is also its form in the
/// journal ([`stored_parts`](Self::stored_parts)):
///
/// | bytes | field |
/// | --- | --- |
/// | 8 | time of publication in Unix milliseconds, little-endian |
/// | 1, n | length of the exchange's name, the name in UTF-8 |
/// | 1, n | length of the routing key, the key in UTF-8 |
/// | 4, n | length of the properties, little-endian; the properties as on the wire: flags, values |
/// | 4, n | annotations behind their length, if the highest bit of the length before says so |
/// | n | body, up to the end |
#[derive(Clone)]
pub struct Message {
    data: Bytes,
    /// The body, when it is not at the end of `data`. Boxed to keep messages small.
    large_body: Option<Box<Bytes>>,
    expiration: u64,
    properties_len: u32,
    exchange_len: u8,
    routing_key_len: u8,
    priority: u8,
    flags: u8,
}

/// [`Message::expiration`] of a message without one.
const NO_EXPIRATION: u64 = u64::MAX;
/// [`Message::flags`]: the message survives a restart.
const PERSISTENT: u8 = 1;
/// [`Message::flags`]: the message carries a priority.
const HAS_PRIORITY: u8 = 2;
/// [`Message::flags`]: the message carries annotations.
const ANNOTATED: u8 = 4;

/// The delivery mode that asks for persistence; any other asks for nothing.
const DELIVERY_MODE_PERSISTENT: u8 = 2;

const TIMESTAMP_LEN: usize = 8;
const PROPERTIES_LEN_LEN: usize = 4;
const ANNOTATIONS_LEN_LEN: usize = 4;
/// In the stored length of the properties: annotations follow them.
const ANNOTATIONS_FOLLOW: u32 = 1 << 31;

impl Message {
    /// When it was published, in Unix milliseconds.
    #[must_use]
    pub fn timestamp(&self) -> Millis {
        let bytes = self.data.first_chunk().copied().unwrap_or_default();
        Millis(u64::from_le_bytes(bytes))
    }

    /// The exchange it was published to; empty for the default exchange.
    #[must_use]
    pub fn exchange(&self) -> &str {
        text(self.exchange_bytes())
    }

    /// The exchange's name as it goes on the wire, which spares looking at its characters.
    #[must_use]
    pub fn exchange_bytes(&self) -> &[u8] {
        self.slice(TIMESTAMP_LEN + 1, usize::from(self.exchange_len))
    }

    /// Exchange and routing key as they go on the wire, each behind an octet with its length.
    #[must_use]
    pub fn names(&self) -> &[u8] {
        let len = 2 + usize::from(self.exchange_len) + usize::from(self.routing_key_len);
        self.slice(TIMESTAMP_LEN, len)
    }

    /// The routing key it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        text(self.routing_key_bytes())
    }

    /// The routing key as it goes on the wire, which spares looking at its characters.
    #[must_use]
    pub fn routing_key_bytes(&self) -> &[u8] {
        let start = TIMESTAMP_LEN + 2 + usize::from(self.exchange_len);
        self.slice(start, usize::from(self.routing_key_len))
    }

    /// Its properties as in the content header: flags and values, without the body size.
    #[must_use]
    pub fn properties(&self) -> &[u8] {
        self.slice(self.properties_start(), self.properties_len())
    }

    /// What the broker keeps with it and no client sees; mostly nothing.
    #[must_use]
    pub fn annotations(&self) -> &[u8] {
        if self.flags & ANNOTATED == 0 {
            return &[];
        }
        self.slice(self.annotations_start(), self.annotations_len())
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.large_body {
            Some(body) => body,
            None => self.data.get(self.body_start()..).unwrap_or_default(),
        }
    }

    /// Its body, shared rather than copied: for sending large bodies by reference.
    #[must_use]
    pub fn shared_body(&self) -> Bytes {
        match &self.large_body {
            Some(body) => Bytes::clone(body),
            None => self.data.slice(self.body_start().min(self.data.len())..),
        }
    }

    /// Body bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body().len()
    }

    /// Bytes of what is stored besides its body: names, properties, annotations.
    #[must_use]
    pub fn head_len(&self) -> usize {
        match &self.large_body {
            Some(_) => self.data.len(),
            None => self.body_start().min(self.data.len()),
        }
    }

    /// Bytes of its stored form: what it costs in the journal, and about what it costs in memory.
    #[must_use]
    pub fn stored_len(&self) -> usize {
        self.data.len() + self.large_body.as_ref().map_or(0, |body| body.len())
    }

    /// The `priority` property.
    #[must_use]
    pub const fn priority(&self) -> Option<u8> {
        self.traits().priority()
    }

    /// Whether its delivery mode asks for persistence.
    #[must_use]
    pub const fn is_persistent(&self) -> bool {
        self.flags & PERSISTENT != 0
    }

    /// Its own time to live: the `expiration` property.
    #[must_use]
    pub const fn expiration(&self) -> Option<Millis> {
        self.traits().expiration()
    }

    const fn traits(&self) -> Traits {
        Traits { expiration: self.expiration, priority: self.priority, flags: self.flags }
    }

    /// The message with an empty body, in memory of its own: to make others
    /// [like](MessageArena::like) it.
    #[must_use]
    pub fn without_body(&self) -> Self {
        let head = self.data.get(..self.body_start()).unwrap_or_default();
        Self { data: Bytes::copy_from_slice(head), large_body: None, ..*self }
    }

    /// Its stored form in two pieces that belong together, the second one often empty.
    #[must_use]
    pub fn stored_parts(&self) -> [&[u8]; 2] {
        [&self.data, self.large_body.as_deref().map_or(&[], |body| body)]
    }

    const fn properties_len(&self) -> usize {
        self.properties_len as usize
    }

    fn properties_start(&self) -> usize {
        let names = usize::from(self.exchange_len) + usize::from(self.routing_key_len);
        TIMESTAMP_LEN + 2 + names + PROPERTIES_LEN_LEN
    }

    fn body_start(&self) -> usize {
        if self.flags & ANNOTATED == 0 {
            return self.properties_start() + self.properties_len();
        }
        self.annotations_start() + self.annotations_len()
    }

    fn annotations_start(&self) -> usize {
        self.properties_start() + self.properties_len() + ANNOTATIONS_LEN_LEN
    }

    fn annotations_len(&self) -> usize {
        let length =
            self.slice(self.annotations_start() - ANNOTATIONS_LEN_LEN, ANNOTATIONS_LEN_LEN);
        u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize
    }

    fn slice(&self, start: usize, len: usize) -> &[u8] {
        self.data.get(start..start + len).unwrap_or_default()
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

/// What the engine itself reads from the properties of a message.
struct Traits {
    expiration: u64,
    priority: u8,
    flags: u8,
}

impl Traits {
    const fn priority(&self) -> Option<u8> {
        if self.flags & HAS_PRIORITY == 0 { None } else { Some(self.priority) }
    }

    const fn expiration(&self) -> Option<Millis> {
        if self.expiration == NO_EXPIRATION { None } else { Some(Millis(self.expiration)) }
    }

    /// An expiration that is not a decimal number counts as none.
    fn of(properties: &Properties<'_>) -> Self {
        let mut flags = 0;
        if properties.delivery_mode == Some(DELIVERY_MODE_PERSISTENT) {
            flags |= PERSISTENT;
        }
        if properties.priority.is_some() {
            flags |= HAS_PRIORITY;
        }
        Self {
            expiration: properties.expiration.and_then(number).unwrap_or(NO_EXPIRATION),
            priority: properties.priority.unwrap_or_default(),
            flags,
        }
    }
}

/// A decimal number from 0 on, with a sign if need be: `-0` is one.
fn number(digits: &[u8]) -> Option<u64> {
    let number: i128 = str::from_utf8(digits).ok()?.parse().ok()?;
    number.try_into().ok()
}

/// Names were UTF-8 when the message was made.
fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}
