//! What is written is read back, and what is read is written back bit for bit.

use leveret_codec::{
    ContentHeader, FrameKind, Properties, Table, TableBuilder, TableLimits, body_payload_max,
    encode_content, split,
};
use proptest::prelude::*;

use crate::model;

fn short_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..=255))
}

proptest! {
    #[test]
    fn tables_are_read_as_the_model_wrote_them(entries in model::any_table()) {
        let bytes = model::encode(&entries);
        let table = Table::parse(&bytes, &TableLimits::default()).unwrap();
        prop_assert_eq!(model::read(table), entries);
        prop_assert_eq!(table.as_bytes(), &bytes);
    }

    #[test]
    fn tables_are_built_as_the_model_writes_them(entries in model::common_table()) {
        let built = model::build(&entries);
        prop_assert_eq!(&built.as_bytes()[..], model::encode(&entries));
        let shuffled = entries.iter().rev().cloned().collect();
        let sorted = TableBuilder::from_table(model::build(&shuffled).as_table()).build_sorted();
        prop_assert_eq!(&sorted, &built);
    }

    #[test]
    fn a_table_loosely_equals_itself_and_prints(entries in model::any_table()) {
        let bytes = model::encode(&entries);
        let table = Table::parse(&bytes, &TableLimits::default()).unwrap();
        for (_, value) in table {
            prop_assert!(value.loosely_equals(&value));
            prop_assert!(!value.type_name().is_empty());
        }
        prop_assert!(table.to_string().starts_with('['));
    }

    #[test]
    fn properties(
        texts in prop::array::uniform10(short_bytes()),
        headers in prop::option::of(model::any_table()),
        delivery_mode in any::<Option<u8>>(),
        priority in any::<Option<u8>>(),
        timestamp in any::<Option<u64>>(),
    ) {
        let headers = headers.map(|entries| model::encode(&entries));
        let limits = TableLimits::default();
        let [ct, ce, ci, rt, ex, mi, ty, ui, ai, cl] = texts.each_ref().map(Option::as_deref);
        let properties = Properties {
            content_type: ct,
            content_encoding: ce,
            headers: headers.as_ref().map(|bytes| Table::parse(bytes, &limits).unwrap()),
            delivery_mode,
            priority,
            correlation_id: ci,
            reply_to: rt,
            expiration: ex,
            message_id: mi,
            timestamp,
            kind: ty,
            user_id: ui,
            app_id: ai,
            cluster_id: cl,
        };
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        prop_assert_eq!(Properties::parse(&raw, &limits), Ok(properties));
        for len in 0..raw.len() {
            prop_assert!(Properties::parse(&raw[..len], &limits).is_err());
        }
    }

    #[test]
    fn content(
        channel in 1..=u16::MAX,
        body in prop::collection::vec(any::<u8>(), 0..2000),
        frame_max in prop_oneof![Just(0), 9..3000_u32],
    ) {
        let properties = [0x10, 0, 2];
        let mut out = Vec::new();
        encode_content(channel, &properties, &body, frame_max, &mut out);

        let (header, used) = split(&out, 0).unwrap().unwrap();
        prop_assert_eq!((header.kind, header.channel), (FrameKind::Header, channel));
        let expected = ContentHeader {
            class: 60,
            weight: 0,
            body_size: body.len() as u64,
            properties: &properties,
        };
        prop_assert_eq!(ContentHeader::decode(header.payload), Ok(expected));

        let mut rest = &out[used..];
        let mut received = Vec::new();
        while !rest.is_empty() {
            let (frame, used) = split(rest, frame_max).unwrap().unwrap();
            prop_assert_eq!((frame.kind, frame.channel), (FrameKind::Body, channel));
            prop_assert!(!frame.payload.is_empty());
            prop_assert!(frame.payload.len() <= body_payload_max(frame_max));
            received.extend_from_slice(frame.payload);
            rest = &rest[used..];
        }
        prop_assert_eq!(received, body);
    }
}
