//! Which messages of a queue are meant.

use leveret_broker::has_died;
use leveret_codec::{Array, Properties, Table};
use leveret_engine::Message;

use crate::answer::Failure;
use crate::properties;
use crate::text_search::TextSearch;

/// Bytes of a text that messages are told by.
const TEXT_MAX: usize = 1024;

/// What a message has to have; nothing at all stands for every message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// A text in its body, its properties, its routing key or the name of its exchange, whether in
    /// capitals or not.
    pub(crate) contains: Option<TextSearch>,
    /// It has died.
    pub(crate) is_dead: bool,
    /// It has died for this reason.
    pub(crate) reason: Option<String>,
    /// It has died in this queue.
    pub(crate) died_in: Option<String>,
}

impl Filter {
    /// Whether every message is meant.
    pub(crate) fn is_open(&self) -> bool {
        self.contains.is_none() && !self.is_about_deaths()
    }

    pub(crate) fn matches(&self, message: &Message, properties: &Properties<'_>) -> bool {
        let dies_so = |death: Table<'_>| self.is_of(death);
        (!self.is_about_deaths() || deaths(message, properties).any(dies_so))
            && self.contains.as_ref().is_none_or(|text| contains(message, properties, text))
    }

    fn is_about_deaths(&self) -> bool {
        self.is_dead || self.reason.is_some() || self.died_in.is_some()
    }

    fn is_of(&self, death: Table<'_>) -> bool {
        let says = |key, wanted: &Option<String>| {
            let said = death.get(key).and_then(|value| value.as_str());
            wanted.as_deref().is_none_or(|wanted| said == Some(wanted))
        };
        says("reason", &self.reason) && says("queue", &self.died_in)
    }
}

/// A text that messages are told by, which a request names so; an empty one tells none apart.
///
/// # Errors
/// 400 for one that is too long.
pub(crate) fn text(name: &str, text: &str) -> Result<Option<String>, Failure> {
    if text.len() > TEXT_MAX {
        let reason = format!("{name} should have at most {TEXT_MAX} bytes");
        return Err(Failure::bad_request(reason));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// What the `x-death` header tells, the latest death first. Nothing if its publisher wrote it: a replay
/// goes by it, with the rights of whoever asks for that.
pub(crate) fn deaths<'a>(
    message: &Message,
    properties: &Properties<'a>,
) -> impl Iterator<Item = Table<'a>> + use<'a> {
    let headers = properties.headers.filter(|_| has_died(message));
    let header = headers.and_then(|headers| headers.get("x-death"));
    let deaths: Array<'a> = header.and_then(|value| value.as_array()).unwrap_or_default();
    deaths.iter().filter_map(|death| death.as_table())
}

fn contains(message: &Message, properties: &Properties<'_>, text: &TextSearch) -> bool {
    text.is_in(message.routing_key_bytes())
        || text.is_in(message.exchange_bytes())
        || text.is_in(message.body())
        || text.is_in(properties::to_json(properties).to_string().as_bytes())
}

#[cfg(test)]
pub(crate) mod tests {
    use leveret_codec::{ArrayBuilder, TableBuilder};
    use leveret_engine::{Body, MessageArena, Millis, NewMessage};

    use super::*;

    /// A message with the broker's note that it has died, or without.
    pub(crate) fn message(properties: &Properties<'_>, is_dead: bool) -> Message {
        let mut raw_properties = Vec::new();
        properties.encode(&mut raw_properties);
        let message = MessageArena::new().make(NewMessage {
            now: Millis(0),
            exchange: "ex",
            routing_key: "key",
            properties,
            raw_properties: &raw_properties,
            annotations: if is_dead { &[1] } else { &[] },
            body: Body::Copy(b"a \xff Body"),
        });
        assert_eq!(has_died(&message), is_dead);
        message
    }

    #[test]
    fn messages_are_told_by_what_they_have() {
        let death = TableBuilder::new().put("reason", "rejected").put("queue", "orders").build();
        let deaths = ArrayBuilder::new().push(death.as_table()).build();
        let headers = TableBuilder::new().put("tenant", "Acme").put("n", 417_i64);
        let headers = headers.put("x-death", deaths.as_array()).build();
        let properties = Properties { headers: Some(headers.as_table()), ..Properties::default() };
        let message = message(&properties, true);
        let meant = |filter: Filter| filter.matches(&message, &properties);
        let contains = |text: &str| {
            meant(Filter { contains: Some(TextSearch::new(text)), ..Filter::default() })
        };
        for text in ["", "body", "ACME", "tenant", "417", "ke", "eX"] {
            assert!(contains(text), "{text}");
        }
        assert!(!contains("bodies") && !contains("a body, longer than all there is to be seen"));
        let died = |reason: &str, queue: &str| {
            let word = |word: &str| (!word.is_empty()).then(|| word.to_owned());
            let (reason, died_in) = (word(reason), word(queue));
            meant(Filter { is_dead: true, reason, died_in, contains: None })
        };
        assert!(died("", "") && died("rejected", "") && died("rejected", "orders"));
        assert!(!died("expired", "") && !died("rejected", "other"));
        let filter = Filter { is_dead: true, ..Filter::default() };
        assert!(!filter.matches(&message, &Properties::default()));
        assert!(!filter.matches(&self::message(&properties, false), &properties), "says who?");
    }
}
