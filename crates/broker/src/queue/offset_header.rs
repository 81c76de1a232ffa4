//! The header that tells a reader of a stream where it is.

use leveret_codec::{Properties, TableBuilder, Value};
use leveret_engine::Message;

use super::properties;

const NAME: &str = "x-stream-offset";
/// Length and name, type, value.
const ENTRY: usize = 1 + NAME.len() + 1 + 8;

const HEADERS: u16 = 1 << 13;
/// The strings before the headers: content type and encoding.
const STRINGS: [u16; 2] = [1 << 15, 1 << 14];
const CONTINUATION: u16 = 1;

/// Appends a message's properties with the header `x-stream-offset` added.
pub(super) fn put_with_offset(message: &Message, offset: u64, out: &mut Vec<u8>) {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let start = out.len();
    if splice(message.properties(), offset, out).is_some() {
        return;
    }
    out.truncate(start);
    let properties = properties(message);
    let headers = TableBuilder::from_table(properties.headers.unwrap_or_default());
    let headers = headers.set(NAME, Value::I64(offset)).build();
    Properties { headers: Some(headers.as_table()), ..properties }.encode(out);
}

/// As every delivery needs it, without taking the properties apart: the entry goes to the end of
/// the headers. `None` if that is not enough, as the message has the header already.
fn splice(raw: &[u8], offset: i64, out: &mut Vec<u8>) -> Option<()> {
    let (flags, fields) = raw.split_first_chunk()?;
    let flags = u16::from_be_bytes(*flags);
    if flags & CONTINUATION != 0 {
        return None;
    }
    let mut rest = fields;
    for _ in STRINGS.iter().filter(|flag| flags & **flag != 0) {
        let (length, string) = rest.split_first()?;
        rest = string.get(usize::from(*length)..)?;
    }
    let before = fields.get(..fields.len() - rest.len())?;
    let (table, after) = if flags & HEADERS == 0 {
        (&[][..], rest)
    } else {
        let (length, table) = rest.split_first_chunk()?;
        table.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?
    };
    if table.windows(NAME.len()).any(|window| window == NAME.as_bytes()) {
        return None;
    }
    let length = u32::try_from(table.len() + ENTRY).ok()?;
    out.extend_from_slice(&(flags | HEADERS).to_be_bytes());
    out.extend_from_slice(before);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(table);
    out.push(u8::try_from(NAME.len()).ok()?);
    out.extend_from_slice(NAME.as_bytes());
    out.push(b'l');
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(after);
    Some(())
}

#[cfg(test)]
mod tests {
    use leveret_codec::{Table, TableBuf, TableLimits};
    use leveret_engine::{Body, MessageArena, Millis};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn with_offset(properties: &Properties<'_>, offset: u64) -> Vec<u8> {
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        let body = Body::Copy(b"body");
        let message = MessageArena::new().message(Millis(0), "x", "k", properties, &raw, body);
        let mut out = vec![7];
        put_with_offset(&message, offset, &mut out);
        assert_eq!(out.remove(0), 7);
        out
    }

    fn headers(raw: &[u8]) -> TableBuf {
        let properties = Properties::parse(raw, &TableLimits::default()).unwrap();
        TableBuf::from(properties.headers.unwrap())
    }

    #[test]
    fn a_header_of_that_name_is_replaced() {
        let table =
            TableBuilder::new().put(NAME, Value::text("mine")).put("k", Value::I32(1)).build();
        let properties = Properties { headers: Some(table.as_table()), ..Properties::default() };
        let expected = TableBuilder::new().put(NAME, Value::I64(5)).put("k", Value::I32(1)).build();
        assert_eq!(headers(&with_offset(&properties, 5)), expected);
    }

    proptest! {
        #[test]
        fn everything_else_stays(
            strings in [option::of("[a-z]{0,9}"), option::of("[a-z]{0,9}"), option::of("[a-z]{0,9}")],
            mode: Option<u8>,
            timestamp: Option<u64>,
            value in option::of("x?(x-stream-offset)?[a-z]{0,9}"),
            is_empty: bool,
            offset in 0..u64::try_from(i64::MAX).unwrap(),
        ) {
            let table = value.as_ref().map(|value| {
                TableBuilder::new().put("key", Value::text(value)).build()
            });
            let table = if is_empty { Some(TableBuf::default()) } else { table };
            let string = |at: usize| strings[at].as_ref().map(String::as_bytes);
            let properties = Properties {
                content_type: string(0),
                content_encoding: string(1),
                headers: table.as_ref().map(TableBuf::as_table),
                delivery_mode: mode,
                message_id: string(2),
                timestamp,
                ..Properties::default()
            };
            let raw = with_offset(&properties, offset);
            let old = properties.headers.unwrap_or(Table::EMPTY);
            let offset = i64::try_from(offset).unwrap();
            let expected = TableBuilder::from_table(old).put(NAME, Value::I64(offset)).build();
            let expected = Properties { headers: Some(expected.as_table()), ..properties };
            prop_assert_eq!(Properties::parse(&raw, &TableLimits::default()).unwrap(), expected);
        }
    }
}
