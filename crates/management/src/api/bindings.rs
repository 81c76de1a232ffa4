//! `/api/bindings`, and those of one exchange or queue.
//!
//! RabbitMQ names a binding by its properties key: the routing key, and a hash of the arguments if
//! there are any.

use std::cmp::Ordering;
use std::sync::Arc;

use leveret_broker::Vhost;
use leveret_codec::{TableBuf, TableBuilder};
use leveret_engine::{BindingRef, DestinationName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::exchanges::{self, real_name};
use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::json_table;
use crate::list::{self, Field, Sorting};
use crate::space::Space;

/// A binding as it is listed.
pub(crate) struct Item {
    vhost: Arc<Vhost>,
    source: String,
    destination: String,
    is_to_queue: bool,
    key: String,
    arguments: TableBuf,
}

impl Item {
    /// What it takes of memory: its arguments are the binding's.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.source.len() + self.destination.len() + self.key.len()
    }

    /// As definitions have it, without its vhost.
    pub(crate) fn definition(&self) -> Value {
        json!({
            "source": self.source,
            "destination": self.destination,
            "destination_type": destination_type(self.is_to_queue),
            "routing_key": self.key,
            "arguments": json_table::to_json(self.arguments.as_table()),
        })
    }
}

const FIELDS: &[Field<Item>] = &[
    ("source", |item| Some(item.source.as_str().into())),
    ("vhost", |item| Some(item.vhost.name().as_ref().into())),
    ("destination", |item| Some(item.destination.as_str().into())),
    ("destination_type", |item| Some(destination_type(item.is_to_queue).into())),
    ("routing_key", |item| Some(item.key.as_str().into())),
    ("arguments", |item| Some(json_table::to_json(item.arguments.as_table()))),
    ("properties_key", |item| Some(properties_key(&item.key, &item.arguments).into())),
];

pub(crate) fn list(call: &Call) -> Outcome {
    let (mut items, mut space) = (Vec::new(), Space::of(call));
    for vhost in call.vhosts()? {
        items.extend(default_items(&vhost, &mut space)?);
        let explicit =
            vhost.topology(|topology| copies(&vhost, topology.bindings(), &mut space))?;
        items.extend(sorted(explicit));
    }
    list::unpaged(call, &items, FIELDS, space)
}

/// The bindings from an exchange.
pub(crate) fn of_source(call: &Call) -> Outcome {
    let (vhost, name, mut space) = (call.vhost()?, exchanges::name(call), Space::of(call));
    let items = match name.as_ref() {
        "" => default_items(&vhost, &mut space)?,
        name => sorted(from(&vhost, name, &mut space)?),
    };
    list::unpaged(call, &items, FIELDS, space)
}

/// The bindings to an exchange.
pub(crate) fn of_destination(call: &Call) -> Outcome {
    let (vhost, mut space) = (call.vhost()?, Space::of(call));
    let items = to_exchange(&vhost, &exchanges::name(call), &mut space)?;
    list::unpaged(call, &sorted(items), FIELDS, space)
}

/// The bindings to a queue.
pub(crate) fn of_queue(call: &Call) -> Outcome {
    let (vhost, name, mut space) = (call.vhost()?, call.part("queue"), Space::of(call));
    let mut items = Vec::new();
    if vhost.queue(name).is_some() {
        items.push(default_item(&vhost, name));
    }
    items.extend(sorted(to_queue(&vhost, name, &mut space)?));
    list::unpaged(call, &items, FIELDS, space)
}

/// The bindings from an exchange, page by page: RabbitMQ's lists of bindings have no pages, and a browser
/// shows none of a hundred thousand.
pub(crate) fn page_of_source(call: &Call) -> Outcome {
    let (vhost, mut space) = (call.vhost()?, Space::of(call));
    let items = from(&vhost, &exchanges::name(call), &mut space)?;
    page(call, &items, |item| Some(item.destination.as_str().into()), space)
}

/// The bindings to an exchange, page by page.
pub(crate) fn page_of_destination(call: &Call) -> Outcome {
    let (vhost, mut space) = (call.vhost()?, Space::of(call));
    let items = to_exchange(&vhost, &exchanges::name(call), &mut space)?;
    page(call, &items, |item| Some(item.source.as_str().into()), space)
}

/// The bindings to a queue, page by page; without the default exchange's.
pub(crate) fn page_of_queue(call: &Call) -> Outcome {
    let (vhost, mut space) = (call.vhost()?, Space::of(call));
    let items = to_queue(&vhost, call.part("queue"), &mut space)?;
    page(call, &items, |item| Some(item.source.as_str().into()), space)
}

