//! Every refusal a client can read, in one place.
//!
//! The texts are RabbitMQ 4.x's, letter for letter: client libraries and frameworks match on them.
//! Each function fixes scope and code as well, so a caller can't pair a text with the wrong code.
//! `tests/tests/amqp/refusals.rs` provokes each of them over the wire.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use leveret_codec::AmqpError;
use leveret_engine::TooManySteps;

use crate::queue_type::QueueType;

/// What an operation names, as RabbitMQ prints it: `queue 'q' in vhost '/'`.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// An exchange by name.
    Exchange(&'a str),
    /// A queue by name.
    Queue(&'a str),
}

impl Display for Resource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange '{name}'"),
            Self::Queue(name) => write!(f, "queue '{name}'"),
        }
    }
}

/// 404: the exchange or queue isn't there.
pub fn not_found(resource: Resource<'_>, vhost: &str) -> AmqpError {
    AmqpError::not_found(format!("no {resource} in vhost '{vhost}'"))
}

/// 404: an empty queue name, and no queue declared on this channel before.
pub fn no_previously_declared_queue() -> AmqpError {
    AmqpError::not_found("no previously declared queue")
}

/// 403: the user's permissions don't cover it; `access` is `configure`, `write` or `read`.
pub fn access_refused(access: &str, resource: Resource<'_>, vhost: &str, user: &str) -> AmqpError {
    // RabbitMQ prints no quotes around the kind, and the default exchange as `amq.default`.
    let (kind, name) = match resource {
        Resource::Exchange("") => ("exchange", "amq.default"),
        Resource::Exchange(name) => ("exchange", name),
        Resource::Queue(name) => ("queue", name),
    };
    AmqpError::access_refused(format!(
        "{access} access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'"
    ))
}

/// 403: a topic permission doesn't cover the routing or binding key.
pub fn topic_access_refused(
    access: &str,
    key: &str,
    exchange: &str,
    vhost: &str,
    user: &str,
) -> AmqpError {
    AmqpError::access_refused(format!(
        "{access} access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' refused for \
         user '{user}'"
    ))
}

/// 320: the token the client has logged in with is no longer good.
pub fn credential_expired() -> AmqpError {
    AmqpError::connection_forced("credential expired")
}

/// 530: what `connection.update-secret` brings is no good token of the same user.
pub fn new_secret_refused() -> AmqpError {
    AmqpError::not_allowed("New secret was refused by one of the backends")
}

/// 403: declare, delete and bind don't apply to the default exchange.
pub fn default_exchange() -> AmqpError {
    AmqpError::access_refused("operation not permitted on the default exchange")
}

/// 403: names starting `amq.` are the broker's.
pub fn reserved_name(kind: &str, name: &str) -> AmqpError {
    AmqpError::access_refused(format!("{kind} name '{name}' contains reserved prefix 'amq.*'"))
}

/// 403: `amq.*` exchanges stay.
pub fn system_exchange(name: &str, vhost: &str) -> AmqpError {
    AmqpError::access_refused(format!(
        "deletion of system exchange '{name}' in vhost '{vhost}' not allowed"
    ))
}

/// 403: clients don't publish to internal exchanges.
pub fn internal_exchange(name: &str, vhost: &str) -> AmqpError {
    AmqpError::access_refused(format!(
        "cannot publish to internal exchange '{name}' in vhost '{vhost}'"
    ))
}

/// 406: declared differently before. `received` and `current` are already printed values.
pub fn inequivalent(
    argument: &str,
    resource: Resource<'_>,
    vhost: &str,
    received: &str,
    current: &str,
) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "inequivalent arg '{argument}' for {resource} in vhost '{vhost}': received {received} but \
         current is {current}"
    ))
}

/// 406: a word that is no exchange type.
pub fn invalid_exchange_type(kind: &str) -> AmqpError {
    AmqpError::precondition_failed(format!("invalid exchange type '{kind}'"))
}

/// 406: an exchange type nobody has heard of.
pub fn unknown_exchange_type(kind: &str) -> AmqpError {
    AmqpError::precondition_failed(format!("unknown exchange type '{kind}'"))
}

/// 406: an argument of a wrong type where RabbitMQ names only the type (alternate exchange, dead
/// letter exchange).
pub fn invalid_argument_type(
    type_name: &str,
    argument: &str,
    resource: Resource<'_>,
    vhost: &str,
) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "invalid type '{type_name}' for arg '{argument}' in {resource} in vhost '{vhost}'"
    ))
}

