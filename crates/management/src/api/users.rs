//! `/api/users`, `/api/user-limits` and `/api/auth/hash_password`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leveret_broker::UserLimits;
use leveret_broker::access::{Change, HashingAlgorithm, PasswordHash, User};
use serde_json::{Map, Value, json};

use super::{limit, vhosts};
use crate::answer::{Answer, Failure, Outcome};
use crate::call::Call;
use crate::list::{self, Field};

const FIELDS: &[Field<Arc<User>>] = &[
    ("hashing_algorithm", |user| Some(user.hashing_algorithm().name().into())),
    ("limits", |user| Some(limits_value(user.limits))),
    ("name", |user| Some(user.name.as_str().into())),
    ("password_hash", |user| {
        Some(user.password_hash.as_ref().map(PasswordHash::to_text).unwrap_or_default().into())
    }),
    ("tags", |user| Some(json!(user.tags))),
];

pub(crate) fn list(call: &Call) -> Outcome {
    list::list(call, call.broker().access().users(), FIELDS)
}

pub(crate) fn without_permissions(call: &Call) -> Outcome {
    let access = call.broker().access();
    let permitted = access.permissions().into_iter().map(|(key, _)| key.user);
    let permitted: BTreeSet<String> = permitted.collect();
    let mut users = access.users();
    users.retain(|user| !permitted.contains(&user.name));
    list::list(call, users, FIELDS)
}

pub(crate) fn show(call: &Call) -> Outcome {
    Ok(list::object(call, &named(call)?, FIELDS))
}

pub(crate) fn put(call: &Call) -> Outcome {
    let body = call.object()?;
    let old = call.broker().access().user(call.part("user"));
    let limits = old.map(|old| old.limits).unwrap_or_default();
    let user = read_user(call.part("user"), &body, limits, call.broker().access().hashing())?;
    let changed = call.administration().put_user(user).map_err(|_| Failure::Internal)?;
    let answer = match changed.change {
        Change::Created => Answer::created(),
        Change::Updated => Answer::done(),
    };
    Ok(answer.after(changed.commit))
}

pub(crate) fn delete(call: &Call) -> Outcome {
    let deleted = call.administration().delete_user(call.part("user")).ok_or(Failure::NotFound)?;
    Ok(Answer::done().after(deleted.commit))
}

/// Users that don't exist are fine.
pub(crate) fn bulk_delete(call: &Call) -> Outcome {
    let body = call.object_with(&["users"])?;
    let names = body.get("users").and_then(Value::as_array);
    let names = names.ok_or_else(|| Failure::bad_request("users should be a list"))?;
    let names = names.iter().filter_map(Value::as_str);
    let deleted = names.filter_map(|name| call.administration().delete_user(name));
    let commit = deleted.map(|deleted| deleted.commit).fold(None, Ord::max);
    Ok(Answer::done().after(commit))
}

pub(crate) fn all_limits(call: &Call) -> Outcome {
    let mut users = call.broker().access().users();
    users.retain(|user| user.limits != UserLimits::default());
    Ok(Answer::json(&users.iter().map(|user| limits_json(user)).collect()))
}

pub(crate) fn limits(call: &Call) -> Outcome {
    let user = named(call)?;
    let none = user.limits == UserLimits::default();
    Ok(Answer::json(&if none { json!([]) } else { json!([limits_json(&user)]) }))
}

pub(crate) fn put_limit(call: &Call) -> Outcome {
    let body = call.object_with(&["value"])?;
    let name = call.part("user");
    let missing = || Failure::BadRequest(json!(["no_such_user", name]));
    let user = call.broker().access().user(name).ok_or_else(missing)?;
    let (limit, value) = (call.part("name"), body.get("value").unwrap_or(&Value::Null));
    let mut limits = user.limits;
    let place = limit_mut(&mut limits, limit)
        .ok_or_else(|| Failure::bad_request(limit::unrecognised(limit, value, "user-limits")))?;
    *place = Some(limit::number(limit, value).map_err(Failure::bad_request)?);
    set(call, name, limits)
}

pub(crate) fn delete_limit(call: &Call) -> Outcome {
    let user = named(call)?;
    let mut limits = user.limits;
    if let Some(place) = limit_mut(&mut limits, call.part("name")) {
        *place = None;
    }
    set(call, &user.name, limits)
}

