//! `/api/permissions`, `/api/topic-permissions`, and those of one user or vhost.

use std::sync::Arc;

use leveret_broker::access::{
    Change, Permission, PermissionKey, TopicPermission, TopicPermissionKey, TopicPermissionRefused,
};
use leveret_broker::{Changed, DefinitionError};
use leveret_store::Lsn;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Failure, Outcome};
use crate::call::{Call, text};
use crate::list::{self, Field};

type Granted = (PermissionKey, Arc<Permission>);
type Topic = (TopicPermissionKey, TopicPermission);

const FIELDS: &[Field<Granted>] = &[
    ("user", |(key, _)| Some(key.user.as_str().into())),
    ("vhost", |(key, _)| Some(key.vhost.as_str().into())),
    ("configure", |(_, permission)| Some(permission.configure.as_str().into())),
    ("write", |(_, permission)| Some(permission.write.as_str().into())),
    ("read", |(_, permission)| Some(permission.read.as_str().into())),
];

const TOPIC_FIELDS: &[Field<Topic>] = &[
    ("user", |(key, _)| Some(key.user.as_str().into())),
    ("vhost", |(key, _)| Some(key.vhost.as_str().into())),
    ("exchange", |(key, _)| Some(key.exchange.as_str().into())),
    ("write", |(_, permission)| Some(permission.write.as_str().into())),
    ("read", |(_, permission)| Some(permission.read.as_str().into())),
];

pub(crate) fn list(call: &Call) -> Outcome {
    list::whole_list(call, &call.broker().access().permissions(), FIELDS)
}

pub(crate) fn of_vhost(call: &Call) -> Outcome {
    let vhost = call.part("name");
    call.broker().vhost(vhost).ok_or(Failure::NotFound)?;
    list::whole_list(call, &granted(call, |key| key.vhost == vhost), FIELDS)
}

pub(crate) fn of_user(call: &Call) -> Outcome {
    let user = call.part("user");
    call.broker().access().user(user).ok_or(Failure::NotFound)?;
    list::whole_list(call, &granted(call, |key| key.user == user), FIELDS)
}

fn granted(call: &Call, is_wanted: impl Fn(&PermissionKey) -> bool) -> Vec<Granted> {
    let mut all = call.broker().access().permissions();
    all.retain(|(key, _)| is_wanted(key));
    all
}

pub(crate) fn show(call: &Call) -> Outcome {
    let key = key(call);
    let found = call.broker().access().permission(&key.user, &key.vhost);
    Ok(list::object(call, &(key, found.ok_or(Failure::NotFound)?), FIELDS))
}

pub(crate) fn put(call: &Call) -> Outcome {
    let body = call.object_with(&["configure", "write", "read"])?;
    check_ends(call)?;
    let changed = call.administration().put_permission(key(call), read_permission(&body)?);
    answer(changed.map_err(not_set)?)
}

pub(crate) fn delete(call: &Call) -> Outcome {
    let deleted = call.administration().delete_permission(&key(call)).map_err(not_set)?;
    Ok(Answer::done().after(deleted.ok_or(Failure::NotFound)?.commit))
}

pub(crate) fn list_topics(call: &Call) -> Outcome {
    list::whole_list(call, &topics(call, |_| true), TOPIC_FIELDS)
}

pub(crate) fn topics_of_vhost(call: &Call) -> Outcome {
    let vhost = call.part("name");
    call.broker().vhost(vhost).ok_or(Failure::NotFound)?;
    list::whole_list(call, &topics(call, |key| key.vhost == vhost), TOPIC_FIELDS)
}

pub(crate) fn topics_of_user(call: &Call) -> Outcome {
    let user = call.part("user");
    call.broker().access().user(user).ok_or(Failure::NotFound)?;
    list::whole_list(call, &topics(call, |key| key.user == user), TOPIC_FIELDS)
}

pub(crate) fn show_topics(call: &Call) -> Outcome {
    let (PermissionKey { user, vhost }, exchange) = (key(call), call.part("exchange"));
    let found = topics(call, |key| {
        let is_exchange = exchange.is_empty() || key.exchange == exchange;
        key.user == user && key.vhost == vhost && is_exchange
    });
    if found.is_empty() {
        return Err(Failure::NotFound);
    }
    list::whole_list(call, &found, TOPIC_FIELDS)
}

