use crate::content::{BASIC_CLASS, ContentHeader};
use crate::frame::{Frame, FrameKind, split};
use crate::method::basic;
use crate::wire::Reader;

/// A `basic.publish` whose frames all stand one behind the other in the input: how nearly every
/// message comes that fits into one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WholePublish<'a> {
    /// The method.
    pub publish: basic::Publish<'a>,
    /// The properties as they came.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

impl<'a> WholePublish<'a> {
    /// The publish that starts with the frame `first`, `rest` being what follows it, and how many
    /// bytes of `rest` it takes.
    ///
    /// `None` stands for anything else, faulty frames and those still to come included: take it
    /// frame by frame.
    #[inline]
    #[must_use]
    pub fn at(first: &Frame<'a>, rest: &'a [u8], frame_max: u32) -> Option<(Self, usize)> {
        if first.kind != FrameKind::Method {
            return None;
        }
        let arguments = first.payload.strip_prefix(&PUBLISH)?;
        let (header, header_len) = split(rest, frame_max).ok()??;
        if header.kind != FrameKind::Header || header.channel != first.channel {
            return None;
        }
        let content = ContentHeader::decode(header.payload).ok()?;
        if content.class != BASIC_CLASS || content.weight != 0 {
            return None;
        }
        let (body, length) = if content.body_size == 0 {
            (&[][..], header_len)
        } else {
            let (body, body_len) = split(rest.get(header_len..)?, frame_max).ok()??;
            let is_whole = body.kind == FrameKind::Body
                && body.channel == first.channel
                && body.payload.len() as u64 == content.body_size;
            if !is_whole {
                return None;
            }
            (body.payload, header_len + body_len)
        };
        let mut arguments = Reader::new(arguments);
        let publish = basic::Publish::read(&mut arguments).ok()?;
        if !arguments.rest().is_empty() {
            return None;
        }
        Some((Self { publish, properties: content.properties, body }, length))
    }
}

/// Class and number of `basic.publish`.
const PUBLISH: [u8; 4] = [0, 60, 0, 40];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::encode_content;

    const PUBLISHED: basic::Publish<'static> =
        basic::Publish { exchange: "x", routing_key: "key", mandatory: true, immediate: false };

    fn wire(body: &[u8], frame_max: u32) -> Vec<u8> {
        let mut out = Vec::new();
        PUBLISHED.encode_frame(7, &mut out);
        encode_content(7, &[0x10, 0, 2], body, frame_max, &mut out);
        out
    }

    /// The publish at the front of `wire` and how many bytes it takes in all.
    fn front(wire: &[u8]) -> Option<(WholePublish<'_>, usize)> {
        let (first, length) = split(wire, 0).unwrap()?;
        let (whole, more) = WholePublish::at(&first, &wire[length..], 0)?;
        Some((whole, length + more))
    }

    #[test]
    fn a_publish_in_one_piece_is_found_with_what_it_takes() {
        for body in [&b""[..], b"x", &[7; 5000]] {
            let mut wire = wire(body, 0);
            let length = wire.len();
            wire.extend_from_slice(b"the next frame");
            let whole = WholePublish { publish: PUBLISHED, properties: &[0x10, 0, 2], body };
            assert_eq!(front(&wire), Some((whole, length)));
        }
    }

    #[test]
    fn what_is_not_all_there_is_left_to_the_frames() {
        let wire = wire(b"body", 0);
        for cut in 0..wire.len() {
            assert_eq!(front(&wire[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_body_in_several_frames_is_left_to_the_frames() {
        assert_eq!(front(&wire(&[7; 5000], 4096)), None);
    }

    #[test]
    fn what_is_faulty_is_left_to_the_frames() {
        let sound = wire(b"body", 0);
        let method_len = split(&sound, 0).unwrap().unwrap().1;
        let body_at = sound.len() - 12;
        let damages = [
            ("another channel's header", method_len + 2, 8),
            ("another class", method_len + 8, 50),
            ("a weight", method_len + 10, 1),
            ("another size", method_len + 18, 9),
            ("another channel's body", body_at + 2, 8),
            ("a bad end", sound.len() - 1, 0),
            ("a method for a body", body_at, 1),
            ("bytes that are no routing key", method_len - 5, 0xff),
        ];
        for (what, at, octet) in damages {
            let mut wire = sound.clone();
            wire[at] = octet;
            assert_eq!(front(&wire), None, "{what}");
        }
    }
}
