//! Rates: what the counters said some seconds ago, and now.
//!
//! One task reads all counters every [`INTERVAL`]; nothing is kept for objects where nothing ever
//! happened. A rate is the change over the last interval, as RabbitMQ's basic rates are.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use ahash::HashMap;
use leveret_broker::SessionId;
use leveret_engine::{Millis, QueueId};
use parking_lot::Mutex;

/// How often the counters are read: RabbitMQ's `collect_statistics_interval`.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// No interval counts as shorter: two readings may follow each other when the first was late.
const SECONDS_MIN: f64 = 1.0;

/// Counters of one object; their meaning is the object's.
pub(crate) type Values = [u64; 16];

/// Whose counters they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Node,
    Vhost(Arc<str>),
    Queue(QueueId),
    /// An exchange of a vhost.
    Exchange(Arc<str>, Arc<str>),
    Connection(SessionId),
    Channel(SessionId, u16),
}

/// What is known of how fast counters move.
#[derive(Default)]
pub(crate) struct Rates {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Millis,
    /// How long the last interval was: with very many objects a reading takes its time.
    seconds: f64,
    round: u64,
    objects: HashMap<Key, Sampled>,
}

struct Sampled {
    round: u64,
    values: Values,
    /// Changes in the last interval.
    changes: Box<[i64; 16]>,
}

/// Rates of one object, per second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerSecond([f64; 16]);

impl PerSecond {
    #[cfg(test)]
    pub(crate) fn of(rates: [f64; 16]) -> Self {
        Self(rates)
    }

    /// Of the counter at this place.
    pub(crate) fn at(&self, index: usize) -> f64 {
        self.0.get(index).copied().unwrap_or_default()
    }

    /// Adds another object's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(own, more)| *own += more);
    }

    /// Of several counters together.
    pub(crate) fn sum(&self, indices: &[usize]) -> f64 {
        indices.iter().map(|index| self.at(*index)).sum()
    }
}

impl Rates {
    /// Takes a reading of all objects there are; forgets the others.
    pub(crate) fn sample(&self, now: Millis, readings: impl IntoIterator<Item = (Key, Values)>) {
        let mut state = self.state.lock();
        state.round += 1;
        let round = state.round;
        let passed = Duration::from_millis(now.0.saturating_sub(state.last.0));
        state.seconds = passed.as_secs_f64().max(SECONDS_MIN);
        for (key, values) in readings {
            match state.objects.get_mut(&key) {
                Some(object) => {
                    let pairs = values.iter().zip(object.values);
                    for (change, (new, old)) in object.changes.iter_mut().zip(pairs) {
                        *change = new.wrapping_sub(old).cast_signed();
                    }
                    object.values = values;
                    object.round = round;
                }
                None if values == Values::default() => {}
                None => {
                    // Without an earlier reading nothing is known of when that was.
                    let changes = Box::default();
                    state.objects.insert(key, Sampled { round, values, changes });
                }
            }
        }
        state.objects.retain(|_, object| object.round == round);
        state.last = now;
    }

    /// How fast an object's counters moved in the last interval.
    pub(crate) fn of(&self, key: &Key) -> PerSecond {
        let state = self.state.lock();
        let Some(object) = state.objects.get(key) else { return PerSecond::default() };
        let seconds = state.seconds;
        let mut rates = [0.0; 16];
        for (rate, change) in rates.iter_mut().zip(object.changes.iter()) {
            *rate = *change as f64 / seconds;
        }
        PerSecond(rates)
    }

    /// Forgets everything: the next interval begins anew.
    pub(crate) fn reset(&self) {
        self.state.lock().objects.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(first: u64) -> Values {
        let mut values = Values::default();
        values[0] = first;
        values
    }

    #[test]
    fn rates_are_changes_over_the_last_interval() {
        let rates = Rates::default();
        let key = Key::Queue(QueueId(1));
        assert_eq!(rates.of(&key).at(0), 0.0);
        rates.sample(Millis(0), [(key.clone(), values(100))]);
        assert_eq!(rates.of(&key).at(0), 0.0, "when those hundred came is not known");
        rates.sample(Millis(5000), [(key.clone(), values(150))]);
        assert_eq!(rates.of(&key).at(0), 10.0);
        rates.sample(Millis(10_000), [(key.clone(), values(140))]);
        assert_eq!(rates.of(&key).at(0), -2.0, "lengths fall");
        assert_eq!(rates.of(&key).sum(&[0, 1]), -2.0);
        rates.sample(Millis(15_000), [(key.clone(), values(140))]);
        assert_eq!(rates.of(&key).at(0), 0.0);
        rates.sample(Millis(25_000), [(key.clone(), values(240))]);
        assert_eq!(rates.of(&key).at(0), 10.0, "the reading was late");
        rates.sample(Millis(25_001), [(key.clone(), values(243))]);
        assert_eq!(rates.of(&key).at(0), 3.0);
    }

    #[test]
    fn what_is_gone_or_never_counted_takes_no_room() {
        let rates = Rates::default();
        let key = Key::Channel(SessionId(1), 1);
        rates.sample(Millis(0), [(key.clone(), values(0))]);
        assert!(rates.state.lock().objects.is_empty());
        rates.sample(Millis(1), [(key, values(1))]);
        assert_eq!(rates.state.lock().objects.len(), 1);
        rates.sample(Millis(2), []);
        assert!(rates.state.lock().objects.is_empty());
    }
}
