//! `queue.declare`, `queue.delete` and `queue.purge`.

use std::sync::Arc;

use leveret_codec::{AmqpError, Table as Arguments, TableBuf, TableBuilder};
use leveret_engine::Millis;
use leveret_store::{Definition, Lsn, Table};
use serde_json::{Value, json};

use super::{Session, clean_name, generated_name};
use crate::access::PermissionKind;
use crate::arguments;
use crate::audit;
use crate::definitions::{self, QueueValue};
use crate::delayed_retry;
use crate::deprecated::DeprecatedFeature;
use crate::direct_reply;
use crate::limits::reached;
use crate::policy::{self, PolicySet};
use crate::queue::{DeleteIf, DeleteRefused, QueueSpec, SharedQueue};
use crate::queue_type::QueueType;
use crate::refusal::{self, Resource};
use crate::vhost::Directory;

const X_QUEUE_TYPE: &str = "x-queue-type";
/// Bytes of a prefix for generated names, so that the whole fits where names are short.
const NAME_PREFIX_MAX: usize = 64;

/// A `queue.declare`.
#[derive(Clone, Copy, Debug)]
pub struct DeclareQueue<'a> {
    /// The name; empty asks for a generated one.
    pub name: &'a str,
    /// Survives a restart.
    pub durable: bool,
    /// Belongs to this session and goes with it.
    pub exclusive: bool,
    /// Goes when its last consumer leaves.
    pub auto_delete: bool,
    /// `x-...`
    pub arguments: Arguments<'a>,
}

/// What `queue.declare-ok` says.
#[derive(Clone, Debug)]
pub struct DeclaredQueue {
    /// The name, generated if it was empty.
    pub name: Arc<str>,
    /// Ready messages.
    pub messages: u64,
    /// Consumers.
    pub consumers: usize,
    /// What the answer waits for.
    pub commit: Option<Lsn>,
}

/// What `queue.delete-ok` says.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeletedQueue {
    /// Ready messages that went with it.
    pub messages: u64,
    /// What the answer waits for.
    pub commit: Option<Lsn>,
}

