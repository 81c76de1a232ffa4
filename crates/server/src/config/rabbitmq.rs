//! RabbitMQ's own configuration: `rabbitmq.conf`, the files of `conf.d`, and its environment
//! variables.
//!
//! What a key means here stands in one table, `keys.rs`: most are one of our settings, some have no
//! meaning here and are passed over with a line in the log, and what would make a difference that
//! Leveret can't make is refused. A key that RabbitMQ doesn't know either is an error.

mod environment;
mod file;
mod keys;

use std::collections::BTreeMap;

pub(super) use self::environment::{Environment, VARIABLES, data_dir, files, translate};
pub(super) use self::keys::{KEYS, Meaning};
use super::error::{ConfigError, ConfigWarning};
use super::form::Form;
use super::sources::Origin;
use super::value::Value;

/// What the files say: the last word on each key.
#[derive(Default)]
pub(super) struct Entries(BTreeMap<String, Entry>);

struct Entry {
    value: String,
    origin: Origin,
}

/// A value for one of our settings.
pub(super) struct Translated {
    pub(super) key: &'static str,
    pub(super) form: Form,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// A listener of which the address and the port are given apart.
#[derive(Default)]
struct Apart {
    ip: Option<String>,
    port: Option<String>,
    origin: Option<Origin>,
}

/// What several keys say together.
#[derive(Default)]
struct Gathered {
    listeners: BTreeMap<&'static str, (Vec<Value>, Origin)>,
    lists: BTreeMap<&'static str, (Vec<Value>, Origin)>,
    loopback: Option<(Vec<String>, Origin)>,
    apart: BTreeMap<&'static str, Apart>,
    backends: BTreeMap<&'static str, (BTreeMap<u32, Halves>, Origin)>,
    vhost_limits: BTreeMap<&'static str, (BTreeMap<String, VhostRule>, Origin)>,
}

/// What vhosts of some names may hold.
#[derive(Default)]
struct VhostRule {
    pattern: String,
    /// As the setting has them.
    limits: String,
}

/// Who is asked about logins and who about permissions.
#[derive(Default)]
struct Halves {
    authn: Option<String>,
    authz: Option<String>,
}

impl Entries {
    fn insert(&mut self, key: String, value: String, origin: Origin) {
        self.0.insert(key, Entry { value, origin });
    }

    /// Our settings for RabbitMQ's.
    ///
    /// # Errors
    /// For a key that is unknown, or that asks for something Leveret can't do.
    pub(super) fn translate(
        self,
        warnings: &mut Vec<ConfigWarning>,
    ) -> Result<Vec<Translated>, ConfigError> {
        let mut all = Vec::new();
        let mut gathered = Gathered::default();
        // `loopback_users = none` stands before the names that are listed besides it.
        for (name, Entry { value, origin }) in self.0 {
            let Some(key) = keys::find(&name) else {
                let nearest = keys::nearest(&name);
                return Err(ConfigError::UnknownKey { origin, key: name, nearest });
            };
            let last = name.rsplit('.').next().unwrap_or(&name);
            match key.meaning {
                Meaning::Setting(key, form) => all.push(setting(key, form, value, origin)),
                Meaning::Ignored(why) => {
                    warnings.push(ConfigWarning::Ignored { origin, key: name, why });
                }
                Meaning::Only(allowed, why) => {
                    if !allowed.iter().any(|one| one.eq_ignore_ascii_case(&value)) {
                        return Err(ConfigError::Refused { origin, key: name, value, why });
                    }
                }
                Meaning::Refused(why) => {
                    // Secrets are not for messages and logs.
                    let is_secret = name.ends_with("password");
                    let value = if is_secret { "***".to_owned() } else { value };
                    return Err(ConfigError::Refused { origin, key: name, value, why });
                }
                Meaning::Listener(key) => gathered.listener(key, value, origin),
                Meaning::OneOf(key) => {
                    let all = gathered.lists.entry(key).or_insert_with(|| (Vec::new(), origin));
                    all.0.push(Value::Text(value));
                }
                Meaning::Named(key) => {
                    let all = gathered.lists.entry(key).or_insert_with(|| (Vec::new(), origin));
                    all.0.push(Value::Text(format!("{last}={value}")));
                }
                Meaning::Ip(key) => gathered.apart(key, origin).ip = Some(value),
                Meaning::Port(key) => gathered.apart(key, origin).port = Some(value),
                Meaning::VhostLimit(key) => gathered.vhost_limit(key, &name, value, origin),
                Meaning::LoopbackUser => gathered.loopback_user(last, &value, origin),
                Meaning::Backend(key) => gathered.backend(key, &name, value, origin),
            }
        }
        all.extend(gathered.settings()?);
        Ok(all)
    }
}

fn setting(key: &'static str, form: Form, value: String, origin: Origin) -> Translated {
    Translated { key, form, value: Value::Text(value), origin }
}

impl Gathered {
    fn listener(&mut self, key: &'static str, value: String, origin: Origin) {
        let all = self.listeners.entry(key).or_insert_with(|| (Vec::new(), origin));
        if value != "none" {
            all.0.push(Value::Text(value));
        }
    }

