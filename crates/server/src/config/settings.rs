//! Every setting, defined once.

mod audit;
mod auth;
mod backends;
mod ldap;
mod memory;
mod oauth2;
mod tls;
mod tracing;
mod vhost_limits;
mod web;

use std::fmt::Display;
use std::net::SocketAddr;
use std::path;
use std::time::Duration;

use leveret_codec::TableLimits;

use super::alarms::{self, Limit};
use super::sources::variable;
use super::units::{show_bytes, show_duration};
use super::value::Value;
use super::{Config, LogFormat, LogLevel, Networks, Storage, SyncMode};

/// The one setting whose default is looked for on the machine.
pub(super) const DATA_DIR: &str = "data_dir";
/// The settings whose values are nobody's business.
pub(super) const PASSWORDS: [&str; 4] =
    [DEFAULT_PASS, ANONYMOUS_PASS, ldap::LOOKUP_PASSWORD, ldap::OTHER_PASSWORD];
const DEFAULT_PASS: &str = "auth.default_pass";
const ANONYMOUS_PASS: &str = "auth.anonymous_login_pass";
/// Who comes in by ANONYMOUS: one of them is enough to have it on, unless the mechanisms are named.
pub(super) const ANONYMOUS: [&str; 2] = [ANONYMOUS_USER, ANONYMOUS_PASS];
const ANONYMOUS_USER: &str = "auth.anonymous_login_user";
pub(super) const MECHANISMS: &str = "auth.mechanisms";
/// The one setting whose flag, `--log`, has a variable of its own.
const LOG_LEVEL: &str = "log.level";
const LOG_FLAG_VARIABLE: &str = "LEVERET_LOG";

/// A setting: its name, what it may be, where it goes, how it is shown.
pub(super) struct Setting {
    /// Section and name, as in `amqp.heartbeat`.
    pub(super) key: &'static str,
    /// What it is, in a few words: for the reference page.
    pub(super) about: &'static str,
    /// Whether a running broker takes a new value over; for connections, for the next ones.
    pub(super) live: bool,
    /// Ends the sentence "must be ...".
    pub(super) allowed: &'static str,
    /// Checks a value and puts it in its place.
    pub(super) apply: fn(&mut Config, &Value) -> Result<(), Refused>,
    /// Its value in a configuration.
    pub(super) show: fn(&Config) -> Shown,
}

/// Why a value was not taken.
pub(super) enum Refused {
    /// It is not what the setting allows.
    NotAllowed,
}