impl Session {
    /// Declares a queue, or checks that it exists as declared.
    ///
    /// # Errors
    /// As RabbitMQ: reserved name 403, no permission 403, another connection's exclusive queue 405,
    /// differs 406, bad argument 406, as many queues as the vhost may hold 406.
    pub fn declare_queue(&mut self, request: DeclareQueue<'_>) -> Result<DeclaredQueue, AmqpError> {
        let typed = self.with_default_type(&request);
        let arguments = typed.as_ref().map_or(request.arguments, TableBuf::as_table);
        let request = DeclareQueue { arguments, ..request };
        let given = &*clean_name(request.name);
        let queue_type = arguments::queue_type(request.arguments, given, self.vhost.name());
        if let (Ok(queue_type @ (QueueType::Quorum | QueueType::Stream)), "") = (queue_type, given)
        {
            return Err(refusal::server_named(queue_type));
        }
        let name: Arc<str> = if given.is_empty() {
            generated_name(name_prefix(request.arguments, self.vhost.name())?).into()
        } else {
            given.into()
        };
        if direct_reply::is_reserved(given) {
            return self.find_direct_reply(given);
        }
        // RabbitMQ refuses the prefix before it looks whether the queue exists.
        if given.starts_with("amq.") && !self.rights.are_of_system() {
            return Err(refusal::reserved_name("queue", given));
        }
        self.check(PermissionKind::Configure, Resource::Queue(&name))?;
        let vhost = self.vhost.clone();
        let existing = vhost.queue(&name);
        if let Some(existing) = existing {
            return self.redeclare(&existing, &request);
        }
        self.check_dead_letter_exchange(&name, request.arguments)?;
        let settings = arguments::settings(request.arguments, &name, vhost.name())?;
        arguments::check_cache_size(request.arguments, &name, vhost.name())?;
        self.check_queue_limit(&vhost.directory.read(), &name)?;
        self.check_node_queue_limit(&name)?;
        check_properties(&request, settings.queue_type, &name, vhost.name())?;
        if settings.queue_type == QueueType::Stream {
            arguments::check_sizes(request.arguments)?;
        }

        let find = |all: &PolicySet| all.of_queue(&name, settings.queue_type);
        let (mut directory, policies) = vhost.directory_and(find)?;
        self.placed += directory.policies.places();
        if let Some(existing) = directory.queue(&name).cloned() {
            drop(directory);
            return self.redeclare(&existing, &request);
        }
        self.check_queue_limit(&directory, &name)?;
        let settings = if policies.is_empty() {
            settings
        } else {
            let queue_type = settings.queue_type;
            policy::settings(request.arguments, queue_type, &policies, &name, vhost.name())?
        };
        if delayed_retry::has_no_effect(request.arguments, settings.machine.delayed_retry) {
            tracing::warn!(
                "{} of queue '{name}' in vhost '{}' has no effect: it takes all, failed or \
                 returned, and {} in milliseconds",
                delayed_retry::TYPE,
                vhost.name(),
                delayed_retry::MIN
            );
        }
        self.note_deprecated(&request);
        let durable = request.durable && !request.exclusive;
        let spec = QueueSpec {
            id: self.broker.next_queue(),
            name: Arc::clone(&name),
            vhost: Arc::clone(vhost.name()),
            tracing: vhost.tracing.clone(),
            durable,
            auto_delete: request.auto_delete,
            owner: request.exclusive.then_some(self.id),
            arguments: TableBuf::from(request.arguments),
            settings,
            policies,
        };
        let queue = SharedQueue::new(spec, &self.broker.agenda);
        queue.keep_places(self.broker.store());
        let churn = &self.broker.connections().churn;
        churn.queues_declared.add(1);
        churn.queues_created.add(1);
        queue.declared(self.turn.now());
        directory.insert_queue(Arc::clone(&queue));
        let definition = durable.then(|| Definition::Put {
            table: Table::Queues,
            key: definitions::key(&[vhost.name().as_bytes(), name.as_bytes()]),
            value: definitions::encode(&QueueValue {
                id: queue.id.0,
                auto_delete: request.auto_delete,
                arguments: request.arguments.as_bytes().to_vec(),
            }),
        });
        let commit = self.define(definition.as_slice());
        vhost.changed();
        drop(directory);
        self.record("queue.created", |vhost| (object(vhost, &name), Value::Null, about(&queue)));
        if request.exclusive {
            self.owned.insert(queue);
        }
        Ok(DeclaredQueue { name, messages: 0, consumers: 0, commit })
    }

    fn note_deprecated(&self, request: &DeclareQueue<'_>) {
        // An operator's request is no program that has to be changed.
        if self.presence.is_none() {
            return;
        }
        let deprecated = self.broker.deprecated();
        if !request.durable && !request.exclusive {
            deprecated.note(DeprecatedFeature::TransientNonexclusiveQueues);
        }
        if request.arguments.get("x-queue-master-locator").is_some() {
            deprecated.note(DeprecatedFeature::QueueMasterLocator);
        }
    }

    /// The arguments with the type that the vhost has for durable queues of none. Queues that can
    /// only be classic stay that.
    fn with_default_type(&self, request: &DeclareQueue<'_>) -> Option<TableBuf> {
        let queue_type = self.vhost.metadata.read().default_queue_type?;
        let is_open = request.durable && !request.exclusive && !request.auto_delete;
        let says_type = request.arguments.get(X_QUEUE_TYPE).is_some();
        if queue_type == QueueType::Classic || !is_open || says_type || request.name.is_empty() {
            return None;
        }
        let arguments = TableBuilder::from_table(request.arguments);
        Some(arguments.put(X_QUEUE_TYPE, queue_type.as_str()).build())
    }

    /// `queue.declare` with passive: whether it is there, and its numbers.
    ///
    /// # Errors
    /// 403 without any permission, 404 when it is missing, 405 when it is another connection's.
    pub fn find_queue(&mut self, name: &str) -> Result<DeclaredQueue, AmqpError> {
        let name = &*clean_name(name);
        if direct_reply::is_reserved(name) {
            return self.find_direct_reply(name);
        }
        self.check_any(Resource::Queue(name))?;
        let queue = self.accessible_queue(name)?;
        Ok(declared(&queue, self.turn.now()))
    }

