//! From what the store holds back to vhosts, queues and messages.

use std::sync::Arc;

use ahash::HashMap;
use leveret_codec::TableBuf;
use leveret_engine::{
    DestinationName, ENTRY_MEMORY, ExchangeKind, ExchangeSpec, Message, QueueId, StoredOutline,
};
use leveret_store::{Backlog, Definition, Lsn, Outline, Recovered, Table};

use crate::access::{Permission, PermissionKey, TopicPermission, TopicPermissionKey, User};
use crate::arguments;
use crate::broker::{Broker, OpenError, VHOST_LIMITS};
use crate::dead_letter::{DeadLettering, restore_departed};
use crate::definitions::{self, DefinitionError, ExchangeValue, QueueValue, StreamValue};
use crate::global_parameters::GLOBAL;
use crate::keeper::keeper;
use crate::policy;
use crate::queue::{QueueSpec, SharedQueue};
use crate::session::define;
use crate::vhost_metadata::VhostMetadata;

/// Rebuilds a broker from its store.
pub(crate) fn restore(broker: &Broker, recovered: Recovered) -> Result<(), OpenError> {
    // Later tables name what earlier ones define.
    let order: [(Table, &'static str, Restore); 11] = [
        (Table::Vhosts, "vhost", restore_vhost),
        (Table::Policies, "policy", restore_policy),
        (Table::Parameters, "parameter", restore_parameter),
        (Table::Users, "user", restore_user),
        (Table::Permissions, "permission", restore_permission),
        (Table::TopicPermissions, "topic permission", restore_topic_permission),
        (Table::Exchanges, "exchange", restore_exchange),
        (Table::Queues, "queue", restore_queue),
        (Table::Bindings, "binding", restore_binding),
        (Table::Streams, "stream", restore_stream),
        (Table::DepartedQueues, "deleted queue", restore_departed_queue),
    ];
    let mut queues = Queues::default();
    for (table, kind, restore) in order {
        for (_, key, value) in recovered.definitions.iter().filter(|(of, ..)| *of == table) {
            restore(broker, key, value, &mut queues)
                .map_err(|source| OpenError::Definition { kind, source })?;
        }
    }
    // Identities are never given twice while a message of the queue deleted meanwhile is in the journal.
    broker.reserve_queues(recovered.last_queue);
    restore_backlogs(broker, recovered.backlogs, &queues)
}

/// Queues by their identities.
#[derive(Default)]
struct Queues {
    present: HashMap<u64, Arc<SharedQueue>>,
    /// How those dead-letter that are deleted.
    departed: HashMap<u64, Arc<DeadLettering>>,
}

type Restore = fn(&Broker, &[u8], &[u8], &mut Queues) -> Result<(), DefinitionError>;

fn restore_vhost(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
    _: &mut Queues,
) -> Result<(), DefinitionError> {
    let [name] = definitions::key_parts(key)?;
    let metadata: VhostMetadata = definitions::decode(value)?;
    broker.insert_vhost(definitions::name(name)?, metadata);
    Ok(())
}

fn restore_parameter(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
    _: &mut Queues,
) -> Result<(), DefinitionError> {
    let [vhost, component, name] = definitions::key_parts(key)?;
    match definitions::name(component)? {
        GLOBAL => {
            let name = definitions::name(name)?;
            broker.restore_global_parameter(name, definitions::decode(value)?);
            Ok(())
        }
        VHOST_LIMITS => {
            let vhost = broker.vhost(definitions::name(vhost)?).ok_or(DefinitionError::Orphan)?;
            *vhost.limits.write() = definitions::decode(value)?;
            Ok(())
        }
        other => Err(DefinitionError::Component(other.to_owned())),
    }
}

fn restore_policy(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
    _: &mut Queues,
) -> Result<(), DefinitionError> {
    policy::restore(broker, key, value)
}

fn restore_user(
    broker: &Broker,
    _: &[u8],
    value: &[u8],
    _: &mut Queues,
) -> Result<(), DefinitionError> {
    broker.access().put_user(User::from_bytes(value)?);
    Ok(())
}

fn restore_permission(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
    _: &mut Queues,
) -> Result<(), DefinitionError> {
    let key = PermissionKey::from_bytes(key)?;
    broker.access().put_permission(key, Permission::from_bytes(value)?)?;
    Ok(())
}

fn restore_topic_permission(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
    _: &mut Queues,
) -> Result<(), DefinitionError> {
    let TopicPermissionKey { user, vhost, .. } = TopicPermissionKey::from_bytes(key)?;
    let key = PermissionKey { user, vhost };
    broker.access().put_topic_permission(key, TopicPermission::from_bytes(value)?)?;
    Ok(())
}

fn restore_exchange(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
    queues: &mut Queues,
) -> Result<(), DefinitionError> {
    let [vhost, name] = definitions::key_parts(key)?;
    let (vhost, name) = (definitions::name(vhost)?, definitions::name(name)?);
    let value: ExchangeValue = definitions::decode(value)?;
    let kind: Result<ExchangeKind, _> = value.kind.parse();
    let kind = kind.map_err(|_| DefinitionError::ExchangeType(value.kind.clone()))?;
    let vhost = broker.vhost(vhost).ok_or(DefinitionError::Orphan)?;
    let spec = ExchangeSpec {
        name: name.into(),
        kind,
        durable: true,
        auto_delete: value.auto_delete,
        internal: value.internal,
        arguments: definitions::arguments(&value.arguments)?,
    };
    let keeper = keeper(&spec, vhost.name(), QueueId(value.keeper), &broker.agenda);
    if let Some(keeper) = &keeper {
        broker.reserve_queues(value.keeper);
        queues.present.insert(value.keeper, Arc::clone(keeper));
    }
    let mut directory = vhost.directory.write();
    let policies = directory.policies.of_exchange(&spec.name);
    directory.insert_exchange(spec, keeper, &policies);
    Ok(())
}

fn restore_queue(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
    queues: &mut Queues,
) -> Result<(), DefinitionError> {
    let [vhost, name] = definitions::key_parts(key)?;
    let (vhost, name) = (definitions::name(vhost)?, definitions::name(name)?);
    let value: QueueValue = definitions::decode(value)?;
    let arguments: TableBuf = definitions::arguments(&value.arguments)?;
    let queue_type = arguments::queue_type(arguments.as_table(), name, vhost)?;
    let vhost = broker.vhost(vhost).ok_or(DefinitionError::Orphan)?;
    let mut directory = vhost.directory.write();
    let policies = directory.policies.of_queue(name, queue_type);
    let settings =
        policy::settings(arguments.as_table(), queue_type, &policies, name, vhost.name())?;
    let spec = QueueSpec {
        id: QueueId(value.id),
        name: name.into(),
        vhost: Arc::clone(vhost.name()),
        tracing: vhost.tracing.clone(),
        durable: true,
        auto_delete: value.auto_delete,
        owner: None,
        arguments,
        settings,
        policies,
    };
    let queue = SharedQueue::new(spec, &broker.agenda);
    queue.keep_places(broker.store());
    broker.reserve_queues(value.id);
    queues.present.insert(value.id, Arc::clone(&queue));
    directory.insert_queue(queue);
    Ok(())
}

fn restore_binding(
    broker: &Broker,
    key: &[u8],
    _: &[u8],
    _: &mut Queues,
) -> Result<(), DefinitionError> {
    let binding = definitions::binding_from_key(key)?;
    let vhost = broker.vhost(&binding.vhost).ok_or(DefinitionError::Orphan)?;
    let destination = if binding.to_queue {
        DestinationName::Queue(&binding.destination)
    } else {
        DestinationName::Exchange(&binding.destination)
    };
    let mut directory = vhost.directory.write();
    directory
        .topology
        .bind(&binding.source, destination, &binding.routing_key, &binding.arguments)
        .map_err(|_| DefinitionError::Orphan)?;
    Ok(())
}

fn restore_stream(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
    queues: &mut Queues,
) -> Result<(), DefinitionError> {
    let (id, reader) = definitions::stream_from_key(key)?;
    let StreamValue { offset, lsn } = definitions::decode(value)?;
    broker.reserve_queues(id.0);
    match queues.present.get(&id.0) {
        Some(stream) if reader.is_empty() => {
            stream.restore_beginning(offset, Lsn(lsn.unwrap_or_default()));
        }
        Some(stream) => stream.restore_position(reader, offset),
        // Recorded while its stream was deleted.
        None => {
            define(broker, &[Definition::Delete { table: Table::Streams, key: key.to_vec() }]);
        }
    }
    Ok(())
}

fn restore_departed_queue(
    broker: &Broker,
    key: &[u8],
    value: &[u8],
    queues: &mut Queues,
) -> Result<(), DefinitionError> {
    let source = restore_departed(broker, key, value)?;
    broker.reserve_queues(source.queue.0);
    queues.departed.insert(source.queue.0, source);
    Ok(())
}

/// Puts what is left back into its queues.
fn restore_backlogs(
    broker: &Broker,
    backlogs: Vec<Backlog>,
    queues: &Queues,
) -> Result<(), OpenError> {
    let (mut unknown, mut dropped) = (Vec::new(), 0);
    let stays_on_disk = memory(&backlogs) > broker.agenda.pager.budget() / 2;
    for backlog in backlogs {
        let id = backlog.queue();
        if let Some(queue) = queues.present.get(&id) {
            let goes_on = |dying| broker.restore_deaths(dying);
            queue.restore(&backlog, stays_on_disk, broker.store(), goes_on);
        } else if let Some(source) = queues.departed.get(&id) {
            broker.restore_dying(&backlog, source);
        } else {
            unknown.push(id);
            dropped += backlog.len();
        }
    }
    if !unknown.is_empty() {
        let named: Vec<String> = unknown.iter().take(NAMED).map(u64::to_string).collect();
        let more = if unknown.len() > NAMED { ", ..." } else { "" };
        tracing::warn!(
            "dropped {dropped} messages of {} queues that nothing defines any more, numbers {}{more}",
            unknown.len(),
            named.join(", "),
        );
        broker.store().forget_queues(&unknown);
    }
    Ok(())
}

/// Queues without definitions whose numbers are told.
const NAMED: usize = 20;

/// What the messages of queues would take in memory, about, in bytes.
fn memory(backlogs: &[Backlog]) -> u64 {
    let memory = |backlog: &Backlog| backlog.bytes().saturating_add(backlog.len() * ENTRY_MEMORY);
    backlogs.iter().map(memory).fold(0, u64::saturating_add)
}

/// What recovery has to know of a stored message.
pub(crate) fn outline(payload: &[u8]) -> Outline {
    match Message::outline(payload) {
        Ok(StoredOutline { timestamp, size, priority, expiration, delay }) => Outline {
            bytes: size as u64,
            time: timestamp.0,
            life: expiration.map(|expiration| expiration.0),
            delay: delay.map(|delay| delay.0),
            priority,
            ..Outline::default()
        },
        // Whoever needs the message will find out.
        Err(_) => Outline { bytes: payload.len() as u64, ..Outline::default() },
    }
}
