//! The texts of framing errors, word for word as RabbitMQ sends them: every one closes the
//! connection, and tests of client libraries compare them.

use std::fmt;

use crate::erlang::Binary;
use crate::{AmqpError, MethodId};

impl AmqpError {
    /// 505: a header or body frame where a method has to come.
    #[must_use]
    pub fn expected_method_frame() -> Self {
        Self::unexpected_frame("expected method frame, got non method frame instead")
    }

    /// 505: after a method with content came something else than a content header (or one with a
    /// weight, which RabbitMQ does not take for a header).
    #[must_use]
    pub fn expected_content_header(method: MethodId) -> Self {
        let class = method.class;
        Self::unexpected_frame(format!(
            "expected content header for class {class}, got non content header frame instead"
        ))
        .with_method(method)
    }

    /// 505: a content header of class `got` after a method of another class.
    #[must_use]
    pub fn content_header_of_other_class(method: MethodId, got: u16) -> Self {
        let class = method.class;
        Self::unexpected_frame(format!(
            "expected content header for class {class}, got one for class {got} instead"
        ))
        .with_method(method)
    }

    /// 505: the announced body is not complete and another kind of frame came.
    #[must_use]
    pub fn expected_content_body(method: MethodId) -> Self {
        Self::unexpected_frame("expected content body, got non content body frame instead")
            .with_method(method)
    }

    /// 501: more body than the header announced.
    #[must_use]
    pub fn body_exceeds_announced(method: MethodId) -> Self {
        Self::frame_error("content body frame exceeds remaining content size").with_method(method)
    }

    /// 501: the header announces a body over the hard limit of `max` bytes.
    #[must_use]
    pub fn body_size_exceeds_maximum(method: MethodId, size: u64, max: u64) -> Self {
        Self::frame_error(format!("content body size {size} exceeds maximum allowed size {max}"))
            .with_method(method)
    }

    /// 503: a method that exists but not in this direction or place, such as `queue.declare-ok`
    /// from a client.
    #[must_use]
    pub fn unimplemented_method(method: MethodId) -> Self {
        Self::command_invalid("unimplemented method").with_method(method)
    }

    /// 503: class and method ids the protocol does not know. RabbitMQ drops the connection without
    /// a word; a close that says why is kinder and no client can tell it apart otherwise.
    pub(crate) fn unknown_method(method: MethodId) -> Self {
        Self::command_invalid("unknown method").with_method(method)
    }

    /// 501: the bytes after the method id are not the arguments of the method.
    pub(crate) fn cannot_decode(arguments: &[u8]) -> Self {
        Self::frame_error(format!("cannot decode {}", Binary(arguments)))
    }

    /// 501: a name that is not UTF-8. RabbitMQ blames no method for it.
    pub(crate) fn malformed_utf8() -> Self {
        Self::frame_error("Malformed UTF-8 in shortstr")
    }

    /// 501: bytes that are no frame at all, for `reason`.
    pub(crate) fn bad_frame(kind: u8, payload: &[u8], reason: impl fmt::Display) -> Self {
        Self::frame_error(format!("{}: {reason}", Snippet { kind, payload }))
    }

    /// 505: a sound frame on a channel, or in a state, that cannot take it.
    pub(crate) fn misplaced_frame(kind: u8, payload: &[u8]) -> Self {
        Self::unexpected_frame(Snippet { kind, payload }.to_string())
    }
}

/// How a frame shows in a text: `type 3, first 16 octets = <<...>>`.
struct Snippet<'a> {
    kind: u8,
    payload: &'a [u8],
}

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (amount, shown) = match self.payload.split_at_checked(16) {
            Some((first, [_, ..])) => ("first 16", first),
            _ => ("all", self.payload),
        };
        write!(f, "type {}, {amount} octets = {}", self.kind, Binary(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basic;

    const PUBLISH: MethodId = basic::Publish::ID;

    #[test]
    fn content_texts_are_those_of_rabbitmq() {
        let error = AmqpError::expected_method_frame();
        assert_eq!(
            error.reply_text(),
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead"
        );
        assert_eq!(error.method(), MethodId::NONE);

        let error = AmqpError::expected_content_header(PUBLISH);
        assert_eq!(
            error.reply_text(),
            "UNEXPECTED_FRAME - expected content header for class 60, got non content header \
             frame instead"
        );
        assert_eq!(error.method(), PUBLISH);

        assert_eq!(
            AmqpError::content_header_of_other_class(PUBLISH, 50).reply_text(),
            "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead"
        );
        assert_eq!(
            AmqpError::expected_content_body(PUBLISH).reply_text(),
            "UNEXPECTED_FRAME - expected content body, got non content body frame instead"
        );
        assert_eq!(
            AmqpError::body_exceeds_announced(PUBLISH).reply_text(),
            "FRAME_ERROR - content body frame exceeds remaining content size"
        );
        assert_eq!(
            AmqpError::body_size_exceeds_maximum(PUBLISH, 1 << 40, 536_870_912).reply_text(),
            "FRAME_ERROR - content body size 1099511627776 exceeds maximum allowed size 536870912"
        );
        assert_eq!(
            AmqpError::unimplemented_method(PUBLISH).reply_text(),
            "COMMAND_INVALID - unimplemented method"
        );
    }

    #[test]
    fn snippets_show_sixteen_octets() {
        assert_eq!(
            Snippet { kind: 3, payload: &[b'x'; 16] }.to_string(),
            "type 3, all octets = <<\"xxxxxxxxxxxxxxxx\">>"
        );
        assert_eq!(
            Snippet { kind: 3, payload: &[0; 17] }.to_string(),
            "type 3, first 16 octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0>>"
        );
    }
}
