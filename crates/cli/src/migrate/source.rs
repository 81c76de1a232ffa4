//! The broker to migrate from: what its management API says, and where it speaks AMQP.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::options::MigrateArgs;
use crate::at::At;
use crate::failure::{DATA, Failure, UNAVAILABLE, USAGE};
use crate::http::{Http, NoReply, Place, Reply};

/// How long it may take to make a list of all its queues.
const PATIENCE: Duration = Duration::from_secs(120);
const PASSWORD_VARIABLE: &str = "LEVERET_MIGRATE_PASSWORD";

/// A queue there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) vhost: String,
    pub(super) name: String,
    /// `classic`, `quorum` or `stream`, or what else there may be.
    pub(super) kind: String,
    /// It goes with its last consumer, so it must not have one.
    pub(super) auto_delete: bool,
    /// Only its own connection may use it.
    pub(super) exclusive: bool,
    /// Whether the definitions have it.
    pub(super) is_defined: bool,
    /// A plugin there has made it for itself.
    pub(super) is_internal: bool,
    /// Whether an argument or a policy says how often a message may come back.
    pub(super) has_delivery_limit: bool,
    pub(super) consumers: u64,
    /// Bytes of a message's body, as far as is known.
    pub(super) message_bytes: Option<u64>,
}

/// Where AMQP is spoken.
#[derive(Clone, Debug)]
pub(super) struct AmqpPlace {
    pub(super) host: String,
    pub(super) port: u16,
    /// Whom to trust, if it is within TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// The broker there.
pub(super) struct Source {
    http: Http,
    prefix: String,
    shown: String,
    overview: Value,
    amqp: AmqpPlace,
    pub(super) user: String,
    pub(super) password: String,
}

impl Source {
    /// Finds out where everything is.
    ///
    /// # Errors
    /// When the command line makes no sense, nobody answers, or the login is refused.
    pub(super) fn of(arguments: &MigrateArgs) -> Result<Self, Failure> {
        let url = Url::parse(&arguments.from, &[("http", 15672), ("https", 15671)])?;
        let user = url.user.clone().unwrap_or_else(|| "guest".to_owned());
        let password = password(arguments, &url)?;
        let trust = || client_config(arguments.ca_file.as_deref());
        let is_https = url.scheme == "https";
        let tls = if is_https { Some(trust()?) } else { None };
        let place = Place::Host {
            host: url.host.clone(),
            port: url.port,
            user: user.clone(),
            password: password.as_str().into(),
            tls,
        };
        let shown = format!("{}://{}:{}", url.scheme, url.host, url.port);
        let unreachable = |error| Failure::error(UNAVAILABLE, format!("{shown}: {error}"));
        let http = Http::new(place, PATIENCE).map_err(unreachable)?;
        let overview = ask(&http, &shown, &format!("{}/api/overview", url.path))?;
        let amqp = match &arguments.amqp {
            Some(amqp) => Url::parse(amqp, &[("amqp", 5672), ("amqps", 5671)])?,
            None => Url {
                host: url.host.clone(),
                ..amqp_listener(&overview, is_https).ok_or_else(|| {
                    let kind = if is_https { "AMQP within TLS" } else { "AMQP" };
                    let why = format!("{shown} names no listener for {kind}: --amqp says where");
                    Failure::error(DATA, why)
                })?
            },
        };
        let tls = if amqp.scheme == "amqps" { Some(trust()?) } else { None };
        let amqp = AmqpPlace { host: amqp.host, port: amqp.port, tls };
        Ok(Self { http, prefix: url.path, shown, overview, amqp, user, password })
    }

    /// Without the login.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Such as `RabbitMQ 4.3.6`.
    pub(super) fn product(&self) -> String {
        let text = |key, absent| self.overview.at(key).as_str().unwrap_or(absent).to_owned();
        let version = text("product_version", "");
        let version = if version.is_empty() { text("rabbitmq_version", "") } else { version };
        format!("{} {version}", text("product_name", "RabbitMQ"))
    }

    pub(super) fn amqp(&self) -> &AmqpPlace {
        &self.amqp
    }

    /// What an operator has set up there.
    ///
    /// # Errors
    /// As all requests: nobody answers, or the user may not.
    pub(super) fn definitions(&self) -> Result<Value, Failure> {
        self.get("/api/definitions")
    }

