//! The publish pipeline: check, route, stage; then one journal append and one lock per queue for
//! all that a read batch published.

use std::iter;
use std::sync::Arc;

use leveret_codec::{AmqpError, Properties, Table, TableBuilder};
use leveret_engine::{Body, ExchangeKind, Message, MessageArena, NewMessage, Routable, RouteSet};
use leveret_store::{Batch, Lsn};
use smallvec::SmallVec;

use super::Session;
use crate::access::{PermissionKind, TopicPermissionKind, tag};
use crate::annotations::{self, Annotations, Keys};
use crate::arguments;
use crate::buckets::{self, Buckets, Origin, Recorded};
use crate::direct_reply::{self, DIRECT_REPLY_TO, ReplyConsumer, ReplyTarget};
use crate::firehose::Tap;
use crate::queue::{Incoming, Purpose, SharedQueue};
use crate::refusal::{self, Resource};
use crate::routes::Routes;
use crate::spans::{PublishSpan, TRACE_PARENT};

/// Messages that are written and synced as fast as one.
const FEW_MESSAGES: usize = 4;
/// Looks at bindings and exchanges that take as long as putting a message into a queue, about.
pub(crate) const LOOKS_PER_PLACE: usize = 8;

/// A `basic.publish` with its content.
pub struct Publish<'a> {
    /// The channel it comes on.
    pub channel: u16,
    /// The exchange, empty for the default one.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a str,
    /// The properties as parsed from `raw_properties`.
    pub properties: &'a Properties<'a>,
    /// The properties as they came.
    pub raw_properties: &'a [u8],
    /// The body.
    pub body: Body<'a>,
    /// The channel's consumer of direct replies, which a request's `reply-to` stands for.
    pub replies_to: Option<&'a ReplyConsumer>,
}

/// A checked and routed message, not yet in any queue.
pub struct Prepared {
    pub(super) message: Message,
    pub(super) routes: Routes,
    replies: ReplyTargets,
    /// See [`Session::repeatable`].
    pub(super) is_repeatable: bool,
    /// Boxed: few messages are followed.
    span: Option<Box<PublishSpan>>,
}

/// Requesters a message is a direct reply to, mostly none.
type ReplyTargets = SmallVec<[Arc<ReplyTarget>; 1]>;

impl Prepared {
    /// Whether no queue takes it, and nobody waits for it as a direct reply.
    pub fn is_unroutable(&self) -> bool {
        // What an exchange keeps for itself nobody gets yet.
        self.routes.iter().all(|queue| queue.purpose != Purpose::Clients) && self.replies.is_empty()
    }

    /// What it takes in memory until it is in its queues, about, in bytes: with a place on the way to each.
    pub fn memory(&self) -> u64 {
        // Many may share a list of queues, but for how long nobody knows: the cache forgets it.
        let places = self.routes.len() * (size_of::<Arc<SharedQueue>>() + size_of::<Incoming>());
        (size_of::<Self>() + self.message.stored_len() + places) as u64
    }

    /// The message, e.g. to return it.
    pub fn message(&self) -> &Message {
        &self.message
    }
}

/// Names a publish that wants a confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The channel's number.
    pub channel: u16,
    /// The publish's number on the channel, from 1.
    pub sequence: u64,
}

/// Whether a publish found a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Staged {
    /// At least one.
    Routed,
    /// None: return it if it is mandatory.
    Unroutable,
}

/// What became of a publish that has a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The publish.
    pub ticket: Ticket,
    /// Its fate.
    pub outcome: Outcome,
}

/// See [`Confirmation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken by all its queues, or by none because none wanted it, or already consumed: ack.
    Taken,
    /// Taken, and on disk once the store's durable LSN gets there: ack then.
    DurableAt(Lsn),
    /// A queue refused it: nack.
    Refused,
}

/// Publishes of the current read batch.
#[derive(Default)]
pub(super) struct Staging {
    pub(super) arena: MessageArena,
    pub(super) records: Batch,
    pub(super) buckets: Buckets,
    replies: Vec<(Arc<ReplyTarget>, Message)>,
    tickets: Vec<Pending>,
    /// Of those that are followed.
    spans: Vec<PublishSpan>,
    refused: Vec<u32>,
    pub(super) route_set: RouteSet,
    /// Messages routed so far.
    pub(super) routed: u64,
}