pub(crate) fn hash_password(call: &Call) -> Outcome {
    let hash = PasswordHash::new(call.part("password").as_bytes());
    Ok(Answer::json(&json!({ "ok": hash.map_err(|_| Failure::Internal)?.to_text() })))
}

fn set(call: &Call, user: &str, limits: UserLimits) -> Outcome {
    let set = call.administration().set_user_limits(user, limits);
    Ok(Answer::done().after(set.map_err(|_| Failure::NotFound)?))
}

fn named(call: &Call) -> Result<Arc<User>, Failure> {
    call.broker().access().user(call.part("user")).ok_or(Failure::NotFound)
}

fn limits_json(user: &User) -> Value {
    json!({ "user": user.name, "value": limits_value(user.limits) })
}

/// A user's limits as an object.
pub(crate) fn limits_value(limits: UserLimits) -> Value {
    let UserLimits { max_connections, max_channels } = limits;
    let all = [("max-connections", max_connections), ("max-channels", max_channels)];
    let set = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
    json!(set.collect::<BTreeMap<_, _>>())
}

fn limit_mut<'a>(limits: &'a mut UserLimits, name: &str) -> Option<&'a mut Option<i64>> {
    match name {
        "max-connections" => Some(&mut limits.max_connections),
        "max-channels" => Some(&mut limits.max_channels),
        _ => None,
    }
}

/// A user as a body or a definition says it. Without password and hash nobody logs in as it.
///
/// # Errors
/// 400 without tags, with a password and a hash, or with a hash that is none.
pub(crate) fn read_user(
    name: &str,
    body: &Map<String, Value>,
    limits: UserLimits,
    hashing: HashingAlgorithm,
) -> Result<User, Failure> {
    let tags = body.get("tags").ok_or_else(|| Failure::bad_request("tags_not_present"))?;
    if !matches!(tags, Value::String(_) | Value::Array(_)) {
        return Err(Failure::bad_request("tags should be a list or a string"));
    }
    let given = |key| body.get(key).filter(|value| !value.is_null());
    let password_hash = match (given("password"), given("password_hash")) {
        (Some(_), Some(_)) => {
            return Err(Failure::bad_request("both_password_and_password_hash_are_provided"));
        }
        (Some(password), None) => {
            let password = password.as_str();
            let password =
                password.ok_or_else(|| Failure::bad_request("password should be a string"))?;
            // RabbitMQ takes an empty password for one that nobody has.
            let hash = || PasswordHash::with(hashing, password.as_bytes());
            match password {
                "" => None,
                _ => Some(hash().map_err(|_| Failure::Internal)?),
            }
        }
        (None, Some(hash)) => {
            let invalid = || Failure::BadRequest(json!(["not_base64", hash]));
            let text = hash.as_str().ok_or_else(invalid)?;
            read_hash(text, body.get("hashing_algorithm")).map_err(|()| invalid())?
        }
        (None, None) => None,
    };
    Ok(User {
        name: name.to_owned(),
        password_hash,
        tags: vhosts::tags(Some(tags)),
        limits: read_limits(body.get("limits"), limits)?,
    })
}

/// `None` for the empty hash, which no password has.
fn read_hash(text: &str, algorithm: Option<&Value>) -> Result<Option<PasswordHash>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    let algorithm = match algorithm.and_then(Value::as_str) {
        None => HashingAlgorithm::default(),
        Some(name) => HashingAlgorithm::parse(name).map_err(|_| ())?,
    };
    PasswordHash::parse(algorithm, text).map(Some).map_err(|_| ())
}

fn read_limits(value: Option<&Value>, absent: UserLimits) -> Result<UserLimits, Failure> {
    let Some(given) = value.and_then(Value::as_object) else { return Ok(absent) };
    let mut limits = UserLimits::default();
    for (name, value) in given {
        let place = limit_mut(&mut limits, name)
            .ok_or_else(|| Failure::bad_request(limit::unrecognised(name, value, "user-limits")))?;
        *place = Some(limit::number(name, value).map_err(Failure::bad_request)?);
    }
    Ok(limits)
}
