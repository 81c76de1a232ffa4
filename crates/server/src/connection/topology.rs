//! `exchange.*` and `queue.*`.

use leveret_broker::{DeclareExchange, DeclareQueue, DeleteIf, Session};
use leveret_codec::{AmqpError, Table, exchange, queue};
use leveret_engine::DestinationName;
use leveret_store::Lsn;

use super::{Connection, Next, TURN_PLACES};

/// A binding that is given the history of its exchange: what answers it, and waits for what.
pub(super) struct Bound {
    commit: Option<Lsn>,
    answer: Vec<u8>,
}

impl Connection {
    pub(super) fn declare_exchange(
        &mut self,
        number: u16,
        declare: &exchange::Declare<'_>,
    ) -> Result<(), AmqpError> {
        let session = self.session()?;
        let commit = if declare.passive {
            session.find_exchange(declare.exchange)?;
            None
        } else {
            session.declare_exchange(DeclareExchange {
                name: declare.exchange,
                kind: declare.kind,
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments: declare.arguments,
            })?
        };
        self.answer(declare.nowait, commit, |out| {
            exchange::DeclareOk {}.encode_frame(number, out);
        });
        Ok(())
    }

    pub(super) fn delete_exchange(
        &mut self,
        number: u16,
        delete: &exchange::Delete<'_>,
    ) -> Result<(), AmqpError> {
        let commit = self.session()?.delete_exchange(delete.exchange, delete.if_unused)?;
        self.answer(delete.nowait, commit, |out| {
            exchange::DeleteOk {}.encode_frame(number, out);
        });
        Ok(())
    }

    pub(super) fn bind_exchange(
        &mut self,
        number: u16,
        bind: &exchange::Bind<'_>,
    ) -> Result<(), AmqpError> {
        let destination = DestinationName::Exchange(bind.destination);
        let commit =
            self.session()?.bind(bind.source, destination, bind.routing_key, bind.arguments)?;
        self.answer_bind(bind.nowait, commit, |out| {
            exchange::BindOk {}.encode_frame(number, out);
        });
        Ok(())
    }

    pub(super) fn unbind_exchange(
        &mut self,
        number: u16,
        unbind: &exchange::Unbind<'_>,
    ) -> Result<(), AmqpError> {
        let destination = DestinationName::Exchange(unbind.destination);
        let session = self.session()?;
        let commit =
            session.unbind(unbind.source, destination, unbind.routing_key, unbind.arguments)?;
        self.answer(unbind.nowait, commit, |out| {
            exchange::UnbindOk {}.encode_frame(number, out);
        });
        Ok(())
    }

