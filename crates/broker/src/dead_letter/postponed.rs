//! Deaths beyond what their turns could take.

use std::collections::VecDeque;

use ahash::HashMap;
use leveret_engine::{AnyEntry, QueueId};

use super::{Death, Departed, TURN, TURN_BYTES};

/// Deaths that wait for the ticker, in the order in which they happened.
///
/// Messages of one queue arrive in the order in which they died. So as long as some of a queue's
/// wait here, or are being dead-lettered out of here, all that dies in it lines up behind them.
#[derive(Default)]
pub(crate) struct Postponed {
    waiting: VecDeque<Death<AnyEntry>>,
    /// Queues by how many of their deaths wait or are being dead-lettered.
    sources: HashMap<QueueId, usize>,
    /// Deleted queues whose places cannot be dropped yet.
    pub(crate) departed: Vec<Departed>,
}

impl Postponed {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes from a turn's deaths those that have to wait; what stays is one turn's work.
    pub(super) fn line_up(&mut self, deaths: Vec<Death<AnyEntry>>) -> VecDeque<Death<AnyEntry>> {
        let (mut count, mut bytes) = (0, 0);
        let mut now = VecDeque::new();
        for death in deaths {
            let is_full = count >= TURN || bytes >= TURN_BYTES;
            if is_full || self.sources.contains_key(&death.source.queue) {
                self.push(death);
                continue;
            }
            count += 1;
            bytes += death.entry.bytes();
            now.push_back(death);
        }
        now
    }

    /// Takes one turn's work out, and says in which queues it died. [`settle`](Self::settle) has
    /// to follow.
    pub(super) fn take(&mut self) -> (VecDeque<Death<AnyEntry>>, Vec<QueueId>) {
        let count = self.waiting.len().min(TURN);
        let deaths: VecDeque<_> = self.waiting.drain(..count).collect();
        let sources = deaths.iter().map(|death| death.source.queue).collect();
        (deaths, sources)
    }

    /// What was taken has been dead-lettered, but for `left`: this waits on, in front.
    pub(super) fn settle(&mut self, sources: &[QueueId], left: VecDeque<Death<AnyEntry>>) {
        for source in sources {
            if let Some(count) = self.sources.get_mut(source) {
                *count -= 1;
                if *count == 0 {
                    self.sources.remove(source);
                }
            }
        }
        for death in left.into_iter().rev() {
            *self.sources.entry(death.source.queue).or_default() += 1;
            self.waiting.push_front(death);
        }
    }

    fn push(&mut self, death: Death<AnyEntry>) {
        *self.sources.entry(death.source.queue).or_default() += 1;
        self.waiting.push_back(death);
    }
}
