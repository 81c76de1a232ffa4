//! `/api/policies` and `/api/operator-policies`.

use std::sync::Arc;

use leveret_broker::policy::{NamedPolicy, Policy, PolicyKind, PolicyRefused};
use leveret_broker::{Administration, Vhost};
use leveret_engine::Millis;
use leveret_store::Lsn;
use serde_json::{Map, Value};

use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::list::{self, Field};

/// A policy as it is listed.
type Item = (Arc<Vhost>, Arc<NamedPolicy>);

const FIELDS: &[Field<Item>] = &[
    ("vhost", |(vhost, _)| Some(vhost.name().as_ref().into())),
    ("name", |(_, policy)| Some(policy.name().as_ref().into())),
    ("pattern", |(_, policy)| Some(policy.policy().pattern.as_str().into())),
    ("apply-to", |(_, policy)| Some(policy.policy().apply_to.as_str().into())),
    ("definition", |(_, policy)| Some(Value::Object(policy.policy().definition.clone()))),
    ("priority", |(_, policy)| Some(policy.policy().priority.into())),
];

pub(crate) fn list(call: &Call) -> Outcome {
    list_kind(call, PolicyKind::User)
}

pub(crate) fn list_operator(call: &Call) -> Outcome {
    list_kind(call, PolicyKind::Operator)
}

fn list_kind(call: &Call, kind: PolicyKind) -> Outcome {
    let mut items = Vec::new();
    for vhost in call.vhosts()? {
        let policies = vhost.policies(kind).into_iter();
        items.extend(policies.map(|policy| (Arc::clone(&vhost), policy)));
    }
    list::whole_list(call, &items, FIELDS)
}

pub(crate) fn show(call: &Call) -> Outcome {
    show_kind(call, PolicyKind::User)
}

pub(crate) fn show_operator(call: &Call) -> Outcome {
    show_kind(call, PolicyKind::Operator)
}

fn show_kind(call: &Call, kind: PolicyKind) -> Outcome {
    let vhost = call.vhost()?;
    let policy = vhost.policy(kind, call.part("name")).ok_or(Failure::NotFound)?;
    Ok(list::object(call, &(vhost, policy), FIELDS))
}

pub(crate) fn put(call: &Call) -> Outcome {
    put_kind(call, PolicyKind::User)
}

pub(crate) fn put_operator(call: &Call) -> Outcome {
    put_kind(call, PolicyKind::Operator)
}

fn put_kind(call: &Call, kind: PolicyKind) -> Outcome {
    let body = call.object_with(&["pattern", "definition"])?;
    let (vhost, name) = (call.vhost()?, call.part("name"));
    let existed = vhost.policy(kind, name).is_some();
    let commit = set(call.administration(), call.now, vhost.name(), kind, name, &body)?;
    let answer = if existed { Answer::done() } else { Answer::created() };
    Ok(answer.after(commit))
}

/// Sets a policy as a body or a definition says it. Whatever else is in there means nothing.
///
/// # Errors
/// 400 in RabbitMQ's words when it is not sound, or is one too many, 404 without the vhost.
pub(crate) fn set(
    administration: Administration<'_>,
    now: Millis,
    vhost: &str,
    kind: PolicyKind,
    name: &str,
    body: &Map<String, Value>,
) -> Result<Option<Lsn>, Failure> {
    let parts = ["pattern", "definition", "apply-to", "priority"];
    let known = body.iter().filter(|(key, _)| parts.contains(&key.as_str()));
    let known: Map<String, Value> =
        known.map(|(key, value)| (key.clone(), value.clone())).collect();
    let policy = Policy::from_json(name, &Value::Object(known))
        .map_err(|invalid| refused(&PolicyRefused::Invalid(invalid)))?;
    let set = administration.put_policy(vhost, kind, name, policy, now);
    set.map_err(|error| refused(&error))
}

pub(crate) fn delete(call: &Call) -> Outcome {
    delete_kind(call, PolicyKind::User)
}

pub(crate) fn delete_operator(call: &Call) -> Outcome {
    delete_kind(call, PolicyKind::Operator)
}

fn delete_kind(call: &Call, kind: PolicyKind) -> Outcome {
    let vhost = call.vhost()?;
    let deleted =
        call.administration().delete_policy(vhost.name(), kind, call.part("name"), call.now);
    Ok(Answer::done().after(deleted.map_err(|error| refused(&error))?))
}

fn refused(error: &PolicyRefused) -> Failure {
    match error {
        PolicyRefused::Invalid(invalid) => {
            Failure::bad_request(format!("Validation failed\n\n{invalid}\n"))
        }
        PolicyRefused::TooMany { .. } | PolicyRefused::TooMuchToMatch { .. } => {
            Failure::bad_request(error.to_string())
        }
        PolicyRefused::NoSuchVhost(_) | PolicyRefused::NoSuchPolicy => Failure::NotFound,
    }
}