fn topics(call: &Call, is_wanted: impl Fn(&TopicPermissionKey) -> bool) -> Vec<Topic> {
    let mut all = call.broker().access().topic_permissions();
    all.retain(|(key, _)| is_wanted(key));
    all
}

pub(crate) fn put_topic(call: &Call) -> Outcome {
    let body = call.object_with(&["exchange", "write", "read"])?;
    check_ends(call)?;
    let (exchange, permission) = read_topic_permission(&body)?;
    let vhost = call.vhost()?;
    if vhost.topology(|topology| topology.exchange(&exchange).is_none()) {
        return Err(Failure::BadRequest(json!(["no_such_exchange", exchange])));
    }
    answer(call.administration().put_topic_permission(key(call), permission).map_err(not_set)?)
}

pub(crate) fn delete_topics(call: &Call) -> Outcome {
    let key = key(call);
    if topics(call, |own| own.user == key.user && own.vhost == key.vhost).is_empty() {
        return Err(Failure::NotFound);
    }
    let exchange = Some(call.part("exchange")).filter(|exchange| !exchange.is_empty());
    let deleted =
        call.administration().delete_topic_permissions(&key, exchange).map_err(not_set)?;
    Ok(Answer::done().after(deleted.and_then(|deleted| deleted.commit)))
}

/// The user who made a vhost may do anything in it, if it is one of the broker's own.
pub(crate) fn grant_everything(call: &Call, vhost: &str) -> Result<Option<Lsn>, Failure> {
    let key = PermissionKey::new(call.user()?.name.as_str(), vhost);
    if call.broker().access().user(&key.user).is_none() {
        return Ok(None);
    }
    let everything = Permission::new(".*", ".*", ".*").map_err(|_| Failure::Internal)?;
    let granted = call.administration().put_permission(key, everything);
    Ok(granted.map_err(|_| Failure::Internal)?.commit)
}

/// The three patterns of a body or a definition.
///
/// # Errors
/// 400 when one is missing or no pattern.
pub(crate) fn read_permission(body: &Map<String, Value>) -> Result<Permission, Failure> {
    let pattern = |key| text(body, key);
    Permission::new(pattern("configure")?, pattern("write")?, pattern("read")?)
        .map_err(|error| Failure::BadRequest(json!(["invalid_regexp", error.to_string()])))
}

/// A topic permission of a body or a definition, and the exchange it is for.
///
/// # Errors
/// 400 when a part is missing or no pattern.
pub(crate) fn read_topic_permission(
    body: &Map<String, Value>,
) -> Result<(String, TopicPermission), Failure> {
    let exchange = text(body, "exchange")?;
    let permission = TopicPermission::new(exchange, text(body, "write")?, text(body, "read")?)
        .map_err(|error| Failure::BadRequest(json!(["invalid_regexp", error.to_string()])))?;
    Ok((exchange.to_owned(), permission))
}

fn key(call: &Call) -> PermissionKey {
    PermissionKey::new(call.part("user"), call.part("vhost"))
}

/// User and vhost have to be there.
fn check_ends(call: &Call) -> Result<(), Failure> {
    let broker = call.broker();
    let ends = (broker.access().user(call.part("user")), broker.vhost(call.part("vhost")));
    match ends {
        (Some(_), Some(_)) => Ok(()),
        _ => Err(Failure::bad_request("vhost_or_user_not_found")),
    }
}

fn answer(changed: Changed) -> Outcome {
    let answer = match changed.change {
        Change::Created => Answer::created(),
        Change::Updated => Answer::done(),
    };
    Ok(answer.after(changed.commit))
}

/// What a refusal of the broker means here.
pub(crate) fn not_set(error: DefinitionError) -> Failure {
    match error {
        DefinitionError::NoSuchUser(_)
        | DefinitionError::TopicPermission(TopicPermissionRefused::NoSuchUser(_)) => {
            Failure::bad_request("vhost_or_user_not_found")
        }
        DefinitionError::TopicPermission(TopicPermissionRefused::Pattern(error)) => {
            Failure::BadRequest(json!(["invalid_regexp", error.to_string()]))
        }
        _ => Failure::Internal,
    }
}