/// A page of bindings, whose names are those of the end that the path doesn't name.
fn page(call: &Call, items: &[Item], name: fn(&Item) -> Option<Value>, space: Space) -> Outcome {
    let fields = [FIELDS, &[("name", name)]].concat();
    let sorting = Sorting { usual: by_ends, key: |_| None };
    list::list_unordered(call, items, &fields, &sorting, space)
}

/// The bindings between two ends.
pub(crate) fn between(call: &Call) -> Outcome {
    let mut space = Space::of(call);
    let items = found(call, &mut space)?;
    list::unpaged(call, &items, FIELDS, space)
}

/// What there may be very many of is copied as far as there is room for it.
fn copies<'t>(
    vhost: &Arc<Vhost>,
    found: impl Iterator<Item = BindingRef<'t>>,
    space: &mut Space,
) -> Result<Vec<Item>, Failure> {
    let copied = found.map(|binding| {
        let item = item(vhost, &binding);
        space.take(item.bytes())?;
        Ok(item)
    });
    copied.collect()
}

/// Those of a vhost with such destinations, by their ends; without the default exchange's.
pub(crate) fn copies_where(
    vhost: &Arc<Vhost>,
    is_meant: impl Fn(DestinationName<'_>) -> bool,
    space: &mut Space,
) -> Result<Vec<Item>, Failure> {
    let found = vhost.topology(|topology| {
        let found = topology.bindings().filter(|binding| is_meant(binding.destination));
        copies(vhost, found, space)
    });
    Ok(sorted(found?))
}

fn from(vhost: &Arc<Vhost>, exchange: &str, space: &mut Space) -> Result<Vec<Item>, Failure> {
    vhost.topology(|topology| copies(vhost, topology.bindings_from(exchange), space))
}

fn to_exchange(vhost: &Arc<Vhost>, name: &str, space: &mut Space) -> Result<Vec<Item>, Failure> {
    vhost.topology(|topology| copies(vhost, topology.bindings_to_exchange(name), space))
}

fn to_queue(vhost: &Arc<Vhost>, name: &str, space: &mut Space) -> Result<Vec<Item>, Failure> {
    vhost.topology(|topology| copies(vhost, topology.bindings_to_queue(name), space))
}

/// Those of the default exchange.
fn default_items(vhost: &Arc<Vhost>, space: &mut Space) -> Result<Vec<Item>, Failure> {
    let mut names = vhost.queue_names();
    names.sort_unstable();
    let items = names.iter().map(|name| {
        let item = default_item(vhost, name);
        space.take(item.bytes())?;
        Ok(item)
    });
    items.collect()
}

pub(crate) fn bind(call: &Call) -> Outcome {
    let body = call.object()?;
    let routing_key = match body.get("routing_key") {
        None => "",
        Some(Value::String(key)) => key,
        Some(_) => return Err(Failure::bad_request("routing_key should be a string")),
    };
    let arguments = exchanges::arguments(&body, &call.node.config().amqp.tables)?;
    let (source, destination) = (exchanges::name(call), destination(call));
    let mut session = call.session()?;
    let commit = session.bind(&source, destination, routing_key, arguments.as_table())?;
    session.repeat_all_history(|| !call.node.stop.is_cancelled());
    session.finish();
    let key = properties_key(routing_key, &arguments);
    let location = format!("{}/{}", quoted(destination_name(call)), quoted(&key));
    Ok(Answer::created_at(location).after(commit))
}

pub(crate) fn show(call: &Call) -> Outcome {
    Ok(list::object(call, &named(call)?, FIELDS))
}

pub(crate) fn unbind(call: &Call) -> Outcome {
    let Item { key, arguments, .. } = named(call)?;
    let (source, destination) = (exchanges::name(call), destination(call));
    let mut session = call.session()?;
    let commit = session.unbind(&source, destination, &key, arguments.as_table())?;
    session.finish();
    Ok(Answer::done().after(commit))
}

fn named(call: &Call) -> Result<Item, Failure> {
    let key = call.part("key");
    let is_it = |item: &Item| properties_key(&item.key, &item.arguments) == key;
    found(call, &mut Space::of(call))?.into_iter().find(is_it).ok_or(Failure::NotFound)
}

fn found(call: &Call, space: &mut Space) -> Result<Vec<Item>, Failure> {
    let (vhost, source) = (call.vhost()?, exchanges::name(call));
    let destination = destination(call);
    if source.is_empty() {
        let DestinationName::Queue(name) = destination else { return Ok(Vec::new()) };
        let queue = vhost.queue(name);
        return Ok(queue.iter().map(|_| default_item(&vhost, name)).collect());
    }
    let items = vhost.topology(|topology| {
        let between = topology.bindings_from(&source).filter(|one| one.destination == destination);
        copies(&vhost, between, space)
    });
    Ok(sorted(items?))
}

/// Where the path leads: its destination is a queue or an exchange.
fn destination(call: &Call) -> DestinationName<'_> {
    match call.part("queue") {
        "" => DestinationName::Exchange(real_name(call.part("destination"))),
        queue => DestinationName::Queue(queue),
    }
}

