//! Requests with every field at its usual value; others by struct update, such as
//! `queue::Declare { durable: true, ..declare("q") }`.

use leveret_codec::{
    Method, Table, TableBuf, TableBuilder, Value, access, basic, channel, confirm, connection,
    exchange, queue, tx,
};

/// A method a test sends.
pub trait Request {
    /// The method as the codec knows it.
    fn method(&self) -> Method<'_>;
}

impl Request for Method<'_> {
    fn method(&self) -> Method<'_> {
        *self
    }
}

macro_rules! requests {
    ($($class:ident :: $name:ident $(<$life:lifetime>)? as $variant:ident,)+) => {
        $(impl Request for $class::$name $(<$life>)? {
            fn method(&self) -> Method<'_> {
                Method::$variant(*self)
            }
        })+
    };
}

requests! {
    connection::StartOk<'_> as ConnectionStartOk,
    connection::SecureOk<'_> as ConnectionSecureOk,
    connection::TuneOk as ConnectionTuneOk,
    connection::Open<'_> as ConnectionOpen,
    connection::Close<'_> as ConnectionClose,
    connection::CloseOk as ConnectionCloseOk,
    connection::UpdateSecret<'_> as ConnectionUpdateSecret,
    channel::Open as ChannelOpen,
    channel::Flow as ChannelFlow,
    channel::FlowOk as ChannelFlowOk,
    channel::Close<'_> as ChannelClose,
    channel::CloseOk as ChannelCloseOk,
    access::Request<'_> as AccessRequest,
    exchange::Declare<'_> as ExchangeDeclare,
    exchange::Delete<'_> as ExchangeDelete,
    exchange::Bind<'_> as ExchangeBind,
    exchange::Unbind<'_> as ExchangeUnbind,
    queue::Declare<'_> as QueueDeclare,
    queue::DeclareOk<'_> as QueueDeclareOk,
    queue::Bind<'_> as QueueBind,
    queue::Purge<'_> as QueuePurge,
    queue::Delete<'_> as QueueDelete,
    queue::Unbind<'_> as QueueUnbind,
    basic::Qos as BasicQos,
    basic::Consume<'_> as BasicConsume,
    basic::Cancel<'_> as BasicCancel,
    basic::CancelOk<'_> as BasicCancelOk,
    basic::Publish<'_> as BasicPublish,
    basic::Deliver<'_> as BasicDeliver,
    basic::Get<'_> as BasicGet,
    basic::GetEmpty as BasicGetEmpty,
    basic::Ack as BasicAck,
    basic::Reject as BasicReject,
    basic::RecoverAsync as BasicRecoverAsync,
    basic::Recover as BasicRecover,
    basic::Nack as BasicNack,
    confirm::Select as ConfirmSelect,
    tx::Select as TxSelect,
    tx::Commit as TxCommit,
    tx::Rollback as TxRollback,
}

/// A transient queue.
#[must_use]
pub fn declare(queue: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue,
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: Table::EMPTY,
    }
}

/// Asks whether a queue is there, and for its counts. Leveret answers after all that the channel
/// asked for before, so that an unexpected delivery would come first; RabbitMQ's counts may be ahead
/// of publishes that are not confirmed yet.
#[must_use]
pub fn passive(queue: &str) -> queue::Declare<'_> {
    queue::Declare { passive: true, ..declare(queue) }
}

/// Deletes a queue in any state.
#[must_use]
pub fn delete(queue: &str) -> queue::Delete<'_> {
    queue::Delete { queue, if_unused: false, if_empty: false, nowait: false }
}

/// Drops a queue's ready messages.
#[must_use]
pub fn purge(queue: &str) -> queue::Purge<'_> {
    queue::Purge { queue, nowait: false }
}

/// Binds a queue to an exchange.
#[must_use]
pub fn bind<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> queue::Bind<'a> {
    queue::Bind { queue, exchange, routing_key, nowait: false, arguments: Table::EMPTY }
}

/// Removes a binding made by [`bind`].
#[must_use]
pub fn unbind<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> queue::Unbind<'a> {
    queue::Unbind { queue, exchange, routing_key, arguments: Table::EMPTY }
}

/// A transient exchange of the type `kind`.
#[must_use]
pub fn declare_exchange<'a>(exchange: &'a str, kind: &'a str) -> exchange::Declare<'a> {
    exchange::Declare {
        exchange,
        kind,
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: Table::EMPTY,
    }
}

/// Deletes an exchange in any state.
#[must_use]
pub fn delete_exchange(exchange: &str) -> exchange::Delete<'_> {
    exchange::Delete { exchange, if_unused: false, nowait: false }
}

/// Has `destination` get what `source` routes by the key.
#[must_use]
pub fn bind_exchange<'a>(
    destination: &'a str,
    source: &'a str,
    routing_key: &'a str,
) -> exchange::Bind<'a> {
    exchange::Bind { destination, source, routing_key, nowait: false, arguments: Table::EMPTY }
}

/// Removes a binding made by [`bind_exchange`].
#[must_use]
pub fn unbind_exchange<'a>(
    destination: &'a str,
    source: &'a str,
    routing_key: &'a str,
) -> exchange::Unbind<'a> {
    exchange::Unbind { destination, source, routing_key, nowait: false, arguments: Table::EMPTY }
}

/// Limits the unacknowledged deliveries of each consumer to come.
#[must_use]
pub fn qos(prefetch_count: u16) -> basic::Qos {
    basic::Qos { prefetch_size: 0, prefetch_count, global: false }
}

/// Subscribes, with acknowledgements.
#[must_use]
pub fn consume<'a>(queue: &'a str, consumer_tag: &'a str) -> basic::Consume<'a> {
    basic::Consume {
        queue,
        consumer_tag,
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: Table::EMPTY,
    }
}

/// Ends a subscription.
#[must_use]
pub fn cancel(consumer_tag: &str) -> basic::Cancel<'_> {
    basic::Cancel { consumer_tag, nowait: false }
}

/// The method of a publish; its content has to follow.
#[must_use]
pub fn publish<'a>(exchange: &'a str, routing_key: &'a str) -> basic::Publish<'a> {
    basic::Publish { exchange, routing_key, mandatory: false, immediate: false }
}

/// Asks for one message, to be acknowledged.
#[must_use]
pub fn get(queue: &str) -> basic::Get<'_> {
    basic::Get { queue, no_ack: false }
}

/// Acknowledges one delivery.
#[must_use]
pub fn ack(delivery_tag: u64) -> basic::Ack {
    basic::Ack { delivery_tag, multiple: false }
}

/// Puts one delivery back.
#[must_use]
pub fn nack(delivery_tag: u64) -> basic::Nack {
    basic::Nack { delivery_tag, multiple: false, requeue: true }
}

/// Puts one delivery back, in the older way.
#[must_use]
pub fn reject(delivery_tag: u64) -> basic::Reject {
    basic::Reject { delivery_tag, requeue: true }
}

/// Asks for confirms.
#[must_use]
pub fn confirm_select() -> confirm::Select {
    confirm::Select { nowait: false }
}

/// Arguments or headers.
#[must_use]
pub fn table<'v, const N: usize>(entries: [(&str, Value<'v>); N]) -> TableBuf {
    entries
        .into_iter()
        .fold(TableBuilder::new(), |table, (key, value)| table.put(key, value))
        .build()
}
