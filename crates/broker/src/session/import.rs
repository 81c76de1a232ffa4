//! Taking over what another broker had in a queue.

use std::slice;
use std::sync::Arc;

use leveret_codec::{AmqpError, Properties, TableBuilder, TableLimits, Value};
use leveret_engine::{Body, Message, NewMessage};
use leveret_store::Lsn;

use super::Session;
use super::browse::unreadable;
use crate::annotations::Annotations;
use crate::buckets::Origin;
use crate::queue::SharedQueue;
use crate::queue_type::QueueType;

/// A message as another broker delivered it.
#[derive(Clone, Copy, Debug)]
pub struct Imported<'a> {
    /// Whether it had been delivered before.
    pub redelivered: bool,
    /// The exchange it was published to; there need be none of this name.
    pub exchange: &'a str,
    /// The routing key it was published with.
    pub routing_key: &'a str,
    /// Its properties as on the wire.
    pub raw_properties: &'a [u8],
    /// Its body.
    pub body: &'a [u8],
}

/// What came of taking messages over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    /// How many were taken.
    pub messages: usize,
    /// What has to be on disk before they may be given up where they were.
    pub commit: Option<Lsn>,
}

impl Session {
    /// Puts messages into the queue they were in on another broker, with the exchange, the routing
    /// key and the properties they have. They are not published: nothing is routed (`CC` and `BCC`
    /// were obeyed when they came to the queue), nothing is checked (a user id was, then), and a queue
    /// that refuses what is too much takes them, as there was room for them. An `x-death` header is
    /// the broker's. Their time to live counts from now.
    ///
    /// `first_offset` is the first one's offset in the stream it comes from. An empty stream begins
    /// with it, one with messages goes on with it, so that offsets stay what they were. The first
    /// message may also be the last one that is here: it has to be the same, and isn't taken again.
    ///
    /// Nothing may be staged.
    ///
    /// # Errors
    /// 404 when there is no such queue, 405 when it is exclusive, 406 when a stream would not go on
    /// with `first_offset` or has another message there, 501 and 502 for properties that are none, 502
    /// for headers beyond the limits, 541 when the disk can't be read. Nothing has been taken then.
    pub fn import(
        &mut self,
        queue: &str,
        messages: &[Imported<'_>],
        first_offset: Option<u64>,
        tables: &TableLimits,
    ) -> Result<Imports, AmqpError> {
        debug_assert!(!self.has_staged(), "its append is its own");
        let queue = self.accessible_queue(queue)?;
        let mut messages = messages;
        if queue.is_stream()
            && let Some(offset) = first_offset
        {
            messages = self.not_there_yet(&queue, messages, offset)?;
        }
        let parsed = messages.iter().map(|one| Properties::parse(one.raw_properties, tables));
        let parsed: Vec<Properties<'_>> = parsed.collect::<Result<_, _>>()?;
        let added = match queue.queue_type {
            QueueType::Classic => None,
            QueueType::Quorum => Some("x-delivery-count"),
            QueueType::Stream => Some("x-stream-offset"),
        };
        for (message, properties) in messages.iter().zip(&parsed) {
            self.stage_imported(&queue, message, properties, added);
        }
        let (first_record, commit) = self.append(None);
        self.enqueue(first_record, &mut Vec::new());
        Ok(Imports { messages: messages.len(), commit })
    }

    /// Those of these messages, the first of which has this offset, that a stream hasn't got.
    fn not_there_yet<'m, 'a>(
        &self,
        stream: &SharedQueue,
        messages: &'m [Imported<'a>],
        offset: u64,
    ) -> Result<&'m [Imported<'a>], AmqpError> {
        let refused = |why: String| {
            let (stream, vhost) = (&stream.name, self.vhost.name());
            AmqpError::precondition_failed(format!("stream '{stream}' in vhost '{vhost}' {why}"))
        };
        let Some((first, others)) = messages.split_first() else { return Ok(messages) };
        if stream.next_offset() != Some(offset + 1) {
            let begun = stream.begin_or_go_on_at(offset, self.broker.store());
            begun.map_err(|next| refused(format!("goes on with offset {next}, not {offset}")))?;
            return Ok(messages);
        }
        let last = stream.browse(offset, 1, u64::MAX, self.broker.store());
        let last = last.map_err(|_| unreadable())?;
        let is_same = match last.messages.first() {
            Some((_, last)) => first.is(&last.message),
            // Retention has taken it away.
            None => last.first > offset,
        };
        if is_same {
            return Ok(others);
        }
        Err(refused(format!("has another message at offset {offset}")))
    }

    /// `added` is the header that the other broker added in delivering it, and not its own.
    fn stage_imported(
        &mut self,
        queue: &Arc<SharedQueue>,
        message: &Imported<'_>,
        properties: &Properties<'_>,
        added: Option<&str>,
    ) {
        let headers = properties.headers.unwrap_or_default();
        let died = matches!(headers.get("x-death"), Some(Value::Array(_)));
        let added = added.filter(|header| headers.get(header).is_some());
        let kept = added.map(|header| TableBuilder::from_table(headers).remove(header).build());
        let changed = kept.as_ref().map(|kept| {
            let kept = kept.as_table();
            let headers = Some(kept).filter(|kept| !kept.is_empty());
            let mut raw = Vec::with_capacity(message.raw_properties.len());
            Properties { headers, ..*properties }.encode(&mut raw);
            raw
        });
        let raw_properties = changed.as_deref().unwrap_or(message.raw_properties);
        let made = self.staging.arena.make(NewMessage {
            now: self.turn.now(),
            exchange: message.exchange,
            routing_key: message.routing_key,
            properties,
            raw_properties,
            annotations: &Annotations { died, ..Annotations::default() }.to_bytes(),
            body: Body::Copy(message.body),
        });
        let origin =
            Origin { redelivered: message.redelivered, is_expected: true, ..Origin::default() };
        let staging = &mut self.staging;
        staging.buckets.add(made, slice::from_ref(queue), origin, &mut staging.records);
    }
}

impl Imported<'_> {
    /// Whether it could be this one. Properties differ by what was added in delivering it.
    fn is(&self, message: &Message) -> bool {
        self.exchange == message.exchange()
            && self.routing_key == message.routing_key()
            && self.body == message.body()
    }
}