/// How a setting shows in a configuration file.
#[derive(PartialEq)]
pub(super) enum Shown {
    /// As this value.
    Value(toml::Value),
    /// Not at all, because it is this password.
    Secret(String),
    /// Not at all, for this reason.
    Withheld(&'static str),
}

impl Setting {
    pub(super) fn has_variable(&self, name: &str) -> bool {
        variable(self.key) == name || (self.key == LOG_LEVEL && name == LOG_FLAG_VARIABLE)
    }
}

impl<T: Into<toml::Value>> From<T> for Shown {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

const ADDRESSES: &str = "addresses such as \"127.0.0.1:5672\" or \"[::1]:5672\", a port for all interfaces, or \"none\"";
const NAME: &str = "a text of 1 to 255 bytes";

/// All of them, in the order in which they are shown: settings without a section come first.
pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .chain(&audit::AUDIT)
        .chain(&auth::AUTH)
        .chain(&backends::HTTP)
        .chain(&oauth2::OAUTH2)
        .chain(&ldap::LDAP)
        .chain(&backends::CACHE)
        .chain(&tracing::TRACING)
        .chain(&web::WEB)
        .chain(&tls::AMQP)
        .chain(&tls::MANAGEMENT)
        .chain(&tls::METRICS)
}

/// Those without a section of their own.
static SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        about: "Addresses for AMQP",
        live: false,
        allowed: ADDRESSES,
        apply: |config, value| {
            config.listen = value.addresses()?;
            Ok(())
        },
        show: |config| show_addresses(&config.listen),
    },
    Setting {
        key: "management",
        about: "Addresses of the HTTP API",
        live: false,
        allowed: ADDRESSES,
        apply: |config, value| {
            config.management = value.addresses()?;
            Ok(())
        },
        show: |config| show_addresses(&config.management),
    },
    Setting {
        key: "metrics",
        about: "Addresses of the Prometheus metrics",
        live: false,
        allowed: ADDRESSES,
        apply: |config, value| {
            config.metrics = value.addresses()?;
            Ok(())
        },
        show: |config| show_addresses(&config.metrics),
    },
    Setting {
        key: "listen_tls",
        about: "Addresses for AMQP over TLS",
        live: false,
        allowed: ADDRESSES,
        apply: |config, value| {
            config.listen_tls = value.addresses()?;
            Ok(())
        },
        show: |config| show_addresses(&config.listen_tls),
    },
    Setting {
        key: "management_tls",
        about: "Addresses of the HTTP API over TLS",
        live: false,
        allowed: ADDRESSES,
        apply: |config, value| {
            config.management_tls = value.addresses()?;
            Ok(())
        },
        show: |config| show_addresses(&config.management_tls),
    },
    Setting {
        key: "metrics_tls",
        about: "Addresses of the Prometheus metrics over TLS",
        live: false,
        allowed: ADDRESSES,
        apply: |config, value| {
            config.metrics_tls = value.addresses()?;
            Ok(())
        },
        show: |config| show_addresses(&config.metrics_tls),
    },
    Setting {
        key: "node_name",
        about: "The node's name, as commands and the API show it",
        live: false,
        allowed: "a name such as \"rabbit@host\", or \"none\" for rabbit at this machine's name",
        apply: |config, value| {
            let none = value.word(&[("none", ())]).map(|()| None);
            config.node_name = none.or_else(|_| value.name().map(Some))?;
            Ok(())
        },
        show: |config| config.node_name.as_deref().unwrap_or("none").into(),
    },
    Setting {
        key: "load_definitions",
        about: "Definitions that are loaded at each start: a file of RabbitMQ's JSON, or a directory of them",
        live: false,
        allowed: "the path of a file or directory, or \"none\"",
        apply: |config, value| {
            let none = value.word(&[("none", ())]).is_ok();
            let path = || path::absolute(value.text()?).map_err(|_| Refused::NotAllowed);
            config.load_definitions = if none { None } else { Some(path()?) };
            Ok(())
        },
        show: |config| match &config.load_definitions {
            None => "none".into(),
            Some(path) => path.to_string_lossy().as_ref().into(),
        },
    },
    Setting {
        key: DATA_DIR,
        about: "Where messages and definitions are kept",
        live: false,
        allowed: "the path of a directory",
        apply: |config, value| {
            let directory = path::absolute(value.text()?).map_err(|_| Refused::NotAllowed)?;
            config.storage = Storage::Directory(directory);
            Ok(())
        },
        show: |config| match &config.storage {
            Storage::Directory(directory) => directory.to_string_lossy().as_ref().into(),
            Storage::Ephemeral => Shown::Withheld("is not used: everything is kept in memory"),
        },
    },
    Setting {
        key: "amqp.channel_max",
        about: "Most channels of a connection",
        live: true,
        allowed: "a number of channels from 1 to 65535",
        apply: |config, value| {
            config.amqp.channel_max = value.integer(1..=u16::MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.amqp.channel_max).into(),
    },
    Setting {
        key: "amqp.frame_max",
        about: "Largest frame",
        live: true,
        allowed: "a size from 4KiB to 128MiB",
        apply: |config, value| {
            config.amqp.frame_max = value.bytes(4 << 10..=128 << 20)?;
            Ok(())
        },
        show: |config| i64::from(config.amqp.frame_max).into(),
    },
    Setting {
        key: "amqp.heartbeat",
        about: "The heartbeat that is offered, in seconds",
        live: true,
        allowed: "a number of seconds from 0 (none) to 65535",
        apply: |config, value| {
            config.amqp.heartbeat_seconds = value.seconds(0..=u16::MAX)?;
            Ok(())
        },
        show: |config| i64::from(config.amqp.heartbeat_seconds).into(),
    },
    Setting {
        key: "amqp.handshake_timeout",
        about: "How long a client may take to open its connection",
        live: true,
        allowed: "a time from 100ms to 1h, such as \"10s\"",
        apply: |config, value| {
            config.amqp.handshake_timeout =
                value.duration(Duration::from_millis(100)..=Duration::from_hours(1))?;
            Ok(())
        },
        show: |config| show_duration(config.amqp.handshake_timeout).into(),
    },
    Setting {
        key: "amqp.handshake_max",
        about: "Most connections that have not opened yet",
        live: true,
        allowed: "a number of connections from 1, or \"auto\" for what a sixteenth of the memory bears",
        apply: |config, value| {
            let auto = value.word(&[("auto", None)]);
            let number = |_| value.integer(1..=u32::MAX).map(Some);
            config.amqp.handshake_max = auto.or_else(number)?;
            Ok(())
        },
        show: |config| match config.amqp.handshake_max {
            None => "auto".into(),
            Some(number) => i64::from(number).into(),
        },
    },
    Setting {
        key: "amqp.max_message_size",
        about: "Largest body of a message",
        live: true,
        allowed: "a size from 1 byte to 512MiB, such as \"16MiB\"",
        apply: |config, value| {
            config.amqp.max_message_bytes = value.bytes(1..=512 << 20)?;
            Ok(())
        },
        show: |config| show_bytes(config.amqp.max_message_bytes).into(),
    },
    memory::UNFINISHED,
    memory::UNFINISHED_PER_NODE,
    memory::UNCOMMITTED,
    memory::UNCOMMITTED_PER_NODE,
    memory::HISTORY_PER_NODE,
    memory::UNREAD_DELIVERIES,
    memory::UNREAD_ANSWERS,
    memory::UNREAD_REPLIES,
    memory::UNREAD_PER_NODE,
    Setting {
        key: "amqp.table_field_max",
        about: "Most entries of a table of arguments or headers, those of tables and arrays in it included; 4096 in a handshake, whatever it is",
        live: true,
        allowed: "a number of entries from 16 to 1000000",
        apply: |config, value| {
            let max = value.integer(16..=1_000_000_u32)?;
            config.amqp.tables.max_fields = usize::try_from(max).unwrap_or(usize::MAX);
            Ok(())
        },
        show: |config| size(config.amqp.tables.max_fields),
    },
    Setting {
        key: "amqp.table_depth_max",
        about: "How deep tables and arrays may stand in each other, the outermost included; 16 in a handshake",
        live: true,
        allowed: "a number from 2 to 32",
        apply: |config, value| {
            let deepest = u16::try_from(TableLimits::DEEPEST).unwrap_or(u16::MAX);
            config.amqp.tables.max_depth = value.integer(2..=deepest)?.into();
            Ok(())
        },
        show: |config| size(config.amqp.tables.max_depth),
    },
    Setting {
        key: "amqp.connection_max",
        about: "Most connections at a time",
        live: false,
        allowed: "a number of connections from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.connection_max = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.connection_max),
    },
    Setting {
        key: "amqp.connection_max_per_address",
        about: "Most connections of an address at a time; with IPv6 of a network of 64 bits",
        live: true,
        allowed: "a number of connections from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.connection_max_per_address = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.connection_max_per_address),
    },
    Setting {
        key: "amqp.channel_max_per_node",
        about: "Most channels of all connections",
        live: false,
        allowed: "a number of channels from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.channel_max_per_node = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.channel_max_per_node),
    },
    Setting {
        key: "amqp.vhost_max",
        about: "Most vhosts",
        live: false,
        allowed: "a number of vhosts from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.vhost_max = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.vhost_max),
    },
    vhost_limits::DEFAULTS,
    Setting {
        key: "amqp.queue_max",
        about: "Most queues",
        live: false,
        allowed: "a number of queues from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.queue_max = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.queue_max),
    },
    Setting {
        key: "amqp.exchange_max",
        about: "Most exchanges",
        live: false,
        allowed: "a number of exchanges from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.exchange_max = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.exchange_max),
    },
    Setting {
        key: "amqp.binding_max",
        about: "Most bindings, those to the default exchange not counted",
        live: false,
        allowed: "a number of bindings from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.binding_max = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.binding_max),
    },
    Setting {
        key: "amqp.policy_max_per_vhost",
        about: "Most policies of a vhost, and as many operator policies",
        live: false,
        allowed: "a number of policies from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.policy_max_per_vhost = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.policy_max_per_vhost),
    },
    Setting {
        key: "amqp.global_parameter_max",
        about: "Most global parameters",
        live: false,
        allowed: "a number of parameters from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.global_parameter_max = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.global_parameter_max),
    },
    Setting {
        key: "amqp.routing_steps_max",
        about: "Most steps to find the queues of a message: looks with one of its keys at an exchange, \
                with a word of one at a node of a topic exchange's patterns, each once more for 256 bytes \
                of it, or comparing 256 bytes of its headers with bindings, or with the name of one that an exchange \
                looks for (delayed, deduplicating, recent history, hashing a header). Beyond that a publish is refused \
                with 406, and a dead letter has no queue",
        live: false,
        allowed: "a number of steps from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.routing_steps_max = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.routing_steps_max),
    },
    Setting {
        key: "amqp.consumer_max_per_channel",
        about: "Most consumers of a channel",
        live: true,
        allowed: "a number of consumers from 1, or \"none\" for no limit",
        apply: |config, value| {
            config.amqp.consumer_max_per_channel = limit(value)?;
            Ok(())
        },
        show: |config| show_limit(config.amqp.consumer_max_per_channel),
    },
    Setting {
        key: "amqp.consumer_timeout",
        about: "How long a delivery may wait for its acknowledgement",
        live: true,
        allowed: "a time from 100ms to 8760h, such as \"30m\", or \"none\"",
        apply: |config, value| {
            let range = Duration::from_millis(100)..=Duration::from_hours(8760);
            let none = value.word(&[("none", None)]);
            config.amqp.consumer_timeout = none.or_else(|_| value.duration(range).map(Some))?;
            Ok(())
        },
        show: |config| match config.amqp.consumer_timeout {
            None => "none".into(),
            Some(timeout) => show_duration(timeout).into(),
        },
    },
    Setting {
        key: "amqp.proxies",
        about: "Proxies that begin each connection with a header of the PROXY protocol, version 1 or 2",
        live: true,
        allowed: "networks and addresses such as \"10.0.0.0/8\", \"private\", \"any\", or \"none\"",
        apply: |config, value| {
            config.amqp.proxies = Networks::parse(&value.texts()?).ok_or(Refused::NotAllowed)?;
            Ok(())
        },
        show: |config| match &config.amqp.proxies {
            proxies if proxies.is_empty() => "none".into(),
            proxies => texts(proxies.iter()),
        },
    },
    Setting {
        key: "server_properties.product",
        about: "The product clients are told",
        live: false,
        allowed: NAME,
        apply: |config, value| {
            config.server_properties.product = value.name()?;
            Ok(())
        },
        show: |config| config.server_properties.product.as_str().into(),
    },
    Setting {
        key: "server_properties.version",
        about: "Its version",
        live: false,
        allowed: "three numbers such as \"4.2.1\", because clients parse it",
        apply: |config, value| {
            let version = value.name()?;
            let mut parts = version.split('.').map(str::parse::<u16>);
            match [parts.next(), parts.next(), parts.next(), parts.next()] {
                [Some(Ok(_)), Some(Ok(_)), Some(Ok(_)), None] => {
                    config.server_properties.version = version;
                    Ok(())
                }
                _ => Err(Refused::NotAllowed),
            }
        },
        show: |config| config.server_properties.version.as_str().into(),
    },
    Setting {
        key: "server_properties.cluster_name",
        about: "The name of the cluster, unless an operator gave it one",
        live: true,
        allowed: NAME,
        apply: |config, value| {
            config.server_properties.cluster_name = value.name()?;
            Ok(())
        },
        show: |config| config.server_properties.cluster_name.as_str().into(),
    },
    Setting {
        key: "store.sync",
        about: "Whether a confirm waits for the disk",
        live: false,
        allowed: "\"always\" or \"interval\"",
        apply: |config, value| {
            config.store.sync = value.word(&SYNC_MODES)?;
            Ok(())
        },
        show: |config| word(&SYNC_MODES, config.store.sync),
    },
    Setting {
        key: "store.sync_interval",
        about: "How often is synced with `interval`",
        live: false,
        allowed: "the time from 1ms to 10s that a crash of the machine may lose with sync = \"interval\"",
        apply: |config, value| {
            let range = Duration::from_millis(1)..=Duration::from_secs(10);
            config.store.sync_interval = value.duration(range)?;
            Ok(())
        },
        show: |config| show_duration(config.store.sync_interval).into(),
    },
    Setting {
        key: "store.segment_size",
        about: "Size of a file of the journal",
        live: false,
        allowed: "a size from 1MiB to 1GiB, such as \"64MiB\"",
        apply: |config, value| {
            config.store.segment_bytes = value.bytes(1 << 20..=1 << 30)?;
            Ok(())
        },
        show: |config| show_bytes(config.store.segment_bytes).into(),
    },
    Setting {
        key: "store.compaction_rate",
        about: "How much compaction of the journal may write a second",
        live: false,
        allowed: "a number of bytes a second from 1MiB to 10GiB, such as \"32MiB\"",
        apply: |config, value| {
            config.store.compaction_bytes_per_second = value.bytes(1 << 20..=10 << 30)?;
            Ok(())
        },
        show: |config| show_bytes(config.store.compaction_bytes_per_second).into(),
    },
    Setting {
        key: "store.message_memory",
        about: "What messages that wait in queues, or for their acknowledgement, may take in memory, about; never more than a quarter of what there is",
        live: false,
        allowed: "a size from 1MiB to 1TiB, such as \"64MiB\"",
        apply: |config, value| {
            config.store.message_memory = value.bytes(1 << 20..=1 << 40)?;
            Ok(())
        },
        show: |config| show_bytes(config.store.message_memory).into(),
    },
    Setting {
        key: "store.transient_memory",
        about: "What messages that are not in the journal may take in memory before they are written to files, with what deduplicating exchanges and queues remember, which takes half of it at most",
        live: false,
        allowed: "a size from 1MiB, such as \"256MiB\", or \"auto\" for an eighth of the memory, of little memory a quarter",
        apply: |config, value| {
            let auto = value.word(&[("auto", None)]);
            let size = |_| value.bytes(1 << 20..=1 << 40).map(Some);
            config.store.transient_memory = auto.or_else(size)?;
            Ok(())
        },
        show: |config| match config.store.transient_memory {
            None => "auto".into(),
            Some(bytes) => show_bytes(bytes).into(),
        },
    },
    Setting {
        key: alarms::MEMORY,
        about: "From how much memory on publishers wait",
        live: true,
        allowed: "a part of the memory from 0.0 to 1.0, such as 0.6 or \"60%\", a size such as \"2GB\", or \"none\"",
        apply: |config, value| {
            config.alarms.vm_memory_high_watermark = Limit::read(value, 1)?;
            Ok(())
        },
        show: |config| config.alarms.vm_memory_high_watermark.show(),
    },
    Setting {
        key: alarms::DISK,
        about: "Below how much free disk space publishers wait",
        live: true,
        allowed: "a size such as \"50MB\", as many times the memory as 0.0 to 10.0, or \"none\"",
        apply: |config, value| {
            config.alarms.disk_free_limit = Limit::read(value, 10)?;
            Ok(())
        },
        show: |config| config.alarms.disk_free_limit.show(),
    },
    Setting {
        key: LOG_LEVEL,
        about: "The least severe level that is logged",
        live: true,
        allowed: "one of \"none\", \"error\", \"warning\", \"info\", \"debug\", \"trace\"",
        apply: |config, value| {
            config.log.level = value.word(&LEVELS)?;
            Ok(())
        },
        show: |config| word(&LEVELS, config.log.level),
    },
    Setting {
        key: "log.format",
        about: "The form of a line of the log",
        live: false,
        allowed: "\"text\" or \"json\"",
        apply: |config, value| {
            config.log.format = value.word(&FORMATS)?;
            Ok(())
        },
        show: |config| word(&FORMATS, config.log.format),
    },
];

