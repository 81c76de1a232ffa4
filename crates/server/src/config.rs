//! The broker's settings.
//!
//! Two steps: `raw.rs` gathers what the TOML file, the environment and the flags say, each value
//! with the place it came from; [`Config`] holds what the broker runs with,
//! checked and complete. `settings.rs` defines each setting once: its key, what it may be, where
//! it goes, how it is shown.

mod alarms;
mod alerts;
mod audit;
mod data_dir;
mod error;
mod form;
mod networks;
mod rabbitmq;
mod raw;
mod reference;
mod reload;
mod settings;
mod sources;
mod tls;
mod tracing;
mod units;
mod value;
mod web;

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use leveret_broker::access::Secret;
use leveret_broker::access::{HashingAlgorithm, ThrottleLimits};
use leveret_broker::{
    DefaultVhostLimits, GLOBAL_PARAMETERS_MAX, MESSAGE_MEMORY, POLICIES_MAX, ROUTING_STEPS_MAX,
};
use leveret_codec::TableLimits;
use leveret_store::SyncPolicy;

use crate::sasl::{CertificateUser, Mechanism};
use crate::tls::NameKind;

pub use self::alarms::{AlarmConfig, Limit, PartOfMemory};
pub use self::alerts::{AlertKind, AlertRule, AlertsConfig, Amount, Receiver, Smtp, SmtpSecurity};
pub use self::audit::AuditConfig;
pub use self::error::{ConfigError, ConfigWarning};
pub use self::networks::Networks;
pub use self::reference::reference;
pub use self::reload::Reloaded;
pub use self::sources::{Origin, Sources};
pub use self::tls::{TlsConfig, TlsVersion};
pub use self::tracing::{Ratio, TracingConfig};
pub use self::web::{MetricsLogin, WebConfig};

/// The control socket's name in the data directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// What the broker runs with.
///
/// `Config::default()` is what an empty configuration means, except that the data directory is not
/// looked for: it is `/var/lib/leveret`, which [`Config::load`] replaces where that is not
/// writable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses to listen on for AMQP; none switches the listener off, port 0 takes a free port.
    ///
    /// The IPv6 wildcard `[::]` stands for all interfaces, IPv4 included, unless the list also
    /// holds `0.0.0.0` with the same port. On a machine without IPv6 it means `0.0.0.0`.
    pub listen: Vec<SocketAddr>,
    /// Addresses for the HTTP API; read as those for AMQP.
    pub management: Vec<SocketAddr>,
    /// Addresses for the Prometheus metrics; read as those for AMQP.
    pub metrics: Vec<SocketAddr>,
    /// Addresses for AMQP over TLS; read as those for AMQP.
    pub listen_tls: Vec<SocketAddr>,
    /// Addresses for the HTTP API over TLS; read as those for AMQP.
    pub management_tls: Vec<SocketAddr>,
    /// Addresses for the Prometheus metrics over TLS; read as those for AMQP.
    pub metrics_tls: Vec<SocketAddr>,
    /// The node's name, if it is not made of the machine's.
    pub node_name: Option<String>,
    /// A file of definitions in RabbitMQ's JSON, or a directory of such files, loaded at each start.
    pub load_definitions: Option<PathBuf>,
    /// Where messages and definitions live.
    pub storage: Storage,
    /// Limits of AMQP connections.
    pub amqp: AmqpConfig,
    /// Who is there on an empty data directory.
    pub auth: AuthConfig,
    /// What the broker says about itself to AMQP clients.
    pub server_properties: ServerProperties,
    /// How messages get to the disk.
    pub store: StoreConfig,
    /// From when on publishers wait.
    pub alarms: AlarmConfig,
    /// What the broker tells of by itself.
    pub alerts: AlertsConfig,
    /// Where it is written what operators do.
    pub audit: AuditConfig,
    /// Where it is told what becomes of messages.
    pub tracing: TracingConfig,
    /// Browsers, and who sees what over HTTP.
    pub web: WebConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// TLS for AMQP, and for what has no section with a certificate of its own.
    pub tls: TlsConfig,
    /// TLS for the HTTP API. Counts as a whole, once it names a certificate.
    pub tls_management: TlsConfig,
    /// TLS for the metrics. Counts as a whole, once it names a certificate.
    pub tls_metrics: TlsConfig,
}

