//! Setting up what definitions say.

use std::sync::Arc;

use leveret_broker::access::PermissionKey;
use leveret_broker::policy::PolicyKind;
use leveret_broker::{Actor, Administration, Broker, Session, UserLimits, Vhost, VhostLimits};
use leveret_codec::{ReplyCode, TableLimits};
use leveret_engine::{DestinationName, Millis};
use leveret_store::Lsn;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::answer::Failure;
use crate::api::{exchanges, limit, parameters, permissions, policies, queues, users, vhosts};
use crate::call::text;

/// Sets up what the definitions of a node say, in RabbitMQ's order. What comes before an entry that
/// is refused stays.
///
/// # Errors
/// 400 and the reason for the first entry that can't be set up, 503 when it is told to stop.
pub(crate) fn import(
    broker: &Arc<Broker>,
    actor: &Arc<Actor>,
    definitions: &Map<String, Value>,
    tables: TableLimits,
    now: Millis,
    stop: &CancellationToken,
) -> Result<Option<Lsn>, Failure> {
    let (scope, commit, refused) = (None, None, None);
    let mut importer = Importer { broker, actor, tables, now, stop, scope, commit, refused };
    importer.run(definitions)?;
    Ok(importer.commit)
}

/// Sets up what can be of the definitions of a node, and says what can't: for each entry its
/// `section`, `vhost`, `name` and the `reason`.
///
/// # Errors
/// 400 when a section is no list of objects, 503 when it is told to stop.
pub(crate) fn import_what_can_be(
    broker: &Arc<Broker>,
    actor: &Arc<Actor>,
    definitions: &Map<String, Value>,
    tables: TableLimits,
    now: Millis,
    stop: &CancellationToken,
) -> Result<(Vec<Value>, Option<Lsn>), Failure> {
    let (scope, commit, refused) = (None, None, Some(Vec::new()));
    let mut importer = Importer { broker, actor, tables, now, stop, scope, commit, refused };
    importer.run(definitions)?;
    Ok((importer.refused.unwrap_or_default(), importer.commit))
}

/// Sets up what the definitions of a vhost say, in a vhost that is there.
///
/// # Errors
/// As [`import`].
pub(crate) fn import_into(
    broker: &Arc<Broker>,
    actor: &Arc<Actor>,
    vhost: &str,
    definitions: &Map<String, Value>,
    tables: TableLimits,
    now: Millis,
    stop: &CancellationToken,
) -> Result<Option<Lsn>, Failure> {
    let (scope, commit, refused) = (Some(vhost), None, None);
    let mut importer = Importer { broker, actor, tables, now, stop, scope, commit, refused };
    importer.run(definitions)?;
    Ok(importer.commit)
}

struct Importer<'a> {
    broker: &'a Arc<Broker>,
    actor: &'a Arc<Actor>,
    /// What arguments may be like.
    tables: TableLimits,
    now: Millis,
    /// Ends it between two entries, and what a binding is given.
    stop: &'a CancellationToken,
    /// The vhost everything goes to, if the definitions are of one.
    scope: Option<&'a str>,
    commit: Option<Lsn>,
    /// What was refused, if that does not end the import.
    refused: Option<Vec<Value>>,
}

type Entry = Map<String, Value>;

