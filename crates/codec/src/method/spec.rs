//! The table of methods: AMQP 0-9-1 with RabbitMQ's extensions (`exchange.bind`, `basic.nack`,
//! `confirm`, `connection.blocked`, `connection.update-secret`).

use super::define::define_methods;
use super::{MethodId, begin, end};
use crate::AmqpError;
use crate::table::{Table, TableLimits};
use crate::wire::{ReadError, Reader, Writer};

define_methods! {
    /// Class 10: opening, tuning and closing the connection; always on channel 0.
    connection = 10 {
        /// Server: greets, and names what it is and how to log in.
        "start" 10 Start<'a> as ConnectionStart {
            /// 0.
            version_major: octet,
            /// 9.
            version_minor: octet,
            /// Product, version, capabilities and the like.
            server_properties: table,
            /// Login mechanisms, separated by spaces.
            mechanisms: longstr,
            /// Locales, separated by spaces.
            locales: longstr,
        }
        /// Client: logs in.
        "start-ok" 11 StartOk<'a> as ConnectionStartOk {
            /// Product, version, capabilities, connection name and the like.
            client_properties: table,
            /// One of the offered mechanisms.
            mechanism: shortstr,
            /// What the mechanism asks for first.
            response: longstr,
            /// One of the offered locales.
            locale: shortstr,
        }
        /// Server: the mechanism's next question.
        "secure" 20 Secure<'a> as ConnectionSecure {
            /// Opaque to the protocol.
            challenge: longstr,
        }
        /// Client: the answer to [`Secure`].
        "secure-ok" 21 SecureOk<'a> as ConnectionSecureOk {
            /// Opaque to the protocol.
            response: longstr,
        }
        /// Server: offers limits.
        "tune" 30 Tune as ConnectionTune {
            /// The most channels, 0 for no limit.
            channel_max: short,
            /// The largest frame in bytes, 0 for no limit.
            frame_max: long,
            /// Seconds, 0 for none.
            heartbeat: short,
        }
        /// Client: settles the limits.
        "tune-ok" 31 TuneOk as ConnectionTuneOk {
            /// The most channels, 0 for no limit.
            channel_max: short,
            /// The largest frame in bytes, 0 for no limit.
            frame_max: long,
            /// Seconds, 0 for none.
            heartbeat: short,
        }
        /// Client: enters a virtual host.
        "open" 40 Open<'a> as ConnectionOpen {
            /// Its name, such as `/`.
            virtual_host: shortstr,
            + [shortstr, bit]
        }
        /// Server: the connection is ready for channels.
        "open-ok" 41 OpenOk as ConnectionOpenOk {
            [shortstr]
        }
        /// Either side: ends the connection.
        "close" 50 Close<'a> as ConnectionClose {
            /// See [`ReplyCode`](crate::ReplyCode).
            reply_code: short,
            /// Why, for a person to read.
            reply_text: shortstr,
            /// Class of the method to blame, or 0.
            class_id: short,
            /// Number of the method to blame, or 0.
            method_id: short,
        }
        /// Either side: agrees to [`Close`].
        "close-ok" 51 CloseOk as ConnectionCloseOk {}
        /// Server: reads no more publishes until [`Unblocked`].
        "blocked" 60 Blocked<'a> as ConnectionBlocked {
            /// What is short, such as `low on memory`.
            reason: shortstr,
        }
        /// Server: the end of [`Blocked`].
        "unblocked" 61 Unblocked as ConnectionUnblocked {}
        /// Client: replaces an expiring credential.
        "update-secret" 70 UpdateSecret<'a> as ConnectionUpdateSecret {
            /// The new credential.
            new_secret: longstr,
            /// Why, for a person to read.
            reason: shortstr,
        }
        /// Server: the answer to [`UpdateSecret`].
        "update-secret-ok" 71 UpdateSecretOk as ConnectionUpdateSecretOk {}
    }

    /// Class 20: opening and closing channels.
    channel = 20 {
        /// Client: opens the channel the frame is on.
        "open" 10 Open as ChannelOpen {
            [shortstr]
        }
        /// Server: the answer to [`Open`].
        "open-ok" 11 OpenOk as ChannelOpenOk {
            [longstr]
        }
        /// Either side: asks the other to pause or resume sending content.
        "flow" 20 Flow as ChannelFlow {
            /// Whether content may be sent.
            active: bit,
        }
        /// Either side: the answer to [`Flow`].
        "flow-ok" 21 FlowOk as ChannelFlowOk {
            /// Whether content will be sent.
            active: bit,
        }
        /// Either side: ends the channel.
        "close" 40 Close<'a> as ChannelClose {
            /// See [`ReplyCode`](crate::ReplyCode).
            reply_code: short,
            /// Why, for a person to read.
            reply_text: shortstr,
            /// Class of the method to blame, or 0.
            class_id: short,
            /// Number of the method to blame, or 0.
            method_id: short,
        }
        /// Either side: agrees to [`Close`].
        "close-ok" 41 CloseOk as ChannelCloseOk {}
    }

    /// Class 30: access tickets of earlier versions, answered but without effect.
    access = 30 {
        /// Client: asks for a ticket.
        "request" 10 Request<'a> as AccessRequest {
            /// What for.
            realm: shortstr,
            /// Whether nobody else may have access.
            exclusive: bit,
            /// Passive access.
            passive: bit,
            /// Active access.
            active: bit,
            /// Write access.
            write: bit,
            /// Read access.
            read: bit,
        }
        /// Server: hands out a ticket.
        "request-ok" 11 RequestOk as AccessRequestOk {
            /// Always 1 from RabbitMQ.
            ticket: short,
        }
    }

    /// Class 40: exchanges and the bindings between them.
    exchange = 40 {
        /// Client: creates an exchange, or checks that one is there.
        "declare" 10 Declare<'a> as ExchangeDeclare {
            [short]
            /// Its name.
            exchange: shortstr,
            /// Its type, such as `topic` (`type` in the specification).
            kind: shortstr,
            /// Only check that it exists.
            passive: bit,
            /// Keep it over a restart.
            durable: bit,
            /// Delete it when its last binding goes.
            auto_delete: bit,
            /// Only other exchanges may publish to it.
            internal: bit,
            /// Send no [`DeclareOk`].
            nowait: bit,
            /// Such as `alternate-exchange`.
            arguments: table,
        }
        /// Server: the answer to [`Declare`].
        "declare-ok" 11 DeclareOk as ExchangeDeclareOk {}
        /// Client: deletes an exchange.
        "delete" 20 Delete<'a> as ExchangeDelete {
            [short]
            /// Its name.
            exchange: shortstr,
            /// Refuse while it has bindings.
            if_unused: bit,
            /// Send no [`DeleteOk`].
            nowait: bit,
        }
        /// Server: the answer to [`Delete`].
        "delete-ok" 21 DeleteOk as ExchangeDeleteOk {}
        /// Client: binds an exchange to an exchange.
        "bind" 30 Bind<'a> as ExchangeBind {
            [short]
            /// The exchange messages go to.
            destination: shortstr,
            /// The exchange messages come from.
            source: shortstr,
            /// What to match.
            routing_key: shortstr,
            /// Send no [`BindOk`].
            nowait: bit,
            /// What to match, for exchanges that look at more than the key.
            arguments: table,
        }
        /// Server: the answer to [`Bind`].
        "bind-ok" 31 BindOk as ExchangeBindOk {}
        /// Client: removes a binding; all of it must match.
        "unbind" 40 Unbind<'a> as ExchangeUnbind {
            [short]
            /// The exchange messages went to.
            destination: shortstr,
            /// The exchange messages came from.
            source: shortstr,
            /// As in [`Bind`].
            routing_key: shortstr,
            /// Send no [`UnbindOk`].
            nowait: bit,
            /// As in [`Bind`].
            arguments: table,
        }
        /// Server: the answer to [`Unbind`] (51, not 41: RabbitMQ's number).
        "unbind-ok" 51 UnbindOk as ExchangeUnbindOk {}
    }

    /// Class 50: queues and their bindings.
    queue = 50 {
        /// Client: creates a queue, or checks that one is there.
        "declare" 10 Declare<'a> as QueueDeclare {
            [short]
            /// Its name, empty for one the server makes up.
            queue: shortstr,
            /// Only check that it exists.
            passive: bit,
            /// Keep it over a restart.
            durable: bit,
            /// Only for this connection, and gone with it.
            exclusive: bit,
            /// Delete it when its last consumer leaves.
            auto_delete: bit,
            /// Send no [`DeclareOk`].
            nowait: bit,
            /// Such as `x-queue-type`.
            arguments: table,
        }
        /// Server: the answer to [`Declare`].
        "declare-ok" 11 DeclareOk<'a> as QueueDeclareOk {
            /// Its name.
            queue: shortstr,
            /// Messages ready for delivery.
            message_count: long,
            /// Its consumers.
            consumer_count: long,
        }
        /// Client: binds a queue to an exchange.
        "bind" 20 Bind<'a> as QueueBind {
            [short]
            /// The queue, empty for the one declared last on the channel.
            queue: shortstr,
            /// The exchange messages come from.
            exchange: shortstr,
            /// What to match.
            routing_key: shortstr,
            /// Send no [`BindOk`].
            nowait: bit,
            /// What to match, for exchanges that look at more than the key.
            arguments: table,
        }
        /// Server: the answer to [`Bind`].
        "bind-ok" 21 BindOk as QueueBindOk {}
        /// Client: drops the queue's ready messages.
        "purge" 30 Purge<'a> as QueuePurge {
            [short]
            /// The queue, empty for the one declared last on the channel.
            queue: shortstr,
            /// Send no [`PurgeOk`].
            nowait: bit,
        }
        /// Server: the answer to [`Purge`].
        "purge-ok" 31 PurgeOk as QueuePurgeOk {
            /// Messages dropped.
            message_count: long,
        }
        /// Client: deletes a queue.
        "delete" 40 Delete<'a> as QueueDelete {
            [short]
            /// The queue, empty for the one declared last on the channel.
            queue: shortstr,
            /// Refuse while it has consumers.
            if_unused: bit,
            /// Refuse while it has ready messages.
            if_empty: bit,
            /// Send no [`DeleteOk`].
            nowait: bit,
        }
        /// Server: the answer to [`Delete`].
        "delete-ok" 41 DeleteOk as QueueDeleteOk {
            /// Ready messages deleted with it.
            message_count: long,
        }
        /// Client: removes a binding; all of it must match. There is no `nowait` here.
        "unbind" 50 Unbind<'a> as QueueUnbind {
            [short]
            /// The queue, empty for the one declared last on the channel.
            queue: shortstr,
            /// The exchange messages came from.
            exchange: shortstr,
            /// As in [`Bind`].
            routing_key: shortstr,
            /// As in [`Bind`].
            arguments: table,
        }
        /// Server: the answer to [`Unbind`].
        "unbind-ok" 51 UnbindOk as QueueUnbindOk {}
    }

    /// Class 60: messages.
    basic = 60 {
        /// Client: limits unacknowledged deliveries.
        "qos" 10 Qos as BasicQos {
            /// Bytes; RabbitMQ takes only 0.
            prefetch_size: long,
            /// Messages, 0 for no limit.
            prefetch_count: short,
            /// For the channel as a whole instead of each new consumer.
            global: bit,
        }
        /// Server: the answer to [`Qos`].
        "qos-ok" 11 QosOk as BasicQosOk {}
        /// Client: subscribes to a queue.
        "consume" 20 Consume<'a> as BasicConsume {
            [short]
            /// The queue, empty for the one declared last on the channel.
            queue: shortstr,
            /// The consumer's name on this channel, empty for one the server makes up.
            consumer_tag: shortstr,
            /// Accepted and ignored by RabbitMQ.
            no_local: bit,
            /// Deliveries count as acknowledged when sent.
            no_ack: bit,
            /// Refuse other consumers.
            exclusive: bit,
            /// Send no [`ConsumeOk`].
            nowait: bit,
            /// Such as `x-priority`.
            arguments: table,
        }
        /// Server: the answer to [`Consume`].
        "consume-ok" 21 ConsumeOk<'a> as BasicConsumeOk {
            /// The consumer's name on this channel.
            consumer_tag: shortstr,
        }
        /// Either side: ends a subscription.
        "cancel" 30 Cancel<'a> as BasicCancel {
            /// The consumer's name on this channel.
            consumer_tag: shortstr,
            /// Send no [`CancelOk`].
            nowait: bit,
        }
        /// Either side: the answer to [`Cancel`].
        "cancel-ok" 31 CancelOk<'a> as BasicCancelOk {
            /// The consumer's name on this channel.
            consumer_tag: shortstr,
        }
        /// Client: a message; content follows.
        "publish" 40 Publish<'a> as BasicPublish {
            [short]
            /// Where to, empty for the default exchange.
            exchange: shortstr,
            /// What the exchange routes by.
            routing_key: shortstr,
            /// Return the message if it reaches no queue.
            mandatory: bit,
            /// Return the message if no consumer takes it at once; refused by RabbitMQ.
            immediate: bit,
        }
        /// Server: gives an undeliverable message back; content follows.
        "return" 50 Return<'a> as BasicReturn {
            /// See [`ReplyCode`](crate::ReplyCode).
            reply_code: short,
            /// Why, such as `NO_ROUTE`.
            reply_text: shortstr,
            /// As published.
            exchange: shortstr,
            /// As published.
            routing_key: shortstr,
        }
        /// Server: a message for a consumer; content follows.
        "deliver" 60 Deliver<'a> as BasicDeliver {
            /// Whose it is.
            consumer_tag: shortstr,
            /// Counts deliveries on the channel from 1.
            delivery_tag: longlong,
            /// Whether it was delivered before.
            redelivered: bit,
            /// As published.
            exchange: shortstr,
            /// As published.
            routing_key: shortstr,
        }
        /// Client: asks for one message.
        "get" 70 Get<'a> as BasicGet {
            [short]
            /// The queue, empty for the one declared last on the channel.
            queue: shortstr,
            /// The message counts as acknowledged when sent.
            no_ack: bit,
        }
        /// Server: the message asked for with [`Get`]; content follows.
        "get-ok" 71 GetOk<'a> as BasicGetOk {
            /// Counts deliveries on the channel from 1.
            delivery_tag: longlong,
            /// Whether it was delivered before.
            redelivered: bit,
            /// As published.
            exchange: shortstr,
            /// As published.
            routing_key: shortstr,
            /// Messages still ready in the queue.
            message_count: long,
        }
        /// Server: the answer to [`Get`] when nothing is ready.
        "get-empty" 72 GetEmpty as BasicGetEmpty {
            [shortstr]
        }
        /// Client: deliveries are done with. Server: publishes are confirmed.
        "ack" 80 Ack as BasicAck {
            /// The delivery, or the number of the publish.
            delivery_tag: longlong,
            /// And all before it.
            multiple: bit,
        }
        /// Client: a delivery cannot be used.
        "reject" 90 Reject as BasicReject {
            /// The delivery.
            delivery_tag: longlong,
            /// Put it back instead of dropping it.
            requeue: bit,
        }
        /// Client: as [`Recover`], without an answer.
        "recover-async" 100 RecoverAsync as BasicRecoverAsync {
            /// Put back instead of delivering again to the same consumers.
            requeue: bit,
        }
        /// Client: puts all unacknowledged deliveries of the channel back.
        "recover" 110 Recover as BasicRecover {
            /// Put back instead of delivering again to the same consumers.
            requeue: bit,
        }
        /// Server: the answer to [`Recover`].
        "recover-ok" 111 RecoverOk as BasicRecoverOk {}
        /// Client: deliveries cannot be used. Server: publishes are refused.
        "nack" 120 Nack as BasicNack {
            /// The delivery, or the number of the publish.
            delivery_tag: longlong,
            /// And all before it.
            multiple: bit,
            /// Put back instead of dropping.
            requeue: bit,
        }
    }

    /// Class 85: publisher confirms.
    confirm = 85 {
        /// Client: has publishes on this channel confirmed from now on.
        "select" 10 Select as ConfirmSelect {
            /// Send no [`SelectOk`].
            nowait: bit,
        }
        /// Server: the answer to [`Select`].
        "select-ok" 11 SelectOk as ConfirmSelectOk {}
    }

    /// Class 90: transactions.
    tx = 90 {
        /// Client: makes the channel transactional.
        "select" 10 Select as TxSelect {}
        /// Server: the answer to [`Select`].
        "select-ok" 11 SelectOk as TxSelectOk {}
        /// Client: publishes and acknowledges what was collected.
        "commit" 20 Commit as TxCommit {}
        /// Server: the answer to [`Commit`].
        "commit-ok" 21 CommitOk as TxCommitOk {}
        /// Client: forgets what was collected.
        "rollback" 30 Rollback as TxRollback {}
        /// Server: the answer to [`Rollback`].
        "rollback-ok" 31 RollbackOk as TxRollbackOk {}
    }
}
