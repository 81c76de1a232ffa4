use std::fmt;

/// A reply code of AMQP 0-9-1, carried by `close` and `basic.return`.
///
/// Only the codes the protocol defines exist, so each has a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplyCode(u16);

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)+) => {
        impl ReplyCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)+

            /// The name RabbitMQ writes at the start of a reply text, such as `ACCESS_REFUSED`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($value => $text,)+
                    _ => "",
                }
            }
        }
    };
}

reply_codes! {
    /// The peer closes because it is done.
    SUCCESS = 200, "OK";
    /// A message was too large for the peer (never sent by RabbitMQ).
    CONTENT_TOO_LARGE = 311, "CONTENT_TOO_LARGE";
    /// `basic.return` only: a mandatory message reached no queue.
    NO_ROUTE = 312, "NO_ROUTE";
    /// `basic.return` only: an immediate message met no consumer (never sent by RabbitMQ).
    NO_CONSUMERS = 313, "NO_CONSUMERS";
    /// An operator, or the shutdown of the node, closed the connection.
    CONNECTION_FORCED = 320, "CONNECTION_FORCED";
    /// Unknown virtual host in the words of the specification (never sent by RabbitMQ).
    INVALID_PATH = 402, "INVALID_PATH";
    /// Missing permission, reserved name or exclusive use.
    ACCESS_REFUSED = 403, "ACCESS_REFUSED";
    /// The queue, exchange or similar does not exist.
    NOT_FOUND = 404, "NOT_FOUND";
    /// The queue is exclusive to another connection.
    RESOURCE_LOCKED = 405, "RESOURCE_LOCKED";
    /// Arguments that contradict each other or the state of the broker.
    PRECONDITION_FAILED = 406, "PRECONDITION_FAILED";
    /// Bytes that are no frame; the stream is out of step from here on.
    FRAME_ERROR = 501, "FRAME_ERROR";
    /// A frame with an illegal value in a field.
    SYNTAX_ERROR = 502, "SYNTAX_ERROR";
    /// A method that does not exist or must not come from this side.
    COMMAND_INVALID = 503, "COMMAND_INVALID";
    /// A method on a channel that is in no state to take it.
    CHANNEL_ERROR = 504, "CHANNEL_ERROR";
    /// A whole frame in the wrong place.
    UNEXPECTED_FRAME = 505, "UNEXPECTED_FRAME";
    /// The server lacks a resource.
    RESOURCE_ERROR = 506, "RESOURCE_ERROR";
    /// A request the server's settings forbid.
    NOT_ALLOWED = 530, "NOT_ALLOWED";
    /// A request the server does not implement.
    NOT_IMPLEMENTED = 540, "NOT_IMPLEMENTED";
    /// A failure inside the server.
    INTERNAL_ERROR = 541, "INTERNAL_ERROR";
}

impl ReplyCode {
    /// The number on the wire.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rabbitmq() {
        assert_eq!(ReplyCode::SUCCESS.name(), "OK");
        assert_eq!(ReplyCode::NOT_FOUND.to_string(), "NOT_FOUND");
        assert_eq!(ReplyCode::INTERNAL_ERROR.value(), 541);
        assert_eq!(format!("{:?}", ReplyCode::NO_ROUTE), "312 NO_ROUTE");
    }
}
