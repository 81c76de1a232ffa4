//! How much of what it is sent a client may leave unread.

use std::sync::Arc;

use crate::budget::Budget;
use crate::config::UnreadLimits;

/// By its own limits, and by what all together may.
pub(super) struct UnreadMax {
    limits: UnreadLimits,
    budget: Arc<Budget>,
}

impl UnreadMax {
    pub(super) fn new(limits: UnreadLimits, budget: Arc<Budget>) -> Self {
        Self { limits, budget }
    }

    /// Bytes from which on its consumers are passed over. Of a share half, so that the other half is
    /// there for answers, without which it would not be listened to for what it is delivered.
    pub(super) fn deliveries(&self) -> usize {
        self.limits.deliveries.min(self.share() / 2).max(1)
    }

    /// Bytes above which it isn't listened to.
    pub(super) fn answers(&self) -> usize {
        self.limits.answers.min(self.share())
    }

    /// Bytes above which direct replies to it are lost.
    pub(super) fn replies(&self) -> usize {
        self.limits.replies.min(self.share())
    }

    /// Bytes below which its consumers take part again, and it is listened to.
    pub(super) fn low_water(&self) -> usize {
        (self.deliveries() / 4).min(self.answers() / 2).max(1)
    }

    fn share(&self) -> usize {
        let share = self.budget.share().map(|share| usize::try_from(share).unwrap_or(usize::MAX));
        share.unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Part;

    #[test]
    fn limits_hold_until_all_have_more_than_they_may_and_then_shares() {
        let budget = Arc::new(Budget::new(1000));
        let limits = UnreadLimits { deliveries: 400, answers: 900, replies: 5000 };
        let max = UnreadMax::new(limits, Arc::clone(&budget));
        let all = || [max.deliveries(), max.answers(), max.replies(), max.low_water()];
        let mut parts = [(); 2].map(|()| Part::of(&budget));
        parts[0].set(1000);
        assert_eq!(all(), [400, 900, 5000, 100]);
        parts[1].set(200);
        assert_eq!(all(), [200, 400, 400, 50]);
        // However many there are, one message at a time is on its way to each.
        let crowd: Vec<Part> = (0..10_000)
            .map(|_| {
                let mut part = Part::of(&budget);
                part.set(1);
                part
            })
            .collect();
        assert_eq!(all(), [1, 0, 0, 1]);
        drop(crowd);
        drop(parts);
        assert_eq!(all(), [400, 900, 5000, 100]);
    }
}
