//! `[alerts]`: what the broker tells of by itself, and to whom.
//!
//! Unlike all other settings these are lists of tables, so they stand in the TOML file only, but for
//! the one password.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use leveret_broker::access::Secret;
use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ConfigError;
use super::sources::{Origin, read_secret};
use super::units::{parse_bytes, parse_duration, show_duration};

/// Its key in the file.
pub(super) const SECTION: &str = "alerts";
/// The key of the mail server's password.
pub(super) const SMTP_PASSWORD: &str = "alerts.smtp.password";
/// Most rules, and most receivers.
const RULES_MAX: usize = 100;

/// The rules, and who is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// How often the rules are looked at.
    #[serde(deserialize_with = "read_duration", serialize_with = "write_duration")]
    pub interval: Duration,
    /// Certificates (PEM) that HTTPS and mail servers are checked by, in place of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The mail server, if somebody is told by e-mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<Smtp>,
    /// Who is told, by name.
    #[serde(rename = "receiver", skip_serializing_if = "BTreeMap::is_empty")]
    pub receivers: BTreeMap<String, Receiver>,
    /// When somebody is told.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<AlertRule>,
}

/// `[[alerts.rule]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// Its name; no two have the same.
    pub name: String,
    /// What it looks at.
    pub when: AlertKind,
    /// Only queues of this vhost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vhost: Option<String>,
    /// Only queues whose name has a match of this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<String>,
    /// The bound: messages, a time for `age`, a size for `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Amount>,
    /// The bound of `disk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Amount>,
    /// How long it has to be so before somebody is told.
    #[serde(
        rename = "for",
        default,
        deserialize_with = "read_duration",
        serialize_with = "write_duration"
    )]
    pub lasting: Duration,
    /// How long it has to be otherwise before it counts as over.
    #[serde(
        default = "minute",
        deserialize_with = "read_duration",
        serialize_with = "write_duration"
    )]
    pub over_after: Duration,
    /// After how long somebody is told again.
    #[serde(
        default = "four_hours",
        deserialize_with = "read_duration",
        serialize_with = "write_duration"
    )]
    pub repeat: Duration,
    /// Names of receivers; without any the alert is only shown.
    #[serde(default)]
    pub notify: Vec<String>,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A queue for dead letters got some, until it is empty.
    DeadLetters,
    /// A queue holds too many messages.
    Backlog,
    /// A queue's first message waits too long.
    Age,
    /// A queue has messages and no consumer.
    NoConsumers,
    /// The memory alarm, or a bound of its own.
    Memory,
    /// The disk alarm, or a bound of its own.
    Disk,
    /// Messages had no route.
    Unroutable,
}

/// A number, or a text with a unit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Amount {
    /// As it is.
    Number(u64),
    /// As `"5m"` or `"2GB"`.
    Text(String),
}

/// `[alerts.receiver.<name>]`: who is told, in one of three ways.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// A URL, to which JSON is posted. Its path may be the secret that lets one in.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "write_origin")]
    pub webhook: Option<Secret>,
    /// Header fields of that request.
    #[serde(default, skip_serializing)]
    pub headers: BTreeMap<String, Secret>,
    /// The files that further ones are in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header_files: BTreeMap<String, PathBuf>,
    /// Addresses that get an e-mail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub email: Vec<String>,
    /// A program with its arguments, which gets the JSON on its standard input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// `[alerts.smtp]`: the mail server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Its host name.
    pub host: String,
    /// Its port; 587, with `tls` 465, with `none` 25 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: SmtpSecurity,
    /// Who logs in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its password.
    #[serde(default, skip_serializing)]
    pub password: Option<Secret>,
    /// The sender's address.
    pub from: String,
}

/// How a connection to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpSecurity {
    /// By TLS that the client asks for, and without which it says nothing.
    #[default]
    Starttls,
    /// By TLS from the start.
    Tls,
    /// Not at all.
    None,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            ca_file: None,
            smtp: None,
            receivers: BTreeMap::new(),
            rules: Vec::new(),
        }
    }
}

impl AlertKind {
    /// As the file has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead_letters",
            Self::Backlog => "backlog",
            Self::Age => "age",
            Self::NoConsumers => "no_consumers",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Unroutable => "unroutable",
        }
    }

    /// Whether it looks at queues, one by one.
    pub const fn is_of_queues(self) -> bool {
        matches!(self, Self::DeadLetters | Self::Backlog | Self::Age | Self::NoConsumers)
    }
}

impl AlertRule {
    /// The bound in messages, milliseconds or bytes; `None` where there is none.
    pub fn bound(&self) -> Option<u64> {
        let amount = if self.when == AlertKind::Disk { &self.below } else { &self.above };
        match (amount.as_ref()?, self.when) {
            (Amount::Number(seconds), AlertKind::Age) => seconds.checked_mul(1000),
            (Amount::Number(number), _) => Some(*number),
            (Amount::Text(text), AlertKind::Age) => {
                parse_duration(text).and_then(|time| u64::try_from(time.as_millis()).ok())
            }
            (Amount::Text(text), AlertKind::Memory | AlertKind::Disk) => parse_bytes(text),
            (Amount::Text(_), _) => None,
        }
    }

