//! What happens because time passes.

use std::sync::Arc;

use leveret_engine::Millis;

use crate::broker::Broker;
use crate::queue::SharedQueue;
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
        // Dead letters that wait go before new ones are made, but others do not wait for them.
        let is_turn_of_others = std::mem::take(&mut turn.has_gone_on);
        if !is_turn_of_others && self.dead_letter_postponed(turn) {
            turn.has_gone_on = true;
            self.finish(turn);
            return Progress::More;
        }
        let put_off = self.look_at_due(now, turn);
        self.finish(turn);
        let is_more = is_turn_of_others || self.agenda.lock().is_due(now);
        put_off.iter().for_each(|queue| queue.put_off(now));
        if is_more { Progress::More } else { Progress::Done }
    }

    /// Looks at queues that are due. Those of which dead letters wait for their turn it answers: what expires there
    /// would but wait as well, and not leave memory as easily.
    fn look_at_due(&self, now: Millis, turn: &mut Turn) -> Vec<Arc<SharedQueue>> {
        let mut put_off = Vec::new();
        for _ in 0..QUEUES_PER_TICK {
            if turn.dead.len() >= DEATHS_PER_TICK {
                break;
            }
            let due = self.agenda.lock().take_due(now);
            let Some(queue) = due else { break };
            let Some(queue) = queue.upgrade() else { continue };
            if self.has_dead_letters_to_go(queue.id) && !queue.has_retries_due(now) {
                put_off.push(queue);
            } else {
                queue.look(turn, self.store());
            }
        }
        put_off
    }
}
