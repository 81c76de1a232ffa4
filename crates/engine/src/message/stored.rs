//! Messages read back from the journal.

use bytes::Bytes;
use leveret_codec::{AmqpError, Properties, Table, TableLimits};

use super::{Message, Traits};
use crate::ids::Millis;
use crate::topology::delay;

/// Why bytes are not a stored message. The journal checks its records, so this means a version
/// or a programming error, never a torn write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredMessageError {
    /// A length points beyond the end.
    #[error("stored message ends within its {0}")]
    Truncated(&'static str),
    /// A name is not UTF-8.
    #[error("{0} of a stored message is not UTF-8")]
    NotUtf8(&'static str),
    /// The properties do not parse.
    #[error("malformed properties in a stored message")]
    Properties(#[source] AmqpError),
}

/// What a queue has to know of a stored message without having it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredOutline {
    /// As [`Message::timestamp`].
    pub timestamp: Millis,
    /// As [`Message::size`].
    pub size: usize,
    /// As [`Message::priority`].
    pub priority: Option<u8>,
    /// As [`Message::expiration`].
    pub expiration: Option<Millis>,
    /// How long a delayed exchange keeps it: see [`delay`].
    pub delay: Option<Millis>,
}

/// Where the parts of a stored message are, and what its properties say.
struct Layout<'a> {
    timestamp: u64,
    exchange_len: u8,
    routing_key_len: u8,
    properties_len: u32,
    annotated: bool,
    /// Bytes of the body.
    size: usize,
    traits: Traits,
    headers: Option<Table<'a>>,
}

impl Message {
    /// Reads the stored form back, sharing `payload` instead of copying it.
    ///
    /// # Errors
    /// [`StoredMessageError`] if anything in it does not hold together.
    pub fn from_stored(payload: Bytes) -> Result<Self, StoredMessageError> {
        let layout = Layout::read(&payload)?;
        let Traits { expiration, priority, flags } = layout.traits;
        Ok(Self {
            large_body: None,
            expiration,
            properties_len: layout.properties_len,
            exchange_len: layout.exchange_len,
            routing_key_len: layout.routing_key_len,
            priority,
            flags: flags | if layout.annotated { super::ANNOTATED } else { 0 },
            data: payload,
        })
    }

    /// Reads the outline of a stored message.
    ///
    /// # Errors
    /// As [`from_stored`](Self::from_stored).
    pub fn outline(payload: &[u8]) -> Result<StoredOutline, StoredMessageError> {
        let Layout { timestamp, size, traits, headers, .. } = Layout::read(payload)?;
        let delay = headers.and_then(delay);
        Ok(StoredOutline {
            timestamp: Millis(timestamp),
            size,
            priority: traits.priority(),
            expiration: traits.expiration(),
            delay,
        })
    }
}

impl<'a> Layout<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, StoredMessageError> {
        let mut reader = Reader(payload);
        let timestamp = reader.take(super::TIMESTAMP_LEN, "timestamp")?;
        let timestamp = u64::from_le_bytes(timestamp.try_into().unwrap_or_default());
        let exchange_len = reader.name("exchange")?;
        let routing_key_len = reader.name("routing key")?;
        let length = reader.take(super::PROPERTIES_LEN_LEN, "properties length")?;
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
        let properties_len = length & !super::ANNOTATIONS_FOLLOW;
        let raw = reader.take(properties_len as usize, "properties")?;
        let annotated = length != properties_len;
        if annotated {
            let length = reader.take(super::ANNOTATIONS_LEN_LEN, "annotations length")?;
            let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
            reader.take(length as usize, "annotations")?;
        }
        let properties = Properties::parse(raw, &TableLimits::ACCEPTED)
            .map_err(StoredMessageError::Properties)?;
        let traits = Traits::of(&properties);
        let size = reader.0.len();
        Ok(Self {
            timestamp,
            exchange_len,
            routing_key_len,
            properties_len,
            annotated,
            size,
            traits,
            headers: properties.headers,
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], StoredMessageError> {
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or(StoredMessageError::Truncated(field))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Passes over a name and returns its length.
    fn name(&mut self, field: &'static str) -> Result<u8, StoredMessageError> {
        let &[len] = self.take(1, field)? else { return Ok(0) };
        let name = self.take(usize::from(len), field)?;
        str::from_utf8(name).map_err(|_| StoredMessageError::NotUtf8(field))?;
        Ok(len)
    }
}