struct Pending {
    ticket: Ticket,
    record: Option<Recorded>,
    refused: bool,
}

impl Session {
    /// Checks and routes a message and stages it for its queues; see [`flush`](Self::flush).
    ///
    /// # Errors
    /// As RabbitMQ, in its order: no write permission 403, no exchange 404, internal exchange 403,
    /// bad expiration 406, bad CC or BCC 406, no topic permission 403, foreign user-id 406. And 406 when
    /// it takes too long to find its queues.
    pub fn publish(
        &mut self,
        publish: Publish<'_>,
        ticket: Option<Ticket>,
    ) -> Result<Staged, AmqpError> {
        let prepared = self.prepare(publish)?;
        let staged = if prepared.is_unroutable() { Staged::Unroutable } else { Staged::Routed };
        self.stage(prepared, ticket);
        Ok(staged)
    }

    /// Checks and routes a message without staging it: a transaction keeps it until commit.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn prepare(&mut self, publish: Publish<'_>) -> Result<Prepared, AmqpError> {
        let Publish { channel, exchange, routing_key, properties, .. } = publish;
        let Publish { raw_properties, body, replies_to, .. } = publish;
        let spans = self.vhost.spans();
        let span = spans.and_then(|spans| PublishSpan::begin(spans, properties.headers));
        let mut span = span.map(Box::new);
        let generations = self.generations();
        let cached = self.routes.find(generations, exchange, routing_key);
        let topic = match cached {
            Some(_) => false,
            None => self.check_publishable(exchange)?,
        };
        let reply_to = match properties.reply_to {
            Some(name) if name == DIRECT_REPLY_TO.as_bytes() => {
                Some(replies_to.ok_or_else(refusal::no_fast_reply_consumer)?.token())
            }
            _ => None,
        };
        if let Some(expiration) = properties.expiration {
            check_expiration(expiration)?;
        }
        let (copies, bcc) = properties.headers.map(copies).transpose()?.unwrap_or_default();
        if topic || (!copies.is_empty() && self.is_topic(exchange)) {
            let keys = iter::once(routing_key).chain(copies.iter().copied());
            self.check_topics(TopicPermissionKind::Write, exchange, keys)?;
        }
        self.check_user_id(properties)?;

