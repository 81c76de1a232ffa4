use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::config::Networks;
use crate::sasl::{CertificateUser, Mechanism};

use super::super::{
    Config, ConfigWarning, Limit, LogFormat, LogLevel, MetricsLogin, PartOfMemory, Sources,
    Storage, TlsConfig, TlsVersion, WebConfig,
};

/// A directory with these files, and what they come to when they are read as RabbitMQ's are.
fn read(
    files: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> Result<(Config, Vec<ConfigWarning>), String> {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let place = |name: &str| folder.path().join(name).display().to_string();
    let mut environment = vec![
        ("RABBITMQ_CONFIG_FILE".to_owned(), place("rabbitmq")),
        ("RABBITMQ_CONFIG_FILES".to_owned(), place("conf.d")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE".to_owned(), place("advanced.config")),
    ];
    fs::create_dir_all(folder.path().join("conf.d")).unwrap();
    environment.extend(variables.iter().map(|(name, value)| {
        ((*name).to_owned(), value.replace("$DIR", folder.path().to_str().unwrap()))
    }));
    let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
    let sources = Sources::new().rabbitmq().environment(environment);
    let prefix = format!("{}/", folder.path().display());
    Config::load(&sources).map_err(|error| error.to_string().replace(&prefix, ""))
}

fn conf(text: &str) -> Result<(Config, Vec<ConfigWarning>), String> {
    read(&[("rabbitmq.conf", text)], &[])
}

fn value_of<T>(text: &str, get: impl Fn(&Config) -> T) -> T {
    get(&conf(text).unwrap().0)
}

#[test]
fn keys_are_settings() {
    let (config, warnings) = conf(
        "# a comment\n\
         listeners.tcp.default = 5673\n\
         listeners.tcp.other = 127.0.0.1:5674   # and another\n\
         management.tcp.port = 15673\n\
         management.tcp.ip = 127.0.0.1\n\
         prometheus.tcp.port = 15693\n\
         heartbeat = 30\n\
         frame_max = 0\n\
         channel_max = 0\n\
         handshake_timeout = 20000\n\
         consumer_timeout = 900000\n\
         max_message_size = 1048576\n\
         max_connections = infinity\n\
         default_user = anna\n\
         default_pass = 's3cret # with a hash'\n\
         default_vhost = shop\n\
         default_user_tags.administrator = true\n\
         default_permissions.configure = .*\n\
         vm_memory_high_watermark.relative = 0.5\n\
         disk_free_limit.absolute = 2GB\n\
         cluster_name = rabbit@shop\n\
         log.console.level = warning\n\
         log.console.formatter = json\n",
    )
    .unwrap();
    let addresses: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["[::]:5673", "127.0.0.1:5674"]);
    assert_eq!(config.management, ["127.0.0.1:15673".parse().unwrap()]);
    assert_eq!(config.metrics, ["[::]:15693".parse().unwrap()]);
    assert_eq!(config.amqp.heartbeat_seconds, 30);
    assert_eq!(config.amqp.frame_max, 128 << 20);
    assert_eq!(config.amqp.channel_max, u16::MAX);
    assert_eq!(config.amqp.handshake_timeout, Duration::from_secs(20));
    assert_eq!(config.amqp.consumer_timeout, Some(Duration::from_mins(15)));
    assert_eq!(config.amqp.max_message_bytes, 1 << 20);
    assert_eq!(config.amqp.connection_max, None);
    assert_eq!(config.auth.default_user, "anna");
    assert_eq!(&*config.auth.default_pass, "s3cret # with a hash");
    assert_eq!(config.auth.default_vhost, "shop");
    assert_eq!(config.alarms.vm_memory_high_watermark, Limit::OfMemory(PartOfMemory::percent(50)));
    assert_eq!(config.alarms.disk_free_limit, Limit::Bytes(2_000_000_000));
    assert_eq!(config.server_properties.cluster_name, "rabbit@shop");
    assert_eq!((config.log.level, config.log.format), (LogLevel::Warning, LogFormat::Json));
    assert_eq!(warnings, []);
}

#[test]
fn listeners_can_be_none() {
    assert!(value_of("listeners.tcp = none", |config| config.listen.is_empty()));
    let one =
        value_of("listeners.tcp = none\nlisteners.tcp.1 = 5673", |config| config.listen.len());
    assert_eq!(one, 1);
}

#[test]
fn guest_is_local_unless_the_configuration_says_otherwise() {
    let users = |text: &str| value_of(text, |config| config.auth.loopback_users.clone());
    assert_eq!(users(""), ["guest"]);
    assert_eq!(users("loopback_users.guest = false"), Vec::<String>::new());
    assert_eq!(users("loopback_users = none"), Vec::<String>::new());
    assert_eq!(users("loopback_users.anna = true"), ["guest", "anna"]);
    assert_eq!(users("loopback_users = none\nloopback_users.anna = true"), ["anna"]);
}

#[test]
fn a_later_file_has_the_last_word() {
    let (config, _) = read(
        &[
            ("rabbitmq.conf", "heartbeat = 10\nframe_max = 8192"),
            ("conf.d/20-b.conf", "heartbeat = 30"),
            ("conf.d/10-a.conf", "heartbeat = 20\nlisteners.tcp.default = 1"),
            ("conf.d/30-c.conf.off", "heartbeat = 40"),
        ],
        &[],
    )
    .unwrap();
    assert_eq!((config.amqp.heartbeat_seconds, config.amqp.frame_max), (30, 8192));
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    assert_eq!(
        conf("hartbeat = 10").unwrap_err(),
        "rabbitmq.conf:1: there is no key 'hartbeat'; did you mean 'heartbeat'?"
    );
    assert_eq!(conf("\nnonsense").unwrap_err(), "rabbitmq.conf:2: 'nonsense' is no 'key = value'");
    assert_eq!(
        conf("heartbeat = soon").unwrap_err(),
        "rabbitmq.conf:1: amqp.heartbeat = \"soon\": must be a number of seconds from 0 (none) to 65535"
    );
}

#[test]
fn what_has_no_meaning_is_passed_over_with_a_line() {
    let (config, warnings) = conf("mqtt.listeners.tcp.default = 1883\nnet_ticktime = 60").unwrap();
    assert_eq!(config.amqp, Config::default().amqp);
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings[0].ends_with(
            "rabbitmq.conf:1: mqtt.listeners.tcp.default has no effect: the protocol is not spoken"
        ),
        "{warnings:?}"
    );
    assert!(warnings[1].ends_with("net_ticktime has no effect: there is one node"), "{warnings:?}");
}

