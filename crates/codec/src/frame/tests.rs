use super::*;
use crate::{MethodId, ReplyCode, Scope};

fn raw(kind: u8, channel: u16, payload: &[u8], end: u8) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out.push(end);
    out
}

#[track_caller]
fn refused(input: &[u8], frame_max: u32) -> String {
    let error = split(input, frame_max).unwrap_err();
    assert_eq!(error.scope(), Scope::Connection);
    assert_eq!(error.method(), MethodId::NONE);
    error.reply_text()
}

#[test]
fn a_frame_is_found_only_when_whole() {
    let mut input = raw(1, 7, &[0, 20, 0, 10, 0], FRAME_END);
    for len in 0..input.len() {
        assert_eq!(split(&input[..len], 4096), Ok(None), "{len} bytes");
    }
    let len = input.len();
    input.extend_from_slice(b"next");
    let expected = Frame { kind: FrameKind::Method, channel: 7, payload: &[0, 20, 0, 10, 0] };
    assert_eq!(split(&input, 4096), Ok(Some((expected, len))));
}

#[test]
fn too_large_is_refused_from_the_header_alone() {
    let header = [3, 0, 1, 0, 2, 0x22, 0xe0];
    assert_eq!(
        refused(&header, 131_072),
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,140000,131064}"
    );
    let four_gib = [1, 0, 1, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(
        refused(&four_gib, 4096),
        "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,4294967295,4088}"
    );
    assert_eq!(split(&four_gib, 0), Ok(None));
}

#[test]
fn eight_bytes_over_are_tolerated() {
    let input = raw(3, 1, &[b'x'; 4096], FRAME_END);
    assert!(matches!(split(&input, 4096), Ok(Some(_))));
    let input = raw(3, 1, &[b'x'; 4097], FRAME_END);
    assert_eq!(
        refused(&input, 4096),
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}"
    );
}

#[test]
fn wrong_end_octet() {
    assert_eq!(
        refused(&raw(1, 1, &[0, 20, 0, 10, 0], 0), 4096),
        "FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}"
    );
    assert_eq!(
        refused(&raw(3, 1, &[b'x'; 17], 255), 4096),
        "FRAME_ERROR - type 3, first 16 octets = <<\"xxxxxxxxxxxxxxxx\">>: \
         {invalid_frame_end_marker,255}"
    );
}

#[test]
fn unknown_frames() {
    for channel in [0, 1] {
        assert_eq!(
            refused(&raw(9, channel, b"abc", FRAME_END), 4096),
            "FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame"
        );
    }
    assert_eq!(
        refused(&raw(8, 0, b"x", FRAME_END), 4096),
        "FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame"
    );
    assert_eq!(
        refused(&raw(1, 1, &[0, 10, 0], FRAME_END), 4096),
        "FRAME_ERROR - type 1, all octets = <<0,10,0>>: unknown_frame"
    );
    assert_eq!(
        refused(&raw(2, 1, &[0; 11], FRAME_END), 4096),
        "FRAME_ERROR - type 2, all octets = <<0,0,0,0,0,0,0,0,0,0,0>>: unknown_frame"
    );
}

#[test]
fn channel_rules() {
    assert_eq!(
        refused(&raw(8, 1, b"", FRAME_END), 4096),
        "UNEXPECTED_FRAME - type 8, all octets = <<>>"
    );
    assert_eq!(
        refused(&raw(2, 0, &[0; 14], FRAME_END), 4096),
        "UNEXPECTED_FRAME - type 2, all octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0>>"
    );
    assert_eq!(
        split(&raw(3, 0, b"x", FRAME_END), 4096).unwrap_err().code(),
        ReplyCode::UNEXPECTED_FRAME
    );
}

#[test]
fn heartbeat() {
    let mut out = Vec::new();
    encode_heartbeat(&mut out);
    let expected = Frame { kind: FrameKind::Heartbeat, channel: 0, payload: &[] };
    assert_eq!(split(&out, 4096), Ok(Some((expected, 8))));
}
