//! `queue.bind`, `queue.unbind`, `exchange.bind` and `exchange.unbind`.

use leveret_codec::{AmqpError, Table as Arguments, TableBuf};
use leveret_engine::{Bound, DestinationName, ExchangeKind, Topology};
use leveret_store::{Definition, Lsn, Table};
use serde_json::{Value, json};

use super::{Session, clean_name};
use crate::access::{PermissionKind, TopicPermissionKind};
use crate::audit;
use crate::definitions;
use crate::direct_reply;
use crate::limits::reached;
use crate::queue_type::QueueType;
use crate::refusal::{self, Resource};
use crate::vhost::Directory;

impl Session {
    /// Binds a queue or an exchange to a source exchange. The answer waits for the LSN, and for the
    /// [history](Self::repeat_history) that the exchange repeats.
    ///
    /// # Errors
    /// 403 for the default exchange or without permission, 404 when an end is missing, 405 for
    /// another connection's queue, 406 for bad binding arguments.
    pub fn bind(
        &mut self,
        source: &str,
        destination: DestinationName<'_>,
        routing_key: &str,
        arguments: Arguments<'_>,
    ) -> Result<Option<Lsn>, AmqpError> {
        let source = &*clean_name(source);
        let destination_name = clean_name(destination.as_str());
        let destination = destination.renamed(&destination_name);
        self.check_binding(source, destination, routing_key)?;
        self.check_node_binding_limit(destination)?;
        let vhost = self.vhost.clone();
        let mut directory = vhost.directory_mut()?;
        let (durable_source, kind) = match directory.topology.exchange(source) {
            Some(exchange) => (exchange.spec().durable, exchange.spec().kind),
            None => return Err(refusal::not_found(Resource::Exchange(source), vhost.name())),
        };
        let durable = self.destination_is_durable(&directory, destination)? && durable_source;
        // RabbitMQ looks at the key first.
        if kind == ExchangeKind::LocalRandom
            && routing_key.is_empty()
            && let DestinationName::Queue(name) = destination
            && let Some(queue) = directory.queue(name)
            && queue.queue_type != QueueType::Classic
        {
            return Err(refusal::not_for_local_random(queue.queue_type));
        }
        let arguments = TableBuf::from(arguments);
        let bound = directory.topology.bind(source, destination, routing_key, &arguments);
        if bound.map_err(|error| AmqpError::precondition_failed(error.to_string()))?
            == Bound::Existed
        {
            return Ok(None);
        }
        let definition = durable.then(|| Definition::Put {
            table: Table::Bindings,
            key: definitions::binding_key(
                vhost.name(),
                source,
                destination,
                routing_key,
                &arguments,
            ),
            value: Vec::new(),
        });
        let commit = self.define(definition.as_slice());
        vhost.changed();
        self.recall_history(&directory, source, destination);
        drop(directory);
        self.record("binding.created", |vhost| {
            (object(vhost, source, destination), Value::Null, about(routing_key, &arguments))
        });
        Ok(commit)
    }

    /// Removes a binding. A missing exchange, queue or binding is fine.
    ///
    /// # Errors
    /// 403 for the default exchange or without permission, 405 for another connection's queue.
    pub fn unbind(
        &mut self,
        source: &str,
        destination: DestinationName<'_>,
        routing_key: &str,
        arguments: Arguments<'_>,
    ) -> Result<Option<Lsn>, AmqpError> {
        let source = &*clean_name(source);
        let destination_name = clean_name(destination.as_str());
        let destination = destination.renamed(&destination_name);
        self.check_binding(source, destination, routing_key)?;
        let vhost = self.vhost.clone();
        let mut directory = vhost.directory.write();
        if let DestinationName::Queue(name) = destination
            && let Some(queue) = directory.queue(name)
        {
            self.check_owner(queue)?;
        }
        let mut removed = Vec::new();
        let arguments = TableBuf::from(arguments);
        directory.topology.unbind(source, destination, routing_key, &arguments, &mut removed);
        if removed.is_empty() {
            return Ok(None);
        }
        let keepers = directory.remove_keepers(&removed);
        let commit = self.broker.forget(&keepers, &definitions::deletions(vhost.name(), &removed));
        vhost.changed();
        drop(directory);
        self.record("binding.deleted", |vhost| {
            (object(vhost, source, destination), about(routing_key, &arguments), Value::Null)
        });
        Ok(commit)
    }

    fn check_binding(
        &mut self,
        source: &str,
        destination: DestinationName<'_>,
        routing_key: &str,
    ) -> Result<(), AmqpError> {
        if let DestinationName::Queue(name) = destination
            && direct_reply::is_token(name)
        {
            return Err(refusal::volatile_queue());
        }
        self.check(PermissionKind::Write, resource(destination))?;
        if source.is_empty() || matches!(destination, DestinationName::Exchange("")) {
            return Err(refusal::default_exchange());
        }
        self.check(PermissionKind::Read, Resource::Exchange(source))?;
        let directory = self.vhost.directory.read();
        let kind = directory.topology.exchange(source).map(|exchange| exchange.spec().kind);
        drop(directory);
        if kind == Some(ExchangeKind::Topic) {
            self.check_topic(TopicPermissionKind::Read, source, routing_key)?;
        }
        Ok(())
    }

    /// A binding that exists may be made again, but not at the limit: it would have to be looked for
    /// first.
    fn check_node_binding_limit(&self, destination: DestinationName<'_>) -> Result<(), AmqpError> {
        let limits = self.broker.limits;
        if limits.bindings.is_none() {
            return Ok(());
        }
        let vhosts = self.broker.vhosts().into_iter();
        let counts = vhosts.map(|vhost| vhost.topology(Topology::binding_count) as u64);
        match reached(limits.bindings, counts.sum()) {
            None => Ok(()),
            Some(limit) => {
                let destination = resource(destination);
                Err(refusal::node_binding_limit(destination, self.vhost.name(), limit))
            }
        }
    }

    fn destination_is_durable(
        &self,
        directory: &Directory,
        destination: DestinationName<'_>,
    ) -> Result<bool, AmqpError> {
        let missing = |resource| refusal::not_found(resource, self.vhost.name());
        match destination {
            DestinationName::Queue(name) => {
                let queue = directory.queue(name);
                let queue = queue.ok_or_else(|| missing(Resource::Queue(name)))?;
                self.check_owner(queue)?;
                Ok(queue.durable)
            }
            DestinationName::Exchange(name) => {
                let exchange = directory.topology.exchange(name);
                let exchange = exchange.ok_or_else(|| missing(Resource::Exchange(name)))?;
                Ok(exchange.spec().durable)
            }
        }
    }
}

fn resource(destination: DestinationName<'_>) -> Resource<'_> {
    match destination {
        DestinationName::Queue(name) => Resource::Queue(name),
        DestinationName::Exchange(name) => Resource::Exchange(name),
    }
}

/// For the audit log.
fn object(vhost: &str, source: &str, destination: DestinationName<'_>) -> Value {
    let kind = match destination {
        DestinationName::Queue(_) => "queue",
        DestinationName::Exchange(_) => "exchange",
    };
    json!({
        "vhost": vhost,
        "source": source,
        "destination": destination.as_str(),
        "destination_type": kind,
    })
}

fn about(routing_key: &str, arguments: &TableBuf) -> Value {
    json!({
        "routing_key": routing_key,
        "arguments": audit::of_arguments(arguments.as_table()),
    })
}
