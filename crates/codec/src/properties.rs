use crate::table::{Table, TableLimits};
use crate::wire::{ReadError, Reader};
use crate::{AmqpError, wire};

/// The properties of a message, borrowed from where they came.
///
/// Texts are bytes: nothing requires UTF-8 here, and everything is passed on as it came. To change
/// a property, change the field and [`encode`](Self::encode).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Properties<'a> {
    /// MIME type of the body.
    pub content_type: Option<&'a [u8]>,
    /// MIME encoding of the body.
    pub content_encoding: Option<&'a [u8]>,
    /// The application's and the broker's own headers.
    pub headers: Option<Table<'a>>,
    /// 2 for a persistent message, anything else is transient.
    pub delivery_mode: Option<u8>,
    /// Higher is delivered first by priority queues.
    pub priority: Option<u8>,
    /// The request a reply belongs to.
    pub correlation_id: Option<&'a [u8]>,
    /// The queue a reply goes to.
    pub reply_to: Option<&'a [u8]>,
    /// Time to live in milliseconds, as decimal digits.
    pub expiration: Option<&'a [u8]>,
    /// The application's name for the message.
    pub message_id: Option<&'a [u8]>,
    /// The application's time, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// The application's type of the message (`type` on the wire).
    pub kind: Option<&'a [u8]>,
    /// The publishing user, checked by the broker when given.
    pub user_id: Option<&'a [u8]>,
    /// The publishing application.
    pub app_id: Option<&'a [u8]>,
    /// Unused; passed on.
    pub cluster_id: Option<&'a [u8]>,
}

/// Calls `$each!(field kind bit)` for the properties in the order of the wire.
macro_rules! for_each_property {
    ($each:ident) => {
        $each!(content_type bytes 15);
        $each!(content_encoding bytes 14);
        $each!(headers table 13);
        $each!(delivery_mode octet 12);
        $each!(priority octet 11);
        $each!(correlation_id bytes 10);
        $each!(reply_to bytes 9);
        $each!(expiration bytes 8);
        $each!(message_id bytes 7);
        $each!(timestamp longlong 6);
        $each!(kind bytes 5);
        $each!(user_id bytes 4);
        $each!(app_id bytes 3);
        $each!(cluster_id bytes 2);
    };
}

/// The flag that says another word of flags follows.
const CONTINUATION: u16 = 1;

/// The flags word of a message with a delivery mode only, as most clients send.
const ONLY_DELIVERY_MODE: [u8; 2] = [0x10, 0];

impl<'a> Properties<'a> {
    /// Reads the properties of a content header: one or more words of flags, then the values.
    ///
    /// # Errors
    /// 501 when the bytes are too few or too many, 502 for malformed headers.
    #[inline]
    pub fn parse(raw: &'a [u8], limits: &TableLimits) -> Result<Self, AmqpError> {
        match *raw {
            [0, 0] => Ok(Self::default()),
            [0x10, 0, mode] => Ok(Self { delivery_mode: Some(mode), ..Self::default() }),
            _ => Self::parse_any(raw, limits),
        }
    }

    fn parse_any(raw: &'a [u8], limits: &TableLimits) -> Result<Self, AmqpError> {
        let mut reader = Reader::within(raw, limits);
        match Self::read(&mut reader) {
            Ok(properties) if reader.rest().is_empty() => Ok(properties),
            Err(ReadError::Table(error)) => Err(error.into()),
            _ => Err(AmqpError::cannot_decode(raw)),
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, ReadError> {
        let flags = reader.short()?;
        let mut word = flags;
        while word & CONTINUATION != 0 {
            word = reader.short()?;
        }
        let mut properties = Self::default();
        macro_rules! read {
            ($field:ident $kind:ident $bit:literal) => {
                if flags & (1 << $bit) != 0 {
                    properties.$field = Some(read!($kind));
                }
            };
            (bytes) => {
                reader.short_bytes()?
            };
            (table) => {
                reader.table()?
            };
            (octet) => {
                reader.octet()?
            };
            (longlong) => {
                reader.longlong()?
            };
        }
        for_each_property!(read);
        Ok(properties)
    }

    /// Appends flags and values, the opposite of [`parse`](Self::parse). Texts over 255 bytes are
    /// cut.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self {
                content_type: None,
                content_encoding: None,
                headers: None,
                delivery_mode,
                priority: None,
                correlation_id: None,
                reply_to: None,
                expiration: None,
                message_id: None,
                timestamp: None,
                kind: None,
                user_id: None,
                app_id: None,
                cluster_id: None,
            } => match delivery_mode {
                None => out.extend_from_slice(&[0, 0]),
                Some(mode) => {
                    let [high, low] = ONLY_DELIVERY_MODE;
                    out.extend_from_slice(&[high, low, mode]);
                }
            },
            _ => self.encode_any(out),
        }
    }

    fn encode_any(&self, out: &mut Vec<u8>) {
        let mut flags = 0_u16;
        macro_rules! flag {
            ($field:ident $kind:ident $bit:literal) => {
                flags |= u16::from(self.$field.is_some()) << $bit;
            };
        }
        for_each_property!(flag);
        out.extend_from_slice(&flags.to_be_bytes());
        macro_rules! write {
            ($field:ident $kind:ident $bit:literal) => {
                if let Some(value) = self.$field {
                    write!($kind value);
                }
            };
            (bytes $value:ident) => {
                wire::put_short_bytes(out, $value)
            };
            (table $value:ident) => {
                wire::put_long_bytes(out, $value.as_bytes())
            };
            (octet $value:ident) => {
                out.push($value)
            };
            (longlong $value:ident) => {
                out.extend_from_slice(&$value.to_be_bytes())
            };
        }
        for_each_property!(write);
    }
}

#[cfg(test)]
mod tests;
