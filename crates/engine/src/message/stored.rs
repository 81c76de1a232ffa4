//! Messages read back from the journal.

use bytes::Bytes;
use leveret_codec::{AmqpError, Properties, TableLimits};

use super::{Message, Traits};

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
    /// The expiration is not a decimal number.
    #[error("malformed expiration in a stored message")]
    Expiration,
}

impl Message {
    /// Reads the stored form back, sharing `payload` instead of copying it.
    ///
    /// # Errors
    /// [`StoredMessageError`] if anything in it does not hold together.
    pub fn from_stored(payload: Bytes) -> Result<Self, StoredMessageError> {
        let mut reader = Reader(&payload);
        reader.take(super::TIMESTAMP_LEN, "timestamp")?;
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
        let limits = TableLimits { max_depth: TableLimits::DEEPEST, max_fields: usize::MAX };
        let properties = Properties::parse(raw, &limits).map_err(StoredMessageError::Properties)?;
        if properties.expiration.is_some_and(|digits| super::number(digits).is_none()) {
            return Err(StoredMessageError::Expiration);
        }
        let traits = Traits::of(&properties);
        Ok(Self {
            large_body: None,
            expiration: traits.expiration,
            properties_len,
            exchange_len,
            routing_key_len,
            priority: traits.priority,
            flags: traits.flags | if annotated { super::ANNOTATED } else { 0 },
            data: payload,
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
