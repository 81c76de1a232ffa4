//! Wrong passwords cost time: whoever has failed several times waits before the next is looked at.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use ahash::{AHashMap, RandomState};
use parking_lot::Mutex;

/// The first wait. Each further failure doubles it.
pub(super) const WAIT_MIN: Duration = Duration::from_secs(1);
/// How long after the last failure it is forgotten.
pub(super) const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// Entries at a time. Where there are more, the one that failed longest ago is forgotten.
pub(super) const ENTRIES_MAX: usize = 8192;

/// From when on wrong passwords cost time, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// The wrong passwords of one address for one user that have it wait: people mistype.
    pub of_user: u32,
    /// The same whichever the users.
    pub of_address: u32,
    /// The longest wait: a user whose password is right again is not kept out for longer. Shorter
    /// than ten minutes, after which failures are forgotten.
    pub wait_max: Duration,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        Self { of_user: 5, of_address: 50, wait_max: Duration::from_secs(60) }
    }
}

/// Remembers failed logins by address and user, and by address.
///
/// A right password is not looked at either while its address has to wait, or guessing would cost
/// nothing but patience. Addresses of the machine itself are not counted as a whole: a proxy or a
/// tunnel there speaks for many.
///
/// The same wrong password again is no further guess: programs with an old one come back with it for
/// hours, and are neither to wait longer and longer for the right one nor to keep out their
/// neighbours.
///
/// Who comes with a token has an empty name, and counts for the address alone.
#[derive(Debug, Default)]
pub struct Throttle {
    /// Of names, which may be long and are a stranger's, and of passwords: nothing else is kept of
    /// them.
    hasher: RandomState,
    limits: Mutex<ThrottleLimits>,
    failures: Mutex<AHashMap<Key, Failures>>,
}

/// Who failed: an address, for a user or for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    network: IpAddr,
    /// As a hash.
    user: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    until: Instant,
    /// The last password, as a hash.
    guess: u64,
}

impl Throttle {
    /// From now on these hold. Whoever has to wait already does so as long as it was to.
    pub fn set_limits(&self, limits: ThrottleLimits) {
        *self.limits.lock() = limits;
    }

    /// How long this address has to wait before it may try a password of this user.
    pub fn wait(&self, user: &str, address: IpAddr, now: Instant) -> Option<Duration> {
        let keys = self.keys(user, address);
        let failures = self.failures.lock();
        let waits = keys.into_iter().flatten().filter_map(|key| {
            let until = failures.get(&key)?.until;
            until.checked_duration_since(now)
        });
        waits.max().filter(|wait| !wait.is_zero())
    }

    /// Remembers that a password was wrong.
    pub fn failed(&self, user: &str, password: &[u8], address: IpAddr, now: Instant) {
        let guess = self.hasher.hash_one(password);
        let (keys, limits) = (self.keys(user, address), *self.limits.lock());
        let mut failures = self.failures.lock();
        if let Some(first) = keys.iter().flatten().next()
            && let Some(entry) = failures.get_mut(first)
            && entry.guess == guess
            && now.duration_since(entry.last) < REMEMBERED
        {
            entry.last = now;
            return;
        }
        for (key, free) in keys.into_iter().zip([limits.of_user, limits.of_address]) {
            let Some(key) = key else { continue };
            if !failures.contains_key(&key) {
                make_room(&mut failures, now);
            }
            let fresh = Failures { count: 0, last: now, until: now, guess };
            let entry = failures.entry(key).or_insert(fresh);
            if now.duration_since(entry.last) >= REMEMBERED {
                *entry = fresh;
            }
            entry.count = entry.count.saturating_add(1);
            (entry.last, entry.guess) = (now, guess);
            entry.until = now + wait_after(entry.count, free).min(limits.wait_max);
        }
    }

    /// Forgets what failed before for this user from this address. What failed for others stays,
    /// or an attacker with one right password could go on guessing others.
    pub fn succeeded(&self, user: &str, address: IpAddr) {
        let [of_user, _] = self.keys(user, address);
        if let Some(key) = of_user {
            self.failures.lock().remove(&key);
        }
    }

    /// What a failure counts for: the user from there, if one is named, and the address, if that is
    /// one.
    fn keys(&self, user: &str, address: IpAddr) -> [Option<Key>; 2] {
        let network = network(address);
        let user = (!user.is_empty()).then(|| self.hasher.hash_one(user));
        let of_user = user.map(|user| Key { network, user: Some(user) });
        [of_user, (!network.is_loopback()).then_some(Key { network, user: None })]
    }
}

/// What counts as one client's address: an IPv6 client has a whole network of 64 bits to change its
/// address in (RFC 4291, 2.5.1).
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

fn wait_after(failures: u32, free: u32) -> Duration {
    match failures.checked_sub(free) {
        None => Duration::ZERO,
        Some(beyond) => WAIT_MIN.saturating_mul(2u32.saturating_pow(beyond)),
    }
}