    pub(super) fn declare_queue(
        &mut self,
        number: u16,
        declare: &queue::Declare<'_>,
    ) -> Result<(), AmqpError> {
        let declared = if declare.passive {
            let name = self.queue_name(number, declare.queue)?;
            self.session()?.find_queue(&name)?
        } else {
            self.session()?.declare_queue(DeclareQueue {
                name: declare.queue,
                durable: declare.durable,
                exclusive: declare.exclusive,
                auto_delete: declare.auto_delete,
                arguments: declare.arguments,
            })?
        };
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.last_queue.clear();
            channel.last_queue.push_str(&declared.name);
        }
        let declare_ok = queue::DeclareOk {
            queue: &declared.name,
            message_count: saturated(declared.messages),
            consumer_count: saturated(declared.consumers as u64),
        };
        self.answer(declare.nowait, declared.commit, |out| declare_ok.encode_frame(number, out));
        Ok(())
    }

    pub(super) fn bind_queue(
        &mut self,
        number: u16,
        bind: &queue::Bind<'_>,
    ) -> Result<(), AmqpError> {
        let (queue, key) = self.queue_and_key(number, bind.queue, bind.routing_key)?;
        let destination = DestinationName::Queue(&queue);
        let commit = self.session()?.bind(bind.exchange, destination, &key, bind.arguments)?;
        self.answer_bind(bind.nowait, commit, |out| queue::BindOk {}.encode_frame(number, out));
        Ok(())
    }

    pub(super) fn unbind_queue(
        &mut self,
        number: u16,
        unbind: &queue::Unbind<'_>,
    ) -> Result<(), AmqpError> {
        let (queue, key) = self.queue_and_key(number, unbind.queue, unbind.routing_key)?;
        let destination = DestinationName::Queue(&queue);
        let arguments: Table<'_> = unbind.arguments;
        let commit = self.session()?.unbind(unbind.exchange, destination, &key, arguments)?;
        self.answer(false, commit, |out| queue::UnbindOk {}.encode_frame(number, out));
        Ok(())
    }

    pub(super) fn purge_queue(
        &mut self,
        number: u16,
        purge: &queue::Purge<'_>,
    ) -> Result<(), AmqpError> {
        let queue = self.queue_name(number, purge.queue)?;
        let message_count = saturated(self.session()?.purge_queue(&queue)?);
        self.answer(purge.nowait, None, |out| {
            queue::PurgeOk { message_count }.encode_frame(number, out);
        });
        Ok(())
    }

    pub(super) fn delete_queue(
        &mut self,
        number: u16,
        delete: &queue::Delete<'_>,
    ) -> Result<(), AmqpError> {
        let queue = self.queue_name(number, delete.queue)?;
        let when = DeleteIf { unused: delete.if_unused, empty: delete.if_empty };
        let deleted = self.session()?.delete_queue(&queue, when)?;
        let message_count = saturated(deleted.messages);
        self.answer(delete.nowait, deleted.commit, |out| {
            queue::DeleteOk { message_count }.encode_frame(number, out);
        });
        Ok(())
    }

    fn answer(&mut self, nowait: bool, commit: Option<Lsn>, encode: impl FnOnce(&mut Vec<u8>)) {
        if !nowait {
            self.reply_at(commit, encode);
        }
    }

    /// As [`answer`](Self::answer), once the binding has what a recent history exchange repeats to it.
    fn answer_bind(
        &mut self,
        nowait: bool,
        commit: Option<Lsn>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        if !self.session.as_ref().is_some_and(Session::has_history) {
            self.answer(nowait, commit, encode);
            return;
        }
        let mut bound = Bound { commit, answer: Vec::new() };
        if nowait {
            bound.commit = None;
        } else {
            encode(&mut bound.answer);
        }
        self.bound = Some(bound);
    }

    /// Goes on with what a new binding is given, as far as the turn goes; then the bind is answered.
    /// It is as good as publishing, for which nothing may be short: then there is no more. To wait for the end of the
    /// alarm could be to wait for acknowledgements behind the bind.
    pub(super) fn repeat_history(&mut self, is_short: bool) -> Next {
        let Some(session) = &mut self.session else {
            self.bound = None;
            return Next::Read;
        };
        if is_short {
            let rest = session.forget_history();
            tracing::warn!(
                "a binding is not given the last {rest} messages of a recent history: publishers have to wait"
            );
        } else if session.repeat_history(TURN_PLACES.saturating_sub(session.placed())) {
            return Next::Yield;
        }
        if let Some(Bound { commit, answer }) = self.bound.take() {
            self.reply_at(commit, |out| out.extend_from_slice(&answer));
        }
        Next::Read
    }

    pub(super) fn queue_name(&self, number: u16, name: &str) -> Result<String, AmqpError> {
        match self.channels.get(&number) {
            Some(channel) => channel.queue_name(name).map(str::to_owned),
            None => Ok(name.to_owned()),
        }
    }

    /// Where both are empty, the key becomes the queue's name as well.
    fn queue_and_key(
        &self,
        number: u16,
        queue: &str,
        key: &str,
    ) -> Result<(String, String), AmqpError> {
        let name = self.queue_name(number, queue)?;
        let key = if queue.is_empty() && key.is_empty() { name.clone() } else { key.to_owned() };
        Ok((name, key))
    }
}

/// Counts on the wire have 32 bits.
pub(super) fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
