//! `basic.publish`, publisher confirms and transactions.

use std::sync::Arc;

use leveret_broker::{
    ChannelMode, OpenChannel, Publish, Repeatable, Session, SettleGroup, Settlement, Ticket,
    refusal,
};
use leveret_codec::{AmqpError, Frame, Properties, TableLimits, WholePublish, basic, confirm, tx};
use leveret_engine::Body;

use super::{Connection, is_publish};
use crate::channel::{Channel, Content, Mandatory, Mode, ReplySubscription, Transaction};
use crate::outbox::Outbox;
use crate::uncommitted::Uncommitted;

/// Bytes of properties beyond which nobody remembers them: each channel may have some.
const REMEMBERED_MAX: usize = 4096;

impl Connection {
    pub(super) fn begin_publish(
        &mut self,
        number: u16,
        publish: &basic::Publish<'_>,
    ) -> Result<(), AmqpError> {
        if publish.immediate {
            return Err(refusal::immediate());
        }
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.assembly.begin(publish);
        }
        Ok(())
    }

    /// A header or body frame: with the last one the message is published.
    pub(super) fn content_frame(&mut self, frame: &Frame<'_>) -> Result<(), AmqpError> {
        // A settlement before this publish on the wire takes effect, or fails, before it.
        if !self.settlements.is_empty() {
            self.flush_settlements();
        }
        let (Some(channel), Some(session)) =
            (self.channels.get_mut(&frame.channel), &mut self.session)
        else {
            return Err(AmqpError::channel_error("expected 'channel.open'"));
        };
        if channel.is_closing {
            return Ok(());
        }
        let max = self.context.amqp.max_message_bytes;
        let Channel { open, assembly, mode, replies, .. } = &mut **channel;
        let before = assembly.unfinished();
        let Some(content) = assembly.frame(frame, max)? else {
            let grown = self.unfinished.grow(before, assembly.unfinished());
            return grown.map_err(|error| error.with_method(basic::Publish::ID));
        };
        self.unfinished.end(before);
        let (replies, body) = (replies.as_ref(), content.body.clone());
        let (outbox, tables) = (&*self.outbox, &self.context.amqp.tables);
        let uncommitted = &mut self.uncommitted;
        let mut publisher = Publisher { open, mode, replies, session, outbox, tables, uncommitted };
        let published = publisher.publish(content, None);
        let is_open = published.is_err() && publisher.session.open_question().is_some();
        if is_open {
            let body = body.into_owned();
            self.postpone(frame.channel, body);
        } else {
            assembly.release();
        }
        published
    }

    /// Publishes what the channel's last publish was, with this body.
    pub(super) fn publish_assembled(
        &mut self,
        number: u16,
        body: Body<'static>,
    ) -> Result<(), AmqpError> {
        let (Some(channel), Some(session)) = (self.channels.get_mut(&number), &mut self.session)
        else {
            return Ok(());
        };
        if channel.is_closing {
            return Ok(());
        }
        let Channel { open, assembly, mode, replies, .. } = &mut **channel;
        let content = assembly.content(body.clone());
        let replies = replies.as_ref();
        let (outbox, tables) = (&*self.outbox, &self.context.amqp.tables);
        let uncommitted = &mut self.uncommitted;
        let mut publisher = Publisher { open, mode, replies, session, outbox, tables, uncommitted };
        let published = publisher.publish(content, None);
        if published.is_err() && publisher.session.open_question().is_some() {
            self.postpone(number, body);
        } else {
            assembly.release();
        }
        published
    }

    /// The publish that starts with `frame`, if all its frames are at the front of `rest`, which
    /// spares putting it together piece by piece; how many bytes of `rest` they take.
    ///
    /// `None` when it has to be taken frame by frame, which also finds what is wrong with it.
    pub(super) fn whole_publish(
        &mut self,
        frame: &Frame<'_>,
        rest: &[u8],
    ) -> Option<(usize, Result<(), AmqpError>)> {
        if !is_publish(frame) {
            return None;
        }
        // A settlement before this publish on the wire takes effect, or fails, before it.
        if !self.settlements.is_empty() {
            self.flush_settlements();
        }
        let (frame_max, max) = (self.frame_max, self.context.amqp.max_message_bytes);
        let channel = self.channels.get_mut(&frame.channel)?;
        if channel.is_closing || channel.assembly.check_method().is_err() {
            return None;
        }
        let Channel { open, mode, replies, repetition, .. } = &mut **channel;
        let (replies, session) = (replies.as_ref(), self.session.as_mut()?);
        let (outbox, tables) = (&*self.outbox, &self.context.amqp.tables);
        let uncommitted = &mut self.uncommitted;
        let mut publisher = Publisher { open, mode, replies, session, outbox, tables, uncommitted };
        let repetition = repetition.get_or_insert_default();
        let repeated = repetition.shape.body(frame, rest, frame_max);
        if let (Some((body, length)), Some(like)) = (repeated, &repetition.like)
            && body.len() as u64 <= max
            && publisher.publish_again(like, body)
        {
            return Some((length, Ok(())));
        }
        let (whole, length) = WholePublish::at(frame, rest, frame_max)?;
        if whole.publish.immediate || whole.body.len() as u64 > max {
            return None;
        }
        let content = Content {
            exchange: whole.publish.exchange,
            routing_key: whole.publish.routing_key,
            mandatory: Mandatory::of(&whole.publish),
            properties: whole.properties,
            body: Body::Copy(whole.body),
        };
        repetition.like = None;
        if repeated.is_none() {
            if whole.properties.len() <= REMEMBERED_MAX {
                repetition.shape.set(frame, rest);
            }
            return Some((length, publisher.publish(content, None)));
        }
        Some((length, publisher.publish(content, Some(&mut repetition.like))))
    }

    /// Puts the turn's publishes into the journal and their queues; confirms follow.
    pub(super) fn flush_publishes(&mut self) {
        let Some(session) = &mut self.session else { return };
        if !session.has_staged() {
            return;
        }
        self.has_published = true;
        session.flush(&mut self.confirmations);
        if !self.confirmations.is_empty() {
            let durable = self.context.broker.store().durable_lsn();
            self.outbox.confirm(&self.confirmations, durable);
            self.confirmations.clear();
        }
    }

    /// As [`flush`](Self::flush), at the end of a turn.
    ///
    /// A client that waits for each confirm before it publishes again waits less if its message needs
    /// no other thread to become durable: this one, which has nothing else to do for it, writes it.
    pub(super) fn flush_at_end(&mut self) {
        let goes_step_by_step = self.context.may_block
            && !self.has_published
            && self.session.as_ref().is_some_and(|session| session.stages_few_for_disk())
            && !self.outbox.awaits_confirms();
        if !goes_step_by_step {
            self.flush();
            return;
        }
        let context = Arc::clone(&self.context);
        let pen = context.broker.store().pen();
        self.flush();
        if let Some(mut pen) = pen
            && self.outbox.awaits_confirms()
        {
            pen.write();
        }
    }

    pub(super) fn select_confirms(
        &mut self,
        number: u16,
        select: confirm::Select,
    ) -> Result<(), AmqpError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        match channel.mode {
            Mode::Transaction(_) => return Err(refusal::cannot_switch_mode("tx", "confirm")),
            Mode::Plain => {
                channel.mode = Mode::Confirm { published: 0 };
                channel.open.set_mode(ChannelMode::Confirm);
            }
            Mode::Confirm { .. } => {}
        }
        if !select.nowait {
            self.reply(|out| confirm::SelectOk {}.encode_frame(number, out));
        }
        Ok(())
    }

    pub(super) fn select_transactions(&mut self, number: u16) -> Result<(), AmqpError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        match channel.mode {
            Mode::Confirm { .. } => return Err(refusal::cannot_switch_mode("confirm", "tx")),
            Mode::Plain => {
                channel.mode = Mode::Transaction(Transaction::default());
                channel.open.set_mode(ChannelMode::Transactional);
            }
            Mode::Transaction(_) => {}
        }
        self.reply(|out| tx::SelectOk {}.encode_frame(number, out));
        Ok(())
    }

    pub(super) fn commit(&mut self, number: u16) -> Result<(), AmqpError> {
        let Transaction { publishes, settlements, .. } = self.take_transaction(number)?;
        let mut groups: Vec<(Settlement, SettleGroup)> = Vec::new();
        let mut unblocked = Vec::new();
        if let Some(mut out) = self.outbox.channel(number) {
            for (settlement, taken) in settlements {
                let mut of_one = Vec::new();
                let slots = taken.into_iter().map(|(_, slot)| slot);
                out.group(slots, &mut of_one, &mut Vec::new());
                groups.extend(of_one.into_iter().map(|group| (settlement, group)));
            }
            unblocked = out.unblocked();
        }
        let Some(channel) = self.channels.get(&number) else { return Ok(()) };
        let counters = &channel.open.counters;
        counters.publish.add(publishes.len() as u64);
        publishes.iter().for_each(|(one, _)| channel.open.sizes.count(one.message().size()));
        let acknowledged = groups.iter().filter(|(how, _)| *how == Settlement::Acknowledge);
        counters.ack.add(acknowledged.map(|(_, group)| group.entries.len() as u64).sum());
        for (prepared, mandatory) in publishes.iter().filter(|(one, _)| one.is_unroutable()) {
            count_unroutable(&channel.open, *mandatory);
            if *mandatory == Mandatory::Yes {
                self.outbox.return_message(number, prepared.message());
            }
        }
        let publishes = publishes.into_iter().map(|(prepared, _)| prepared);
        // Also if one of them is refused: the others are in their queues.
        self.has_published = true;
        let commit = self.session()?.commit(publishes, &mut groups)?;
        self.unblock(unblocked);
        self.reply_at(commit, |out| tx::CommitOk {}.encode_frame(number, out));
        Ok(())
    }

    pub(super) fn roll_back(&mut self, number: u16) -> Result<(), AmqpError> {
        let Transaction { settlements, .. } = self.take_transaction(number)?;
        if let Some(mut out) = self.outbox.channel(number) {
            for (_, taken) in settlements {
                out.restore(taken);
            }
        }
        self.reply(|out| tx::RollbackOk {}.encode_frame(number, out));
        Ok(())
    }

    fn take_transaction(&mut self, number: u16) -> Result<Transaction, AmqpError> {
        let channel = self.channels.get_mut(&number);
        let channel = channel.ok_or_else(refusal::not_transactional)?;
        let Mode::Transaction(transaction) = &mut channel.mode else {
            return Err(refusal::not_transactional());
        };
        let transaction = std::mem::take(transaction);
        self.uncommitted.end(transaction.memory);
        channel.open.uncommitted.set(0);
        channel.open.uncommitted_acks.set(0);
        Ok(transaction)
    }
}