/// The first word of each meaning is the one shown; the others are what other programs call it.
pub(super) const LEVELS: [(&str, LogLevel); 9] = [
    ("none", LogLevel::None),
    ("off", LogLevel::None),
    ("error", LogLevel::Error),
    ("critical", LogLevel::Error),
    ("warning", LogLevel::Warning),
    ("warn", LogLevel::Warning),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const SYNC_MODES: [(&str, SyncMode); 2] =
    [("always", SyncMode::Always), ("interval", SyncMode::Interval)];

const FORMATS: [(&str, LogFormat); 3] =
    [("text", LogFormat::Text), ("plaintext", LogFormat::Text), ("json", LogFormat::Json)];

fn limit(value: &Value) -> Result<Option<u32>, Refused> {
    value.word(&[("none", None)]).or_else(|_| value.integer(1..=u32::MAX).map(Some))
}

fn size(number: usize) -> Shown {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn show_limit(limit: Option<u32>) -> Shown {
    limit.map_or_else(|| "none".into(), |limit| i64::from(limit).into())
}

fn show_password(password: &str) -> Shown {
    match password {
        "guest" => "guest".into(),
        _ => Shown::Secret(password.to_owned()),
    }
}

fn show_addresses(addresses: &[SocketAddr]) -> Shown {
    match addresses {
        [] => "none".into(),
        addresses => texts(addresses),
    }
}

fn word<T: PartialEq>(words: &[(&'static str, T)], meaning: T) -> Shown {
    words.iter().find(|(_, own)| *own == meaning).map_or("", |(word, _)| word).into()
}

fn texts(values: impl IntoIterator<Item = impl Display>) -> Shown {
    toml::Value::Array(values.into_iter().map(|value| value.to_string().into()).collect()).into()
}
