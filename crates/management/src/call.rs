//! A request as a handler sees it.

use std::sync::Arc;

use axum::http::HeaderMap;
use leveret_broker::access::{Principal, User};
use leveret_broker::{Actor, Administration, Broker, Session, Turn, Vhost};
use leveret_engine::Millis;
use serde_json::{Map, Value, json};

use crate::answer::Failure;
use crate::body::Body;
use crate::client::Peer;
use crate::login;
use crate::node::Node;
use crate::sessions::SessionKey;

/// A request that its user may make.
pub(crate) struct Call {
    pub(crate) node: Arc<Node>,
    pub(crate) peer: Peer,
    /// Nobody, for requests that need no login.
    pub(crate) principal: Option<Principal>,
    /// Who changes something by it, for the audit log.
    pub(crate) actor: Arc<Actor>,
    /// The session by which the user has logged in.
    pub(crate) session: Option<SessionKey>,
    /// Parts of the path by their names in the table of endpoints, percent-decoded.
    pub(crate) path: Vec<(String, String)>,
    /// The query's parameters, decoded.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// The time of the request.
    pub(crate) now: Millis,
}

impl Call {
    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.node.broker
    }

    /// What the request may change, in the name of who makes it.
    pub(crate) fn administration(&self) -> Administration<'_> {
        self.broker().administration(&self.actor)
    }

    /// A part of the path, empty if the endpoint has none of that name.
    pub(crate) fn part(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value)
    }

    /// A parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a parameter of the query says `true`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.parameter(name) == Some("true")
    }

    /// Who makes the request.
    ///
    /// # Errors
    /// 401 where nobody has logged in, which endpoints that ask for the user don't let happen.
    pub(crate) fn user(&self) -> Result<&Arc<User>, Failure> {
        Ok(&self.principal()?.user)
    }

    /// The same, with where it stands what they may do.
    ///
    /// # Errors
    /// As [`user`](Self::user).
    pub(crate) fn principal(&self) -> Result<&Principal, Failure> {
        self.principal.as_ref().ok_or(Failure::NoLogin)
    }

    /// The vhost that the path names.
    ///
    /// # Errors
    /// 404 when there is none.
    pub(crate) fn vhost(&self) -> Result<Arc<Vhost>, Failure> {
        self.broker().vhost(self.part("vhost")).ok_or(Failure::NotFound)
    }

    /// The vhost that the path names, or else all the user may see.
    ///
    /// # Errors
    /// As [`vhost`](Self::vhost) and [`user`](Self::user).
    pub(crate) fn vhosts(&self) -> Result<Vec<Arc<Vhost>>, Failure> {
        if !self.part("vhost").is_empty() {
            return Ok(vec![self.vhost()?]);
        }
        let principal = self.principal()?;
        let mut vhosts = self.broker().vhosts();
        vhosts.retain(|vhost| login::sees_vhost(self.broker(), principal, vhost.name()));
        Ok(vhosts)
    }

    /// A session of the user in the vhost that the path names, to do what clients do.
    ///
    /// # Errors
    /// 401 `Access refused.` without a permission there, whatever the user's tags; the control socket
    /// needs none.
    pub(crate) fn session(&self) -> Result<Session, Failure> {
        self.session_in(self.part("vhost"))
    }

    /// As [`session`](Self::session), in another vhost.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn session_in(&self, vhost: &str) -> Result<Session, Failure> {
        let (principal, actor) = (self.principal()?.clone(), Arc::clone(&self.actor));
        let mut session = match self.peer {
            Peer::Operator => Session::of_system(self.broker(), vhost, actor)?,
            Peer::Client(_) => Session::of_operator(self.broker(), principal, vhost, actor)?,
        };
        session.begin(self.now);
        Ok(session)
    }

    /// A turn at the time of the request.
    pub(crate) fn turn(&self) -> Turn {
        let mut turn = Turn::new();
        turn.begin(self.now, self.broker().store());
        turn
    }

    /// Whether messages may be brought in. A connection that publishes would not be read from; here it
    /// is for the client to wait.
    ///
    /// # Errors
    /// 503 while publishers have to wait.
    pub(crate) fn check_room(&self) -> Result<(), Failure> {
        let reason = self.node.holds_publishers();
        reason.map_or(Ok(()), |reason| Err(Failure::Unhealthy(json!({ "reason": reason }))))
    }

    /// The body as a JSON object; nothing at all stands for an empty one.
    ///
    /// # Errors
    /// 400 when it is something else, and as [`Body::make_room_for`].
    pub(crate) fn object(&self) -> Result<Map<String, Value>, Failure> {
        if self.body.trim_ascii().is_empty() {
            return Ok(Map::new());
        }
        self.body.make_room_for(&self.body)?;
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(Value::String(_)) => Err(Failure::bad_request(
                "invalid payload: the request body JSON-decoded to a string. Is the input \
                 doubly-JSON-encoded?",
            )),
            _ => Err(Failure::bad_request("not_json")),
        }
    }

    /// The body's object, which has to have these keys.
    ///
    /// # Errors
    /// 400 when one is missing.
    pub(crate) fn object_with(&self, keys: &[&str]) -> Result<Map<String, Value>, Failure> {
        let object = self.object()?;
        let missing = keys.iter().filter(|key| !object.contains_key(**key));
        let missing: Vec<String> = missing.map(|key| format!("{{key_missing,{key}}}")).collect();
        if missing.is_empty() {
            return Ok(object);
        }
        // As Erlang prints a list: on one line, if that is short.
        let line = format!("[{}]", missing.join(","));
        let is_short = line.len() < LINE_MAX;
        Err(Failure::bad_request(if is_short {
            line
        } else {
            format!("[{}]", missing.join(",\n "))
        }))
    }
}

/// How long a line of Erlang's may be.
/// The channel that requests publish and fetch on: each is the first and only one of its session.
pub(crate) const CHANNEL: u16 = 1;

const LINE_MAX: usize = 79;

/// A text of a body.
///
/// # Errors
/// 400 when it is none.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, Failure> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Failure::bad_request(format!("{key} should be a string"))),
    }
}

/// A flag of a body: a boolean, or one in quotes as old scripts send it.
///
/// # Errors
/// 400 when it is neither.
pub(crate) fn flag(object: &Map<String, Value>, key: &str, absent: bool) -> Result<bool, Failure> {
    Ok(given_flag(object, key)?.unwrap_or(absent))
}

/// The same, where it makes a difference that there is none.
///
/// # Errors
/// As [`flag`].
pub(crate) fn given_flag(object: &Map<String, Value>, key: &str) -> Result<Option<bool>, Failure> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(Value::String(text)) if text == "true" => Ok(Some(true)),
        Some(Value::String(text)) if text == "false" => Ok(Some(false)),
        Some(other) => Err(Failure::BadRequest(json!(["not_boolean", other]))),
    }
}
