use crate::AmqpError;

/// The octet every frame ends in.
pub const FRAME_END: u8 = 0xce;

/// Bytes before the payload: type, channel, size.
pub const FRAME_HEADER_LEN: usize = 7;

/// Bytes of a frame that are not payload.
pub const FRAME_OVERHEAD: usize = FRAME_HEADER_LEN + 1;

/// How far over frame-max a payload may be before RabbitMQ refuses it (for clients that forget to
/// subtract the overhead).
const FUDGE: u32 = 8;

/// [`FRAME_OVERHEAD`] in the type of a frame's size field.
const OVERHEAD: u32 = 8;

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// A method and its arguments, at least the four bytes of its ids.
    Method = 1,
    /// A content header, at least the twelve bytes before the properties.
    Header = 2,
    /// A piece of a message body, possibly empty.
    Body = 3,
    /// A sign of life on channel 0, without payload.
    Heartbeat = 8,
}

impl FrameKind {
    fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            1 => Self::Method,
            2 => Self::Header,
            3 => Self::Body,
            8 => Self::Heartbeat,
            _ => return None,
        })
    }

    /// The type octet on the wire.
    #[must_use]
    #[inline]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }

    /// The fewest bytes a payload of this kind has.
    fn payload_min(self) -> usize {
        match self {
            Self::Method => 4,
            Self::Header => 12,
            Self::Body | Self::Heartbeat => 0,
        }
    }
}

/// One frame, its payload still in the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// Everything between the frame header and the end octet.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// 505 for a sound frame that cannot be taken now, such as a channel's frame before the
    /// connection is open: `UNEXPECTED_FRAME - type 1, all octets = <<...>>`.
    #[must_use]
    pub fn misplaced(&self) -> AmqpError {
        AmqpError::misplaced_frame(self.kind.octet(), self.payload)
    }
}

/// Finds the frame at the start of `input` and says how many bytes it takes; `None` when more bytes
/// are needed.
///
/// `frame_max` is the negotiated limit of a whole frame, 0 for none. The size is checked as soon as
/// the frame header is there, so a caller never buffers more than `frame_max` + 8 bytes for one
/// frame.
///
/// # Errors
/// What RabbitMQ answers to bytes that are no frame, in its order of checks: a payload over
/// frame-max (with its tolerance of 8 bytes), a wrong end octet, an unknown type or a payload that
/// cannot be of that type (501), and a kind of frame its channel cannot take: header and body on
/// channel 0, heartbeat on any other (505). The stream is out of step after any of them.
#[inline]
pub fn split(input: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, AmqpError> {
    let Some((&[kind, channel_high, channel_low, size @ ..], rest)) =
        input.split_first_chunk::<FRAME_HEADER_LEN>()
    else {
        return Ok(None);
    };
    let channel = u16::from_be_bytes([channel_high, channel_low]);
    let size = u32::from_be_bytes(size);
    if frame_max != 0 && size > payload_max(frame_max).saturating_add(FUDGE) {
        return Err(too_large(kind, size, frame_max));
    }
    let Some((payload, &[end, ..])) = split_payload(rest, size) else {
        return Ok(None);
    };
    if end != FRAME_END {
        return Err(bad_end(kind, payload, end));
    }
    let Some(frame_kind) = FrameKind::from_octet(kind) else {
        return Err(unknown(kind, payload));
    };
    let is_possible = match frame_kind {
        FrameKind::Heartbeat => payload.is_empty(),
        _ => payload.len() >= frame_kind.payload_min(),
    };
    if !is_possible {
        return Err(unknown(kind, payload));
    }
    let frame = Frame { kind: frame_kind, channel, payload };
    let is_placed = match frame_kind {
        FrameKind::Method => true,
        FrameKind::Header | FrameKind::Body => channel != 0,
        FrameKind::Heartbeat => channel == 0,
    };
    if !is_placed {
        return Err(frame.misplaced());
    }
    Ok(Some((frame, FRAME_OVERHEAD + payload.len())))
}

/// Appends a heartbeat frame.
#[inline]
pub fn encode_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, FRAME_END]);
}

/// The header of a frame whose payload has `size` bytes.
#[inline]
pub(crate) fn frame_header(kind: FrameKind, channel: u16, size: u32) -> [u8; FRAME_HEADER_LEN] {
    let [channel_high, channel_low] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = size.to_be_bytes();
    [kind.octet(), channel_high, channel_low, s0, s1, s2, s3]
}

/// The most payload a frame of at most `frame_max` bytes carries.
#[inline]
pub(crate) fn payload_max(frame_max: u32) -> u32 {
    frame_max.saturating_sub(OVERHEAD)
}

/// The payload and what follows it, if all of the payload is there.
#[inline]
fn split_payload(rest: &[u8], size: u32) -> Option<(&[u8], &[u8])> {
    rest.split_at_checked(usize::try_from(size).ok()?)
}

#[cold]
fn too_large(kind: u8, size: u32, frame_max: u32) -> AmqpError {
    let max = payload_max(frame_max);
    AmqpError::bad_frame(kind, &[], format_args!("{{frame_too_large,{size},{max}}}"))
}

#[cold]
fn bad_end(kind: u8, payload: &[u8], end: u8) -> AmqpError {
    AmqpError::bad_frame(kind, payload, format_args!("{{invalid_frame_end_marker,{end}}}"))
}

#[cold]
fn unknown(kind: u8, payload: &[u8]) -> AmqpError {
    AmqpError::bad_frame(kind, payload, "unknown_frame")
}

#[cfg(test)]
mod tests;
