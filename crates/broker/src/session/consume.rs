//! `basic.consume`, `basic.cancel` and `basic.get`.

use std::sync::Arc;
use std::time::Duration;

use leveret_codec::{AmqpError, Table as Arguments};
use leveret_engine::{ConsumerId, ConsumerSpec, Entry};

use super::Session;
use crate::access::{PermissionKind, Verdict};
use crate::arguments::{self, OF_READERS};
use crate::direct_reply::{self, ReplyConsumer};
use crate::firehose;
use crate::queue::{AddConsumerRefused, ConsumerAbout, SharedQueue};
use crate::queue_type::QueueType;
use crate::refusal::{self, Resource};
use crate::spans::Receiver;
use crate::subscriber::Subscriber;

/// A `basic.consume`.
#[derive(Clone, Copy, Debug)]
pub struct Consume<'a> {
    /// The consumer's tag.
    pub tag: &'a Arc<str>,
    /// The client has chosen it, and can come back with it.
    pub is_tag_chosen: bool,
    /// The channel it belongs to.
    pub channel: u16,
    /// The queue's name.
    pub queue: &'a str,
    /// Deliveries are settled as they leave.
    pub no_ack: bool,
    /// Nobody else may consume from the queue.
    pub exclusive: bool,
    /// Unsettled deliveries at most, 0 for no bound.
    pub prefetch: u16,
    /// The limit it shares with its channel's other consumers, which the subscriber sees to; 0 for
    /// none.
    pub shared_limit: u32,
    /// `x-priority`, `x-consumer-timeout`, `x-stream-...`.
    pub arguments: Arguments<'a>,
}

impl Consume<'_> {
    /// What operators see of the consumer.
    pub(super) fn about(&self, session: &Session) -> ConsumerAbout {
        ConsumerAbout {
            tag: Arc::clone(self.tag),
            session: session.id,
            client: Arc::clone(&session.client),
            channel: self.channel,
            arguments: self.arguments.into(),
        }
    }
}

/// A consumer that is about to be added.
#[derive(Clone, Copy)]
pub struct NewConsumer<'a> {
    /// Its queue.
    pub queue: &'a Arc<SharedQueue>,
    /// Its identity.
    pub id: ConsumerId,
    /// How long its deliveries may wait for their settlement, if its own `x-consumer-timeout` says
    /// so, which overrules [that of its queue](SharedQueue::consumer_timeout); 0 stands for as long
    /// as they like.
    pub ack_timeout: Option<Duration>,
}

/// What `basic.get-ok` says.
pub struct Fetched {
    /// Where it came from.
    pub queue: Arc<SharedQueue>,
    /// The message.
    pub entry: Entry,
    /// Ready messages left.
    pub left: u64,
}

