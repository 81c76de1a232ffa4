/// The eight bytes that open an AMQP 0-9-1 connection, and the answer to any other eight bytes.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// The header of AMQP 0-9, which RabbitMQ serves as 0-9-1.
const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\0\x09";

/// What the first eight bytes of a connection ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greeting {
    /// AMQP 0-9-1, or 0-9, which is served as 0-9-1: answer with `connection.start`.
    Amqp091,
    /// Another version or another protocol: write [`PROTOCOL_HEADER`] and close.
    Refused,
}

impl Greeting {
    /// Classifies the first bytes of a connection; `None` until eight of them are there.
    #[must_use]
    pub fn of(input: &[u8]) -> Option<Self> {
        let header: [u8; 8] = *input.first_chunk()?;
        let spoken = header == PROTOCOL_HEADER || header == PROTOCOL_HEADER_0_9;
        Some(if spoken { Self::Amqp091 } else { Self::Refused })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_0_9_1_and_0_9_are_served() {
        assert_eq!(Greeting::of(b"AMQP\0\0\x09\x01rest"), Some(Greeting::Amqp091));
        assert_eq!(Greeting::of(b"AMQP\x01\x01\0\x09"), Some(Greeting::Amqp091));
        for refused in [
            b"AMQP\x01\x01\x08\0",
            b"AMQP\x03\x01\0\0",
            b"AMQP\0\x01\0\0",
            b"AMQP\x02\x01\0\0",
            b"AMQP\0\0\x0a\0",
            b"AMQP\0\0\x09\x02",
            b"GET / HT",
            b"\x16\x03\x01\0\xff\x01\0\0",
        ] {
            assert_eq!(Greeting::of(refused), Some(Greeting::Refused), "{refused:?}");
        }
    }

    #[test]
    fn fewer_than_eight_bytes_decide_nothing() {
        assert_eq!(Greeting::of(b""), None);
        assert_eq!(Greeting::of(b"AMQP\0\0\x09"), None);
    }
}