    /// Its queues, in the order of their names, also those that are no definition.
    pub(super) fn queues(&self, definitions: &Value) -> Result<Vec<Queue>, Failure> {
        Ok(Queue::all(&self.get("/api/queues")?, definitions))
    }

    /// What else there is to know of it: `{"overview": {...}, "nodes": [...], "vhosts": [...], "exchanges": [...]}`.
    pub(super) fn about(&self) -> Result<Value, Failure> {
        Ok(json!({
            "overview": self.overview,
            "nodes": self.get("/api/nodes")?,
            "vhosts": self.get("/api/vhosts")?,
            "exchanges": self.get("/api/exchanges")?,
        }))
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        ask(&self.http, &self.shown, &format!("{}{path}", self.prefix))
    }
}

impl Queue {
    /// Those of a list, in the order of their names.
    pub(super) fn all(listed: &Value, definitions: &Value) -> Vec<Self> {
        let defined = definitions.at("queues").as_array().map(Vec::as_slice).unwrap_or_default();
        let mut defined: Vec<(&str, &str)> = defined.iter().map(named).collect();
        defined.sort_unstable();
        let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut queues: Vec<Self> = listed
            .iter()
            .map(|queue| Self::read(queue, defined.binary_search(&named(queue)).is_ok()))
            .collect();
        queues.sort_by(|a, b| (&a.vhost, &a.name).cmp(&(&b.vhost, &b.name)));
        queues
    }

    fn read(queue: &Value, is_defined: bool) -> Self {
        let (vhost, name) = named(queue);
        let number = |key| queue.at(key).as_u64().unwrap_or_default();
        let flag = |key| queue.at(key).as_bool().unwrap_or_default();
        let (messages, bytes) = (number("messages"), number("message_bytes"));
        let arguments = queue.at("arguments");
        Self {
            vhost: vhost.to_owned(),
            name: name.to_owned(),
            kind: queue.at("type").as_str().unwrap_or("classic").to_owned(),
            auto_delete: flag("auto_delete"),
            exclusive: flag("exclusive"),
            is_defined,
            is_internal: !arguments.at("x-internal-purpose").is_null(),
            has_delivery_limit: !arguments.at("x-delivery-limit").is_null()
                || !queue.at("effective_policy_definition").at("delivery-limit").is_null(),
            consumers: number("consumers"),
            message_bytes: bytes.checked_div(messages),
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        self.kind == "stream"
    }
}

fn named(queue: &Value) -> (&str, &str) {
    let text = |key| queue.at(key).as_str().unwrap_or_default();
    (text("vhost"), text("name"))
}

fn ask(http: &Http, shown: &str, path: &str) -> Result<Value, Failure> {
    let failed = |why: String| Failure::error(UNAVAILABLE, format!("{shown}: {why}"));
    let reply: Reply = http.send("GET", path, &[], &[]).map_err(|none| match none {
        NoReply::Unreachable(error) => failed(error.to_string()),
        NoReply::TimedOut(after) => failed(format!("no answer within {} s", after.as_secs())),
        NoReply::Broken(why) => failed(why),
    })?;
    match reply.status.as_u16() {
        200..=299 => Ok(reply.json()),
        401 => Err(failed(format!("the login is refused, or may not see {path}"))),
        status => Err(failed(format!("{path} answers {status}: {}", reply.reason()))),
    }
}

/// The first that speaks AMQP 0-9-1, within TLS or without; of its address only the port.
fn amqp_listener(overview: &Value, within_tls: bool) -> Option<Url> {
    let (protocol, scheme) = if within_tls { ("amqp/ssl", "amqps") } else { ("amqp", "amqp") };
    let listeners = overview.at("listeners").as_array()?;
    let found = listeners.iter().find(|listener| listener.at("protocol") == protocol)?;
    let port = u16::try_from(found.at("port").as_u64()?).ok()?;
    Some(Url { scheme: scheme.to_owned(), port, ..Url::default() })
}

/// The password, wherever it was given.
fn password(arguments: &MigrateArgs, url: &Url) -> Result<String, Failure> {
    if let Some(file) = &arguments.password_file {
        let read = fs::read_to_string(file);
        let read =
            read.map_err(|error| Failure::error(DATA, format!("{}: {error}", file.display())))?;
        return Ok(read.trim_end_matches(['\r', '\n']).to_owned());
    }
    if let Some(password) = std::env::var(PASSWORD_VARIABLE).ok().filter(|text| !text.is_empty()) {
        return Ok(password);
    }
    match (&url.password, &url.user) {
        (Some(password), _) => Ok(password.clone()),
        (None, None) => Ok("guest".to_owned()),
        (None, Some(user)) => Err(Failure::error(
            USAGE,
            format!("no password for '{user}': give --password-file or {PASSWORD_VARIABLE}"),
        )),
    }
}

/// `scheme://user:password@host:port/path`
#[derive(Clone, Default, PartialEq, Eq)]
struct Url {
    scheme: String,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: u16,
    /// Without a slash at its end.
    path: String,
}

impl Url {
    /// `schemes` are those that will do, with their ports.
    fn parse(text: &str, schemes: &[(&str, u16)]) -> Result<Self, Failure> {
        let names: Vec<&str> = schemes.iter().map(|(name, _)| *name).collect();
        // The text is not shown: there may be a password in it.
        let wrong = |what: &str| {
            let form = format!("{}://user@host:port", names.join("|"));
            Failure::error(USAGE, format!("{what}: expected {form}"))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("that is no URL"))?;
        let known = schemes.iter().find(|(name, _)| *name == scheme);
        let (_, default_port) = known.ok_or_else(|| wrong("that is another protocol's URL"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let decoded = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(|text| text.into_owned()).map_err(|_| wrong("that is no UTF-8"))
        };
        let (user, password) = match login.map(|login| login.split_once(':').ok_or(login)) {
            None => (None, None),
            Some(Ok((user, password))) => (Some(decoded(user)?), Some(decoded(password)?)),
            Some(Err(user)) => (Some(decoded(user)?), None),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| wrong("that is no port"))?)
            }
            _ => (place, *default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("there is no host"));
        }
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { scheme: scheme.to_owned(), user, password, host, port, path })
    }
}