/// 406: an argument whose value is refused for `reason`.
pub fn invalid_argument(
    argument: &str,
    queue: &str,
    vhost: &str,
    reason: impl Display,
) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "invalid arg '{argument}' for queue '{queue}' in vhost '{vhost}': {reason}"
    ))
}

/// 406: an argument that belongs to another queue type.
pub fn argument_of_other_type(
    argument: &str,
    queue: &str,
    vhost: &str,
    queue_type: QueueType,
) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "invalid arg '{argument}' for queue '{queue}' in vhost '{vhost}' of queue type \
         rabbit_{queue_type}_queue"
    ))
}

/// 406: a queue of this type is never `property`.
pub fn invalid_property(property: &str, queue: &str, vhost: &str) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "invalid property '{property}' for queue '{queue}' in vhost '{vhost}'"
    ))
}

/// 406: a stream's segments would be too large.
pub fn segment_size(argument: &str) -> AmqpError {
    AmqpError::precondition_failed(format!("Exceeded max value for {argument}"))
}

/// 406: a stream's filters would be too small or too large.
pub fn filter_size(argument: &str) -> AmqpError {
    AmqpError::precondition_failed(format!("Invalid value for {argument}"))
}

/// 406: a reader of a stream says how much it takes at a time.
pub fn no_prefetch(queue: &str, vhost: &str) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "consumer prefetch count is not set for stream queue '{queue}' in vhost '{vhost}'"
    ))
}

/// 540: a reader of a stream says when it can take more.
pub fn automatic_acknowledgement(queue: &str, vhost: &str) -> AmqpError {
    AmqpError::not_implemented(format!(
        "automatic acknowledgement not supported by stream queue '{queue}' in vhost '{vhost}'"
    ))
}

/// 540: what streams don't have, `basic.get` and `queue.purge`.
pub fn not_for_streams(operation: &str, queue: &str, vhost: &str) -> AmqpError {
    AmqpError::not_implemented(format!(
        "{operation} not supported by stream queues queue '{queue}' in vhost '{vhost}'"
    ))
}

/// 406: what the broker is to put in front of a generated name is too long.
pub fn name_prefix(prefix: &str) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "Queue name prefix '{prefix}' exceeds the 64-byte limit"
    ))
}

/// 406: a local random exchange leads to classic queues only.
pub fn not_for_local_random(queue_type: QueueType) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "Queue type rabbit_{queue_type}_queue not valid for this exchange type"
    ))
}

/// 406: a queue of this type needs a name.
pub fn server_named(queue_type: QueueType) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "Cannot declare a server-named queue for type rabbit_{queue_type}_queue"
    ))
}

/// 405: `basic.get` would take what belongs to the single active consumer.
pub fn get_with_single_active_consumer(queue: &str, vhost: &str) -> AmqpError {
    // As RabbitMQ 4.3 prints it.
    AmqpError::resource_locked(format!(
        "cannot obtain access to locked queue '{queue}' in vhost '{vhost}'. basic.get operations \
         are not supported by <<\"quorum\">> queues with single active consumer"
    ))
}

/// 540: a quorum queue is deleted without conditions; `condition` is `if-unused` or `if-empty`.
pub fn conditional_delete(condition: &str, queue: &str, vhost: &str) -> AmqpError {
    AmqpError::not_implemented(format!(
        "cannot delete queue '{queue}' in vhost '{vhost}'. queue.delete operations with \
         {condition} flag set are not supported by quorum queues"
    ))
}

/// 405: an exclusive queue of another connection, or an exclusive flag that differs.
pub fn locked(queue: &str, vhost: &str) -> AmqpError {
    AmqpError::resource_locked(format!(
        "cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'. It could be \
         originally declared on another connection or the exclusive property value does not match \
         that of the original declaration."
    ))
}

/// 403: another consumer holds the queue, or holds it exclusively.
pub fn exclusive_use(queue: &str, vhost: &str) -> AmqpError {
    AmqpError::access_refused(format!("queue '{queue}' in vhost '{vhost}' in exclusive use"))
}

/// 406: if-unused on something in use.
pub fn in_use(resource: Resource<'_>, vhost: &str) -> AmqpError {
    AmqpError::precondition_failed(format!("{resource} in vhost '{vhost}' in use"))
}

/// 406: if-empty on a queue with ready messages.
pub fn not_empty(queue: &str, vhost: &str) -> AmqpError {
    AmqpError::precondition_failed(format!("queue '{queue}' in vhost '{vhost}' not empty"))
}

