use crate::frame::{self, FRAME_END, FRAME_HEADER_LEN, FRAME_OVERHEAD, FrameKind};
use crate::wire::Reader;
use crate::{AmqpError, wire};

/// The only class whose methods carry content.
pub const BASIC_CLASS: u16 = 60;

/// Bytes of a content header before the properties.
pub(crate) const PREFIX_LEN: usize = 12;

/// The payload of a header frame: how large the body is, and the properties as they came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentHeader<'a> {
    /// The class of the method the content belongs to.
    pub class: u16,
    /// Always 0; RabbitMQ does not take a frame with another weight for a content header.
    pub weight: u16,
    /// Bytes of body to come.
    pub body_size: u64,
    /// Property flags and values, to be passed on untouched or read with
    /// [`Properties::parse`](crate::Properties::parse), which also refuses trailing bytes.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads the payload of a header frame.
    ///
    /// # Errors
    /// 501 when the payload is shorter than the header's fixed part.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, AmqpError> {
        let mut reader = Reader::new(payload);
        let fields = (reader.short(), reader.short(), reader.longlong());
        let (Ok(class), Ok(weight), Ok(body_size)) = fields else {
            return Err(AmqpError::bad_frame(FrameKind::Header.octet(), payload, "unknown_frame"));
        };
        Ok(Self { class, weight, body_size, properties: reader.rest() })
    }
}

/// Appends a message's header frame and its body frames, none larger than `frame_max` bytes
/// (0 for no limit).
///
/// `properties` are flags and values as in [`ContentHeader::properties`]; empty stands for no
/// property at all. An empty body has no body frame.
#[inline]
pub fn encode_content(
    channel: u16,
    properties: &[u8],
    body: &[u8],
    frame_max: u32,
    out: &mut Vec<u8>,
) {
    let body_size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let frames = body.len().div_ceil(body_payload_max(frame_max));
    out.reserve(header_frame_len(properties) + body.len() + frames * FRAME_OVERHEAD);
    encode_content_header(channel, properties, body_size, out);
    encode_body(channel, body, frame_max, out);
}

/// Appends a message's body frames, none larger than `frame_max` bytes (0 for no limit); none at
/// all if the body is empty.
#[inline]
pub fn encode_body(channel: u16, body: &[u8], frame_max: u32, out: &mut Vec<u8>) {
    let chunk = body_payload_max(frame_max);
    if (1..=chunk).contains(&body.len()) {
        encode_body_frame(channel, body, out);
        return;
    }
    for piece in body.chunks(chunk) {
        encode_body_frame(channel, piece, out);
    }
}

/// Appends a message's header frame.
///
/// `properties` are flags and values as in [`ContentHeader::properties`]; empty stands for no
/// property at all. They came in one frame, so they fit in one.
#[inline]
pub fn encode_content_header(channel: u16, properties: &[u8], body_size: u64, out: &mut Vec<u8>) {
    let properties = if properties.is_empty() { &NO_PROPERTIES } else { properties };
    out.reserve(header_frame_len(properties));
    let size = wire::size(PREFIX_LEN + properties.len());
    let mut fixed = [0; FRAME_HEADER_LEN + PREFIX_LEN];
    let (header, prefix) = fixed.split_at_mut(FRAME_HEADER_LEN);
    header.copy_from_slice(&frame::frame_header(FrameKind::Header, channel, size));
    let (class_and_weight, body) = prefix.split_at_mut(4);
    class_and_weight.copy_from_slice(&(u32::from(BASIC_CLASS) << 16).to_be_bytes());
    body.copy_from_slice(&body_size.to_be_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(properties);
    out.push(FRAME_END);
}

/// Appends one body frame. The caller keeps `payload` within [`body_payload_max`].
#[inline]
pub fn encode_body_frame(channel: u16, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(FRAME_OVERHEAD + payload.len());
    out.extend_from_slice(&body_frame_header(channel, wire::size(payload.len())));
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}

/// The bytes before a body frame's payload of `size` bytes, for a body that is sent by reference:
/// write these, the payload, then [`FRAME_END`].
#[must_use]
#[inline]
pub fn body_frame_header(channel: u16, size: u32) -> [u8; FRAME_HEADER_LEN] {
    frame::frame_header(FrameKind::Body, channel, size)
}

/// The most bytes of body one frame takes when frames have at most `frame_max` bytes (0 for no
/// limit). At least 1, so that splitting a body always ends.
#[must_use]
#[inline]
pub fn body_payload_max(frame_max: u32) -> usize {
    let frame_max = if frame_max == 0 { u32::MAX } else { frame_max };
    usize::try_from(frame::payload_max(frame_max)).unwrap_or(usize::MAX).max(1)
}

/// The flags word of a message without properties.
const NO_PROPERTIES: [u8; 2] = [0, 0];

#[inline]
fn header_frame_len(properties: &[u8]) -> usize {
    FRAME_OVERHEAD + PREFIX_LEN + properties.len().max(NO_PROPERTIES.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, split};

    fn frames(mut input: &[u8]) -> Vec<Frame<'_>> {
        let mut frames = Vec::new();
        while let Some((frame, used)) = split(input, 0).unwrap() {
            frames.push(frame);
            input = &input[used..];
        }
        assert!(input.is_empty());
        frames
    }

    #[test]
    fn a_body_is_cut_to_frames() {
        let body: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        encode_content(5, &[0x10, 0, 2], &body, 108, &mut out);
        let frames = frames(&out);
        assert!(frames.iter().all(|frame| frame.channel == 5));
        let header = ContentHeader::decode(frames[0].payload).unwrap();
        assert_eq!(
            header,
            ContentHeader { class: 60, weight: 0, body_size: 256, properties: &[0x10, 0, 2] }
        );
        let sizes: Vec<_> = frames[1..].iter().map(|frame| frame.payload.len()).collect();
        assert_eq!(sizes, [100, 100, 56]);
        let sent: Vec<u8> = frames[1..].iter().flat_map(|frame| frame.payload).copied().collect();
        assert_eq!(sent, body);
    }

    #[test]
    fn an_empty_body_has_no_frame() {
        let mut out = Vec::new();
        encode_content(1, &[], b"", 0, &mut out);
        assert_eq!(out, [2, 0, 1, 0, 0, 0, 14, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xce]);
    }

    #[test]
    fn space_is_reserved_once() {
        let mut out = Vec::new();
        encode_content(1, &[0x10, 0, 2], &[7; 300], 108, &mut out);
        let mut fitted = Vec::with_capacity(out.len());
        encode_content(1, &[0x10, 0, 2], &[7; 300], 108, &mut fitted);
        assert_eq!(fitted.capacity(), out.len());
    }

    #[test]
    fn a_body_sent_by_reference_is_the_same_frame() {
        let mut copied = Vec::new();
        encode_body_frame(9, b"body", &mut copied);
        let by_reference = [&body_frame_header(9, 4)[..], b"body", &[FRAME_END]].concat();
        assert_eq!(copied, by_reference);
    }

    #[test]
    fn a_senseless_frame_max_still_ends() {
        assert_eq!(body_payload_max(8), 1);
        assert_eq!(body_payload_max(0), 4_294_967_287);
        assert_eq!(body_payload_max(131_072), 131_064);
    }

    #[test]
    fn a_short_header_is_no_frame() {
        assert_eq!(
            ContentHeader::decode(&[0, 60]).unwrap_err().reply_text(),
            "FRAME_ERROR - type 2, all octets = <<0,60>>: unknown_frame"
        );
    }
}
