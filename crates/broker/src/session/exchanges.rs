//! `exchange.declare` and `exchange.delete`.

use std::sync::Arc;

use leveret_codec::{AmqpError, Table as Arguments, TableBuf};
use leveret_engine::{ExchangeKind, ExchangeSpec, InvalidExchange, Removed};
use leveret_store::{Definition, Lsn, Table};
use serde_json::{Value, json};

use super::{Session, clean_name};
use crate::access::PermissionKind;
use crate::arguments::described;
use crate::audit;
use crate::definitions::{self, ExchangeValue};
use crate::keeper::keeper;
use crate::limits::reached;
use crate::refusal::{self, Resource};
use crate::vhost::Vhost;

/// An `exchange.declare`.
#[derive(Clone, Copy, Debug)]
pub struct DeclareExchange<'a> {
    /// The name; `amq.*` only if it exists.
    pub name: &'a str,
    /// The type, e.g. `topic`.
    pub kind: &'a str,
    /// Survives a restart.
    pub durable: bool,
    /// Goes when its last binding goes.
    pub auto_delete: bool,
    /// Takes messages from other exchanges only.
    pub internal: bool,
    /// E.g. `alternate-exchange`.
    pub arguments: Arguments<'a>,
}

impl Session {
    /// Declares an exchange, or checks that it exists as declared. The answer waits for the LSN.
    ///
    /// # Errors
    /// As RabbitMQ: unknown type 406, default exchange 403, no permission 403, differs 406,
    /// reserved name 403, bad alternate exchange or other argument 406.
    pub fn declare_exchange(
        &mut self,
        request: DeclareExchange<'_>,
    ) -> Result<Option<Lsn>, AmqpError> {
        let name = &*clean_name(request.name);
        let kind: ExchangeKind = request.kind.parse().map_err(|_| no_such_kind(request.kind))?;
        if name.is_empty() {
            return Err(refusal::default_exchange());
        }
        self.check(PermissionKind::Configure, Resource::Exchange(name))?;
        let vhost = self.vhost.clone();
        if let Some(existing) = vhost.directory.read().topology.exchange(name) {
            check_equivalent(existing.spec(), &request, kind, vhost.name())?;
            return Ok(None);
        }
        if name.starts_with("amq.") && !self.rights.are_of_system() {
            return Err(refusal::reserved_name("exchange", name));
        }
        self.check_alternate(name, request.arguments)?;
        let spec = ExchangeSpec {
            name: name.into(),
            kind,
            durable: request.durable,
            auto_delete: request.auto_delete,
            internal: request.internal,
            arguments: TableBuf::from(request.arguments),
        };
        spec.check().map_err(|invalid| match invalid {
            InvalidExchange::UnknownDelayedKind(kind) => no_such_kind(&kind),
            other => AmqpError::precondition_failed(other.to_string()),
        })?;
        self.check_node_exchange_limit(name)?;

        let (mut directory, policies) = vhost.directory_and(|all| all.of_exchange(name))?;
        self.placed += directory.policies.places();
        if let Some(existing) = directory.topology.exchange(name) {
            check_equivalent(existing.spec(), &request, kind, vhost.name())?;
            return Ok(None);
        }
        let keeper = spec.keeper().and_then(|_| {
            keeper(&spec, vhost.name(), self.broker.next_queue(), &self.broker.agenda)
        });
        let keeper_id = keeper.as_ref().map_or(0, |keeper| keeper.id.0);
        let after = self.actor.is_some().then(|| about(&spec));
        directory.insert_exchange(spec, keeper, &policies);
        let commit = request.durable.then(|| Definition::Put {
            table: Table::Exchanges,
            key: definitions::key(&[vhost.name().as_bytes(), name.as_bytes()]),
            value: definitions::encode(&ExchangeValue {
                kind: kind.name().to_owned(),
                auto_delete: request.auto_delete,
                internal: request.internal,
                arguments: request.arguments.as_bytes().to_vec(),
                keeper: keeper_id,
            }),
        });
        let commit = self.define(commit.as_slice());
        vhost.changed();
        drop(directory);
        self.record("exchange.created", |vhost| {
            (object(vhost, name), Value::Null, after.unwrap_or_default())
        });
        Ok(commit)
    }

    /// `exchange.declare` with passive: whether it is there.
    ///
    /// # Errors
    /// 403 for the default exchange or without any permission, 404 when it is missing.
    pub fn find_exchange(&mut self, name: &str) -> Result<(), AmqpError> {
        let name = &*clean_name(name);
        if name.is_empty() {
            return Err(refusal::default_exchange());
        }
        self.check_any(Resource::Exchange(name))?;
        if self.vhost.directory.read().topology.exchange(name).is_none() {
            return Err(refusal::not_found(Resource::Exchange(name), self.vhost.name()));
        }
        Ok(())
    }

