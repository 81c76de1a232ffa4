//! How many connections a listener for HTTP has room for, unless the configuration says how many.
//!
//! Before it is known whose a connection is it has a descriptor, and may hold a head and what TLS needs. A
//! listener's connections together get a part of either, so that files get their descriptors, and clients of
//! AMQP memory.

use leveret_server::memory_available;

use crate::api::node::fd_total;

/// More than anybody needs who asks a broker how it is.
const CONNECTIONS_MAX: u64 = 1024;
/// A listener's connections may have one of so many descriptors, but some.
const DESCRIPTORS_PART: u64 = 32;
const OF_DESCRIPTORS_MIN: u64 = 4;
/// Where all four kinds of listeners are there they may take of the memory what clients of AMQP may that have
/// not opened yet: a sixteenth.
const MEMORY_PART: u64 = 64;
/// Fewer would keep a browser or two out.
const OF_MEMORY_MIN: u64 = 16;
/// What a connection takes with its tasks, and a login that has not come whole.
const CONNECTION_BYTES: u64 = 32 * 1024;
/// And of the longest heads: one is kept, for which the room may have doubled, while as much of the body
/// behind it waits to be passed over.
const HEADS: u64 = 3;

/// What there is for connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    descriptors: u64,
    /// Bytes.
    memory: u64,
}

impl Capacity {
    pub(crate) fn here() -> Self {
        // There is no limit where that is 0.
        let descriptors = Some(fd_total()).filter(|total| *total > 0).unwrap_or(u64::MAX);
        Self { descriptors, memory: memory_available().unwrap_or(u64::MAX) }
    }

    /// The connections of a listener, where the longest head has this many bytes and TLS has each connection
    /// hold so many.
    pub(crate) fn connections(self, head_max: u32, tls_bytes: u64) -> usize {
        let bytes = CONNECTION_BYTES + HEADS * u64::from(head_max) + tls_bytes;
        let of_descriptors = (self.descriptors / DESCRIPTORS_PART).max(OF_DESCRIPTORS_MIN);
        let of_memory = (self.memory / MEMORY_PART / bytes).max(OF_MEMORY_MIN);
        usize::try_from(CONNECTIONS_MAX.min(of_descriptors).min(of_memory)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: u32 = 64 << 10;
    const MANY: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn connections_take_a_part_of_the_descriptors() {
        let of = |descriptors| Capacity { descriptors, memory: u64::MAX }.connections(HEAD, 0);
        assert_eq!([0, 1024, MANY, u64::MAX].map(of), [4, 32, 1024, 1024]);
    }

    #[test]
    fn and_a_part_of_the_memory_by_what_each_may_hold() {
        let of = |memory| {
            let capacity = Capacity { descriptors: MANY, memory };
            [(HEAD, 0), (HEAD, 80 << 10), (2 * HEAD, 0)]
                .map(|(head_max, tls_bytes)| capacity.connections(head_max, tls_bytes))
        };
        assert_eq!(of(GIB), [73, 53, 39]);
        assert_eq!(of(0), [16; 3]);
        assert_eq!(of(u64::MAX), [1024; 3]);
    }
}