        if let Some(span) = &mut span {
            span.route();
        }
        let (routes, replies, is_cached) = match cached {
            Some(routes) if copies.is_empty() => (routes, ReplyTargets::new(), true),
            _ => {
                let (routes, replies) =
                    self.route(generations, exchange, routing_key, &copies, properties)?;
                (routes, replies, false)
            }
        };
        self.routes.count(routes.len());
        let traced = span.as_mut().map(|span| span.routed());
        let arena = &mut self.staging.arena;
        let now = self.turn.now();
        let traceparent = span.as_ref().and_then(|span| span.header());
        let rewritten = rewritten(properties, reply_to, traceparent.as_deref());
        let is_traced = self.vhost.is_traced();
        let is_watched = self.vhost.exchange_tails.are_any();
        let is_told = is_traced || is_watched || self.vhost.spans().is_some();
        let is_repeatable = is_cached && rewritten.is_none() && !is_told;
        let message = match (rewritten, traced) {
            (None, None) => {
                arena.message(now, exchange, routing_key, properties, raw_properties, body)
            }
            (rewritten, traced) => arena.make(NewMessage {
                now,
                exchange,
                routing_key,
                properties,
                raw_properties: rewritten.as_deref().unwrap_or(raw_properties),
                annotations: &Annotations { traced, bcc, ..Annotations::default() }.to_bytes(),
                body,
            }),
        };
        if is_traced {
            self.trace(channel, &message, &routes);
        }
        if is_watched {
            self.vhost.exchange_tails.show(&message);
        }
        if let Some(span) = &mut span {
            span.published(&self.vhost, &self.client, channel, &message, routes.len());
        }
        Ok(Prepared { message, routes, replies, is_repeatable, span })
    }

    /// Stages what the firehose says of a publish. Also of one that waits for its transaction, as
    /// in RabbitMQ.
    fn trace(&mut self, channel: u16, message: &Message, routes: &Routes) {
        let Self { broker, vhost, client, staging, .. } = self;
        let tap = Tap { node: &broker.node, vhost, client, channel };
        let sighting = tap.publish(message, routes);
        staging.routed = staging.routed.wrapping_add(1);
        let drawn = self.id.0.rotate_left(32) ^ staging.routed;
        let directory = vhost.directory.read();
        let arena = &mut staging.arena;
        let routed = sighting.route(&directory, arena, drawn, self.turn.now());
        let Some((message, queues)) = routed else { return };
        staging.buckets.add(message, &queues, Origin::default(), &mut staging.records);
    }

    /// Puts a prepared message into the current batch.
    pub fn stage(&mut self, prepared: Prepared, ticket: Option<Ticket>) {
        let Prepared { message, routes, replies, span, .. } = prepared;
        self.staging.spans.extend(span.map(|span| *span));
        let replies = replies.into_iter();
        self.staging.replies.extend(replies.map(|target| (target, message.clone())));
        self.stage_message(message, &routes, ticket);
    }

    pub(super) fn stage_message(
        &mut self,
        message: Message,
        queues: &[Arc<SharedQueue>],
        ticket: Option<Ticket>,
    ) {
        self.placed += queues.len();
        let staging = &mut self.staging;
        let index = u32::try_from(staging.tickets.len()).unwrap_or(u32::MAX);
        let origin = Origin { ticket: ticket.map(|_| index), ..Origin::default() };
        let record = staging.buckets.add(message, queues, origin, &mut staging.records);
        if let Some(ticket) = ticket {
            staging.tickets.push(Pending { ticket, record, refused: false });
        }
    }

    /// Whether anything is staged.
    pub fn has_staged(&self) -> bool {
        let Staging { buckets, replies, tickets, .. } = &self.staging;
        !buckets.is_empty() || !replies.is_empty() || !tickets.is_empty()
    }

    /// Whether what is staged is few messages that are to be confirmed and need the disk.
    pub fn stages_few_for_disk(&self) -> bool {
        let Staging { tickets, records, .. } = &self.staging;
        !tickets.is_empty() && tickets.len() <= FEW_MESSAGES && records.is_urgent()
    }

    /// Appends what is staged to the journal, once, and puts it into its queues, each locked once.
    /// Confirmations are added in publish order.
    pub fn flush(&mut self, confirmations: &mut Vec<Confirmation>) {
        if !self.has_staged() {
            return;
        }
        let (first_record, _) = self.append(None);
        self.enqueue(first_record, confirmations);
    }

    /// One journal append for the whole batch, in which are `others` as well.
    pub(super) fn append(&mut self, others: Option<&mut Buckets>) -> (Lsn, Option<Lsn>) {
        let Staging { records, buckets, .. } = &mut self.staging;
        if records.is_empty() {
            return (Lsn(0), None);
        }
        let mut both: SmallVec<[&mut Buckets; 2]> = SmallVec::new();
        both.push(buckets);
        both.extend(others);
        let appended = buckets::append(self.broker.store(), records, &mut both, &mut self.turn);
        (appended.first, Some(appended.last))
    }

    pub(super) fn enqueue(&mut self, first_record: Lsn, confirmations: &mut Vec<Confirmation>) {
        let staging = &mut self.staging;
        let store = self.broker.store();
        self.turn.fresh_from = Some(first_record);
        staging.buckets.enqueue(store, first_record, &mut self.turn, &mut staging.refused);
        self.turn.fresh_from = None;
        for (target, reply) in staging.replies.drain(..) {
            target.deliver(reply, &mut self.turn);
        }
        for index in staging.refused.drain(..) {
            if let Some(pending) = staging.tickets.get_mut(index as usize) {
                pending.refused = true;
            }
        }
        let consumed = &mut self.turn.consumed;
        consumed.sort_unstable();
        let mut consumed = consumed.drain(..).peekable();
        confirmations.extend(staging.tickets.drain(..).map(|pending| {
            let outcome = match (pending.refused, pending.record) {
                (true, _) => Outcome::Refused,
                (false, None) => Outcome::Taken,
                (false, Some(Recorded { index, places })) => {
                    let lsn = Lsn(first_record.0 + index as u64);
                    while consumed.next_if(|other| *other < lsn).is_some() {}
                    let done = (0..places).all(|_| consumed.next_if_eq(&lsn).is_some());
                    if done { Outcome::Taken } else { Outcome::DurableAt(lsn) }
                }
            };
            Confirmation { ticket: pending.ticket, outcome }
        }));
        staging.spans.clear();
    }

    /// What routes and permissions hold for.
    pub(super) fn generations(&self) -> (u64, u64) {
        (self.vhost.generation(), self.rights.generation())
    }

    /// What has to hold of the exchange itself; whether it is a topic exchange.
    fn check_publishable(&mut self, exchange: &str) -> Result<bool, AmqpError> {
        self.check(PermissionKind::Write, Resource::Exchange(exchange))?;
        if exchange.is_empty() {
            return Ok(false);
        }
        let vhost = self.vhost.name();
        let directory = self.vhost.directory.read();
        let Some(found) = directory.topology.exchange(exchange) else {
            return Err(refusal::not_found(Resource::Exchange(exchange), vhost));
        };
        if found.spec().internal {
            return Err(refusal::internal_exchange(exchange, vhost));
        }
        Ok(found.spec().kind == ExchangeKind::Topic)
    }

    pub(super) fn is_topic(&self, exchange: &str) -> bool {
        let directory = self.vhost.directory.read();
        let found = directory.topology.exchange(exchange);
        found.is_some_and(|found| found.spec().kind == ExchangeKind::Topic)
    }

    /// Whether it may publish in others' names, by the tags that the broker's own user has now where
    /// these counted at the login.
    fn is_impersonator(&self) -> bool {
        let user = &self.client.user;
        if !self.has_own_tags {
            return user.has_tag(tag::IMPERSONATOR);
        }
        let now = self.broker.access().user(&user.name);
        now.is_some_and(|now| now.has_tag(tag::IMPERSONATOR))
    }

    fn check_user_id(&self, properties: &Properties<'_>) -> Result<(), AmqpError> {
        match properties.user_id {
            Some(claimed)
                if claimed != self.client.user.name.as_bytes() && !self.is_impersonator() =>
            {
                let claimed = String::from_utf8_lossy(claimed);
                Err(refusal::user_id_mismatch(&claimed, &self.client.user.name))
            }
            _ => Ok(()),
        }
    }

    fn route(
        &mut self,
        generations: (u64, u64),
        exchange: &str,
        routing_key: &str,
        copies: &[&str],
        properties: &Properties<'_>,
    ) -> Result<(Routes, ReplyTargets), AmqpError> {
        let mut keys: SmallVec<[&str; 4]> = SmallVec::new();
        keys.push(routing_key);
        keys.extend(copies.iter().copied());
        let now = self.turn.now();
        let staging = &mut self.staging;
        staging.routed = staging.routed.wrapping_add(1);
        // No two messages have both in common.
        let drawn = self.id.0.rotate_left(32) ^ staging.routed;
        let route_set = &mut staging.route_set;
        let directory = self.vhost.directory.read();
        let message = Routable { keys: &keys, properties, drawn };
        let found = directory.route(exchange, message, now, route_set);
        let topology = &directory.topology;
        let by_keys = || topology.routes_by_keys(exchange, route_set);
        let lasts = found.is_ok()
            && copies.is_empty()
            && self.routes.may_keep(generations, exchange, by_keys);
        self.placed += route_set.work() / LOOKS_PER_PLACE;
        found.map_err(|many| refusal::routing_steps(exchange, self.vhost.name(), many))?;
        self.routes.set_exchange(directory.topology.traffic(exchange));
        let queues = route_set.as_slice().iter();
        let routes: Routes = queues.filter_map(|id| directory.queue_by_id(*id)).cloned().collect();
        let mut replies = ReplyTargets::new();
        if exchange.is_empty() && keys.iter().any(|key| direct_reply::is_token(key)) {
            // Requesters come and go without the topology's knowledge: nothing to remember.
            keys.sort_unstable();
            keys.dedup();
            replies.extend(keys.iter().filter_map(|key| self.broker.direct_replies.find(key)));
        } else if lasts {
            self.routes.keep(generations, exchange, routing_key, &routes);
        }
        Ok((routes, replies))
    }
}

