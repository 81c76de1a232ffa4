//! What the broker keeps in a store, for tools that look at one without a broker.

use std::collections::{BTreeMap, BTreeSet};

use leveret_store::Table;

use crate::arguments;
use crate::definitions::{self, DefinitionError, ExchangeValue, QueueValue};
use crate::queue_type::QueueType;

/// Names the queues that definitions, as `(table, key, value)`, know by their numbers in the journal:
/// `queue 'orders' in vhost '/'`. An exchange that keeps messages has a number as well, and a deleted
/// queue as long as its dead letters have not gone on. What doesn't decode is left out.
#[must_use]
pub fn queue_names(definitions: &[(Table, Vec<u8>, Vec<u8>)]) -> BTreeMap<u64, String> {
    let name = |(table, key, value): &(Table, Vec<u8>, Vec<u8>)| -> Result<_, DefinitionError> {
        let (kind, id) = match table {
            Table::Queues => ("queue", definitions::decode::<QueueValue>(value)?.id),
            Table::Exchanges => ("exchange", definitions::decode::<ExchangeValue>(value)?.keeper),
            Table::DepartedQueues => {
                let (vhost, name, id) = definitions::departed_from_key(key)?;
                return Ok((id.0, format!("deleted queue '{name}' in vhost '{vhost}'")));
            }
            _ => return Err(DefinitionError::Key),
        };
        let [vhost, name] = definitions::key_parts(key)?;
        let (vhost, name) = (definitions::name(vhost)?, definitions::name(name)?);
        Ok((id, format!("{kind} '{name}' in vhost '{vhost}'")))
    };
    definitions.iter().filter_map(|row| name(row).ok()).filter(|(id, _)| *id != 0).collect()
}

/// The streams that definitions, as `(table, key, value)`, know, by their numbers in the journal. What doesn't
/// decode is left out.
#[must_use]
pub fn streams(definitions: &[(Table, Vec<u8>, Vec<u8>)]) -> BTreeSet<u64> {
    let stream = |key: &[u8], value: &[u8]| -> Result<_, DefinitionError> {
        let [vhost, name] = definitions::key_parts(key)?;
        let (vhost, name) = (definitions::name(vhost)?, definitions::name(name)?);
        let value: QueueValue = definitions::decode(value)?;
        let arguments = definitions::arguments(&value.arguments)?;
        let queue_type = arguments::queue_type(arguments.as_table(), name, vhost)?;
        Ok((queue_type == QueueType::Stream).then_some(value.id))
    };
    let queues = definitions.iter().filter(|(table, ..)| *table == Table::Queues);
    queues.filter_map(|(_, key, value)| stream(key, value).ok().flatten()).collect()
}

/// The names a definition's key is made of, readable as far as they are text.
#[must_use]
pub fn key_names(mut key: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let Some((length, rest)) = key.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((name, rest)) = rest.split_at_checked(length) else { break };
        names.push(String::from_utf8_lossy(name).into_owned());
        key = rest;
    }
    if !key.is_empty() {
        names.push(String::from_utf8_lossy(key).into_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_engine::QueueId;

    use crate::definitions::{departed_key, encode, key};

    #[test]
    fn queues_and_keeping_exchanges_have_their_names() {
        let queue = QueueValue { id: 7, auto_delete: false, arguments: Vec::new() };
        let exchange = |keeper| ExchangeValue {
            kind: "fanout".into(),
            auto_delete: false,
            internal: false,
            arguments: Vec::new(),
            keeper,
        };
        let named = |name: &str| key(&[b"/", name.as_bytes()]);
        let names = queue_names(&[
            (Table::Queues, named("orders"), encode(&queue)),
            (Table::Exchanges, named("late"), encode(&exchange(9))),
            (Table::Exchanges, named("plain"), encode(&exchange(0))),
            (Table::Queues, b"broken".to_vec(), encode(&queue)),
            (Table::Users, named("guest"), Vec::new()),
            (Table::DepartedQueues, departed_key("/", "orders", QueueId(5)), Vec::new()),
        ]);
        let expected = [
            (5, "deleted queue 'orders' in vhost '/'"),
            (7, "queue 'orders' in vhost '/'"),
            (9, "exchange 'late' in vhost '/'"),
        ];
        assert_eq!(names, expected.map(|(id, name)| (id, name.to_owned())).into());
    }

    #[test]
    fn keys_come_apart_as_far_as_they_do() {
        assert_eq!(key_names(&key(&[b"/", b"", b"q\xff"])), ["/", "", "q\u{fffd}"]);
        assert_eq!(key_names(b"guest"), ["guest"]);
        assert!(key_names(b"").is_empty());
    }
}