/// 406: an ack, nack or reject for a tag that isn't outstanding.
pub fn unknown_delivery_tag(tag: u64) -> AmqpError {
    AmqpError::precondition_failed(format!("unknown delivery tag {tag}"))
}

/// 406, of no method: a delivery waited longer for its acknowledgement than it may.
pub fn delivery_timed_out(channel: u16, timeout: Duration) -> AmqpError {
    let timeout = timeout.as_millis();
    AmqpError::precondition_failed(format!(
        "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout} \
         ms. This timeout value can be configured, see consumers doc guide to learn more"
    ))
}

/// 530: the consumer tag is in use on this channel.
pub fn consumer_tag_in_use(tag: &str) -> AmqpError {
    AmqpError::not_allowed(format!("attempt to reuse consumer tag '{tag}'"))
}

/// 406: the body is larger than the configured maximum.
pub fn message_too_large(size: u64, max: u64) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "message size {size} is larger than configured max size {max}"
    ))
}

/// 506: the connection has begun too many messages that have not come whole. RabbitMQ has no such limit.
pub fn unfinished_messages(max: u64) -> AmqpError {
    AmqpError::resource_error(format!(
        "messages that are not complete take more than {max} bytes of this connection \
         (amqp.unfinished_messages_max)"
    ))
}

/// 506: the same, with those of all connections together above a limit.
pub fn unfinished_share() -> AmqpError {
    AmqpError::resource_error(
        "messages that are not complete take more of this connection than its share of \
         amqp.unfinished_messages_max_per_node",
    )
}

/// 506: the connection's transactions hold too much. RabbitMQ has no such limit.
pub fn uncommitted(max: u64) -> AmqpError {
    AmqpError::resource_error(format!(
        "transactions that are not committed take more than {max} bytes of this connection \
         (amqp.uncommitted_max)"
    ))
}

/// 506: the same, with those of all connections together above a limit.
pub fn uncommitted_share() -> AmqpError {
    AmqpError::resource_error(
        "transactions that are not committed take more of this connection than its share of \
         amqp.uncommitted_max_per_node",
    )
}

/// 406: the `expiration` property isn't a number of milliseconds.
pub fn invalid_expiration(expiration: &str, reason: impl Display) -> AmqpError {
    AmqpError::precondition_failed(format!("invalid expiration '{expiration}': {reason}"))
}

/// 406: the `user-id` property isn't the user's name.
pub fn user_id_mismatch(claimed: &str, user: &str) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "user_id property set to '{claimed}' but authenticated user was '{user}'"
    ))
}

/// 406: a `CC` or `BCC` header that isn't an array.
pub fn unacceptable_header(header: &str, type_name: &str) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "invalid message: {{unacceptable_type_in_header,\"{header}\",{type_name}}}"
    ))
}

/// 406: a request for a direct reply, without a consumer of direct replies on the channel.
pub fn no_fast_reply_consumer() -> AmqpError {
    AmqpError::precondition_failed("fast reply consumer does not exist")
}

/// 406: a consumer of direct replies has nothing to acknowledge.
pub fn reply_consumer_cannot_acknowledge() -> AmqpError {
    AmqpError::precondition_failed("reply consumer cannot acknowledge")
}

/// 406: a channel has one consumer of direct replies.
pub fn reply_consumer_already_set() -> AmqpError {
    AmqpError::precondition_failed("reply consumer already set")
}

/// 403: a direct reply's token is no queue that could be bound.
pub fn volatile_queue() -> AmqpError {
    AmqpError::access_refused("cannot bind or unbind to a volatile (direct reply-to) queue")
}

/// 540: `immediate` went away with AMQP 0-9-1's predecessors.
pub fn immediate() -> AmqpError {
    AmqpError::not_implemented("immediate=true")
}

/// 540: prefetch is counted in messages only.
pub fn prefetch_size(size: u32) -> AmqpError {
    AmqpError::not_implemented(format!("prefetch_size!=0 ({size})"))
}

/// 540: recover without requeue.
pub fn recover_without_requeue() -> AmqpError {
    AmqpError::not_implemented("requeue=false")
}

/// 540: clients can't stop the flow of deliveries.
pub fn flow_inactive() -> AmqpError {
    AmqpError::not_implemented("active=false")
}

/// 406: tx.commit or tx.rollback before tx.select.
pub fn not_transactional() -> AmqpError {
    AmqpError::precondition_failed("channel is not transactional")
}

