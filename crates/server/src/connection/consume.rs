//! `basic.consume`, `basic.cancel`, `basic.get` and `basic.qos`.

use std::sync::Arc;

use ahash::HashSet;
use leveret_broker::{
    Consume, DIRECT_REPLY_TO, DeprecatedFeature, NewConsumer, Session, generated_name, refusal,
};
use leveret_codec::{AmqpError, basic};
use leveret_engine::Millis;

use super::Connection;
use super::topology::saturated;
use crate::channel::{ReplySubscription, Subscription};
use crate::consumer::{ConsumerSink, ConsumerSpec};
use crate::outbox::{AckTimeouts, Blocked, Cancelled, Got};
use crate::reply_sink::ReplySink;

impl Connection {
    pub(super) fn consume(
        &mut self,
        number: u16,
        consume: &basic::Consume<'_>,
    ) -> Result<(), AmqpError> {
        let queue = self.queue_name(number, consume.queue)?;
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        let tag: Arc<str> = match consume.consumer_tag {
            "" => generated_name("amq.ctag").into(),
            tag => tag.into(),
        };
        if channel.replies.as_ref().is_some_and(|replies| replies.tag == tag) {
            return Err(refusal::consumer_tag_in_use(&tag));
        }
        if let Some(existing) = channel.consumers.get(&tag) {
            // One whose queue was deleted under it no longer holds its tag.
            if existing.queue.has_consumer(existing.id) {
                return Err(refusal::consumer_tag_in_use(&tag));
            }
            existing.sink.end();
            self.outbox.remove_consumer(number, existing.id, existing.source);
            channel.consumers.remove(&tag);
        }
        if let Some(max) = self.context.amqp.consumer_max_per_channel {
            channel.check_consumer_limit(max)?;
        }
        if queue == DIRECT_REPLY_TO {
            return self.consume_replies(number, tag, consume);
        }
        let request = Consume {
            tag: &tag,
            is_tag_chosen: !consume.consumer_tag.is_empty(),
            channel: number,
            queue: &queue,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch: channel.prefetch,
            shared_limit: self.outbox.channel(number).map_or(0, |out| out.shared_limit()),
            arguments: consume.arguments,
        };
        let outbox = Arc::clone(&self.outbox);
        let notify_cancel = self.client.consumer_cancel_notify;
        let mut made = None;
        let node = self.context.amqp.consumer_timeout;
        let session = self.session()?;
        let added = session.consume(request, |NewConsumer { queue, id, ack_timeout }| {
            let source = match outbox.channel(number) {
                Some(mut out) if !consume.no_ack => {
                    let timeouts = AckTimeouts { consumer: ack_timeout, node };
                    Some(out.open_source(queue, id, timeouts))
                }
                _ => None,
            };
            let sink = Arc::new(ConsumerSink::new(ConsumerSpec {
                outbox: Arc::clone(&outbox),
                queue: Arc::clone(queue),
                id,
                channel: number,
                tag: Arc::clone(&tag),
                source,
                notify_cancel,
            }));
            made = Some((Arc::clone(&sink), id, source));
            sink
        });
        let (queue, id) = match (added, &made) {
            (Ok(added), _) => added,
            (Err(error), made) => {
                if let Some((_, id, source)) = made {
                    outbox.remove_consumer(number, *id, *source);
                }
                return Err(error);
            }
        };
        let Some((sink, _, source)) = made else { return Ok(()) };
        if !consume.nowait {
            let consume_ok = basic::ConsumeOk { consumer_tag: &tag };
            outbox.write(|out| consume_ok.encode_frame(number, out));
        }
        sink.start();
        self.watch_timeout(number, source);
        if let Some(channel) = self.channels.get_mut(&number) {
            let queue = Arc::clone(&queue);
            channel.consumers.insert(tag, Subscription { queue, id, source, sink });
            channel.show_consumers();
        }
        self.session()?.unblock(&queue, id);
        Ok(())
    }

    fn consume_replies(
        &mut self,
        number: u16,
        tag: Arc<str>,
        consume: &basic::Consume<'_>,
    ) -> Result<(), AmqpError> {
        let (Some(channel), Some(session)) = (self.channels.get_mut(&number), &self.session) else {
            return Ok(());
        };
        if !consume.no_ack {
            return Err(refusal::reply_consumer_cannot_acknowledge());
        }
        if channel.replies.is_some() {
            return Err(refusal::reply_consumer_already_set());
        }
        let sink = ReplySink::new(Arc::clone(&self.outbox), number, Arc::clone(&tag));
        let consumer = session.consume_replies(Arc::new(sink))?;
        if !consume.nowait {
            // Nobody knows the token yet, so this is on the wire before any reply.
            let consume_ok = basic::ConsumeOk { consumer_tag: &tag };
            self.outbox.write(|out| consume_ok.encode_frame(number, out));
        }
        channel.replies = Some(ReplySubscription { tag, consumer });
        channel.show_consumers();
        Ok(())
    }