/// For a client that checks its server by these certificates, or else by the system's.
fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    let certificates = match ca_file {
        None => rustls_native_certs::load_native_certs().certs,
        Some(file) => {
            let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
            all.map_err(|error| Failure::error(DATA, format!("{}: {error}", file.display())))?
        }
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(Failure::error(DATA, "there are no certificates to check a server by"));
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Failure::error(DATA, error))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: [(&str, u16); 2] = [("http", 15672), ("https", 15671)];

    #[test]
    fn a_url_says_who_and_where() {
        let url = Url::parse("http://an%40na:s%3Acret@old:1/mq/", &HTTP).unwrap();
        let expected = Url {
            scheme: "http".to_owned(),
            user: Some("an@na".to_owned()),
            password: Some("s:cret".to_owned()),
            host: "old".to_owned(),
            port: 1,
            path: "/mq".to_owned(),
        };
        assert!(url == expected);
        let url = Url::parse("https://anna@[::1]", &HTTP).unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 15671, ""));
        assert_eq!((url.user.as_deref(), url.password), (Some("anna"), None));
        assert_eq!(Url::parse("http://[::1]:2", &HTTP).unwrap().port, 2);
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        for text in ["secret", "amqp://secret@h", "http://u:secret@h:port", "http://u:secret@"] {
            let Err(failure) = Url::parse(text, &HTTP) else { panic!("{text}") };
            assert_eq!(failure.code, USAGE);
            assert!(!failure.text.contains("secret"), "{}", failure.text);
        }
    }

    #[test]
    fn the_listener_is_one_for_amqp() {
        let overview = json!({ "listeners": [
            { "protocol": "amqp/ssl", "port": 5671 },
            { "protocol": "clustering", "port": 25672 },
            { "protocol": "amqp", "port": 5673 },
        ] });
        assert_eq!(amqp_listener(&overview, false).unwrap().port, 5673);
        let within_tls = amqp_listener(&overview, true).unwrap();
        assert_eq!((within_tls.port, within_tls.scheme.as_str()), (5671, "amqps"));
        assert!(amqp_listener(&json!({}), false).is_none());
    }
}
