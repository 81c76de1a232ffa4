//! What a stream was told to be.

use crate::ids::Millis;

/// The effective settings of a stream, arguments and policies merged by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// `x-max-age`: how long messages are kept, at least.
    pub max_age: Option<Millis>,
    /// `x-max-length-bytes`: how much is kept, at most, besides the last segment; in bytes of
    /// [`Message::stored_len`](crate::Message::stored_len), each a multiple of 8.
    pub max_length_bytes: Option<u64>,
    /// `x-stream-max-segment-size-bytes`: a segment with as many bytes takes no more messages.
    pub max_segment_bytes: u64,
}

impl StreamSettings {
    /// RabbitMQ's size of a segment, in bytes.
    pub const SEGMENT_BYTES: u64 = 500_000_000;
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self { max_age: None, max_length_bytes: None, max_segment_bytes: Self::SEGMENT_BYTES }
    }
}
