//! How many connections a listener for HTTP has room for, unless the configuration says how many.
//!
//! Before it is known whose a connection is it has a descriptor, and may hold a head and what TLS needs. A
//! listener's connections together get a part of either, so that files get their descriptors, and clients of
//! AMQP memory.

use crate::resources;

/// More than anybody needs who asks a broker how it is.
const CONNECTIONS_MAX: u64 = 1024;
/// A listener's connections may have one of so many descriptors, but some.
const DESCRIPTORS_PART: u64 = 32;
const OF_DESCRIPTORS_MIN: u64 = 4;
/// Those of all listeners may take of the memory what clients of AMQP may that have not opened yet: a sixteenth.
const MEMORY_PART: u64 = 16;
/// With fewer would a browser have to wait that asks for several things at a time.
const OF_MEMORY_MIN: u64 = 8 * LISTENERS_MIN;
/// The parts are for all kinds of listeners there may be, also where some are missing.
const LISTENERS_MIN: u64 = 4;
/// What a connection takes with its tasks, and a login that has not come whole.
const CONNECTION_BYTES: u64 = 32 * 1024;
/// And of the longest heads: one is kept, for which the room may have doubled, while as much of the body
/// behind it waits to be passed over.
const HEADS: u64 = 3;

/// What there is for connections of a node's listeners for HTTP.
#[derive(Clone, Copy, Debug)]
pub struct HttpCapacity {
    descriptors: u64,
    /// Bytes.
    memory: u64,
    listeners: u64,
}

impl HttpCapacity {
    /// What there is of this process, for so many listeners.
    pub fn here(listeners: usize) -> Self {
        Self {
            descriptors: resources::descriptors_max().unwrap_or(u64::MAX),
            memory: resources::memory_available().unwrap_or(u64::MAX),
            listeners: listeners as u64,
        }
    }

    /// The connections of one of them, where the longest head has this many bytes and TLS has each connection
    /// hold so many.
    pub fn connections(self, head_max: u32, tls_bytes: u64) -> usize {
        let listeners = self.listeners.max(LISTENERS_MIN);
        let of_descriptors = (self.descriptors / DESCRIPTORS_PART).max(OF_DESCRIPTORS_MIN);
        let of_memory = self.memory / MEMORY_PART / listeners / bytes(head_max, tls_bytes);
        let of_memory = of_memory.max(OF_MEMORY_MIN / listeners).max(1);
        usize::try_from(CONNECTIONS_MAX.min(of_descriptors).min(of_memory)).unwrap_or(usize::MAX)
    }
}

/// What a connection may hold.
fn bytes(head_max: u32, tls_bytes: u64) -> u64 {
    CONNECTION_BYTES + HEADS * u64::from(head_max) + tls_bytes
}

/// What all connections may take of so much memory by default, in bytes, whatever they come over and however
/// many listeners there are.
#[cfg(test)]
pub(crate) fn most_of_connections(memory: u64, head_max: u32) -> u64 {
    let tls = [false, true].map(crate::tls::connection_bytes);
    let most = (1..=OF_MEMORY_MIN).flat_map(|listeners| {
        let capacity = HttpCapacity { descriptors: u64::MAX, memory, listeners };
        [0].into_iter().chain(tls).map(move |tls_bytes| {
            let connections = capacity.connections(head_max, tls_bytes) as u64;
            listeners * connections * bytes(head_max, tls_bytes)
        })
    });
    most.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: u32 = 64 << 10;
    const MANY: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn connections_take_a_part_of_the_descriptors() {
        let of = |descriptors| {
            let capacity = HttpCapacity { descriptors, memory: u64::MAX, listeners: 1 };
            capacity.connections(HEAD, 0)
        };
        assert_eq!([0, 1024, MANY, u64::MAX].map(of), [4, 32, 1024, 1024]);
    }

    #[test]
    fn and_a_part_of_the_memory_by_what_each_may_hold() {
        let of = |memory, listeners| {
            let capacity = HttpCapacity { descriptors: MANY, memory, listeners };
            [(HEAD, 0), (HEAD, 80 << 10), (2 * HEAD, 0)]
                .map(|(head_max, tls_bytes)| capacity.connections(head_max, tls_bytes))
        };
        assert_eq!(of(GIB, 1), [73, 53, 39]);
        assert_eq!(of(GIB, 4), [73, 53, 39]);
        assert_eq!(of(0, 1), [8; 3]);
        assert_eq!(of(u64::MAX, 4), [1024; 3]);
        // More listeners have no more memory together.
        assert_eq!(of(GIB, 10), [29, 21, 15]);
        assert_eq!(of(0, 10), [3; 3]);
        assert_eq!(of(0, 100), [1; 3]);
    }
}