    pub(super) fn cancel(
        &mut self,
        number: u16,
        cancel: &basic::Cancel<'_>,
    ) -> Result<(), AmqpError> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        channel.replies.take_if(|replies| *replies.tag == *cancel.consumer_tag);
        let gone = channel.consumers.remove(cancel.consumer_tag);
        channel.show_consumers();
        if let Some(gone) = gone {
            gone.sink.end();
            self.session()?.cancel(&gone.queue, gone.id);
            self.outbox.remove_consumer(number, gone.id, gone.source);
        }
        if !cancel.nowait {
            let cancel_ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
            self.reply(|out| cancel_ok.encode_frame(number, out));
        }
        Ok(())
    }

    /// Forgets the consumers whose queues are gone.
    pub(super) fn forget_cancelled(&mut self) {
        for Cancelled { channel: number, tag, id } in self.outbox.take_cancelled() {
            let Some(channel) = self.channels.get_mut(&number) else { continue };
            // The tag may be another's by now.
            if channel.consumers.get(&tag).is_none_or(|one| one.id != id) {
                continue;
            }
            let gone = channel.consumers.remove(&tag);
            channel.show_consumers();
            self.outbox.remove_consumer(number, id, gone.and_then(|gone| gone.source));
        }
    }

    /// The consumers of queues that the user may no longer read, by their channels. `None` if
    /// somebody has to be asked first.
    pub(super) fn unreadable(&mut self) -> Option<Vec<(u16, HashSet<Arc<str>>)>> {
        let (mut unreadable, mut is_known) = (Vec::new(), true);
        let Some(session) = &mut self.session else { return Some(unreadable) };
        for (number, channel) in &self.channels {
            let mut tags = HashSet::default();
            for (tag, subscription) in &channel.consumers {
                match session.may_consume(&subscription.queue) {
                    Some(true) => {}
                    Some(false) => {
                        tags.insert(Arc::clone(tag));
                    }
                    // The others are asked about with it.
                    None => is_known = false,
                }
            }
            if !tags.is_empty() {
                unreadable.push((*number, tags));
            }
        }
        is_known.then_some(unreadable)
    }

    /// Users or permissions have changed.
    pub(crate) fn check_permissions(&mut self, now: Millis) {
        if let Some(session) = &mut self.session {
            session.begin(now);
            self.cancel_unreadable();
            self.end_turn();
        }
    }

    /// Cancels the consumers of queues that the user may no longer read by the broker's own
    /// permissions, if these have changed.
    pub(super) fn cancel_unreadable(&mut self) {
        let permissions = self.session.as_ref().and_then(Session::own_permissions);
        if permissions != self.own_permissions {
            self.own_permissions = permissions;
            let unreadable = self.unreadable().unwrap_or_default();
            self.cancel_all(unreadable);
        }
    }

    /// Cancels these.
    pub(super) fn cancel_all(&mut self, consumers: Vec<(u16, HashSet<Arc<str>>)>) {
        for (number, tags) in consumers {
            self.cancel_where(number, |_, own, _| tags.contains(own));
        }
    }

    /// Cancels the consumers of a channel for which that holds, and tells the client if it
    /// understands. Returns their tags.
    pub(super) fn cancel_where(
        &mut self,
        number: u16,
        mut is_meant: impl FnMut(&mut Session, &Arc<str>, &Subscription) -> bool,
    ) -> Vec<Arc<str>> {
        let (Some(session), Some(channel)) = (&mut self.session, self.channels.get_mut(&number))
        else {
            return Vec::new();
        };
        let gone = channel.consumers.extract_if(|tag, one| is_meant(session, tag, one));
        let gone: Vec<_> = gone.collect();
        channel.show_consumers();
        let cancel = |(tag, subscription): (Arc<str>, Subscription)| {
            subscription.sink.end();
            session.cancel(&subscription.queue, subscription.id);
            self.outbox.remove_consumer(number, subscription.id, subscription.source);
            if self.client.consumer_cancel_notify {
                let cancel = basic::Cancel { consumer_tag: &tag, nowait: true };
                self.outbox.write(|out| cancel.encode_frame(number, out));
            }
            tag
        };
        gone.into_iter().map(cancel).collect()
    }

    pub(super) fn get(&mut self, number: u16, get: &basic::Get<'_>) -> Result<(), AmqpError> {
        let queue = self.queue_name(number, get.queue)?;
        match self.session()?.get(number, &queue, get.no_ack)? {
            None => {
                if let Some(channel) = self.channels.get(&number) {
                    channel.open.counters.get_empty.add(1);
                }
                self.reply(|out| basic::GetEmpty {}.encode_frame(number, out));
            }
            Some(fetched) => {
                let left = saturated(fetched.left);
                let got = Got { queue: &fetched.queue, entry: fetched.entry, left };
                let node = self.context.amqp.consumer_timeout;
                let timeouts = AckTimeouts { consumer: None, node };
                let source = self.outbox.deliver_got(number, got, get.no_ack, timeouts);
                self.watch_timeout(number, source);
            }
        }
        Ok(())
    }

    pub(super) fn qos(&mut self, number: u16, qos: basic::Qos) -> Result<(), AmqpError> {
        if qos.prefetch_size != 0 {
            return Err(refusal::prefetch_size(qos.prefetch_size));
        }
        let mut unblocked = Vec::new();
        if qos.global {
            self.context.broker.deprecated().note(DeprecatedFeature::GlobalQos);
            let limit = u32::from(qos.prefetch_count);
            unblocked = self.outbox.set_shared_limit(number, limit);
            if let Some(channel) = self.channels.get(&number) {
                channel.open.shared_prefetch.set(limit.into());
            }
        } else if let Some(channel) = self.channels.get_mut(&number) {
            channel.prefetch = qos.prefetch_count;
            channel.open.prefetch.set(qos.prefetch_count.into());
        }
        self.reply(|out| basic::QosOk {}.encode_frame(number, out));
        self.unblock(unblocked);
        Ok(())
    }

    /// Consumers that were passed over can take deliveries again.
    pub(super) fn unblock(&mut self, consumers: Vec<Blocked>) {
        let Some(session) = &mut self.session else { return };
        for (queue, consumer) in consumers {
            session.unblock(&queue, consumer);
        }
    }
}