    fn apart(&mut self, key: &'static str, origin: Origin) -> &mut Apart {
        let apart = self.apart.entry(key).or_default();
        apart.origin = Some(origin);
        apart
    }

    /// A place in a chain, by its number; what has none is the only one.
    fn backend(&mut self, key: &'static str, name: &str, value: String, origin: Origin) {
        let number = name.split('.').find_map(|part| part.parse().ok()).unwrap_or_default();
        let (places, _) = self.backends.entry(key).or_insert_with(|| (BTreeMap::new(), origin));
        let halves = places.entry(number).or_default();
        match name.rsplit('.').next() {
            Some("authn") => halves.authn = Some(value),
            Some("authz") => halves.authz = Some(value),
            _ => (halves.authn, halves.authz) = (Some(value.clone()), Some(value)),
        }
    }

    /// A pattern or a limit, by what stands before it.
    fn vhost_limit(&mut self, key: &'static str, name: &str, value: String, origin: Origin) {
        let (whose, part) = name.rsplit_once('.').unwrap_or(("", name));
        let (all, _) = self.vhost_limits.entry(key).or_insert_with(|| (BTreeMap::new(), origin));
        let rule = all.entry(whose.to_owned()).or_default();
        match part {
            "pattern" => rule.pattern = value,
            limit => rule.limits += &format!(" {limit}={value}"),
        }
    }

    /// `guest` is one unless somebody says otherwise.
    fn loopback_user(&mut self, name: &str, value: &str, origin: Origin) {
        let (users, _) = self.loopback.get_or_insert_with(|| (vec!["guest".to_owned()], origin));
        if name == "loopback_users" {
            users.clear();
        } else if value == "false" {
            users.retain(|user| user != name);
        } else if !users.iter().any(|user| user == name) {
            users.push(name.to_owned());
        }
    }

    fn settings(self) -> Result<Vec<Translated>, ConfigError> {
        let mut all = Vec::new();
        for (key, (addresses, origin)) in self.listeners {
            let none = addresses.is_empty();
            let value = if none { Value::Text("none".to_owned()) } else { Value::List(addresses) };
            all.push(Translated { key, form: Form::AsItIs, value, origin });
        }
        for (key, (values, origin)) in self.lists {
            all.push(Translated { key, form: Form::AsItIs, value: Value::List(values), origin });
        }
        for (key, (places, origin)) in self.backends {
            let steps = places.into_values().filter_map(|Halves { authn, authz }| {
                let (one, other) = (authn.as_ref().or(authz.as_ref())?, authz.as_ref());
                let other = other.unwrap_or(one);
                Some(Value::Text(if one == other { one.clone() } else { format!("{one}:{other}") }))
            });
            let value = Value::List(steps.collect()).flatten();
            all.push(Translated { key, form: Form::AsItIs, value, origin });
        }
        for (key, (rules, origin)) in self.vhost_limits {
            let rules = rules.into_values().map(|rule| Value::Text(rule.pattern + &rule.limits));
            let value = Value::List(rules.collect());
            all.push(Translated { key, form: Form::AsItIs, value, origin });
        }
        // As in RabbitMQ, who asks for HTTPS gets HTTP only if they ask for that as well.
        for (tls, plain) in [("management_tls", "management"), ("metrics_tls", "metrics")] {
            if let Some(Apart { origin: Some(origin), .. }) = self.apart.get(tls)
                && !self.apart.contains_key(plain)
            {
                all.push(setting(plain, Form::AsItIs, "none".to_owned(), origin.clone()));
            }
        }
        if let Some((users, origin)) = self.loopback {
            let value = match users.is_empty() {
                true => Value::Text("none".to_owned()),
                false => Value::List(users.into_iter().map(Value::Text).collect()),
            };
            all.push(Translated { key: "auth.loopback_users", form: Form::AsItIs, value, origin });
        }
        for (key, Apart { ip, port, origin }) in self.apart {
            let default = match key {
                "metrics" => "15692",
                "metrics_tls" => "15691",
                "management_tls" => "15671",
                _ => "15672",
            };
            let port = port.unwrap_or_else(|| default.to_owned());
            let value = match ip.as_deref() {
                None | Some("::") => port,
                Some(ip) if ip.contains(':') => format!("[{ip}]:{port}"),
                Some(ip) => format!("{ip}:{port}"),
            };
            let Some(origin) = origin else { continue };
            all.push(setting(key, Form::AsItIs, value, origin));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