/// Where messages and definitions live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In a directory, which is created if missing and locked against a second broker.
    Directory(PathBuf),
    /// In memory, until the broker stops: for tests.
    Ephemeral,
}

/// `[amqp]`: limits of AMQP connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpConfig {
    /// Most channels of a connection, 1 to 65535.
    pub channel_max: u16,
    /// Largest frame in bytes, 4 KiB to 128 MiB.
    pub frame_max: u32,
    /// The heartbeat offered to clients, in seconds; 0 offers none.
    pub heartbeat_seconds: u16,
    /// Time from the connection's first byte to `connection.open`.
    pub handshake_timeout: Duration,
    /// Most connections that have not opened yet; without it as many as a sixteenth of the memory
    /// bears at worst.
    pub handshake_max: Option<u32>,
    /// Largest message body in bytes, up to 512 MiB.
    pub max_message_bytes: u64,
    /// Most bytes of messages of a connection that have not come whole, if there is more than one.
    pub unfinished_messages_max: u64,
    /// The same of all connections, above which each may have an even share; without it an eighth of
    /// the memory.
    pub unfinished_messages_max_per_node: Option<u64>,
    /// Most bytes that transactions of a connection hold until they are committed, if it is more than one
    /// message.
    pub uncommitted_max: u64,
    /// The same of all connections, above which each may have an even share; without it a sixteenth of
    /// the memory.
    pub uncommitted_max_per_node: Option<u64>,
    /// Most bytes that recent history exchanges keep, above which each may an even share; without it a
    /// thirty-second of the memory.
    pub history_max_per_node: Option<u64>,
    /// What a client may leave unread.
    pub unread: UnreadLimits,
    /// Bytes that all clients together may leave unread, above which each may an even share; without
    /// it an eighth of the memory.
    pub unread_max_per_node: Option<u64>,
    /// How large tables of arguments and headers may be: most entries, and deepest nesting.
    pub tables: TableLimits,
    /// Most connections at a time.
    pub connection_max: Option<u32>,
    /// Most connections of an address at a time; with IPv6 of a network of 64 bits.
    pub connection_max_per_address: Option<u32>,
    /// Most channels at a time, over all connections.
    pub channel_max_per_node: Option<u32>,
    /// Most vhosts.
    pub vhost_max: Option<u32>,
    /// What new vhosts may hold: the first whose pattern is found in the name.
    pub default_vhost_limits: Vec<DefaultVhostLimits>,
    /// Most queues, over all vhosts.
    pub queue_max: Option<u32>,
    /// Most exchanges, over all vhosts, those that are there from the start included.
    pub exchange_max: Option<u32>,
    /// Most bindings, over all vhosts, those to the default exchange not included.
    pub binding_max: Option<u32>,
    /// Most policies of a vhost, and as many of operators.
    pub policy_max_per_vhost: Option<u32>,
    /// Most global parameters.
    pub global_parameter_max: Option<u32>,
    /// Most steps to find the queues of a message.
    pub routing_steps_max: Option<u32>,
    /// Most consumers of a channel.
    pub consumer_max_per_channel: Option<u32>,
    /// How long a delivery may wait for its acknowledgement before its channel is closed.
    pub consumer_timeout: Option<Duration>,
    /// Proxies that say whose connection they pass on, by the PROXY protocol.
    pub proxies: Networks,
}

/// How many bytes of what it is sent a client may leave unread, those in its system not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadLimits {
    /// From here on it is delivered nothing.
    pub deliveries: usize,
    /// Above it is not listened to.
    pub answers: usize,
    /// Above direct replies to it are lost.
    pub replies: usize,
}

