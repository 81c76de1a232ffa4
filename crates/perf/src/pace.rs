use crate::clock::Nanos;

/// When each message of a publisher is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    start: Nanos,
    per_second: u64,
}

impl Pace {
    const SECOND: u128 = 1_000_000_000;

    /// Message 0 is due at `start`, the others follow at even distances.
    pub(crate) fn new(start: Nanos, per_second: u64) -> Self {
        Self { start, per_second: per_second.max(1) }
    }

    /// Later by a part of the distance between two messages.
    pub(crate) fn delayed(self, part: u16, of: u16) -> Self {
        let distance = Self::SECOND / u128::from(self.per_second);
        let delay = distance * u128::from(part) / u128::from(of.max(1));
        let start = self.start.0.saturating_add(u64::try_from(delay).unwrap_or(u64::MAX));
        Self { start: Nanos(start), ..self }
    }

    /// How many messages are due by `now`.
    pub(crate) fn due_by(&self, now: Nanos) -> u64 {
        if now < self.start {
            return 0;
        }
        let elapsed = u128::from(now.since(self.start).0);
        let intervals = elapsed * u128::from(self.per_second) / Self::SECOND;
        u64::try_from(intervals).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// When the message with this number is due. Never later than the moment from which
    /// [`due_by`](Self::due_by) counts it.
    pub(crate) fn due_at(&self, sequence: u64) -> Nanos {
        let offset = (u128::from(sequence) * Self::SECOND).div_ceil(u128::from(self.per_second));
        Nanos(self.start.0.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_due_at_even_distances() {
        let pace = Pace::new(Nanos(1000), 5000);
        assert_eq!(pace.due_by(Nanos(999)), 0);
        assert_eq!(pace.due_by(Nanos(1000)), 1);
        assert_eq!(pace.due_at(1), Nanos(201_000));
        assert_eq!(pace.due_by(Nanos(1_000_001_000)), 5001);
    }

    #[test]
    fn publishers_take_turns() {
        let first_due = |part| Pace::new(Nanos(1000), 5000).delayed(part, 4).due_at(0);
        let expected = [1000, 51_000, 101_000, 151_000].map(Nanos);
        assert_eq!([0, 1, 2, 3].map(first_due), expected);
    }

    proptest! {
        #[test]
        fn a_message_is_counted_from_the_moment_it_is_due(
            start in 0..1_u64 << 40,
            rate in 1..10_000_000_u64,
            sequence in 0..1_u64 << 32,
        ) {
            let pace = Pace::new(Nanos(start), rate);
            let due = pace.due_at(sequence);
            prop_assert!(pace.due_by(due) > sequence);
            prop_assert!(due.0 == 0 || pace.due_by(Nanos(due.0 - 1)) <= sequence);
        }
    }
}
