//! A publish arrives as a method, a header and any number of body frames: here they meet.

use leveret_broker::refusal;
use leveret_codec::{AmqpError, ContentHeader, Frame, FrameKind, MethodId, basic};
use leveret_engine::Body;

use super::Mandatory;

/// No body is larger, whatever the configuration says.
const HARD_MAX: u64 = 512 * 1024 * 1024;
const METHOD: MethodId = basic::Publish::ID;
/// Room for properties that a channel keeps from message to message.
const KEPT: usize = 4096;

/// The publish a channel is in the middle of. Its buffers are used again for the next one.
#[derive(Default)]
pub(crate) struct Assembly {
    expected: Expected,
    exchange: String,
    routing_key: String,
    mandatory: Mandatory,
    properties: Vec<u8>,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Expected {
    #[default]
    Method,
    Header,
    Body {
        remaining: u64,
    },
}

/// A whole publish.
pub(crate) struct Content<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) mandatory: Mandatory,
    pub(crate) properties: &'a [u8],
    pub(crate) body: Body<'a>,
}

impl Assembly {
    /// Starts with the method.
    pub(crate) fn begin(&mut self, publish: &basic::Publish<'_>) {
        self.exchange.clear();
        self.exchange.push_str(publish.exchange);
        self.routing_key.clear();
        self.routing_key.push_str(publish.routing_key);
        self.mandatory = Mandatory::of(publish);
        self.properties.clear();
        self.expected = Expected::Header;
    }

    /// Whether a method may come now.
    ///
    /// # Errors
    /// 505 in the middle of a publish.
    pub(crate) fn check_method(&self) -> Result<(), AmqpError> {
        match self.expected {
            Expected::Method => Ok(()),
            Expected::Header => Err(AmqpError::expected_content_header(METHOD)),
            Expected::Body { .. } => Err(AmqpError::expected_content_body(METHOD)),
        }
    }

    /// Bytes that have come of a message that is not whole.
    pub(crate) fn unfinished(&self) -> u64 {
        match self.expected {
            Expected::Body { .. } => (self.properties.len() + self.body.len()) as u64,
            Expected::Method | Expected::Header => 0,
        }
    }

    /// The last message is done with: lets memory go that most don't need.
    pub(crate) fn release(&mut self) {
        self.properties.clear();
        self.properties.shrink_to(KEPT);
    }

    /// Goes on with a header or body frame; returns the publish when it is whole.
    ///
    /// # Errors
    /// 505 for a frame that isn't expected, 501 for more body than was announced, 406 for a message
    /// over `max_message_bytes`, which is refused before the first byte of its body is kept.
    pub(crate) fn frame<'a>(
        &'a mut self,
        frame: &Frame<'a>,
        max_message_bytes: u64,
    ) -> Result<Option<Content<'a>>, AmqpError> {
        match (self.expected, frame.kind) {
            (Expected::Header, FrameKind::Header) => self.header(frame.payload, max_message_bytes),
            (Expected::Body { remaining }, FrameKind::Body) => {
                self.body_frame(remaining, frame.payload)
            }
            (Expected::Method, _) => Err(AmqpError::expected_method_frame()),
            (Expected::Header, _) => Err(AmqpError::expected_content_header(METHOD)),
            (Expected::Body { .. }, _) => Err(AmqpError::expected_content_body(METHOD)),
        }
    }

    fn header(
        &mut self,
        payload: &[u8],
        max_message_bytes: u64,
    ) -> Result<Option<Content<'_>>, AmqpError> {
        let header = ContentHeader::decode(payload).map_err(|error| error.with_method(METHOD))?;
        if header.class != METHOD.class {
            return Err(AmqpError::content_header_of_other_class(METHOD, header.class));
        }
        if header.weight != 0 {
            return Err(AmqpError::expected_content_header(METHOD));
        }
        let size = header.body_size;
        if size > HARD_MAX {
            return Err(AmqpError::body_size_exceeds_maximum(METHOD, size, HARD_MAX));
        }
        if size > max_message_bytes {
            self.expected = Expected::Method;
            let refused = refusal::message_too_large(size, max_message_bytes);
            return Err(refused.with_method(METHOD));
        }
        self.properties.extend_from_slice(header.properties);
        if size > 0 {
            self.expected = Expected::Body { remaining: size };
            return Ok(None);
        }
        Ok(Some(self.complete(Body::Copy(&[]))))
    }

    fn body_frame<'a>(
        &'a mut self,
        remaining: u64,
        payload: &'a [u8],
    ) -> Result<Option<Content<'a>>, AmqpError> {
        let left = remaining
            .checked_sub(payload.len() as u64)
            .ok_or_else(|| AmqpError::body_exceeds_announced(METHOD))?;
        if left == 0 && self.body.is_empty() {
            return Ok(Some(self.complete(Body::Copy(payload))));
        }
        self.keep(payload, left);
        if left > 0 {
            self.expected = Expected::Body { remaining: left };
            return Ok(None);
        }
        let body = std::mem::take(&mut self.body);
        Ok(Some(self.complete(Body::Shared(body.into()))))
    }

    /// Has room for twice what has come, so that little is copied, and for no more than will come.
    fn keep(&mut self, payload: &[u8], left: u64) {
        let length = self.body.len() + payload.len();
        if length > self.body.capacity() {
            let whole = length.saturating_add(usize::try_from(left).unwrap_or(usize::MAX));
            let room = length.saturating_mul(2).min(whole);
            self.body.reserve_exact(room - self.body.len());
        }
        self.body.extend_from_slice(payload);
    }

    fn complete<'a>(&'a mut self, body: Body<'a>) -> Content<'a> {
        self.expected = Expected::Method;
        self.content(body)
    }

    /// The last whole publish again, as long as no other has begun.
    pub(crate) fn content<'a>(&'a self, body: Body<'a>) -> Content<'a> {
        Content {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            mandatory: self.mandatory,
            properties: &self.properties,
            body,
        }
    }
}