/// `[auth]`: who is there on an empty data directory, and who must be local.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// Who decides about logins.
    pub backends: leveret_auth::Settings,
    /// How clients may log in, the preferred way first.
    pub mechanisms: Vec<Mechanism>,
    /// Users that may log in from the machine itself only.
    pub loopback_users: Vec<String>,
    /// How new passwords are hashed.
    pub password_hashing: HashingAlgorithm,
    /// Whether passwords that are hashed otherwise are hashed like that when their users log in.
    pub password_upgrade_on_login: bool,
    /// The administrator made on an empty data directory.
    pub default_user: String,
    /// Its password.
    pub default_pass: Secret,
    /// The vhost made on an empty data directory.
    pub default_vhost: String,
    /// Who comes in by the mechanism `ANONYMOUS`, if that is on: without, nobody.
    pub anonymous_login_user: Option<String>,
    /// Its password.
    pub anonymous_login_pass: Secret,
    /// Which name in a client's certificate is its user's, with the mechanism `EXTERNAL`.
    pub certificate_user: CertificateUser,
    /// With [`CertificateUser::AlternativeName`], the kind of that name.
    pub certificate_name_type: NameKind,
    /// And which one of that kind, from 0.
    pub certificate_name_index: u16,
    /// From when on wrong passwords cost time.
    pub throttle: ThrottleLimits,
}

/// `[server_properties]`: what `connection.start` says about the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerProperties {
    /// The product. Clients and frameworks branch on it: `RabbitMQ` unless set.
    pub product: String,
    /// The product's version as `X.Y.Z`. Clients branch on it as well.
    pub version: String,
    /// The cluster's name.
    pub cluster_name: String,
}

/// `[store]`: how messages get to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// When a publish counts as durable and is confirmed.
    pub sync: SyncMode,
    /// With [`SyncMode::Interval`], how often the disk is synced: what a crash of the machine may
    /// lose.
    pub sync_interval: Duration,
    /// Size of a segment of the journal in bytes.
    pub segment_bytes: u64,
    /// Bytes a second that may be read of old segments to free them, as long as that suffices.
    pub compaction_bytes_per_second: u64,
    /// What messages that wait in queues may take in memory, about, in bytes. Never more than a
    /// quarter of the memory there is.
    pub message_memory: u64,
    /// What messages that are not in the journal may take in memory, about, in bytes, before they are
    /// written to files; without it an eighth of the memory there is, a quarter if that is little.
    pub transient_memory: Option<u64>,
}

/// When a publish counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// Once the disk has said so.
    Always,
    /// Once handed to the operating system, which writes it out at an interval.
    Interval,
}

impl StoreConfig {
    /// The two settings as the store takes them.
    pub fn sync_policy(&self) -> SyncPolicy {
        match self.sync {
            SyncMode::Always => SyncPolicy::Always,
            SyncMode::Interval => SyncPolicy::Interval(self.sync_interval),
        }
    }
}

/// `[log]`: what is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// The form of a log line.
    pub format: LogFormat,
}

/// Severity, from nothing to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing at all.
    None,
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warning,
    /// Life of the broker and its connections.
    Info,
    /// More than an operator wants.
    Debug,
    /// Each frame.
    Trace,
}