/// A message's time to live has to be a decimal number of milliseconds.
fn check_expiration(expiration: &[u8]) -> Result<(), AmqpError> {
    let text = String::from_utf8_lossy(expiration);
    let digits_end = text
        .char_indices()
        .find(|(index, c)| !(c.is_ascii_digit() || (*index == 0 && matches!(c, '-' | '+'))))
        .map_or(text.len(), |(index, _)| index);
    let (number, rest) = text.split_at(digits_end);
    let Ok(number) = number.parse::<i128>() else {
        return Err(refusal::invalid_expiration(&text, "no_integer"));
    };
    if !rest.is_empty() {
        let reason = format!("{{leftover_string,\"{rest}\"}}");
        return Err(refusal::invalid_expiration(&text, reason));
    }
    match arguments::expiry(number, true) {
        Ok(_) => Ok(()),
        Err(reason) => Err(refusal::invalid_expiration(&text, reason)),
    }
}

/// The keys by which a message with these properties is routed that is published with this one: also those in
/// its headers `CC` and `BCC`.
///
/// # Errors
/// 406 when one of the headers is no array.
pub fn published_keys<'a>(
    routing_key: &'a str,
    properties: &Properties<'a>,
) -> Result<SmallVec<[&'a str; 4]>, AmqpError> {
    let (copies, _) = properties.headers.map(copies).transpose()?.unwrap_or_default();
    let mut keys = Keys::from_slice(&[routing_key]);
    keys.extend(copies);
    Ok(keys)
}

