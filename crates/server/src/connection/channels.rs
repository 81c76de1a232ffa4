//! Opening, closing and failing channels, and which method goes where.

use std::sync::Arc;

use leveret_broker::Settlement;
use leveret_codec::{AmqpError, Method, access, channel};
use leveret_engine::Return;

use super::Connection;
use crate::channel::{Assembly, Channel};

impl Connection {
    pub(super) fn channel_method(&mut self, number: u16, payload: &[u8]) -> Result<(), AmqpError> {
        let Some(channel) = self.channels.get_mut(&number) else {
            let method = Method::decode_within(payload, &self.context.amqp.tables)?;
            if !matches!(method, Method::ChannelOpen(_)) {
                let error = AmqpError::channel_error("expected 'channel.open'");
                return Err(error.with_method(method.id()));
            }
            return self.open_channel(number);
        };
        if channel.is_closing {
            return self.closing_channel_method(number, payload);
        }
        channel.assembly.check_method()?;
        let method = Method::decode_within(payload, &self.context.amqp.tables)?;
        let id = method.id();
        self.carry_out(number, method).map_err(|error| error.with_method(id))
    }

    fn carry_out(&mut self, number: u16, method: Method<'_>) -> Result<(), AmqpError> {
        match &method {
            Method::BasicPublish(publish) => return self.begin_publish(number, publish),
            Method::BasicAck(ack) => return self.ack(number, *ack),
            Method::BasicNack(nack) => return self.nack(number, *nack),
            Method::BasicReject(reject) => return self.reject(number, *reject),
            _ => self.flush(),
        }
        // A settlement that was staged may just have failed the channel.
        if self.channels.get(&number).is_none_or(|channel| channel.is_closing) {
            return Ok(());
        }
        match method {
            Method::BasicConsume(consume) => self.consume(number, &consume),
            Method::BasicCancel(cancel) => self.cancel(number, &cancel),
            Method::BasicCancelOk(_) => Ok(()),
            Method::BasicGet(get) => self.get(number, &get),
            Method::BasicQos(qos) => self.qos(number, qos),
            Method::BasicRecover(recover) => self.recover(number, recover.requeue, true),
            Method::BasicRecoverAsync(recover) => self.recover(number, recover.requeue, false),
            Method::QueueDeclare(declare) => self.declare_queue(number, &declare),
            Method::QueueBind(bind) => self.bind_queue(number, &bind),
            Method::QueueUnbind(unbind) => self.unbind_queue(number, &unbind),
            Method::QueuePurge(purge) => self.purge_queue(number, &purge),
            Method::QueueDelete(delete) => self.delete_queue(number, &delete),
            Method::ExchangeDeclare(declare) => self.declare_exchange(number, &declare),
            Method::ExchangeDelete(delete) => self.delete_exchange(number, &delete),
            Method::ExchangeBind(bind) => self.bind_exchange(number, &bind),
            Method::ExchangeUnbind(unbind) => self.unbind_exchange(number, &unbind),
            Method::ConfirmSelect(select) => self.select_confirms(number, select),
            Method::TxSelect(_) => self.select_transactions(number),
            Method::TxCommit(_) => self.commit(number),
            Method::TxRollback(_) => self.roll_back(number),
            Method::ChannelOpen(_) => Err(opened_twice()),
            Method::ChannelFlow(flow) if flow.active => {
                self.reply(|out| channel::FlowOk { active: true }.encode_frame(number, out));
                Ok(())
            }
            Method::ChannelFlow(_) => Err(leveret_broker::refusal::flow_inactive()),
            Method::ChannelClose(_) => {
                self.release_channel(number);
                self.channels.remove(&number);
                self.reply(|out| channel::CloseOk {}.encode_frame(number, out));
                Ok(())
            }
            Method::AccessRequest(_) => {
                self.reply(|out| access::RequestOk { ticket: 1 }.encode_frame(number, out));
                Ok(())
            }
            other => Err(AmqpError::unimplemented_method(other.id())),
        }
    }

    fn open_channel(&mut self, number: u16) -> Result<(), AmqpError> {
        // channel_max bounds how many are open, not their numbers.
        let open = self.channels.len();
        if self.channel_max != 0 && open >= usize::from(self.channel_max) {
            let max = self.channel_max;
            return Err(AmqpError::not_allowed(format!(
                "number of channels opened ({open}) has reached the negotiated channel_max ({max})"
            )));
        }
        self.session()?.open_channel()?;
        let open = self.registration()?.open_channel(number);
        self.outbox.open_channel(number, Arc::clone(&open));
        self.channels.insert(number, Box::new(Channel::new(open)));
        self.reply(|out| channel::OpenOk {}.encode_frame(number, out));
        Ok(())
    }

    /// A method on a channel the broker has closed: only the answer to that counts. Until then the
    /// number is in use.
    fn closing_channel_method(&mut self, number: u16, payload: &[u8]) -> Result<(), AmqpError> {
        match Method::decode_within(payload, &self.context.amqp.tables) {
            Ok(Method::ChannelOpen(_)) => {
                return Err(opened_twice().with_method(channel::Open::ID));
            }
            Ok(Method::ChannelCloseOk(_)) => {
                self.channels.remove(&number);
            }
            Ok(Method::ChannelClose(_)) => {
                // Both closed at once: each answers the other, and the client's answer is to come.
                self.reply(|out| channel::CloseOk {}.encode_frame(number, out));
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends a channel for an error of its own; the connection lives on.
    pub(super) fn fail_channel(&mut self, number: u16, error: AmqpError) {
        self.flush_publishes();
        if self.channels.get(&number).is_none_or(|channel| channel.is_closing) {
            return;
        }
        if self.may_log_error() {
            tracing::error!(
                "channel error on connection ({}), channel {number}: operation {} caused a channel \
                 exception {}: {}",
                self.label(),
                error.method(),
                error.code().name().to_ascii_lowercase(),
                error.text()
            );
        }
        self.release_channel(number);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.is_closing = true;
        }
        self.reply(|out| error.encode_close(number, out));
    }

    /// Cancels a channel's consumers and gives back what it held unsettled. Nothing is written on
    /// the channel after this but its close.
    pub(super) fn release_channel(&mut self, number: u16) {
        let (Some(channel), Some(session)) = (self.channels.get_mut(&number), &mut self.session)
        else {
            return;
        };
        if !channel.is_closing {
            session.close_channel();
            if let Some(registration) = &self.registration {
                registration.close_channel(number);
            }
        }
        self.settlements.retain(|pending| pending.channel != number);
        self.unfinished.end(channel.assembly.unfinished());
        channel.assembly = Assembly::default();
        channel.replies = None;
        for (_, subscription) in channel.consumers.drain() {
            subscription.sink.end();
            session.cancel(&subscription.queue, subscription.id);
            self.outbox.remove_consumer(number, subscription.id, subscription.source);
        }
        let transaction = std::mem::replace(&mut channel.mode, crate::channel::Mode::Plain);
        if let crate::channel::Mode::Transaction(transaction) = transaction {
            self.uncommitted.end(transaction.memory);
            if let Some(mut out) = self.outbox.channel(number) {
                for (_, taken) in transaction.settlements {
                    out.restore(taken);
                }
            }
        }
        let Some(mut out) = self.outbox.close_channel(number) else { return };
        loop {
            let unsettled = out.take_unsettled();
            if unsettled.is_empty() {
                return;
            }
            for mut group in unsettled {
                session.settle(Settlement::Requeue(Return::Failed), &mut group);
            }
        }
    }
}

fn opened_twice() -> AmqpError {
    AmqpError::channel_error("second 'channel.open' seen")
}