impl Session {
    /// Adds a consumer. Until its consume-ok has left its subscriber answers `Blocked`; then comes
    /// [`unblock`](Self::unblock).
    ///
    /// # Errors
    /// 403 without read permission or when the queue is in exclusive use, 404 when it is missing,
    /// 405 when it is another connection's, 406 for a bad argument; of a stream 406 without a limit
    /// and 540 without acknowledgements.
    pub fn consume(
        &mut self,
        request: Consume<'_>,
        subscriber: impl FnOnce(NewConsumer<'_>) -> Arc<dyn Subscriber>,
    ) -> Result<(Arc<SharedQueue>, ConsumerId), AmqpError> {
        self.check(PermissionKind::Read, Resource::Queue(request.queue))?;
        let queue = self.accessible_queue(request.queue)?;
        if queue.is_stream() {
            return self.read(queue, request, subscriber);
        }
        let vhost = self.vhost.name();
        if let Some(argument) =
            OF_READERS.into_iter().find(|argument| request.arguments.get(argument).is_some())
        {
            let queue_type = queue.queue_type;
            return Err(refusal::argument_of_other_type(argument, &queue.name, vhost, queue_type));
        }
        let priority = match request.arguments.get("x-priority") {
            None => 0,
            Some(value) => arguments::integer(value).map_err(|reason| {
                refusal::invalid_argument("x-priority", &queue.name, vhost, reason)
            })?,
        };
        let id = self.broker.next_consumer();
        let spec = ConsumerSpec {
            id,
            prefetch: request.prefetch,
            no_ack: request.no_ack,
            exclusive: request.exclusive,
            priority: i32::try_from(priority.clamp(i32::MIN.into(), i32::MAX.into())).unwrap_or(0),
        };
        let ack_timeout = match request.arguments.get("x-consumer-timeout") {
            None => None,
            Some(value) => {
                let ms = arguments::integer(value).and_then(arguments::non_negative);
                let ms = ms.map_err(|reason| {
                    refusal::invalid_argument("x-consumer-timeout", &queue.name, vhost, reason)
                })?;
                Some(Duration::from_millis(ms))
            }
        };
        let subscriber = subscriber(NewConsumer { queue: &queue, id, ack_timeout });
        queue.add_consumer(spec, request.about(self), subscriber).map_err(
            |refused| match refused {
                AddConsumerRefused::ExclusiveUse => refusal::exclusive_use(&queue.name, vhost),
                AddConsumerRefused::Deleted => {
                    refusal::not_found(Resource::Queue(&queue.name), vhost)
                }
            },
        )?;
        Ok((queue, id))
    }

    /// Adds a consumer of direct replies, which needs no permission. Its subscriber is not asked
    /// again after it answered `Blocked`: that reply is lost.
    ///
    /// # Errors
    /// 541 when no token can be drawn.
    pub fn consume_replies(
        &self,
        subscriber: Arc<dyn Subscriber>,
    ) -> Result<ReplyConsumer, AmqpError> {
        let opened = self.broker.direct_replies.open(subscriber);
        opened.map_err(|direct_reply::NoRandomness| AmqpError::internal_error("no randomness"))
    }

    /// Whether the user may read the queue, as things are now. `None` if somebody has to be
    /// [asked](Self::open_question) first.
    pub fn may_consume(&mut self, queue: &SharedQueue) -> Option<bool> {
        match self.rights.decide(PermissionKind::Read, Resource::Queue(&queue.name)) {
            Verdict::Known(decision) => Some(decision.is_allowed()),
            Verdict::Open => None,
        }
    }

    /// A number that changes whenever this user may have lost a permission that the broker itself gave;
    /// `None` if others decide what this user may do.
    pub fn own_permissions(&self) -> Option<u64> {
        self.rights.own_permissions()
    }

    /// Removes a consumer.
    pub fn cancel(&mut self, queue: &Arc<SharedQueue>, consumer: ConsumerId) {
        queue.remove_consumer(consumer, &mut self.turn);
    }

    /// A consumer that was blocked can take deliveries.
    pub fn unblock(&mut self, queue: &SharedQueue, consumer: ConsumerId) {
        queue.unblock(consumer, &mut self.turn);
    }

    /// Takes the next ready message for a channel, if there is one.
    ///
    /// # Errors
    /// 403 without read permission, 404 when the queue is missing, 405 when it is another
    /// connection's or a quorum queue with a single active consumer, 540 when it is a stream, 541 when
    /// the disk cannot be read.
    pub fn get(
        &mut self,
        channel: u16,
        queue: &str,
        no_ack: bool,
    ) -> Result<Option<Fetched>, AmqpError> {
        self.check(PermissionKind::Read, Resource::Queue(queue))?;
        let queue = self.accessible_queue(queue)?;
        if queue.is_stream() {
            let vhost = self.vhost.name();
            return Err(refusal::not_for_streams("basic.get", &queue.name, vhost));
        }
        if queue.queue_type == QueueType::Quorum && queue.has_single_active_consumer() {
            return Err(refusal::get_with_single_active_consumer(&queue.name, self.vhost.name()));
        }
        let fetched = queue.get(no_ack, self.broker.store(), &mut self.turn);
        let fetched = fetched.map_err(|_| AmqpError::internal_error("cannot read messages"))?;
        let Some((entry, left)) = fetched else { return Ok(None) };
        if queue.is_traced() {
            let entry = std::slice::from_ref(&entry);
            firehose::note(&queue, entry, &self.client, channel, &mut self.turn.traced);
        }
        if let Some(spans) = queue.spans() {
            let to = Receiver { client: &self.client, channel, consumer: None, no_ack };
            if let Some(followed) = spans.leave(&queue, to, std::slice::from_ref(&entry)) {
                followed.delivered();
            }
        }
        Ok(Some(Fetched { queue, entry, left }))
    }
}