#[test]
fn tls_is_set_as_there() {
    let (config, warnings) = conf(
        "listeners.ssl.default = 5671\n\
         ssl_options.cacertfile = /tls/ca.pem\n\
         ssl_options.certfile = /tls/cert.pem\n\
         ssl_options.keyfile = /tls/key.pem\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\n\
         ssl_options.depth = 2\n\
         ssl_options.versions.1 = tlsv1.3\n\
         ssl_options.ciphers.1 = TLS_AES_256_GCM_SHA384\n\
         ssl_handshake_timeout = 7000\n\
         management.ssl.port = 15671\n\
         management.ssl.certfile = /tls/console.pem\n\
         management.ssl.keyfile = /tls/console.key\n",
    )
    .unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.listen_tls, ["[::]:5671".parse().unwrap()]);
    assert_eq!(config.listen.len(), 1, "the plain listener stays");
    let expected = TlsConfig {
        cert_files: vec!["/tls/cert.pem".into()],
        key_files: vec!["/tls/key.pem".into()],
        ca_file: Some("/tls/ca.pem".into()),
        verify: true,
        requires_certificate: true,
        depth: 2,
        versions: vec![TlsVersion::Tls13],
        ciphers: vec!["TLS_AES_256_GCM_SHA384".into()],
        handshake_timeout: Duration::from_secs(7),
        ..TlsConfig::default()
    };
    assert_eq!(config.tls, expected);
    assert_eq!(config.management_tls, ["[::]:15671".parse().unwrap()]);
    assert_eq!(config.management, [], "who asks for HTTPS gets HTTP only if they ask for it");
    assert_eq!(config.tls_management.cert_files, [PathBuf::from("/tls/console.pem")]);
}

