use crate::content::PREFIX_LEN;
use crate::frame::{FRAME_HEADER_LEN, FRAME_OVERHEAD, Frame, FrameKind, split};

/// The frames of a publish without its body. Publishers mostly repeat themselves: what comes in the
/// same frames but for the body means the same and need not be read again.
#[derive(Clone, Debug, Default)]
pub struct PublishShape {
    channel: u16,
    /// Payload of the method frame.
    method: Vec<u8>,
    /// The header frame.
    header: Vec<u8>,
}

/// Where the body's size stands in a header frame, behind class and weight.
const SIZE_AT: usize = FRAME_HEADER_LEN + 4;
const SIZE_END: usize = FRAME_HEADER_LEN + PREFIX_LEN;

impl PublishShape {
    /// Remembers a publish that was found by [`WholePublish::at`](crate::WholePublish::at) with the
    /// same arguments.
    pub fn set(&mut self, first: &Frame<'_>, rest: &[u8]) {
        self.channel = first.channel;
        self.method.clear();
        self.method.extend_from_slice(first.payload);
        self.header.clear();
        if let Some((&[_, _, _, s0, s1, s2, s3], _)) = rest.split_first_chunk::<FRAME_HEADER_LEN>()
        {
            let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).unwrap_or(usize::MAX);
            let length = size.saturating_add(FRAME_OVERHEAD);
            self.header.extend_from_slice(rest.get(..length).unwrap_or_default());
        }
    }

    /// The body of the publish that starts with the frame `first`, `rest` being what follows it, if
    /// it is the remembered one in all but the body; and how many bytes of `rest` it takes. `None`
    /// also when not all of it is there.
    #[inline]
    #[must_use]
    pub fn body<'a>(
        &self,
        first: &Frame<'a>,
        rest: &'a [u8],
        frame_max: u32,
    ) -> Option<(&'a [u8], usize)> {
        let (before, after) = (self.header.get(..SIZE_AT)?, self.header.get(SIZE_END..)?);
        let is_same = first.channel == self.channel
            && first.payload == self.method
            && rest.starts_with(before)
            && rest.get(SIZE_END..).is_some_and(|rest| rest.starts_with(after));
        if !is_same {
            return None;
        }
        let (size, rest) = rest.get(SIZE_AT..)?.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        if size == 0 {
            return Some((&[], self.header.len()));
        }
        let (body, length) = split(rest.get(after.len()..)?, frame_max).ok()??;
        let is_whole = body.kind == FrameKind::Body
            && body.channel == self.channel
            && body.payload.len() as u64 == size;
        is_whole.then_some((body.payload, self.header.len() + length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WholePublish;
    use crate::content::encode_content;
    use crate::method::basic;

    const PUBLISHED: basic::Publish<'static> =
        basic::Publish { exchange: "x", routing_key: "key", mandatory: true, immediate: false };
    const PROPERTIES: [u8; 3] = [0x10, 0, 2];

    fn wire(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        PUBLISHED.encode_frame(7, &mut out);
        encode_content(7, &PROPERTIES, body, 0, &mut out);
        out
    }

    fn shape(wire: &[u8]) -> PublishShape {
        let (first, length) = split(wire, 0).unwrap().unwrap();
        let rest = &wire[length..];
        assert!(WholePublish::at(&first, rest, 0).is_some());
        let mut shape = PublishShape::default();
        shape.set(&first, rest);
        shape
    }

    fn body<'a>(shape: &PublishShape, wire: &'a [u8]) -> Option<(&'a [u8], usize)> {
        let (first, length) = split(wire, 0).unwrap()?;
        let (body, more) = shape.body(&first, &wire[length..], 0)?;
        Some((body, length + more))
    }

    #[test]
    fn what_differs_in_the_body_alone_is_the_same_publish() {
        let shape = shape(&wire(b"once"));
        for again in [&b""[..], b"x", b"once", &[7; 5000]] {
            let mut wire = wire(again);
            let length = wire.len();
            wire.extend_from_slice(b"the next frame");
            assert_eq!(body(&shape, &wire), Some((again, length)));
        }
    }

    #[test]
    fn it_is_found_only_when_all_of_it_is_there() {
        let wire = wire(b"body");
        let shape = shape(&wire);
        for cut in 0..wire.len() {
            assert_eq!(body(&shape, &wire[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn any_other_octet_outside_the_body_makes_another_publish() {
        let sound = wire(b"body");
        let shape = shape(&sound);
        let outside = sound.len() - FRAME_OVERHEAD - 4;
        for at in (0..outside).chain([outside, outside + 2, sound.len() - 1]) {
            let mut wire = sound.clone();
            wire[at] ^= 1;
            if split(&wire, 0).is_ok() {
                assert_eq!(body(&shape, &wire), None, "octet {at}");
            }
        }
    }

    #[test]
    fn nothing_is_like_a_publish_never_seen() {
        assert_eq!(body(&PublishShape::default(), &wire(b"body")), None);
    }
}
