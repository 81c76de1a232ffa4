//! Bytes on their way to a socket.

use std::io::IoSlice;

use bytes::Bytes;
use leveret_codec::{
    FRAME_END, body_frame_header, body_payload_max, encode_body, encode_content_header,
};
use leveret_engine::{LARGE_BODY, Message};

/// Bytes in the order they go out: small ones together, large bodies where they are.
#[derive(Default)]
pub(crate) struct Segments {
    /// Frames, without the large bodies.
    pub(crate) bytes: Vec<u8>,
    /// Large bodies, each with the place in `bytes` it belongs before.
    large: Vec<(usize, Bytes)>,
    large_len: usize,
}

impl Segments {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.large_len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// Appends a message's header and body frames, with the given properties.
    pub(crate) fn content(
        &mut self,
        channel: u16,
        properties: &[u8],
        message: &Message,
        frame_max: u32,
    ) {
        encode_content_header(channel, properties, message.size() as u64, &mut self.bytes);
        self.body(channel, message, frame_max);
    }

    /// Appends a message's body frames.
    pub(crate) fn body(&mut self, channel: u16, message: &Message, frame_max: u32) {
        if message.size() < LARGE_BODY {
            encode_body(channel, message.body(), frame_max, &mut self.bytes);
            return;
        }
        let mut body = message.shared_body();
        let payload_max = body_payload_max(frame_max);
        while !body.is_empty() {
            let payload = body.split_to(payload_max.min(body.len()));
            let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            self.bytes.extend_from_slice(&body_frame_header(channel, size));
            self.large_len += payload.len();
            self.large.push((self.bytes.len(), payload));
            self.bytes.push(FRAME_END);
        }
    }

    /// Everything in order, for a vectored write.
    pub(crate) fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(2 * self.large.len() + 1);
        let (mut rest, mut start) = (self.bytes.as_slice(), 0);
        for (at, large) in &self.large {
            let (before, after) = rest.split_at_checked(at - start).unwrap_or((rest, &[]));
            slices.push(IoSlice::new(before));
            slices.push(IoSlice::new(large));
            (rest, start) = (after, *at);
        }
        slices.push(IoSlice::new(rest));
        slices
    }

    /// Empties it; keeps room for the next round unless that is a lot.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.large.clear();
        self.large_len = 0;
    }
}

/// Room for bytes kept from round to round. What a busy connection fills again at once.
const KEPT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use leveret_codec::{Properties, split};
    use leveret_engine::{Body, MessageArena, Millis};

    use super::*;

    #[test]
    fn large_bodies_go_out_in_frames_between_their_headers_and_ends() {
        let body: Vec<u8> = (0..=250).cycle().take(LARGE_BODY + 100).collect();
        let mut arena = MessageArena::default();
        let properties = Properties::default();
        let body_bytes = Body::Shared(body.clone().into());
        let message = arena.message(Millis(0), "", "k", &properties, &[0, 0], body_bytes);
        let mut segments = Segments::default();
        segments.content(3, message.properties(), &message, 4096);
        let wire: Vec<u8> = segments.slices().iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(wire.len(), segments.len());
        let (mut rest, mut received) = (wire.as_slice(), Vec::new());
        let (_, header) = split(rest, 4096).unwrap().unwrap();
        rest = &rest[header..];
        while let Some((frame, length)) = split(rest, 4096).unwrap() {
            received.extend_from_slice(frame.payload);
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        assert_eq!(received, body);
    }
}