#[test]
fn browsers_are_told_what_they_were_told() {
    let (config, warnings) = conf(
        "management.csp.policy = script-src 'self'; object-src 'self'\n\
         management.hsts.policy = max-age=31536000; includeSubDomains\n\
         management.cors.allow_origins.1 = https://one.example\n\
         management.cors.allow_origins.2 = https://two.example\n\
         management.cors.max_age = 3600\n\
         management.login_session_timeout = 30\n\
         prometheus.authentication.enabled = true\n",
    )
    .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let expected = WebConfig {
        content_security_policy: "script-src 'self'; object-src 'self'".into(),
        strict_transport_security: Some("max-age=31536000; includeSubDomains".into()),
        allowed_origins: vec!["https://one.example".into(), "https://two.example".into()],
        preflight_max_age: Duration::from_hours(1),
        session_lifetime: Duration::from_mins(30),
        metrics_login: MetricsLogin::Always,
        ..WebConfig::default()
    };
    assert_eq!(config.web, expected);
    let off = value_of("prometheus.authentication.enabled = false", |it| it.web.metrics_login);
    assert_eq!(off, MetricsLogin::None);
    assert!(conf("management.cors.allow_origins.1 = https://a/path").is_err());
}

#[test]
fn the_password_of_a_key_is_refused_and_not_shown() {
    let refused = conf("ssl_options.password = hunter2").unwrap_err();
    let expected = "rabbitmq.conf:1: ssl_options.password = *** can't be honoured: decrypt the key, \
                    and let only the broker's user read it";
    assert_eq!(refused, expected);
}

#[test]
fn what_would_make_a_difference_is_refused() {
    for (text, why) in [
        ("management.listener.ssl = true", "use management.ssl instead"),
        ("default_queue_type = quorum", "give each vhost its default queue type"),
        ("credential_validator.min_length = 8", "passwords are not judged"),
        ("auth_http.ssl_options.hostname_verification = none", "servers are always checked"),
        ("auth_ldap.ssl_hostname_verification = none", "servers are always checked"),
        (
            "auth_http.ssl_options.sni = elsewhere.example",
            "a server is checked by the name it is asked under",
        ),
        ("auth_oauth2.https.crl_check = true", "lists of revoked certificates are not read"),
        ("runtime_parameters.limits.shovel = 10", "such limits are not supported"),
    ] {
        let (key, value) = text.split_once(" = ").unwrap();
        assert_eq!(
            conf(text).unwrap_err(),
            format!("rabbitmq.conf:1: {key} = {value} can't be honoured: {why}")
        );
    }
    for same in [
        "listeners.ssl = none",
        "default_queue_type = classic",
        "auth_backends.1 = internal",
        "vhost_max = infinity",
        "auth_http.ssl_options.hostname_verification = wildcard",
    ] {
        assert_eq!(conf(same).unwrap().1, [], "{same}");
    }
}

#[test]
fn chains_of_servers_of_logins_are_as_long_as_they_may_be() {
    let depths = |text: &str| {
        let show = |config: &Config| {
            let backends = &config.auth.backends;
            [backends.http.tls.depth, backends.ldap.tls.depth, backends.oauth2.depth]
        };
        value_of(text, show)
    };
    assert_eq!(depths(""), [10, 10, 10]);
    let text = "auth_http.ssl_options.depth = 1\nauth_ldap.ssl_options.depth = 2\n\
                auth_oauth2.https.depth = 3";
    assert_eq!(depths(text), [1, 2, 3]);
    assert_eq!(conf(text).unwrap().1, []);
}