    /// What is wrong with it, if anything is.
    fn fault(&self, receivers: &BTreeMap<String, Receiver>) -> Option<String> {
        let when = self.when.as_str();
        let is_disk = self.when == AlertKind::Disk;
        let (given, other) =
            if is_disk { (&self.below, &self.above) } else { (&self.above, &self.below) };
        let needs_bound = matches!(self.when, AlertKind::Backlog | AlertKind::Age);
        if other.is_some() {
            return Some(match is_disk {
                true => "disk takes 'below', not 'above'".to_owned(),
                false => format!("{when} takes 'above', not 'below'"),
            });
        }
        if needs_bound && given.is_none() {
            return Some(format!("{when} needs a bound, 'above'"));
        }
        if given.is_some() && self.bound().is_none() {
            return Some(format!("its bound is not one for {when}"));
        }
        if !self.when.is_of_queues() && (self.queues.is_some() || self.vhost.is_some()) {
            return Some(format!("{when} looks at no queue: leave 'queues' and 'vhost' out"));
        }
        if self.when == AlertKind::DeadLetters && self.queues.is_none() {
            return Some("dead_letters needs 'queues': the queues that dead letters go to".into());
        }
        if let Some(Err(error)) = self.queues.as_deref().map(Regex::new) {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default();
            return Some(format!("'queues' is not a regular expression: {why}"));
        }
        let stranger = self.notify.iter().find(|name| !receivers.contains_key(*name));
        stranger.map(|name| format!("there is no receiver '{name}'"))
    }
}

impl AlertsConfig {
    /// What is wrong with it, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        if !(Duration::from_millis(100)..=Duration::from_hours(1)).contains(&self.interval) {
            return Some("alerts.interval must be a time from 100ms to 1h".to_owned());
        }
        if self.rules.len() > RULES_MAX || self.receivers.len() > RULES_MAX {
            return Some(format!("there may be {RULES_MAX} rules and as many receivers"));
        }
        for (name, receiver) in &self.receivers {
            let fault = receiver.fault(self.smtp.is_some());
            if let Some(fault) = fault {
                return Some(format!("alerts.receiver.{name}: {fault}"));
            }
        }
        let mut names = BTreeSet::new();
        for rule in &self.rules {
            let name = &rule.name;
            if name.is_empty() || !names.insert(name) {
                return Some("alerts.rule: each has to have a name of its own".to_owned());
            }
            if let Some(fault) = rule.fault(&self.receivers) {
                return Some(format!("alerts.rule '{name}': {fault}"));
            }
        }
        None
    }

    /// Takes in the header fields that are in files.
    ///
    /// # Errors
    /// When one can't be read.
    pub(super) fn read_header_files(&mut self, origin: &Origin) -> Result<(), ConfigError> {
        for receiver in self.receivers.values_mut() {
            for (name, path) in &receiver.header_files {
                receiver.headers.insert(name.clone(), read_secret(path, origin)?.into());
            }
        }
        Ok(())
    }

    /// As a part of a configuration file; nothing where there are no rules and no receivers.
    /// Passwords and header fields, which may be secret, are left out, and webhooks shown without what
    /// follows their host.
    pub(super) fn to_toml(&self) -> String {
        #[derive(Serialize)]
        struct File<'a> {
            alerts: &'a AlertsConfig,
        }
        if *self == Self::default() {
            return String::new();
        }
        // It is made of texts, numbers and tables with texts as keys: TOML has all of that.
        let text = toml::to_string(&File { alerts: self }).unwrap_or_default();
        format!("\n{text}")
    }
}

impl Receiver {
    fn fault(&self, has_smtp: bool) -> Option<String> {
        let ways = [self.webhook.is_some(), !self.email.is_empty(), !self.command.is_empty()];
        if ways.iter().filter(|is_given| **is_given).count() != 1 {
            return Some("needs one of 'webhook', 'email' and 'command'".to_owned());
        }
        if !self.email.is_empty() && !has_smtp {
            return Some("e-mail needs a mail server, [alerts.smtp]".to_owned());
        }
        let is_url = |url: &Secret| url.starts_with("http://") || url.starts_with("https://");
        if self.webhook.as_ref().is_some_and(|url| !is_url(url)) {
            return Some("a webhook is a URL with http:// or https://".to_owned());
        }
        if self.webhook.is_none() && !(self.headers.is_empty() && self.header_files.is_empty()) {
            return Some("only a webhook has 'headers' and 'header_files'".to_owned());
        }
        let is_given =
            |name: &&String| self.headers.keys().any(|own| own.eq_ignore_ascii_case(name));
        let twice = self.header_files.keys().find(is_given);
        twice.map(|name| format!("'{name}' is in 'headers' and in 'header_files'"))
    }
}

fn minute() -> Duration {
    Duration::from_mins(1)
}