impl LogLevel {
    /// The level of a name, RabbitMQ's or another program's.
    pub fn parse(name: &str) -> Option<Self> {
        let found = settings::LEVELS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, level)| *level)
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-11-20 21:42:15.377926+00:00 [info] message`.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5672))],
            management: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 15672))],
            metrics: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 15692))],
            listen_tls: Vec::new(),
            management_tls: Vec::new(),
            metrics_tls: Vec::new(),
            node_name: None,
            load_definitions: None,
            storage: Storage::Directory(data_dir::SYSTEM.into()),
            amqp: AmqpConfig {
                channel_max: 2047,
                frame_max: 128 << 10,
                heartbeat_seconds: 60,
                handshake_timeout: Duration::from_secs(10),
                handshake_max: None,
                max_message_bytes: 16 << 20,
                unfinished_messages_max: 128 << 20,
                unfinished_messages_max_per_node: None,
                uncommitted_max: 128 << 20,
                uncommitted_max_per_node: None,
                history_max_per_node: None,
                unread: UnreadLimits { deliveries: 256 << 10, answers: 1 << 20, replies: 64 << 20 },
                unread_max_per_node: None,
                tables: TableLimits::default(),
                connection_max: None,
                connection_max_per_address: None,
                channel_max_per_node: None,
                vhost_max: None,
                default_vhost_limits: Vec::new(),
                queue_max: None,
                exchange_max: None,
                binding_max: None,
                policy_max_per_vhost: Some(POLICIES_MAX),
                global_parameter_max: Some(GLOBAL_PARAMETERS_MAX),
                routing_steps_max: Some(ROUTING_STEPS_MAX),
                consumer_max_per_channel: None,
                consumer_timeout: None,
                proxies: Networks::default(),
            },
            auth: AuthConfig {
                backends: leveret_auth::Settings::default(),
                mechanisms: vec![Mechanism::Plain, Mechanism::Amqplain],
                loopback_users: vec!["guest".into()],
                password_hashing: HashingAlgorithm::Argon2id,
                password_upgrade_on_login: false,
                default_user: "guest".into(),
                default_pass: "guest".into(),
                default_vhost: "/".into(),
                anonymous_login_user: Some("guest".into()),
                anonymous_login_pass: "guest".into(),
                certificate_user: CertificateUser::DistinguishedName,
                certificate_name_type: NameKind::Dns,
                certificate_name_index: 0,
                throttle: ThrottleLimits::default(),
            },
            server_properties: ServerProperties {
                product: "RabbitMQ".into(),
                version: "4.2.1".into(),
                cluster_name: "leveret".into(),
            },
            store: StoreConfig {
                sync: SyncMode::Always,
                sync_interval: Duration::from_millis(100),
                segment_bytes: 64 << 20,
                compaction_bytes_per_second: 32 << 20,
                message_memory: MESSAGE_MEMORY,
                transient_memory: None,
            },
            alarms: AlarmConfig::default(),
            alerts: AlertsConfig::default(),
            audit: AuditConfig::default(),
            tracing: TracingConfig::default(),
            web: WebConfig::default(),
            log: LogConfig { level: LogLevel::Info, format: LogFormat::Text },
            tls: TlsConfig::default(),
            tls_management: TlsConfig::default(),
            tls_metrics: TlsConfig::default(),
        }
    }
}

impl Config {
    /// Reads the sources: the file, over it the environment, over that the flags. A list replaces
    /// the one below it.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read, a value is not allowed, or no place for the
    /// data is found. Each is one line that says where the value came from and what is allowed.
    pub fn load(sources: &Sources) -> Result<(Self, Vec<ConfigWarning>), ConfigError> {
        let (raw, warnings) = raw::RawConfig::read(sources)?;
        let mut config = Self { alerts: raw.alerts().clone(), ..Self::default() };
        let mut keys = BTreeSet::new();
        for given in raw.into_settings() {
            (given.setting.apply)(&mut config, &given.value)
                .map_err(|refused| ConfigError::bad_value(&given, refused))?;
            keys.insert(given.setting.key);
        }
        let says_who = settings::ANONYMOUS.iter().any(|key| keys.contains(key));
        if says_who && !keys.contains(settings::MECHANISMS) {
            let is_somebody = config.auth.anonymous_login_user.is_some();
            config.auth.mechanisms.extend(is_somebody.then_some(Mechanism::Anonymous));
        }
        if !keys.contains(settings::DATA_DIR) {
            let directory = match sources.is_rabbitmq() {
                true => rabbitmq::data_dir(sources),
                false => data_dir::find(sources)?,
            };
            config.storage = Storage::Directory(directory);
        }
        Ok((config, warnings))
    }

    /// The node's name in RabbitMQ's form: `rabbit@host`.
    pub fn node_name(&self) -> String {
        match &self.node_name {
            Some(name) => name.clone(),
            None => format!("rabbit@{}", host_name()),
        }
    }

    /// The effective settings in the form of a configuration file.
    ///
    /// A password other than the default one is not shown.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for setting in settings::settings() {
            let (own_section, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            if own_section != section {
                section = own_section;
                text += &format!("\n[{section}]\n");
            }
            text += &match (setting.show)(self) {
                settings::Shown::Value(value) => format!("{name} = {value}\n"),
                settings::Shown::Secret(_) => format!("# {name} is set, and not shown\n"),
                settings::Shown::Withheld(why) => format!("# {name} {why}\n"),
            };
        }
        text + &self.alerts.to_toml()
    }
}

/// This machine's name up to its first dot, as RabbitMQ's short names are.
pub fn host_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host = host.split('.').next().unwrap_or_default();
    if host.is_empty() { "localhost".to_owned() } else { host.to_owned() }
}

#[cfg(test)]
mod tests;
