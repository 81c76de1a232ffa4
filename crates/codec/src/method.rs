//! Every method of AMQP 0-9-1 and of RabbitMQ's extensions to it, in both directions.

mod define;
mod spec;

use std::fmt;

pub use spec::{Method, access, basic, channel, confirm, connection, exchange, queue, tx};

use crate::AmqpError;
use crate::frame::{self, FRAME_END, FRAME_HEADER_LEN, FrameKind};
use crate::table::TableLimits;
use crate::wire::{self, ReadError, Reader};

/// A method's class and its number in the class.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId {
    /// The class, such as 60 for `basic`.
    pub class: u16,
    /// The method in the class, such as 40 for `basic.publish`.
    pub method: u16,
}

impl MethodId {
    /// No method: what a close method says when none is to blame.
    pub const NONE: Self = Self { class: 0, method: 0 };

    /// Whether a content header and a body follow the method: `basic.publish`, `return`, `deliver`
    /// and `get-ok`.
    #[must_use]
    #[inline]
    pub const fn carries_content(self) -> bool {
        matches!((self.class, self.method), (60, 40 | 50 | 60 | 71))
    }
}

/// The method's name, or its numbers if the protocol has no such method.
impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}.{}", self.class, self.method),
        }
    }
}

impl fmt::Debug for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Splits a method frame's payload into the method's id and a reader of its arguments.
#[inline]
fn read_id<'a>(
    payload: &'a [u8],
    tables: &TableLimits,
) -> Result<(MethodId, Reader<'a>), AmqpError> {
    let Some((&[c0, c1, m0, m1], arguments)) = payload.split_first_chunk() else {
        return Err(AmqpError::bad_frame(FrameKind::Method.octet(), payload, "unknown_frame"));
    };
    let id = MethodId { class: u16::from_be_bytes([c0, c1]), method: u16::from_be_bytes([m0, m1]) };
    Ok((id, Reader::within(arguments, tables)))
}

/// What a client is told about arguments that cannot be read.
#[cold]
fn undecodable(error: ReadError, id: MethodId, payload: &[u8]) -> AmqpError {
    match error {
        ReadError::Truncated => {
            AmqpError::cannot_decode(payload.get(4..).unwrap_or_default()).with_method(id)
        }
        ReadError::MalformedUtf8 => AmqpError::malformed_utf8(),
        ReadError::Table(error) => AmqpError::from(error).with_method(id),
    }
}

/// Room for a method frame without its arguments.
const EMPTY_FRAME: usize = FRAME_HEADER_LEN + 4 + 1;

/// Starts a method frame whose arguments take at most `room` bytes and says where it starts.
#[inline]
fn begin(id: MethodId, channel: u16, room: usize, out: &mut Vec<u8>) -> usize {
    out.reserve(EMPTY_FRAME + room);
    let start = out.len();
    let [k, ch0, ch1, s0, s1, s2, s3] = frame::frame_header(FrameKind::Method, channel, 0);
    let [c0, c1] = id.class.to_be_bytes();
    let [m0, m1] = id.method.to_be_bytes();
    out.extend_from_slice(&[k, ch0, ch1, s0, s1, s2, s3, c0, c1, m0, m1]);
    start
}

/// Ends the frame started at `start`: its size is known now.
#[inline]
fn end(start: usize, out: &mut Vec<u8>) {
    let size = wire::size(out.len() - start - FRAME_HEADER_LEN);
    if let Some(field) = out.get_mut(start + 3..start + FRAME_HEADER_LEN) {
        field.copy_from_slice(&size.to_be_bytes());
    }
    out.push(FRAME_END);
}

#[cfg(test)]
mod tests;
