//! What operators change is told to an audit log: who, from where, what, before and after.
//!
//! A change of users, vhosts, permissions, policies, limits and parameters is made through an
//! [`Administration`](crate::Administration), and one of exchanges, queues and bindings through a
//! session of an operator; neither is to be had without an [`Actor`]. Clients' own declarations are
//! not told of.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret_codec::{Table, Value as Field};
use serde_json::{Map, Value, json};

use crate::access::User;

/// Who changes something, and from where.
#[derive(Debug)]
pub struct Actor {
    user: Option<String>,
    from: Place,
    has_acted: AtomicBool,
}

/// From where somebody changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Over the network.
    Address(IpAddr),
    /// From the broker's own machine, as who runs the broker.
    ControlSocket,
    /// A file of definitions that is loaded at the start.
    File(PathBuf),
    /// The broker itself, or the program it is part of.
    Program,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// What was done, in RabbitMQ's words where it has some: `user.created`.
    pub name: String,
    /// What it was done to: parts and their names.
    pub object: Value,
    /// How it was before; null if it wasn't there.
    pub before: Value,
    /// How it is now; null if it isn't there any more.
    pub after: Value,
}

/// Where actions are recorded.
pub trait AuditLog: fmt::Debug + Send + Sync {
    /// Records an action, in the order in which they are done.
    fn record(&self, actor: &Actor, action: &Action);
}

impl Actor {
    /// A user, at some place.
    pub fn new(user: impl Into<String>, from: Place) -> Self {
        Self { user: Some(user.into()), from, has_acted: AtomicBool::new(false) }
    }

    /// Nobody in particular.
    pub const fn at(from: Place) -> Self {
        Self { user: None, from, has_acted: AtomicBool::new(false) }
    }

    /// The program the broker is part of.
    pub const fn program() -> Self {
        Self::at(Place::Program)
    }

    /// The user's name.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// From where.
    pub fn from(&self) -> &Place {
        &self.from
    }

    /// Whether what it did has been recorded, or made no difference.
    pub fn has_acted(&self) -> bool {
        self.has_acted.load(Ordering::Relaxed)
    }

    /// Has done what was asked for, though it makes no difference.
    pub(crate) fn changes_nothing(&self) {
        self.has_acted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn acts(&self, log: Option<&dyn AuditLog>, action: &Action) {
        self.has_acted.store(true, Ordering::Relaxed);
        if let Some(log) = log {
            log.record(self, action);
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::ControlSocket => f.write_str("control socket"),
            Self::File(path) => path.display().fmt(f),
            Self::Program => f.write_str("broker"),
        }
    }
}

/// A user without the password: only whether there is one.
pub(crate) fn of_user(user: &User) -> Map<String, Value> {
    let password = if user.password_hash.is_some() { "set" } else { "none" };
    Map::from_iter([
        ("tags".to_owned(), json!(user.tags)),
        ("limits".to_owned(), json!(user.limits)),
        ("password".to_owned(), password.into()),
    ])
}

/// Arguments as an object. What JSON has no form for is text.
pub(crate) fn of_arguments(arguments: Table<'_>) -> Value {
    let entries = arguments.iter().map(|(key, value)| {
        let value = match value {
            Field::Bool(value) => value.into(),
            Field::LongStr(text) => String::from_utf8_lossy(text).into(),
            value => match value.to_string().parse::<i64>() {
                Ok(number) => number.into(),
                Err(_) => Value::from(value.to_string()),
            },
        };
        (String::from_utf8_lossy(key).into_owned(), value)
    });
    Value::Object(entries.collect())
}