#[test]
fn backends_stand_in_the_order_of_their_numbers() {
    let chain = |text: &str| {
        let show = |config: &Config| {
            let chain = config.auth.backends.chain.iter();
            chain.map(|step| (step.authn.name(), step.authz.name())).collect::<Vec<_>>()
        };
        value_of(text, show)
    };
    assert_eq!(chain(""), [("internal", "internal")]);
    let text = "auth_backends.2 = internal\nauth_backends.10 = cache\nauth_backends.1 = http";
    assert_eq!(chain(text), [("http", "http"), ("internal", "internal"), ("cache", "cache")]);
    let text = "auth_backends.1.authn = rabbit_auth_backend_internal\nauth_backends.1.authz = http";
    assert_eq!(chain(text), [("internal", "http")]);
    assert_eq!(chain("auth_backends.1.authn = http"), [("http", "http")]);
    let error = conf("auth_backends.1 = kerberos").unwrap_err();
    assert!(error.contains("\"internal\""), "{error}");
    let cached = |text: &str| value_of(text, |config| config.auth.backends.cache);
    let cache = cached("auth_cache.cached_backend = http\nauth_cache.cache_ttl = 5000");
    assert_eq!(cache.ttl, Duration::from_secs(5));
    assert_eq!((cache.cached.authn.name(), cache.cached.authz.name()), ("http", "http"));
    let halves =
        "auth_cache.cached_backend.authn = http\nauth_cache.cached_backend.authz = internal";
    let cache = cached(halves);
    assert_eq!((cache.cached.authn.name(), cache.cached.authz.name()), ("http", "internal"));
}

#[test]
fn the_proxies_that_are_believed_are_near() {
    let proxies = |text: &str| value_of(text, |config| config.amqp.proxies.clone());
    let near = proxies("proxy_protocol = true");
    assert!(near.contain([10, 0, 0, 7].into()) && !near.contain([8, 8, 8, 8].into()));
    assert_eq!(proxies("proxy_protocol = false"), Networks::default());
    let error = conf("proxy_protocol = perhaps").unwrap_err();
    assert!(error.contains("must be networks and addresses"), "{error}");
}

#[test]
fn mechanisms_are_those_that_are_named() {
    use Mechanism::{Amqplain, Anonymous, External, Plain};
    let mechanisms = |text: &str| value_of(text, |config| config.auth.mechanisms.clone());
    assert_eq!(mechanisms(""), [Plain, Amqplain]);
    let two = "auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = plain";
    assert_eq!(mechanisms(two), [External, Plain]);
    let error = conf("auth_mechanisms.1 = RABBIT-CR-DEMO").unwrap_err();
    assert!(error.contains("must be a list of \"PLAIN\", \"AMQPLAIN\""), "{error}");
    let with_anonymous = "auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = ANONYMOUS";
    assert_eq!(mechanisms(with_anonymous), [Plain, Anonymous]);
    // Saying who that is has it on as well, unless others are named.
    assert_eq!(mechanisms("anonymous_login_user = anna"), [Plain, Amqplain, Anonymous]);
    assert_eq!(mechanisms("anonymous_login_pass = secret"), [Plain, Amqplain, Anonymous]);
    assert_eq!(mechanisms("anonymous_login_user = none"), [Plain, Amqplain]);
    assert_eq!(mechanisms("anonymous_login_user = anna\nauth_mechanisms.1 = PLAIN"), [Plain]);
    let user = |text: &str| value_of(text, |config| config.auth.certificate_user);
    assert_eq!(user("ssl_cert_login_from = common_name"), CertificateUser::CommonName);
    let anonymous = |text: &str| value_of(text, |config| config.auth.anonymous_login_user.clone());
    assert_eq!(anonymous("anonymous_login_user = none"), None);
}

