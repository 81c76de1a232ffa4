use super::*;
use crate::ReplyCode;
use crate::table::TableBuilder;

fn parse(raw: &[u8]) -> Result<Properties<'_>, AmqpError> {
    Properties::parse(raw, &TableLimits::default())
}

fn encode(properties: &Properties<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    properties.encode(&mut out);
    out
}

#[test]
fn bytes_of_every_property() {
    let headers = TableBuilder::new().put("h", true).build();
    let properties = Properties {
        content_type: Some(b"ct"),
        content_encoding: Some(b"ce"),
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        priority: Some(3),
        correlation_id: Some(b"ci"),
        reply_to: Some(b"rt"),
        expiration: Some(b"60"),
        message_id: Some(b"mi"),
        timestamp: Some(0x0102_0304_0506_0708),
        kind: Some(b"ty"),
        user_id: Some(b"ui"),
        app_id: Some(b"ai"),
        cluster_id: Some(b"\xff"),
    };
    let raw = b"\xff\xfc\x02ct\x02ce\0\0\0\x04\x01ht\x01\x02\x03\x02ci\x02rt\x0260\x02mi\
                \x01\x02\x03\x04\x05\x06\x07\x08\x02ty\x02ui\x02ai\x01\xff";
    assert_eq!(encode(&properties), raw);
    assert_eq!(parse(raw), Ok(properties));
}

#[test]
fn common_cases_are_short() {
    assert_eq!(parse(&[0, 0]), Ok(Properties::default()));
    assert_eq!(encode(&Properties::default()), [0, 0]);
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    assert_eq!(parse(&[0x10, 0, 2]), Ok(persistent));
    assert_eq!(encode(&persistent), [0x10, 0, 2]);
}

#[test]
fn further_words_of_flags_are_skipped() {
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    assert_eq!(parse(&[0x10, 1, 0, 0, 2]), Ok(persistent));
    assert_eq!(parse(&[0x10, 1, 0, 1, 0, 0, 2]), Ok(persistent));
}

#[test]
fn the_bytes_are_the_properties_and_nothing_else() {
    for raw in [
        &[][..],
        &[0],
        &[0, 0, 0],
        &[0x10, 0],
        &[0x10, 0, 2, 2],
        &[0x10, 1],
        &[0x80, 0, 3, b'a'],
        &[0x20, 0, 0, 0, 0, 9, 0],
    ] {
        assert_eq!(parse(raw).unwrap_err().code(), ReplyCode::FRAME_ERROR, "{raw:?}");
    }
    assert_eq!(
        parse(&[0, 0, 7]).unwrap_err().reply_text(),
        "FRAME_ERROR - cannot decode <<0,0,7>>"
    );
}

#[test]
fn malformed_headers_are_a_syntax_error() {
    let raw = b"\x20\0\0\0\0\x03\x01aZ";
    assert_eq!(
        parse(raw).unwrap_err().reply_text(),
        "SYNTAX_ERROR - malformed table: unknown field type 90"
    );
}

#[test]
fn a_changed_copy_keeps_the_rest() {
    let raw = b"\x31\0\0\0\0\x04\x01ht\x07\x02\x0260";
    let properties = parse(raw).unwrap();
    assert_eq!(properties.expiration, Some(&b"60"[..]));
    let without = Properties { expiration: None, ..properties };
    assert_eq!(encode(&without), b"\x30\0\0\0\0\x04\x01ht\x07\x02");
}