fn four_hours() -> Duration {
    Duration::from_hours(4)
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let time = match Amount::deserialize(deserializer)? {
        Amount::Number(seconds) => Some(Duration::from_secs(seconds)),
        Amount::Text(text) => parse_duration(&text),
    };
    time.ok_or_else(|| serde::de::Error::custom("must be a time, such as \"5m\""))
}

fn write_duration<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show_duration(*time))
}

/// Only where a URL leads.
fn write_origin<S: Serializer>(url: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    let url = url.as_deref().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (_, host) = host.rsplit_once('@').unwrap_or(("", host));
    serializer.serialize_str(&format!("{scheme}://{host}/..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AlertsConfig, String> {
        let config: AlertsConfig =
            toml::from_str(text).map_err(|error| error.message().to_owned())?;
        match config.fault() {
            None => Ok(config),
            Some(fault) => Err(fault),
        }
    }

    const ALL: &str = r#"
        interval = "5s"
        [smtp]
        host = "mail.example.com"
        from = "broker@example.com"
        password = "secret"
        [receiver.ops]
        email = ["ops@example.com"]
        [receiver.hook]
        webhook = "https://secret:too@example.com:8443/secret?key=secret"
        headers = { authorization = "Bearer secret" }
        [receiver.run]
        command = ["/bin/notify", "now"]
        [[rule]]
        name = "old"
        when = "age"
        above = "5m"
        for = "30s"
        notify = ["ops", "hook"]
        [[rule]]
        name = "full"
        when = "disk"
        below = "2GiB"
    "#;

    #[test]
    fn rules_and_receivers_are_read_and_shown() {
        let config = read(ALL).unwrap();
        let bounds: Vec<_> = config.rules.iter().map(AlertRule::bound).collect();
        assert_eq!(bounds, [Some(300_000), Some(2 << 30)]);
        assert_eq!(config.rules[0].repeat, Duration::from_hours(4));
        let shown = config.to_toml();
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("webhook = \"https://example.com:8443/...\""), "{shown}");
        assert!(!format!("{config:?}").contains("secret"), "{config:?}");
        let again: toml::Table = toml::from_str(&shown).unwrap();
        let again: AlertsConfig = again["alerts"].clone().try_into().unwrap();
        assert_eq!(again.rules, config.rules);
        assert_eq!(AlertsConfig::default().to_toml(), "");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        let rule = |rest: &str| format!("[[rule]]\nname = \"a\"\n{rest}");
        let cases = [
            (rule("when = \"backlog\""), "alerts.rule 'a': backlog needs a bound, 'above'"),
            (
                rule("when = \"age\"\nabove = \"x\""),
                "alerts.rule 'a': its bound is not one for age",
            ),
            (
                rule("when = \"disk\"\nabove = 1"),
                "alerts.rule 'a': disk takes 'below', not 'above'",
            ),
            (
                rule("when = \"memory\"\nbelow = 1"),
                "alerts.rule 'a': memory takes 'above', not 'below'",
            ),
            (
                rule("when = \"memory\"\nvhost = \"/\""),
                "alerts.rule 'a': memory looks at no queue: leave 'queues' and 'vhost' out",
            ),
            (
                rule("when = \"dead_letters\""),
                "alerts.rule 'a': dead_letters needs 'queues': the queues that dead letters go to",
            ),
            (
                rule("when = \"no_consumers\"\nqueues = \"(\""),
                "alerts.rule 'a': 'queues' is not a regular expression: error: unclosed group",
            ),
            (
                rule("when = \"disk\"\nnotify = [\"b\"]"),
                "alerts.rule 'a': there is no receiver 'b'",
            ),
            (
                rule("when = \"disk\"\n[[rule]]\nname = \"a\"\nwhen = \"disk\""),
                "alerts.rule: each has to have a name of its own",
            ),
            (
                "[receiver.r]\nemail = [\"a@b\"]".to_owned(),
                "alerts.receiver.r: e-mail needs a mail server, [alerts.smtp]",
            ),
            (
                "[receiver.r]\n".to_owned(),
                "alerts.receiver.r: needs one of 'webhook', 'email' and 'command'",
            ),
            (
                "[receiver.r]\nwebhook = \"ftp://a\"".to_owned(),
                "alerts.receiver.r: a webhook is a URL with http:// or https://",
            ),
            (
                "[receiver.r]\ncommand = [\"a\"]\nheader_files = { a = \"b\" }".to_owned(),
                "alerts.receiver.r: only a webhook has 'headers' and 'header_files'",
            ),
            (
                "[receiver.r]\nwebhook = \"http://a\"\nheaders = { A = \"b\" }\n\
                 header_files = { a = \"b\" }"
                    .to_owned(),
                "alerts.receiver.r: 'a' is in 'headers' and in 'header_files'",
            ),
            ("interval = \"1ms\"".to_owned(), "alerts.interval must be a time from 100ms to 1h"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(&text).unwrap_err(), expected, "{text}");
        }
        let unknown = read(&rule("when = \"disk\"\nabvoe = 1")).unwrap_err();
        assert!(unknown.starts_with("unknown field `abvoe`"), "{unknown}");
    }
}
