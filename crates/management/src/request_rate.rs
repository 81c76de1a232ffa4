//! How many requests a second an address may make.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use leveret_broker::access::network;
use parking_lot::Mutex;

/// Addresses that are told apart at a time. Those beyond have one rate together.
const ADDRESSES_MAX: usize = 8192;
/// Requests of this long may come at once.
const BURST: Duration = Duration::from_secs(1);

/// Remembers of each address until when its requests have used up its rate. An address may do what
/// it may in a second at once, and then as much as time gives it back (a leaky bucket).
#[derive(Debug, Default)]
pub(crate) struct RequestRate {
    used_until: Mutex<AHashMap<IpAddr, Instant>>,
    refused: AtomicU64,
}

impl RequestRate {
    /// Whether a request may be made now, at so many a second.
    pub(crate) fn allows(&self, address: IpAddr, per_second: u32, now: Instant) -> bool {
        let mut used_until = self.used_until.lock();
        let mut key = network(address);
        if used_until.len() >= ADDRESSES_MAX && !used_until.contains_key(&key) {
            used_until.retain(|_, until| *until > now);
            if used_until.len() >= ADDRESSES_MAX {
                key = Ipv6Addr::UNSPECIFIED.into();
            }
        }
        let until = used_until.entry(key).or_insert(now);
        let after = (*until).max(now) + BURST / per_second.max(1);
        let is_allowed = after <= now + BURST;
        if is_allowed {
            *until = after;
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        is_allowed
    }

    /// Requests that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn an_address_may_do_at_once_what_it_may_in_a_second() {
        let (rate, now) = (RequestRate::default(), Instant::now());
        assert!((0..10).all(|_| rate.allows(HERE, 10, now)));
        assert!(!rate.allows(HERE, 10, now));
        assert!(rate.allows(THERE, 10, now));
        let later = now + Duration::from_millis(100);
        assert!(rate.allows(HERE, 10, later));
        assert!(!rate.allows(HERE, 10, later));
        assert_eq!(rate.refused(), 2);
        assert!((0..10).all(|_| rate.allows(HERE, 10, now + Duration::from_secs(9))));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (rate, now) = (RequestRate::default(), Instant::now());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let allowed = (0..20_000).filter(|number| rate.allows(address(*number), 10, now)).count();
        assert_eq!(allowed, ADDRESSES_MAX + 10);
        assert_eq!(rate.used_until.lock().len(), ADDRESSES_MAX + 1);
        assert!(rate.allows(address(20_001), 10, now + Duration::from_secs(2)));
        assert_eq!(rate.used_until.lock().len(), 1);
    }
}
