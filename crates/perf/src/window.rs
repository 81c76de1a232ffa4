use crate::clock::Nanos;
use crate::error::ClientError;
use crate::latency::Recorder;

/// The publishes of a channel that are not confirmed yet.
///
/// Publishes are numbered from 0 here and from 1 on the wire. At most `size` numbers lie between
/// the first unconfirmed publish and the next one to send, so that confirms out of order are
/// followed in a ring.
#[derive(Debug)]
pub(crate) struct ConfirmWindow {
    size: u64,
    /// The next publish.
    next: u64,
    /// The first that is not settled.
    first_open: u64,
    /// By number modulo the ring's length: when a publish was due, `None` once it is settled.
    ring: Box<[Option<Nanos>]>,
    confirmed: u64,
    refused: u64,
}

/// What the broker says about a publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// `basic.ack`.
    Confirmed,
    /// `basic.nack`.
    Refused,
}

impl ConfirmWindow {
    /// A window of at least one publish.
    pub(crate) fn new(size: u32) -> Self {
        let size = usize::try_from(size.max(1)).unwrap_or(usize::MAX);
        Self {
            size: size as u64,
            next: 0,
            first_open: 0,
            ring: vec![None; size].into_boxed_slice(),
            confirmed: 0,
            refused: 0,
        }
    }

    /// How many more may be sent.
    #[inline]
    pub(crate) fn credit(&self) -> u64 {
        self.size - (self.next - self.first_open)
    }

    /// How many publishes must be settled before it is worth writing again: a quarter of the
    /// window, so that a broker that confirms one by one does not get its messages one by one.
    pub(crate) fn is_worth_writing(&self) -> bool {
        self.credit() * 4 >= self.size
    }

    /// Whether everything sent is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.next == self.first_open
    }

    /// Publishes that were confirmed.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Publishes that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Notes a publish; the caller keeps to [`credit`](Self::credit).
    #[inline]
    pub(crate) fn sent(&mut self, due: Nanos) {
        let slot = self.slot(self.next);
        if let Some(slot) = self.ring.get_mut(slot) {
            *slot = Some(due);
        }
        self.next += 1;
    }

    /// Takes the broker's word for a publish, or for all up to it.
    ///
    /// # Errors
    /// The broker speaks of a publish that was not sent or is settled.
    pub(crate) fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        verdict: Verdict,
        mut settled: impl FnMut(Nanos),
    ) -> Result<(), ClientError> {
        // Tag 0 with multiple stands for all.
        let last = match tag.checked_sub(1) {
            None if multiple => self.next.saturating_sub(1),
            None => return Err(UNKNOWN),
            Some(last) => last,
        };
        if last >= self.next || last < self.first_open {
            return Err(UNKNOWN);
        }
        let first = if multiple { self.first_open } else { last };
        let mut count = 0;
        for number in first..=last {
            let slot = self.slot(number);
            if let Some(due) = self.ring.get_mut(slot).and_then(Option::take) {
                count += 1;
                settled(due);
            } else if !multiple {
                return Err(UNKNOWN);
            }
        }
        match verdict {
            Verdict::Confirmed => self.confirmed += count,
            Verdict::Refused => self.refused += count,
        }
        while self.first_open < self.next && self.is_free(self.first_open) {
            self.first_open += 1;
        }
        Ok(())
    }

    fn is_free(&self, number: u64) -> bool {
        self.ring.get(self.slot(number)).is_some_and(Option::is_none)
    }

    #[inline]
    fn slot(&self, number: u64) -> usize {
        usize::try_from(number % self.size).unwrap_or_default()
    }
}

/// A `settled` for [`ConfirmWindow::settle`] that measures how long after `from` confirms take.
#[inline]
pub(crate) fn recording(
    recorder: &mut Recorder,
    from: Nanos,
    now: Nanos,
) -> impl FnMut(Nanos) + use<'_> {
    move |due| {
        if due >= from {
            recorder.record(now.since(due));
        }
    }
}

const UNKNOWN: ClientError =
    ClientError::Misplaced("a confirm for a publish that is not waiting for one");

#[cfg(test)]
mod tests {
    use super::*;

    fn window(size: u32, sent: u64) -> ConfirmWindow {
        let mut window = ConfirmWindow::new(size);
        (0..sent).for_each(|number| window.sent(Nanos(number)));
        window
    }

    fn ack(window: &mut ConfirmWindow, tag: u64, multiple: bool) -> Option<Vec<u64>> {
        let mut due = Vec::new();
        let settled = window.settle(tag, multiple, Verdict::Confirmed, |at| due.push(at.0));
        settled.ok().map(|()| due)
    }

    #[test]
    fn credit_is_what_lies_between() {
        let mut window = window(4, 4);
        assert_eq!(window.credit(), 0);
        assert_eq!(ack(&mut window, 2, true), Some(vec![0, 1]));
        assert_eq!(window.credit(), 2);
        assert_eq!(ack(&mut window, 0, true), Some(vec![2, 3]));
        assert!(window.is_settled());
        assert_eq!(window.confirmed(), 4);
    }

    #[test]
    fn confirms_may_come_out_of_order() {
        let mut window = window(4, 4);
        assert_eq!(ack(&mut window, 3, false), Some(vec![2]));
        assert_eq!(window.credit(), 0);
        assert_eq!(ack(&mut window, 1, false), Some(vec![0]));
        assert_eq!(window.credit(), 1);
        assert_eq!(ack(&mut window, 4, true), Some(vec![1, 3]));
        assert!(window.is_settled());
    }

    #[test]
    fn refusals_are_counted_apart() {
        let mut window = window(4, 3);
        window.settle(3, true, Verdict::Refused, |_| ()).unwrap();
        assert_eq!((window.confirmed(), window.refused()), (0, 3));
    }

    #[test]
    fn a_confirm_for_nothing_is_an_error() {
        let mut window = window(4, 2);
        for (tag, multiple) in [(0, false), (3, false), (3, true)] {
            assert_eq!(ack(&mut window, tag, multiple), None, "{tag}");
        }
        assert!(ack(&mut window, 1, false).is_some());
        assert_eq!(ack(&mut window, 1, false), None, "twice");
        assert!(ack(&mut window, 2, false).is_some());
        assert_eq!(ack(&mut window, 2, true), None, "nothing is open");
    }

    #[test]
    fn a_quarter_of_the_window_is_worth_a_write() {
        let mut window = window(8, 8);
        ack(&mut window, 1, true);
        assert!(!window.is_worth_writing());
        ack(&mut window, 2, true);
        assert!(window.is_worth_writing());
        assert!(ConfirmWindow::new(1).is_worth_writing());
    }
}