fn make_room(failures: &mut AHashMap<Key, Failures>, now: Instant) {
    if failures.len() < ENTRIES_MAX {
        return;
    }
    failures.retain(|_, entry| now.duration_since(entry.last) < REMEMBERED);
    if failures.len() < ENTRIES_MAX {
        return;
    }
    let oldest = failures.iter().min_by_key(|(_, entry)| entry.last).map(|(key, _)| *key);
    if let Some(oldest) = oldest {
        failures.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// That many passwords for a user, none of which is right.
    fn guess(throttle: &Throttle, user: &str, address: IpAddr, now: Instant, count: u32) {
        for _ in 0..count {
            let number = throttle.failures.lock().values().map(|entry| entry.count).sum::<u32>();
            throttle.failed(user, &number.to_be_bytes(), address, now);
        }
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_minute() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..4 {
            guess(&throttle, "anna", HERE, now, 1);
            assert_eq!(throttle.wait("anna", HERE, now), None);
        }
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            guess(&throttle, "anna", HERE, now, 1);
            assert_eq!(throttle.wait("anna", HERE, now), seconds(wait));
        }
        assert_eq!(throttle.wait("anna", HERE, now + Duration::from_secs(59)), seconds(1));
        assert_eq!(throttle.wait("anna", HERE, now + Duration::from_secs(60)), None);
    }

    #[test]
    fn the_same_password_again_is_no_guess() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        (0..1000).for_each(|_| throttle.failed("anna", b"old", HERE, now));
        assert_eq!(throttle.wait("anna", HERE, now), None);
        assert_eq!(throttle.wait("bert", HERE, now), None);
        for number in 0..5_u8 {
            throttle.failed("anna", &[number], HERE, now);
            throttle.failed("anna", &[number], HERE, now);
        }
        assert_eq!(throttle.wait("anna", HERE, now), seconds(2));
    }

    #[test]
    fn others_do_not_wait() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        guess(&throttle, "anna", HERE, now, 9);
        assert_eq!(throttle.wait("bert", HERE, now), None);
        assert_eq!(throttle.wait("anna", THERE, now), None);
        throttle.succeeded("anna", HERE);
        assert_eq!(throttle.wait("anna", HERE, now), None);
    }

    #[test]
    fn one_address_does_not_try_all_users() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for user in 0..50 {
            assert_eq!(throttle.wait("next", HERE, now), None);
            guess(&throttle, &user.to_string(), HERE, now, 1);
        }
        assert_eq!(throttle.wait("next", HERE, now), seconds(1));
        throttle.succeeded("next", HERE);
        assert_eq!(throttle.wait("next", HERE, now), seconds(1));
        let local: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        (0..100).for_each(|user| guess(&throttle, &user.to_string(), local, now, 1));
        assert_eq!(throttle.wait("next", local, now), None);
    }

    #[test]
    fn tokens_count_for_their_address() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        (0..1000).for_each(|_| throttle.failed("", b"expired", HERE, now));
        guess(&throttle, "", HERE, now, 48);
        assert_eq!(throttle.wait("", HERE, now), None);
        throttle.failed("", b"another", HERE, now);
        assert_eq!(throttle.wait("", HERE, now), seconds(1));
        assert_eq!(throttle.wait("anna", HERE, now), seconds(1));
        assert_eq!(throttle.wait("", THERE, now), None);
    }

    #[test]
    fn limits_may_change() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let wait_max = Duration::from_secs(3);
        throttle.set_limits(ThrottleLimits { of_user: 2, of_address: 4, wait_max });
        for wait in [None, seconds(1), seconds(2), seconds(3)] {
            guess(&throttle, "anna", HERE, now, 1);
            assert_eq!(throttle.wait("anna", HERE, now), wait);
        }
        assert_eq!(throttle.wait("bert", HERE, now), seconds(1));
        throttle
            .set_limits(ThrottleLimits { wait_max: Duration::from_secs(9), ..Default::default() });
        assert_eq!(throttle.wait("anna", HERE, now), seconds(3));
        guess(&throttle, "anna", HERE, now, 1);
        assert_eq!(throttle.wait("anna", HERE, now), seconds(1));
    }

    #[test]
    fn the_network_counts_with_ipv6() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let address = |last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last).into();
        (0..6).for_each(|last| guess(&throttle, "anna", address(last), now, 1));
        assert_eq!(throttle.wait("anna", address(99), now), seconds(2));
        let elsewhere = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 0).into();
        assert_eq!(throttle.wait("anna", elsewhere, now), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for user in 0..2 * ENTRIES_MAX {
            guess(&throttle, &user.to_string(), HERE, now, 1);
        }
        assert_eq!(throttle.failures.lock().len(), ENTRIES_MAX);
        let later = now + REMEMBERED;
        guess(&throttle, "anna", HERE, later, 1);
        assert_eq!(throttle.failures.lock().len(), 2);
        assert_eq!(throttle.wait("anna", HERE, later), None);
    }
}
