//! `basic.publish`, publisher confirms and transactions.

use leveret_broker::{Publish, Session, SettleGroup, Settlement, Ticket, refusal};
use leveret_codec::{AmqpError, Frame, Properties, TableLimits, WholePublish, basic, confirm, tx};
use leveret_engine::Body;

use super::Connection;
use crate::channel::{Channel, Content, Mandatory, Mode, ReplySubscription, Transaction};
use crate::outbox::Outbox;

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
        let Channel { assembly, mode, replies, .. } = channel;
        let Some(content) = assembly.frame(frame, max)? else {
            return Ok(());
        };
        publish(frame.channel, content, mode, replies.as_ref(), session, &self.outbox)
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
        let (whole, length) = WholePublish::at(frame, rest, self.frame_max)?;
        let is_ordinary = !whole.publish.immediate
            && whole.body.len() as u64 <= self.context.amqp.max_message_bytes;
        if !is_ordinary {
            return None;
        }
        if !self.settlements.is_empty() {
            self.flush_settlements();
        }
        let (Some(channel), Some(session)) =
            (self.channels.get_mut(&frame.channel), &mut self.session)
        else {
            return None;
        };
        if channel.is_closing || channel.assembly.check_method().is_err() {
            return None;
        }
        let content = Content {
            exchange: whole.publish.exchange,
            routing_key: whole.publish.routing_key,
            mandatory: Mandatory::of(&whole.publish),
            properties: whole.properties,
            body: Body::Copy(whole.body),
        };
        let Channel { mode, replies, .. } = channel;
        let published =
            publish(frame.channel, content, mode, replies.as_ref(), session, &self.outbox);
        Some((length, published))
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

    pub(super) fn select_confirms(
        &mut self,
        number: u16,
        select: confirm::Select,
    ) -> Result<(), AmqpError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        match channel.mode {
            Mode::Transaction(_) => return Err(refusal::cannot_switch_mode("tx", "confirm")),
            Mode::Plain => channel.mode = Mode::Confirm { published: 0 },
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
            Mode::Plain => channel.mode = Mode::Transaction(Transaction::default()),
            Mode::Transaction(_) => {}
        }
        self.reply(|out| tx::SelectOk {}.encode_frame(number, out));
        Ok(())
    }

    pub(super) fn commit(&mut self, number: u16) -> Result<(), AmqpError> {
        let Transaction { publishes, settlements } = self.take_transaction(number)?;
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
        for (prepared, mandatory) in &publishes {
            if *mandatory == Mandatory::Yes && prepared.is_unroutable() {
                self.outbox.return_message(number, prepared.message());
            }
        }
        let publishes = publishes.into_iter().map(|(prepared, _)| prepared);
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
        match self.channels.get_mut(&number).map(|channel| &mut channel.mode) {
            Some(Mode::Transaction(transaction)) => Ok(std::mem::take(transaction)),
            _ => Err(refusal::not_transactional()),
        }
    }
}

/// Checks and routes a message, and stages it or keeps it for its transaction.
fn publish(
    number: u16,
    content: Content<'_>,
    mode: &mut Mode,
    replies: Option<&ReplySubscription>,
    session: &mut Session,
    outbox: &Outbox,
) -> Result<(), AmqpError> {
    let id = basic::Publish::ID;
    let properties = Properties::parse(content.properties, &TableLimits::default())
        .map_err(|error| error.with_method(id))?;
    let ticket = match mode {
        Mode::Confirm { published } => {
            *published += 1;
            Some(Ticket { channel: number, sequence: *published })
        }
        Mode::Plain | Mode::Transaction(_) => None,
    };
    let mandatory = content.mandatory;
    let prepared = session
        .prepare(Publish {
            exchange: content.exchange,
            routing_key: content.routing_key,
            properties: &properties,
            raw_properties: content.properties,
            body: content.body,
            replies_to: replies.map(|replies| &replies.consumer),
        })
        .map_err(|error| error.with_method(id))?;
    if let Mode::Transaction(transaction) = mode {
        transaction.publishes.push((prepared, mandatory));
        return Ok(());
    }
    if mandatory == Mandatory::Yes && prepared.is_unroutable() {
        outbox.return_message(number, prepared.message());
    }
    session.stage(prepared, ticket);
    Ok(())
}