    /// Deletes an exchange with its bindings. A missing one is fine.
    ///
    /// # Errors
    /// 403 for the default and `amq.*` exchanges or without permission, 406 with `if_unused` while
    /// it has bindings.
    pub fn delete_exchange(
        &mut self,
        name: &str,
        if_unused: bool,
    ) -> Result<Option<Lsn>, AmqpError> {
        let name = &*clean_name(name);
        let vhost = self.vhost.clone();
        if name.is_empty() {
            return Err(refusal::default_exchange());
        }
        if name.starts_with("amq.") {
            return Err(refusal::system_exchange(name, vhost.name()));
        }
        self.check(PermissionKind::Configure, Resource::Exchange(name))?;
        let mut directory = vhost.directory.write();
        let Some(exchange) = directory.topology.exchange(name) else { return Ok(None) };
        let before = self.actor.is_some().then(|| about(exchange.spec()));
        if if_unused && directory.topology.has_bindings_from(name) {
            return Err(refusal::in_use(Resource::Exchange(name), vhost.name()));
        }
        let mut removed: Vec<Removed> = Vec::new();
        directory.topology.remove_exchange(name, &mut removed);
        let keepers = directory.remove_keepers(&removed);
        let commit = self.broker.forget(&keepers, &definitions::deletions(vhost.name(), &removed));
        vhost.changed();
        drop(directory);
        self.record("exchange.deleted", |vhost| {
            (object(vhost, name), before.unwrap_or_default(), Value::Null)
        });
        Ok(commit)
    }

    fn check_node_exchange_limit(&self, name: &str) -> Result<(), AmqpError> {
        if self.broker.limits.exchanges.is_none() {
            return Ok(());
        }
        // The default exchange counts in RabbitMQ, and is in no topology here.
        let count = |vhost: Arc<Vhost>| 1 + vhost.topology(|topology| topology.exchanges().count());
        let counts = self.broker.vhosts().into_iter().map(count);
        match reached(self.broker.limits.exchanges, counts.sum::<usize>() as u64) {
            None => Ok(()),
            Some(limit) => Err(refusal::node_exchange_limit(name, self.vhost.name(), limit)),
        }
    }

    fn check_alternate(
        &mut self,
        exchange: &str,
        arguments: Arguments<'_>,
    ) -> Result<(), AmqpError> {
        let Some(value) = arguments.get("alternate-exchange") else {
            return Ok(());
        };
        let Some(alternate) = value.as_str() else {
            let (type_name, vhost) = (value.type_name(), self.vhost.name());
            let resource = Resource::Exchange(exchange);
            return Err(refusal::invalid_argument_type(
                type_name,
                "alternate-exchange",
                resource,
                vhost,
            ));
        };
        self.check(PermissionKind::Read, Resource::Exchange(exchange))?;
        self.check(PermissionKind::Write, Resource::Exchange(alternate))
    }
}

/// For the audit log.
fn object(vhost: &str, exchange: &str) -> Value {
    json!({ "vhost": vhost, "exchange": exchange })
}

fn about(exchange: &ExchangeSpec) -> Value {
    json!({
        "type": exchange.kind.name(),
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": audit::of_arguments(exchange.arguments.as_table()),
    })
}

/// RabbitMQ has two words for it: a type is invalid if Erlang knows the word in some other sense,
/// as it knows most plain words, and unknown otherwise.
fn no_such_kind(kind: &str) -> AmqpError {
    if !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_lowercase()) {
        refusal::invalid_exchange_type(kind)
    } else {
        refusal::unknown_exchange_type(kind)
    }
}

fn check_equivalent(
    existing: &ExchangeSpec,
    request: &DeclareExchange<'_>,
    kind: ExchangeKind,
    vhost: &str,
) -> Result<(), AmqpError> {
    let differs = |argument, received: &str, current: &str| {
        let resource = Resource::Exchange(&existing.name);
        Err(refusal::inequivalent(argument, resource, vhost, received, current))
    };
    if kind != existing.kind {
        let (new, old) = (format!("'{}'", kind.name()), format!("'{}'", existing.kind.name()));
        return differs("type", &new, &old);
    }
    let flags = [
        ("durable", request.durable, existing.durable),
        ("auto_delete", request.auto_delete, existing.auto_delete),
        ("internal", request.internal, existing.internal),
    ];
    for (argument, new, old) in flags {
        if new != old {
            return differs(argument, &format!("'{new}'"), &format!("'{old}'"));
        }
    }
    let name = "alternate-exchange";
    let current = existing.arguments.as_table();
    match (request.arguments.get(name), current.get(name)) {
        (Some(new), Some(old)) if !new.loosely_equals(&old) => {
            differs(name, &format!("'{new}'"), &format!("'{old}'"))
        }
        (new @ Some(_), old @ None) | (new @ None, old @ Some(_)) => {
            differs(name, &described(new), &described(old))
        }
        _ => Ok(()),
    }
}