#[test]
fn values_may_name_variables() {
    let (config, _) =
        read(&[("rabbitmq.conf", "default_user = $(WHO)-user")], &[("WHO", "anna")]).unwrap();
    assert_eq!(config.auth.default_user, "anna-user");
    assert_eq!(
        conf("default_user = $(NOBODY)").unwrap_err(),
        "rabbitmq.conf:1: the environment variable NOBODY is not set"
    );
}

#[test]
fn variables_stand_above_files_and_ours_above_rabbitmqs() {
    let files = [("rabbitmq.conf", "default_user = file\nlog.console.level = error")];
    let (config, _) = read(
        &files,
        &[
            ("RABBITMQ_DEFAULT_USER", "theirs"),
            ("RABBITMQ_DEFAULT_PASS", "secret"),
            ("RABBITMQ_DEFAULT_VHOST", "shop"),
            ("RABBITMQ_NODENAME", "rabbit@here"),
            ("RABBITMQ_NODE_PORT", "5673"),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1"),
            ("RABBITMQ_MNESIA_BASE", "/data"),
            ("RABBITMQ_LOG", "=debug,+color"),
            ("RABBITMQ_SERVICE_HOST", "10.0.0.1"),
        ],
    )
    .unwrap();
    assert_eq!(config.auth.default_user, "theirs");
    assert_eq!(&*config.auth.default_pass, "secret");
    assert_eq!(config.auth.default_vhost, "shop");
    assert_eq!(config.node_name(), "rabbit@here");
    assert_eq!(config.listen, ["127.0.0.1:5673".parse().unwrap()]);
    assert_eq!(config.storage, Storage::Directory("/data".into()));
    assert_eq!(config.log.level, LogLevel::Debug);
    let both = [("RABBITMQ_DEFAULT_USER", "theirs"), ("LEVERET_AUTH_DEFAULT_USER", "ours")];
    assert_eq!(read(&files, &both).unwrap().0.auth.default_user, "ours");
}

#[test]
fn secrets_may_be_in_files() {
    let (config, _) = read(
        &[("rabbitmq.conf", ""), ("password", "s3cret\n")],
        &[("RABBITMQ_DEFAULT_PASS_FILE", "$DIR/password")],
    )
    .unwrap();
    assert_eq!(&*config.auth.default_pass, "s3cret");
    let nowhere = [("rabbitmq.conf", "")];
    let error = read(&nowhere, &[("RABBITMQ_DEFAULT_PASS_FILE", "/nowhere/password")]).unwrap_err();
    let expected =
        "environment variable RABBITMQ_DEFAULT_PASS_FILE: cannot read /nowhere/password: ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn variables_the_image_no_longer_takes_stop_the_start() {
    let error = read(
        &[("rabbitmq.conf", "")],
        &[("RABBITMQ_SSL_KEYFILE", "/key"), ("RABBITMQ_VM_MEMORY_HIGH_WATERMARK", "0.5")],
    )
    .unwrap_err();
    assert_eq!(
        error,
        "error: RABBITMQ_SSL_KEYFILE is set but deprecated\n\
         error: RABBITMQ_VM_MEMORY_HIGH_WATERMARK is set but deprecated\n\
         error: deprecated environment variables detected"
    );
}

#[test]
fn an_advanced_configuration_gets_a_line() {
    let (_, warnings) =
        read(&[("rabbitmq.conf", ""), ("advanced.config", "[{rabbit, []}].")], &[]).unwrap();
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.to_string().ends_with("has no effect: Erlang terms are not understood"));
}

#[test]
fn without_rabbitmqs_layout_its_variables_mean_nothing() {
    let variables = [("RABBITMQ_DEFAULT_USER", "theirs"), ("HOME", "/home/anna")];
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let (config, _) = Config::load(&Sources::new().environment(variables)).unwrap();
    assert_eq!(config.auth.default_user, "guest");
}

