//! What has to be looked at when.

use std::collections::BTreeMap;

use leveret_engine::{Millis, QueueId};

/// Appointments in order of time, at most one per queue.
///
/// A queue makes one for the earliest of its deadlines, whatever number of messages has one, and
/// remembers for when it made it. Nothing here grows with the number of messages, and nothing is
/// looked at before it is due.
pub(crate) struct Agenda<V> {
    appointments: BTreeMap<(Millis, QueueId), V>,
}

impl<V> Default for Agenda<V> {
    fn default() -> Self {
        Self { appointments: BTreeMap::new() }
    }
}

impl<V> Agenda<V> {
    /// Makes an appointment with a queue that has none.
    pub(crate) fn insert(&mut self, at: Millis, queue: QueueId, value: V) {
        self.appointments.insert((at, queue), value);
    }

    /// Cancels the appointment a queue has at `at`; none if it has come due and been taken.
    pub(crate) fn cancel(&mut self, at: Millis, queue: QueueId) {
        self.appointments.remove(&(at, queue));
    }

    /// Takes the earliest appointment if it is not after `now`.
    pub(crate) fn take_due(&mut self, now: Millis) -> Option<V> {
        let first = self.appointments.first_entry()?;
        let (at, _) = first.key();
        (*at <= now).then(|| first.remove())
    }

    /// Whether an appointment is not after `now`.
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        self.appointments.first_key_value().is_some_and(|((at, _), _)| *at <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Schedule { queue: u64, at: u64 },
        Cancel { queue: u64 },
        Look { now: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..8_u64, 0..50_u64).prop_map(|(queue, at)| Step::Schedule { queue, at }),
            (0..8_u64).prop_map(|queue| Step::Cancel { queue }),
            (0..50_u64).prop_map(|now| Step::Look { now }),
        ]
    }

    proptest! {
        #[test]
        fn appointments_come_in_order_and_once(steps in vec(step(), 0..100)) {
            let mut agenda = Agenda::default();
            let mut model: HashMap<u64, u64> = HashMap::new();
            for step in steps {
                match step {
                    Step::Schedule { queue, at } => {
                        let id = QueueId(queue);
                        if let Some(old) = model.insert(queue, at) {
                            agenda.cancel(Millis(old), id);
                        }
                        agenda.insert(Millis(at), id, queue);
                    }
                    Step::Cancel { queue } => {
                        let at = model.remove(&queue).unwrap_or_default();
                        agenda.cancel(Millis(at), QueueId(queue));
                    }
                    Step::Look { now } => {
                        let mut due: Vec<_> =
                            model.iter().map(|(queue, at)| (*at, *queue)).collect();
                        due.retain(|(at, _)| *at <= now);
                        due.sort_unstable();
                        for (_, queue) in due {
                            prop_assert!(agenda.is_due(Millis(now)));
                            prop_assert_eq!(agenda.take_due(Millis(now)), Some(queue));
                            model.remove(&queue);
                        }
                        prop_assert!(!agenda.is_due(Millis(now)));
                        prop_assert_eq!(agenda.take_due(Millis(now)), None);
                    }
                }
            }
        }
    }
}