    /// Deletes a queue; its consumers are told. A missing one counts as empty.
    ///
    /// # Errors
    /// 403 without permission, 405 when it is another connection's, 406 when a condition isn't met,
    /// 540 for a condition on a quorum queue.
    pub fn delete_queue(&mut self, name: &str, when: DeleteIf) -> Result<DeletedQueue, AmqpError> {
        let name = &*clean_name(name);
        self.check(PermissionKind::Configure, Resource::Queue(name))?;
        let vhost = self.vhost.clone();
        // Found and deleted in one: another may be deleting and declaring it anew.
        let mut directory = vhost.directory.write();
        let Some(queue) = directory.queue(name).cloned() else {
            return Ok(DeletedQueue::default());
        };
        self.check_owner(&queue)?;
        let when = match queue.queue_type {
            QueueType::Classic => when,
            QueueType::Quorum => {
                for (is_set, flag) in [(when.unused, "if-unused"), (when.empty, "if-empty")] {
                    if is_set {
                        return Err(refusal::conditional_delete(flag, name, vhost.name()));
                    }
                }
                when
            }
            // RabbitMQ deletes a stream whatever the conditions are, and counts nothing.
            QueueType::Stream => DeleteIf::default(),
        };
        let messages = queue.delete(when, &mut self.turn).map_err(|refused| match refused {
            DeleteRefused::InUse => refusal::in_use(Resource::Queue(name), vhost.name()),
            DeleteRefused::NotEmpty => refusal::not_empty(name, vhost.name()),
        })?;
        let commit = self.broker.forget_queue(&vhost, &mut directory, &queue, &mut self.turn);
        drop(directory);
        self.owned.remove(queue.id);
        self.record("queue.deleted", |vhost| {
            let mut before = about(&queue);
            if let Value::Object(before) = &mut before {
                before.insert("messages".to_owned(), messages.into());
            }
            (object(vhost, name), before, Value::Null)
        });
        Ok(DeletedQueue { messages, commit })
    }

    /// Removes all ready messages and says how many there were.
    ///
    /// # Errors
    /// 403 without read permission, 404 when it is missing, 405 when it is another connection's, 540
    /// when it is a stream.
    pub fn purge_queue(&mut self, name: &str) -> Result<u64, AmqpError> {
        self.check(PermissionKind::Read, Resource::Queue(name))?;
        let queue = self.accessible_queue(name)?;
        if queue.is_stream() {
            let vhost = self.vhost.name();
            return Err(refusal::not_for_streams("queue.purge", &queue.name, vhost));
        }
        let purged = queue.purge(&mut self.turn);
        self.record("queue.purged", |vhost| {
            (object(vhost, name), json!({ "messages": purged }), json!({ "messages": 0 }))
        });
        Ok(purged)
    }

    fn check_queue_limit(&self, directory: &Directory, name: &str) -> Result<(), AmqpError> {
        match reached(self.vhost.limits().max_queues, directory.queue_count()) {
            None => Ok(()),
            Some(limit) => Err(refusal::queue_limit(name, self.vhost.name(), limit)),
        }
    }

    fn check_node_queue_limit(&self, name: &str) -> Result<(), AmqpError> {
        if self.broker.limits.queues.is_none() {
            return Ok(());
        }
        let counts =
            self.broker.vhosts().into_iter().map(|vhost| vhost.directory.read().queue_count());
        match reached(self.broker.limits.queues, counts.sum()) {
            None => Ok(()),
            Some(limit) => Err(refusal::node_queue_limit(name, limit)),
        }
    }

    /// Whether a requester still waits for direct replies: servers ask before they work for it.
    fn find_direct_reply(&self, name: &str) -> Result<DeclaredQueue, AmqpError> {
        if !self.broker.direct_replies.exists(name) {
            return Err(refusal::not_found(Resource::Queue(name), self.vhost.name()));
        }
        Ok(DeclaredQueue { name: name.into(), messages: 0, consumers: 1, commit: None })
    }