/// The further routing keys in the `CC` and `BCC` headers, and those of the latter alone.
fn copies(headers: Table<'_>) -> Result<(Keys<'_>, Keys<'_>), AmqpError> {
    let of = |header| {
        annotations::copies(headers, header)
            .map_err(|other| refusal::unacceptable_header(header, other.type_name()))
    };
    let (mut keys, bcc) = (of("CC")?, of("BCC")?);
    keys.extend(bcc.iter().copied());
    Ok((keys, bcc))
}

/// The properties as they are delivered, where they differ: nobody sees the `BCC` header, a
/// request for a direct reply names its token, and the trace may be the broker's.
fn rewritten(
    properties: &Properties<'_>,
    reply_to: Option<&Arc<str>>,
    traceparent: Option<&str>,
) -> Option<Vec<u8>> {
    let has_bcc = properties.headers.is_some_and(|headers| headers.get("BCC").is_some());
    if reply_to.is_none() && !has_bcc && traceparent.is_none() {
        return None;
    }
    let headers = (has_bcc || traceparent.is_some()).then(|| {
        let headers = TableBuilder::from_table(properties.headers.unwrap_or_default());
        let headers = headers.remove("BCC");
        match traceparent {
            Some(traceparent) => headers.set(TRACE_PARENT, traceparent).build(),
            None => headers.build(),
        }
    });
    let changed = Properties {
        reply_to: reply_to.map(|token| token.as_bytes()).or(properties.reply_to),
        headers: headers.as_ref().map(|headers| headers.as_table()).or(properties.headers),
        ..*properties
    };
    let mut raw = Vec::new();
    changed.encode(&mut raw);
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations_are_refused_as_rabbitmq_refuses_them() {
        let cases = [
            ("abc", "'abc': no_integer"),
            ("-1", "'-1': {value_negative,-1}"),
            ("10abc", "'10abc': {leftover_string,\"abc\"}"),
            ("1.5", "'1.5': {leftover_string,\".5\"}"),
            ("400000000000", "'400000000000': {value_too_large,400000000000}"),
            ("", "'': no_integer"),
            (" 10", "' 10': no_integer"),
        ];
        for (expiration, expected) in cases {
            let error = check_expiration(expiration.as_bytes()).unwrap_err();
            let expected = format!("PRECONDITION_FAILED - invalid expiration {expected}");
            assert_eq!(error.reply_text(), expected);
        }
        assert!(check_expiration(b"0").is_ok());
        assert!(check_expiration(b"315360000000").is_ok());
    }
}