impl Importer<'_> {
    fn run(&mut self, definitions: &Entry) -> Result<(), Failure> {
        type Step<'a> = fn(&mut Importer<'a>, &Entry) -> Result<(), Failure>;
        let of_node: [(&str, Step<'_>); 5] = [
            ("users", Self::user),
            ("vhosts", Self::vhost),
            ("permissions", Self::permission),
            ("topic_permissions", Self::topic_permission),
            ("global_parameters", Self::global_parameter),
        ];
        let of_vhosts: [(&str, Step<'_>); 5] = [
            ("parameters", Self::parameter),
            ("policies", Self::policy),
            ("exchanges", Self::exchange),
            ("queues", Self::queue),
            ("bindings", Self::binding),
        ];
        if self.scope.is_none() {
            for (section, step) in of_node {
                self.section(definitions, section, step)?;
            }
        }
        for (section, step) in of_vhosts {
            self.section(definitions, section, step)?;
        }
        Ok(())
    }

    fn section(
        &mut self,
        definitions: &Entry,
        name: &str,
        step: fn(&mut Self, &Entry) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let entries = match definitions.get(name) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(Failure::bad_request(format!("{name} should be a list"))),
        };
        for entry in entries {
            self.check_stop()?;
            let Value::Object(entry) = entry else {
                return Err(Failure::bad_request(format!("{name} should be a list of objects")));
            };
            match (step(self, entry), &mut self.refused) {
                (Ok(()), _) => {}
                (Err(failure), None) => return Err(failure),
                (Err(failure), Some(refused)) => refused.push(refusal(name, entry, &failure)),
            }
        }
        Ok(())
    }

    /// Whether it may go on.
    ///
    /// # Errors
    /// 503 once the broker stops.
    fn check_stop(&self) -> Result<(), Failure> {
        if self.stop.is_cancelled() { Err(Failure::stopping()) } else { Ok(()) }
    }

    fn administration(&self) -> Administration<'_> {
        self.broker.administration(self.actor)
    }

    fn committed(&mut self, commit: Option<Lsn>) {
        self.commit = self.commit.max(commit);
    }

    fn user(&mut self, entry: &Entry) -> Result<(), Failure> {
        let (name, none) = (text(entry, "name")?, UserLimits::default());
        let user = users::read_user(name, entry, none, self.broker.access().hashing())?;
        let changed = self.administration().put_user(user).map_err(|_| Failure::Internal)?;
        self.committed(changed.commit);
        Ok(())
    }

    fn vhost(&mut self, entry: &Entry) -> Result<(), Failure> {
        let name = text(entry, "name")?;
        let mut said = entry.clone();
        if let Some(Value::Object(metadata)) = entry.get("metadata") {
            said.extend(metadata.clone());
        }
        // Tracing is a state, not something to set up.
        said.remove("tracing");
        let changed =
            vhosts::put_vhost(self.administration(), name, vhosts::read_metadata(&said)?)?;
        self.committed(changed.commit);
        match entry.get("limits") {
            Some(Value::Object(limits)) if !limits.is_empty() => self.limits(name, limits),
            _ => Ok(()),
        }
    }

    fn limits(&mut self, vhost: &str, given: &Entry) -> Result<(), Failure> {
        let set = set_limits(self.administration(), vhost, given)?;
        self.committed(set);
        Ok(())
    }

    fn permission(&mut self, entry: &Entry) -> Result<(), Failure> {
        let key = self.permission_key(entry)?;
        let permission = permissions::read_permission(entry)?;
        let changed = self.administration().put_permission(key, permission);
        self.committed(changed.map_err(permissions::not_set)?.commit);
        Ok(())
    }

    fn topic_permission(&mut self, entry: &Entry) -> Result<(), Failure> {
        let key = self.permission_key(entry)?;
        let (_, permission) = permissions::read_topic_permission(entry)?;
        let changed = self.administration().put_topic_permission(key, permission);
        self.committed(changed.map_err(permissions::not_set)?.commit);
        Ok(())
    }

    fn permission_key(&self, entry: &Entry) -> Result<PermissionKey, Failure> {
        let (user, vhost) = (text(entry, "user")?, self.vhost_of(entry)?);
        if self.broker.access().user(user).is_none() {
            return Err(Failure::bad_request(format!("{{no_such_user,<<\"{user}\">>}}")));
        }
        Ok(PermissionKey::new(user, vhost.name().as_ref()))
    }

    fn global_parameter(&mut self, entry: &Entry) -> Result<(), Failure> {
        let value = entry.get("value").cloned().unwrap_or_default();
        let changed =
            parameters::put_global_parameter(self.administration(), text(entry, "name")?, value)?;
        self.committed(changed.commit);
        Ok(())
    }

    fn parameter(&mut self, entry: &Entry) -> Result<(), Failure> {
        let vhost = self.vhost_of(entry)?;
        let commit = set_parameter(
            self.administration(),
            self.now,
            &vhost,
            text(entry, "component")?,
            text(entry, "name")?,
            entry.get("value").unwrap_or(&Value::Null),
        )?;
        self.committed(commit);
        Ok(())
    }

    fn policy(&mut self, entry: &Entry) -> Result<(), Failure> {
        let (vhost, name) = (self.vhost_of(entry)?, text(entry, "name")?);
        let set = policies::set(
            self.administration(),
            self.now,
            vhost.name(),
            PolicyKind::User,
            name,
            entry,
        );
        // RabbitMQ says which one it was.
        let named = |failure| match failure {
            Failure::BadRequest(Value::String(reason)) => Failure::bad_request(format!(
                "{reason} (vhost: \"{}\" key: \"{name}\")",
                vhost.name()
            )),
            other => other,
        };
        self.committed(set.map_err(named)?);
        Ok(())
    }

    fn exchange(&mut self, entry: &Entry) -> Result<(), Failure> {
        let (vhost, name) = (self.vhost_of(entry)?, text(entry, "name")?);
        if name.is_empty() || vhost.topology(|topology| topology.exchange(name).is_some()) {
            return Ok(());
        }
        let declared = exchanges::declare(&mut self.session(&vhost)?, name, entry, &self.tables);
        self.committed(declared.map_err(named_after_amqp)?);
        Ok(())
    }

    fn queue(&mut self, entry: &Entry) -> Result<(), Failure> {
        let (vhost, name) = (self.vhost_of(entry)?, text(entry, "name")?);
        if vhost.queue(name).is_some() {
            return Ok(());
        }
        let entry = with_type(entry);
        let declared = queues::declare(&mut self.session(&vhost)?, name, &entry, &self.tables);
        self.committed(declared.map_err(named_after_amqp)?);
        Ok(())
    }

    fn binding(&mut self, entry: &Entry) -> Result<(), Failure> {
        let vhost = self.vhost_of(entry)?;
        let (source, destination) = (text(entry, "source")?, text(entry, "destination")?);
        if source.is_empty() {
            return Ok(());
        }
        let (destination, kind) = match text(entry, "destination_type")? {
            "exchange" => (DestinationName::Exchange(destination), "exchange"),
            _ => (DestinationName::Queue(destination), "queue"),
        };
        let key = entry.get("routing_key").and_then(Value::as_str).unwrap_or_default();
        let arguments = exchanges::arguments(entry, &self.tables)?;
        let mut session = self.session(&vhost)?;
        let bound = session.bind(source, destination, key, arguments.as_table());
        let commit = bound.map_err(|error| {
            if error.code() != ReplyCode::NOT_FOUND {
                return named_after_amqp(Failure::of_broker(&error));
            }
            let has_source = vhost.topology(|topology| topology.exchange(source).is_some());
            let missing = if has_source {
                let (DestinationName::Queue(name) | DestinationName::Exchange(name)) = destination;
                (kind, name)
            } else {
                ("exchange", source)
            };
            Failure::bad_request(format!(
                "{{resources_missing,[{{not_found,{{resource,<<\"{}\">>,{},<<\"{}\">>}}}}]}}",
                vhost.name(),
                missing.0,
                missing.1
            ))
        })?;
        session.repeat_all_history(|| !self.stop.is_cancelled());
        let is_cut_short = session.has_history();
        session.finish();
        self.committed(commit);
        if is_cut_short { self.check_stop() } else { Ok(()) }
    }

    fn vhost_of(&self, entry: &Entry) -> Result<Arc<Vhost>, Failure> {
        let name = match self.scope {
            Some(vhost) => vhost,
            None => text(entry, "vhost")?,
        };
        self.broker.vhost(name).ok_or_else(|| missing_vhost(name))
    }

    fn session(&self, vhost: &Vhost) -> Result<Session, Failure> {
        let mut session = Session::of_system(self.broker, vhost.name(), Arc::clone(self.actor))?;
        session.begin(self.now);
        Ok(session)
    }
}