    fn redeclare(
        &self,
        queue: &SharedQueue,
        request: &DeclareQueue<'_>,
    ) -> Result<DeclaredQueue, AmqpError> {
        let vhost = self.vhost.name();
        self.check_owner(queue)?;
        if request.exclusive != queue.owner.is_some() {
            return Err(refusal::locked(&queue.name, vhost));
        }
        let flags = [
            // RabbitMQ stores an exclusive queue as transient, and takes either on redeclaration.
            ("durable", request.durable && !request.exclusive, queue.durable),
            ("auto_delete", request.auto_delete, queue.auto_delete),
        ];
        for (argument, new, old) in flags {
            if new != old {
                let resource = Resource::Queue(&queue.name);
                let (new, old) = (format!("'{new}'"), format!("'{old}'"));
                return Err(refusal::inequivalent(argument, resource, vhost, &new, &old));
            }
        }
        let (current, queue_type) = (&queue.arguments, queue.queue_type);
        self.broker.connections().churn.queues_declared.add(1);
        arguments::check_equivalent(request.arguments, current, queue_type, &queue.name, vhost)?;
        Ok(declared(queue, self.turn.now()))
    }

    fn check_dead_letter_exchange(
        &mut self,
        queue: &str,
        arguments: Arguments<'_>,
    ) -> Result<(), AmqpError> {
        let argument = "x-dead-letter-exchange";
        let Some(value) = arguments.get(argument) else {
            return Ok(());
        };
        let Some(exchange) = value.as_str() else {
            let (type_name, vhost) = (value.type_name(), self.vhost.name());
            let resource = Resource::Queue(queue);
            return Err(refusal::invalid_argument_type(type_name, argument, resource, vhost));
        };
        self.check(PermissionKind::Read, Resource::Queue(queue))?;
        self.check(PermissionKind::Write, Resource::Exchange(exchange))
    }
}

/// What stands in front of a generated name: `x-name-prefix`, of RabbitMQ 4.4.
fn name_prefix<'a>(arguments: Arguments<'a>, vhost: &str) -> Result<&'a str, AmqpError> {
    let argument = "x-name-prefix";
    let Some(value) = arguments.get(argument) else { return Ok("amq.gen") };
    let Some(prefix) = value.as_str() else {
        return Err(refusal::invalid_argument(argument, "", vhost, arguments::unacceptable(value)));
    };
    if prefix.len() > NAME_PREFIX_MAX {
        return Err(refusal::name_prefix(prefix));
    }
    if prefix.starts_with("amq.") {
        return Err(refusal::reserved_name("queue", prefix));
    }
    Ok(prefix)
}

/// A quorum queue or a stream is durable and outlives its consumers and its connection.
fn check_properties(
    request: &DeclareQueue<'_>,
    queue_type: QueueType,
    queue: &str,
    vhost: &str,
) -> Result<(), AmqpError> {
    let property = match queue_type {
        QueueType::Classic => return Ok(()),
        QueueType::Quorum | QueueType::Stream if request.auto_delete => "auto-delete",
        QueueType::Quorum | QueueType::Stream if request.exclusive => "exclusive-owner",
        QueueType::Quorum | QueueType::Stream if !request.durable => "non-durable",
        QueueType::Quorum | QueueType::Stream => return Ok(()),
    };
    Err(refusal::invalid_property(property, queue, vhost))
}

/// For the audit log.
fn object(vhost: &str, queue: &str) -> Value {
    json!({ "vhost": vhost, "queue": queue })
}

fn about(queue: &SharedQueue) -> Value {
    json!({
        "type": queue.queue_type.as_str(),
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "exclusive": queue.owner.is_some(),
        "arguments": audit::of_arguments(queue.arguments.as_table()),
    })
}

fn declared(queue: &SharedQueue, now: Millis) -> DeclaredQueue {
    let counts = queue.declared(now);
    DeclaredQueue {
        name: Arc::clone(&queue.name),
        messages: counts.ready,
        consumers: counts.consumers,
        commit: None,
    }
}