#[test]
fn new_vhosts_are_limited_by_patterns() {
    let text = "vhost_max = 10\n\
                default_limits.vhosts.1.pattern = ^customer-\n\
                default_limits.vhosts.1.max_connections = 20\n\
                default_limits.vhosts.1.max_queues = 30\n\
                default_limits.vhosts.2.pattern = .*\n\
                default_limits.vhosts.2.max_queues = 1000\n";
    let amqp = conf(text).unwrap().0.amqp;
    assert_eq!(amqp.vhost_max, Some(10));
    let limits: Vec<_> = amqp
        .default_vhost_limits
        .iter()
        .map(|one| (one.pattern.as_str(), one.limits.max_connections, one.limits.max_queues))
        .collect();
    assert_eq!(limits, [("^customer-", Some(20), Some(30)), (".*", None, Some(1000))]);
    assert!(conf("default_limits.vhosts.1.pattern = a\n").is_err());
    assert!(conf("default_limits.users.1.max_channels = 1\n").is_err());
}

#[test]
fn ldap_is_asked_by_rabbitmqs_keys_and_queries() {
    let (config, warnings) = conf(
        "auth_backends.1 = ldap\n\
         auth_ldap.servers.1 = one.example\n\
         auth_ldap.servers.2 = two.example\n\
         auth_ldap.port = 636\n\
         auth_ldap.use_ssl = true\n\
         auth_ldap.timeout = infinity\n\
         auth_ldap.idle_timeout = 90000\n\
         auth_ldap.user_dn_pattern = cn=${username},ou=People,dc=example,dc=com\n\
         auth_ldap.dn_lookup_attribute = none\n\
         auth_ldap.dn_lookup_bind.user_dn = cn=reader\n\
         auth_ldap.dn_lookup_bind.password = secret\n\
         auth_ldap.other_bind = anon\n\
         auth_ldap.queries.vhost_access = {constant, false}\n\
         auth_ldap.queries.tags = '''\n\
         [{administrator, {in_group, \"cn=a\"}}, % the first\n\
         \x20{management, {constant, true}}]\n\
         '''\n\
         auth_ldap.group_lookup_base = ou=groups,dc=example\n",
    )
    .unwrap();
    assert_eq!(warnings, []);
    let ldap = config.auth.backends.ldap;
    assert_eq!(ldap.servers, ["one.example", "two.example"]);
    assert!(ldap.port == 636 && ldap.use_ssl && !ldap.use_starttls);
    assert_eq!(
        (ldap.timeout, ldap.idle_timeout),
        (Duration::from_mins(5), Duration::from_secs(90))
    );
    assert_eq!(ldap.user_dn_pattern, "cn=${username},ou=People,dc=example,dc=com");
    assert_eq!(ldap.dn_lookup_attribute, None);
    assert_eq!(ldap.dn_lookup_bind.user_dn.as_deref(), Some("cn=reader"));
    assert_eq!(ldap.dn_lookup_bind.password.as_deref(), Some("secret"));
    assert!(ldap.other_bind.is_anonymous);
    assert_eq!(ldap.vhost_access_query.as_str(), "{constant, false}");
    assert!(ldap.tag_queries.as_str().ends_with("{management, {constant, true}}]"));
    assert_eq!(ldap.group_lookup_base.as_deref(), Some("ou=groups,dc=example"));
    // Neither a block without an end nor what is no query.
    assert!(conf("auth_ldap.queries.tags = '''\n[]\n").is_err());
    let refused = conf("auth_ldap.queries.vhost_access = {in_grup, \"cn=a\"}\n").unwrap_err();
    assert!(refused.contains("auth_ldap.vhost_access_query"), "{refused}");
    let refused = conf("auth_ldap.other_bind.password =\n").unwrap_err();
    assert!(refused.contains("(not shown)"), "{refused}");
}