/// 406: a channel is in one mode only; `from` and `to` are `tx` or `confirm`.
pub fn cannot_switch_mode(from: &str, to: &str) -> AmqpError {
    AmqpError::precondition_failed(format!("cannot switch from {from} to {to} mode"))
}

/// 406: a queue refused a message of a committed transaction.
pub fn partial_tx_completion() -> AmqpError {
    AmqpError::precondition_failed("partial tx completion")
}

/// 530: no such vhost.
pub fn vhost_not_found(vhost: &str) -> AmqpError {
    AmqpError::not_allowed(format!("vhost {vhost} not found"))
}

/// 530: the user has no permission entry for the vhost.
pub fn vhost_refused(vhost: &str, user: &str) -> AmqpError {
    AmqpError::not_allowed(format!("access to vhost '{vhost}' refused for user '{user}'"))
}

/// 530: the node has as many connections as it may.
pub fn node_connection_limit(limit: u64) -> AmqpError {
    AmqpError::not_allowed(format!(
        "connection refused: node connection limit ({limit}) is reached"
    ))
}

/// 530: the client's address has as many connections as it may. RabbitMQ has no such limit.
pub fn address_connection_limit(address: IpAddr, limit: u32) -> AmqpError {
    AmqpError::not_allowed(format!(
        "connection refused: connection limit of address '{address}' ({limit}) is reached"
    ))
}

/// 530: the vhost has as many connections as it may.
pub fn vhost_connection_limit(vhost: &str, user: &str, limit: u64) -> AmqpError {
    AmqpError::not_allowed(format!(
        "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached"
    ))
}

/// 530: the user has as many connections as it may.
pub fn user_connection_limit(user: &str, limit: u64) -> AmqpError {
    AmqpError::not_allowed(format!(
        "connection refused for user '{user}': user connection limit ({limit}) is reached"
    ))
}

/// 530: the user has as many channels as it may.
pub fn user_channel_limit(user: &str, limit: u64) -> AmqpError {
    AmqpError::not_allowed(format!(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit of \
         ({limit})"
    ))
}

/// 530: the node has as many channels as it may.
pub fn node_channel_limit(node: &str, limit: u64) -> AmqpError {
    AmqpError::not_allowed(format!(
        "number of channels opened on node '{node}' has reached the maximum allowed limit of \
         ({limit})"
    ))
}

/// 530: the channel has as many consumers as it may.
pub fn consumer_limit(limit: u32) -> AmqpError {
    AmqpError::not_allowed(format!("reached maximum ({limit}) of consumers per channel"))
}

/// 406: the vhost has as many queues as it may.
pub fn queue_limit(queue: &str, vhost: &str, limit: u64) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({limit}) is reached"
    ))
}

/// 406: the node has as many queues as it may; to RabbitMQ that is its cluster.
pub fn node_queue_limit(queue: &str, limit: u64) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "cannot declare queue '{queue}': queue limit in cluster ({limit}) is reached"
    ))
}

/// 406: the node has as many exchanges as it may.
pub fn node_exchange_limit(exchange: &str, vhost: &str, limit: u64) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "cannot declare exchange '{exchange}' in vhost '{vhost}': exchange limit of {limit} is \
         reached"
    ))
}

/// 406: the node has as many bindings as it may. RabbitMQ has no such limit.
pub fn node_binding_limit(destination: Resource<'_>, vhost: &str, limit: u64) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "cannot bind {destination} in vhost '{vhost}': binding limit of {limit} is reached"
    ))
}

/// 406: it takes too long to find the queues of a message. RabbitMQ has no such limit.
pub fn routing_steps(exchange: &str, vhost: &str, too_many: TooManySteps) -> AmqpError {
    let TooManySteps(limit) = too_many;
    AmqpError::precondition_failed(format!(
        "finding queues for a message to exchange '{exchange}' in vhost '{vhost}' takes more than \
         {limit} steps (amqp.routing_steps_max)"
    ))
}

/// 403, of the connection: bad credentials, said to clients that announced
/// `authentication_failure_close`.
pub fn login_refused(mechanism: &str) -> AmqpError {
    AmqpError::login_refused(format!(
        "Login was refused using authentication mechanism {mechanism}. For details see the broker \
         logfile."
    ))
}

/// 320: the broker is stopping.
pub fn shutdown() -> AmqpError {
    AmqpError::connection_forced("broker forced connection closure with reason 'shutdown'")
}

/// 320: an operator closes the connection.
pub fn closed_by_operator(reason: &str) -> AmqpError {
    AmqpError::connection_forced(reason.to_owned())
}