fn destination_name(call: &Call) -> &str {
    match call.part("queue") {
        "" => call.part("destination"),
        queue => queue,
    }
}

fn item(vhost: &Arc<Vhost>, binding: &BindingRef<'_>) -> Item {
    let (is_to_queue, destination) = match binding.destination {
        DestinationName::Queue(name) => (true, name),
        DestinationName::Exchange(name) => (false, name),
    };
    Item {
        vhost: Arc::clone(vhost),
        source: binding.source.to_owned(),
        destination: destination.to_owned(),
        is_to_queue,
        key: binding.key.to_owned(),
        arguments: binding.arguments.clone(),
    }
}

/// Every queue is bound to the default exchange under its name.
fn default_item(vhost: &Arc<Vhost>, queue: &str) -> Item {
    Item {
        vhost: Arc::clone(vhost),
        source: String::new(),
        destination: queue.to_owned(),
        is_to_queue: true,
        key: queue.to_owned(),
        arguments: TableBuf::default(),
    }
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by(by_ends);
    items
}

fn by_ends(a: &Item, b: &Item) -> Ordering {
    (&a.source, &a.destination, &a.key).cmp(&(&b.source, &b.destination, &b.key))
}

pub(crate) fn destination_type(is_to_queue: bool) -> &'static str {
    if is_to_queue { "queue" } else { "exchange" }
}

/// What RabbitMQ leaves as it is in a part of a URL; spaces become `+` in a properties key.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

fn quoted(text: &str) -> String {
    utf8_percent_encode(text, QUOTED).to_string().replace("%7E", "~")
}

/// RabbitMQ's name for a binding between two ends: `~` for no key and no arguments, else the key,
/// and behind a `~` a hash of the arguments.
fn properties_key(routing_key: &str, arguments: &TableBuf) -> String {
    let key = utf8_percent_encode(routing_key, QUOTED).to_string().replace("%20", "+");
    match (key.as_str(), arguments.is_empty()) {
        ("", true) => "~".to_owned(),
        (key, true) => key.to_owned(),
        (key, false) => format!("{key}~{}", arguments_hash(arguments)),
    }
}

/// Tells the arguments of bindings apart that have everything else in common. Their order makes no
/// difference.
fn arguments_hash(arguments: &TableBuf) -> String {
    use base64::Engine;
    let sorted = TableBuilder::from_table(arguments.as_table()).build_sorted();
    let hash = crc32fast::hash(sorted.as_bytes()).to_be_bytes();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash)
}

#[cfg(test)]
mod tests {
    use leveret_codec::Value as Field;

    use super::*;

    #[test]
    fn keys_are_quoted_as_rabbitmq_quotes_them() {
        let none = TableBuf::default();
        let cases = [
            ("", "~"),
            ("k", "k"),
            ("a/b", "a%2Fb"),
            ("a b/c~d", "a+b%2Fc%7Ed"),
            ("é", "%C3%A9"),
            ("a.b-c_d#*", "a.b-c_d%23%2A"),
        ];
        for (key, expected) in cases {
            assert_eq!(properties_key(key, &none), expected);
        }
        assert_eq!(quoted("a+b%2Fc%7Ed"), "a%2Bb%252Fc%257Ed");
        assert_eq!(quoted("~"), "~");
    }

    #[test]
    fn arguments_are_told_apart_in_any_order() {
        let table = |entries: &[(&str, i64)]| {
            let builder = TableBuilder::new();
            entries
                .iter()
                .fold(builder, |all, (key, value)| all.put(key, Field::I64(*value)))
                .build()
        };
        let key = |entries| properties_key("k", &table(entries));
        assert_eq!(key(&[("a", 1), ("b", 2)]), key(&[("b", 2), ("a", 1)]));
        assert_ne!(key(&[("a", 1)]), key(&[("a", 2)]));
        assert!(key(&[("a", 1)]).starts_with("k~"));
        assert_eq!(key(&[("a", 1)]).len(), "k~".len() + 6);
    }
}
