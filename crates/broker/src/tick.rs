//! What happens because time passes.

use leveret_engine::Millis;

use crate::broker::Broker;
use crate::turn::Turn;

/// Whether a tick did all there was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Nothing more is due.
    Done,
    /// Another tick should follow at once, after others had their turn.
    More,
}

/// Queues looked at in one tick, each dropping about a thousand expired messages at most.
const QUEUES_PER_TICK: usize = 128;
/// Messages that may die before the rest is left to the next tick.
const DEATHS_PER_TICK: usize = 4096;

impl Broker {
    /// Lets expire what is due: messages, wherever they wait in their queues, and unused queues.
    /// Does what one turn should take; costs nothing when nothing is due, whatever the number of
    /// queues.
    pub fn tick(&self, now: Millis, turn: &mut Turn) -> Progress {
        turn.begin(now, self.store());
        // Dead letters that wait go before new ones are made.
        let mut progress = Progress::Done;
        if self.dead_letter_postponed(turn) {
            progress = Progress::More;
        } else {
            for _ in 0..QUEUES_PER_TICK {
                if turn.dead.len() >= DEATHS_PER_TICK {
                    break;
                }
                let due = self.agenda.lock().take_due(now);
                let Some(queue) = due else { break };
                if let Some(queue) = queue.upgrade() {
                    queue.look(turn, self.store());
                }
            }
        }
        self.finish(turn);
        if self.agenda.lock().is_due(now) {
            progress = Progress::More;
        }
        progress
    }
}
