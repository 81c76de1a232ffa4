//! `/api/parameters` and `/api/global-parameters`.
//!
//! Of RabbitMQ's components there are those that are not a plugin's: limits of vhosts and operator
//! policies.

use std::sync::Arc;

use leveret_broker::access::Change;
use leveret_broker::policy::PolicyKind;
use leveret_broker::{Administration, Changed, Vhost, VhostLimits};
use serde_json::{Value, json};

use super::vhosts;
use crate::alerts::SILENCES;
use crate::answer::{Answer, Failure, Outcome};
use crate::call::{Call, text};
use crate::definitions::set_parameter;
use crate::list::{self, Field};
use crate::login::{self, Access};

/// A parameter as it is listed.
struct Item {
    vhost: Arc<Vhost>,
    component: &'static str,
    name: String,
    value: Value,
}

const FIELDS: &[Field<Item>] = &[
    ("value", |item| Some(item.value.clone())),
    ("vhost", |item| Some(item.vhost.name().as_ref().into())),
    ("component", |item| Some(item.component.into())),
    ("name", |item| Some(item.name.as_str().into())),
];

const LIMITS: &str = "vhost-limits";

pub(crate) fn list(call: &Call) -> Outcome {
    list::whole_list(call, &all(call)?, FIELDS)
}

fn all(call: &Call) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    for vhost in call.vhosts()? {
        let limits = vhost.limits();
        if limits != VhostLimits::default() {
            items.push(Item {
                vhost: Arc::clone(&vhost),
                component: LIMITS,
                name: "limits".to_owned(),
                value: vhosts::limits_value(limits),
            });
        }
        let policies = vhost.policies(PolicyKind::Operator).into_iter();
        items.extend(policies.map(|policy| Item {
            vhost: Arc::clone(&vhost),
            component: PolicyKind::Operator.component(),
            name: policy.name().to_string(),
            value: policy.policy().to_json(),
        }));
    }
    let component = call.part("component");
    items.retain(|item| component.is_empty() || item.component == component);
    Ok(items)
}

pub(crate) fn show(call: &Call) -> Outcome {
    Ok(list::object(call, &named(call)?, FIELDS))
}

fn named(call: &Call) -> Result<Item, Failure> {
    let found = all(call)?.into_iter().find(|item| item.name == call.part("name"));
    found.ok_or(Failure::NotFound)
}

pub(crate) fn put(call: &Call) -> Outcome {
    check_component(call)?;
    let body = call.object_with(&["value"])?;
    let existed = named(call).is_ok();
    let (component, name) = (call.part("component"), call.part("name"));
    let value = body.get("value").unwrap_or(&Value::Null);
    let (vhost, administration) = (call.vhost()?, call.administration());
    let commit = set_parameter(administration, call.now, &vhost, component, name, value)?;
    let answer = if existed { Answer::done() } else { Answer::created() };
    Ok(answer.after(commit))
}

pub(crate) fn delete(call: &Call) -> Outcome {
    check_component(call)?;
    let Item { vhost, component, name, .. } = named(call)?;
    let administration = call.administration();
    let commit = if component == LIMITS {
        let cleared = administration.set_vhost_limits(vhost.name(), VhostLimits::default());
        cleared.map_err(|_| Failure::NotFound)?
    } else {
        let cleared =
            administration.delete_policy(vhost.name(), PolicyKind::Operator, &name, call.now);
        cleared.map_err(|_| Failure::NotFound)?
    };
    Ok(Answer::done().after(commit))
}

/// Whether the user may change parameters of the component: what binds those who make policies is not
/// theirs to change, by this way as little as by its own.
///
/// # Errors
/// 401 if not.
fn check_component(call: &Call) -> Result<(), Failure> {
    if [LIMITS, PolicyKind::Operator.component()].contains(&call.part("component")) {
        login::check_tags(Access::Administrator, call.user()?)?;
    }
    Ok(())
}

pub(crate) fn list_global(call: &Call) -> Outcome {
    let all = call.broker().global_parameters().into_iter();
    let all = all.map(|(name, value)| json!({ "name": name, "value": value }));
    Ok(Answer::json(&all.collect()))
}

pub(crate) fn show_global(call: &Call) -> Outcome {
    let name = call.part("name");
    let value = call.broker().global_parameter(name).ok_or(Failure::NotFound)?;
    Ok(Answer::json(&json!({ "name": name, "value": value })))
}

pub(crate) fn put_global(call: &Call) -> Outcome {
    check_global(call)?;
    let body = call.object_with(&["value"])?;
    let value = body.get("value").cloned().unwrap_or_default();
    let changed = put_global_parameter(call.administration(), call.part("name"), value)?;
    let answer = match changed.change {
        Change::Created => Answer::created(),
        Change::Updated => Answer::done(),
    };
    Ok(answer.after(changed.commit))
}

/// Sets a global parameter.
///
/// # Errors
/// 400 when it is one too many, or too long.
pub(crate) fn put_global_parameter(
    administration: Administration<'_>,
    name: &str,
    value: Value,
) -> Result<Changed, Failure> {
    let changed = administration.put_global_parameter(name, value);
    changed.map_err(|refused| Failure::bad_request(refused.to_string()))
}

pub(crate) fn delete_global(call: &Call) -> Outcome {
    check_global(call)?;
    let deleted = call.administration().delete_global_parameter(call.part("name"));
    Ok(Answer::done().after(deleted.ok_or(Failure::NotFound)?))
}

/// Whether the user may change the parameter: silences, which are in one, are the administrators'.
///
/// # Errors
/// 401 if not.
fn check_global(call: &Call) -> Result<(), Failure> {
    if call.part("name") == SILENCES {
        login::check_tags(Access::Administrator, call.user()?)?;
    }
    Ok(())
}

pub(crate) fn put_cluster_name(call: &Call) -> Outcome {
    let body = call.object_with(&["name"])?;
    let changed = call.administration().set_cluster_name(text(&body, "name")?);
    Ok(Answer::done().after(changed.commit))
}
