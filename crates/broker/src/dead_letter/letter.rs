//! A dead message, rewritten for its dead-letter exchange.

use leveret_codec::{ArrayBuf, Properties, TableBuilder, Value};
use leveret_engine::{Body, DELAY_HEADER, Message, MessageArena, Millis, NewMessage, delay};

use super::history::{self, Circle, Event};
use super::{Death, Reason};
use crate::annotations::{self, Annotations, Keys, Traced, copies};
use crate::queue::properties;

/// What a dead message becomes.
pub(super) struct Letter<'a> {
    /// With the dead-letter exchange, its new key, and its deaths in the headers; without an
    /// expiration. Its time in a queue counts from now.
    pub(super) message: Message,
    /// The keys it is routed by now, `BCC` keys included.
    pub(super) routing_keys: Keys<'a>,
    /// The array in `x-death`.
    pub(super) deaths: ArrayBuf,
}

impl<'a> Letter<'a> {
    /// If it is followed it is so from now on by `traced`.
    pub(super) fn write(
        death: &'a Death,
        traced: Option<Traced>,
        now: Millis,
        arena: &mut MessageArena,
    ) -> Self {
        let (message, source) = (&death.entry.message, &*death.source);
        let properties = properties(message);
        let headers = properties.headers.unwrap_or_default();
        let Annotations { died, rerouted, traced: before, bcc } =
            Annotations::read(message.annotations());

        let mut routing_keys = Keys::new();
        routing_keys.push(message.routing_key());
        if !rerouted {
            // Publishing has checked that it is an array.
            routing_keys.extend(copies(headers, "CC").unwrap_or_default());
        }
        let event = Event {
            queue: &source.queue_name,
            reason: death.reason,
            time: now,
            exchange: message.exchange(),
            routing_keys: &routing_keys,
            expiration: message.expiration(),
        };
        let (headers, deaths) = history::add(headers, died, &event);

        let mut annotations = Annotations { died: true, rerouted, traced: traced.or(before), bcc };
        if let Some(key) = &source.routing_key {
            routing_keys.clear();
            routing_keys.push(key);
            annotations.rerouted = true;
            annotations.bcc.clear();
        } else {
            routing_keys.extend(annotations.bcc.iter().copied());
        }
        let properties =
            Properties { headers: Some(headers.as_table()), expiration: None, ..properties };
        let mut raw_properties = Vec::with_capacity(message.properties().len() + ADDED_HEADERS);
        properties.encode(&mut raw_properties);
        let message = arena.make(NewMessage {
            now,
            exchange: &source.exchange,
            routing_key: routing_keys.first().copied().unwrap_or_default(),
            properties: &properties,
            raw_properties: &raw_properties,
            annotations: &annotations.to_bytes(),
            body: Body::Shared(message.shared_body()),
        });
        Self { message, routing_keys, deaths }
    }

    /// A message whose delay is over: as it was published, but that its `x-delay` header is now
    /// below zero, so that no delayed exchange holds it again. Its time in a queue counts from now.
    pub(super) fn released(death: &'a Death, now: Millis, arena: &mut MessageArena) -> Self {
        let message = &death.entry.message;
        let properties = properties(message);
        let headers = properties.headers.unwrap_or_default();
        let waited =
            properties.headers.and_then(delay).and_then(|delay| i64::try_from(delay.0).ok());
        let waited = -waited.unwrap_or_default();
        let value = i32::try_from(waited).map_or(Value::I64(waited), Value::I32);
        let headers = TableBuilder::from_table(headers).set(DELAY_HEADER, value).build();
        let properties = Properties { headers: Some(headers.as_table()), ..properties };
        let mut raw_properties = Vec::with_capacity(message.properties().len());
        properties.encode(&mut raw_properties);
        let message = arena.make(NewMessage {
            now,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            properties: &properties,
            raw_properties: &raw_properties,
            annotations: message.annotations(),
            body: Body::Shared(message.shared_body()),
        });
        let routing_keys = annotations::routing_keys(&death.entry.message);
        Self { message, routing_keys, deaths: ArrayBuf::default() }
    }

    /// Its properties.
    pub(super) fn properties(&self) -> Properties<'_> {
        properties(&self.message)
    }

    /// The queues that the dead-letter exchange routes it to in vain: it would run in circles.
    pub(super) fn circle(&self, reason: Reason) -> Circle<'_> {
        if reason == Reason::Rejected {
            Circle::default()
        } else {
            Circle::of(self.deaths.as_array())
        }
    }
}

/// About what the headers of a first death take.
const ADDED_HEADERS: usize = 512;