/// An entry that was refused, and why.
fn refusal(section: &str, entry: &Entry, failure: &Failure) -> Value {
    let said = |key: &str| entry.get(key).and_then(Value::as_str);
    let name = match section {
        "bindings" => {
            let end = |key| said(key).unwrap_or_default();
            format!("{} -> {}", end("source"), end("destination"))
        }
        "permissions" | "topic_permissions" => said("user").unwrap_or_default().to_owned(),
        "parameters" => {
            let part = |key| said(key).unwrap_or_default();
            format!("{} {}", part("component"), part("name"))
        }
        _ => said("name").unwrap_or_default().to_owned(),
    };
    json!({
        "section": section,
        "vhost": said("vhost"),
        "name": name,
        "reason": failure.to_string().trim(),
    })
}

/// Sets a runtime parameter: limits of a vhost, or an operator policy.
///
/// # Errors
/// 400 for a component there is none of, or a value that isn't its.
pub(crate) fn set_parameter(
    administration: Administration<'_>,
    now: Millis,
    vhost: &Vhost,
    component: &str,
    name: &str,
    value: &Value,
) -> Result<Option<Lsn>, Failure> {
    let nothing = Map::new();
    let value = match value {
        Value::Object(value) => value,
        _ => &nothing,
    };
    match component {
        "vhost-limits" => set_limits(administration, vhost.name(), value),
        "operator_policy" => {
            policies::set(administration, now, vhost.name(), PolicyKind::Operator, name, value)
        }
        other => {
            Err(Failure::bad_request(format!("Validation failed\n\ncomponent {other} not found\n")))
        }
    }
}

fn set_limits(
    administration: Administration<'_>,
    vhost: &str,
    given: &Entry,
) -> Result<Option<Lsn>, Failure> {
    let mut limits = VhostLimits::default();
    for (name, value) in given {
        let invalid = |reason| Failure::bad_request(format!("Validation failed\n\n{reason}\n"));
        let place = vhosts::limit_mut(&mut limits, name)
            .ok_or_else(|| invalid(limit::unrecognised(name, value, "limits")))?;
        *place = Some(limit::number(name, value).map_err(invalid)?);
    }
    administration.set_vhost_limits(vhost, limits).map_err(|_| missing_vhost(vhost))
}

/// Definitions of 3.13 and later say a queue's type beside its arguments.
fn with_type(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    let queue_type = entry.get("type").cloned().filter(|name| *name != "classic");
    if let Some(queue_type) = queue_type {
        let arguments = entry.entry("arguments").or_insert_with(|| json!({}));
        if let Value::Array(_) | Value::Null = arguments {
            *arguments = json!({});
        }
        if let Value::Object(arguments) = arguments {
            arguments.entry("x-queue-type").or_insert(queue_type);
        }
    }
    entry
}

/// RabbitMQ puts the name of the error in front here.
fn named_after_amqp(failure: Failure) -> Failure {
    match failure {
        Failure::BadRequest(Value::String(reason)) => {
            Failure::bad_request(format!("precondition_failed: {reason}"))
        }
        other => other,
    }
}

fn missing_vhost(name: &str) -> Failure {
    let reason = format!("Please create virtual host \"{name}\" prior to importing definitions.");
    Failure::bad_request(reason)
}

#[cfg(test)]
mod tests;
