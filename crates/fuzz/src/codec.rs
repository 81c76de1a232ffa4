//! The parsers of the wire format.

use leveret_codec::{
    ArrayBuilder, ContentHeader, FRAME_END, FRAME_OVERHEAD, FrameKind, Greeting, Method, MethodId,
    Properties, Table, TableBuilder, TableLimits, Value, split,
};

/// A stream: two bytes of frame-max, then frames and all that is in them.
pub fn frame(input: &[u8]) {
    let _ = Greeting::of(input);
    let Some((frame_max, mut rest)) = input.split_first_chunk() else { return };
    let frame_max = u32::from(u16::from_be_bytes(*frame_max));
    while let Ok(Some((frame, used))) = split(rest, frame_max) {
        assert_eq!(used, frame.payload.len() + FRAME_OVERHEAD);
        assert_eq!(rest[used - 1], FRAME_END);
        assert_eq!(split(&rest[..used - 1], frame_max), Ok(None));
        if frame_max >= 8 {
            assert!(frame.payload.len() <= frame_max as usize);
        }
        assert!(frame.misplaced().reply_text().len() <= 255);
        match frame.kind {
            FrameKind::Method => {
                if let Err(error) = Method::decode(frame.payload) {
                    assert!(error.reply_text().len() <= 255);
                }
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).expect("twelve bytes");
                let _ = Properties::parse(header.properties, &TableLimits::default());
            }
            FrameKind::Body => assert_ne!(frame.channel, 0),
            FrameKind::Heartbeat => assert_eq!((frame.channel, used), (0, 8)),
        }
        rest = &rest[used..];
    }
}

/// The payload of a method frame: what is accepted survives encoding and decoding.
pub fn method(payload: &[u8]) {
    match Method::decode(payload) {
        Ok(method) => {
            let mut out = Vec::new();
            method.encode_frame(1, &mut out);
            let (frame, used) = split(&out, 0).expect("a sound frame").expect("a whole frame");
            assert_eq!(used, out.len());
            let again = Method::decode(frame.payload).expect("what was just encoded");
            assert_eq!(again.id(), method.id());
            // As text, so that NaN equals itself.
            assert_eq!(format!("{again:?}"), format!("{method:?}"));
        }
        Err(error) => {
            assert!(error.reply_text().len() <= 255);
            let mut out = Vec::new();
            error.encode_close(1, &mut out);
            assert!(split(&out, 4096).is_ok_and(|frame| frame.is_some()));
            assert!(error.method() == MethodId::NONE || payload.len() >= 4);
        }
    }
}

/// The bytes of a table: what is accepted can be walked, printed, changed and sorted.
pub fn table(bytes: &[u8]) {
    let Ok(table) = Table::parse(bytes, &LIMITS) else { return };
    let mut fields = 0;
    assert_eq!(walk(table, 1, &mut fields), bytes.len(), "every byte belongs to a field");
    let _ = table.to_string();

    let limits = TableLimits { max_fields: usize::MAX, ..LIMITS };
    let sorted = TableBuilder::from_table(table).build_sorted();
    assert_eq!(sorted.as_bytes().len(), bytes.len());
    assert!(Table::parse(sorted.as_bytes(), &limits).is_ok());
    assert!(sorted.as_table().iter().is_sorted_by_key(|(key, _)| key));

    let set = TableBuilder::from_table(table).set("x-death", Value::Void).build();
    assert!(Table::parse(set.as_bytes(), &limits).is_ok());
    assert_eq!(set.as_table().get("x-death"), Some(Value::Void));
    let removed = TableBuilder::from_table(set.as_table()).remove("x-death").build();
    assert_eq!(removed.as_table().get("x-death"), None);
    if table.get("x-death").is_none() {
        assert_eq!(&removed.as_bytes()[..], bytes);
    }
}

/// Flags and values of a content header: what is accepted survives encoding and decoding.
pub fn properties(raw: &[u8]) {
    let limits = TableLimits::default();
    let Ok(properties) = Properties::parse(raw, &limits) else { return };
    let mut out = Vec::new();
    properties.encode(&mut out);
    assert!(out.len() <= raw.len());
    assert_eq!(Properties::parse(&out, &limits), Ok(properties));
    if raw[1] & 3 == 0 {
        assert_eq!(out, raw);
    }
}

const LIMITS: TableLimits = TableLimits { max_depth: 16, max_fields: 4096 };

/// Bytes of the fields of a table, as reading them found them.
fn walk(table: Table<'_>, depth: usize, fields: &mut usize) -> usize {
    table.iter().map(|(key, value)| 1 + key.len() + walk_value(value, depth, fields)).sum()
}

fn walk_value(value: Value<'_>, depth: usize, fields: &mut usize) -> usize {
    assert!(depth <= LIMITS.max_depth);
    *fields += 1;
    assert!(*fields <= LIMITS.max_fields);
    assert!(!value.type_name().is_empty());
    let rebuilt = ArrayBuilder::new().push(value).build();
    let len = match value {
        Value::Table(table) => 5 + walk(table, depth + 1, fields),
        Value::Array(array) => {
            5 + array.iter().map(|value| walk_value(value, depth + 1, fields)).sum::<usize>()
        }
        _ => rebuilt.as_array().as_bytes().len(),
    };
    assert_eq!(len, rebuilt.as_array().as_bytes().len());
    len
}
