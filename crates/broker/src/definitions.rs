//! How vhosts, exchanges, queues and bindings are stored: keys and values of the definitions.
//!
//! Values are MessagePack maps with named fields, so that a later version may add one. Keys are
//! the names, each behind its length, vhost first: they sort by vhost.

use leveret_codec::{TableBuf, TableBuilder, TableLimits};
use leveret_engine::{DestinationName, QueueId, Removed, RemovedDestination, Topology};
use leveret_store::{Definition, Table};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A stored definition that can't be read back.
#[derive(Debug, Error)]
pub enum DefinitionError {
    /// The key isn't a list of names.
    #[error("malformed key")]
    Key,
    /// The value doesn't decode.
    #[error("malformed value: {0}")]
    Value(#[from] rmp_serde::decode::Error),
    /// The arguments aren't a field table.
    #[error("malformed arguments: {0}")]
    Arguments(#[from] leveret_codec::TableError),
    /// The arguments say what this version doesn't accept.
    #[error("{0}")]
    Refused(#[from] leveret_codec::AmqpError),
    /// A user or a permission that can't be read or written.
    #[error(transparent)]
    Record(#[from] crate::access::RecordError),
    /// A permission of a user that doesn't exist.
    #[error(transparent)]
    NoSuchUser(#[from] crate::access::NoSuchUser),
    /// A topic permission that doesn't hold.
    #[error(transparent)]
    TopicPermission(#[from] crate::access::TopicPermissionRefused),
    /// A policy that doesn't hold.
    #[error(transparent)]
    Policy(#[from] crate::policy::InvalidPolicy),
    /// It belongs to a vhost, an exchange or a queue that isn't defined.
    #[error("it names something that is not defined")]
    Orphan,
    /// A runtime parameter of a component this version doesn't have.
    #[error("unknown component '{0}'")]
    Component(String),
    /// An exchange of a type this version doesn't know.
    #[error("unknown exchange type '{0}'")]
    ExchangeType(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExchangeValue {
    pub(crate) kind: String,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Vec<u8>,
    /// Identity of the queue that keeps messages for it, 0 for none.
    #[serde(default)]
    pub(crate) keeper: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct QueueValue {
    pub(crate) id: u64,
    pub(crate) auto_delete: bool,
    pub(crate) arguments: Vec<u8>,
}

/// Where a stream begins, or a named reader of it goes on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StreamValue {
    pub(crate) offset: u64,
    /// Of a beginning: messages below this LSN are no longer in the stream. Releases before did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lsn: Option<u64>,
}

/// A durable binding, all of it in its key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BindingKey {
    pub(crate) vhost: String,
    pub(crate) source: String,
    pub(crate) to_queue: bool,
    pub(crate) destination: String,
    pub(crate) routing_key: String,
    pub(crate) arguments: TableBuf,
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Encoding plain structs into memory has no failing case; an empty value is refused on reading.
    rmp_serde::to_vec_named(value).unwrap_or_default()
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, DefinitionError> {
    Ok(rmp_serde::from_slice(value)?)
}

pub(crate) fn arguments(bytes: &[u8]) -> Result<TableBuf, DefinitionError> {
    Ok(TableBuf::parse(bytes.to_vec().into(), &TableLimits::ACCEPTED)?)
}

/// Joins names into a key.
pub(crate) fn key(parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(part);
    }
    key
}

/// The key of an offset: of a stream's named reader, or of its beginning, which has no name. Streams
/// are named by their identities, as another of the same name has other offsets.
pub(crate) fn stream_key(stream: QueueId, reader: &str) -> Vec<u8> {
    key(&[&stream.0.to_be_bytes(), reader.as_bytes()])
}

/// Takes such a key apart.
pub(crate) fn stream_from_key(bytes: &[u8]) -> Result<(QueueId, &str), DefinitionError> {
    let [stream, reader] = key_parts(bytes)?;
    let stream = stream.try_into().map_err(|_| DefinitionError::Key)?;
    Ok((QueueId(u64::from_be_bytes(stream)), name(reader)?))
}

/// The key of a deleted queue: another may have its name by now.
pub(crate) fn departed_key(vhost: &str, queue: &str, id: QueueId) -> Vec<u8> {
    key(&[vhost.as_bytes(), queue.as_bytes(), id.0.to_string().as_bytes()])
}

/// Takes such a key apart.
pub(crate) fn departed_from_key(bytes: &[u8]) -> Result<(&str, &str, QueueId), DefinitionError> {
    let [vhost, queue, id] = key_parts(bytes)?;
    let id = name(id)?.parse().map_err(|_| DefinitionError::Key)?;
    Ok((name(vhost)?, name(queue)?, QueueId(id)))
}

/// Takes a key of `N` names apart.
pub(crate) fn key_parts<const N: usize>(mut key: &[u8]) -> Result<[&[u8]; N], DefinitionError> {
    let mut parts = [&[][..]; N];
    for part in &mut parts {
        let (length, rest) = key.split_first_chunk::<4>().ok_or(DefinitionError::Key)?;
        let length = usize::try_from(u32::from_be_bytes(*length));
        (*part, key) = rest
            .split_at_checked(length.map_err(|_| DefinitionError::Key)?)
            .ok_or(DefinitionError::Key)?;
    }
    if key.is_empty() { Ok(parts) } else { Err(DefinitionError::Key) }
}

/// A key's part as a name.
pub(crate) fn name(part: &[u8]) -> Result<&str, DefinitionError> {
    std::str::from_utf8(part).map_err(|_| DefinitionError::Key)
}

/// The key of a runtime parameter.
pub(crate) fn parameter_key(vhost: &str, component: &str, name: &str) -> Vec<u8> {
    key(&[vhost.as_bytes(), component.as_bytes(), name.as_bytes()])
}

pub(crate) fn binding_key(
    vhost: &str,
    source: &str,
    destination: DestinationName<'_>,
    routing_key: &str,
    arguments: &TableBuf,
) -> Vec<u8> {
    let (kind, destination) = match destination {
        DestinationName::Queue(name) => (b"q", name),
        DestinationName::Exchange(name) => (b"e", name),
    };
    key(&[
        vhost.as_bytes(),
        source.as_bytes(),
        kind,
        destination.as_bytes(),
        routing_key.as_bytes(),
        // A binding's identity doesn't depend on the order of its arguments.
        TableBuilder::from_table(arguments.as_table()).build_sorted().as_bytes(),
    ])
}

pub(crate) fn binding_from_key(bytes: &[u8]) -> Result<BindingKey, DefinitionError> {
    let [vhost, source, kind, destination, routing_key, table] = key_parts(bytes)?;
    Ok(BindingKey {
        vhost: name(vhost)?.to_owned(),
        source: name(source)?.to_owned(),
        to_queue: match kind {
            b"q" => true,
            b"e" => false,
            _ => return Err(DefinitionError::Key),
        },
        destination: name(destination)?.to_owned(),
        routing_key: name(routing_key)?.to_owned(),
        arguments: arguments(table)?,
    })
}

/// The deletions that follow from removing an exchange, a queue or a binding. Deleting what was
/// never stored (a transient binding) is harmless and not worth remembering which was which.
pub(crate) fn deletions(vhost: &str, removed: &[Removed]) -> Vec<Definition> {
    removed
        .iter()
        .map(|removed| match removed {
            Removed::Binding(binding) => Definition::Delete {
                table: Table::Bindings,
                key: binding_key(
                    vhost,
                    &binding.source,
                    match &binding.destination {
                        RemovedDestination::Queue(name) => DestinationName::Queue(name),
                        RemovedDestination::Exchange(name) => DestinationName::Exchange(name),
                    },
                    &binding.key,
                    &binding.arguments,
                ),
            },
            Removed::Exchange(exchange) => Definition::Delete {
                table: Table::Exchanges,
                key: key(&[vhost.as_bytes(), exchange.name.as_bytes()]),
            },
        })
        .collect()
}

/// The deletions that take all exchanges and bindings of a vhost away.
pub(crate) fn everything(vhost: &str, topology: &Topology) -> Vec<Definition> {
    let exchanges = topology.exchanges().map(|exchange| Definition::Delete {
        table: Table::Exchanges,
        key: key(&[vhost.as_bytes(), exchange.name().as_bytes()]),
    });
    let bindings = topology.bindings().map(|binding| Definition::Delete {
        table: Table::Bindings,
        key: binding_key(
            vhost,
            binding.source,
            binding.destination,
            binding.key,
            binding.arguments,
        ),
    });
    exchanges.chain(bindings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binding_keys_come_apart_again() {
        let bytes =
            binding_key("/", "x", DestinationName::Queue("q"), "a.\0b", &TableBuf::default());
        let binding = binding_from_key(&bytes).unwrap();
        assert_eq!(binding.source, "x");
        assert!(binding.to_queue);
        assert_eq!(binding.destination, "q");
        assert_eq!(binding.routing_key, "a.\0b");
        assert!(key_parts::<5>(&bytes).is_err());
        assert!(key_parts::<7>(&bytes).is_err());
    }
}
