//! Bytes nobody should send. Nothing may panic, and what is refused and what is not is the same as
//! in the naive model.

use leveret_codec::{
    AmqpError, ContentHeader, Frame, FrameKind, Method, Properties, Scope, Table, TableLimits,
    split,
};
use proptest::prelude::*;

use crate::model;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

/// A sound table with one octet changed, or cut short.
fn damaged_table() -> impl Strategy<Value = Vec<u8>> {
    let damage = (any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    (model::any_table(), damage).prop_map(|(entries, (at, octet, cut))| {
        let mut bytes = model::encode(&entries);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = octet;
            bytes.truncate(if cut { at } else { bytes.len() });
        }
        bytes
    })
}

/// The fields of a tag soup rarely make a table; weighting tags and small numbers makes more do.
fn tag_soup() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => Just(0_u8),
        4 => 1..8_u8,
        2 => prop::sample::select(b"tbBsuIilLfdDSxAFTV".to_vec()),
    ];
    prop::collection::vec(octet, 0..60)
}

fn consume(frame: Frame<'_>) -> Result<(), AmqpError> {
    match frame.kind {
        FrameKind::Method => {
            let method = Method::decode(frame.payload)?;
            let mut out = Vec::new();
            method.encode_frame(frame.channel, &mut out);
            let (again, used) = split(&out, 0)?.unwrap();
            assert_eq!(used, out.len());
            assert_eq!(format!("{:?}", Method::decode(again.payload)?), format!("{method:?}"));
        }
        FrameKind::Header => {
            let header = ContentHeader::decode(frame.payload)?;
            Properties::parse(header.properties, &TableLimits::default())?;
        }
        FrameKind::Body | FrameKind::Heartbeat => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn tables_are_accepted_exactly_when_the_model_accepts_them(
        bytes in prop_oneof![bytes(), damaged_table(), tag_soup()],
    ) {
        let limits = TableLimits { max_depth: usize::MAX, max_fields: usize::MAX };
        let ours = Table::parse(&bytes, &limits).ok().map(model::read);
        // Compared as text, so that NaN equals itself.
        prop_assert_eq!(format!("{ours:?}"), format!("{:?}", model::decode(&bytes)));
    }

    #[test]
    fn a_stream_of_anything_never_panics(input in bytes(), frame_max in 0..300_u32) {
        let mut rest = &input[..];
        while let Ok(Some((frame, used))) = split(rest, frame_max) {
            let _ = consume(frame);
            rest = &rest[used..];
        }
    }

    #[test]
    fn a_method_of_anything_closes_the_connection_or_is_sound(
        class in prop::sample::select(vec![10_u16, 20, 30, 40, 50, 60, 85, 90]),
        method in prop::sample::select(vec![10_u16, 11, 20, 21, 30, 31, 40, 50, 60, 70, 71, 80, 120]),
        arguments in tag_soup(),
    ) {
        let payload =
            [&class.to_be_bytes()[..], &method.to_be_bytes(), &arguments].concat();
        let frame = Frame { kind: FrameKind::Method, channel: 1, payload: &payload };
        if let Err(error) = consume(frame) {
            prop_assert_eq!(error.scope(), Scope::Connection);
            prop_assert!(error.reply_text().len() <= 255);
        }
    }
}
