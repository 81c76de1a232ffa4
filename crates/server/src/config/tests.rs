use std::fs;

use leveret_auth::{
    Backend, CacheSettings, HttpMethod, HttpSettings, LdapBind, LdapQuery, LdapSettings,
    LdapTagQueries, OAuth2Settings, ServerTrust, Step,
};
use leveret_broker::TraceHeader;
use leveret_broker::access::{Pattern, PatternSyntax};
use leveret_broker::{DefaultVhostLimits, VhostLimits};
use leveret_store::SyncPolicy;

use leveret_broker::access::HashingAlgorithm;

use super::*;
use crate::sasl::{CertificateUser, Mechanism};
use crate::tls::NameKind;

mod passwords;

fn from_file(text: &str) -> Result<(Config, Vec<ConfigWarning>), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leveret.toml");
    fs::write(&path, text).unwrap();
    let prefix = format!("{}/", folder.path().display());
    let sources = Sources::new().file(path).flag("--data-dir", "data_dir", ["/data".to_owned()]);
    Config::load(&sources).map_err(|error| error.to_string().replace(&prefix, ""))
}

fn step(authn: Backend, authz: Backend) -> Step {
    Step { authn, authz }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    let variables = variables.iter();
    Sources::new().environment(variables.map(|(name, value)| (name.into(), value.into())))
}

