//! Where a dead letter came from, and what it was.

use leveret_codec::{Properties, Table, TableBuilder};
use leveret_engine::Message;

use crate::message_filter::deaths;

/// Where dead letters are replayed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Target {
    /// The exchange and the routing key they were first published with.
    #[default]
    Exchange,
    /// The queue they first died in.
    Queue,
}

impl Target {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        }
    }
}

/// A dead letter as it was before it died.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    /// Its properties without its deaths, and with the time to live it had.
    pub(crate) properties: Vec<u8>,
}

impl Origin {
    /// Nothing for a message that has not died.
    pub(crate) fn of(
        message: &Message,
        properties: &Properties<'_>,
        target: Target,
    ) -> Option<Self> {
        let headers = properties.headers?;
        let first = first_death(message, headers, properties)?;
        let text = |key: &str| first.get(key).and_then(|value| value.as_str());
        let (exchange, routing_key) = match target {
            Target::Queue => ("", text("queue")?),
            Target::Exchange => {
                let keys = first.get("routing-keys").and_then(|keys| keys.as_array());
                let key = keys.and_then(|keys| keys.iter().next()?.as_str());
                (text("exchange")?, key.unwrap_or_default())
            }
        };
        // To one queue it goes past what is in its `CC` header, where its publisher need not have been
        // allowed to send it by name.
        let is_of_no_use = |name: &str| {
            name == "x-death"
                || name == "CC" && target == Target::Queue
                || name.starts_with("x-first-death-")
                || name.starts_with("x-last-death-")
        };
        let mut kept = TableBuilder::from_table(headers);
        for (name, _) in headers.iter() {
            match str::from_utf8(name) {
                Ok(name) if is_of_no_use(name) => kept = kept.remove(name),
                _ => {}
            }
        }
        let kept = kept.build();
        let before = first.get("original-expiration").and_then(|value| value.as_bytes());
        let properties = Properties {
            headers: (!kept.as_bytes().is_empty()).then(|| kept.as_table()),
            expiration: properties.expiration.or(before),
            ..*properties
        };
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
        Some(Self { exchange, routing_key, properties: raw })
    }
}

/// The death that `x-first-death-*` tell of, or else the earliest in `x-death`.
fn first_death<'a>(
    message: &Message,
    headers: Table<'_>,
    properties: &Properties<'a>,
) -> Option<Table<'a>> {
    let says = |header, death: &Table<'_>, key| {
        let first = headers.get(header).and_then(|value| value.as_bytes());
        first.is_some() && first == death.get(key).and_then(|value| value.as_bytes())
    };
    let is_first = |death: &Table<'_>| {
        says("x-first-death-queue", death, "queue") && says("x-first-death-reason", death, "reason")
    };
    let deaths = || deaths(message, properties);
    deaths().find(is_first).or_else(|| deaths().last())
}

#[cfg(test)]
mod tests {
    use leveret_codec::{ArrayBuilder, TableBuf, TableLimits};

    use super::*;
    use crate::message_filter::tests::message;

    fn death(queue: &str, reason: &str, exchange: &str, key: &str) -> TableBuf {
        let keys = ArrayBuilder::new().push(key).build();
        let table = TableBuilder::new().put("queue", queue).put("reason", reason);
        let table = table.put("exchange", exchange).put("routing-keys", keys.as_array());
        table.put("original-expiration", "5000").build()
    }

    #[test]
    fn a_dead_letter_becomes_what_it_was() {
        let (first, last) =
            (death("orders", "rejected", "shop", "new"), death("late", "expired", "retry", "k"));
        let deaths = ArrayBuilder::new().push(last.as_table()).push(first.as_table()).build();
        let headers = TableBuilder::new().put("tenant", "acme").put("x-death", deaths.as_array());
        let with_first = headers
            .put("x-first-death-queue", "orders")
            .put("x-first-death-reason", "rejected")
            .put("x-first-death-exchange", "shop")
            .put("x-last-death-queue", "late")
            .build();
        let given = Properties {
            headers: Some(with_first.as_table()),
            message_id: Some(b"m"),
            ..Properties::default()
        };
        let origin = Origin::of(&message(&given, true), &given, Target::Exchange).unwrap();
        assert_eq!((&*origin.exchange, &*origin.routing_key), ("shop", "new"));
        let properties = Properties::parse(&origin.properties, &TableLimits::default()).unwrap();
        let expected = TableBuilder::new().put("tenant", "acme").build();
        let expected = Properties {
            headers: Some(expected.as_table()),
            message_id: Some(b"m"),
            expiration: Some(b"5000"),
            ..Properties::default()
        };
        assert_eq!(properties, expected);
        let origin = Origin::of(&message(&given, true), &given, Target::Queue).unwrap();
        assert_eq!((&*origin.exchange, &*origin.routing_key), ("", "orders"));
    }

    #[test]
    fn without_word_of_the_first_death_it_is_the_earliest() {
        let (first, last) = (death("a", "rejected", "x", "k"), death("b", "expired", "y", "l"));
        let deaths = ArrayBuilder::new().push(last.as_table()).push(first.as_table()).build();
        let headers = TableBuilder::new().put("x-death", deaths.as_array()).build();
        let given = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        let origin = Origin::of(&message(&given, true), &given, Target::Exchange).unwrap();
        assert_eq!((&*origin.exchange, &*origin.routing_key), ("x", "k"));
        assert_eq!(Origin::of(&message(&given, false), &given, Target::Exchange), None);
        let none = Properties::default();
        assert_eq!(Origin::of(&message(&none, true), &none, Target::Exchange), None);
    }
}
