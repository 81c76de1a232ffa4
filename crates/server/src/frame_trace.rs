//! The log at the level `trace`: each frame, by what it is.
//!
//! What is in frames is not told: they may hold passwords, and messages are nobody's business. Whether
//! somebody wants to know is asked once for all frames of a read or a write, which cost nothing
//! otherwise.

use leveret_codec::{Frame, FrameKind, MethodId, PROTOCOL_HEADER, split};

use crate::connection::Peer;
use crate::outbox::Segments;

/// Begins the header that is no frame.
const PROTOCOL: &[u8] = b"AMQP";

/// Tells of the frames a client has sent.
#[inline]
pub(crate) fn received(peer: &Peer, bytes: &[u8]) {
    if tracing::enabled!(tracing::Level::TRACE) {
        tell("received", peer, bytes);
    }
}

/// Tells of the frames it was sent.
#[inline]
pub(crate) fn sent(peer: &Peer, segments: &Segments) {
    if tracing::enabled!(tracing::Level::TRACE) {
        let bytes: Vec<u8> = segments.slices().iter().flat_map(|slice| slice.to_vec()).collect();
        tell("sent", peer, &bytes);
    }
}

#[cold]
fn tell(what: &str, peer: &Peer, mut bytes: &[u8]) {
    if bytes.starts_with(PROTOCOL) {
        tracing::trace!(connection = %peer, frame = "protocol header", "{what}");
        bytes = bytes.get(PROTOCOL_HEADER.len()..).unwrap_or_default();
    }
    // What is no frame the client is told of, and the log at a less verbose level.
    while let Ok(Some((frame, length))) = split(bytes, 0) {
        let (channel, name) = (frame.channel, name(&frame));
        // Of a method it might be the length of a password.
        let body_bytes = (frame.kind == FrameKind::Body).then_some(frame.payload.len());
        tracing::trace!(connection = %peer, channel, frame = name, body_bytes, "{what}");
        bytes = bytes.get(length..).unwrap_or_default();
    }
}

/// A method by its name, any other frame by its kind.
fn name(frame: &Frame<'_>) -> &'static str {
    match frame.kind {
        FrameKind::Method => {
            let id = frame.payload.first_chunk().map(|&[a, b, c, d]| MethodId {
                class: u16::from_be_bytes([a, b]),
                method: u16::from_be_bytes([c, d]),
            });
            id.and_then(MethodId::name).unwrap_or("unknown method")
        }
        FrameKind::Header => "content header",
        FrameKind::Body => "content body",
        FrameKind::Heartbeat => "heartbeat",
    }
}