fn from_environment(variables: &[(&str, &str)]) -> Result<(Config, Vec<ConfigWarning>), String> {
    let sources = environment(variables).flag("--data-dir", "data_dir", ["/data".to_owned()]);
    Config::load(&sources).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_means_the_defaults() {
    let (config, warnings) = from_file("").unwrap();
    let expected = Config { storage: Storage::Directory("/data".into()), ..Config::default() };
    assert_eq!(config, expected);
    assert!(warnings.is_empty());
}

#[test]
fn a_file_sets_everything() {
    let (config, warnings) = from_file(include_str!("tests/everything.toml")).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let addresses = ["127.0.0.1:5673", "[::1]:0", "[::]:5674"];
    let expected = Config {
        alerts: AlertsConfig::default(),
        management: vec![],
        metrics: vec![],
        listen_tls: vec!["[::]:5671".parse().unwrap()],
        management_tls: vec!["127.0.0.1:15671".parse().unwrap()],
        metrics_tls: vec![],
        tls: TlsConfig {
            cert_files: vec!["/tls/shop.pem".into(), "/tls/other.pem".into()],
            key_files: vec!["/tls/shop.key".into(), "/tls/other.key".into()],
            ca_file: Some("/tls/ca.pem".into()),
            verify: true,
            requires_certificate: true,
            depth: 2,
            versions: vec![TlsVersion::Tls13],
            ciphers: vec!["TLS_AES_256_GCM_SHA384".into()],
            handshake_timeout: Duration::from_secs(2),
            reload_interval: Duration::from_mins(1),
        },
        tls_management: TlsConfig {
            cert_files: vec!["/tls/console.pem".into()],
            key_files: vec!["/tls/console.key".into()],
            ..TlsConfig::default()
        },
        tls_metrics: TlsConfig::default(),
        node_name: Some("rabbit@shop-1".into()),
        load_definitions: None,
        listen: addresses.map(|address| address.parse().unwrap()).into(),
        storage: Storage::Directory("/data".into()),
        amqp: AmqpConfig {
            channel_max: 10,
            frame_max: 1 << 20,
            heartbeat_seconds: 60,
            handshake_timeout: Duration::from_millis(500),
            max_message_bytes: 128 << 20,
            unfinished_messages_max: 256 << 20,
            unfinished_messages_max_per_node: Some(2 << 30),
            uncommitted_max: 64 << 20,
            uncommitted_max_per_node: Some(512 << 20),
            history_max_per_node: Some(32 << 20),
            unread: UnreadLimits { deliveries: 64 << 10, answers: 2 << 20, replies: 1 << 20 },
            unread_max_per_node: Some(1 << 30),
            tables: TableLimits { max_depth: 32, max_fields: 5000 },
            handshake_max: Some(300),
            connection_max: Some(1000),
            connection_max_per_address: Some(20),
            channel_max_per_node: Some(5000),
            vhost_max: Some(500),
            default_vhost_limits: vec![DefaultVhostLimits {
                pattern: Pattern::new("^shop-").unwrap(),
                limits: VhostLimits { max_connections: Some(5), max_queues: Some(6) },
            }],
            queue_max: Some(2000),
            exchange_max: Some(3000),
            binding_max: Some(4000),
            policy_max_per_vhost: Some(600),
            global_parameter_max: Some(700),
            routing_steps_max: Some(5000),
            consumer_max_per_channel: Some(10),
            consumer_timeout: Some(Duration::from_secs(1800)),
            proxies: Networks::parse(&["10.1.0.0/16".to_owned()]).unwrap(),
        },
        auth: AuthConfig {
            backends: leveret_auth::Settings {
                chain: vec![
                    step(Backend::Cache, Backend::Cache),
                    step(Backend::Internal, Backend::Http),
                    step(Backend::Internal, Backend::Internal),
                ],
                http: HttpSettings {
                    method: HttpMethod::Post,
                    user_path: "https://auth/user".into(),
                    vhost_path: "https://auth/vhost".into(),
                    resource_path: "https://auth/resource".into(),
                    topic_path: "https://auth/topic".into(),
                    request_timeout: Duration::from_secs(2),
                    requests_max: 8,
                    discloses: true,
                    tls: ServerTrust {
                        ca_file: Some("/tls/ca.pem".into()),
                        cert_file: Some("/tls/broker.pem".into()),
                        key_file: Some("/tls/broker.key".into()),
                        depth: 1,
                    },
                },
                oauth2: OAuth2Settings {
                    resource_server_id: Some("rabbitmq".into()),
                    scope_prefix: Some("api://".into()),
                    additional_scopes_key: vec!["roles".into(), "realm.roles".into()],
                    scope_aliases: vec![(
                        "admin".into(),
                        "api://tag:administrator api://read:*/*".into(),
                    )],
                    syntax: PatternSyntax::Regex,
                    preferred_username_claims: vec!["user_name".into(), "email".into()],
                    verify_aud: false,
                    require_exp: false,
                    algorithms: vec!["RS256".into(), "ES256".into()],
                    signing_keys: vec![("one".into(), "/keys/one.pem".into())],
                    default_key: Some("one".into()),
                    jwks_uri: Some("https://idp/keys".into()),
                    issuer: Some("https://idp".into()),
                    request_timeout: Duration::from_secs(3),
                    ca_file: Some("/tls/idp.pem".into()),
                    depth: 2,
                },
                ldap: LdapSettings {
                    servers: vec!["ldap1".into(), "ldap2".into()],
                    port: 636,
                    use_ssl: true,
                    use_starttls: true,
                    tls: ServerTrust {
                        ca_file: Some("/tls/ldap.pem".into()),
                        cert_file: Some("/tls/broker.pem".into()),
                        key_file: Some("/tls/broker.key".into()),
                        depth: 3,
                    },
                    timeout: Duration::from_secs(3),
                    idle_timeout: Duration::ZERO,
                    pool_size: 8,
                    user_dn_pattern: "cn=${username}".into(),
                    user_bind_pattern: Some("${username}@example".into()),
                    dn_lookup_attribute: Some("uid".into()),
                    dn_lookup_base: Some("ou=people".into()),
                    dn_lookup_bind: LdapBind {
                        is_anonymous: true,
                        user_dn: Some("cn=reader".into()),
                        password: Some("secret".into()),
                    },
                    other_bind: LdapBind {
                        is_anonymous: true,
                        user_dn: Some("cn=asker".into()),
                        password: Some("secret too".into()),
                    },
                    group_lookup_base: Some("ou=groups".into()),
                    vhost_access_query: LdapQuery::parse("{in_group, \"cn=${vhost}\"}").unwrap(),
                    resource_access_query: LdapQuery::parse("{constant, false}").unwrap(),
                    topic_access_query: LdapQuery::parse("{exists, \"cn=topics\"}").unwrap(),
                    tag_queries: LdapTagQueries::parse("[{management, {constant, true}}]").unwrap(),
                },
                cache: CacheSettings {
                    cached: step(Backend::Http, Backend::Internal),
                    ttl: Duration::from_mins(1),
                    refusals: true,
                },
            },
            mechanisms: vec![Mechanism::External, Mechanism::Plain],
            loopback_users: vec![],
            password_hashing: HashingAlgorithm::Sha512,
            password_upgrade_on_login: true,
            default_user: "anna".into(),
            default_pass: "secret".into(),
            default_vhost: "shop".into(),
            anonymous_login_user: Some("nobody".into()),
            anonymous_login_pass: "anything".into(),
            certificate_user: CertificateUser::AlternativeName,
            certificate_name_type: NameKind::Email,
            certificate_name_index: 1,
            throttle: ThrottleLimits {
                of_user: 3,
                of_address: 30,
                wait_max: Duration::from_mins(2),
            },
        },
        server_properties: ServerProperties {
            product: "Leveret".into(),
            version: "4.3.0".into(),
            cluster_name: "rabbit@shop".into(),
        },
        store: StoreConfig {
            sync: SyncMode::Interval,
            sync_interval: Duration::from_millis(200),
            segment_bytes: 16 << 20,
            compaction_bytes_per_second: 8 << 20,
            message_memory: 32 << 20,
            transient_memory: Some(256 << 20),
        },
        alarms: AlarmConfig {
            vm_memory_high_watermark: Limit::OfMemory(PartOfMemory::percent(40)),
            disk_free_limit: Limit::Bytes(1_000_000_000),
        },
        log: LogConfig { level: LogLevel::Warning, format: LogFormat::Json },
        audit: AuditConfig {
            file: Some("/log/audit.jsonl".into()),
            max_bytes: 1 << 20,
            max_files: 3,
        },
        tracing: TracingConfig {
            endpoint: Some("https://collector:4318/v1/traces".to_owned()),
            sample_ratio: Ratio::parse("0.25").unwrap(),
            header: TraceHeader::Add,
            service_name: "orders-broker".to_owned(),
            ca_file: Some("/tls/collector.pem".into()),
        },
        web: WebConfig {
            session_max: 100,
            session_max_per_user: 10,
            head_max: 16 << 10,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            body_max: 1 << 20,
            memory_max: Some(64 << 20),
            request_rate: Some(50),
            connection_max: Some(200),
            session_idle: Duration::from_mins(10),
            session_lifetime: Duration::from_hours(2),
            content_security_policy: "default-src 'self'".into(),
            strict_transport_security: Some("max-age=31536000".into()),
            allowed_origins: vec!["https://console.example".into(), "http://localhost:8080".into()],
            hosts: vec!["broker.example".into(), "broker".into()],
            preflight_max_age: Duration::from_mins(1),
            proxies: Networks::parse(&["10.1.0.0/16".to_owned()]).unwrap(),
            metrics_login: MetricsLogin::Always,
        },
    };
    assert_eq!(config, expected);
}

#[test]
fn the_interval_counts_only_when_asked_for() {
    let load = |toml: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leveret.toml");
        fs::write(&path, toml).unwrap();
        Config::load(&Sources::new().file(path)).unwrap().0.store.sync_policy()
    };
    assert_eq!(load("data_dir = '/d'\nstore.sync_interval = '5ms'"), SyncPolicy::Always);
    let given = load("data_dir = '/d'\nstore.sync = 'interval'\nstore.sync_interval = '5ms'");
    assert_eq!(given, SyncPolicy::Interval(Duration::from_millis(5)));
    let default = load("data_dir = '/d'\nstore.sync = 'interval'");
    assert_eq!(default, SyncPolicy::Interval(Duration::from_millis(100)));
}