/// A channel, as its publishes need it.
struct Publisher<'a> {
    open: &'a OpenChannel,
    mode: &'a mut Mode,
    replies: Option<&'a ReplySubscription>,
    session: &'a mut Session,
    outbox: &'a Outbox,
    /// How large headers may be.
    tables: &'a TableLimits,
    uncommitted: &'a mut Uncommitted,
}

impl Publisher<'_> {
    /// Checks and routes a message, and stages it or keeps it for its transaction. Into `like` goes
    /// what it has in common with others.
    fn publish(
        &mut self,
        content: Content<'_>,
        like: Option<&mut Option<Repeatable>>,
    ) -> Result<(), AmqpError> {
        let id = basic::Publish::ID;
        let properties = Properties::parse(content.properties, self.tables)
            .map_err(|error| error.with_method(id))?;
        let mandatory = content.mandatory;
        let prepared = self
            .session
            .prepare(Publish {
                channel: self.open.number(),
                exchange: content.exchange,
                routing_key: content.routing_key,
                properties: &properties,
                raw_properties: content.properties,
                body: content.body,
                replies_to: self.replies.map(|replies| &replies.consumer),
            })
            .map_err(|error| error.with_method(id))?;
        let ticket = self.next_ticket();
        if let Mode::Transaction(transaction) = self.mode {
            let memory = prepared.memory();
            transaction.publishes.push((prepared, mandatory));
            transaction.memory += memory;
            self.open.uncommitted.add(1);
            return self.uncommitted.grow(memory).map_err(|error| error.with_method(id));
        }
        if let Some(like) = like {
            *like = self.session.repeatable(&prepared);
        }
        self.count(ticket, prepared.message().size());
        if prepared.is_unroutable() {
            count_unroutable(self.open, mandatory);
            if mandatory == Mandatory::Yes {
                self.outbox.return_message(self.open.number(), prepared.message());
            }
        }
        self.session.stage(prepared, ticket);
        Ok(())
    }

    /// The same of a message like an earlier one. `false` if it has to be looked at.
    fn publish_again(&mut self, like: &Repeatable, body: &[u8]) -> bool {
        if matches!(self.mode, Mode::Transaction(_)) || !self.session.holds(like) {
            return false;
        }
        let ticket = self.next_ticket();
        self.session.publish_again(like, Body::Copy(body), ticket);
        self.count(ticket, body.len());
        true
    }

    fn next_ticket(&mut self) -> Option<Ticket> {
        let Mode::Confirm { published } = self.mode else { return None };
        *published += 1;
        Some(Ticket { channel: self.open.number(), sequence: *published })
    }

    fn count(&self, ticket: Option<Ticket>, size: usize) {
        self.open.counters.publish.add(1);
        self.open.counters.publish_to_confirm.add(u64::from(ticket.is_some()));
        self.open.sizes.count(size);
    }
}

/// Counts a message that nobody takes.
fn count_unroutable(open: &OpenChannel, mandatory: Mandatory) {
    match mandatory {
        Mandatory::Yes => open.counters.return_unroutable.add(1),
        Mandatory::No => open.counters.drop_unroutable.add(1),
    }
}
