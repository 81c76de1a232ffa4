//! Transactions: what a client published and settled since the last commit, as one unit.

use std::sync::Arc;

use leveret_codec::AmqpError;
use leveret_store::Lsn;

use super::Session;
use super::publish::{Outcome, Prepared, Ticket};
use super::settle::{SettleGroup, Settlement};
use crate::dead_letter::{self, DeadLetters, Death, Found, Reason, with_messages};
use crate::refusal;
use crate::spans::SettleOutcome;

impl Session {
    /// Commits a transaction: its publishes and settlements reach the journal as one unit. Returns
    /// what commit-ok waits for. Nothing may be staged outside the transaction.
    ///
    /// # Errors
    /// 406 `partial tx completion` when a queue refused one of the messages.
    pub fn commit(
        &mut self,
        publishes: impl IntoIterator<Item = Prepared>,
        settlements: &mut [(Settlement, SettleGroup)],
    ) -> Result<Option<Lsn>, AmqpError> {
        debug_assert!(!self.has_staged(), "a transaction's append is its own");
        // Tickets only to learn of refusals; a channel is never both transactional and confirming.
        for (sequence, prepared) in (1..).zip(publishes) {
            self.stage(prepared, Some(Ticket { channel: 0, sequence }));
        }
        let mut dying = Vec::new();
        for (settlement, group) in settlements.iter_mut() {
            if let Settlement::Requeue(_) = settlement {
                continue;
            }
            let dead_lettering = match *settlement {
                Settlement::Discard => group.queue.dead_lettering(),
                _ => None,
            };
            if let Some(source) = dead_lettering {
                if let Some(spans) = group.queue.spans() {
                    let SettleGroup { queue, consumer, entries } = &*group;
                    spans.settle(queue, *consumer, entries, SettleOutcome::Rejected, true);
                }
                dying.extend(group.entries.iter_mut().map(|entry| {
                    let (source, dead) = (Arc::clone(&source), entry.clone());
                    entry.forget_record();
                    Death { source, entry: dead, reason: Reason::Rejected, past: None }
                }));
                // To the queue it is as if they were done with: their future is settled here.
                *settlement = Settlement::Acknowledge;
                continue;
            }
            let mut stored: Vec<Lsn> = Vec::new();
            for entry in group.entries.iter_mut().filter(|entry| entry.stored()) {
                stored.push(Lsn(entry.lsn().0));
                entry.forget_record();
            }
            if !stored.is_empty() {
                self.staging.records.ack(group.queue.id.0, &stored);
                self.staging.records.set_durable();
            }
        }
        // Which of them came back before in this turn: their last record counts.
        if !self.turn.records.is_empty() {
            self.broker.store().append(&mut self.turn.records);
        }
        let records = &mut self.staging.records;
        if dying.iter().any(|death| death.entry.stored()) {
            records.set_durable();
        }
        let (mut found, mut waiting) = if self.broker.is_journal_short() {
            (Found::default(), dying)
        } else {
            let (found, unread) = with_messages(self.broker.store(), dying);
            (found, unread.map_or_else(Vec::new, |unread| unread.deaths))
        };
        let mut letters = DeadLetters::write(&self.broker, &mut found, self.turn.now(), records);
        waiting.extend(found.deaths.into_iter().map(Death::from).chain(found.rest));
        // They go on alone, once they can be read and there is space for them. That they died is part
        // of the transaction all the same.
        dead_letter::mark(&waiting, records);
        self.turn.dead.extend(waiting);
        let (first_record, last) = self.append(Some(letters.buckets()));
        let mut confirmations = Vec::new();
        self.enqueue(first_record, &mut confirmations);
        letters.enqueue(&self.broker, first_record, &mut self.turn);
        for (settlement, group) in settlements {
            self.settle(*settlement, group);
        }
        if confirmations.iter().any(|confirmation| confirmation.outcome == Outcome::Refused) {
            return Err(refusal::partial_tx_completion());
        }
        Ok(last)
    }
}