#[test]
fn flags_are_over_the_environment_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leveret.toml");
    fs::write(&path, "listen = [1, 2]\namqp.heartbeat = 1\namqp.channel_max = 1\n").unwrap();
    let sources =
        environment(&[("LEVERET_LISTEN", "3, 4"), ("LEVERET_AMQP_HEARTBEAT", "2"), ("PATH", "x")])
            .file(path)
            .flag("--listen", "listen", ["5".to_owned(), "6".to_owned()])
            .flag("--data-dir", "data_dir", ["/data".to_owned()])
            .flag("--log", "log.level", []);
    let (config, warnings) = Config::load(&sources).unwrap();
    let ports: Vec<_> = config.listen.iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [5, 6]);
    assert_eq!(config.amqp.heartbeat_seconds, 2);
    assert_eq!(config.amqp.channel_max, 1);
    assert!(warnings.is_empty());
}

#[test]
fn alarms_have_rabbitmqs_names_too() {
    let part = |percent| Limit::OfMemory(PartOfMemory::percent(percent));
    let cases = [
        ("vm_memory_high_watermark.relative = 0.4", part(40), Limit::Bytes(50_000_000)),
        ("vm_memory_high_watermark.relative = 1", part(100), Limit::Bytes(50_000_000)),
        (
            "[vm_memory_high_watermark]\nabsolute = \"2GiB\"",
            Limit::Bytes(2 << 30),
            Limit::Bytes(50_000_000),
        ),
        ("vm_memory_high_watermark = \"none\"", Limit::None, Limit::Bytes(50_000_000)),
        ("disk_free_limit.absolute = 1000", part(60), Limit::Bytes(1000)),
        ("disk_free_limit.relative = 1.5", part(60), part(150)),
        // As in RabbitMQ, the size stands above the part.
        ("[disk_free_limit]\nrelative = 1.0\nabsolute = \"1kB\"", part(60), Limit::Bytes(1000)),
    ];
    for (text, vm_memory_high_watermark, disk_free_limit) in cases {
        let (config, warnings) = from_file(text).unwrap();
        assert_eq!(
            config.alarms,
            AlarmConfig { vm_memory_high_watermark, disk_free_limit },
            "{text}"
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    let (config, _) = from_environment(&[
        ("LEVERET_VM_MEMORY_HIGH_WATERMARK_RELATIVE", "0.5"),
        ("LEVERET_ALARMS_DISK_FREE_LIMIT", "none"),
    ])
    .unwrap();
    let vm_memory_high_watermark = part(50);
    let disk_free_limit = Limit::None;
    assert_eq!(config.alarms, AlarmConfig { vm_memory_high_watermark, disk_free_limit });
    assert_eq!(
        from_file("vm_memory_high_watermark.relative = 1.2").unwrap_err(),
        "leveret.toml:1: alarms.vm_memory_high_watermark = 1.2: must be a part of the memory from \
         0.0 to 1.0, such as 0.6 or \"60%\", a size such as \"2GB\", or \"none\""
    );
}

#[test]
fn a_bad_value_names_its_line_and_what_is_allowed() {
    let error = |text| from_file(text).unwrap_err();
    assert_eq!(
        error("[amqp]\nframe_max = 131072\nheartbeat = \"soon\"\n"),
        "leveret.toml:3: amqp.heartbeat = \"soon\": must be a number of seconds from 0 (none) to \
         65535"
    );
    assert_eq!(
        error("amqp.max_message_size = \"513MiB\""),
        "leveret.toml:1: amqp.max_message_size = \"513MiB\": must be a size from 1 byte to \
         512MiB, such as \"16MiB\""
    );
    assert_eq!(
        error("listen = [\"example.org\"]"),
        "leveret.toml:1: listen = [\"example.org\"]: must be addresses such as \
         \"127.0.0.1:5672\" or \"[::1]:5672\", a port for all interfaces, or \"none\""
    );
    assert!(error("server_properties.version = \"4.2\"").contains("three numbers"));
    assert!(error("amqp.channel_max = 0").contains("from 1 to 65535"));
    assert!(error("amqp.channel_max = 1.5").starts_with("leveret.toml:1: amqp.channel_max = 1.5:"));
    assert!(error("log.level = true").contains("log.level = true: must be one of"));
    assert!(error("[log]\nlevel = [\"a\", {b = 1}]").contains("level = [\"a\", {...}]: must be"));
}

#[test]
fn a_bad_value_names_its_variable_or_flag() {
    assert_eq!(
        from_environment(&[("LEVERET_LOG", "loud")]).unwrap_err(),
        "environment variable LEVERET_LOG: log.level = \"loud\": must be one of \"none\", \
         \"error\", \"warning\", \"info\", \"debug\", \"trace\""
    );
    let error = from_file("auth.default_pass = 1234").unwrap_err();
    assert_eq!(error, "leveret.toml:1: auth.default_pass = (not shown): must be a text");
    let sources = Sources::new().flag("--data-dir", "data_dir", [String::new()]);
    assert_eq!(
        Config::load(&sources).unwrap_err().to_string(),
        "flag --data-dir: data_dir = \"\": must be the path of a directory"
    );
}

#[test]
fn listeners_are_set_alike() {
    for setting in ["listen", "management", "metrics"] {
        let (none, _) = from_file(&format!("{setting} = \"none\"")).unwrap();
        let (port, _) = from_file(&format!("{setting} = 5")).unwrap();
        let of = |config: &Config| match setting {
            "listen" => config.listen.clone(),
            "management" => config.management.clone(),
            _ => config.metrics.clone(),
        };
        assert_eq!(of(&none), []);
        assert_eq!(of(&port), ["[::]:5".parse().unwrap()]);
    }
}

#[test]
fn unknown_names_warn_with_the_nearest() {
    let only = |text: &str, expected: &str| {
        let (_, warnings) = from_file(text).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].to_string().ends_with(expected), "{}", warnings[0]);
    };
    only(
        "[amqp]\nhartbeat = 1",
        "leveret.toml:2: unknown setting 'amqp.hartbeat' ignored; did you mean 'amqp.heartbeat'?",
    );
    only("[ampq]\nframe_max = 8192", "did you mean 'amqp.frame_max'?");
    only("frame_max = 8192", "did you mean 'amqp.frame_max'?");
    only("datadir = \"/x\"", "did you mean 'data_dir'?");
    only("colour = \"blue\"", "leveret.toml:1: unknown setting 'colour' ignored");

    let (_, warnings) =
        from_environment(&[("LEVERET_DATADIR", "/x"), ("LEVERET_CONFIG", "x")]).unwrap();
    assert_eq!(
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["environment variable LEVERET_DATADIR: no such setting, ignored; did you mean \
          'LEVERET_DATA_DIR'?"]
    );
}

