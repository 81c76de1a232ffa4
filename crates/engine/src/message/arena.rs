//! Where messages are made: many small ones in one block of memory.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use leveret_codec::Properties;

use super::{
    ANNOTATED, ANNOTATIONS_FOLLOW, ANNOTATIONS_LEN_LEN, Message, PROPERTIES_LEN_LEN, TIMESTAMP_LEN,
    Traits,
};
use crate::ids::Millis;

/// Bodies from this size on are kept where they were received instead of being copied.
pub const LARGE_BODY: usize = 16 * 1024;

/// The body of a message to be made.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// Is copied.
    Copy(&'a [u8]),
    /// Is shared if it has [`LARGE_BODY`] bytes or more, copied otherwise: a small slice must not
    /// keep a large read buffer alive for as long as the message waits.
    Shared(Bytes),
}

impl Body<'_> {
    /// The body, to be kept.
    pub fn into_owned(self) -> Body<'static> {
        match self {
            Self::Copy(body) => Body::Shared(Bytes::copy_from_slice(body)),
            Self::Shared(body) => Body::Shared(body),
        }
    }

    /// What of it lies in the message's own stretch of bytes, and what beside it.
    fn parts(&self) -> (&[u8], Option<Box<Bytes>>) {
        match self {
            Self::Copy(body) if body.len() < LARGE_BODY => (body, None),
            Self::Copy(body) => (&[], Some(Box::new(Bytes::copy_from_slice(body)))),
            Self::Shared(body) if body.len() < LARGE_BODY => (body.chunk(), None),
            Self::Shared(body) => (&[], Some(Box::new(body.clone()))),
        }
    }
}

/// All that a message is made of.
#[derive(Clone, Debug)]
pub struct NewMessage<'a> {
    /// When it is published.
    pub now: Millis,
    /// The exchange it is published to.
    pub exchange: &'a str,
    /// Its routing key.
    pub routing_key: &'a str,
    /// The properties as parsed from `raw_properties`. The priority, the persistence and the
    /// expiration come from here; an expiration that is not a number counts as none.
    pub properties: &'a Properties<'a>,
    /// The properties as on the wire; kept as they are.
    pub raw_properties: &'a [u8],
    /// What the broker keeps with it and no client sees; usually empty.
    pub annotations: &'a [u8],
    /// Its body.
    pub body: Body<'a>,
}

/// Makes messages; one per connection.
///
/// Small messages lie one behind the other in a shared block. Once all messages of a block are
/// gone it is used again, so a connection whose messages are consumed as they come allocates
/// nothing. While they pile up, blocks grow to 64 KiB; a block lives until the
/// last message in it is gone.
#[derive(Debug, Default)]
pub struct MessageArena {
    block: BytesMut,
    /// Capacity the current block was allocated with.
    block_size: usize,
}

const SMALLEST_BLOCK: usize = 4 * 1024;
const LARGEST_BLOCK: usize = 64 * 1024;

/// Messages over this size, not counting a large body, get memory of their own.
const LARGEST_IN_BLOCK: usize = LARGEST_BLOCK / 2;

impl MessageArena {
    /// An arena without memory; the first message allocates.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a message. Names are cut at 255 bytes, which is all the protocol can carry.
    pub fn make(&mut self, new: NewMessage<'_>) -> Message {
        let NewMessage { now, properties, raw_properties, annotations, body, .. } = new;
        let traits = Traits::of(properties);
        let (exchange, exchange_len) = short(new.exchange);
        let (routing_key, routing_key_len) = short(new.routing_key);
        let properties_len = length(raw_properties);
        let annotated = !annotations.is_empty();
        let (inline_body, large_body) = body.parts();
        let names = 2 + exchange.len() + routing_key.len();
        let mut head = TIMESTAMP_LEN + names + PROPERTIES_LEN_LEN + raw_properties.len();
        if annotated {
            head += ANNOTATIONS_LEN_LEN + annotations.len();
        }
        let data = self.write(head + inline_body.len(), |out| {
            out.put_u64_le(now.0);
            out.put_u8(exchange_len);
            out.put_slice(exchange);
            out.put_u8(routing_key_len);
            out.put_slice(routing_key);
            out.put_u32_le(if annotated {
                properties_len | ANNOTATIONS_FOLLOW
            } else {
                properties_len
            });
            out.put_slice(raw_properties);
            if annotated {
                out.put_u32_le(length(annotations));
                out.put_slice(annotations);
            }
            out.put_slice(inline_body);
        });
        Message {
            data,
            large_body,
            expiration: traits.expiration,
            properties_len,
            exchange_len,
            routing_key_len,
            priority: traits.priority,
            flags: traits.flags | if annotated { ANNOTATED } else { 0 },
        }
    }

    /// Makes a message without annotations, as [`make`](Self::make) does.
    pub fn message(
        &mut self,
        now: Millis,
        exchange: &str,
        routing_key: &str,
        properties: &Properties<'_>,
        raw_properties: &[u8],
        body: Body<'_>,
    ) -> Message {
        let annotations = &[];
        self.make(NewMessage {
            now,
            exchange,
            routing_key,
            properties,
            raw_properties,
            annotations,
            body,
        })
    }

    /// Makes a message that is like another in all but time and body.
    pub fn like(&mut self, other: &Message, now: Millis, body: Body<'_>) -> Message {
        let head = other.data.get(TIMESTAMP_LEN..other.body_start()).unwrap_or_default();
        let (inline_body, large_body) = body.parts();
        let data = self.write(TIMESTAMP_LEN + head.len() + inline_body.len(), |out| {
            out.put_u64_le(now.0);
            out.put_slice(head);
            out.put_slice(inline_body);
        });
        Message { data, large_body, ..*other }
    }

    /// Lets go of the block; for connections found idle.
    pub fn release(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    pub(super) const fn block_size(&self) -> usize {
        self.block_size
    }

    fn write(&mut self, len: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
        if len > LARGEST_IN_BLOCK {
            let mut own = BytesMut::with_capacity(len);
            fill(&mut own);
            return own.freeze();
        }
        if !self.block.try_reclaim(len) {
            let doubled = (self.block_size * 2).clamp(SMALLEST_BLOCK, LARGEST_BLOCK);
            self.block_size = doubled.max(len.next_power_of_two());
            self.block = BytesMut::with_capacity(self.block_size);
        }
        fill(&mut self.block);
        self.block.split().freeze()
    }
}

/// A name as a short string.
fn short(name: &str) -> (&[u8], u8) {
    let cut = name.floor_char_boundary(u8::MAX.into());
    let bytes = name.as_bytes().get(..cut).unwrap_or_default();
    (bytes, u8::try_from(bytes.len()).unwrap_or_default())
}

/// The length of a part, which no frame lets come near what the stored form can say.
fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).map_or(ANNOTATIONS_FOLLOW - 1, |len| len & !ANNOTATIONS_FOLLOW)
}