#[test]
fn a_file_that_is_none_is_one_line() {
    let error = from_file("listen = [\n").unwrap_err();
    assert!(error.starts_with("leveret.toml:"), "{error}");
    assert!(error.contains("not valid TOML") && !error.contains('\n'), "{error}");
    assert_eq!(
        from_file("log = \"debug\"").unwrap_err(),
        "leveret.toml:1: 'log' is a section: write [log], and its settings below"
    );
    let error = Config::load(&Sources::new().file("/nowhere/leveret.toml")).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot read the configuration file /nowhere/leveret.toml: ")
    );
}

#[test]
fn addresses_have_short_forms() {
    let listen = |text| from_environment(&[("LEVERET_LISTEN", text)]).map(|(c, _)| c.listen);
    let all: SocketAddr = "[::]:5672".parse().unwrap();
    for text in ["5672", ":5672", "*:5672", "[::]:5672", "5672,5672"] {
        assert_eq!(listen(text), Ok(vec![all]), "{text}");
    }
    assert_eq!(listen("localhost:0"), Ok(vec!["127.0.0.1:0".parse().unwrap()]));
    assert_eq!(listen("127.0.0.1:0,127.0.0.1:0").map(|addresses| addresses.len()), Ok(2));
    assert_eq!(listen("none"), Ok(vec![]));
    for bad in ["65536", "127.0.0.1", "::1:5672x", "1,,2", "host:5672"] {
        assert!(listen(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_data_directory_follows_the_user() {
    let state = environment(&[("XDG_STATE_HOME", "/state"), ("HOME", "/home/anna")]);
    let home = environment(&[("XDG_STATE_HOME", "relative"), ("HOME", "/home/anna")]);
    let found = |sources| data_dir::find(sources).unwrap();
    if found(&state).starts_with("/var") {
        return;
    }
    assert_eq!(found(&state), PathBuf::from("/state/leveret"));
    assert_eq!(found(&home), PathBuf::from("/home/anna/.local/state/leveret"));
    assert!(matches!(data_dir::find(&environment(&[])), Err(ConfigError::NoDataDirectory)));
}

#[test]
fn what_is_shown_loads_the_same() {
    let config = Config {
        listen: vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()],
        storage: Storage::Directory("/data".into()),
        ..Config::default()
    };
    let text = config.to_toml();
    assert_eq!(from_file(&text).unwrap(), (config, vec![]));
    let nothing = Config { listen: vec![], ..Config::default() }.to_toml();
    assert!(from_file(&nothing).unwrap().0.listen.is_empty());
}

#[test]
fn shows_the_defaults_but_no_password() {
    assert_eq!(Config::default().to_toml(), include_str!("tests/defaults.toml"));
    let (config, _) = from_environment(&[("LEVERET_AUTH_DEFAULT_PASS", "secret")]).unwrap();
    assert_eq!(&*config.auth.default_pass, "secret");
    assert!(config.to_toml().contains("# default_pass is set, and not shown\n"));
}
